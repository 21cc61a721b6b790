"""Checks of lesson 11: curves of three cells, areas on squared paper, and a map that must keep its patches."""

from random import Random

import torch
import torch.nn.functional as F

from xailib.checks import Checks, NotYet

check = Checks()


@check(
    hints=[
        "Between two neighbouring points the curve is a straight line. What is the mean of the two?",
        "Average the means of all neighbours: each inner point is in two of them, each end in one.",
        "So add all points, take away half of the first and half of the last, and divide by the number of steps.",
    ]
)
def area(answer):
    for curve, expected, hint in (
        ([0.0, 0.0, 1.0, 1.0, 1.0], 0.625, "Four steps with the means 0, 1/2, 1 and 1."),
        ([1.0, 0.0, 0.0, 0.0, 0.0], 0.125, "Four steps with the means 1/2, 0, 0 and 0."),
        ([0.3, 0.3, 0.3], 0.3, "A level curve has its level as area, however many points it has."),
        ([1.0, 0.0], 0.5, "Two points are one step: a triangle."),
    ):
        _close(float(answer(torch.tensor(curve))), expected, f"for {curve}", hint=hint)


@check(
    hints=[
        "There is one point more than there are cells: the first is f of the whole x.",
        "Keep one copy of x and change it further at every step; what is gone stays gone.",
        "`order[i]` is the cell that goes at step i: `left[order[i]] = b[order[i]]`, on `left = x.clone()`.",
    ],
    unchanged="Work on a copy: `left = x.clone()`.",
)
def deletion(answer):
    for order, expected, hint in (
        ([1, 0, 2], [8.0, 6.0, 6.0, 2.0], "f(1, 2, 3) = 8, f(1, 0, 3) = 6, f(0, 0, 3) = 6, f(0, 0, 1) = 2."),
        ([2, 0, 1], [8.0, 4.0, 2.0, 2.0], "Cell 2 goes first, then 0, then 1: `order` names the cells in their turn."),
    ):
        x, b = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, 0.0, 1.0])
        found = answer(lambda x: x[0] * x[1] + 2 * x[2], x, b, torch.tensor(order))
        found = [float(value) for value in found]
        if len(found) != 4:
            raise NotYet(f"three cells give 4 points, found {len(found)}.", hint="Both ends belong to the curve.")
        if not all(abs(one - other) <= 1e-6 for one, other in zip(found, expected, strict=True)):
            raise NotYet(
                f"for f(x) = x0 x1 + 2 x2 and the order {order} expected {expected}, found {found}.", hint=hint
            )


@check(
    hints=[
        "At every step the two pictures add up to x + b. What do the two probabilities of an additive f add up to?",
        "To f(x) + f(b), at every step; so the two *areas* add up to it, too.",
        "deletion = f(x) + f(b) - insertion.",
    ]
)
def other_area(answer):
    for insertion, f_x, f_b, expected, hint in (
        (0.625, 1.0, 0.0, 0.375, "The four cells of the lesson."),
        (0.7, 0.9, 0.2, 0.4, "The two areas add up to f(x) + f(b) = 1.1, not to 1."),
        (0.5, 0.5, 0.5, 0.5, "A network that always says 0.5: both curves are level."),
    ):
        where = f"for insertion {insertion}, f(x) = {f_x} and f(b) = {f_b}"
        _close(float(answer(insertion, f_x, f_b)), expected, where, hint=hint)


@check(
    hints=[
        "Take from the noise, patch by patch, its mean: then it adds nothing to any patch.",
        "`F.avg_pool2d(noise[None], 14)[0]` has the means; `repeat_interleave(14, 0)` and `(14, 1)` bring them back to size.",
        "Add the centred noise many times over (100, say): the order of the pixels is then all noise.",
    ]
)
def scatter(answer):
    rows, columns = torch.meshgrid(torch.arange(56.0), torch.arange(84.0), indexing="ij")
    heat = torch.exp(-((rows - 20) ** 2 + (columns - 30) ** 2) / 400)  # one smooth hill
    noise = torch.rand(heat.shape, generator=torch.Generator().manual_seed(0))
    found = answer(heat, noise)
    if not isinstance(found, torch.Tensor) or found.shape != heat.shape:
        raise NotYet(f"expected a map {tuple(heat.shape)}.", hint="Same size as the map that came in.")
    off = (F.avg_pool2d(found[None], 14) - F.avg_pool2d(heat[None], 14)).abs().max().item()
    if not off <= 1e-3:
        raise NotYet(
            f"the mean over a patch of 14 x 14 has changed by {off:.3g}.",
            hint="AOPC would see it. Let the noise have mean 0 in every patch, and keep the map itself.",
        )
    alone = _alone(found, len(found.flatten()) // 10)
    if alone < 0.4:
        raise NotYet(
            f"of the first tenth of the pixels only {alone:.0%} have no neighbour that goes with them.",
            hint="They still form one patch. Add far more of the noise.",
        )


def _falling_curve(random: Random) -> list[float]:
    """Six points that fall from 0.9 or more to 0.1 or less, in tenths and their halves."""
    between = sorted((random.randint(3, 17) for _ in range(4)), reverse=True)
    return [point / 20 for point in (random.randint(18, 20), *between, random.randint(0, 2))]


@check(
    hints=[
        "Six points are five steps, each a fifth of the width.",
        "Under each step lies a trapezoid: a fifth times the mean of its two ends. Add up all five.",
    ],
    numbers=_falling_curve,
)
def own_area(answer, curve):
    trapezoids = [(left + right) / 2 / 5 for left, right in zip(curve, curve[1:], strict=False)]
    if not abs(float(answer) - sum(trapezoids)) <= 1e-4:
        hint = "Five trapezoids, each a fifth wide; the first and the last point count half."
        raise NotYet(f"{float(answer):.4g} is not the area under {curve}.", hint=hint)


def _alone(heat: torch.Tensor, first: int) -> float:
    """The share of the `first` most salient pixels without one of them at their side."""
    gone = torch.zeros(heat.numel())
    gone[heat.flatten().argsort(descending=True)[:first]] = 1
    gone = gone.view(1, 1, *heat.shape)
    cross = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    beside = F.conv2d(gone, cross, padding=1)
    return (((gone == 1) & (beside == 0)).sum() / first).item()


def _close(found: float, expected: float, where: str, *, hint: str) -> None:
    if not abs(found - expected) <= 1e-6:
        raise NotYet(f"expected {expected:.4g} {where}, found {found:.4g}.", hint=hint)
