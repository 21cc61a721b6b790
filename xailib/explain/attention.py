"""Explaining a transformer by its attention: how much of each patch reaches the token that the classifier reads.

A_l [n n] is the attention of block l, mean over heads; its row i says what token i listens to. Three readings of it:

    raw attention   A_L,                 of one block
    rollout         A'_L ... A'_1,       A'_l = A_l + I, each row divided by its sum
    TIBAV           C_L ... C_1,         C_l = I + mean_h ReLU(dy_c/dA_l * R_l),  R_l the relevance of A_l

Later blocks multiply from the left. The map is the row of the class token over the patches; in a network that reads the
mean of its patches, the mean of their rows. Raw attention and rollout do not depend on the target class.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import reduce

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from xailib import heatmap, network
from xailib.attention import recorded_attention
from xailib.explain.relevance import relevance_rules
from xailib.grid import read_grid
from xailib.inputs import explainer


@explainer
def raw_attention(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    *,
    block: int = -1,
    grid: tuple[int, int] | None = None,
) -> Float[Tensor, "b H W"]:
    """What the classifier's token listens to in one block (default: the last), mean over heads, for any class.

    `grid` (h, w) says where the tokens lie if the model does not tell. Raises ValueError for bad input, for an unknown
    block, and for networks whose attention is not between all tokens (see `xailib.attention`).
    """
    attention, _ = _record(model, images, targets)
    if not -len(attention) <= block < len(attention):
        raise ValueError(f"block must lie in 0..{len(attention) - 1}, or count back from -1, found {block}")
    return _map(model, images, _head_mean(attention[block]), grid)


@explainer
def rollout(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    *,
    start_layer: int = 0,
    grid: tuple[int, int] | None = None,
) -> Float[Tensor, "b H W"]:
    """Attention followed from the patches up through all blocks and their residual connections, for any class.

    Attention rollout (Abnar and Zuidema, ACL 2020). `start_layer` leaves out the blocks before it.
    Raises ValueError as `raw_attention` does.
    """
    attention, _ = _record(model, images, targets)
    layers = [with_identity(_head_mean(A)) for A in _from(start_layer, attention)]
    return _map(model, images, chain([A / A.sum(-1, keepdim=True) for A in layers]), grid)


@explainer
def tibav(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    *,
    relevance: str = "lrp",
    start_layer: int = 0,
    grid: tuple[int, int] | None = None,
) -> Float[Tensor, "b H W"]:
    """Attention weighted by gradient and relevance for the target class, followed up through all blocks.

    "Transformer interpretability beyond attention visualization" (Chefer et al., CVPR 2021). `relevance="lrp"` is the
    paper's, by the rules of `xailib.explain.relevance`; `"attention"` puts the attention itself in its place, cheaper
    and for more networks (Chefer et al., ICCV 2021). `start_layer` leaves out the blocks before it (the authors'
    pictures: 1). Raises ValueError as `raw_attention` does, and for an operation that has no relevance rule.
    """
    if relevance not in ("lrp", "attention"):
        raise ValueError(f"relevance must be 'lrp' or 'attention', found {relevance!r}")
    attention, scores = _record(model, images, targets, differentiable=True)
    A = _from(start_layer, attention)
    G = network.gradients(scores, A)
    R = _from(start_layer, _relevance(model, images, targets)) if relevance == "lrp" else A
    weighted = [_head_mean((g * r).detach().relu()) for g, r in zip(G, R, strict=True)]
    return _map(model, images, chain([with_identity(C) for C in weighted]), grid)


# --- products of attention --------------------------------------------------------------------------------------------


def with_identity(A: Float[Tensor, "*b n n"]) -> Float[Tensor, "*b n n"]:
    """A + I: what a token hears, and the token itself, which the residual connection carries past the block."""
    return A + torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)


def chain(layers: Sequence[Float[Tensor, "*b n n"]]) -> Float[Tensor, "*b n n"]:
    """The product A_L ... A_1 of layers A_1, ..., A_L: what each token at the top takes from each at the bottom."""
    with torch.autocast(layers[0].device.type, enabled=False):  # many small factors
        return reduce(lambda below, A: A @ below, layers)


def _head_mean(A: Float[Tensor, "b heads n n"]) -> Float[Tensor, "b n n"]:
    return A.mean(1, dtype=torch.promote_types(A.dtype, torch.float32))


def _from(start_layer: int, layers: Sequence[Tensor]) -> Sequence[Tensor]:
    if not 0 <= start_layer < len(layers):
        raise ValueError(f"start_layer must lie in 0..{len(layers) - 1}, found {start_layer}")
    return layers[start_layer:]


# --- one forward pass, seen through its attention ---------------------------------------------------------------------


def _record(model: nn.Module, images: Tensor, targets: Tensor, *, differentiable=False) -> tuple[list[Tensor], Tensor]:
    """The attention of each block [b heads n n], and the target's logit."""
    with nullcontext() if differentiable else torch.no_grad():
        with recorded_attention(model, differentiable=differentiable) as attention:
            logits = model(images)
    return attention, network.class_scores(logits, targets)


def _relevance(model: nn.Module, images: Tensor, targets: Tensor) -> list[Tensor]:
    """The relevance of each block's attention for the target's logit.

    In float64 where the device has it: the rules divide by sums that all but cancel, and float32 rounding can grow as
    large as the relevance itself within twelve blocks.
    """
    dtype = torch.float32 if images.device.type == "mps" else torch.float64
    state = {name: value.detach() for name, value in [*model.named_parameters(), *model.named_buffers()]}
    state = {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}
    with relevance_rules(), recorded_attention(model, differentiable=True) as attention:
        logits = torch.func.functional_call(model, state, images.to(dtype))
    R = network.gradients(network.class_scores(logits, targets), attention)
    return [r.to(torch.promote_types(images.dtype, torch.float32)) for r in R]


def _map(model: nn.Module, images: Tensor, flow: Float[Tensor, "b n n"], grid: tuple[int, int] | None) -> Tensor:
    """How much of each patch flows to what the classifier reads, at the size of the image."""
    if len(flow) != len(images):
        raise ValueError(f"{len(images)} images have {len(flow)} attention maps: windows have no common map; use cam")
    places = read_grid(model, model, flow, images, grid)
    read = flow[:, _read_tokens(model, places.prefix)].mean(1)
    return heatmap.resize(places.maps(read[..., None])[:, 0], images.shape[2:])


def _read_tokens(model: nn.Module, prefix: int) -> slice:
    """The tokens whose mean the classifier reads: the class token, or all patches."""
    pool = next((module.global_pool for module in model.modules() if hasattr(module, "global_pool")), "token")  # timm
    if pool not in ("token", "avg"):
        raise ValueError(f"the classifier reads neither a class token nor a mean, but global_pool={pool!r}; use cam")
    return slice(prefix, None) if pool == "avg" or prefix == 0 else slice(0, 1)
