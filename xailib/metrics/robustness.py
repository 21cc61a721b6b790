"""Region perturbation, and how much a map changes when the image hardly does."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from xailib.inputs import check_maps, checked
from xailib.metrics.causal import probabilities_along
from xailib.metrics.protocol import judged
from xailib.metrics.substrate import flat_substrate, normalization

# --- AOPC -------------------------------------------------------------------------------------------------------------


@judged
def aopc(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    maps: Float[Tensor, "b H W"],
    *,
    patch: int = 14,
    regions: int = 10,
    substrate: str = "minimum",
    aopc: str = "samek",
    chunk: int | None = None,
) -> Float[Tensor, " b"]:
    """The area over the perturbation curve: how much probability the target has lost, on average, while the `regions`
    most salient patches were taken from the image (Samek et al., TNNLS 2017, eq. 12). More is better.

    Options as in `perturbation_curve`; `aopc` as in `area_over`. Raises ValueError as these do.
    """
    curves = perturbation_curve(
        model, images, targets, maps, patch=patch, regions=regions, substrate=substrate, chunk=chunk
    )
    return area_over(curves, aopc=aopc)


@judged
def perturbation_curve(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    maps: Float[Tensor, "b H W"],
    *,
    patch: int = 14,
    regions: int = 10,
    substrate: str = "minimum",
    chunk: int | None = None,
) -> Float[Tensor, "b points"]:
    """The target's probability with 0, 1, ... `regions` patches taken away, those with the largest sum of the map first.

    The patches, `patch` x `patch` pixels, tile the image; equal ones go row by row. They take the colour of
    `substrate`: the `"minimum"` (Quantus), `"black"` or the network's `"mean"` (see `flat_substrate`).
    Raises ValueError for bad input, patches that do not tile the image, and more regions than patches.
    """
    places = _patch_places(maps, patch)
    if not 1 <= regions <= places.max() + 1:
        raise ValueError(f"regions must be from 1 to {places.max().item() + 1}, the number of patches, found {regions}")
    after = flat_substrate(model, images, substrate).expand_as(images)
    counts = torch.arange(regions + 1, device=images.device)
    return probabilities_along(model, images, after, targets, places, counts, chunk)


def _patch_places(maps: Float[Tensor, "b H W"], patch: int) -> Int[Tensor, "b H W"]:
    """The place of each pixel's patch in the order."""
    b, height, width = maps.shape
    if patch < 1 or height % patch or width % patch:
        raise ValueError(f"patches of {patch} pixels do not tile maps of {height} x {width}; choose a common divisor")
    sums = maps.view(b, height // patch, patch, width // patch, patch).sum((2, 4))
    places = sums.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(1).view(sums.shape)
    return places.repeat_interleave(patch, 1).repeat_interleave(patch, 2)


def area_over(curves: Float[Tensor, "b points"], *, aopc: str = "samek") -> Float[Tensor, " b"]:
    """The mean loss of probability along each curve, d_k = p_0 - p_k, with k = 0 .. L.

    `"samek"` has the mean of d_0 .. d_L, of which d_0 = 0; `"quantus_mean"` that of d_1 .. d_L; `"trapz"` the area under
    d_1 .. d_L by the trapezoidal rule with steps of 1, at most L - 1 (Quantus). Raises ValueError for another `aopc`.
    """
    drops = curves[:, :1] - curves
    areas = {"samek": drops.mean(1), "quantus_mean": drops[:, 1:].mean(1), "trapz": torch.trapezoid(drops[:, 1:])}
    if aopc not in areas:
        raise ValueError(f"aopc must be one of {', '.join(map(repr, areas))}, found {aopc!r}")
    return areas[aopc]


# --- max-sensitivity --------------------------------------------------------------------------------------------------


@checked
def max_sensitivity(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    explain: Callable[[nn.Module, Tensor, Tensor], Tensor],
    *,
    radius: float | int = 0.2,
    samples: int = 10,
    normalised: bool = True,
    generator: Generator | None = None,
) -> Float[Tensor, " b"]:
    """The largest change of the map, ||S(x + e) - S(x)|| / ||S(x)||, over some small noises e (Yeh et al., NeurIPS
    2019, eq. 1, who do not divide: `normalised=False`). Less is better.

    `explain` is any method of the course, `(model, images, targets) -> maps`, asked about the same class. Each of the
    `samples` noises is uniform in [-radius, radius] for every value of the network's normalised input, drawn from
    `generator` (default: one of seed 0), the same for all images; noisy pixels are cut to [0, 1], which is all that an
    explainer takes. NaN where S(x) = 0, of which no change is a share: count such images, do not average them.
    Raises ValueError for bad input, maps that are not finite, and bad options.
    """
    if samples < 1 or not radius > 0:
        raise ValueError(f"need samples >= 1 and radius > 0, found {samples=}, {radius=}")
    generator = generator if generator is not None else Generator().manual_seed(0)
    maps, largest = _checked(explain(model, images, targets), images), torch.zeros_like(targets, dtype=images.dtype)
    for _ in range(samples):
        noise = 2 * torch.rand(images.shape[1:], generator=generator, device=generator.device) - 1
        noisy = images + radius * normalization(model, images)[1] * noise.to(images)
        change = _checked(explain(model, noisy.clamp(0, 1), targets), images) - maps
        largest = torch.maximum(largest, change.flatten(1).norm(dim=1))
    size = maps.flatten(1).norm(dim=1)
    return largest / size.where(size > 0, torch.nan) if normalised else largest


def _checked(maps: Tensor, images: Tensor) -> Tensor:
    check_maps(maps, images)
    return maps.detach()
