"""Planted scenes become pixels: a sky, a ground, and on them one object after the other, each in a square of its own.

A pixel is made by sums and products of its own scene's numbers alone, so a scene is the same in any batch.
"""

import math
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from xailib.data import landscapes, stickers
from xailib.data.scene_plan import OBJECT_CUES, RADIUS, SUBJECTS, TAG, Plan

_RIM = 0.13  # the white rim of every object, in its radii
_SKY = ((0.47, 0.70, 0.90), (0.88, 0.94, 0.97)), ((0.68, 0.66, 0.84), (0.99, 0.88, 0.78))  # blue, rosy: top, horizon


def draw(plan: Plan, size: int) -> tuple[Float[Tensor, "n 3 s s"], Bool[Tensor, "n m s s"], Bool[Tensor, "n s s"]]:
    """The images in [0, 1], the pixels that each object touches, and those where the ground can be seen."""
    canvas, bare = _background(plan, size)
    touched = bare.new_zeros(len(bare), plan.shown.shape[1], size, size)
    columns, rows, paint, through, solid = _objects(plan, size)
    places = (rows[..., None] * size + columns[..., None, :]).flatten(2)  # [n m pixels], in the flat image
    flat, flat_touched, flat_bare = canvas.flatten(2), touched.flatten(2), bare.flatten(1)  # views
    for k, place in enumerate(places.unbind(1)):
        on = place[:, None].expand(-1, 3, -1)
        flat.scatter_(2, on, flat.gather(2, on) * through[:, k] + paint[:, k])
        flat_touched[:, k].scatter_(1, place, solid[:, k] > 0)
        flat_bare.scatter_(1, place, flat_bare.gather(1, place) & (solid[:, k] < 1))
    return canvas.clamp_(0, 1), touched, bare


# --- sky and ground ---------------------------------------------------------------------------------------------------


def _background(plan: Plan, size: int) -> tuple[Float[Tensor, "n 3 s s"], Bool[Tensor, "n s s"]]:
    """A sky above a ground, and where the ground is."""
    sheets, clouds, hills = _scenery(size, plan.sky.device)
    starts = (plan.offsets * size).long().tolist()
    kinds = plan.values["context"].tolist()
    ground = torch.stack(
        [sheets[k, :, y : y + size, x : x + size] for k, (x, y, *_) in zip(kinds, starts, strict=True)]
    )
    white = torch.stack([clouds[y : y + size, x : x + size] for *_, x, y, _ in starts])[:, None]
    hill = torch.stack([hills[x : x + size] for *_, x in starts])
    below = (torch.arange(size, device=hill.device)[:, None] + 0.5) / size  # of the image's top
    depth = (below - (plan.horizon[:, None] + 0.06 * hill)[:, None])[:, None]  # below the horizon [n 1 s s]
    top, low = (_between(_SKY, plan.sky)[..., None, None]).unbind(1)
    sky = top + (low - top) * (2 * below).clamp(max=1)
    sky = sky + (1 - sky) * white
    ground = ground + (low - ground) * (0.4 - 1.15 * depth).clamp(0, 0.4)  # haze
    amount = (depth * size + 0.5).clamp(0, 1)
    return sky + (ground - sky) * amount, amount[:, 0] > 0


def _between(ends: tuple, part: Float[Tensor, " n"]) -> Float[Tensor, "n ..."]:
    first, last = torch.tensor(ends, device=part.device)
    return first + (last - first) * part[:, None, None]


@cache
def _scenery(size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    return landscapes.sheets(size).to(device), landscapes.clouds(size).to(device), landscapes.hills(size).to(device)


# --- objects ----------------------------------------------------------------------------------------------------------


def _objects(plan: Plan, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Each object in a square of p pixels: its columns and rows in the image [n m p], and for the square's pixels what
    the object paints [n m 3 p*p], how much shows through it [n m 1 p*p], and how solid it is [n m p*p]."""
    columns, rows, x, y = _squares(plan, size)
    cos, sin = (part[..., None] for part in plan.turn.unbind(-1))
    u, v = x * cos + y * sin, y * cos - x * sin
    shape, colour, texture = _looks(plan)
    maps, colours, inks = _stickers(x.device)
    radius, shown = plan.radius[..., None] * size, plan.shown[..., None]
    outline = _sample(maps, shape, u, v)
    solid = _cover(outline, radius) * shown
    face = solid * _cover(outline + _RIM, radius)
    ink = face * _cover(_sample(maps, texture, u, v), radius)
    base = (face - ink) * (0.97 - 0.07 * y)  # a little light from above
    paint = colours[colour] * base[:, :, None] + inks[colour] * ink[:, :, None] + (solid - face)[:, :, None]
    shadow = 0.28 * (1.2 - x * x - (y - 0.15) * (y - 0.15)).clamp(0, 1) * shown  # round, so that it tells no shape
    return columns, rows, paint, ((1 - solid) * (1 - shadow))[:, :, None], solid


def _squares(plan: Plan, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Columns and rows of each object's square [n m p], and its pixels seen from the object's centre, in its radii, as
    x and y [n m p*p]."""
    side = min(size, math.ceil(2 * stickers.REACH * RADIUS * size))
    corner = (plan.centre * size - side / 2).round().long().clamp(0, size - side)
    pixels = corner[..., None] + torch.arange(side, device=corner.device)
    x, y = ((pixels + 0.5 - plan.centre[..., None] * size) / (plan.radius[..., None, None] * size)).unbind(2)
    x, y = torch.broadcast_tensors(x[..., None, :], y[..., None])
    return *pixels.unbind(2), x.flatten(2), y.flatten(2)


def _looks(plan: Plan) -> tuple[Int64[Tensor, "n m"], Int64[Tensor, "n m"], Int64[Tensor, "n m"]]:
    """Which map is each object's shape, which of the colours it has, and which map is its texture."""
    shape, colour, texture = (plan.others[cue].clone() for cue in OBJECT_CUES)
    for look, cue in zip((shape, colour, texture), OBJECT_CUES, strict=True):
        look[:, SUBJECTS] = plan.values[cue][:, None]
    if "marker" in plan.values:
        shape[:, TAG], colour[:, TAG] = len(stickers.SHAPES), len(stickers.COLOURS)
        texture[:, TAG] = len(stickers.TEXTURES) + plan.values["marker"]
    return shape, colour, texture + len(stickers.shapes())


def _cover(distance: Float[Tensor, "n m q"], radius: Float[Tensor, "n m 1"]) -> Float[Tensor, "n m q"]:
    """How much of a pixel lies inside, by the distance of its middle from the edge."""
    return (0.5 - distance * radius).clamp(0, 1)


def _sample(maps: Float[Tensor, "maps a a"], which: Int64[Tensor, "n m"], u: Tensor, v: Tensor) -> Tensor:
    """The map's value at each pixel. The maps lie above one another in one tall picture, so that none is copied."""
    count, side = maps.shape[:2]
    inside = 1 - 1 / side  # the middle of the outermost cells: nothing mixes in from the next map
    u, v = ((way / stickers.REACH).clamp(-inside, inside) for way in (u, v))
    grid = torch.stack([u, (which[..., None] * 2 + 1 + v) / count - 1], -1)
    return F.grid_sample(maps.reshape(1, 1, -1, side), grid.flatten(0, 1)[None], align_corners=False).view_as(u)


@cache
def _stickers(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """All maps, and colours and inks [colours 3 1]."""
    maps = torch.cat([stickers.shapes(), stickers.textures()])
    return maps.to(device), stickers.colours()[..., None].to(device), stickers.inks()[..., None].to(device)
