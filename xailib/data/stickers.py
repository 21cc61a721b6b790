"""The objects of planted scenes: shapes, colours and textures that a reader tells apart at a glance.

A shape and a texture are both kept as a map of signed distances d (below zero inside, in units of the object's radius).
One number then does all of the drawing, at any size and angle: a pixel is covered by clamp(1/2 - d * radius, 0, 1).
"""

import math
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

# The first five of each list are class values; what follows them is for distractors, which carry no class.
VALUES = 5
SHAPES = ("circle", "square", "triangle", "star", "heart", "moon", "cross", "drop", "bolt")
COLOURS = ("red", "blue", "yellow", "green", "violet", "white", "grey", "black")
TEXTURES = ("stripes", "dots", "checks", "waves", "rings", "plain", "halves")
MARKERS = ("tag 1", "tag 2", "tag 3", "tag 4", "tag 5")
REACH = 1.25  # the maps of distances go from -REACH to REACH in both directions

_RGB = ("#d5402b", "#2463b0", "#f2c21a", "#2f9e5a", "#8e4fb5", "#e9e4d8", "#8d9096", "#2b2d33", "#16181d")
_BITS = ("101 010 101", "010 111 010", "110 001 110", "100 010 001", "111 000 111")  # of the five tags
_ROUND = 0.08  # of every corner


@cache
def shapes() -> Float[Tensor, "shapes side side"]:
    """Signed distances to the outline of each of `SHAPES`, and last to that of a tag."""
    outlines = [*(_OUTLINES[name]() for name in SHAPES), _square(0.74)]
    return torch.stack([_distance(torch.tensor(outline) * (1 - _ROUND)) - _ROUND for outline in outlines])


@cache
def textures() -> Float[Tensor, "textures side side"]:
    """Signed distances to the pattern on each of `TEXTURES`, and then on each of `MARKERS`."""
    x, y = _grid().unbind(-1)
    waves = y + 0.14 * (2.5 * math.pi * x).sin()
    patterns = [_bands((x + y) / 2**0.5, 0.6), _dots(x, y), _checks(x, y), _bands(waves, 0.5), _bands(x.hypot(y), 0.5)]
    return torch.stack([*patterns, torch.ones_like(x), 0.1 - x, *(_tag(bits.split()) for bits in _BITS)])


@cache
def colours() -> Float[Tensor, "colours 3"]:
    """The colours of `COLOURS` in [0, 1], and last the near-black of a tag."""
    return torch.tensor([[int(rgb[i : i + 2], 16) / 255 for i in (1, 3, 5)] for rgb in _RGB])


@cache
def inks() -> Float[Tensor, "colours 3"]:
    """The colour of a texture on each of `colours`: cream, and dark brown on the light ones."""
    light = colours().mean(1, keepdim=True) > 0.55
    return torch.where(light, torch.tensor([0.25, 0.2, 0.17]), torch.tensor([1.0, 0.98, 0.93]))


def _grid(side: int = 96) -> Float[Tensor, "side side 2"]:
    line = ((torch.arange(side) + 0.5) / side * 2 - 1) * REACH
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)


def _distance(outline: Float[Tensor, "n 2"]) -> Float[Tensor, "side side"]:
    """Signed distance of each grid point to a polygon: to its nearest edge, below zero where a ray leaves it odd times."""
    points, start, end = _grid()[:, :, None], outline, outline.roll(-1, 0)
    edge, away = end - start, points - start
    along = ((away * edge).sum(-1) / (edge * edge).sum(-1)).clamp(0, 1)
    nearest = (away - along[..., None] * edge).norm(dim=-1).amin(-1)
    crosses = (start[:, 1] > points[..., 1]) != (end[:, 1] > points[..., 1])
    beyond = points[..., 0] < start[:, 0] + edge[:, 0] * away[..., 1] / edge[:, 1].where(edge[:, 1] != 0, 1)
    inside = (crosses & beyond).sum(-1) % 2 == 1
    return torch.where(inside, -nearest, nearest)


