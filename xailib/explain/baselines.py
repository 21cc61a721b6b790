"""Maps that ask no network, to compare with: an explanation should beat chance, the centre, and the edges."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from xailib import heatmap
from xailib.inputs import explainer


@explainer
def random_map(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    *,
    cells: int | None = 7,
    generator: Generator | None = None,
) -> Float[Tensor, "b H W"]:
    """Uniform noise in [0, 1): a grid of `cells` x `cells` values, as coarse as a class activation map, resized to the
    image; `cells=None` draws each pixel by itself.

    All images get the same noise, from `generator` (default: one of seed 0). Raises ValueError for cells below 1.
    """
    if cells is not None and cells < 1:
        raise ValueError(f"cells must be at least 1, found {cells}")
    generator = generator if generator is not None else Generator().manual_seed(0)
    size = images.shape[2:] if cells is None else (cells, cells)
    noise = torch.rand(1, *size, generator=generator, device=generator.device)
    return _for_each(images, heatmap.resize(noise, images.shape[2:]))


@explainer
def centre_map(
    model: nn.Module, images: Float[Tensor, "b c H W"], targets: Int[Tensor, " b"]
) -> Float[Tensor, "b H W"]:
    """A round hill in the middle of the image, where photographers put things: exp(-2 d^2), with d = 1 half-way along
    the image's sides."""
    rows, columns = (((torch.arange(side) + 0.5) / side - 0.5) * 4 for side in images.shape[2:])
    return _for_each(images, torch.exp(-2 * (rows[:, None] ** 2 + columns**2))[None])


@explainer
def edge_map(model: nn.Module, images: Float[Tensor, "b c H W"], targets: Int[Tensor, " b"]) -> Float[Tensor, "b H W"]:
    """Where brightness changes: the length of the Sobel gradient of the mean over channels, the border repeated."""
    grey = images.detach().mean(1, keepdim=True)
    grey = F.pad(grey.to(torch.promote_types(grey.dtype, torch.float32)), (1, 1, 1, 1), mode="replicate")
    return torch.hypot(_sobel(grey), _sobel(grey.mT).mT)[:, 0]


def _sobel(grey: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h-2 w-2"]:
    """The change per pixel from left to right, smoothed from top to bottom; exactly zero where nothing changes."""
    change = (grey[..., 2:] - grey[..., :-2]) / 2
    return (change[..., :-2, :] + 2 * change[..., 1:-1, :] + change[..., 2:, :]) / 4


def _for_each(images: Tensor, maps: Float[Tensor, "1 H W"]) -> Float[Tensor, "b H W"]:
    dtype = torch.promote_types(images.dtype, torch.float32)
    return maps.to(images.device, dtype).repeat(len(images), 1, 1)
