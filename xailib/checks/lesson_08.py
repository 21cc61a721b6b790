"""Checks of lesson 08: two channels of 2 x 2 cells, worked out by hand, and maps whose sums are known."""

from random import Random

import torch
from torch import Tensor, nn

from xailib import explain
from xailib.checks import Checks, NotYet

check = Checks()

A = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [1.0, 0.0]]])  # means 2.5 and 0.5
W = torch.tensor([2.0, -1.0])  # so the logit is 4.5 plus a bias


@check(
    hints=[
        "The logit is the sum of W_k times the *mean* of channel k. How much does it grow when one cell grows by 1?",
        "One cell is 1/(h w) of its mean, and Grad-CAM averages h w gradients that are all equal.",
        "So the weight of channel k is W_k / (h w).",
    ]
)
def head_weights(answer):
    found = _numbers(answer(W, 2, 2), 2)
    if torch.equal(found, W):
        raise NotYet(
            "these are the weights of the original CAM; Grad-CAM's are smaller.",
            hint="The maps are the same after scaling, the weights are not: mind the mean over the cells.",
        )
    _same(found, [0.5, -0.25], hint="With 2 x 2 cells every gradient of channel 1 is 2/4.")
    hint = "This map has 3 x 5 cells: divide by both of its sides."
    _same(_numbers(answer(torch.tensor([15.0, 0.0, -30.0]), 3, 5), 3), [1.0, 0.0, -2.0], hint=hint)


@check(
    hints=[
        "For each k make a copy of A, set its channel k to 0, and ask `score`.",
        "The weight is (y - y without channel k) / |y|: with |y|, so that the sign tells for from against.",
        "`copy = A.clone(); copy[k] = 0`, once for each of `range(len(A))`. Where y is 0, do not divide.",
    ],
    unchanged="Change a copy: `A.clone()`.",
)
def ablation_weights(answer):
    found = _ablated(answer, 0.5)
    if torch.allclose(found, torch.tensor([-0.1, 1.0]), atol=1e-5):
        raise NotYet(
            "expected [1, -0.1], found [-0.1, 1]: you kept channel k alone and set the others to 0.",
            hint="Take channel k away and keep all others, as the paper and equation 1.9 of the thesis say.",
        )
    _same(found, [1.0, -0.1], hint="Here y = 5; without channel 1 it is 0, without channel 2 it is 5.5.")
    _same(
        _ablated(answer, -6.0),
        [10 / 3, -1 / 3],
        hint="Now y = -1.5. Channel 1 still speaks for the class, so its weight must stay positive: divide by |y|.",
    )
    _same(_ablated(answer, -4.5), [5.0, -0.5], hint="Now y = 0, and nothing can be divided by it: leave the drops.")


def _ablated(answer, bias: float) -> Tensor:
    return _numbers(answer(A.clone(), lambda maps: (maps.mean((1, 2)) @ W).item() + bias), 2)


@check(
    hints=[
        "`e.A` and `e.G` are [b k h w]. Flatten the places, `e.A.flatten(2)`, and find the largest of each channel.",
        "`place = e.A.flatten(2).argmax(2, keepdim=True)` says where; `e.G.flatten(2).gather(2, place)` reads G there.",
        "The result is [b k 1]; the engine asks for [b k 1 1], so add `[..., None]`.",
    ]
)
def peak_weights(answer):
    net, images = _varying()
    seen = explain.collect(net, images, torch.tensor([0, 0]), layer="0")
    w = answer(seen)
    if not isinstance(w, Tensor) or w.shape != (2, 2, 1, 1):
        shape = tuple(w.shape) if isinstance(w, Tensor) else type(w).__name__
        raise NotYet(
            f"expected weights [2 2 1 1] for 2 images and 2 channels, found {shape}.",
            hint="One number per image and channel, and two sides of length 1 that spread it over the places.",
        )
    if torch.allclose(w, seen.G.amax((2, 3), keepdim=True)):
        raise NotYet(
            "these are the largest gradients of each channel.",
            hint="The largest *activation* says where to look; take the gradient there, even if it is negative.",
        )
    first = "In image 1, channel 1 is strongest at the lower right, where G = 0.5; channel 2 at the upper left, G = -1."
    _same(w[0].flatten(), [0.5, -1.0], hint=first)
    second = "Image 2 has its peaks at other places: look for them in each image by itself."
    _same(w[1].flatten(), [4.0, 3.0], hint=second)


