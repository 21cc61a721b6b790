"""Explaining by masking: hide parts of the image and see what the score does. No layer and no gradient is needed.

Each method shows the network many images  keep * x + (1 - keep) * substrate,  with masks `keep` in [0, 1], and reads
the map off their scores. They differ in the masks, and in how scores become a map:

    occlusion   a window that slides over the image       the mean drop of the score while a pixel is hidden
    rise        random smooth masks, the same for all     the mean of the masks, each weighted by its score
    lime        random sets of superpixels (in lime.py)   the coefficients of a linear model of the scores

The cost is one forward pass per mask and image. Masks are made and used in chunks, so memory is bounded; the chunk
(default: 4 images on a CPU, 128 on a GPU) changes speed and memory, not the maps.
"""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor, nn

from xailib import network
from xailib.inputs import explainer
from xailib.network import chunk_size

# --- occlusion --------------------------------------------------------------------------------------------------------


@explainer
def occlusion(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    *,
    window: int = 32,
    stride: int | None = None,
    substrate: str = "image_mean",
    score: str = "logit",
    chunk: int | None = None,
) -> Float[Tensor, "b H W"]:
    """How much the target's score drops, on average over the windows that hide a pixel (Zeiler and Fergus, ECCV 2014).

    A window of `window` x `window` pixels moves in steps of `stride` (default: a quarter of it); the last of a row or
    column ends at the border, so every pixel is hidden at least once. Hidden pixels take the colour of `substrate`: the
    `"image_mean"`, which each image has its own of, `"grey"` (0.5) or `"black"`. `score` is the `"logit"` (default) or
    the `"probability"`, whose drops are small where the network is sure. Positive: evidence for the class. Negative:
    evidence against it.
    Raises ValueError for a window larger than the image, a stride larger than the window, and bad options.
    """
    stride = max(window // 4, 1) if stride is None else stride
    if not 1 <= stride <= window <= min(images.shape[2:]):
        raise ValueError(f"need 1 <= stride <= window <= {min(images.shape[2:])}, found {stride=} and {window=}")
    images, chunk = network.channels_last(model, images.detach()), chunk_size(chunk, images)
    fill = flat_colour(images, substrate)
    whole = masked_scores(model, images, targets, fill.new_ones(1, *images.shape[2:]), fill, score)
    drops, hidings = 0, 0
    for hidden in _windows(images, window, stride, chunk):
        scores = masked_scores(model, images, targets, 1 - hidden, fill, score)
        with full_precision(images):
            drops = drops + (whole - scores) @ hidden.flatten(1).to(scores.dtype)
        hidings = hidings + hidden.sum(0)
    return drops.unflatten(1, images.shape[2:]) / hidings


def _windows(images: Tensor, window: int, stride: int, chunk: int) -> Iterator[Float[Tensor, "n H W"]]:
    """Masks that are 1 inside the window and 0 elsewhere, for every position of it, a chunk at a time."""
    rows, columns = (_intervals(length, window, stride).to(images) for length in images.shape[2:])
    for position in torch.arange(len(rows) * len(columns), device=images.device).split(chunk):
        yield rows[position // len(columns)][:, :, None] * columns[position % len(columns)][:, None, :]


def _intervals(length: int, window: int, stride: int) -> Bool[Tensor, "n length"]:
    starts = torch.tensor([*range(0, length - window, stride), length - window])[:, None]
    pixels = torch.arange(length)
    return (starts <= pixels) & (pixels < starts + window)


# --- RISE -------------------------------------------------------------------------------------------------------------


@explainer
def rise(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    *,
    masks: int = 4000,
    cells: int = 7,
    p: float = 0.5,
    score: str = "probability",
    divide_by: str = "expected",
    generator: Generator | None = None,
    chunk: int | None = None,
) -> Float[Tensor, "b H W"]:
    """S = 1/(N p) sum_i f_c(x * M_i) M_i, the mean score given that a pixel is seen (RISE; Petsiuk et al., BMVC 2018).

    The N = `masks` masks M_i are grids of `cells` x `cells`, each cell open with probability `p`, enlarged bilinearly
    and shifted at random. f_c is the target's probability, as in the paper, or its logit (`score="logit"`). All images
    are seen through the same masks, drawn from `generator` (default: one of seed 0, so that maps repeat).
    N p is how often a pixel is expected to be seen; `divide_by="seen"` takes sum_i M_i, how often it was, which needs far
    fewer masks: chance then no longer shows where the score is constant. Raises ValueError for bad options.
    """
    if divide_by not in ("expected", "seen"):
        raise ValueError(f"divide_by must be 'expected' or 'seen', found {divide_by!r}")
    if masks < 1 or cells < 1 or not 0 < p <= 1:
        raise ValueError(f"need masks >= 1, cells >= 1 and 0 < p <= 1, found {masks=}, {cells=}, {p=}")
    images, chunk = network.channels_last(model, images.detach()), chunk_size(chunk, images)
    black, saliency, seen = flat_colour(images, "black"), 0, 0
    for keep in random_masks(images, masks, cells, p, generator, chunk):
        scores = masked_scores(model, images, targets, keep, black, score)
        with full_precision(images):
            saliency = saliency + scores @ keep.flatten(1).to(scores.dtype)
        seen = seen + keep.flatten(1).to(scores.dtype).sum(0)
    times = seen.clamp(min=1e-6) if divide_by == "seen" else masks * p
    return (saliency / times).unflatten(1, images.shape[2:])


def random_masks(
    images: Float[Tensor, "b c H W"], count: int, cells: int, p: float, generator: Generator | None, chunk: int
) -> Iterator[Float[Tensor, "n H W"]]:
    """RISE's masks, a chunk at a time: grids of open and closed cells, enlarged bilinearly to one cell more than the
    image, from which a window of the image's size is cut at a random place."""
    generator = generator if generator is not None else Generator().manual_seed(0)
    grids = (torch.rand(count, cells, cells, generator=generator, device=generator.device) < p).to(images.device)
    shifts = torch.rand(count, 2, generator=generator, device=generator.device).to(images.device)
    for grid, shift in zip(grids.split(chunk), shifts.split(chunk), strict=True):
        rows, columns = (_enlarging(length, cells, shift[:, axis]) for axis, length in enumerate(images.shape[2:]))
        with full_precision(shift):
            keep = rows @ grid.to(rows.dtype) @ columns.mT  # bilinear interpolation is one matrix per axis
        yield keep.clamp(max=1).to(images)


def _enlarging(length: int, cells: int, shift: Float[Tensor, " n"]) -> Float[Tensor, "n length cells"]:
    """For each shift (in [0, 1) cells), the matrix that interpolates `cells` values linearly at `length` pixels."""
    cell = math.ceil(length / cells)
    pixels = torch.arange(length, device=shift.device) + (shift * cell).floor()[:, None]
    places = ((pixels + 0.5) / ((cells + 1) * cell / cells) - 0.5).clamp(0, cells - 1)
    return (1 - (places[..., None] - torch.arange(cells, device=shift.device)).abs()).relu()


# --- images seen through masks ----------------------------------------------------------------------------------------


@torch.no_grad()
def masked_scores(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    keep: Float[Tensor, "n H W"],
    substrate: Float[Tensor, "b c _ _"],
    score: str,
) -> Float[Tensor, "b n"]:
    """The target's score of each image through each mask: where `keep` is 1 its pixels, where it is 0 the substrate's.

    Runs the network once per image, on all n masks, so that no score depends, by one bit, on the rest of the batch.
    """
    through = zip(substrate.split(1), images.split(1), targets.split(1), strict=True)
    seen = ((torch.lerp(image, fill, 1 - keep[:, None]), target) for fill, image, target in through)
    return torch.stack([class_score(model, masked, target.expand(len(keep)), score) for masked, target in seen])


def class_score(model: nn.Module, images: Tensor, targets: Int[Tensor, " b"], score: str) -> Float[Tensor, " b"]:
    """The target's `"logit"` or `"probability"`. Raises ValueError for another name."""
    if score not in ("logit", "probability"):
        raise ValueError(f"score must be 'logit' or 'probability', found {score!r}")
    logits = model(images)
    return (network.class_scores if score == "logit" else network.class_probabilities)(logits, targets)


def flat_colour(images: Float[Tensor, "b c H W"], substrate: str) -> Float[Tensor, "b c 1 1"]:
    """What stands in for hidden pixels, one colour per image. Raises ValueError for an unknown substrate."""
    if substrate == "image_mean":
        return images.mean((2, 3), keepdim=True)
    levels = {"grey": 0.5, "black": 0.0}
    if substrate not in levels:
        raise ValueError(f"substrate must be 'image_mean', 'grey' or 'black', found {substrate!r}")
    return torch.full_like(images[:, :, :1, :1], levels[substrate])


def full_precision(tensor: Tensor) -> torch.autocast:
    """Arithmetic as the tensors' types say, also where the caller runs the network under autocast."""
    return torch.autocast(tensor.device.type, enabled=False)
