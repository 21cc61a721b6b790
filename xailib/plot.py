"""Photographs under heat maps, curves and bars: figures that carry their own description for those who cannot see them.

Colours: heat is `inferno`, signed heat `RdBu_r` with zero in the middle, lines are Okabe and Ito's palette. They can be
told apart with any colour vision, and the lines in grey print too. Nothing here touches pyplot or its global state.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO
from itertools import cycle
from textwrap import fill
from typing import Literal, SupportsFloat

import matplotlib.figure
import numpy as np
import torch
from jaxtyping import Float, Int64, Num
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from torch import Tensor

Number = float | int
Numbers = Num[Tensor, " _"] | Num[np.ndarray, " _"] | Sequence[Number]

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", "-.", ":", (0, (6, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
_INCH, _SHARP = 100, 2  # pixels of the page in an inch, and pixels of the picture in each of these, for sharp screens


class Figure(matplotlib.figure.Figure):
    """A figure with `alt`, its text for readers who cannot see it, that shows itself as the last value of a cell.

    Takes what matplotlib's Figure takes. Raises ValueError where `alt` is empty.
    """

    def __init__(self, *args, alt: str, layout="constrained", **options):
        if not alt.strip():
            raise ValueError("alt is empty; describe in a sentence or two what the figure shows")
        super().__init__(*args, layout=layout, **{"dpi": _INCH} | options)
        self.alt = alt

    @property
    def width(self) -> int:
        """The width of the picture on the page, in pixels."""
        return round(self.get_figwidth() * _INCH)

    def encoded(self, format: Literal["png", "jpeg"] = "png") -> bytes:
        """The picture as the bytes of a PNG or JPEG file, twice as wide as on the page."""
        file, options = BytesIO(), {"quality": 85} if format == "jpeg" else {}
        self.savefig(file, format=format, dpi=_SHARP * _INCH, pil_kwargs=options)
        return file.getvalue()

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        # twice: JupyterLab gives an <img> its alt only from HTML; GitHub and nbconvert's Markdown take the PNG
        png = b64encode(self.encoded()).decode()
        html = f'<img src="data:image/png;base64,{png}" width="{self.width}" alt="{escape(self.alt)}">'
        return {"image/png": png, "text/html": html}, {"image/png": {"alt": self.alt, "width": self.width}}

    def __repr__(self) -> str:
        return f"Figure: {self.alt}"


def overlay(
    image: Float[Tensor, "c h w"],
    heat: Float[Tensor, "H W"],
    *,
    alt: str,
    title: str | None = None,
    opacity: Number = 0.5,
    boxes: Int64[Tensor, "n 4"] | None = None,
    limits: tuple[Number, Number] | None = None,
) -> Figure:
    """A figure of one photograph, in grey, under its heat map, with the colours' values below.

    Colours run from the map's own least to its greatest value, or over `limits`; a negative low makes them two-sided,
    with 0 in the middle. A map of another size is stretched over the image, its cells left visible.
    Raises ValueError for what `gallery` refuses.
    """
    titles, boxes = [title] if title else None, [boxes]
    return gallery([image], [heat], alt=alt, titles=titles, boxes=boxes, limits=limits, opacity=opacity)


def gallery(
    images: Float[Tensor, "b c h w"] | Sequence[Tensor],
    maps: Float[Tensor, "b H W"] | Sequence[Tensor | None] | None = None,
    *,
    alt: str,
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    boxes: Sequence[Int64[Tensor, "_ 4"] | None] | None = None,
    limits: tuple[Number, Number] | Literal["shared"] | None = None,
    opacity: Number = 0.5,
    row_titles: Sequence[str] | None = None,
) -> Figure:
    """A figure of photographs, row by row: in grey under their heat maps, in colour where there is none (None).

    Colours run over each map's own values (`limits=None`), over those of all maps (`"shared"`) or from a low to a high
    value; the colour bars show which. Raises ValueError for empty alt, nothing to draw, lists of different lengths,
    pixels or opacity outside [0, 1], values that are not finite, and limits out of order.
    """
    columns = min(len(images), 4) if columns is None else columns
    if not len(images) or columns < 1:
        raise ValueError(f"there is nothing to draw: {len(images)} images in {columns} columns")
    _check_lengths(len(images), "images", maps=maps, titles=titles, boxes=boxes)
    _check_lengths(-(-len(images) // columns), "rows", row_titles=row_titles)
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity must lie in [0, 1], found {opacity}")
    nothing = [None] * len(images)
    pictures, heats = (
        [_picture(image) for image in images],
        [_heat(heat) for heat in (nothing if maps is None else maps)],
    )
    scales = _scales(heats, limits)
    figure, panels = _sheet(pictures, columns, alt, titles, row_titles, _note(scales, limits))
    for panel in zip(panels, pictures, heats, scales, nothing if boxes is None else boxes, strict=True):
        _draw(*panel, opacity)
    return figure


def curve(
    x: Numbers,
    ys: Mapping[str, Numbers],
    *,
    alt: str,
    xlabel: str,
    ylabel: str,
    title: str | None = None,
) -> Figure:
    """A figure of one line for each entry of `ys` over the same `x`, with a legend where there are several.

    Raises ValueError for empty alt, nothing to draw, values that are not finite, and lines longer or shorter than `x`.
    """
    x, lines = _numbers(x, "x"), {label: _numbers(y, repr(label)) for label, y in ys.items()}
    _check_lengths(len(x), "x", **lines)
    figure = Figure(figsize=(6, 3.6), alt=alt)
    axes = _axes(figure, title, xlabel, ylabel)
    for (label, y), colour, dashes in zip(lines.items(), cycle(_COLOURS), cycle(_DASHES), strict=False):
        axes.plot(x, y, color=colour, linestyle=dashes, linewidth=2, label=label)
    if len(ys) > 1:
        axes.legend(frameon=False, handlelength=3.2)
    return figure


def bars(values: Mapping[str, SupportsFloat], *, alt: str, xlabel: str, title: str | None = None) -> Figure:
    """A figure of one horizontal bar for each entry, the first on top, with its number written at its end.

    Raises ValueError for empty alt, nothing to draw, and values that are not finite.
    """
    lengths = _numbers([float(value) for value in values.values()], "values")
    figure = Figure(figsize=(6, 0.75 + 0.34 * len(values)), alt=alt)
    axes = _axes(figure, title, xlabel, "")
    axes.bar_label(axes.barh(list(values), lengths, color=_COLOURS[0], height=0.7), fmt="{:.3g}", padding=4)
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.margins(x=0.12)
    return figure


def intervals(
    panels: Mapping[str, Mapping[str, tuple[Number, Number, Number]]], *, alt: str, columns: int = 4
) -> Figure:
    """A figure of one panel for each entry of `panels`; in it each name has a row, with a dot at its mean and a line from
    its low to its high value: (mean, low, high). A name that a panel lacks leaves its row empty there.

    Raises ValueError for empty alt, nothing to draw, and values that are not finite.
    """
    drawn = {title: _numbers(np.array([*panel.values()], float), title).T for title, panel in panels.items()}
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    if not names or columns < 1:
        raise ValueError(f"there is nothing to draw: {len(panels)} panels of {len(names)} names in {columns} columns")
    rows, columns = -(-len(panels) // columns), min(columns, len(panels))
    figure = Figure(figsize=(1.8 + 2 * columns, rows * (0.7 + 0.18 * len(names))), alt=alt)
    for at, (title, (mean, low, high)) in enumerate(drawn.items()):
        places = [names.index(name) for name in panels[title]]
        axes = figure.add_subplot(rows, columns, at + 1, ylim=(len(names) - 0.5, -0.5), axisbelow=True)
        axes.hlines(places, low, high, color=_COLOURS[5], linewidth=3)
        axes.plot(mean, places, "o", color=_COLOURS[0], markersize=4)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_yticks(range(len(names)), names if at % columns == 0 else [""] * len(names), fontsize=9)
        axes.tick_params(axis="x", labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.9")
    return figure


def _axes(figure: Figure, title: str | None, xlabel: str, ylabel: str) -> Axes:
    axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel, axisbelow=True)
    axes.set_title(title or "", loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9")
    return axes


def _numbers(values: Tensor | np.ndarray | Sequence[Number], name: str) -> np.ndarray:
    numbers = torch.as_tensor(values).detach().cpu().float().numpy()
    if not numbers.size:
        raise ValueError(f"there is nothing to draw: {name} is empty")
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} contains NaN or infinite values; find out where they come from before you draw them")
    return numbers


def _check_lengths(length: int, of: str, **lists) -> None:
    for name, values in lists.items():
        if values is not None and len(values) != length:
            raise ValueError(f"{name} has {len(values)} entries, but there are {length} {of}; give one for each")


def _picture(image: Tensor) -> np.ndarray:
    """The image as [h w 3] for matplotlib."""
    pixels = _numbers(image, "image")
    if pixels.ndim != 3 or len(pixels) not in (1, 3):
        raise ValueError(f"an image must be [3 h w] or [1 h w], found {pixels.shape}")
    if pixels.min() < 0 or pixels.max() > 1:
        raise ValueError(
            f"pixels must lie in [0, 1], found {pixels.min():.3g} to {pixels.max():.3g}; undo normalisation"
        )
    return np.broadcast_to(pixels, (3, *pixels.shape[1:])).transpose(1, 2, 0)


def _heat(heat: Tensor | None) -> np.ndarray | None:
    if heat is None:
        return None
    values = _numbers(heat, "map")
    if values.ndim != 2:
        raise ValueError(f"a map must be [H W], found {values.shape}; take one out of a batch with maps[0]")
    return values


def _scales(heats: list, limits) -> list[tuple[Number, Number] | None]:
    """For each map the values at the two ends of its colours; as far below 0 as above it where the low is negative."""
    ends = [None if heat is None else (float(heat.min()), float(heat.max())) for heat in heats]
    drawn = [pair for pair in ends if pair]
    if limits == "shared" and drawn:
        limits = min(low for low, _ in drawn), max(high for _, high in drawn)
    if limits and limits[0] > limits[1]:
        raise ValueError(f"limits must be (low, high), found {limits}")
    ends = [pair and (limits or pair) for pair in ends]
    return [pair and ((-max(-pair[0], pair[1]), max(-pair[0], pair[1])) if pair[0] < 0 else pair) for pair in ends]


def _note(scales: list, limits) -> str | None:
    maps = sum(scale is not None for scale in scales)
    scope = "" if maps == 1 else ", each map on its own scale" if limits is None else ", one scale for all maps"
    return f"heat map value{scope}" if maps else None


def _sheet(pictures: list, columns: int, alt: str, titles, row_titles, note) -> tuple[Figure, list[Axes]]:
    """A figure and its empty panels, placed by hand: a layout engine would take longer than all the drawing."""
    rows, width = -(-len(pictures) // columns), min(3.4, 8.8 / columns)  # all in inches
    heights = [width * picture.shape[0] / picture.shape[1] for picture in pictures]
    titles = ["\n".join(fill(line, int(12 * width)) for line in title.splitlines()) for title in titles or []]
    head = 0.1 + 0.18 * max((title.count("\n") + 1 for title in titles), default=0)
    below, left, foot = 0.36 if note else 0, 0.3 if row_titles else 0.05, 0.28 if note else 0.05
    step_x, step_y = width + 0.12, head + max(heights) + below
    size = left + columns * step_x, rows * step_y + foot
    figure = Figure(figsize=size, alt=alt, layout="none")
    panels = []
    for at, height in enumerate(heights):
        x, y = left + at % columns * step_x, size[1] - at // columns * step_y - head - height
        panels.append(figure.add_axes((x / size[0], y / size[1], width / size[0], height / size[1])))
        panels[-1].set_axis_off()
    figure.text(left / size[0], 0.08 / size[1], note or "", fontsize=9, color="0.3")
    _entitle(panels, titles, panels[::columns], row_titles or [])
    return figure, panels


def _entitle(panels: list[Axes], titles: Sequence[str], firsts: list[Axes], row_titles: Sequence[str]) -> None:
    for axes, title in zip(panels, titles, strict=False):
        axes.set_title(title, loc="left", fontsize=10, pad=4)
    for axes, title in zip(firsts, row_titles, strict=False):
        axes.text(-0.03, 0.5, title, transform=axes.transAxes, rotation=90, ha="right", va="center", fontsize=10)


def _draw(axes: Axes, picture: np.ndarray, heat, scale, boxes, opacity: Number) -> None:
    height, width = picture.shape[:2]
    enlarged = width < _SHARP * axes.bbox.width
    place: dict = {"extent": (0, width, height, 0), "interpolation": "nearest" if enlarged else "antialiased"}
    if heat is None:
        axes.imshow(picture, **place)
    else:
        grey = picture @ np.array([0.299, 0.587, 0.114], np.float32)
        axes.imshow(grey, cmap="gray", vmin=-0.25, vmax=1, **place)  # lifted: visible under dark heat
        axes.imshow(heat, alpha=opacity, **_colours(scale), **place)
        _bar(axes, scale, opacity)
    for x0, y0, x1, y1 in () if boxes is None else boxes.tolist():
        outline = Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor="white", linewidth=1.5)
        axes.add_patch(outline).set_path_effects([withStroke(linewidth=3, foreground="black")])


def _colours(scale: tuple[Number, Number]) -> dict:
    return {"cmap": "RdBu_r" if scale[0] < 0 else "inferno", "vmin": scale[0], "vmax": scale[1]}


def _bar(axes: Axes, scale: tuple[Number, Number], opacity: Number) -> None:
    """The colours below the picture as they appear on middle grey, with the values at their ends."""
    low, high = scale
    tenth = 0.1 * _INCH / axes.bbox.height  # of an inch, in the picture's own units
    bar = axes.inset_axes((0, -1.6 * tenth, 1, tenth))
    bar.imshow([[0.5]], extent=(0, 1, 0, 1), aspect="auto", cmap="gray", vmin=0, vmax=1)
    bar.imshow(np.linspace(low, high, 256)[None], extent=(0, 1, 0, 1), aspect="auto", alpha=opacity, **_colours(scale))
    values = {0: low} | ({0.5: 0} if low < 0 else {}) | ({1: high} if low < high else {})
    bar.set_xticks(list(values), [f"{value:.3g}" for value in values.values()], fontsize=8)
    bar.set_yticks([])
    bar.tick_params(length=0, pad=3)
    for place, label in zip(values, bar.get_xticklabels(), strict=True):
        label.set(horizontalalignment={0.0: "left", 1.0: "right"}.get(place, "center"))
