"""Checks of lesson 16: votes, part vectors and prototypes small enough for pencil and paper."""

import math

import torch

from xailib.checks import Checks, NotYet

check = Checks()


def _close(found, expected: torch.Tensor, *, hint: str) -> None:
    if not isinstance(found, torch.Tensor) or found.shape != expected.shape:
        shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise NotYet(f"expected a tensor {tuple(expected.shape)}, found {shape}.", hint=hint)
    if not torch.allclose(found.float(), expected, atol=1e-4):
        found, expected = ([round(value, 4) for value in t.flatten().tolist()] for t in (found, expected))
        raise NotYet(f"expected {expected}, found {found}.", hint=hint)


@check(
    hints=[
        "The logit is a sum over parts; you are asked for its terms, before they are added up.",
        "Row c of V holds the votes of all parts for class c.",
        "`V[target]` and `bag` have one number per part each: multiply them.",
    ]
)
def contributions(answer):
    V, bag = torch.tensor([[2.0, -1.0, 0.0], [0.5, 0.0, 3.0]]), torch.tensor([3.0, 2.0, 1.0])
    hint = "By hand, for class 0: 2 * 3, -1 * 2 and 0 * 1. Their sum is the logit, without the bias."
    _close(answer(V, bag, 0), torch.tensor([6.0, -2.0, 0.0]), hint=hint)
    _close(answer(V, bag, 1), torch.tensor([1.5, 0.0, 3.0]), hint="For class 1 use row 1 of V: 0.5 * 3, 0 and 3 * 1.")


@check(
    hints=[
        "`F.normalize(U, dim=1)` has rows of length 1; products of rows are then cosines.",
        "All cosines at once: the matrix of normalised rows times its transpose. Its diagonal does not belong to the sum.",
        "`.fill_diagonal_(0)`, square, sum, and divide by `len(U) ** 2`.",
    ]
)
def overlap(answer):
    for U, expected, hint in (
        ([[1.0, 0.0], [0.0, 1.0]], 0.0, "Orthogonal parts do not overlap; is the diagonal left out?"),
        ([[3.0, 0.0], [5.0, 0.0]], 0.5, "Two parallel parts: (1 + 1) / 2^2, whatever their lengths."),
        ([[1.0, 0.0], [2.0, 2.0]], 0.25, "At 45 degrees the cosine squared is 1/2: (1/2 + 1/2) / 2^2."),
    ):
        found = float(answer(torch.tensor(U)))
        if expected and abs(found + expected) < 1e-6:
            raise NotYet(
                f"expected {expected}, found {found:.4g}.",
                hint="With a minus sign, making the loss small makes parts alike, as the slides' formula would.",
            )
        if not abs(found - expected) <= 1e-6:
            raise NotYet(f"expected {expected} for {U}, found {found:.4g}.", hint=hint)


@check(
    hints=[
        "`torch.cdist(prototypes, z)` gives all distances [P places]; they are not squared yet.",
        "Nearest means the smallest over the places: `.amin(1)`.",
        "Then the logarithm, element by element, with the d you found in numerator and denominator.",
    ]
)
def similarities(answer):
    z = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    prototypes = torch.tensor([[2.0, 0.0], [0.0, 5.0]])  # nearest at squared distances 0 and 4
    expected = torch.tensor([math.log(1 / 1e-4), math.log(5 / 4.0001)])
    found = answer(z, prototypes)
    hint = "The first prototype is the second place: d = 0, and log(1 / 0.0001) = 9.21. The second is 2 away: d = 4."
    if isinstance(found, torch.Tensor) and found.shape == (3,):
        raise NotYet(
            "you found one number per place, expected one per prototype.", hint="Take the minimum over places."
        )
    _close(found, expected, hint=hint)
