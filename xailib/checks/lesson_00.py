"""Checks of lesson 00: maps small enough to work out with pencil and paper."""

import torch

from xailib.checks import Checks, NotYet

check = Checks()


@check(
    hints=[
        "`heat.argmax()` gives one number: the position when all rows are written one after the other.",
        "A map with W columns has its value number n in row n // W and column n % W.",
        "`divmod(n, W)` returns both; W is `heat.shape[1]`, and `.item()` makes a number of a tensor.",
    ]
)
def hottest(answer):
    heat = torch.tensor([[0.1, 0.2, 0.0, 0.3], [0.4, 0.0, 0.1, 0.9], [0.2, 0.6, 0.0, 0.5]])
    found = answer(heat)
    if found == 7:
        raise NotYet("7 is the position in one long row; expected row 1, column 3.", hint="Each row has 4 values.")
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        raise NotYet(f"expected two numbers, row and column, found {found!r}.", hint="Return them as `row, column`.")
    row, column = (int(number) for number in found)
    if (row, column) == (3, 1):
        raise NotYet("expected row 1, column 3, found them the other way round.", hint="Rows come first in a tensor.")
    if (row, column) != (1, 3):
        raise NotYet(
            f"the 0.9 in row 1, column 3 is the hottest, found row {row}, column {column}.",
            hint="Count from 0, and divide by the number of columns, not of rows.",
        )


@check(
    hints=[
        "First the weights: one number per channel, the mean of its gradients over both the rows and the columns.",
        "`G.mean((1, 2), keepdim=True)` is [k 1 1], and so multiplies every cell of its channel.",
        "Then weigh, add up the channels with `.sum(0)`, and cut off what is negative with `.relu()`, in this order.",
    ]
)
def grad_cam(answer):
    A = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [1.0, 0.0]]])
    G = torch.tensor([[[0.0, 1.0], [0.0, 1.0]], [[-1.0, 0.0], [0.0, 0.0]]])  # their means are 0.5 and -0.25
    expected = torch.tensor([[0.5, 0.75], [1.25, 2.0]])
    found = _map(answer(A, G), A)
    if torch.allclose(found, (G * A).sum(0).relu()):
        raise NotYet(
            "you weighed every cell by its own gradient, which is HiRes-CAM.",
            hint="In Grad-CAM all cells of a channel share one weight, the mean of its gradients.",
        )
    if torch.allclose(found, 4 * expected):
        raise NotYet("the map is 4 times too large.", hint="The weight is the mean of the gradients, not their sum.")
    _same(found, expected, hint="Work it out on paper with w = (0.5, -0.25): the first cell is 0.5 * 1 - 0.25 * 0.")
    _same(
        _map(answer(A.flip(0), G), A),
        torch.tensor([[0.0, 0.0], [0.0, 0.0]]),
        hint="Now w . A is [[-0.25, 0], [-0.25, -1]], and what speaks against the class is dropped: ReLU, after the sum.",
    )


def _map(found, A: torch.Tensor) -> torch.Tensor:
    if not isinstance(found, torch.Tensor) or found.shape != A.shape[1:]:
        shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise NotYet(f"expected a map [2 2] for activations [2 2 2], found {shape}.", hint="Add up over channels only.")
    return found


def _same(found: torch.Tensor, expected: torch.Tensor, *, hint: str) -> None:
    if not torch.allclose(found, expected, atol=1e-6):
        raise NotYet(f"expected {expected.tolist()}, found {found.tolist()}.", hint=hint)


@check(
    hints=[
        "A tensor is indexed by rows first, and rows are y: `heat[top:bottom, left:right]`.",
        "Python's slices leave out their end, just as boxes do: `heat[y0:y1, x0:x1]` has the right size as it is.",
        "The share is the sum inside divided by the sum of the whole map.",
    ]
)
def share_inside(answer):
    heat = torch.tensor([[0.0, 1.0, 2.0, 0.0], [0.0, 3.0, 4.0, 5.0], [1.0, 2.0, 1.0, 1.0]])  # 20 in all
    for box, expected, hint in (
        ((1, 0, 3, 2), 0.5, "Inside are 1 + 2 + 3 + 4 of 20: two columns, two rows."),
        ((0, 1, 2, 2), 0.15, "x0 and x1 are columns, y0 and y1 rows: inside are 0 + 3 of 20."),
        ((0, 0, 4, 3), 1.0, "The box around the whole map holds all the heat."),
    ):
        found = float(answer(heat, box))
        if not abs(found - expected) <= 1e-6:  # so written, it refuses what is not a number
            raise NotYet(f"expected {expected} for the box {box}, found {found:.4g}.", hint=hint)
