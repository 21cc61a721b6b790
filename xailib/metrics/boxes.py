"""Boxes: true ones, moved with their image and turned into masks, and the one that a map predicts.

A box is `x0 y0 x1 y1` in pixels, half-open: it covers the columns x0 .. x1 - 1 and the rows y0 .. y1 - 1. The boxes of
a batch are a list with one int tensor [n 4] per image. Two presets say what happens to them:

    clean            true boxes are clipped to the image, and dropped where nothing is left
    thesis_legacy    the code behind the thesis' tables 2.5 to 2.7: true boxes are not clipped; a box becomes a mask as
                     mask[x0:x1, y0:y1], so x and y are swapped, and a negative start counts from the far border, as in
                     any Python slice; a predicted box ends one pixel early
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xailib.inputs import check_maps

Boxes = Sequence[Tensor]  # one int tensor [n 4] per image
PRESETS = ("clean", "thesis_legacy")

# --- true boxes -------------------------------------------------------------------------------------------------------


def placed_boxes(boxes: Boxes, maps: Float[Tensor, "b H W"], *, preset: str = "clean") -> list[Int[Tensor, "_ 4"]]:
    """The true boxes as a preset uses them, on the maps' device: `"clean"` clips them and drops what is then empty.

    Raises ValueError for boxes that are not one int tensor [n 4] per image, or end before they start.
    """
    check_boxes(boxes, maps)
    check_preset(preset)
    boxes = [one.to(maps.device, torch.int64) for one in boxes]
    return boxes if preset == "thesis_legacy" else [_clipped(one, *maps.shape[1:]) for one in boxes]


def _clipped(boxes: Int[Tensor, "n 4"], height: int, width: int) -> Int[Tensor, "_ 4"]:
    boxes = boxes.minimum(boxes.new_tensor([width, height, width, height])).clamp(min=0)
    return boxes[(boxes[:, 2:] > boxes[:, :2]).all(1)]


def legacy_boxes(boxes: Boxes, image_sizes: Sequence[tuple[int, int]], *, size: int = 224) -> list[Int[Tensor, "_ 4"]]:
    """The boxes of whole images (H, W) after the shorter side is resized to `size` and the centre is cut out, as the
    thesis' code moves them: decimals are cut off, and nothing is clipped. The loaders in `data` move boxes cleanly."""
    return [
        _moved(one, min(shape), torch.tensor(shape[::-1]), size) for one, shape in zip(boxes, image_sizes, strict=True)
    ]


def _moved(boxes: Int[Tensor, "n 4"], shorter: int, whole: Int[Tensor, " 2"], size: int) -> Int[Tensor, "n 4"]:
    corner = (whole.double() * size / shorter - size) / 2
    return (boxes.double() * size / shorter - corner.repeat(2)).trunc().long()


def box_masks(boxes: Boxes, maps: Float[Tensor, "b H W"], *, preset: str = "clean") -> Bool[Tensor, "b H W"]:
    """U: true where a pixel lies in at least one true box of its image, as large as the maps.

    Raises ValueError as `placed_boxes` does.
    """
    masks = torch.zeros_like(maps, dtype=torch.bool)
    for mask, found in zip(masks, placed_boxes(boxes, maps, preset=preset), strict=True):
        for x0, y0, x1, y1 in found.tolist():
            if preset == "thesis_legacy":
                mask[x0:x1, y0:y1] = True
            else:
                mask[y0:y1, x0:x1] = True
    return masks


def box_iou(boxes: Int[Tensor, "n 4"], others: Int[Tensor, "m 4"]) -> Float[Tensor, "n m"]:
    """Intersection over union of each pair of boxes, in [0, 1]; 0 for two empty ones."""
    boxes, others = boxes[:, None].double(), others[None].double()
    start, end = boxes[..., :2].maximum(others[..., :2]), boxes[..., 2:].minimum(others[..., 2:])
    intersection = (end - start).clamp(min=0).prod(-1)
    union = _area(boxes) + _area(others) - intersection
    return (intersection / union).where(union > 0, 0)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1)


# --- the box of a map -------------------------------------------------------------------------------------------------


def predicted_box(maps: Float[Tensor, "b H W"], *, preset: str = "clean") -> Int[Tensor, "b 4"]:
    """The tight box around the largest 4-connected region where the map exceeds its own mean (thesis, sec. 1.3.3.4).

    Of equally large regions the first, row by row, counts; a constant map, which has none, predicts the whole image.
    Raises ValueError for maps that are not finite, and another preset.
    """
    check_maps(maps)
    check_preset(preset)
    above = maps > maps.double().mean((1, 2), keepdim=True)
    found = torch.stack([region_boxes(mask)[0] for mask in above]).to(maps.device)
    return found - found.new_tensor([0, 0, 1, 1]) if preset == "thesis_legacy" else found


def region_boxes(mask: Bool[Tensor, "H W"]) -> Int[Tensor, "_ 4"]:
    """The tight box of each 4-connected region of a mask, the largest region first; of an empty mask the whole image."""
    import numpy as np
    from scipy import ndimage

    regions, _ = ndimage.label(mask.cpu().numpy())
    boxes = [(x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(regions)]
    sizes = np.bincount(regions.ravel())[1:]
    order = np.argsort(-sizes, kind="stable")
    return torch.tensor([boxes[k] for k in order] or [(0, 0, *reversed(mask.shape))])


# --- what is refused --------------------------------------------------------------------------------------------------


def check_boxes(boxes: Boxes, maps: Float[Tensor, "b H W"]) -> None:
    """Raises ValueError unless `boxes` holds one int tensor [n 4] per map, with x0 <= x1 and y0 <= y1."""
    if len(boxes) != len(maps):
        raise ValueError(
            f"boxes must hold one int tensor [n 4] per image, found {len(boxes)} of them for {len(maps)} maps"
        )
    for i, one in enumerate(boxes):
        if not isinstance(one, Tensor) or one.ndim != 2 or one.shape[1] != 4 or one.dtype.is_floating_point:
            found = f"{one.dtype} {tuple(one.shape)}" if isinstance(one, Tensor) else type(one).__name__
            raise ValueError(f"boxes of image {i} must be an int tensor [n 4], found {found}")
        if (one[:, 2:] < one[:, :2]).any():
            raise ValueError(f"a box of image {i} ends before it starts: {one.tolist()}; boxes are x0 y0 x1 y1")


def check_preset(preset: str) -> None:
    """Raises ValueError for an unknown preset."""
    if preset not in PRESETS:
        raise ValueError(f"preset must be 'clean' or 'thesis_legacy', found {preset!r}")


# --- one value per image ----------------------------------------------------------------------------------------------


def percent(
    shares: Float[Tensor, " b"], maps: Float[Tensor, "b H W"], boxes: Boxes, preset: str
) -> Float[Tensor, " b"]:
    """The shares in percent, and NaN for each image without a box: nothing can be right or wrong there."""
    empty = [len(one) == 0 for one in placed_boxes(boxes, maps, preset=preset)]
    return (100 * shares).masked_fill(torch.tensor(empty, device=shares.device), torch.nan)
