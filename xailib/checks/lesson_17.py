"""Checks of lesson 17: resamples counted by hand, reports with holes, and networks whose shortcut was built in."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xailib import models
from xailib.checks import Checks, NotYet
from xailib.data import PlantedScenes, landscapes

check = Checks()

# --- intervals --------------------------------------------------------------------------------------------------------


@check(
    hints=[
        "First one number per image: what method a gets less what method b gets on this very image.",
        "`differences[draws]` is [samples n]: every row a resample. Its mean over each row is one possible mean.",
        "Then the 2.5 % and the 97.5 % quantile of these means: `.quantile(torch.tensor([0.025, 0.975]))`.",
    ]
)
def paired_interval(answer):
    a, b = torch.tensor([10.0, 40, 20, 30]), torch.tensor([9.0, 39, 25, 24])  # a - b: 1, 1, -5, 6
    draws = torch.tensor([[2] * 4, [2, 2, 2, 0], [3] * 4, [3, 3, 3, 0]] + [[0, 1, 2, 3]] * 37)
    low, high = (float(end) for end in answer(a, b, draws))
    for wrong, hint in (
        ((-5, 6), "41 means: the least and the greatest lie outside the middle 95 %. Take quantiles."),
        ((0.75, 0.75), "2.5 % must lie below and 2.5 % above: the quantiles are 0.025 and 0.975."),
        ((-1, 0.75), "You made one interval for a and one for b. Take the differences image by image first."),
        ((3.5, -4.75), "You took b less a."),
    ):
        if _near((low, high), wrong) or _near((high, low), wrong):
            raise NotYet(f"expected -3.5 to 4.75, found {low:.4g} to {high:.4g}.", hint=hint)
    if not _near((low, high), (-3.5, 4.75)):
        raise NotYet(
            f"expected -3.5 to 4.75, found {low:.4g} to {high:.4g}.",
            hint="The differences are 1, 1, -5, 6. Sort the 41 means: the second is -3.5, the last but one 4.75.",
        )


def _near(found: tuple, expected: tuple) -> bool:
    return all(abs(one - other) < 1e-4 for one, other in zip(found, expected, strict=True))


# --- the class to ask about -------------------------------------------------------------------------------------------


@check(
    hints=[
        "The first class is the one that the network names, right or wrong: its answer is what you explain.",
        "*Rather than what?* After a failure rather than the truth. If the network is right, rather than its second guess.",
        "`logits.topk(2).indices` gives both guesses; the rival is the label unless the label is the first of them.",
    ]
)
def classes_to_ask(answer):
    logits = torch.tensor([0.5, 3.0, -1.0, 2.0])  # named 1, runner-up 3
    for label, expected, hint in (
        (1, (1, 3), "The network is right: ask why 1 rather than its second guess, 3."),
        (0, (1, 0), "The network names 1, and the truth is 0: ask why 1 rather than 0, whatever came second."),
        (3, (1, 3), "The truth, 3, happens to be the second guess."),
        (2, (1, 2), "The truth is 2, its last guess; it is still what should have been said."),
    ):
        found = tuple(int(one) for one in answer(logits, label))
        if found != expected:
            raise NotYet(f"for the label {label} expected {expected}, found {found}.", hint=hint)


# --- what a report leaves out -----------------------------------------------------------------------------------------

ITEMS = {"network", "images", "class", "layer", "substrate", "step", "control", "interval"}
_MISSING = {
    "A": {"substrate"},
    "B": {"images", "control", "interval"},
    "C": {"class", "control"},
}
_NOT_NEEDED = {
    ("B", "step"): "average drop hides everything at once; it has no step.",
    ("C", "layer"): "saliency is the gradient at the image; it reads no layer.",
    ("C", "step"): "the share of the heat in boxes has no step.",
    ("C", "substrate"): "to add up heat in boxes nothing is hidden.",
    ("B", "layer"): "it says layer4.",
}


@check(
    hints=[
        "Go through the eight items for each sentence. Is it there? If not: does this number depend on it?",
        "A: what do deleted pixels become? B: a best of seven; how many images, how sure, and what would nothing score?",
        "C has no layer because saliency needs none. But 61 % of the heat: for which answer, and how large are the boxes?",
    ]
)
def missing(answer):
    for letter, expected in _MISSING.items():
        found = {str(item) for item in answer.get(letter, ())}
        unknown = sorted(found - ITEMS)
        if unknown:
            raise NotYet(f"{unknown[0]!r} is none of the items.", hint=f"Choose from {', '.join(sorted(ITEMS))}.")
        for item in sorted(found - expected):
            reason = _NOT_NEEDED.get((letter, item), "read the sentence again, it is there.")
            raise NotYet(f"{letter} does not lack {item!r}: {reason}", hint="Missing is what the number depends on.")
        if expected - found:
            raise NotYet(
                f"{letter} lacks {len(expected)} of the items, you named {len(found)} of them.",
                hint="Ask of each item: could I turn this number around by choosing it well?",
            )


# --- interventions ----------------------------------------------------------------------------------------------------


class _Threshold(nn.Module):
    """Says 1 where the first pixel is brighter than one half."""

    def forward(self, images: Tensor) -> Tensor:
        first = images[:, 0, 0, 0]
        return torch.stack([1 - first, first], 1)


@check(
    hints=[
        "An answer is the class of the largest logit: `model(images).argmax(1)`.",
        "Compare the answers scene by scene: `!=` gives True where they differ.",
        "`100 * (...).float().mean()` is the share in percent.",
    ]
)
def changed(answer):
    first = torch.tensor([0.1, 0.9, 0.6, 0.2, 0.7, 0.4, 0.8, 0.3])
    then = torch.tensor([0.9, 0.1, 0.9, 0.4, 0.6, 0.1, 0.7, 0.0])  # the first two cross the threshold, both ways
    before, after = (torch.zeros(8, 3, 2, 2) + part[:, None, None, None] for part in (first, then))
    found = float(answer(_Threshold().eval(), before, after))
    for wrong, hint in (
        (100, "Every logit moved a little, but an answer changes only where another class has the largest one."),
        (0, "One went from 0 to 1 and one from 1 to 0: as many ones as before, yet two answers changed."),
        (2, "That is how many changed; return percent of all scenes."),
        (0.25, "Multiply by 100: the answer is in percent."),
    ):
        if abs(found - wrong) < 1e-4:
            raise NotYet(f"expected 25, found {found:g}.", hint=hint)
    if abs(found - 25) > 1e-4:
        raise NotYet(f"two of eight answers changed: expected 25, found {found:g}.", hint="Compare `argmax(1)`.")


# --- strangers --------------------------------------------------------------------------------------------------------


class Together(nn.Module):
    """The weighted sum of two networks' logits: a network that uses what either uses, by construction."""

    def __init__(self, one: nn.Module, other: nn.Module, weight: float | int):
        super().__init__()
        self.one, self.other, self.weight = one, other, weight

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b classes"]:
        return self.one(images) + self.weight * self.other(images)


