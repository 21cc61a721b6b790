"""The picture of the workbench: a photograph, and the maps of several methods with their scores beside it."""

from collections.abc import Iterable
from io import BytesIO

import torch
from PIL import Image

from xailib import heatmap, plot
from xailib.workbench.compare import Answer, Question
from xailib.workbench.methods import METHODS


def picture(question: Question, answers: Iterable[Answer]) -> plot.Figure:
    """The photograph, and the maps with their scores beside it; below them a caption that `png` saves with it."""
    answers, network = list(answers), question.network
    p, label = question.probabilities()[question.target].item(), network.classes[question.target]
    titles = [f"{question.title}\n{label}: p = {p:.3f}", *(_title(one) for one in answers)]
    spoken = "; ".join(title.replace("\n", ": ") for title in titles[1:])
    place = f"{network.title}, layer {question.layer}" if question.layer else network.title
    figure = plot.gallery(
        [question.image[0]] * len(titles),
        [None, *(one.heat for one in answers)],
        titles=titles,
        opacity=0.6,
        alt=f"{question.title}, class {label} (p = {p:.3f}), {place}. {spoken or 'No method is chosen'}.",
    )
    legend = "AD average drop (less is better), AG average gain, In area under insertion (more is better), in percent."
    caption = f"{question.title}. Class {label} ({question.target}), p = {p:.3f}. Network {place}.\n{legend}"
    figure.text(0.01, -0.01, caption, va="top", fontsize=9, color="0.2")  # below the canvas: only `png` reaches there
    return figure


def _title(one: Answer) -> str:
    effort = METHODS[one.method].effort
    head = f"{one.method}, {effort}" if effort else one.method
    if one.scores is None:
        return f"{head}\nnot here"
    drop, gain, insertion = one.scores
    blank = " (blank)" if heatmap.degenerate(one.heat[None]).item() else ""
    return f"{head}{blank}\nAD {drop:.0f}   AG {gain:.0f}   In {insertion:.0f}"


def png(figure: plot.Figure) -> bytes:
    """The picture with its caption as the bytes of a PNG file, which carries its description as well."""
    file = BytesIO()
    figure.savefig(
        file, format="png", dpi=200, bbox_inches="tight", pad_inches=0.12, metadata={"Description": figure.alt}
    )
    return file.getvalue()


def jpeg(shown: torch.Tensor) -> bytes:
    """A photograph (1, 3, H, W) in [0, 1] as the bytes of a JPEG file."""
    file = BytesIO()
    pixels = (shown[0].permute(1, 2, 0) * 255).round().byte().numpy()
    Image.fromarray(pixels).save(file, "JPEG", quality=92)
    return file.getvalue()
