"""Checks of lesson 04: two or three places, few channels, worked out by hand: exp(ln 3) = 3 makes quarters of a softmax."""

import math

import torch
from torch import Tensor

from xailib.checks import Checks, NotYet

check = Checks()

LN3 = math.log(3)
F = torch.tensor([[0.0, 1.0, 0.0, 0.0], [2 * LN3, 0.0, 4.0, 0.0]])  # two places, four channels
q = torch.tensor([1.0, 0.0, 0.0, 0.0])  # its scores are 0 and 2 ln 3, divided by sqrt(4): attention 1/4 and 3/4
W = torch.tensor([[0.0, 4.0, 2.0, 0.0], [0.0, 8.0, -1.0, 5.0], [0.0, 0.0, 0.0, 7.0]])  # values 4, 8; 8, -4; 0, 0


@check(
    hints=[
        "First one score for each place: the sum of its channels, each times the query's number. In one step: `F @ q`.",
        "Divide by the square root of d, `F.shape[1] ** 0.5`, then `softmax(0)` over the places.",
        "Pooled is the sum of the rows of F, each times its attention: `F.mT @ a`.",
    ]
)
def attention_pool(answer):
    found, pooled = _pair(answer(torch.tensor([[0.0], [LN3]]), torch.tensor([1.0])), 2, 1)
    _same(found.sum(), 1.0, "expected an attention that adds up to", hint="The attention is a softmax over the places.")
    _same(found, [0.25, 0.75], "expected the attention", hint="exp(0) = 1 and exp(ln 3) = 3: shares 1/4 and 3/4.")
    _same(
        pooled, [0.75 * LN3], "expected pooled features", hint="An average: 1/4 of the first place's 0 and 3/4 of ln 3."
    )
    found, pooled = _pair(answer(F, q), 2, 4)
    if torch.allclose(found, torch.tensor([0.1, 0.9])):
        raise NotYet(
            "with four channels expected the attention [0.25, 0.75], found [0.1, 0.9].",
            hint="Divide the scores by sqrt(d), here 2, before the softmax.",
        )
    _same(
        found, [0.25, 0.75], "with four channels expected the attention", hint="The scores are 0 and 2 ln 3 / sqrt(4)."
    )
    _same(pooled, [1.5 * LN3, 0.25, 3.0, 0.0], "expected pooled features", hint="Channel 3: 1/4 of 0 and 3/4 of 4.")


def _pair(found, places: int, channels: int) -> tuple[Tensor, Tensor]:
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        raise NotYet(
            f"expected attention and pooled features, found {type(found).__name__}.", hint="Return both: `a, pooled`."
        )
    return _shaped(found[0], (places,)), _shaped(found[1], (channels,))


@check(
    hints=[
        "A layer on n tokens compares n times n pairs, and n is side squared: side ** 4 pairs.",
        "Of `side` tokens in a line every second one, beginning with the first, makes (side + 1) // 2.",
        "The layer between two stages compares (tokens after) x (tokens before) pairs, and it counts, too.",
    ]
)
def pairs(answer):
    for side, layers, expected, hint in (
        (6, (1,), 1296, "One layer of 6 x 6 = 36 tokens: 36 x 36."),
        (4, (1, 1), 336, "16 x 16 in the first stage, 4 x 16 where it shrinks, 4 x 4 in the second stage."),
        (3, (1, 1), 133, "Of 3 tokens in a line the first and the third ask: 4 of 9. 81 + 4 x 9 + 16."),
        (14, (2, 3, 4), 95447, "LeViT-128S: 2 x 196 x 196 + 49 x 196 + 3 x 49 x 49 + 16 x 49 + 4 x 16 x 16."),
    ):
        found = answer(side, layers)
        if found != expected:
            raise NotYet(f"expected {expected} for side {side} and layers {layers}, found {found}.", hint=hint)


@check(
    hints=[
        "The value of place p for class c is w_c . F_p: in one step `F @ W.mT`, [p c].",
        "The logit is the sum over p of a_p times that value. What is one term of the sum?",
        "`a[:, None] * (F @ W.mT)`, with the attention of question 1.",
    ]
)
def contributions(answer):
    found = _shaped(answer(F, q, W), (2, 3))
    if torch.allclose(found, F @ W.mT):
        raise NotYet(
            "these are the values, w_c . F_p: they do not add up to the logit.",
            hint="Each place enters the sum with its attention, here 1/4 and 3/4.",
        )
    hint = "Class 2: 1/4 of 8 from the first place, 3/4 of -4 from the second. What is negative stays negative."
    _same(found, [[1.0, 2.0, 0.0], [6.0, -3.0, 0.0]], "expected the contributions", hint=hint)


@check(
    hints=[
        "All attentions at once: `(F @ Q.mT / sqrt(d))` is [p c]. Along which side must it sum to 1?",
        "Each column is one class's attention, so `softmax(0)`. Then pooled features for each class: `A.mT @ F`, [c d].",
        "Class c reads only its own pooled features: `(pooled * W).sum(1) + b`.",
    ]
)
def class_query_logits(answer):
    Q = torch.stack([q, -q])  # attentions (1/4, 3/4) and (3/4, 1/4)
    for queries, expected, hint in (
        (0 * Q, [6.0, 2.0], "With Q = 0 every class averages: pooled is (ln 3, 0.5, 2, 0)."),
        (
            Q,
            [7.0, 5.0],
            "Class 1 has values 4 and 8 with attention 1/4 and 3/4; class 2 has 8 and -4 with 3/4 and 1/4.",
        ),
        (-Q, [5.0, -1.0], "Now class 1 has attention 3/4 and 1/4, class 2 has 1/4 and 3/4. Each keeps to its own."),
    ):
        found = _shaped(answer(F, queries, W[:2], torch.zeros(2)), (2,))
        _same(found, expected, "expected the logits", hint=hint)
    found = _shaped(answer(F, Q, W[:2], torch.tensor([10.0, 20.0])), (2,))
    _same(found, [17.0, 25.0], "with the bias (10, 20) expected the logits", hint="Add b, once for each class.")


def _shaped(found, shape: tuple[int, ...]) -> Tensor:
    if not isinstance(found, Tensor) or found.shape != shape:
        what = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise NotYet(f"expected a tensor {list(shape)}, found {what}.", hint="Mind over which side you sum.")
    return found.detach()


def _same(found: Tensor, expected: list | float, what: str, *, hint: str) -> None:
    if not torch.allclose(found, torch.tensor(expected), atol=1e-4):
        wanted, rounded = (numbers.double().round(decimals=3).tolist() for numbers in (torch.tensor(expected), found))
        raise NotYet(f"{what} {wanted}, found {rounded}.", hint=hint)
