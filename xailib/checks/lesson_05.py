"""Checks of lesson 05: sums that must come out, and toy explainers of which we know whether they listen."""

import torch

from xailib.checks import Checks, NotYet

check = Checks()

A = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 4.0], [4.0, 0.0]]])  # channel means 2.5 and 2
KINDS = {
    "heat map": ("passive", "local"),
    "unit labels": ("passive", "global"),
    "smoother training": ("active", "local"),
    "tree": ("active", "global"),
}
REASONS = {
    "heat map": "Hiding patches leaves the network as it is, and the map belongs to one photograph.",
    "unit labels": "Nothing is retrained, and the labels hold for the units over a whole data set.",
    "smoother training": "Another loss is another network, but what you see is still one image's gradient.",
    "tree": "It is trained together with the network, and stands for all decisions.",
}


@check(
    hints=[
        "The logit without its bias is sum_k w_k mean(A_k). Write the mean as a sum over cells divided by their number.",
        "Swap the two sums: the outer one runs over cells, the inner one over channels.",
        "`(w[:, None, None] * A).sum(0)` adds up channels; divide by the number of cells.",
    ]
)
def contributions(answer):
    found = _map(answer(A, torch.tensor([2.0, -1.0])))
    expected = torch.tensor([[0.5, 0.0], [0.5, 2.0]])  # (2 A1 - A2) / 4
    if torch.allclose(found, 4 * expected):
        raise NotYet("the sum of your map is 4 times the logit.", hint="The network averages over the 4 cells.")
    _same(found, expected, hint="The first cell is (2 * 1 - 1 * 0) / 4.")
    negative = _map(answer(A, torch.tensor([-2.0, 1.0])))
    _same(negative, -expected, hint="A cell that speaks against the class has a negative contribution; keep it.")


@check(
    hints=[
        "y_c - y_d is itself a sum over cells: subtract one sum from the other.",
        "Both sums share the activations; only the weights differ: W[c] - W[d].",
    ]
)
def contrast(answer):
    W = torch.tensor([[1.0, 0.0], [2.0, -1.0], [0.0, 1.0]])
    found = _map(answer(A, W, 1, 2))  # weights (2, -2)
    expected = torch.tensor([[0.5, -1.0], [-0.5, 2.0]])
    if torch.allclose(found, -expected):
        raise NotYet("every sign is the wrong way round.", hint="Positive cells must speak for c, the first class.")
    _same(found, expected, hint="Cells that speak for d are negative; the sum is y_c - y_d without the biases, here 1.")


@check(
    hints=[
        "Passive: the network that you explain is the one that was there before.",
        "Local: the account belongs to one image. A training method can still give local explanations.",
    ]
)
def kinds(answer):
    missing = [case for case in KINDS if case not in answer]
    if missing:
        raise NotYet(f"no answer for {missing}.", hint="Give each case a pair, such as ('passive', 'local').")
    for case, expected in KINDS.items():
        if tuple(answer[case]) != expected:
            raise NotYet(f"{case!r} is not {tuple(answer[case])}.", hint=REASONS[case])


@check(
    hints=[
        "Scale each map by itself: (S - min S) / (max S - min S).",
        "Then compare all pixels of both maps, with a little tolerance: `torch.allclose(..., atol=1e-5)`.",
    ]
)
def does_not_listen(answer):
    image = torch.linspace(0, 1, 12).view(3, 2, 2)
    shape = torch.tensor([[0.0, 1.0], [3.0, 2.0]])
    other = torch.tensor([[1.0, 0.0], [3.0, 2.0]])
    for explain, expected, hint in (
        (lambda image, target: shape, True, "The maps are equal, value by value."),
        (lambda image, target: (other, shape)[target], False, "These differ, though their hottest pixel is the same."),
        (lambda image, target: shape * (1 + 9 * target), True, "One is 10 times the other: drawn, they look the same."),
        (lambda image, target: shape + 5 * target, True, "They differ by a constant, which the scale takes away."),
    ):
        found = answer(explain, image)
        if bool(found) is not expected:
            raise NotYet(f"expected {expected}, found {found}.", hint=hint)


def _map(found) -> torch.Tensor:
    if not isinstance(found, torch.Tensor) or found.shape != (2, 2):
        shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise NotYet(
            f"expected a map [2 2] for activations [2 2 2], found {shape}.", hint="Add up channels, not cells."
        )
    return found


def _same(found: torch.Tensor, expected: torch.Tensor, *, hint: str) -> None:
    if not torch.allclose(found, expected, atol=1e-6):
        raise NotYet(f"expected {expected.tolist()}, found {found.tolist()}.", hint=hint)
