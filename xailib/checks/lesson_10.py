"""Checks of lesson 10: four numbers on paper, a network of one line, and the photographs."""

from functools import cache
from random import Random

import torch

from xailib import heatmap, metrics, models
from xailib.checks import Checks, NotYet
from xailib.data import photos
from xailib.explain import cam, gradcam

check = Checks()


@check(
    hints=[
        "Write the four losses p - o on paper first: 0.4, -0.25, 0 and -0.09. Which count for AD, which for AG?",
        "`.relu()` keeps what is above 0. Divide image by image, and take the mean over the images last.",
        "AD divides by p, all that can be lost; AG divides by 1 - p, all that can be gained; AI counts o > p.",
    ]
)
def drop_increase_gain(answer):
    for p, o, expected, hint in (
        ((0.5,), (0.5,), (0, 0, 0), "A draw loses nothing and gains nothing: AI counts o > p, strictly."),
        ((0.5,), (0.25,), (50, 0, 0), "Half of the probability is lost, and nothing is gained: use relu."),
        ((0.8,), (0.9,), (0, 100, 50), "0.2 was missing and 0.1 of it is gained: AG divides by 1 - p."),
        ((0.8, 0.5, 0.2, 0.9), (0.4, 0.75, 0.2, 0.99), (12.5, 50, 35), "First the ratio of each image, then the mean."),
    ):
        found = answer(torch.tensor(p), torch.tensor(o))
        if not isinstance(found, (tuple, list)) or len(found) != 3:
            raise NotYet(f"expected three numbers, found {found!r}.", hint="Return `AD, AI, AG`, each a mean.")
        for name, value, right in zip(("AD", "AI", "AG"), found, expected, strict=True):
            _close(value, right, f"as {name} for p = {p} and o = {o}", hint=hint)


@check(
    hints=[
        "What is the map of the masked picture, if the method never looks at the picture? So what is its correlation with the first map?",
        "Coherency is (1 + 1) / 2 = 1. Complexity is the mean of the map.",
        "The harmonic mean of three numbers a, b, c is 3 / (1/a + 1/b + 1/c), here of 1, 1 - mean, and 1 - drop.",
    ]
)
def adcc_of_fixed_map(answer):
    for mean, drop, expected, hint in (
        (0.5, 0.0, 0.75, "3 / (1 + 2 + 1): coherency is 1, since the map is the same for every picture."),
        (0.0, 0.5, 0.75, "A map of nearly nothing has complexity 0; half of the probability is lost: 3 / (1 + 1 + 2)."),
        (0.75, 0.5, 3 / 7, "3 / (1 + 4 + 2): the harmonic mean, not the arithmetic one."),
        (1 - 1 / 16, 0.0, 1 / 6, "Fake-CAM with 16 pixels: 3 / (1 + 16 + 1)."),
    ):
        _close(answer(mean, drop), expected, f"for a mean of {mean:g} and a drop of {drop:g}", hint=hint)


@check(
    hints=[
        "A constant map has no correlation with anything (r = 0), so its coherency is only 0.5. How little must you change?",
        "Which value does the picture stand being multiplied by? The lesson's curve of the veils says where AG is high.",
        "A veil with one pixel of another value: `torch.full_like(images[:, 0], 0.5)`, then set `[:, 0, 0]` to 0.",
    ]
)
def cheat(answer):
    images, targets, p, reached = _photographs()
    maps = answer(images.clone())
    Com = metrics.complexity(maps)  # raises for what is no mask
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    if not torch.equal(answer(noise), maps) or not (maps == maps[:1]).all():
        raise NotYet(
            "the map depends on the picture; expected one map for all.", hint="Use the shape of `images` only."
        )
    o = _probabilities(images * maps[:, None], targets)
    AG = metrics.average_gain(p, o).mean().item()
    ADCC = metrics.adcc(p, o, metrics.coherency(maps, maps), Com).mean().item()
    if not AG > reached:
        raise NotYet(
            f"expected an AG above Grad-CAM's {reached:.2f}, found {AG:.2f}.",
            hint="Who hides next to nothing gains next to nothing: darken the picture.",
        )
    if not ADCC > 0.6:
        raise NotYet(
            f"AG is {AG:.1f}, fine; expected an ADCC above 0.6, found {ADCC:.3f}.",
            hint="Print coherency and complexity. Coherency is 1 for the same map twice, but 0.5 where it is constant.",
        )


