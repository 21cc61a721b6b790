"""Does the map find the object? The box that it predicts against the true boxes.

With B the true boxes of an image and B_p the box that the map predicts (`predicted_box`):

    localization error  LE = 1 - max_B 1[IoU(B, B_p) > 0.5]                          less is better   ILSVRC
    official metric     OM = 1 - max_B 1[IoU(B, B_p) > 0.5] 1[c_p = c]               less is better   ILSVRC
    box accuracy        BA = mean_d max_t mean_images 1[max_B IoU(B, B_t) >= d]      more is better   Choe et al., 2020
    saliency metric     SM = log max(0.05, |B_p| / HW) - log p_c(x cropped to B_p)   less is better   Dabkowski and Gal

with B_t the box of {S > t}. All come per image, in percent, but SM, which has neither unit nor bound. An image whose
boxes all lie outside it has no truth: its value is NaN, to be left out and counted. `preset` is "clean", or
"thesis_legacy" for what was computed for the thesis' tables 2.6 and 2.7 (see `boxes`).

A good explanation can fail here: nothing tells a network to look at the object alone, or at all of it.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from xailib import network
from xailib.metrics.boxes import Boxes, box_iou, percent, placed_boxes, predicted_box, region_boxes
from xailib.metrics.faithfulness import check_masks
from xailib.metrics.protocol import judged

# --- one predicted box ------------------------------------------------------------------------------------------------


def localization_error(
    maps: Float[Tensor, "b H W"], boxes: Boxes, *, iou_mode: str = "binary", preset: str = "clean"
) -> Float[Tensor, " b"]:
    """100 where the predicted box overlaps no true box by an IoU above 0.5, else 0 (thesis, eq. 1.17).

    `iou_mode="raw"` returns 100 (1 - the largest IoU), which is what the thesis prints, but not what it reports.
    Raises ValueError for maps that are not finite, bad boxes, and bad options.
    """
    return percent(1 - _overlap(maps, boxes, iou_mode, preset), maps, boxes, preset)


def official_metric(
    maps: Float[Tensor, "b H W"],
    boxes: Boxes,
    predictions: Int[Tensor, " _"],
    targets: Int[Tensor, " _"],
    *,
    iou_mode: str = "binary",
    preset: str = "clean",
) -> Float[Tensor, " b"]:
    """`localization_error`, but 100 also wherever the network's class, in `predictions`, is not the target (thesis,
    eq. 1.16). Raises ValueError as `localization_error` does, and unless there is one of both classes per map."""
    if not predictions.shape == targets.shape == maps.shape[:1]:
        found = f"{tuple(predictions.shape)} and {tuple(targets.shape)} for {len(maps)} maps"
        raise ValueError(f"predictions and targets must hold one class per map, found shapes {found}")
    right = predictions == targets
    return percent(1 - _overlap(maps, boxes, iou_mode, preset) * right, maps, boxes, preset)


def _overlap(maps: Tensor, boxes: Boxes, iou_mode: str, preset: str) -> Float[Tensor, " b"]:
    """The largest IoU of the predicted with a true box, or, binary, 1 where it exceeds 0.5."""
    if iou_mode not in ("binary", "raw"):
        raise ValueError(f"iou_mode must be 'binary' or 'raw', found {iou_mode!r}")
    predicted = predicted_box(maps, preset=preset)[:, None]
    pairs = zip(predicted, placed_boxes(boxes, maps, preset=preset), strict=True)
    largest = maps.new_tensor([max(box_iou(box, true)[0].tolist(), default=0) for box, true in pairs])
    return largest if iou_mode == "raw" else (largest > 0.5).to(maps)


# --- a box for each threshold -----------------------------------------------------------------------------------------

THRESHOLDS = [t / 100 for t in range(100)]
OVERLAPS = {"thesis": (0.3, 0.5, 0.7), "v1": (0.5,), "v2": (0.3, 0.5, 0.7)}


def box_accuracy(maps: Float[Tensor, "b H W"], boxes: Boxes, *, boxacc: str = "thesis") -> Float[Tensor, " b"]:
    """`best_accuracy` of the `box_hits` of one whole data set (Choe et al., CVPR 2020; thesis, eq. 1.20).

    There is no preset "thesis_legacy": how the thesis' values came about is not known.
    Raises ValueError as `box_hits` does.
    """
    return best_accuracy(box_hits(maps, boxes, boxacc=boxacc))


def box_hits(
    maps: Float[Tensor, "b H W"],
    boxes: Boxes,
    *,
    boxacc: str = "thesis",
    thresholds: Sequence[float | int] = THRESHOLDS,
    overlaps: Sequence[float | int] | None = None,
) -> Float[Tensor, "b overlaps thresholds"]:
    """1 where the box of {S > t} overlaps a true box by an IoU of at least d, else 0, for each d and t; NaN without box.

    - `"thesis"`: the box of the largest region; d = 0.3, 0.5, 0.7, as in v2, for the thesis does not say
    - `"v1"`: the box of the largest region; d = 0.5 (MaxBoxAcc)
    - `"v2"`: the best box of all regions; d = 0.3, 0.5, 0.7 (MaxBoxAccV2)

    `thresholds` and `overlaps` replace these t and d. Choe et al. round maps to 256 levels and measure regions by their
    contour first, so their values differ a little. Raises ValueError for maps outside [0, 1], bad boxes, bad options.
    """
    check_masks(maps)
    if boxacc not in OVERLAPS:
        raise ValueError(f"boxacc must be 'thesis', 'v1' or 'v2', found {boxacc!r}")
    placed = placed_boxes(boxes, maps)
    limits = torch.tensor(overlaps or OVERLAPS[boxacc], dtype=torch.float64)[:, None]
    counted = None if boxacc == "v2" else 1
    hits = [_iou_at(S, true.cpu(), thresholds, counted) >= limits for S, true in zip(maps.cpu(), placed, strict=True)]
    unboxed = torch.tensor([len(true) == 0 for true in placed])[:, None, None]
    return torch.stack(hits).float().masked_fill(unboxed, torch.nan).to(maps.device)


def _iou_at(
    S: Float[Tensor, "H W"], true: Int[Tensor, "n 4"], thresholds: Sequence[float | int], counted: int | None
) -> Float[Tensor, " thresholds"]:
    """The largest IoU of a true box with the box of one of the `counted` largest regions above each threshold."""
    found = (box_iou(region_boxes(S > t)[:counted], true).flatten().tolist() for t in thresholds)
    return torch.tensor([max(ious, default=0) for ious in found], dtype=torch.float64)


def best_accuracy(hits: Float[Tensor, "b overlaps thresholds"]) -> Float[Tensor, " b"]:
    """The percentage of overlaps d at which an image is hit, each at the one threshold that hits the most images.

    Its mean over the images is the box accuracy. The threshold is chosen on these very images, so `hits` must hold the
    whole data set: collect the hits of all batches, `torch.cat` them, then ask.
    """
    best = hits.nanmean(0).nan_to_num().argmax(1)
    return 100 * hits.gather(2, best.expand(len(hits), -1)[..., None])[..., 0].mean(1)


# --- what the network sees in the box ---------------------------------------------------------------------------------


@judged
def saliency_metric(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    maps: Float[Tensor, "b H W"],
    *,
    preset: str = "clean",
    chunk: int | None = None,
) -> Float[Tensor, " b"]:
    """log max(0.05, share of the image in the predicted box) - log p_c of the image cropped to it: less is better
    (Dabkowski and Gal, NeurIPS 2017; thesis, eq. 1.22).

    The crop is resized to the size of the image, bicubically. The value is infinite where p_c is 0, so report the
    median too. The network runs on `chunk` crops at a time. Raises ValueError for bad input, and another preset.
    """
    found, chunk = predicted_box(maps, preset=preset), network.chunk_size(chunk, images)
    crops = torch.cat([_crop(image, box) for image, box in zip(images, found.tolist(), strict=True)])
    parts = zip(crops.split(chunk), targets.split(chunk), strict=True)
    with torch.no_grad():
        p = torch.cat([network.class_probabilities(model(crop), classes) for crop, classes in parts])
    share = (found[:, 2:] - found[:, :2]).prod(1) / (maps.shape[1] * maps.shape[2])
    return share.clamp(min=0.05).log() - p.log()


def _crop(image: Float[Tensor, "c H W"], box: list[int]) -> Float[Tensor, "1 c H W"]:
    """The part of the image in the box, at the image's size; black if the box is empty, as a legacy one can be."""
    x0, y0, x1, y1 = box
    if x0 == x1 or y0 == y1:
        return torch.zeros_like(image[None])
    part = image[None, :, y0:y1, x0:x1]
    return F.interpolate(part, image.shape[1:], mode="bicubic", align_corners=False).clamp(0, 1)
