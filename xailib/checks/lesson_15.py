"""Checks of lesson 15: errors done by hand, slopes against finite differences, an interval by hand, four runs."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xailib.checks import Checks, NotYet

check = Checks()


@check(
    hints=[
        "Make one long row of each image's gradient: `delta.flatten(1)` is [b p].",
        "`F.cosine_similarity(a, b)` of two [b p] gives one cosine per image; the loss wants it large.",
        "An error is minimised: minus the cosine, then the mean over the images.",
    ]
)
def cosine_error(answer):
    a, b = torch.tensor([1.0, 2.0]).reshape(1, 1, 1, 2), torch.tensor([2.0, 1.0]).reshape(1, 1, 1, 2)
    found = _number(answer(a, b))
    if _near(found, 0.8):
        raise NotYet(
            "expected -0.8 for (1, 2) and (2, 1), found 0.8.", hint="Minimised, this drives them apart: minus."
        )
    if not _near(found, -0.8):
        raise NotYet(
            f"expected -0.8 for (1, 2) and (2, 1), found {found:.4g}.", hint="<a, b> = 4; both lengths are √5."
        )
    if not _near(_number(answer(100 * a, 0.01 * b)), -0.8):
        raise NotYet("the error changes with the length of the gradients.", hint="Divide by both norms.")
    a, b = torch.cat([a, 10 * a]), torch.cat([b, -10 * a])  # the second pair is opposite, and much longer
    found = _number(answer(a, b))
    if not _near(found, 0.1):
        raise NotYet(
            f"the errors of two images are -0.8 and 1, their mean is 0.1; found {found:.4g}.",
            hint="One cosine for each image, whatever its length, and then the mean: `flatten(1)`, not `flatten()`.",
        )


@check(
    hints=[
        "`x = images.detach().requires_grad_()` first, then the loss of model(x), then its gradient at x.",
        "The gradient must itself be differentiable: `torch.autograd.grad(L_C, x, create_graph=True)`.",
        "The teacher is a constant: `teacher.detach()`. Return L_C + coefficient * error.",
    ]
)
def denoising_loss(answer):
    model, images, labels, teacher = _smooth_case()
    plain = F.cross_entropy(model(images), labels).item()
    found, expected = answer(model, images, labels, teacher, 0.5), _loss(model, images, labels, teacher, 0.5)
    if not isinstance(found, Tensor) or found.ndim != 0:
        raise NotYet("expected one number as a tensor, with a graph to the weights.", hint="Do not call .item().")
    if not _near(found.item(), expected, 1e-6):
        raise NotYet(
            f"expected L = {expected:.5f} (L_C = {plain:.5f}), found {found.item():.5f}.",
            hint="L_C is the mean cross-entropy; add coefficient times the mean of minus the cosines.",
        )
    slopes = torch.autograd.grad(found, [*model.parameters()], allow_unused=True)
    _same_slopes(slopes[0], model, images, labels, teacher)
    total = model[1].weight.sum()
    moving = teacher + images * (total - total.detach())  # the same values, with a graph
    (slope, *_) = torch.autograd.grad(answer(model, images, labels, moving, 0.5), [*model.parameters()])
    if not torch.allclose(slope, slopes[0], atol=1e-9):
        raise NotYet("the weights also learn through the teacher.", hint="The teacher is a constant: detach it.")


def _smooth_case() -> tuple[nn.Sequential, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator).double()
    images, teacher = (torch.rand(2, 3, 2, 2, generator=generator).double() for _ in range(2))
    return model, images, torch.tensor([0, 2]), teacher


def _loss(model: nn.Sequential, images: Tensor, labels: Tensor, teacher: Tensor, coefficient: float) -> float:
    """L, where the gradient at the image is written out for this network, without autograd."""
    flat, first, last = images.flatten(1), model[1], model[3]
    hidden = torch.tanh(first(flat))
    p = last(hidden).softmax(1)
    signal = (p - F.one_hot(labels, 3)) @ last.weight * (1 - hidden**2)
    cosines = F.cosine_similarity(signal @ first.weight, teacher.flatten(1))
    return (-p.gather(1, labels[:, None]).log().mean() - coefficient * cosines.mean()).item()


def _same_slopes(found: Tensor | None, model: nn.Sequential, images: Tensor, labels: Tensor, teacher: Tensor) -> None:
    """Against finite differences of L, for some weights of the first layer."""
    weight, step = model[1].get_parameter("weight"), 1e-5
    for place in ((0, 0), (1, 5), (3, 11)):
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                weight[place] += sign * step
                ends.append(_loss(model, images, labels, teacher, 0.5))
                weight[place] -= sign * step
        slope = (ends[0] - ends[1]) / (2 * step)
        if found is None or not _near(found[place].item(), slope, 1e-5):
            raise NotYet(
                "the value is right, but its slope at the weights is not: nothing is learned from the regulariser.",
                hint="The gradient at the image needs a graph of its own: create_graph=True, and no detach().",
            )


@check(
    hints=[
        "Same seed, same start: first the differences `denoised - standard`, pair by pair.",
        "Then their mean, and the half width t s / √n with n - 1 in the standard deviation s.",
        "`stats.t.ppf(0.975, n - 1)` is t; for three pairs it is 4.303.",
    ]
)
def paired_interval(answer):
    standard, denoised = torch.tensor([70.0, 72.0, 74.0]), torch.tensor([71.0, 73.5, 74.5])
    low, high = (float(end) for end in answer(standard, denoised))
    half = 4.302653 * 0.5 / math.sqrt(3)  # the differences are 1, 1.5 and 0.5
    if not _near((low + high) / 2, 1, 1e-4):
        raise NotYet(
            f"the middle should be 1, found {(low + high) / 2:.4g}.", hint="Denoised minus standard, the mean."
        )
    if _near((high - low) / 2, 1.959964 * 0.5 / math.sqrt(3), 2e-3):
        raise NotYet("you took 1.96 for t.", hint="Three pairs give two degrees of freedom, and t is 4.3.")
    if _near((high - low) / 2, 4.302653 * math.sqrt(1 / 6) / math.sqrt(3), 1e-3):
        raise NotYet("your standard deviation divides by n.", hint="Divide by n - 1: `.std()` of torch does.")
    if not _near((high - low) / 2, half, 1e-3):
        raise NotYet(
            f"expected 1 ± {half:.3f}, found 1 ± {(high - low) / 2:.3f}.",
            hint="s is the standard deviation of the differences 1, 1.5, 0.5, which is 0.5; not of the values.",
        )
    low, high = (float(end) for end in answer(torch.zeros(5), torch.tensor([1.0, 1.0, 2.0, 3.0, 3.0])))
    if not _near((high - low) / 2, 2.776445 * 1 / math.sqrt(5), 1e-3):
        raise NotYet(
            "with five pairs t is 2.776.", hint="t depends on the number of pairs: `stats.t.ppf(0.975, n - 1)`."
        )


@check(
    hints=[
        "For each run compute the alignment before and after, and the lengths of the gradients.",
        "An alignment of exactly 1 before the first step is no success: there, nothing was guided.",
        "MAE also falls where the gradients only became shorter. One run alone has gradients that turned to the guided ones.",
    ]
)
def denoised_run(answer):
    letters = {str(letter).strip().upper() for letter in answer}
    if not letters or letters - RUNS.keys():
        raise NotYet(f"expected some of A, B, C and D, found {sorted(letters)}.", hint='Write a set, such as {"A"}.')
    reasons = {
        "A": "in A both gradients are the same before and after: nothing was guided.",
        "B": "in B both gradients became shorter and did not turn: its MAE fell, its alignment did not rise.",
        "D": "in D the gradients turned away from each other, as with the cosine of the slides, without minus.",
    }
    for letter in sorted(letters - {"C"}):
        raise NotYet(reasons[letter], hint="Compare the alignment before and after.")


def _runs() -> dict[str, dict[str, tuple[Tensor, Tensor]]]:
    """Standard and guided gradients [16 3 8 8] of four runs, before and after training."""
    generator = torch.Generator().manual_seed(0)
    one, two = (torch.randn(16, 3, 8, 8, generator=generator) for _ in range(2))
    mixed = one + 0.3 * two
    return {
        "A": {"before": (one, one), "after": (0.5 * two, 0.5 * two)},
        "B": {"before": (one, mixed - one), "after": (0.05 * one, 0.05 * (mixed - one))},
        "C": {"before": (one, two), "after": (one + 0.6 * two, two)},
        "D": {"before": (one, two), "after": (one - 0.8 * two, two)},
    }


RUNS = _runs()


def _number(found) -> float:
    if isinstance(found, Tensor) and found.numel() != 1:
        raise NotYet(f"expected one number, found {tuple(found.shape)}.", hint="Take the mean over the images.")
    return float(found)


def _near(found: float | int, expected: float | int, tolerance: float = 1e-5) -> bool:
    return abs(found - expected) <= tolerance
