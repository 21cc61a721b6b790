"""Gradient denoising: a network trained so that its gradients at the image look like the guided ones, which are cleaner
(Torres et al., VISAPP 2024; thesis, chapter 4).

With the classification loss L_C, its gradient delta = dL_C/dx at the image and its guided gradient delta^G,

    L = L_C + lambda (1/n) sum_i E(delta_i, delta^G_i),

where delta^G is a constant to learn towards. Both gradients come from one forward graph, whose rectifiers are switched
between two backward passes; with the gradient of L through delta that makes five passes in all, and no second forward.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from xailib import network
from xailib.inputs import check_targets
from xailib.rectifier import guided_relu
from xailib.training.convolution import twice_differentiable

EPSILON = 1e-12  # a gradient not longer than this has no direction


@dataclass(frozen=True)
class DenoisingLoss:
    """The loss to train with, `total` = `classification` + coefficient * `regularisation`, and its two parts."""

    total: Float[Tensor, ""]
    classification: Float[Tensor, ""]
    regularisation: Float[Tensor, ""]


def interpretable_gradient_loss(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    *,
    error: str = "cosine",
    coefficient: float | int = 7.5e-3,
    guided_of: str = "loss",
    grad_reduction: str = "sum",
    hi: str = "normalized",
    fraction: float | int = 1,
) -> DenoisingLoss:
    """Cross-entropy, and the error between its gradient at the image and its guided gradient (thesis, algorithm 3).

    - `error` E: `"cosine"`, `"mae"`, `"mse"` or `"hi"` (histogram intersection); `hi="thesis"` divides the latter by
      the product of the norms (thesis, eq. 4.8) instead of normalising both gradients first
    - `coefficient` lambda: 7.5e-3 for ResNet-18, 1e-3 for MobileNet-V2, both with the cosine
    - `guided_of`: `"loss"` guides the loss, as the thesis does, and keeps evidence against the class; `"logit"` guides
      the class score, as visualisation does, and takes its negative
    - `grad_reduction`: gradients of the `"sum"` of the losses, the same in a batch of any size, or of their `"mean"`
    - `fraction`: regularise only the first part of the batch, in a forward pass of its own; cheaper in time and memory.
      Batch norm then sees two smaller batches

    In training mode batch norm mixes the images of a batch, so delta_i depends on the other images too. A network
    without any ReLU has nothing to guide: there delta^G = delta. Under bfloat16 autocast gradients stay float32 at the
    image; float16 has too small a range for them. Raises ValueError for bad options or targets, for a network that
    cannot be guided (see `rectifier.guided_relu`), and where the loss has no gradient at the image.
    """
    _check_options(error=(error, ERRORS), hi=(hi, HISTOGRAMS), guided_of=(guided_of, ("loss", "logit")))
    _check_options(grad_reduction=(grad_reduction, ("sum", "mean")))
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be a part of the batch, above 0 and at most 1, found {fraction}")
    check_targets(targets, images)
    part = math.ceil(fraction * len(images))
    losses, standard, guided = gradients(model, images[:part], targets[:part], guided_of, grad_reduction)
    if part < len(images):
        rest = F.cross_entropy(model(images[part:]), targets[part:], reduction="none")
        losses = torch.cat([losses, rest])
    measure = HISTOGRAMS[hi] if error == "hi" else ERRORS[error]
    regularisation = measure(standard.flatten(1), guided.flatten(1)).mean()
    classification = losses.mean()
    return DenoisingLoss(classification + coefficient * regularisation, classification, regularisation)


def gradients(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    guided_of: str = "loss",
    grad_reduction: str = "sum",
) -> tuple[Float[Tensor, " b"], Float[Tensor, "b c H W"], Float[Tensor, "b c H W"]]:
    """The cross-entropy of each image, its gradient delta, which has a graph, and its guided gradient delta^G, which
    has none. Raises ValueError as `interpretable_gradient_loss` does."""
    x = images.detach().requires_grad_()
    with guided_relu(model) as gate, twice_differentiable() as convolutions:
        logits = model(x)
    losses = F.cross_entropy(logits, targets, reduction="none")
    with torch.autocast(x.device.type, enabled=False):  # each operation's backward has its type already
        standard = _gradient(losses, x, grad_reduction, create_graph=True)
        gate.on = gate.count > 0  # without a ReLU the guided gradient is the plain one
        if guided_of == "loss":
            guided = _gradient(losses, x, grad_reduction)
        else:
            guided = -_gradient(network.class_scores(logits, targets), x, grad_reduction)
        gate.on = convolutions.at_images = False
    return losses, standard, guided


def _gradient(scores: Tensor, x: Tensor, reduction: str, create_graph: bool = False) -> Tensor:
    if not scores.requires_grad:
        raise ValueError("the loss has no gradient: gradients are switched off; call it outside torch.no_grad()")
    reduced = scores.sum() if reduction == "sum" else scores.mean()
    (found,) = torch.autograd.grad(reduced, x, create_graph=create_graph, retain_graph=True, allow_unused=True)
    if found is None:
        raise ValueError("the loss has no gradient at the image: the network cuts it (detach, no_grad, rounding)")
    return found


# --- errors between two gradients, image by image ---------------------------------------------------------------------


def cosine(standard: Float[Tensor, "b p"], guided: Float[Tensor, "b p"]) -> Float[Tensor, " b"]:
    """-<delta, delta^G> / (||delta|| ||delta^G||), in [-1, 1], and 0 if one of them vanishes."""
    return -(_unit(standard, 2) * _unit(guided, 2)).sum(1)


def mae(standard: Float[Tensor, "b p"], guided: Float[Tensor, "b p"]) -> Float[Tensor, " b"]:
    """The mean absolute difference of the entries."""
    return (standard - guided).abs().mean(1)


def mse(standard: Float[Tensor, "b p"], guided: Float[Tensor, "b p"]) -> Float[Tensor, " b"]:
    """The mean squared difference of the entries."""
    return (standard - guided).square().mean(1)


def histogram_intersection(standard: Float[Tensor, "b p"], guided: Float[Tensor, "b p"]) -> Float[Tensor, " b"]:
    """-sum min(|delta| / ||delta||_1, |delta^G| / ||delta^G||_1), in [-1, 0]."""
    return -torch.minimum(_unit(standard, 1).abs(), _unit(guided, 1).abs()).sum(1)


def thesis_histogram_intersection(standard: Float[Tensor, "b p"], guided: Float[Tensor, "b p"]) -> Float[Tensor, " b"]:
    """-sum min(|delta|, |delta^G|) / (||delta||_1 ||delta^G||_1), which grows as gradients shrink (thesis, eq. 4.8)."""
    shared = torch.minimum(standard.abs(), guided.abs()).sum(1)
    lengths = standard.abs().sum(1) * guided.abs().sum(1)
    return -torch.where(lengths > EPSILON**2, shared / lengths.clamp(min=EPSILON**2), 0)


ERRORS = {"cosine": cosine, "mae": mae, "mse": mse, "hi": histogram_intersection}
HISTOGRAMS = {"normalized": histogram_intersection, "thesis": thesis_histogram_intersection}


def _unit(v: Float[Tensor, "b p"], order: int) -> Float[Tensor, "b p"]:
    """v / ||v||, and 0, with derivative 0, where v vanishes."""
    length = torch.linalg.vector_norm(v, order, 1, keepdim=True)
    return torch.where(length > EPSILON, v / length.clamp(min=EPSILON), 0)


def _check_options(**options) -> None:
    for name, (value, allowed) in options.items():
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, found {value!r}")
