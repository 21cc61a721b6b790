"""Gradients of the class score with respect to the image: plain, guided, smoothed, integrated.

The gradient dy_c/dx has three colours at each pixel. Unless said otherwise a map is their sum: how fast the score
grows when the pixel gets brighter in all three colours alike. It keeps its sign, and it is linear, so that what holds
for gradients (completeness, averages) holds for maps.
"""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from xailib import network
from xailib.inputs import check_maps, checked, explainer
from xailib.rectifier import guided_relu


@checked
def gradient(
    model: nn.Module, images: Float[Tensor, "b c H W"], targets: Int[Tensor, " b"], *, guided: bool = False
) -> Float[Tensor, "b c H W"]:
    """The gradient of each image's target logit, colour by colour; with `guided`, by guided backpropagation.

    Raises ValueError for bad input, for a score that has no gradient at the image, and, if guided, for a network whose
    activations cannot be guided (see `rectifier.guided_relu`).
    """
    return _gradient(model, images, targets, guided)


@explainer
def input_gradient(
    model: nn.Module, images: Float[Tensor, "b c H W"], targets: Int[Tensor, " b"]
) -> Float[Tensor, "b H W"]:
    """The gradient of the target's logit, summed over colours, with its sign. Raises ValueError as `gradient` does."""
    return _gradient(model, images, targets).sum(1)


@explainer
def saliency(model: nn.Module, images: Float[Tensor, "b c H W"], targets: Int[Tensor, " b"]) -> Float[Tensor, "b H W"]:
    """The largest magnitude of the gradient among the colours, max_c |dy/dx_c| >= 0 (Simonyan et al., 2014, sec. 3.1).

    Raises ValueError as `gradient` does.
    """
    return _gradient(model, images, targets).abs().amax(1)


@explainer
def guided_backprop(
    model: nn.Module, images: Float[Tensor, "b c H W"], targets: Int[Tensor, " b"]
) -> Float[Tensor, "b H W"]:
    """The guided gradient, summed over colours, with its sign (guided backpropagation; Springenberg et al., 2015).

    At each ReLU only what is positive goes back. `gradient(..., guided=True)` keeps the colours.
    Raises ValueError as `gradient` does.
    """
    return _gradient(model, images, targets, guided=True).sum(1)


@explainer
def smoothgrad(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    *,
    n: int = 25,
    sigma: float = 0.15,
    guided: bool = False,
    chunk: int = 16,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "b H W"]:
    """The mean gradient of `n` noisy copies of each image, summed over colours (SmoothGrad; Smilkov et al., 2017).

    The noise is Gaussian, with a standard deviation of `sigma` times the image's range (max - min), the same draw for
    every image of a batch; noisy pixels may leave [0, 1]. `guided` smooths the guided gradient. Without a `generator`
    each call draws the same noise. At most `chunk` copies are in memory at once (about 100 MiB each for ResNet-50 at
    224 x 224). Raises ValueError as `gradient` does, and for n or chunk below 1 or a negative sigma.
    """
    _check_counts(n=n, chunk=chunk)
    if not 0 <= sigma < float("inf"):
        raise ValueError(f"sigma must be a finite part of the image's range, 0 or more, found {sigma}")
    generator = generator or torch.Generator().manual_seed(0)
    noise = [torch.randn(images.shape[1:], generator=generator, device=generator.device) for _ in range(n)]
    noise = sigma * torch.stack(noise).to(images)[:, None]
    spread = images.amax((1, 2, 3), keepdim=True) - images.amin((1, 2, 3), keepdim=True)

    def copies(rows: Tensor, samples: Tensor) -> Tensor:
        return images[rows] + spread[rows] * noise[samples]

    return _mean_gradient(model, copies, targets, n, chunk, guided).sum(1)


