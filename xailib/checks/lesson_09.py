"""Checks of lesson 09: two tokens and two blocks, small enough to multiply with a pencil."""

import torch
from torch import Tensor

from xailib.checks import Checks, NotYet

check = Checks()

A_1 = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
A_2 = torch.tensor([[1.0, 0.0], [0.5, 0.5]])


@check(
    hints=[
        "The tokens without a place come first: leave out `prefix` numbers, not always one.",
        "`row[prefix:]` holds the patches, row by row; `h, w = grid`.",
        "`.unflatten(0, grid)`, or `.reshape(h, w)`, puts them on the grid, which need not be square.",
    ]
)
def patch_map(answer):
    row = torch.tensor([0.9, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    expected = [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]
    found = _shaped(answer(row.clone(), 1, (2, 3)), (2, 3))
    if found[0, 0] == row[0]:
        raise NotYet(
            "0.9 belongs to the class token, and it stands where the first patch should.",
            hint="All patches have moved by one place: begin behind the prefix tokens.",
        )
    _same(found, expected, hint="The patches follow each other along a row of the image, then comes the next row.")
    two = torch.cat([torch.tensor([0.7]), row])
    hint = "Here two tokens have no place, as in distilled DeiT: leave out as many as `prefix` says."
    _same(_shaped(answer(two, 2, (2, 3)), (2, 3)), expected, hint=hint)
    hint = "Here no token is without a place (a network that reads the mean of its patches): prefix is 0."
    _same(_shaped(answer(row[1:], 0, (3, 2)), (3, 2)), [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]], hint=hint)


@check(
    hints=[
        "For each block: `A.mean(0)` over the heads, plus `torch.eye(n)`, divided by the row's sum, which is 2.",
        "Begin with R = identity. A later block reads what the earlier one wrote, so it multiplies from the left.",
        "In the loop: `R = (A.mean(0) + eye) / 2 @ R`.",
    ]
)
def attention_rollout(answer):
    found = _shaped(answer([A_1[None], A_2[None]]), (2, 2))
    typical = {
        "A_2 A_1, without the identity": ([[0.5, 0.5], [0.25, 0.75]], "The residual connection carries a token: + I."),
        "the product in the other order": ([[0.75, 0.25], [0.25, 0.75]], "Later blocks stand on the left: A'_2 A'_1."),
        "(A_2 + I)(A_1 + I)": ([[3.0, 1.0], [0.75, 3.25]], "Its rows sum to 4: divide each layer's rows by their sum, 2."),
    }  # fmt: skip
    for name, (numbers, hint) in typical.items():
        if torch.allclose(found, torch.tensor(numbers)):
            raise NotYet(f"expected [[0.75, 0.25], [0.1875, 0.8125]], found {name}.", hint=hint)
    hint = "A'_1 = (0.75, 0.25; 0, 1) and A'_2 = (1, 0; 0.25, 0.75): multiply A'_2 A'_1 with a pencil."
    _same(found, [[0.75, 0.25], [0.1875, 0.8125]], hint=hint)
    two_heads = torch.stack([A_1, A_2])  # their mean is (0.75, 0.25; 0.25, 0.75)
    hint = "This is one block of two heads: take the mean over the heads first."
    _same(_shaped(answer([two_heads]), (2, 2)), [[0.875, 0.125], [0.125, 0.875]], hint=hint)
    three = torch.tensor([[[0.0, 0.5, 0.5], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])
    hint = "Now there are three tokens: the identity is n x n."
    _same(_shaped(answer([three]), (3, 3)), [[0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], hint=hint)


@check(
    hints=[
        "First the product of gradient and attention, in each head by itself; then ReLU; then the mean over the heads.",
        "`(G * A).relu().mean(0)` is the block's part; add `torch.eye(n)`, and divide nothing.",
        "Begin with C = identity; in the loop `C = (eye + (G * A).relu().mean(0)) @ C`.",
    ]
)
def gradient_attention(answer):
    A = torch.stack([A_1, A_2])
    G = torch.tensor([[[2.0, -2.0], [0.0, 1.0]], [[0.0, 4.0], [4.0, -2.0]]])
    found = _shaped(answer([A], [G]), (2, 2))
    typical = {
        "the ReLU of the mean": ([[1.5, 0.0], [1.0, 1.0]], "A head against the class must not take from another one."),
        "no identity": ([[0.5, 0.0], [1.0, 0.5]], "The residual connection carries a token past the block: + I."),
        "rows that sum to 1": ([[1.0, 0.0], [0.4, 0.6]], "TIBAV, unlike rollout, divides no row."),
    }
    for name, (numbers, hint) in typical.items():
        if torch.allclose(found, torch.tensor(numbers)):
            raise NotYet(f"expected [[1.5, 0], [1, 1.5]], found {name}.", hint=hint)
    hint = "G * A is (1, -1; 0, 1) in the first head and (0, 0; 2, -1) in the second; now ReLU, the mean, plus I."
    _same(found, [[1.5, 0.0], [1.0, 1.5]], hint=hint)
    second = torch.full((2, 2, 2), 0.5), torch.tensor([[0.0, 2.0], [0.0, 0.0]]).expand(2, 2, 2)
    hint = "With a second block C_2 = (1, 1; 0, 1), which multiplies from the left: C_2 C_1."
    _same(_shaped(answer([A, second[0]], [G, second[1]]), (2, 2)), [[2.5, 1.5], [1.0, 1.5]], hint=hint)


@check(
    hints=[
        "Make the map of class 0, and compare the map of every other class with it.",
        "`explain(model, image, torch.tensor([c]))` for each c in `range(classes)`; `torch.equal` compares exactly.",
        "`all(torch.equal(maps[0], other) for other in maps)`: True only if no class changes anything.",
    ]
)
def answers_for_no_class(answer):
    image = torch.linspace(0, 1, 48).reshape(1, 3, 4, 4)
    cases = (
        (_agnostic, True, "This method never looks at its targets: all its maps are the same."),
        (_bright, False, "For this one the map of each class has another scale."),
        (_last_class, False, "Only the last of the five classes has another map: go through all of them."),
        (_slightly, False, "The maps differ by a thousandth of their height. A small change is a change: torch.equal."),
        (_elsewhere, False, "The hottest pixel is the same for all classes, and the rest of the map is not."),
    )
    for explain, expected, hint in cases:
        found = answer(explain, None, image, 5)
        if not isinstance(found, bool):
            raise NotYet(f"expected True or False, found {found!r}.", hint="Return a bool; `all(...)` makes one.")
        if found != expected:
            raise NotYet(f"expected {expected} for the method {explain.__name__[1:]!r}, found {found}.", hint=hint)


def _agnostic(model, images, targets):
    assert targets.shape == (1,), "targets is a tensor with one class for the one image, torch.tensor([c])"
    return images.mean(1)


def _bright(model, images, targets):
    return _agnostic(model, images, targets) * (1 + targets[:, None, None])


def _last_class(model, images, targets):
    return _agnostic(model, images, targets) * (1 - (targets == 4).float()[:, None, None])


def _slightly(model, images, targets):
    return _agnostic(model, images, targets) + 0.001 * (targets % 2)[:, None, None]


def _elsewhere(model, images, targets):
    maps = _agnostic(model, images, targets).clone()
    maps[:, 0, 0] -= targets.float()
    return maps


def _shaped(found, shape: tuple[int, int]) -> Tensor:
    if not isinstance(found, Tensor) or found.shape != shape:
        size = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise NotYet(f"expected a tensor {list(shape)}, found {size}.", hint="Look at the shapes on the way to it.")
    return found.detach()


def _same(found: Tensor, expected: list[list[float]], *, hint: str) -> None:
    if not torch.allclose(found, torch.tensor(expected, dtype=found.dtype), atol=1e-6):
        rounded = [[round(number, 4) for number in row] for row in found.tolist()]
        raise NotYet(f"expected {expected}, found {rounded}.", hint=hint)
