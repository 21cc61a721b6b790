"""Checks of lesson 14: a block and its price by hand, autograd against the theorem, and bits that moved."""

from math import log

import torch
from torch import Tensor

from xailib.checks import Checks, NotYet

check = Checks()


@check(
    hints=[
        "Three steps: scores of the places, softmax over the places, weighted sum of the rows. Then the linear map.",
        "The scores are `F @ q / F.shape[1] ** 0.5`, one for each of the p rows; the softmax runs along them.",
        "`a = (F @ q / F.shape[1] ** 0.5).softmax(0)`, then `W @ (F.T @ a) + b`.",
    ]
)
def next_query(answer):
    F = torch.zeros(2, 4)
    F[1, 0] = 2 * log(3)  # the scores are 0 and 2 ln 3 / 2, so a = (1/4, 3/4)
    q, W, b = torch.tensor([1.0, 0, 0, 0]), torch.tensor([[2.0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 5]]), torch.ones(3)
    found = _vector(answer(F, q, W, b), 3)
    seen = (found[2] - 1).item() / (2 * log(3))  # how much of the second row was seen
    if abs(seen - 0.5) < 1e-5:
        raise NotYet("both places got the weight 1/2.", hint="That is average pooling; the query decides the weights.")
    if abs(seen - 0.9) < 1e-5:
        raise NotYet("the weights are 1/10 and 9/10, expected 1/4 and 3/4.", hint="Divide the scores by sqrt(d) = 2.")
    if abs(seen - 3**2**0.5 / (1 + 3**2**0.5)) < 1e-5:
        raise NotYet("the scores were divided by something else.", hint="d is the width of a row of F, not the places.")
    _same(
        found,
        torch.tensor([1 + 3 * log(3), 1, 1 + 1.5 * log(3)]),
        "The second row has the weight 3/4; nothing else is added but b.",
    )


@check(
    hints=[
        "Do the smallest case first: one stage with one channel and two places. How many multiplications, and which?",
        "There are 2 for the scores, 2 for the weighted sum and 1 for the linear map, each with an addition: 10 in all.",
        "2 * (the sum of d * e over neighbouring widths, the last with itself, plus the sum of 2 * p * d).",
    ]
)
def stream_flops(answer):
    one = _number(answer([1], [2]))
    if one == 5:
        raise NotYet("found 5 for one channel and two places.", hint="A multiplication and an addition count as two.")
    if one == 6:
        raise NotYet(
            "found 6 for one channel and two places, expected 10.", hint="Scores and weighted sum take p * d each."
        )
    if one == 8:
        raise NotYet(
            "found 8 for one channel and two places, expected 10.",
            hint="The last stage has a linear map, to its own width.",
        )
    for name, widths, places, expected in (
        ("one channel, two places", [1], [2], 10),
        ("two stages", [2, 3], [4, 1], 2 * (2 * 3 + 3 * 3 + 2 * 8 + 2 * 3)),
        ("ResNet-18", [64, 64, 128, 256, 512], [3136, 3136, 784, 196, 49], 3_184_640),  # PyTorch's counter says so
        ("ResNet-50", [64, 256, 512, 1024, 2048], [3136, 3136, 784, 196, 49], 20_750_336),
    ):
        found = _number(answer(widths, places))
        if found != expected:
            raise NotYet(f"{name}: expected {expected:,}, found {found:,}.", hint="Write each stage's terms down once.")


@check(
    hints=[
        "Sum the gradient a_i v + a_i (v . phi_i - v . CA) q / sqrt(d) over the places: what is left?",
        "v is left. It maps a place to the logit: first W_L, then the classifier's row, so v = W_L^T w_c.",
        "Grad-CAM takes the mean over the places, not the sum: `W.T @ w_c / places`.",
    ]
)
def gradcam_weights(answer):
    chance = torch.Generator().manual_seed(0)
    for places, strength in ((6, 0.0), (6, 5.0), (9, -3.0)):  # uniform attention, sharp, and turned away
        F, q, w_c, W = (torch.randn(*size, generator=chance) for size in ((places, 4), (4,), (4,), (4, 4)))
        F.requires_grad_()
        a = (F @ (strength * q) / 2).softmax(0)
        (gradient,) = torch.autograd.grad(w_c @ W @ (F.T @ a), F)
        found, expected = _vector(answer(w_c, W, places), 4), gradient.mean(0)
        if torch.allclose(found, places * expected, atol=1e-5):
            raise NotYet(f"the weights are {places} times too large.", hint="Grad-CAM takes the mean over the places.")
        if torch.allclose(found, w_c / places, atol=1e-5):
            raise NotYet("that is Grad-CAM under GAP.", hint="Here W_L stands between the pooling and the classifier.")
        if torch.allclose(found, W @ w_c / places, atol=1e-5):
            raise NotYet("W is turned the wrong way round.", hint="y = w_c . (W x) = (W^T w_c) . x.")
        _same(found, expected, "Work it out for one place, where the attention is 1 and y = w_c . (W phi).")


@check(
    hints=[
        "Buffers count as much as parameters: go through all names of the dictionary.",
        "`torch.equal` is true only if all values are the same to the last bit; `torch.allclose` forgives a little.",
        "`[name for name, value in before.items() if not torch.equal(value, after[name])]`",
    ]
)
def changed(answer):
    before = {
        "bn1.weight": torch.tensor([1.0, 2.0]),
        "bn1.running_mean": torch.tensor([1.0, -1.0]),
        "bn1.num_batches_tracked": torch.tensor(3),
        "fc.weight": torch.tensor([[1.0, 0.5]]),
        "fc.bias": torch.tensor([0.25]),
    }
    after = {name: value.clone() for name, value in before.items()}
    _names(answer(before, after), [], "Nothing changed here.")
    after["fc.bias"] = torch.nextafter(after["fc.bias"], torch.tensor([1.0]))
    _names(answer(before, after), ["fc.bias"], "fc.bias changed in its last bit: compare exactly, not about.")
    after["bn1.num_batches_tracked"] += 1
    _names(answer(before, after), ["bn1.num_batches_tracked", "fc.bias"], "Buffers count, too, also whole numbers.")
    after["bn1.running_mean"] = torch.tensor([3.0, -3.0])
    expected = ["bn1.running_mean", "bn1.num_batches_tracked", "fc.bias"]
    _names(answer(before, after), expected, "Two values of bn1.running_mean changed, and their sum did not.")


def _names(found, expected: list[str], hint: str) -> None:
    if not isinstance(found, list) or found != expected:
        raise NotYet(f"expected {expected}, found {found!r}.", hint=hint)


def _number(found) -> int:
    if not isinstance(found, (int, float)):
        raise NotYet(f"expected a whole number, found {type(found).__name__}.", hint="Return the count itself.")
    return int(found)


def _vector(found, length: int) -> Tensor:
    if not isinstance(found, Tensor) or found.shape != (length,):
        what = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise NotYet(f"expected {length} numbers, found {what}.", hint="Look at the shape after each step.")
    return found.detach().float()


def _same(found: Tensor, expected: Tensor, hint: str) -> None:
    if not torch.allclose(found, expected, atol=1e-5):
        rounded = [[round(value, 3) for value in one.tolist()] for one in (expected, found)]
        raise NotYet(f"expected {rounded[0]}, found {rounded[1]}.", hint=hint)
