"""All that is random about planted scenes, drawn once: a scene is a row of this plan, and drawing it is a pure function.

So scene i is the same whoever draws it, with whatever others; and changing one value of its row gives its counterfactual.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int64
from torch import Generator, Tensor

from xailib.data.landscapes import CONTEXTS
from xailib.data.stickers import COLOURS, MARKERS, SHAPES, TEXTURES, VALUES

CUES = {"shape": SHAPES, "colour": COLOURS, "texture": TEXTURES, "context": CONTEXTS, "marker": MARKERS}
OBJECT_CUES = ("shape", "colour", "texture")
SUBJECTS, TAG = slice(0, 2), 5  # an image's objects: two subjects, three distractors, and the tag if there is one
RADIUS = 0.18  # the largest object, as a part of the image's side

_SMALLEST = (0.14, 0.14, 0.11, 0.11, 0.11, 0.105)
_LARGEST = (RADIUS, RADIUS, 0.15, 0.15, 0.15, 0.105)
_CHANCE = (1.0, 0.4, 1.0, 0.7, 0.7, 1.0)  # that an object is wanted; it is left out too where no place is free
_TURN = (0, 2, 3, 4, 5, 1)  # at which they look for a place: the first finds one always, the tag then in some corner
_TRIES = 24
_GAP = 0.03


@dataclass(frozen=True, eq=False)
class Plan:
    """n scenes. Lengths are parts of the image's side; angles are kept as their cosine and sine.

    `values` are what the subjects, the ground and the tag show, by cue; `others` what each distractor shows.
    """

    values: dict[str, Int64[Tensor, " n"]]
    others: dict[str, Int64[Tensor, "n m"]]
    shown: Bool[Tensor, "n m"]
    centre: Float[Tensor, "n m 2"]
    radius: Float[Tensor, "n m"]
    turn: Float[Tensor, "n m 2"]
    horizon: Float[Tensor, " n"]
    sky: Float[Tensor, " n"]
    offsets: Float[Tensor, "n 5"]  # where the scene is cut from the ground's sheet, the clouds and the hills

    def rows(self, index: Int64[Tensor, " b"]) -> "Plan":
        """Some of the scenes."""
        return self._each(lambda part: part[index])

    def to(self, device: torch.device) -> "Plan":
        """The same scenes on a device."""
        return self._each(lambda part: part.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Plan":
        parts = (getattr(self, field.name) for field in fields(self))
        new: list = [{k: change(v) for k, v in p.items()} if isinstance(p, dict) else change(p) for p in parts]
        return Plan(*new)

    def with_value(self, cue: str, value: Int64[Tensor, " n"]) -> "Plan":
        """The same scenes, but for one cue."""
        return replace(self, values=self.values | {cue: value})


def draw_plan(
    labels: Int64[Tensor, " n"],
    *,
    evidence: str,
    classes: int,
    correlation: Mapping[str, float | int],
    generator: Generator,
) -> Plan:
    """Scenes of these labels, in which the cue `evidence` is the label and the others follow it by `correlation`."""

    def uniform(*shape: int) -> Float[Tensor, "n ..."]:
        return torch.rand(len(labels), *shape, generator=generator, device=generator.device).cpu()

    values = {evidence: labels}
    for cue, r in correlation.items():
        values[cue] = _follow(labels, classes, r, uniform)
    for cue in (cue for cue in CUES if cue not in values and cue != "marker"):
        values[cue] = _any(CUES[cue], uniform())
    objects = len(_CHANCE) if "marker" in values else TAG
    others = {cue: _any(CUES[cue], uniform(objects), VALUES * (cue == evidence)) for cue in OBJECT_CUES}
    return Plan(values, others, *_layout(objects, uniform), 0.32 + 0.2 * uniform(), uniform(), uniform(5))


def _follow(labels: Tensor, classes: int, correlation: float | int, uniform) -> Int64[Tensor, " n"]:
    """The label with this probability, and else any class: Pearson's correlation of the two, class by class."""
    return torch.where(uniform() < correlation, labels, (uniform() * classes).long())


def _any(names: tuple[str, ...], uniform: Tensor, first: int = 0) -> Int64[Tensor, "..."]:
    return first + (uniform * (len(names) - first)).long()


def _layout(objects: int, uniform) -> tuple[Bool[Tensor, "n m"], Float[Tensor, "n m 2"], Tensor, Tensor]:
    """Which objects are shown, their centres, radii and angles; none touches another."""
    low, high = (torch.tensor(bound[:objects]) for bound in (_SMALLEST, _LARGEST))
    radius = low + (high - low) * uniform(objects)
    wanted = uniform(objects) < torch.tensor(_CHANCE[:objects])
    shown, centre = _places(radius, wanted, _spots(radius, uniform))
    angle = (uniform(objects) - 0.5) * 0.9
    angle[:, TAG:] = 0
    return shown, centre, radius, torch.stack([angle.cos(), angle.sin()], -1)


def _spots(radius: Float[Tensor, "n m"], uniform) -> Float[Tensor, "n m tries 2"]:
    """Places to try, with the object wholly inside the image; for the tag the four corners, from a random one on."""
    reach = radius[..., None, None] * 1.05
    spots = reach + (1 - 2 * reach) * uniform(radius.shape[1], _TRIES, 2)
    corner = (uniform(1) * 4).long() + torch.arange(_TRIES)
    spots[:, TAG:] = 0.125 + 0.75 * torch.stack([corner // 2 % 2, corner % 2], -1)[:, None]
    return spots


def _places(radius: Tensor, wanted: Tensor, spots: Tensor) -> tuple[Bool[Tensor, "n m"], Float[Tensor, "n m 2"]]:
    """For one object after the other the first spot that touches no earlier one, and whether there was any."""
    shown, centre = torch.zeros_like(wanted), torch.zeros_like(spots[:, :, 0])
    for k in sorted(range(radius.shape[1]), key=_TURN.__getitem__):
        apart = (spots[:, k, :, None] - centre[:, None]).norm(dim=-1) > (radius + radius[:, k, None])[:, None] + _GAP
        free = (apart | ~shown[:, None]).all(-1)
        shown[:, k] = wanted[:, k] & free.any(1)
        centre[:, k] = spots[torch.arange(len(spots)), k, free.int().argmax(1)]
    return shown, centre
