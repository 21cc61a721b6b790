"""Tensors in, tensors out: what is done to a saliency map after it was made, and before it is judged or drawn."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

Normalization = Literal["range", "max", "sigmoid"]
Size = tuple[int, int] | torch.Size  # H, W: a part of a shape is one as well


def resize(maps: Float[Tensor, "b h w"], size: Size) -> Float[Tensor, "b H W"]:
    """The maps at `size` (H, W) in pixels, by bilinear interpolation with half-pixel centres (`align_corners=False`)."""
    return F.interpolate(maps[:, None], tuple(size), mode="bilinear", align_corners=False)[:, 0]


def degenerate(maps: Float[Tensor, "b h w"]) -> Bool[Tensor, " b"]:
    """True for each map that is constant and so says nothing; `normalize` by range turns such a map into zeros."""
    flat = maps.flatten(1)
    return flat.amin(1) == flat.amax(1)


def normalize(maps: Float[Tensor, "b h w"], to: Normalization = "range") -> Float[Tensor, "b h w"]:
    """Each map scaled by itself alone, never by the other images of the batch.

    - `"range"`: (S - min S) / (max S - min S), in [0, 1]; a constant map becomes zeros (thesis, eq. 1.7)
    - `"max"`: S / max S, so 0 stays 0; a map without a positive value becomes zeros (thesis, eq. 2.10)
    - `"sigmoid"`: 1 / (1 + exp(-S)) (thesis, eq. 2.11)

    Raises ValueError for another `to`.
    """
    if to == "sigmoid":
        return maps.sigmoid()
    high = maps.amax((1, 2), keepdim=True)
    if to == "range":
        low = maps.amin((1, 2), keepdim=True)
        return _ratio(maps - low, high - low)
    if to == "max":
        return _ratio(maps, high)
    raise ValueError(f"normalize to 'range', 'max' or 'sigmoid', found {to!r}")


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole, and zeros where whole <= 0; no epsilon, which would bias small maps. NaN stays NaN."""
    empty = whole <= 0
    return torch.where(empty, 0, part / torch.where(empty, 1, whole))


def blur(images: Float[Tensor, "b c h w"], sigma: float | int) -> Float[Tensor, "b c h w"]:
    """The images under a true Gaussian of `sigma` pixels, cut at 3 sigma, with reflected borders.

    Raises ValueError if sigma is not positive or the image is smaller than the kernel's half.
    """
    h, w = images.shape[2:]
    if not 0 < 3 * sigma <= min(h, w) - 1:
        raise ValueError(f"sigma must be positive and 3 sigma below the image's {h} x {w} pixels, found {sigma=}")
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, -1)
    padded = F.pad(images, (radius,) * 4, mode="reflect")
    rows = F.conv2d(padded, kernel[..., None, :], groups=images.shape[1])
    return F.conv2d(rows, kernel[..., None], groups=images.shape[1])


def rank(maps: Float[Tensor, "b h w"]) -> Int[Tensor, "b n"]:
    """Pixel indices (row-major) of each map from the most to the least salient; ties stay in row-major order."""
    return maps.flatten(1).argsort(dim=1, descending=True, stable=True)