@explainer
def integrated_gradients(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    *,
    steps: int = 50,
    baseline: Tensor | None = None,
    chunk: int = 16,
) -> Float[Tensor, "b H W"]:
    """What each pixel adds to the score on the way from a baseline image to the image, summed over colours:
    (x - x') times the mean gradient on the straight line between them (Sundararajan et al., ICML 2017, eq. 1).

    The integral is taken by the midpoint rule with `steps` points; `completeness_error` says how near it came. The
    `baseline` x' is an image [c H W] or one per image [b c H W], by default black. At most `chunk` points are in memory
    at once. Raises ValueError as `gradient` does, for steps or chunk below 1, and for a baseline that is no such image.
    """
    _check_counts(steps=steps, chunk=chunk)
    baseline = _baseline(images, baseline)
    way = (images - baseline).detach()
    alphas = torch.arange(0.5, steps, dtype=images.dtype, device=images.device) / steps

    def copies(rows: Tensor, samples: Tensor) -> Tensor:
        return baseline[rows] + alphas[samples, None, None, None, None] * way[rows]

    return (way * _mean_gradient(model, copies, targets, steps, chunk)).sum(1)


@checked
def completeness_error(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    maps: Float[Tensor, "b H W"],
    *,
    baseline: Tensor | None = None,
) -> Float[Tensor, " b"]:
    """How far the sum of each map is from the rise of the score, |sum S - (y(x) - y(x'))| / |y(x) - y(x')|.

    0 for exact integrated gradients, their axiom of completeness (Sundararajan et al., 2017, proposition 1); infinite
    if only the rise is 0. Raises ValueError for bad input and for maps or a baseline that do not fit the images.
    """
    check_maps(maps, images)
    with torch.no_grad():
        scores, start = (network.class_scores(model(x), targets) for x in (images, _baseline(images, baseline)))
    rise = scores.detach() - start.detach()
    gap = (maps.sum((1, 2)) - rise).abs()
    return torch.where(gap == 0, 0, gap / rise.abs())


def _gradient(model: nn.Module, images: Tensor, targets: Tensor, guided: bool = False) -> Float[Tensor, "b c H W"]:
    with torch.inference_mode(False), torch.enable_grad():
        x, targets = images.detach().clone().requires_grad_(), targets.clone()  # autograd keeps no inference tensors
        with guided_relu(model) if guided else nullcontext() as gate:
            scores = network.class_scores(model(x), targets)
        if guided:
            gate.on = True
        (found,) = network.gradients(scores, [x])
    if found is None:
        raise ValueError("the score has no gradient at the image: the network cuts it (detach, no_grad, rounding)")
    return found.to(torch.promote_types(found.dtype, torch.float32))


def _mean_gradient(
    model: nn.Module,
    copies: Callable[[Tensor, Tensor], Float[Tensor, "s r c H W"]],  # of the images in `rows`, for `samples` of n
    targets: Int[Tensor, " b"],
    n: int,
    chunk: int,
    guided: bool = False,
) -> Float[Tensor, "b c H W"]:
    """The mean gradient over n altered copies of each image, with at most `chunk` copies in one pass."""
    means = []
    for rows in torch.arange(len(targets)).split(chunk):
        total = torch.zeros(())
        for samples in torch.arange(n).split(max(1, chunk // len(rows))):
            altered = copies(rows, samples)
            found = _gradient(model, altered.flatten(0, 1), targets[rows].repeat(len(samples)), guided)
            total = total + found.unflatten(0, altered.shape[:2]).sum(0)
        means.append(total / n)
    return torch.cat(means)


def _baseline(images: Tensor, baseline: Tensor | None) -> Float[Tensor, "b c H W"]:
    if baseline is None:
        return torch.zeros_like(images)
    if not isinstance(baseline, Tensor) or baseline.shape not in (images.shape, images.shape[1:]):
        found = tuple(baseline.shape) if isinstance(baseline, Tensor) else type(baseline).__name__
        raise ValueError(f"baseline must be an image [c H W] or {tuple(images.shape)}, one per image; found {found}")
    if baseline.device != images.device:
        raise ValueError(f"baseline is on {baseline.device}, images on {images.device}; move them to one device")
    if not (0 <= baseline.min() and baseline.max() <= 1):  # also true for NaN
        raise ValueError(f"baseline must lie in [0, 1], found values from {baseline.min():.3g} to {baseline.max():.3g}")
    return baseline.to(images.dtype).expand_as(images)


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be at least 1, found {count}")
