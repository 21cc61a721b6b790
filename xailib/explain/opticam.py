"""Opti-CAM: the class activation map whose weights are optimised (Zhang et al., CVIU 2024; thesis, chapter 2).

Like every CAM, S is a sum over the channels of a layer, here with weights on the simplex and rectified activations,

    S(x; u) = sum_k softmax(u)_k ReLU(A_k),        F(u) = g_c( f( x * n(up(S(x; u))) ) ),

and u maximises F: the map is the mask through which the network recognises the class best. A stays fixed; each
iteration runs the whole network, forward and backward, on the masked image.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from xailib import network
from xailib.explain.evidence import collect, masks
from xailib.inputs import checked, explainer
from xailib.network import Layer


@explainer
def opticam(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    *,
    layer: Layer,
    objective: str = "mask",
    norm: str = "range",
    selector: str = "logit",
    iterations: int = 100,
    lr: float = 0.1,
    stop: str = "abs_delta",
    keep: str = "best",
    grid: tuple[int, int] | None = None,
    chunk: int | None = None,
) -> Float[Tensor, "b H W"]:
    """n(up(S(x; u*))), the optimised mask of each image, already normalised by `norm` (thesis, eq. 2.4 to 2.12).

    - `objective`: `"mask"` maximises g_c of the masked image, `"diff"` minimises its distance to g_c of the image
    - `norm` (n): `"range"`, `"max"` or `"sigmoid"`, see `heatmap.normalize`
    - `selector` (g_c): the class's `"logit"`, `"prob"`, or `"margin"` (its logit less the largest other one)
    - `iterations` steps of Adam at rate `lr`, from u = 0, that is from equal weights
    - `stop`, for each image by itself: `"abs_delta"`, when the loss changes by less than 1e-10 in a step (in bfloat16
      that comes too early); `"loss_increase"`, when it has grown over the last tenth of the iterations (authors' code)
    - `keep`: the `"best"` iterate or the `"last"`
    - `chunk` images run together (default: 1 on a CPU, 32 on a GPU)

    Adam takes steps of `lr` however small a gradient is, so rounding grows: in float32 the same image in a chunk of
    another size, or on another machine, may end in another map of about the same score.
    Where the activations add up to a constant, or with no activation at all, the map is zeros, and
    `heatmap.degenerate` tells. Raises ValueError as `cam` does, and for bad options.
    """
    settings = _Settings(objective, norm, selector, iterations, lr, stop, keep)
    return _traced(model, images, targets, layer, grid, chunk, settings).maps


@checked
def opticam_trace(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    *,
    layer: Layer,
    grid: tuple[int, int] | None = None,
    chunk: int | None = None,
    **options,
) -> "Trace":
    """The maps of `opticam` with the same options, and how it came to them, iterate by iterate.

    >>> trace = opticam_trace(model, images, targets, layer="layer4", iterations=50)
    >>> film = [trace.frame(t) for t in range(len(trace.losses))]

    Raises ValueError as `opticam` does.
    """
    return _traced(model, images, targets, layer, grid, chunk, _Settings(**options))


@dataclass(frozen=True)
class Trace:
    """What happened: `losses` [t b], NaN once an image has stopped, the raw saliency S [t b h w] of each iterate at the
    layer's size, the number of the iterate that was `kept` for each image, and the final `maps` [b H W]."""

    maps: Float[Tensor, "b H W"]
    losses: Float[Tensor, "t b"]
    saliency: Float[Tensor, "t b h w"]
    kept: Int[Tensor, " b"]
    norm: str = "range"

    def frame(self, t: int) -> Float[Tensor, "b H W"]:
        """The normalised maps of iterate t; for an image that stopped before, its last."""
        ran = self.losses.isfinite().sum(0) - 1
        rows = torch.arange(len(ran), device=ran.device)
        return masks(self.saliency[ran.clamp(max=t), rows], self.maps.shape[1:], self.norm)


@dataclass(frozen=True)
class _Settings:
    objective: str = "mask"
    norm: str = "range"
    selector: str = "logit"
    iterations: int = 100
    lr: float = 0.1
    stop: str = "abs_delta"
    keep: str = "best"

    def __post_init__(self):
        allowed = {
            "objective": ("mask", "diff"),
            "norm": ("range", "max", "sigmoid"),
            "selector": ("logit", "prob", "margin"),
            "stop": ("abs_delta", "loss_increase"),
            "keep": ("best", "last"),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} must be one of {', '.join(values)}, found {getattr(self, name)!r}")
        if self.iterations < 1 or not self.lr > 0:
            raise ValueError(f"need iterations >= 1 and lr > 0, found iterations={self.iterations} and lr={self.lr}")


# --- the optimisation -------------------------------------------------------------------------------------------------


@torch.inference_mode(False)
@torch.enable_grad()
def _traced(model, images, targets, layer, grid, chunk, settings: _Settings) -> Trace:
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1, found {chunk}")
    chunk = chunk or (1 if images.device.type == "cpu" else 32)
    images = images.detach().clone()  # an inference tensor could not be differentiated through
    parts = []
    for some, classes in zip(images.split(chunk), targets.split(chunk), strict=True):
        A = collect(model, some, classes, layer=layer, grid=grid).A.relu()
        parts.append(_optimised(model, network.channels_last(model, some), classes, A, settings))
    losses, saliency = (torch.cat(part, 1) for part in zip(*parts, strict=True))
    kept = losses.nan_to_num(torch.inf).argmin(0) if settings.keep == "best" else losses.isfinite().sum(0) - 1
    S = saliency[kept, torch.arange(len(kept), device=kept.device)]
    return Trace(masks(S, images.shape[2:], settings.norm), losses, saliency, kept, settings.norm)


def _optimised(
    model: nn.Module, images: Tensor, targets: Tensor, A: Float[Tensor, "b k h w"], settings: _Settings
) -> tuple[Float[Tensor, "t b"], Float[Tensor, "t b h w"]]:
    """The losses and the saliency S of the iterates u_0 ... u_T. Images that have stopped take no part any more."""
    goal = _selected(model(images), targets, settings.selector).detach() if settings.objective == "diff" else None
    u = A.new_zeros(A.shape[:2], requires_grad=True)
    adam = torch.optim.Adam([u], lr=settings.lr)
    losses = A.new_full((settings.iterations + 1, len(A)), torch.nan)
    saliency = A.new_zeros(settings.iterations + 1, len(A), *A.shape[2:])
    running = torch.arange(len(A), device=A.device)
    for t in range(settings.iterations + 1):
        with torch.set_grad_enabled(t < settings.iterations):
            S = (u[running].softmax(1)[..., None, None] * A[running]).sum(1)
            seen = images[running] * masks(S, images.shape[2:], settings.norm)[:, None].to(images.dtype)
            found = _selected(model(seen), targets[running], settings.selector)
            loss = -found if goal is None else (goal[running] - found).abs()
        losses[t, running], saliency[t, running] = loss.detach().to(losses.dtype), S.detach()
        on = ~_stops(losses[:, running], t, settings)
        if t == settings.iterations or not on.any():
            break
        (u.grad,) = torch.autograd.grad(loss.sum(), u)
        adam.step()
        running = running[on]
    return losses, saliency


def _selected(logits: Tensor, targets: Tensor, selector: str) -> Float[Tensor, " b"]:
    """g_c: what is to be large for the target class."""
    scores = network.class_scores(logits, targets)
    if selector == "prob":
        return (scores - logits.to(scores.dtype).logsumexp(1)).exp()
    if selector == "margin":
        return scores - logits.to(scores.dtype).scatter(1, targets[:, None], -torch.inf).amax(1)
    return scores


def _stops(losses: Float[Tensor, "t b"], t: int, settings: _Settings):
    """Whether each image stops after iterate t."""
    gap = 1 if settings.stop == "abs_delta" else max(1, settings.iterations // 10)
    if t == 0 or t % gap:
        return torch.zeros_like(losses[t], dtype=torch.bool)
    change = losses[t] - losses[t - gap]
    return change.abs() < 1e-10 if settings.stop == "abs_delta" else change > 0
