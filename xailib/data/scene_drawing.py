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
from xailib.data.scene_plan import OBJECT_CUES, OBJECTS, RADIUS, SUBJECTS, TAG, Plan

_RIM = 0.13  # the white rim of every object, in its radii


def draw(plan: Plan, size: int) -> tuple[Float[Tensor, "n s s 3"], Bool[Tensor, "n m s s"], Bool[Tensor, "n s s"]]:
    """The images in [0, 1], the pixels that each object touches, and those where the ground can be seen."""
    canvas, bare = _background(plan, size)
    touched = torch.zeros(len(canvas), OBJECTS, size, size, dtype=torch.bool, device=canvas.device)
    x, y, paint, through, solid = _objects(plan, size)
    scene = torch.arange(len(canvas), device=canvas.device)[:, None, None]
    for k in range(OBJECTS):
        square = scene, y[:, k, :, None], x[:, k, None]
        canvas[square] = canvas[square] * through[:, k] + paint[:, k]
        touched[:, k][square] = solid[:, k] > 0
        bare[square] &= solid[:, k] < 1
    return canvas, touched, bare


# --- sky and ground ---------------------------------------------------------------------------------------------------


def _background(plan: Plan, size: int) -> tuple[Float[Tensor, "n s s 3"], Bool[Tensor, "n s s"]]:
    """A sky above a ground, and where the ground is."""
    sheets, clouds, hills = _scenery(size, plan.sky.device)
    line = torch.arange(size, device=plan.sky.device)
    ground_x, ground_y, cloud_x, cloud_y, hill = ((plan.offsets * size).long()[..., None] + line).unbind(1)
    material = sheets[plan.values["context"][:, None, None], ground_y[:, :, None], ground_x[:, None]]
    depth = line[:, None] + 0.5 - ((plan.horizon[:, None] + 0.06 * hills[hill]) * size)[:, None]  # below the horizon
    sky, low = _sky(plan, clouds[cloud_y[:, :, None], cloud_x[:, None]][..., None])
    haze = (0.4 - depth / (0.35 * size)).clamp(0, 0.4)[..., None]
    ground = (depth + 0.5).clamp(0, 1)
    return sky + (material + (low - material) * haze - sky) * ground[..., None], ground > 0


def _sky(plan: Plan, white: Float[Tensor, "n s s 1"]) -> tuple[Float[Tensor, "n s s 3"], Float[Tensor, "n 1 1 3"]]:
    """Clouds on a sky between blue and rosy, and its colour at the horizon."""
    blue, rosy = torch.tensor(
        [[[0.47, 0.70, 0.90], [0.88, 0.94, 0.97]], [[0.68, 0.66, 0.84], [0.99, 0.88, 0.78]]], device=white.device
    )
    high, low = (blue + (rosy - blue) * plan.sky[:, None, None])[:, :, None, None].unbind(1)
    size = white.shape[1]
    fade = ((torch.arange(size, device=white.device) + 0.5) / (0.5 * size)).clamp(max=1)[:, None, None]
    sky = high + (low - high) * fade
    return sky + (1 - sky) * 0.85 * white, low


@cache
def _scenery(size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    made = landscapes.sheets(size), landscapes.clouds(size), landscapes.hills(size)
    return tuple(part.to(device) for part in made)


# --- objects ----------------------------------------------------------------------------------------------------------


def _objects(plan: Plan, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Each object in a square of p pixels: its columns and rows in the image [n m p], what it paints [n m p p 3], how
    much of what lies behind shows through [n m p p 1], and how solid it is [n m p p]."""
    column, row, x, y = _squares(plan, size)
    cos, sin = (part[..., None, None] for part in plan.turn.unbind(-1))
    u, v = x * cos + y * sin, y * cos - x * sin
    shape, colour, texture = _looks(plan)
    maps, colours, inks = _stickers(x.device)
    cover = lambda distance: (0.5 - distance * plan.radius[..., None, None] * size).clamp(0, 1)
    outline, pattern = _sample(maps, shape, u, v), _sample(maps, texture, u, v)
    solid = cover(outline) * plan.shown[..., None, None]
    base = colours[colour] * (1.06 - 0.12 * y[..., None])  # a little light from above
    paint = base + (inks[colour] - base) * cover(pattern)[..., None]
    paint = 1 + (paint.clamp(max=1) - 1) * cover(outline + _RIM)[..., None]
    shadow = 0.28 * (1.2 - x * x - (y - 0.15) * (y - 0.15)).clamp(0, 1) * plan.shown[..., None, None]
    return column, row, paint * solid[..., None], ((1 - solid) * (1 - shadow))[..., None], solid


def _squares(plan: Plan, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Columns and rows of each object's square, and its pixels' x and y seen from the object's centre, in its radii."""
    side = min(size, math.ceil(2 * stickers.REACH * RADIUS * size))
    corner = (plan.centre * size - side / 2).round().long().clamp(0, size - side)
    pixel = corner[..., None] + torch.arange(side, device=corner.device)
    x, y = ((pixel + 0.5 - plan.centre[..., None] * size) / (plan.radius[..., None, None] * size)).unbind(2)
    return *pixel.unbind(2), *torch.broadcast_tensors(x[..., None, :], y[..., None])


def _looks(plan: Plan) -> tuple[Tensor, Tensor, Tensor]:
    """The place of each object's shape, colour and texture among the stickers [n m], colour [n m 1 1]."""
    shape, colour, texture = (plan.others[cue].clone() for cue in OBJECT_CUES)
    for look, cue in zip((shape, colour, texture), OBJECT_CUES, strict=True):
        look[:, SUBJECTS] = plan.values[cue][:, None]
    shape[:, TAG], colour[:, TAG] = len(stickers.SHAPES), len(stickers.COLOURS)
    texture[:, TAG] = len(stickers.TEXTURES) + plan.values.get("marker", 0)
    return shape, colour[..., None, None], texture + len(stickers.shapes())


def _sample(maps: Float[Tensor, "maps a a"], which: Int64[Tensor, "n m"], u: Tensor, v: Tensor) -> Tensor:
    """The map's value at each pixel. The maps lie above one another in one tall picture, so that none is copied."""
    count, side = maps.shape[:2]
    inside = 1 - 1 / side  # the middle of the outermost cells: nothing mixes in from the next map
    u, v = ((way / stickers.REACH).clamp(-inside, inside) for way in (u, v))
    v = (which[..., None, None] * 2 + 1 + v) / count - 1
    tall = maps.reshape(1, 1, -1, side)
    return F.grid_sample(tall, torch.stack([u, v], -1).flatten(0, 2)[None], align_corners=False).view_as(u)


@cache
def _stickers(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    made = torch.cat([stickers.shapes(), stickers.textures()]), stickers.colours(), stickers.inks()
    return tuple(part.to(device) for part in made)
