"""What happens to the class while pixels come and go, in the order of the map?

    deletion     the image loses its pixels to a flat colour, the most salient first    a good map: p falls at once
    insertion    a blurred image becomes sharp, the most salient pixels first           a good map: p rises at once

Both are one curve, from a picture `before` to a picture `after` (RISE; Petsiuk et al., BMVC 2018; thesis, alg. 1, 2):

    p(i) = P(target | `after` at the first i * step pixels in the order of the map, `before` elsewhere),

at i = 0, 1, ... up to the last pixel, both ends included, and its area, `auc`. The order alone counts, so maps need
no normalisation; equally salient pixels go row by row. Only `chunk` images are made and run at a time.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from xailib import heatmap, network
from xailib.inputs import check_maps, check_model, check_targets
from xailib.metrics.protocol import judged
from xailib.metrics.substrate import flat_substrate, normalization

BLURS = {"rise11": 11, "ca5": 5, "gaussian": None}  # the side of RISE's window, where it is RISE's

# --- the two curves ---------------------------------------------------------------------------------------------------


@judged
def deletion_curve(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    maps: Float[Tensor, "b H W"],
    *,
    step: int | None = None,
    substrate: str = "mean",
    chunk: int | None = None,
) -> Float[Tensor, "b points"]:
    """The target's probability while the image loses its pixels, the most salient first.

    `step` pixels (default: as many as a row has) go at a time and take the colour of `substrate`: the network's
    `"mean"` (as in RISE's code), `"black"` (as in the texts) or `"minimum"` (see `flat_substrate`).
    Raises ValueError for bad input, maps that are not finite, and bad options.
    """
    after = flat_substrate(model, images, substrate)
    return replacement_curve(model, images, after, targets, maps, step=step, chunk=chunk)


@judged
def insertion_curve(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    maps: Float[Tensor, "b H W"],
    *,
    step: int | None = None,
    blur: str = "rise11",
    chunk: int | None = None,
) -> Float[Tensor, "b points"]:
    """The target's probability while a blurred image gets its pixels back, the most salient first.

    `step` pixels (default: as many as a row has) come back at a time. `blur` as in `blurred`.
    Raises ValueError for bad input, maps that are not finite, and bad options.
    """
    return replacement_curve(model, blurred(model, images, blur), images, targets, maps, step=step, chunk=chunk)


def replacement_curve(
    model: nn.Module,
    before: Float[Tensor, "b c _ _"],
    after: Float[Tensor, "b c _ _"],
    targets: Int[Tensor, " b"],
    maps: Float[Tensor, "b H W"],
    *,
    step: int | None = None,
    chunk: int | None = None,
) -> Float[Tensor, "b points"]:
    """The target's probability while the pixels of `before` become those of `after`, the most salient first.

    Either may be one colour per image, [b c 1 1]. Raises ValueError for a model in training mode, maps that are not
    finite or do not fit, and a step below 1.
    """
    check_model(model)
    check_maps(maps)
    check_targets(targets, maps)
    if not all(picture.shape[2:] in ((1, 1), maps.shape[1:]) for picture in (before, after)):
        raise ValueError(f"maps {tuple(maps.shape)} do not fit {tuple(before.shape)} and {tuple(after.shape)}")
    places = heatmap.rank(maps).argsort(1).view(maps.shape)  # of each pixel in the order
    counts = _counts(maps, step).to(maps.device)
    before, after = (picture.expand(*picture.shape[:2], *maps.shape[1:]) for picture in (before, after))
    return probabilities_along(model, before, after, targets, places, counts, chunk)


@torch.no_grad()
def probabilities_along(
    model: nn.Module,
    before: Float[Tensor, "b c H W"],
    after: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    places: Int[Tensor, "b H W"],
    counts: Int[Tensor, " points"],
    chunk: int | None,
) -> Float[Tensor, "b points"]:
    """The target's probability with `after` at the pixels whose place is below each count, and `before` elsewhere.

    One image of the batch at a time, so that no probability depends on the other images, not even by rounding.
    """
    chunk, curves = network.chunk_size(chunk, before), []
    before, after = network.channels_last(model, torch.cat([before, after])).chunk(2)
    for image, other, target, place in zip(before, after, targets, places, strict=True):
        mixed = (torch.where(place < part[:, None, None, None], other, image) for part in counts.split(chunk))
        curves.append(torch.cat([network.class_probabilities(model(x), target.expand(len(x))) for x in mixed]))
    return torch.stack(curves)


def _counts(maps: Float[Tensor, "b H W"], step: int | None) -> Int[Tensor, " points"]:
    """How many pixels have been replaced at each point of a curve."""
    step, pixels = maps.shape[2] if step is None else step, maps[0].numel()
    if step < 1:
        raise ValueError(f"step must be at least 1 pixel, found {step}")
    return (step * torch.arange(math.ceil(pixels / step) + 1)).clamp(max=pixels)


# --- the area ---------------------------------------------------------------------------------------------------------


def auc(curves: Float[Tensor, "b points"], fractions: Float[Tensor, " points"] | None = None) -> Float[Tensor, " b"]:
    """The area under each curve by the trapezoidal rule, in [0, 1]: the mean probability along the way.

    Deletion: less is better. Insertion: more is better. Points are equally far apart; where `step` does not divide the
    number of pixels the last step is shorter, and `fractions=replaced_fractions(maps, step)` says so. (RISE's code does
    not.) Raises ValueError for a curve of one point.
    """
    if curves.shape[1] < 2:
        raise ValueError(f"a curve must have two points or more, found {curves.shape[1]}")
    fractions = torch.linspace(0, 1, curves.shape[1]) if fractions is None else fractions
    return torch.trapezoid(curves, fractions.to(curves))


def replaced_fractions(maps: Float[Tensor, "b H W"], step: int | None = None) -> Float[Tensor, " points"]:
    """The share of the pixels that has been replaced at each point of a curve, from 0 to 1."""
    return _counts(maps, step) / maps[0].numel()


# --- what insertion starts from ---------------------------------------------------------------------------------------


def blurred(model: nn.Module, images: Float[Tensor, "b c H W"], blur: str = "rise11") -> Float[Tensor, "b c H W"]:
    """The images without their detail, in pixel space.

    - `"rise11"`: RISE's code. A Gaussian of sigma 5 folded into a window of 11 x 11, hence almost the plain mean of
      these; zeros in the network's normalised space around the image
    - `"ca5"`: CA-Stream's, the same in 5 x 5: the image stays almost as it is, so that values cannot be compared
    - `"gaussian"`: a true Gaussian of sigma 5, 31 x 31, with reflected borders

    Raises ValueError for another blur, and for an image of 15 pixels or less under `"gaussian"`.
    """
    if blur not in BLURS:
        raise ValueError(f"blur must be one of {', '.join(map(repr, BLURS))}, found {blur!r}")
    if blur == "gaussian":
        return heatmap.blur(images, 5.0)
    mean, channels = normalization(model, images)[0], images.shape[1]
    kernel = folded_gaussian(BLURS[blur]).to(images).expand(channels, 1, -1, -1)
    return mean + F.conv2d(images - mean, kernel, padding=BLURS[blur] // 2, groups=channels)


def folded_gaussian(size: int, sigma: float | int = 5) -> Float[Tensor, "size size"]:
    """RISE's kernel: a single bright pixel in the middle of a window, blurred inside it, where each border reflects.

    What a Gaussian has outside the window is folded back into it, so that sigma 5 in 11 x 11 is all but flat.
    """
    offsets = torch.arange(-round(4 * sigma), round(4 * sigma) + 1)  # cut where scipy.ndimage cuts it
    weights = torch.exp(-(offsets.double() ** 2) / (2 * sigma**2))
    unrolled = (size // 2 + offsets) % (2 * size)  # two reflections bring back the window
    places = torch.minimum(unrolled, 2 * size - 1 - unrolled)
    line = torch.zeros(size, dtype=torch.float64).index_add(0, places, weights / weights.sum())
    return line[:, None] * line
