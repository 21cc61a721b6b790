"""Checks of lesson 03: tokens found by painting pixels, attention with weights of 1 to 3, costs that are published."""

import math

import torch
from torch import Tensor

from xailib.checks import Checks, NotYet
from xailib.models.vit import PatchEmbed

check = Checks()


@check(
    hints=[
        "Count the patches that come before: whole rows of patches above, then patches to the left in the same row.",
        "The patch of pixel (x, y) is in row y // patch and column x // patch; a row holds width // patch patches.",
        "`prefix + (y // patch) * (width // patch) + x // patch`: the prefix tokens come first.",
    ]
)
def token_of(answer):
    for x, y, width, height, patch, prefix, hint in (
        (0, 0, 64, 64, 8, 0, "The first pixel is in the first patch, and counting starts at 0."),
        (0, 0, 64, 64, 8, 1, "With a class token in front, the first patch is token 1."),
        (20, 0, 64, 64, 8, 0, "Pixels 16 to 23 of a line lie in the third patch."),
        (5, 20, 64, 64, 8, 1, "x counts columns, y rows: two whole rows of 8 patches come before, and the class token."),
        (30, 17, 96, 48, 16, 5, "A row has width // patch patches; the height does not matter. DINOv2 has 5 tokens in front."),
    ):  # fmt: skip
        found, expected = answer(x, y, width, patch, prefix), prefix + _painted(x, y, width, height, patch)
        if found != expected:
            place = f"x = {x}, y = {y}, width {width}, patch {patch}, {prefix} tokens in front"
            raise NotYet(f"{place}: painting this pixel changes token {expected}, found {found!r}.", hint=hint)


def _painted(x: int, y: int, width: int, height: int, patch: int) -> int:
    """The number of the patch that changes when the pixel does."""
    image = torch.zeros(1, 3, height, width)
    image[..., y, x] = 1
    tokens = PatchEmbed(patch, 3, 4)(torch.cat([torch.zeros_like(image), image]))
    return (tokens[0] != tokens[1]).any(1).nonzero().item()


# --- attention --------------------------------------------------------------------------------------------------------

LN3 = math.log(3)


@check(
    hints=[
        "Three steps: the fits Q K^T, the weights by softmax, the mean of the values.",
        "Divide the fits by the square root of d before the softmax; d is `Q.shape[-1]`, the length of a query.",
        "Each query's weights must sum to 1: `softmax(-1)`, over the keys. Then `@ V`.",
    ]
)
def attend(answer):
    K = torch.tensor([[0.0, 0, 0, 0], [2 * LN3, 0, 0, 0]])  # d = 4, so half of it counts
    V = torch.tensor([[0.0, 8], [4, 0]])
    Q = torch.tensor([[0.0, 0, 0, 0], [1, 0, 0, 0], [-1, 0, 0, 0]])
    expected = torch.tensor([[2.0, 4], [3, 2], [1, 6]])  # weights 1:1, 1:3 and 3:1
    found = _numbers(answer(Q, K, V), expected)
    if torch.allclose(found, (Q @ K.mT).softmax(-1) @ V):
        raise NotYet("the fits are not divided.", hint="Here d = 4; the second query weighs 1 : 3, not 1 : 9.")
    if torch.allclose(found, (Q @ K.mT / 4).softmax(-1) @ V):
        raise NotYet(
            "the fits are divided by d = 4, not by its root, 2.", hint="Standard deviations grow like the root."
        )
    if torch.allclose(found, (Q @ K.mT / 2).softmax(0) @ V):
        raise NotYet(
            "your weights sum to 1 for each key, not for each query.",
            hint="Rows of Q K^T are queries, columns are keys; the softmax runs over the keys.",
        )
    _same(
        found,
        expected,
        hint="Divide before the softmax: each query's weights sum to 1. A query of zeros weighs both values alike: 2 and 4.",
    )


