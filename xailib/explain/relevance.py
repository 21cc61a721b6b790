"""Layer-wise relevance propagation through a transformer, as a backward pass with other rules.

The score of the target class is handed down, layer by layer, to the inputs that made it up, so that the relevance of
each layer sums to the same total. The rules are those of TIBAV (Chefer et al., CVPR 2021, and its code).
R is the relevance of the output z, s = R / z, and 0/0 = 0:

    linear, z = W x      R_j = sum_i (W_ij x_j)^+ R_i / sum_k (W_ik x_k)^+              (alpha = 1, beta = 0)
    product, z = A B     R_A = A * (s B^T) / 2,   R_B = B * (A^T s) / 2
    sum, z = a + b       R_a = a * s, then scaled to sum to |sum R_a| / (|sum R_a| + |sum R_b|) of sum R; so R_b
    mean of n, z         R_x = x * s / n
    norm, activation, softmax, scaling by a constant        R passes through

Inside `relevance_rules()` torch's functions carry these rules in place of their derivatives, so that the gradient of a
score with respect to anything on the way is its relevance.
"""

import inspect
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves


def relevance_rules() -> TorchFunctionMode:
    """A `with` block in which networks run as always, and differentiate to relevance.

    Raises ValueError at an operation on the way to the logits that has no rule.
    """
    return _Rules()


# --- the rules: relevance of the output and the operands in, relevance of the operands out ----------------------------


def linear(R: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor]:
    """Relevance follows the positive contributions W_ij x_j; the bias takes none."""
    excite, inhibit = weight.clamp(min=0), weight.clamp(max=0)
    positive, negative = x.clamp(min=0), x.clamp(max=0)
    share = _ratio(R, positive @ excite.mT + negative @ inhibit.mT)
    return (positive * (share @ excite) + negative * (share @ inhibit),)


def product(R: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Each factor of a matrix product takes half, its entries by their shares in the output."""
    share = _ratio(R, a @ b) / 2
    return a * (share @ b.mT), b * (a.mT @ share)


def addition(R: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Each summand takes its share place by place; then the two are balanced, image by image, lest one explodes."""
    share = _ratio(R, a + b)
    parts = a * share, b * share
    sums = [_image_sum(part) for part in parts]
    unit = _ratio(_image_sum(R), sums[0].abs() + sums[1].abs())
    parts = [part * _ratio(whole.abs() * unit, whole) for part, whole in zip(parts, sums, strict=True)]
    return parts[0].sum_to_size(a.shape), parts[1].sum_to_size(b.shape)


def mean(R: Tensor, x: Tensor, dim=None, keepdim: bool = False) -> tuple[Tensor]:
    """Each entry takes its share of the mean."""
    z = x.mean(dim, keepdim=True)
    return (x * _ratio(R.reshape(z.shape), z) * (z.numel() / x.numel()),)


def through(R: Tensor, *operands, **options) -> tuple[Tensor | None, ...]:
    """All relevance passes to the operand that has the shape of the output; constants take none."""
    return tuple(R if isinstance(x, Tensor) and x.shape == R.shape else None for x in operands)


def _image_sum(R: Tensor) -> Tensor:
    return R.sum(tuple(range(1, R.ndim)), keepdim=True)


def _ratio(R: Tensor, z: Tensor) -> Tensor:
    return torch.where(z != 0, R / torch.where(z != 0, z, 1), 0)


# --- torch's functions under these rules ------------------------------------------------------------------------------

_RULES: dict[str, Callable] = {
    "linear": linear, "matmul": product, "bmm": product, "__matmul__": product, "add": addition, "mean": mean,
    **dict.fromkeys(["layer_norm", "rms_norm", "gelu", "relu", "silu", "softmax", "mul", "div"], through),
}  # fmt: skip

# What moves values and changes none moves relevance by its own derivative (`__get__`: attributes such as x.mT).
_MOVES = {
    "reshape", "view", "flatten", "unflatten", "permute", "transpose", "contiguous", "clone", "expand", "squeeze",
    "unsqueeze", "__getitem__", "gather", "unbind", "chunk", "split", "cat", "to", "float", "dropout", "__get__",
}  # fmt: skip


class _Rules(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, func.__name__
        carriers = sum(_carries(x) for x in tree_leaves((args, kwargs)))
        if name in _RULES and carriers and _fits(_RULES[name], carriers, args, kwargs):
            return _Ruled.apply(partial(func, **kwargs), partial(_RULES[name], **kwargs), *args)
        output = func(*args, **kwargs)
        if carriers and name not in _MOVES and any(map(_carries, tree_leaves(output))):
            raise ValueError(f"no rule takes relevance through {name!r} in this network; choose relevance='attention'")
        return output


def _carries(x) -> bool:
    """Relevance flows where the graph leads to the attention maps, and not into parameters."""
    return isinstance(x, Tensor) and x.requires_grad and not isinstance(x, nn.Parameter)


def _fits(rule: Callable, carriers: int, args: tuple, kwargs: dict) -> bool:
    try:
        inspect.signature(rule).bind(None, *args, **kwargs)
    except TypeError:
        return False
    if rule is addition:
        return all(isinstance(x, Tensor) for x in args)
    return carriers == 1 or rule is not through  # a gate, the product of two activations, has no rule


class _Ruled(torch.autograd.Function):
    """A function whose backward pass hands down relevance by a rule."""

    @staticmethod
    def forward(ctx, function, rule, *args):
        ctx.rule, ctx.args = rule, args
        return function(*args)

    @staticmethod
    def backward(ctx, R):
        relevances = ctx.rule(R, *ctx.args)
        return None, None, *relevances, *[None] * (len(ctx.args) - len(relevances))