def _varying() -> tuple[nn.Module, Tensor]:
    """A network whose gradient is another at each cell, and two images: G = (4, -2; 1, 0.5) and (-1, 3; 0, 1)."""
    net = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(8, 1, bias=False)).eval()
    net[2].weight.data = torch.tensor([[4.0, -2.0, 1.0, 0.5, -1.0, 3.0, 0.0, 1.0]])
    first = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 1.0], [0.0, 2.0]]])
    second = torch.tensor([[[4.0, 3.0], [1.0, 2.0]], [[0.0, 5.0], [1.0, 2.0]]])
    return net, torch.stack([first, second]) / 8


@check(
    hints=[
        "Compare `raw.sum()` with the logit without its bias, y - b. Equal, opposite, or what?",
        "First ask whether the sum is the opposite of y - b: then it is inverted, whatever its signs are.",
        'Then ask whether anything is positive: `raw.max() <= 0` is "blank". What is left is "fine".',
    ]
)
def diagnose(answer):
    cases = (
        (A[0] / 2 - A[1] / 4, 4.5, "fine", "It sums to 4.5, as it should."),
        (A[1] / 4 - A[0] / 2, 4.5, "inverted", "Nothing is positive, but the reason is its sign: it sums to -4.5."),
        (A[1] / 4 - A[0] / 2, -4.5, "blank", "It sums to -4.5, and so does y - b: rightly negative, and ReLU cuts it all."),
        (A[0] / 2 - A[1] / 4, -4.5, "inverted", "All positive, yet the logit is negative: the signs have been turned."),
        (torch.tensor([[0.5, -1.0], [-0.5, 0.0]]), -1.0, "fine", "A negative sum may be right, and one cell is left."),
        (torch.tensor([[-0.5, 1.0], [0.5, 0.0]]), -1.0, "inverted", "It sums to +1 where -1 was due."),
    )  # fmt: skip
    for raw, due, expected, hint in cases:
        found = answer(raw, due)
        if found not in ("fine", "inverted", "blank"):
            raise NotYet(f'expected "fine", "inverted" or "blank", found {found!r}.', hint="Return one of the three.")
        if found != expected:
            raise NotYet(f'{raw.tolist()} with y - b = {due} is "{expected}", found "{found}".', hint=hint)


def _two_channels(random: Random) -> tuple[list[list[list[float]]], list[float]]:
    """Activations of two channels and their weights, of which the second is negative; the last cell is below zero."""
    A = [[[float(random.randint(*ends)) for _ in range(2)] for _ in range(2)] for ends in ((2, 9), (1, 3))]
    A[0][1][1], A[1][1][1] = float(random.randint(0, 1)), float(random.randint(4, 9))
    return A, [float(random.randint(3, 6)), -float(random.randint(2, 3))]


@check(
    hints=[
        "Question 1 says what Grad-CAM's weights are: the given ones, divided by the number of cells.",
        "Each cell: first weight times A_1 plus second weight times A_2, there. Then what is below zero becomes 0.",
    ],
    numbers=_two_channels,
)
def own_map(answer, given):
    (one, two), (first, second) = given
    cells = [(first * x + second * y) / 4 for x, y in zip(sum(one, []), sum(two, []), strict=True)]
    expected = [max(0.0, cell) for cell in cells]
    found = _numbers(answer, 4)
    if torch.allclose(found, torch.tensor(cells)):
        raise NotYet("a cell is negative.", hint="ReLU is the last step: what speaks against the class is dropped.")
    if torch.allclose(found, 4 * torch.tensor(expected)):
        raise NotYet("every cell is 4 times too large.", hint="Grad-CAM's weights are the given ones over the 4 cells.")
    if not torch.allclose(found, torch.tensor(expected), atol=1e-4):
        hint = "Weigh, add the two channels cell by cell, and apply ReLU last."
        raise NotYet(f"{[round(number, 4) for number in found.tolist()]} is not the map of these numbers.", hint=hint)


def _numbers(found, count: int) -> Tensor:
    try:
        numbers = torch.as_tensor(found, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        raise NotYet(f"expected {count} numbers, found {found!r}.", hint="Return one number per channel.") from None
    if numbers.shape != (count,):
        raise NotYet(
            f"expected {count} numbers, one per channel, found shape {tuple(numbers.shape)}.",
            hint="Return a tensor with one number per channel, `torch.tensor([...])`.",
        )
    return numbers.detach()


def _same(found: Tensor, expected: list[float], *, hint: str) -> None:
    if not torch.allclose(found, torch.tensor(expected), atol=1e-5):
        rounded = [round(number, 4) for number in found.tolist()]
        raise NotYet(f"expected {[round(number, 4) for number in expected]}, found {rounded}.", hint=hint)