@check(
    hints=[
        "Head 1 is made of the first D / heads columns of Q, K and V, head 2 of the next, and so on.",
        "In each head d is D / heads, not D. `attend` of question 2 does the rest.",
        "`torch.cat([attend(q, k, v) for q, k, v in zip(Q.chunk(heads, -1), ...)], -1)` puts the answers side by side.",
    ]
)
def multi_head(answer):
    K = torch.tensor([[0.0, 0], [LN3, -LN3]])  # two heads of d = 1: the first asks for token 2, the second for token 1
    V = torch.tensor([[0.0, 0], [4, 8]])
    Q = torch.ones(2, 2)
    expected = torch.tensor([[3.0, 2], [3, 2]])  # weights 1:3 and 3:1
    found = _numbers(answer(Q, K, V, 2), expected)
    if torch.allclose(found, torch.tensor([[2.0, 4], [2, 4]])):
        raise NotYet(
            "both columns were weighted alike, as by a single head.",
            hint="Over all of D, the two wishes cancel: 1 ln 3 - 1 ln 3 = 0. A head must see its own columns only.",
        )
    _same(
        found, expected, hint="Head 1 sees the column (0, 4) with weights 1 : 3, head 2 the column (0, 8) with 3 : 1."
    )
    generator = torch.Generator().manual_seed(0)
    Q, K, V = torch.randn(3, 5, 12, generator=generator)
    for heads in (1, 3):
        q, k, v = (part.unflatten(-1, (heads, -1)).transpose(0, 1) for part in (Q, K, V))
        expected = torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(0, 1).flatten(1)
        _same(
            _numbers(answer(Q, K, V, heads), expected),
            expected,
            hint=f"On random numbers with D = 12 and {heads} heads, PyTorch finds something else. d is {12 // heads} here.",
        )


def _numbers(found, expected: Tensor) -> Tensor:
    if not isinstance(found, Tensor) or found.shape != expected.shape:
        shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise NotYet(f"expected a tensor {list(expected.shape)}, found {shape}.", hint="One row for each query.")
    return found


def _same(found: Tensor, expected: Tensor, *, hint: str) -> None:
    if not torch.allclose(found, expected, atol=1e-5):
        row, column = divmod(int((found - expected).abs().argmax()), expected.shape[1])
        raise NotYet(
            f"row {row}, column {column} should be {expected[row, column]:.4g}, found {found[row, column]:.4g}.",
            hint=hint,
        )


# --- cost -------------------------------------------------------------------------------------------------------------


@check(
    hints=[
        "Four linear layers from D to D serve Q, K, V and the output; the MLP goes from D to rD and back.",
        "A linear layer from D to E makes D * E multiplications for each of the n tokens.",
        "Q K^T has n * n entries of D multiplications each; A V has n * D entries of n each.",
    ]
)
def block_macs(answer):
    for n, D, r, expected, hint in (
        (
            1,
            1,
            0,
            (4, 2),
            "One token of one number and no MLP: q, k, v and output; then one fit and one weighted value.",
        ),
        (1, 1, 4, (12, 2), "The MLP adds r going up and r coming down."),
        (3, 1, 0, (12, 18), "Three tokens make nine pairs, and each pair counts twice: in Q K^T and in A V."),
        (1, 10, 0, (400, 20), "A linear layer from 10 numbers to 10 has 100 weights."),
        (197, 768, 4, (1_394_343_936, 59_610_624), "This is a block of ViT-Base at 224 pixels."),
    ):
        found = answer(n, D, r)
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            raise NotYet(f"expected two numbers, alone and between, found {found!r}.", hint="Return them as a pair.")
        if tuple(found) == tuple(reversed(expected)):
            raise NotYet("the two numbers are the wrong way round.", hint="First the linear layers, then the pairs.")
        if tuple(found) != expected:
            raise NotYet(f"n = {n}, D = {D}, r = {r}: expected {expected}, found {tuple(found)}.", hint=hint)
