"""Checks of lesson 06: gradients small enough to do by hand, theorems of integrated gradients, and four unnamed maps."""

import torch
from torch import Tensor

from xailib import heatmap
from xailib.checks import Checks, NotYet
from xailib.explain import cam, edge_map, gradcam, guided_backprop, saliency

check = Checks()


@check(
    hints=[
        "A slope of -3 matters as much as one of +3: take magnitudes first.",
        "`.abs()` gives magnitudes; the colours are dimension 0 of [3 h w].",
        "`.amax(0)` is the largest value along dimension 0.",
    ]
)
def saliency_map(answer):
    g = torch.tensor([[[1.0, 0.0], [-2.0, 0.5]], [[-3.0, 0.0], [1.0, 0.5]], [[2.0, 0.0], [1.0, -0.5]]])
    expected = torch.tensor([[3.0, 0.0], [2.0, 0.5]])
    found = _tensor(answer(g), expected.shape)
    if torch.equal(found, g.amax(0)):
        raise NotYet(
            "the first pixel's slopes are 1, -3 and 2, and you found 2.",
            hint="The sign was still there when you took the largest. Magnitudes first.",
        )
    if torch.equal(found, g.sum(0).abs()):
        raise NotYet(
            "you added the colours up, where +1, -3 and +2 cancel.", hint="Take the largest magnitude, not the sum."
        )
    _same(found, expected, hint="The first pixel's slopes are 1, -3 and 2; its saliency is 3.")


@check(
    hints=[
        "Three questions decide whether the signal passes: is z above 0, is it below the ceiling, is R above 0?",
        "`R.where(condition, 0)` keeps R where the condition holds and is 0 elsewhere; join conditions with &.",
        "`(z > 0) & (z < ceiling) & (R > 0)`; a ceiling of infinity, float('inf'), is never reached.",
    ]
)
def guided(answer):
    z = torch.tensor([-2.0, 3.0, 3.0, 8.0, -1.0])
    R = torch.tensor([1.0, 2.0, -3.0, 4.0, -5.0])
    for ceiling, expected in ((float("inf"), [0.0, 2.0, 0.0, 4.0, 0.0]), (6.0, [0.0, 2.0, 0.0, 0.0, 0.0])):
        found = _tensor(answer(z, R, ceiling), z.shape)
        if torch.equal(found, R.where(z > 0, 0)) or torch.equal(found, R.where((z > 0) & (z < ceiling), 0)):
            raise NotYet(f"found {found.tolist()}, where -3 went back.", hint="That is the plain gradient: ask R, too.")
        if torch.equal(found, R.clamp(min=0)):
            raise NotYet(
                f"found {found.tolist()}, where 1 passed a rectifier that was shut.",
                hint="You asked R only, as the deconvnet of Zeiler and Fergus (ECCV 2014) does. z must be open, too.",
            )
        _same(found, torch.tensor(expected), hint=f"With the ceiling {ceiling} a z of 8 is {_state(8, ceiling)}.")


@check(
    hints=[
        "Go along the straight line: the point at alpha is baseline + alpha * (x - baseline).",
        "The middles of n equal parts of [0, 1] are (k + 0.5) / n for k = 0, ..., n - 1.",
        "Average `slope(point)` over these points, then multiply the mean by (x - baseline).",
    ]
)
def integrated(answer):
    x, start = torch.tensor([3.0, -1.0, 2.0]), torch.tensor([1.0, 1.0, 2.0])
    found = _tensor(answer(lambda x: 2 * x, x, start, 5), x.shape)  # f = sum of squares: the midpoint rule is exact
    if torch.allclose(found, 2 * x * (x - start)):
        raise NotYet(
            "that is (x - baseline) times the gradient at x alone.", hint="Average the slope over the whole way."
        )
    if torch.allclose(found, x + start):
        raise NotYet("the mean slope is right; it is not yet what x adds.", hint="Multiply the mean by (x - baseline).")
    if torch.allclose(found, x * x):
        raise NotYet("you started from 0, not from the baseline.", hint="Start at baseline; go along x - baseline.")
    hint = "For a sum of squares each number's part is x² - x'²; the last number does not move, so its part is 0."
    _same(found, x**2 - start**2, hint=hint)
    product = answer(lambda x: x.flip(0), torch.tensor([2.0, 3.0]), torch.zeros(2), 4)  # f = x1 x2 = 6
    _same(_tensor(product, (2,)), torch.tensor([3.0, 3.0]), hint="For x1 * x2 = 6 from 0, each factor gets half.")


@check(
    hints=[
        "For each method make the maps for the first guesses and for other classes, and compare them.",
        "`correlation(average_ranks(maps), average_ranks(others))` gives one number for each photograph.",
        "A blind method has a rank correlation above 0.95 on every photograph. There is more than one.",
    ]
)
def blind(answer):
    letters = {str(letter).strip().upper() for letter in answer}
    if not letters or letters - METHODS.keys():
        raise NotYet(f"expected some of A, B, C and D, found {sorted(letters)}.", hint='Write a set, such as {"A"}.')
    wrong = letters - {"B", "D"}
    if wrong:
        raise NotYet(
            f"{' and '.join(sorted(wrong))} changes with the class.", hint="Look at the smallest of its three numbers."
        )
    if letters != {"B", "D"}:
        raise NotYet(
            f"{letters.pop()} is blind, but it is not alone.",
            hint="Neither colour nor sharpness of a map tells; measure.",
        )


def _blurred(maps: Tensor) -> Tensor:
    return heatmap.blur(maps.abs()[:, None], 8)[:, 0]


METHODS = {  # without names, for the reader to find out which of them answer for a class
    "A": lambda model, images, targets: _blurred(saliency(model, images, targets)),
    "B": lambda model, images, targets: _blurred(guided_backprop(model, images, targets)),
    "C": lambda model, images, targets: cam(model, images, targets, layer="bn2", weights=gradcam),
    "D": lambda model, images, targets: _blurred(edge_map(model, images, targets)),
}


def _state(z: float | int, ceiling: float | int) -> str:
    return "open" if 0 < z < ceiling else "shut"


def _tensor(found, shape) -> Tensor:
    if not isinstance(found, Tensor) or found.shape != torch.Size(shape):
        what = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise NotYet(
            f"expected a tensor of shape {tuple(shape)}, found {what}.", hint="Look at what each step returns."
        )
    return found.float()


def _same(found: Tensor, expected: Tensor, *, hint: str) -> None:
    if not torch.allclose(found, expected, atol=1e-5):
        raise NotYet(f"expected {expected.tolist()}, found {found.tolist()}.", hint=hint)