@cache
def _photographs():
    """The photographs, the probabilities of their labels, and the AG of Grad-CAM."""
    images, targets, _ = photos.batch()
    maps = heatmap.normalize(cam(models.load(), images, targets, layer="bn2", weights=gradcam))
    p = _probabilities(images, targets)
    return images, targets, p, metrics.average_gain(p, _probabilities(images * maps[:, None], targets)).mean()


@torch.no_grad()
def _probabilities(images, targets):
    return models.load()(images).softmax(1).gather(1, targets[:, None])[:, 0]


@check(
    hints=[
        "`maps.roll((H // 2, W // 2), (1, 2))` moves every map by half of its height and width; what leaves at one side returns at the other.",
        "Multiply the pictures by the maps: `images * maps[:, None]`. Only the maps are moved, never the pictures.",
        "The difference of two probabilities: through the map, less through the moved map.",
    ]
)
def worth_of_place(answer):
    images = torch.ones(3, 3, 4, 4)
    images[2] = torch.tensor([1.0, 0.5, 0.5, 0.5])[:, None]  # a bright first row
    corner = torch.zeros(3, 4, 4)
    corner[:, :2, :2] = 1
    veil = torch.full((3, 4, 4), 0.5)
    top = torch.zeros(3, 4, 4)
    top[:, :2] = 1
    for maps, expected, hint in (
        (corner, (1, 1, 0.75), "This network looks at the upper left quarter only. Moved, the map hides just that."),
        (veil, (0, 0, 0), "A map that is the same everywhere is the same in every place."),
        (top, (1, 1, 0.75), "Move down *and* to the right; and move the maps, not the pictures."),
        (top.mT, (1, 1, 0.75), "Move to the right *and* down."),
        (1 - corner, (-1, -1, -0.75), "The map hides what counts, and the moved map shows it: below zero."),
    ):
        found = answer(_corner_brightness, images, maps)
        if not isinstance(found, torch.Tensor) or found.shape != (3,):
            raise NotYet("expected one number per image, a tensor [3].", hint="`probability` returns one per image.")
        for value, right in zip(found, expected, strict=True):
            _close(value, right, "for one of three pictures 4 x 4", hint=hint)


def _corner_brightness(images):
    """A 'network' that is as sure as the upper left quarter is bright."""
    return images[:, :, : images.shape[2] // 2, : images.shape[3] // 2].mean((1, 2, 3))


def _four_photographs(random: Random) -> tuple[list[float], list[float]]:
    """p and o of four photographs; three lose, and one in the middle gains."""
    p, kept = random.sample((0.2, 0.4, 0.5, 0.8), 4), random.sample((0.1, 0.25, 0.5, 0.75), 4)
    o = [round(x * part, 3) for x, part in zip(p, kept, strict=True)]
    gains = random.choice((1, 2))
    return p, [random.choice((0.9, 0.95)) if place == gains else x for place, x in enumerate(o)]


@check(
    hints=[
        "For each photograph: how much is lost, p - o, and which part of p is that? Who gains, loses nothing.",
        "Four numbers between 0 and 1, one of them 0. AD is their mean, in percent.",
    ],
    numbers=_four_photographs,
)
def own_drop(answer, photographs):
    lost = [max(0.0, 1 - o / p) for p, o in zip(*photographs, strict=True)]
    if not abs(float(answer) - 25 * sum(lost)) <= 0.01:
        hint = "First the lost part of each photograph, 0 for the one that gains; then the mean of the four, times 100."
        raise NotYet(f"{float(answer):.4g} is not the average drop of these four, in percent.", hint=hint)


def _close(found, expected: float | int, where: str, *, hint: str) -> None:
    if not abs(float(found) - expected) <= 1e-4:
        raise NotYet(f"expected {expected:.4g} {where}, found {float(found):.4g}.", hint=hint)
