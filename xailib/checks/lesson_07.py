"""Checks of lesson 07: maps of a few windows and masks done by hand, and four networks whose evidence is planted."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from xailib.checks import Checks, NotYet
from xailib.data.planted import PlantedScenes

check = Checks()


@check(
    hints=[
        "For each pixel: which windows hide it, and what is the mean of their drops?",
        "`drops[:, None, None] * hidden` has each window's drop where it hides, and 0 elsewhere; add up over windows.",
        "Divide this sum by how many windows hide the pixel, `hidden.sum(0)`, and not by the number of all windows.",
    ]
)
def mean_drop(answer):
    hidden = torch.tensor([[[1.0, 1, 0, 0]], [[0.0, 1, 1, 0]], [[0.0, 0, 1, 1]]])
    drops = torch.tensor([2.0, -1.0, 3.0])
    expected = torch.tensor([[2.0, 0.5, 1.0, 3.0]])
    found = _tensor(answer(drops, hidden), expected.shape)
    if torch.allclose(found, torch.tensor([[2.0, 1.0, 2.0, 3.0]])):
        raise NotYet("you added up the drops.", hint="A pixel in the middle would win by being hidden more often.")
    if torch.allclose(found, torch.tensor([[2.0, 1.0, 2.0, 3.0]]) / 3):
        raise NotYet("you divided by all 3 windows.", hint="Count, for each pixel, the windows that hide it.")
    _same(found, expected, hint="The second pixel is hidden by the windows that drop 2 and -1: their mean is 0.5.")


@check(
    hints=[
        "The scores weigh the masks: start with the sum over masks of score times mask, as RISE does.",
        "RISE divides by N p, how much each pixel should have been seen. Divide by how much it was seen.",
        "How much a pixel was seen is the sum of the masks at it: `masks.sum(0)`.",
    ]
)
def seen_mean(answer):
    masks = torch.tensor([[[1.0, 0.5]], [[1.0, 0.0]], [[0.0, 0.5]], [[0.5, 1.0]]])
    constant = _tensor(answer(torch.full((4,), 0.7), masks), (1, 2))
    if not torch.allclose(constant, torch.full((1, 2), 0.7)):
        raise NotYet(
            f"a network that always says 0.7 must get 0.7 everywhere, found {constant.tolist()}.",
            hint="The weights of a mean add up to 1: divide by the sum of the masks at the pixel.",
        )
    found = _tensor(answer(torch.tensor([0.9, 0.4, 0.1, 0.2]), masks), (1, 2))
    _same(found, torch.tensor([[0.56, 0.35]]), hint="First pixel: (0.9 + 0.4 + 0.5 * 0.2) / (1 + 1 + 0.5) = 0.56.")


@check(
    hints=[
        "A column of ones beside `shown` gives the line its intercept, the score when nothing is shown.",
        "Weighted least squares is ordinary least squares after rows and scores are multiplied by the weights' roots.",
        "`torch.linalg.lstsq(roots[:, None] * X, (roots * scores)[:, None]).solution`, without the intercept's entry.",
    ]
)
def local_line(answer):
    shown, scores = torch.tensor([[1.0], [1.0], [0.0], [0.0]]), torch.tensor([1.0, 3.0, 0.0, 4.0])
    found = _tensor(answer(shown, scores, torch.tensor([3.0, 1.0, 1.0, 3.0])), (1,))
    if torch.allclose(found, torch.tensor([1.5]), atol=1e-4):
        raise NotYet("your line goes through 0 where nothing is shown; here it should start at 3.", hint="Intercept.")
    if torch.allclose(found, torch.zeros(1), atol=1e-4):
        raise NotYet("every sample counts the same for you.", hint="Multiply rows and scores by the weights' roots.")
    hint = "With one superpixel: the weighted mean with it, 1.5, minus the weighted mean without it, 3."
    _same(found, torch.tensor([-1.5]), hint=hint)
    many = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    w = torch.tensor([0.5, -0.25, 0.0])
    found = _tensor(answer(many, many @ w + 0.1, torch.arange(1.0, 9.0)), (3,))
    _same(found, w, hint="These scores are exactly linear in what is shown, so any weights give the same line.")


@check(
    hints=[
        "Make four pictures: whole, without the first box, without the second, without both. Black is a good substrate.",
        "Compare the drop for both with the sum of the two single drops: equal, larger or smaller?",
        "No drop for one, none for the other, and none for both: only then are the stickers not used.",
    ]
)
def readings(answer):
    if not isinstance(answer, dict) or set(answer) != NETWORKS.keys():
        raise NotYet("expected an entry for each of A, B, C and D.", hint='Write {"A": "sum", "B": ..., ...}.')
    unknown = set(answer.values()) - {"sum", "either", "both", "neither"}
    if unknown:
        raise NotYet(
            f"expected sum, either, both or neither, found {sorted(map(str, unknown))}.", hint="Check spelling."
        )
    wrong = [name for name, reading in _READINGS.items() if answer[name] != reading]
    if wrong == ["B"] or wrong == ["D"] or set(wrong) == {"B", "D"}:
        raise NotYet(
            f"{' and '.join(wrong)}: nothing is lost without one sticker. Is anything lost without both?",
            hint="One is not enough to tell 'either' from 'neither': hide both at once.",
        )
    if wrong:
        raise NotYet(
            f"not yet right: {' and '.join(wrong)}.",
            hint="Sum: the two drops add up to the drop of both. Both needed: each drop is as large as that of both.",
        )


def _tensor(found, shape) -> Tensor:
    if not isinstance(found, Tensor) or found.shape != torch.Size(shape):
        what = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise NotYet(f"expected a tensor of shape {tuple(shape)}, found {what}.", hint="Print what each step returns.")
    return found.float()


def _same(found: Tensor, expected: Tensor, *, hint: str) -> None:
    if not torch.allclose(found, expected, atol=1e-4):
        raise NotYet(f"expected {expected.tolist()}, found {found.tolist()}.", hint=hint)


class _Meter(nn.Module):
    """One logit: 0 up to the share `low` of the scene's colour, 1 from the share `high` on, a straight line between."""

    def __init__(self, low: float, high: float, colour: Callable[[Tensor], Tensor]):
        super().__init__()
        self.low, self.high, self.colour = low, high, colour

    def forward(self, images: Tensor) -> Tensor:
        share = self.colour(images) / self.colour(SCENE.images)
        return ((share - self.low) / (self.high - self.low)).clamp(0, 1)[:, None]


def _red(images: Tensor) -> Tensor:
    return (images[:, 0] - images[:, 1] - images[:, 2]).relu().sum((1, 2))


def _meadow(images: Tensor) -> Tensor:
    return (images[:, 1] - images[:, 0]).relu().sum((1, 2))


SCENE = PlantedScenes(1, evidence="colour", classes=2, size=96, generator=torch.Generator().manual_seed(3)).batch([0])
NETWORKS = {
    "A": _Meter(0.6, 1.0, _red).eval(),
    "B": _Meter(0.0, 0.4, _red).eval(),
    "C": _Meter(0.0, 1.0, _red).eval(),
    "D": _Meter(0.0, 0.2, _meadow).eval(),
}  # without names, for the reader to find out how each reads the two stickers
_READINGS = {"A": "both", "B": "either", "C": "sum", "D": "neither"}
