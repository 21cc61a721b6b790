"""Checks of lesson 12: boxes and scores small enough to count on squared paper."""

from random import Random

from xailib.checks import Checks, NotYet

check = Checks()


@check(
    hints=[
        "Draw two boxes on squared paper. Where does their common part start, and where does it end?",
        "It starts at the larger of the two x0 and ends at the smaller of the two x1; likewise for y. A negative width means: none.",
        "The union is the sum of both areas less the common part, which was counted twice.",
    ]
)
def iou(answer):
    for a, b, expected, hint in (
        ((0, 0, 4, 4), (0, 0, 4, 3), 0.75, "12 pixels are in both, 16 in at least one: no pixel of x1 or y1 belongs."),
        ((2, 2, 6, 6), (4, 4, 8, 8), 1 / 7, "4 pixels are in both; 16 + 16 - 4 in at least one."),
        ((0, 0, 2, 2), (2, 0, 4, 2), 0, "They touch, but share no pixel."),
        ((0, 0, 2, 2), (5, 5, 9, 9), 0, "Apart in both directions: two negative lengths have a positive product."),
        ((1, 1, 3, 5), (0, 2, 6, 4), 0.25, "The common part is 2 wide and 2 high; 8 + 12 - 4 in at least one."),
    ):
        _close(answer(a, b), expected, f"for {a} and {b}", hint=hint)


@check(
    hints=[
        "Take 16 cells, v in each of them, 4 of them in the box. What is the sum of the map, and what of the part in the box?",
        "P is the part in the box over the whole: v cancels. R is the part in the box over the *number* of its cells.",
        "So P = s and R = v; put both into 2 P R / (P + R).",
    ]
)
def f1_of_constant(answer):
    for v, s, expected, hint in (
        (1.0, 0.25, 0.4, "P = 4 / 16 and R = 4 / 4: 2 * 0.25 * 1 / 1.25."),
        (0.5, 0.25, 1 / 3, "Each of the 4 cells in the box holds 0.5 only, so R = 2 / 4, while P stays 0.25."),
        (0.25, 1.0, 0.4, "The box is the whole picture: P = 1, but R = 0.25."),
        (0.3, 0.3, 0.3, "P and R are both 0.3, and so is their harmonic mean."),
    ):
        _close(answer(v, s), expected, f"for v = {v} and s = {s}", hint=hint)


@check(
    hints=[
        "If all boxes were equally large, F1 = 2 s / (1 + s) would hold exactly. Any spread makes the mean F1 smaller.",
        "So the mean share is smallest, for a given F1, when all boxes are equally large. Solve F1 = 2 s / (1 + s) for s.",
        "F1 (1 + s) = 2 s, so s = F1 / (2 - F1).",
    ]
)
def least_mean_share(answer):
    for f1, expected, hint in (
        (0.4, 0.25, "Equal boxes of a quarter give F1 = 2 * 0.25 / 1.25 = 0.4."),
        (2 / 3, 0.5, "Equal boxes of one half give F1 = 1 / 1.5."),
        (1.0, 1.0, "F1 = 1 needs boxes that are the whole picture."),
    ):
        _close(answer(f1), expected, f"for a mean F1 of {f1:.3g}", hint=hint)


@check(
    hints=[
        "If B is empty, the context is the whole picture, unmasked. Is it more probable than itself?",
        "And the part of Fake-CAM outside an empty box is Fake-CAM. For which share of the images does AI count this?",
        "Only images with an empty mask make a difference, and of these the share AI(Fake-CAM) does: difference = e * AI(Fake-CAM).",
    ]
)
def share_of_empty(answer):
    for context, outside, fake, expected, hint in (
        (20.0, 25.0, 50.0, 0.1, "Of 100 images 10 are empty; half of these, 5, count outside, and none as context."),
        (0.0, 40.0, 40.0, 1.0, "If every mask is empty, the context never counts and the outside is Fake-CAM itself."),
        (12.0, 12.0, 30.0, 0.0, "Without empty masks both masks are the same but for a pixel."),
    ):
        where = f"for AI {context:g}, {outside:g} and {fake:g}"
        _close(answer(context, outside, fake), expected, where, hint=hint)


def _two_boxes(random: Random) -> tuple[tuple[int, int, int, int], tuple[int, int, int, int]]:
    """Two boxes that share some pixels."""
    (x0, y0), (width, height) = ([random.randint(*ends) for _ in "xy"] for ends in ((0, 4), (3, 6)))
    right, down = x0 + random.randint(1, width - 1), y0 + random.randint(1, height - 1)
    other = right, down, right + random.randint(3, 6), down + random.randint(3, 6)
    return (x0, y0, x0 + width, y0 + height), other


@check(
    hints=[
        "Shade the squares of box a one way and those of box b the other way; the last column and row are x1 - 1 and y1 - 1.",
        "Count the squares shaded twice, and the squares shaded at least once. The IoU is the one over the other.",
    ],
    numbers=_two_boxes,
)
def own_iou(answer, boxes):
    a, b = ({(x, y) for x in range(x0, x1) for y in range(y0, y1)} for x0, y0, x1, y1 in boxes)
    if not abs(float(answer) - len(a & b) / len(a | b)) <= 1e-4:
        hint = "Count squares: those in both, and those in at least one. A box ends before x1 and y1."
        raise NotYet(f"{float(answer):.4g} is not the IoU of {boxes[0]} and {boxes[1]}.", hint=hint)


def _close(found, expected: float | int, where: str, *, hint: str) -> None:
    if not abs(float(found) - expected) <= 1e-6:
        raise NotYet(f"expected {expected:.4g} {where}, found {float(found):.4g}.", hint=hint)
