"""Masks found by optimisation: the part of an image that, once blurred or kept, changes most what the network says.

Two games, one loop. The gradient of an energy goes through the network to the mask, and only there.

    meaningful_perturbation   deletion: blur as little as possible so that the class is lost
    extremal_perturbation     preservation: keep a given area so that the class scores as high as possible
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from xailib import heatmap
from xailib.explain.perturbation import class_score, full_precision
from xailib.inputs import explainer

# --- meaningful perturbation ------------------------------------------------------------------------------------------


@explainer
@torch.inference_mode(False)
@torch.enable_grad()
def meaningful_perturbation(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    *,
    iterations: int = 300,
    cells: int = 28,
    l1: float = 1e-4,
    tv: float = 1e-2,
    beta: float = 3.0,
    blur: float = 10.0,
    jitter: int = 4,
    generator: Generator | None = None,
) -> Float[Tensor, "b H W"]:
    """1 - m, in [0, 1]: high where the image must be blurred for the class to be lost (Fong and Vedaldi, 2017).

    The mask m of `cells` x `cells` cells, enlarged by Gaussian interpolation, mixes the image (1) with the image
    blurred by `blur` pixels (0). Adam (rate 0.1) minimises, for each image by itself,

        l1 sum |1 - m| + tv sum |grad m|^beta + p_c(mixture),

    where every iteration moves image and blurred image under the mask by up to `jitter` / 2 pixels, all images alike,
    drawn from `generator` (default: one of seed 0). The mask starts at 1 everywhere; the authors start from a central
    disc. Raises ValueError for bad options.
    """
    if iterations < 1 or cells < 2 or jitter < 0 or min(l1, tv) < 0 or beta < 1:
        raise ValueError(
            "need iterations >= 1, cells >= 2, jitter >= 0, l1 >= 0, tv >= 0 and beta >= 1, "
            f"found {iterations=}, {cells=}, {jitter=}, {l1=}, {tv=}, {beta=}"
        )
    images, targets = images.detach().clone(), targets.clone()  # inference tensors cannot be differentiated through
    pair = torch.stack([blurred(images, blur), images])
    generator = generator if generator is not None else Generator().manual_seed(0)
    rows, columns = (gaussian_enlarging(length, cells).to(pair) for length in images.shape[2:])
    mask = pair.new_ones(len(images), cells, cells).requires_grad_()

    def energy(_) -> Float[Tensor, " b"]:
        low, high = _moved(pair, jitter, generator)
        with full_precision(images):
            seen = torch.lerp(low, high, (rows @ mask @ columns.T)[:, None]).to(images.dtype)
        cost = l1 * (1 - mask).abs().sum((1, 2)) + tv * _variation(mask, beta)
        return cost + class_score(model, seen, targets, "probability")

    _minimise(energy, mask, torch.optim.Adam([mask], lr=0.1), iterations)
    with full_precision(images):
        return (1 - rows @ mask.detach() @ columns.T).clamp(0, 1)  # rounding leaves 1.0000001


def gaussian_enlarging(length: int, cells: int) -> Float[Tensor, "length cells"]:
    """The matrix that spreads `cells` values over `length` pixels by normalised Gaussians of 5/8 of a cell."""
    places = (torch.arange(length) + 0.5) / (length / cells) - 0.5
    weights = torch.exp(-((places[:, None] - torch.arange(cells)) ** 2) / (2 * 0.625**2))
    return weights / weights.sum(1, keepdim=True)


def _moved(pair: Float[Tensor, "2 b c H W"], jitter: int, generator: Generator) -> Float[Tensor, "2 b c H W"]:
    move = torch.randint(jitter + 1, (2,), generator=generator, device=generator.device) - jitter // 2
    return pair.roll(move.tolist(), (-2, -1))


def _variation(mask: Float[Tensor, "b h w"], beta: float) -> Float[Tensor, " b"]:
    down, right = mask.diff(dim=1)[:, :, :-1], mask.diff(dim=2)[:, :-1]
    return ((down**2 + right**2) ** (beta / 2)).sum((1, 2))


# --- extremal perturbation --------------------------------------------------------------------------------------------


@explainer
@torch.inference_mode(False)
@torch.enable_grad()
def extremal_perturbation(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    *,
    area: float = 0.1,
    iterations: int = 800,
    step: int = 7,
    sigma: float = 21.0,
    blur: float = 20.0,
    flip: bool = True,
    score: str = "logit",
) -> Float[Tensor, "b H W"]:
    """The smooth mask, in [0, 1], of a given area that keeps the target's score highest (Fong et al., ICCV 2019).

    Where the mask m is 1 the image stays, where it is 0 it is blurred by `blur` pixels, with six levels between. m is
    the smooth maximum of discs of about `sigma` pixels around parameters every `step` pixels. SGD maximises

        f_c(mixture) - lambda mean( (sort(m) - r)^2 ),     r = zeros, then ones on the share `area` of the pixels,

    with lambda from 300, growing by 1.0035 in each of 800 iterations; fewer `iterations` grow it as far. With `flip`
    (the authors' jitter) every second iteration shows the mirrored mixture. Settings are those of the authors' code,
    and as there m reaches `sigma` pixels beyond the image, or places at its border would cost less area. But `area` is
    a share of the image, as in the paper, and not of image and margin. At first all values of m are equal, and rounding
    decides how they are sorted: another machine or precision may end in a slightly different mask.
    Raises ValueError for bad options.
    """
    if iterations < 1 or step < 1 or sigma <= 0 or not 0 < area < 1:
        raise ValueError(
            "need iterations >= 1, step >= 1, sigma > 0 and 0 < area < 1, "
            f"found {iterations=}, {step=}, {sigma=}, {area=}"
        )
    images, targets = images.detach().clone(), targets.clone()  # inference tensors cannot be differentiated through
    (height, width), border = images.shape[2:], math.ceil(sigma / step)  # the border in cells
    pyramid = blur_pyramid(images, blur)
    kernel = disc_kernel(step, sigma).to(pyramid)
    cells = kernel.new_ones(len(images), math.ceil(height / step), math.ceil(width / step)).requires_grad_()
    inside = (..., slice(border * step, border * step + height), slice(border * step, border * step + width))

    def energy(iteration: int) -> Float[Tensor, " b"]:
        mask = smooth_maximum(F.pad(cells, (border,) * 4), kernel)
        seen = _at_level(pyramid, mask[inside]).to(images.dtype)
        seen = seen.flip(-1) if flip and iteration % 2 == 0 else seen
        misfit = area_misfit(mask, area * height * width)
        return area_price(iteration, iterations) * misfit - class_score(model, seen, targets, score)

    _minimise(energy, cells, torch.optim.SGD([cells], lr=0.01, momentum=0.9, dampening=0.9), iterations)
    return smooth_maximum(F.pad(cells, (border,) * 4), kernel)[inside].detach()


def area_price(iteration: int, iterations: int) -> float:
    """lambda: 300 at first, and by the last iteration 1.0035^800 = 16 times as much, however many there are."""
    return 300 * 1.0035 ** (iteration * 800 / iterations)


def area_misfit(mask: Float[Tensor, "b h w"], pixels: float) -> Float[Tensor, " b"]:
    """mean( (sort(m) - r)^2 ): how far the mask's values are from zeros, then ones at so many `pixels`."""
    ordered = mask.flatten(1).sort(1).values
    reference = torch.arange(ordered.shape[1], device=mask.device) >= ordered.shape[1] - round(pixels)
    return ((ordered - reference.to(ordered.dtype)) ** 2).mean(1)


def disc_kernel(step: int, sigma: float) -> Float[Tensor, "n s"]:
    """exp(-2 max(0, d / sigma - 1/2)^2) for the distance d of a pixel of a cell from each of the n centres around."""
    radius = 1 + math.ceil(sigma / step)
    apart = torch.arange(-radius, radius + 1)[:, None] * step + (step - 1) / 2 - torch.arange(step)  # along one axis
    distance = (apart[:, None, :, None] ** 2 + apart[None, :, None, :] ** 2).sqrt().reshape(-1, step**2)
    return torch.exp(-2 * (distance / sigma - 0.5).relu() ** 2)


def smooth_maximum(
    parameters: Float[Tensor, "b h w"], kernel: Float[Tensor, "n s"], temperature: float = 1 / 20
) -> Float[Tensor, "b H W"]:
    """The softmax-weighted mean, at each pixel, of the discs around, each as high as its parameter: a smooth max."""
    side, step = math.isqrt(len(kernel)), math.isqrt(kernel.shape[1])
    around = F.unfold(parameters[:, None], side, padding=side // 2)  # [b n cells]
    discs = around[:, :, None] * kernel[..., None]  # [b n pixels-of-a-cell cells]
    values = (discs * (discs / temperature).softmax(1)).sum(1)
    height, width = parameters.shape[1:]
    return F.fold(values, (height * step, width * step), step, stride=step)[:, 0]


def blur_pyramid(images: Float[Tensor, "b c H W"], blur: float, levels: int = 8) -> Float[Tensor, "levels b c H W"]:
    """The images, blurred less and less: by `blur` pixels at the first level, not at all at the last."""
    return torch.stack([blurred(images, blur * (1 - level / (levels - 1))) for level in range(levels)])


def _at_level(pyramid: Float[Tensor, "l b c H W"], mask: Float[Tensor, "b H W"]) -> Float[Tensor, "b c H W"]:
    """The pyramid read, pixel by pixel, at the level mask * (l - 1), linearly between levels."""
    level = mask * (len(pyramid) - 1)
    below = level.detach().floor().clamp(max=len(pyramid) - 2)
    index = below.long()[None, :, None].expand(1, *pyramid.shape[1:])
    return torch.lerp(pyramid.gather(0, index)[0], pyramid.gather(0, index + 1)[0], (level - below)[:, None])


# --- both -------------------------------------------------------------------------------------------------------------


def blurred(images: Float[Tensor, "b c H W"], sigma: float) -> Float[Tensor, "b c H W"]:
    """The images, in at least float32, under a Gaussian of `sigma` pixels. Raises ValueError if they are too small."""
    largest = (min(images.shape[2:]) - 1) / 3
    if not 0 <= sigma <= largest:
        raise ValueError(
            f"blur must lie in 0..{largest:.3g} pixels for {tuple(images.shape)} images, found {sigma:.3g}"
        )
    images = images.to(torch.promote_types(images.dtype, torch.float32))
    with full_precision(images):
        return heatmap.blur(images, sigma) if sigma else images


def _minimise(energy: Callable[[int], Tensor], mask: Tensor, optimizer: torch.optim.Optimizer, iterations: int) -> None:
    """Moves the mask down each image's own energy and keeps it in [0, 1]; gradients reach nothing but the mask."""
    for iteration in range(iterations):
        (mask.grad,) = torch.autograd.grad(energy(iteration).sum(), mask)
        optimizer.step()
        mask.data.clamp_(0, 1)
