"""Checks of lesson 13: searches on pictures of three pixels, whose ends are known."""

from functools import partial

import torch

from xailib.checks import Checks, NotYet

check = Checks()


@check(
    hints=[
        "For channel k, show the weights e_k: `torch.eye(K)[k]`. Which weights are the point that the step starts from?",
        "It starts at w = 0: subtract `F(torch.zeros(K))` from each.",
        "`torch.stack([F(e) - F(torch.zeros(K)) for e in torch.eye(K)])`",
    ]
)
def differences(answer):
    def F(w):  # 2 with no weights at all; the last two channels count only together
        return 2 + 3 * w[0] ** 2 - w[1] + 8 * w[1] * w[2]

    found = torch.as_tensor(answer(F, 3)).detach()
    expected = torch.tensor([3.0, -1.0, 0.0])
    if found.shape == (3,) and torch.allclose(found, expected + 2):
        raise NotYet("each is 2 too large.", hint="F(0) is 2 here; a difference is taken from where the step starts.")
    if found.shape == (3,) and torch.allclose(found, torch.tensor([0.0, -1.0, 0.0])):
        raise NotYet("that is the gradient at 0, a step without length.", hint="Go the whole way to e_k: F(e_0) = 5.")
    _same(found, expected, "for F = 2 + 3 a² - b + 8 b c", hint="F(e_0) = 5, F(e_1) = 1, F(e_2) = 2, F(0) = 2.")


@check(
    hints=[
        "Four steps: w = softmax(u); S = the sum of w_k A_k; the mask n(S); the logit v . mask.",
        "The sum over channels is a product with a matrix: `u.softmax(0) @ A` is [n].",
        "By range: `(S - S.min()) / (S.max() - S.min())`.",
    ]
)
def masked_score(answer):
    A, v = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), torch.tensor([3.0, -1.0, 0.0])
    log3 = torch.tensor(3.0).log().item()
    for u, A_, expected, hint in (
        ((0.0, 0.0), A, 2.0, "Equal weights: S = (1/2, 1/2, 0), so the mask is (1, 1, 0) and 3 - 1 = 2."),
        ((log3, 0.0), A, 8 / 3, "softmax gives 3/4 and 1/4, the mask is (1, 1/3, 0), and 3 - 1/3 is left."),
        ((log3, 0.0), A + 1, 8 / 3, "1 more in every cell: the range takes it away, and the mask stays (1, 1/3, 0)."),
    ):
        found = float(answer(torch.tensor(u), A_, v))
        if not abs(found - expected) < 1e-4:
            where = f"for u = ({u[0]:.3g}, {u[1]:.3g})"
            raise NotYet(f"expected {expected:.4g} {where}, found {found:.4g}.", hint=hint)


@check(
    hints=[
        "Adam goes downhill: give it -F(u), or `maximize=True`.",
        "In each of 100 rounds: `adam.zero_grad()`, `(-F(u)).backward()`, `adam.step()`. Note F(u) each time.",
        "Start the list with F at u = 0, add F(u) after each step, and return its largest value.",
    ]
)
def climb(answer):
    pixels = torch.eye(3, dtype=torch.float64)[:2]
    for v, expected, hint in (
        ((3.0, -1.0, 0.0), 2.98847, "100 steps of Adam at rate 0.1 lead from 2 to 2.98847, on the way to 3."),
        ((-1.0, 3.0, 0.0), 2.98847, "The same with both channels exchanged."),
        ((3.0, 2.0, 0.0), 5.0, "The start is the summit, 5, and Adam walks off it. Keep the largest value you met."),
    ):
        found = float(answer(partial(_seen_through, pixels, torch.tensor(v, dtype=torch.float64)), 2))
        if not abs(found - expected) < 2e-4:
            raise NotYet(f"expected {expected:.6g} for v = {v}, found {found:.6g}.", hint=hint)


def _seen_through(pixels: torch.Tensor, v: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    S = u.double().softmax(0) @ pixels
    return v @ ((S - S.min()) / (S.max() - S.min()))


@check(
    hints=[
        "You need a direction d with sum_k d_k A_k = 0 in every cell, n conditions, and sum_k d_k = 0, one more.",
        "Write the conditions as rows of a matrix: `M = torch.cat([A.T, torch.ones(1, K)])`; the last row of its "
        "`torch.linalg.svd(M).Vh` is such a d.",
        "Go along d as far as all weights stay positive: `w + t * d` with t smaller than each w_k / |d_k|.",
    ]
)
def other_weights(answer):
    rng = torch.Generator().manual_seed(0)
    for K, n in ((4, 2), (12, 9)):
        A, w = torch.rand(K, n, generator=rng), torch.rand(K, generator=rng).softmax(0)
        found = answer(w.clone(), A.clone())
        if not isinstance(found, torch.Tensor) or found.shape != w.shape:
            raise NotYet(f"expected {K} weights for {K} channels.", hint="Return a tensor as long as w.")
        if not (found - w).abs().max() >= 1e-3:
            raise NotYet("these are the weights that you were given.", hint="Add a direction that the map cannot see.")
        if not torch.allclose(found @ A, w @ A, atol=1e-4):
            off = (found @ A - w @ A).abs().max().item()
            raise NotYet(f"the map changes by {off:.2g}.", hint="Rows of Vh beyond the rank of M have M d = 0.")
        if not abs(found.sum() - 1) < 1e-4:
            hint = "One more condition on d: its sum is 0. Add a row of ones to the matrix."
            raise NotYet(f"the weights add up to {found.sum():.3f}, not to 1.", hint=hint)
        if not (found > 0).all():
            hint = "Go less far along d: half of the smallest w_k / |d_k|."
            raise NotYet(f"a weight is {found.min():.2g}, not positive.", hint=hint)


def _same(found: torch.Tensor, expected: torch.Tensor, where: str, *, hint: str) -> None:
    if found.shape != expected.shape or not torch.allclose(found, expected, atol=1e-5):
        raise NotYet(f"expected {expected.tolist()} {where}, found {found.tolist()}.", hint=hint)