# --- outlines: corners x, y in the unit disc, y down ------------------------------------------------------------------


def _polar(radii: list[float], turn: float = -0.25) -> list[tuple[float, float]]:
    angles = (2 * math.pi * (i / len(radii) + turn) for i in range(len(radii)))
    return [(r * math.cos(angle), r * math.sin(angle)) for r, angle in zip(radii, angles, strict=True)]


def _square(half: float) -> list[tuple[float, float]]:
    return [(-half, -half), (half, -half), (half, half), (-half, half)]


def _heart() -> list[tuple[float, float]]:
    turn = [2 * math.pi * i / 60 for i in range(60)]
    tall = [13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t) for t in turn]
    return [(0.93 * math.sin(t) ** 3, -(y + 2.5) / 17) for t, y in zip(turn, tall, strict=True)]


def _moon() -> list[tuple[float, float]]:
    """A disc without a smaller one: the outer arc one way round, and the inner arc back between its tips."""
    outer = [(math.cos(t), math.sin(t)) for t in _steps(0.8, 2 * math.pi - 0.8, 40)]
    tip = math.atan2(math.sin(0.8), math.cos(0.8) - 0.5)
    radius = math.hypot(math.sin(0.8), math.cos(0.8) - 0.5)
    inner = [(0.5 + radius * math.cos(t), radius * math.sin(t)) for t in _steps(2 * math.pi - tip, tip, 40)]
    return outer + inner[1:-1]


def _cross() -> list[tuple[float, float]]:
    a, b = 0.32, 0.98
    return [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b), (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a)]


def _drop() -> list[tuple[float, float]]:
    turn = [2 * math.pi * i / 60 for i in range(60)]
    return [(0.9 * math.sin(t) * math.sin(t / 2) ** 1.5, -math.cos(t)) for t in turn]


def _bolt() -> list[tuple[float, float]]:
    return [(0.3, -0.95), (-0.72, 0.2), (-0.1, 0.2), (-0.3, 0.95), (0.72, -0.3), (0.1, -0.3), (0.45, -0.88)]


def _steps(first: float, last: float, count: int) -> list[float]:
    return [first + (last - first) * i / (count - 1) for i in range(count)]


_OUTLINES = {
    "circle": lambda: _polar([0.9] * 60),
    "square": lambda: _square(0.74),
    "triangle": lambda: [(x, y + 0.08) for x, y in _polar([1.02] * 3)],
    "star": lambda: _polar([1.03, 0.5] * 5),
    "heart": _heart,
    "moon": _moon,
    "cross": _cross,
    "drop": _drop,
    "bolt": _bolt,
}


# --- textures ---------------------------------------------------------------------------------------------------------


def _bands(across: Tensor, period: float) -> Tensor:
    """Bands half a period wide, one of them in the middle."""
    return ((across / period + 0.5) % 1 - 0.5).abs() * period - period / 4


def _dots(x: Tensor, y: Tensor) -> Tensor:
    """Dots at the corners and centres of squares."""
    period = 0.76
    corner, centre = (
        ((x / period + shift) % 1 - 0.5).hypot((y / period + shift) % 1 - 0.5) * period for shift in (0.0, 0.5)
    )
    return corner.minimum(centre) - 0.16


def _checks(x: Tensor, y: Tensor) -> Tensor:
    across, down = _bands(x + 0.2, 0.8), _bands(y + 0.2, 0.8)
    return torch.where(across.sign() == down.sign(), 1, -1) * across.abs().minimum(down.abs())


def _tag(rows: list[str]) -> Tensor:
    """Three rows of three white or black squares."""
    x, y = _grid().unbind(-1)
    side = 0.36
    white = [(c - 1, r - 1) for r, row in enumerate(rows) for c, bit in enumerate(row) if bit == "1"]
    squares = [((x - side * c).abs().maximum((y - side * r).abs())) - side / 2 - 0.01 for c, r in white]
    return torch.stack(squares).amin(0)
