"""Does the map point at the object? Every pixel, or the most salient one, against the true boxes.

With S the map, in [0, 1], and U the union of the true boxes of an image:

    energy pointing game   EP = P = sum S U / sum S                       Wang et al., Score-CAM, CVPR workshops 2020
    pixel F1               F1 = 2 P R / (P + R),  R = sum S U / |U|       thesis, eq. 1.18, 1.19
    pointing game          SP = 1[the pixel where S is largest is in U]   Zhang et al., ECCV 2016

More is better. All come per image, in percent; the value of an image whose boxes all lie outside it is NaN, to be left
out and counted. `preset` is "clean", or "thesis_legacy" for what was computed for the thesis' tables 2.6 and 2.7 (see
`boxes`); options that are not given then take the values of that code.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xailib import heatmap
from xailib.inputs import check_maps
from xailib.metrics.boxes import Boxes, box_masks, check_boxes, check_preset, percent, placed_boxes
from xailib.metrics.faithfulness import check_masks

# --- every pixel ------------------------------------------------------------------------------------------------------


def energy_pointing_game(maps: Float[Tensor, "b H W"], boxes: Boxes, *, preset: str = "clean") -> Float[Tensor, " b"]:
    """The share of the map that lies in true boxes, its precision; 0 for a map that is 0 everywhere.

    Raises ValueError for maps outside [0, 1], bad boxes, and another preset.
    """
    check_masks(maps)
    inside = (maps * box_masks(boxes, maps, preset=preset)).sum((1, 2))
    return percent(_ratio(inside, maps.sum((1, 2))), maps, boxes, preset)


def pixel_f1(
    maps: Float[Tensor, "b H W"], boxes: Boxes, *, f1_mode: str | None = None, preset: str = "clean"
) -> Float[Tensor, " b"]:
    """The harmonic mean of precision and recall, of the map as a soft mask of the object; 0 where both are 0.

    `f1_mode="union"` (default) takes all boxes of an image as one object; `"per_box_max_unclipped"` (the thesis' code,
    and the default of its preset) the best F1 with one box, whose pixels beyond the border count as missed.
    F1 depends on the scale of the map: maps to be compared must be normalised alike, `heatmap.normalize(maps)`.
    Raises ValueError for maps outside [0, 1], bad boxes, and bad options.
    """
    check_masks(maps)
    check_preset(preset)
    f1_mode = f1_mode or ("union" if preset == "clean" else "per_box_max_unclipped")
    if f1_mode not in ("union", "per_box_max_unclipped"):
        raise ValueError(f"f1_mode must be 'union' or 'per_box_max_unclipped', found {f1_mode!r}")
    if f1_mode == "union":
        U = box_masks(boxes, maps)
        return percent(_f1(maps, U, U.sum((1, 2))), maps, boxes, "clean")
    whole = placed_boxes(boxes, maps, preset="thesis_legacy")
    best = [max((_f1_of_box(S, box) for box in found), default=0) for S, found in zip(maps, whole, strict=True)]
    return percent(maps.new_tensor(best), maps, boxes, "thesis_legacy")


def _f1_of_box(S: Float[Tensor, "H W"], box: Int[Tensor, " 4"]) -> float:
    inside = box_masks([box[None]], S[None])
    return _f1(S[None], inside, (box[2:] - box[:2]).prod()[None]).item()


def _f1(maps: Tensor, masks: Bool[Tensor, "b H W"], area: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """2 P R / (P + R) = 2 I / (sum S + area), with I = sum S U, P = I / sum S and R = I / area."""
    return _ratio(2 * (maps * masks).sum((1, 2)), maps.sum((1, 2)) + area)


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return (part / whole).where(whole > 0, 0)


# --- the most salient pixel -------------------------------------------------------------------------------------------


def pointing_game(
    maps: Float[Tensor, "b H W"],
    boxes: Boxes,
    *,
    ties: str | None = None,
    tolerance: float | int = 0,
    preset: str = "clean",
) -> Float[Tensor, " b"]:
    """100 if the most salient pixel lies in a true box, or at most `tolerance` pixels beside one, else 0 (Zhang et al.,
    who tolerate 15 pixels; thesis, eq. 1.21).

    Several pixels may share the largest value. `ties="mean"` (default) then gives the percentage of them that hit, the
    chance of one picked at random; `"any"` (the thesis' code, and the default of its preset) asks that one hits, which
    a constant map always does; `"first"` asks the first, row by row. With the preset "thesis_legacy" x and y of a box
    are swapped and its end belongs to it. Raises ValueError for maps that are not finite, bad boxes, and bad options.
    """
    check_maps(maps)
    check_preset(preset)
    ties = ties or ("mean" if preset == "clean" else "any")
    if ties not in ("mean", "any", "first"):
        raise ValueError(f"ties must be 'mean', 'any' or 'first', found {ties!r}")
    top = (maps == maps.amax((1, 2), keepdim=True)).flatten(1)
    hit = top & _near(_aims(boxes, maps, preset), tolerance).flatten(1)
    share = {
        "mean": hit.sum(1) / top.sum(1),
        "any": hit.any(1),
        "first": hit.gather(1, heatmap.rank(maps)[:, :1])[:, 0],
    }
    return percent(share[ties].to(maps), maps, boxes, preset)


def _aims(boxes: Boxes, maps: Tensor, preset: str) -> Bool[Tensor, "b H W"]:
    """Where the most salient pixel must lie. Legacy boxes are read as y0 x0 y1 x1, both ends included."""
    check_boxes(boxes, maps)
    if preset == "thesis_legacy":
        boxes = [one[:, [1, 0, 3, 2]] + one.new_tensor([0, 0, 1, 1]) for one in boxes]
    return box_masks(boxes, maps)


def _near(masks: Bool[Tensor, "b H W"], tolerance: float | int) -> Bool[Tensor, "b H W"]:
    """The masks, and all pixels at most `tolerance` pixels from them."""
    if tolerance == 0:
        return masks
    from scipy import ndimage

    distances = (ndimage.distance_transform_edt(~mask) if mask.any() else mask + torch.inf for mask in masks.cpu())
    return torch.stack([torch.as_tensor(distance) <= tolerance for distance in distances]).to(masks.device)