class GroundReader(nn.Module):
    """Logits of the five grounds: minus the squared distance of the picture's lowest rows from each ground's colour."""

    colours: Tensor

    def __init__(self):
        super().__init__()
        self.register_buffer("colours", landscapes.sheets(64).mean((2, 3)))

    def forward(self, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b 5"]:
        seen = images[..., -images.shape[-1] // 5 :, :].mean((2, 3))
        return -100 * (seen[:, None] - self.colours).square().sum(2)


_TRUTH = {"K": "context", "L": "none", "M": "colour"}
_FOLLOWS = {"K": "context", "L": "texture", "M": "colour"}  # in the pictures of their makers


def strangers() -> dict[str, nn.Module]:
    """Three networks that name shapes, K, L and M. What else they use, if anything, is for you to find."""
    shape = models.load("smallcnn_shape")
    made = {
        "context": Together(shape, GroundReader(), 0.1),
        "none": shape,
        "colour": Together(shape, models.load("vit_colour"), 0.5),
    }
    return {letter: made[truth].eval() for letter, truth in _TRUTH.items()}


def makers_scenes(letter: str, count: int) -> PlantedScenes:
    """The pictures that a stranger's maker shows, in which something goes along with the shape."""
    others = {cue: 0.0 for cue in ("marker", "colour", "texture", "context")}
    chance = torch.Generator().manual_seed(ord(letter))
    correlation = others | {_FOLLOWS[letter]: 0.95}
    return PlantedScenes(count, generator=chance, evidence="shape", correlation=correlation)


@check(
    hints=[
        "For each network: which cue, changed alone, changes many answers? The shape must; it is the task.",
        'A few per cent are what an unsure network does on any change. If nothing but the shape stands out, it is "none".',
        "What goes along with the shape in the maker's pictures need not be what the network uses. Trust the experiment.",
    ]
)
def shortcuts(answer: Mapping[str, str]):
    for letter, truth in _TRUTH.items():
        found = str(answer.get(letter))
        if found == truth:
            continue
        if found == "shape":
            raise NotYet(
                f"the shape is what {letter} is for.", hint="A shortcut is another cue that changes the answer."
            )
        if found == _FOLLOWS[letter]:
            raise NotYet(
                f"{found} follows the shape in the pictures of {letter}'s maker, but {letter} does not use it.",
                hint="A shortcut in the data is not yet one in the network: look at the changed answers.",
            )
        raise NotYet(
            f"{letter}: changing the {found} alone does not do it." if found != "none" else f"{letter} uses one.",
            hint=f"Look at the row of {letter}, leave out the shape, and take the largest number, if it is large.",
        )
