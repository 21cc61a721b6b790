"""Generated scenes whose class evidence is known, because it was planted: what an explanation must point at.

A scene shows stickers on a landscape. One cue decides the class: the shape, colour or texture of its subjects, the
context (the ground's material), or a marker (a small tag in a corner, of no meaning to a person). Distractors have no
class value of that cue. Another cue can be made to follow the class with a chosen correlation r: it agrees with the
label with probability r and else is drawn from all classes, so that Pearson's correlation of the two, class by class,
is r. What the evidence does not touch does not depend on it: with another label only the evidence's pixels change.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches

import torch
from jaxtyping import Bool, Float, Int64
from torch import Generator, Tensor

from xailib.data.records import Sample
from xailib.data.scene_drawing import draw
from xailib.data.scene_plan import CUES, OBJECT_CUES, SUBJECTS, TAG, VALUES, Plan, draw_plan

_PIECE = 32  # scenes drawn at a time: few enough to stay in the processor's cache


@dataclass(frozen=True, eq=False)
class Scenes:
    """b scenes with the truth about them. Two masks share the pixels where an object's soft edge lies on the ground.

    `evidence` marks every pixel that the class evidence touches, `context` those where the ground can be seen; `boxes`
    hold one tight box for each subject that is evidence, or for the tag or the ground where these are.
    """

    images: Float[Tensor, "b 3 s s"]
    labels: Int64[Tensor, " b"]
    evidence: Bool[Tensor, "b s s"]
    context: Bool[Tensor, "b s s"]
    boxes: list[Int64[Tensor, "_ 4"]]


class PlantedScenes(torch.utils.data.Dataset):
    """`count` scenes of `size` pixels whose class is told by the cue `evidence` alone.

    `correlation` names cues that follow the label, with numbers from 0 (drawn from the classes by themselves) to 1.
    A cue that is not named takes any value; a tag is there only if the marker is named or is the evidence.
    An item is a `Sample`; `batch` and `batches` give `Scenes`, drawn on `device`. All that is random comes from
    `generator` here and now, so item i is one and the same scene for whoever asks, in any batch, in any worker.
    Raises ValueError for what no scene can be made of.
    """

    def __init__(
        self,
        count: int,
        *,
        generator: Generator,
        evidence: str = "shape",
        classes: int = VALUES,
        correlation: Mapping[str, float | int] | None = None,
        size: int = 64,
        device: torch.device | str = "cpu",
    ):
        correlation = dict(correlation or {})
        _check(count, evidence, classes, correlation, size)
        self.evidence, self.size, self.device = evidence, size, torch.device(device)
        self.class_names = list(CUES[evidence][:classes])
        labels = (torch.rand(count, generator=generator, device=generator.device) * classes).long().cpu()
        self._plan = draw_plan(labels, evidence=evidence, classes=classes, correlation=correlation, generator=generator)

    @property
    def values(self) -> dict[str, Int64[Tensor, " n"]]:
        """What each scene shows, by cue: its place in `CUES[cue]`; the evidence's values are the labels."""
        return self._plan.values

    def __len__(self) -> int:
        return len(self._plan.sky)

    def __getitem__(self, index: int) -> Sample:
        return self.__getitems__([range(len(self))[index]])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:  # a DataLoader asks for a whole batch at once
        scenes = self.batch(indices)
        return [Sample(*sample) for sample in zip(scenes.images, scenes.labels.tolist(), scenes.boxes, strict=True)]

    def batch(self, indices: Sequence[int] | Tensor, labels: Int64[Tensor, " b"] | None = None) -> Scenes:
        """These scenes; with `labels`, the same ones as they would be if their evidence told these labels.

        Raises ValueError for labels of another number or outside the classes.
        """
        plan = self._plan.rows(torch.as_tensor(indices))
        if labels is not None:
            _check_labels(labels, len(plan.sky), len(self.class_names))
            plan = plan.with_value(self.evidence, labels.cpu())
        pieces = [self._draw(plan.rows(piece)) for piece in torch.arange(len(plan.sky)).split(_PIECE)]
        joined: list = [_join([getattr(piece, field.name) for piece in pieces]) for field in fields(Scenes)]
        return Scenes(*joined)

    def batches(self, size: int = 256) -> Iterator[Scenes]:
        """All scenes in their order, `size` of them at a time."""
        for indices in torch.arange(len(self)).split(size):
            yield self.batch(indices)

    def _draw(self, plan: Plan) -> Scenes:
        plan = plan.to(self.device)
        images, touched, context = draw(plan, self.size)
        if self.evidence in OBJECT_CUES:
            parts, there = touched[:, SUBJECTS], plan.shown[:, SUBJECTS]
        else:
            parts = (context if self.evidence == "context" else touched[:, TAG])[:, None]
            there = torch.ones_like(plan.shown[:, :1])
        boxes = [box[there] for box, there in zip(_tight(parts), there, strict=True)]
        return Scenes(images, plan.values[self.evidence], parts.any(1), context, boxes)


def _join(parts: list) -> Tensor | list:
    return torch.cat(parts) if isinstance(parts[0], Tensor) else [one for part in parts for one in part]


def _tight(masks: Bool[Tensor, "b n s s"]) -> Int64[Tensor, "b n 4"]:
    """The smallest box around each mask."""
    ends = []
    for line in (masks.any(2), masks.any(3)):  # columns, then rows
        line, size = line.byte(), line.shape[-1]
        ends.append((line.argmax(-1), size - line.flip(-1).argmax(-1)))
    (x0, x1), (y0, y1) = ends
    return torch.stack([x0, y0, x1, y1], -1)


def _check(count: int, evidence: str, classes: int, correlation: dict, size: int) -> None:
    for cue in (evidence, *correlation):
        if cue not in CUES:
            near = get_close_matches(cue, CUES, n=1)
            raise ValueError(f"no cue {cue!r}; {f'did you mean {near[0]!r}' if near else f'choose from {list(CUES)}'}")
    if evidence in correlation:
        raise ValueError(f"{evidence} is the evidence, so it is the label itself; name the other cues in `correlation`")
    wrong = {cue: value for cue, value in correlation.items() if not 0 <= value <= 1}
    if wrong:
        raise ValueError(f"a correlation with the label lies between 0 and 1, found {wrong}")
    if not 2 <= classes <= VALUES:
        raise ValueError(f"there can be 2 to {VALUES} classes, found {classes}")
    if count < 1 or not 32 <= size <= 224:
        raise ValueError(f"at least one scene of 32 to 224 pixels is needed, found {count} of {size}")


def _check_labels(labels: Tensor, scenes: int, classes: int) -> None:
    if len(labels) != scenes or not ((0 <= labels) & (labels < classes)).all():
        raise ValueError(f"{scenes} scenes need {scenes} labels from 0 to {classes - 1}, found {labels.tolist()}")
