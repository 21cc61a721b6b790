"""One question put to a method: its map, and what metrics say of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xailib import heatmap, metrics
from xailib.rerun import swapped
from xailib.workbench.methods import METHODS
from xailib.workbench.networks import Network

POINTS = 28  # steps of the insertion curve


class Stopped(Exception):
    """Raised by a `tick` to end what is being computed."""


@dataclass(frozen=True, eq=False)
class Question:
    """Why does this network give this class this score for this picture?"""

    network: Network
    title: str  # of the picture
    image: Float[Tensor, "1 3 s s"]
    target: int
    layer: str | None

    @property
    def targets(self) -> Tensor:
        return torch.tensor([self.target])

    def probabilities(self) -> Float[Tensor, " classes"]:
        with torch.no_grad():
            return self.network.model(self.image).softmax(1)[0]


class Scores(NamedTuple):
    """Average drop and average gain of one picture, and the area under its insertion curve, all in percent."""

    drop: float
    gain: float
    insertion: float


class Answer(NamedTuple):
    """A map of one method with its scores, or the reason why there is none."""

    method: str
    heat: Float[Tensor, "s s"] | None
    scores: Scores | None
    seconds: float
    problem: str = ""


def answer(question: Question, name: str, tick: Callable[[int], None] = lambda pictures: None) -> Answer:
    """What one of `METHODS` says. `tick` is told before the network sees so many pictures, and may raise `Stopped`.

    A method that does not suit the network or its layer gives an answer with the `problem`, not an error.
    """
    start = time.perf_counter()
    model, method = question.network.model, METHODS[name].explain
    options = {"layer": question.layer} if "layer" in signature(method).parameters else {}
    if options.get("layer", "") is None:
        return Answer(name, None, None, 0, f"no layer is known for {question.network.name}; name one")
    try:
        with told(model, tick):
            maps = method(model, question.image, question.targets, **options).detach()
            scores = judge(question, maps)
    except (ValueError, RuntimeError) as error:
        return Answer(name, None, None, time.perf_counter() - start, str(error).splitlines()[0])
    return Answer(name, maps[0], scores, time.perf_counter() - start)


def judge(question: Question, maps: Float[Tensor, "1 s s"]) -> Scores:
    """AD, AG and insertion of a map, which becomes a mask by its own range."""
    asked, mask = (question.network.model, question.image, question.targets), heatmap.normalize(maps)
    p, o = metrics.masked_probabilities(*asked, mask)
    step = -(-maps[0].numel() // POINTS)
    area = metrics.auc(metrics.insertion_curve(*asked, maps, step=step), metrics.replaced_fractions(maps, step))
    return Scores(metrics.average_drop(p, o).item(), metrics.average_gain(p, o).item(), 100 * area.item())


@contextmanager
def told(model: nn.Module, tick: Callable[[int], None]) -> Iterator[None]:
    """Within, `tick` is called with the number of pictures each time before the whole network runs."""
    forward = model.forward

    def run(images: Tensor) -> Tensor:
        tick(len(images))
        return forward(images)

    with swapped({model: run}):
        yield
