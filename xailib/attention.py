"""Reading the attention of a transformer: softmax(Q K^T / sqrt(d)) of every block, while the model runs as it is.

Fast implementations never build these maps, and each library writes attention in its own modules. So nothing in the
model is touched. While the `with` lasts, torch's attention functions compute their textbook form instead,

    out = A V,    A = softmax(scale Q K^T + mask),

and keep A. It works for timm, for torchvision, and for code that writes the softmax out; it ends with the `with`.
"""

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


@contextmanager
def recorded_attention(model: nn.Module, *, differentiable: bool = False) -> Iterator[list[Tensor]]:
    """A list that receives the attention maps [b heads n n] of one forward pass made in the `with`, block by block.

    >>> with recorded_attention(model) as attention:
    ...     logits = model(images)
    >>> attention[-1][0, :, 0]  # image 0, last block: what the class token looks at, per head

    The maps belong to the autograd graph of the pass where there is one. `differentiable=True` begins that graph at the
    first map, under `torch.no_grad()` and with frozen parameters too. Raises ValueError at the end of the `with` if no
    attention was seen, or if it is not between the same tokens in all blocks (windows, pooled or class-only attention).
    """
    attention: list[Tensor] = []
    with ExitStack() as stack:
        if differentiable:
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.no_grad())
        stack.enter_context(_Recorder(attention, differentiable))
        yield attention
    _check(attention, model)


def _check(attention: list[Tensor], model: nn.Module) -> None:
    name = model._get_name()
    if not attention:
        raise ValueError(f"no attention was seen in {name}: it is no transformer, or not by torch's functions; use cam")
    sizes = sorted({(len(A), *A.shape[2:]) for A in attention})
    if len(sizes) > 1 or sizes[0][1] != sizes[0][2]:
        found = ", ".join(f"{b} x [{n} {m}]" for b, n, m in sizes)
        raise ValueError(
            f"the attention of {name} is not between the same tokens in every block, found {found}: it is cut into "
            "windows or pools its tokens; explain it with cam or opticam at one of its layers"
        )


class _Recorder(TorchFunctionMode):
    """While active, torch's attention functions run in their textbook form and keep their maps."""

    def __init__(self, attention: list[Tensor], differentiable: bool):
        super().__init__()
        self.attention, self.differentiable = attention, differentiable

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self.attend(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            return self.multi_head(**inspect.signature(func).bind(*args, **kwargs).arguments)
        output = func(*args, **kwargs)
        if func in (F.softmax, torch.softmax, Tensor.softmax) and output.ndim == 4:
            return self.keep(output)
        return output

    def keep(self, A: Tensor) -> Tensor:
        if self.differentiable and not A.requires_grad:
            A = A.detach().requires_grad_()
            torch.set_grad_enabled(True)  # ends with the no_grad block around
        self.attention.append(A)
        return A

    def attend(self, query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **rest):
        if is_causal or rest.get("enable_gqa") or query.ndim != 4:
            raise ValueError("attention that is causal, grouped, or not over [b heads n d] is not that of image tokens")
        scores = torch.matmul(query, key.transpose(-2, -1)) * (query.shape[-1] ** -0.5 if scale is None else scale)
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attn_mask, -torch.inf)
        elif attn_mask is not None:
            scores = scores + attn_mask
        A = self.keep(scores.softmax(-1))
        return torch.matmul(F.dropout(A, dropout_p) if dropout_p else A, value)

    def multi_head(self, query, key, value, **given):
        """`nn.MultiheadAttention` over tokens [n b k], as torchvision uses it, in terms of `attend`."""
        use, extras = SimpleNamespace(**given), ("bias_k", "bias_v", "key_padding_mask", "attn_mask", "q_proj_weight")
        plain = query is key is value and query.ndim == 3 and not use.add_zero_attn
        if not plain or any(given.get(name) is not None for name in extras):
            raise ValueError("nn.MultiheadAttention can be read as plain self-attention only: one input, no masks")
        joined = F.linear(query, use.in_proj_weight, use.in_proj_bias).unflatten(-1, (3, use.num_heads, -1))
        tokens = self.attend(*joined.permute(2, 1, 3, 0, 4).unbind(0), dropout_p=use.dropout_p if use.training else 0.0)
        output = F.linear(tokens.permute(2, 0, 1, 3).flatten(2), use.out_proj_weight, use.out_proj_bias)
        return output, (self.attention[-1].mean(1) if given.get("need_weights", True) else None)
