"""What a network says of a picture once parts of it are hidden."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from xailib import heatmap, metrics
from xailib.workbench.compare import Question

SUBSTRATES = ("black", "its mean colour", "a blur of it")


class Reply(NamedTuple):
    """What the network says of a picture with parts hidden: the class before and after, and its guesses now."""

    before: float
    after: float
    drop: float
    gain: float
    guesses: list[tuple[str, float]]


def hide(image: Float[Tensor, "1 3 s s"], hidden: Float[Tensor, "s s"], substrate: str) -> Float[Tensor, "1 3 s s"]:
    """The picture where `hidden` is 0, the substrate where it is 1. Raises ValueError for another substrate."""
    if substrate not in SUBSTRATES:
        raise ValueError(f"substrate must be one of {', '.join(SUBSTRATES)}, found {substrate!r}")
    if substrate == "black":
        instead = torch.zeros_like(image)
    elif substrate == "its mean colour":
        instead = image.mean((2, 3), keepdim=True).expand_as(image)
    else:
        instead = heatmap.blur(image, image.shape[-1] / 22)
    return torch.lerp(image, instead, hidden).clamp(0, 1)


def reply(question: Question, hidden: Float[Tensor, "s s"], substrate: str, guesses: int = 4) -> Reply:
    """What the network says once a part of the picture is hidden."""
    with torch.no_grad():
        seen = torch.cat([question.image, hide(question.image, hidden, substrate)])
        whole, now = question.network.model(seen).softmax(1)
    p, o = whole[[question.target]], now[[question.target]]
    best = now.topk(min(guesses, len(now)))
    names = [question.network.classes[c] for c in best.indices]
    drop, gain = metrics.average_drop(p, o).item(), metrics.average_gain(p, o).item()
    return Reply(p.item(), o.item(), drop, gain, list(zip(names, best.values.tolist(), strict=True)))
