"""What does a unit of a layer detect? Network dissection (Bau et al., CVPR 2017; thesis, eq. 1.15).

A unit k is on where its activation A_k, enlarged to the image, exceeds a threshold T_k that it exceeds at a fraction q
of all its places in the data set. Its agreement with a concept c is the intersection over union, over the data set,

    IoU_k,c = sum_x |M_k & L_c| / sum_x |M_k or L_c|,    M_k = 1[up(A_k) > T_k],   P(A_k > T_k) = q = 0.005,

of these places with the concept's mask L_c, over the images x in which c is labelled. A unit is called a detector of c
if IoU_k,c > 0.04.
"""

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xailib import heatmap, network
from xailib.grid import read_grid
from xailib.inputs import check_images, check_model
from xailib.network import Layer

DETECTOR = 0.04  # the IoU above which a unit is called a detector


def network_dissection(
    model: nn.Module,
    batches: Iterable,
    concepts: Sequence[str],
    *,
    layer: Layer,
    quantile: float = 0.005,
    grid: tuple[int, int] | None = None,
):
    """A data frame with one row per unit of `layer` and concept: `unit`, `concept`, `threshold`, `iou`, `detector`.

    `batches` (a list, or a DataLoader that does not drop images) holds `(images, masks)` or `(images, masks, labelled)`:
    images [b c H W], bool masks [b concepts h w], and bool [b concepts], which says in which images a concept's category
    was labelled at all (default: in every one). It is read twice, first for the thresholds, then for the IoU. Memory
    holds one batch, and the fraction `quantile` of all activations at the layer's own size. `grid` as in `cam`.
    IoU is 0 for a unit that is never on. Raises ValueError for bad input, and if there are too few places for q.
    """
    model = check_model(model)
    if not isinstance(batches, Sized):
        raise ValueError(f"batches are read twice: pass a list or a DataLoader, found {type(batches).__name__}")
    if not 0 < quantile < 1 or not len(batches):
        raise ValueError(f"need 0 < quantile < 1 and a batch of images, found {quantile=}, {len(batches)} batches")
    with torch.compiler.set_stance("force_eager"):
        thresholds = _thresholds(model, batches, layer, quantile, grid)
        iou = _iou(model, batches, len(concepts), layer, thresholds, grid)
    return _table(concepts, thresholds.tolist(), iou.tolist())


def _table(concepts: Sequence[str], thresholds: list[float], iou: list[list[float]]):
    import pandas

    rows = [
        (unit, concept, threshold, value, value > DETECTOR)
        for unit, (threshold, values) in enumerate(zip(thresholds, iou, strict=True))
        for concept, value in zip(concepts, values, strict=True)
    ]
    return pandas.DataFrame(rows, columns=["unit", "concept", "threshold", "iou", "detector"])


# --- first reading: thresholds ----------------------------------------------------------------------------------------


def _thresholds(
    model: nn.Module, batches: Any, layer: Layer, quantile: float, grid: tuple[int, int] | None
) -> Float[Tensor, " k"]:
    """T_k: of the n activations of each unit, the floor(q n) largest lie above it (fewer where they are equal)."""
    n, largest, kept = 0, None, 0
    for images, *_ in batches:
        A = _activations(model, images, layer, grid).transpose(0, 1).flatten(1)
        if largest is None:
            kept = int(quantile * A.shape[1] * len(batches)) + 1  # no batch is larger than the first
            largest = A[:, :0]
        n += A.shape[1]
        values = torch.cat([largest, A], 1)
        largest = values.topk(min(kept, values.shape[1]), dim=1).values
    above = int(quantile * n)
    if above < 1:
        raise ValueError(f"{n} places are too few for quantile {quantile}; give more images, or a larger quantile")
    if above >= kept:
        raise ValueError("the first batch is smaller than a later one; order the batches by size, the largest first")
    return largest[:, above]


def _activations(
    model: nn.Module, images: Tensor, layer: Layer, grid: tuple[int, int] | None
) -> Float[Tensor, "b k h w"]:
    check_images(images)
    (output,), _ = network.cut(model, images, [layer])
    found = read_grid(model, network.find_layer(model, layer), output, images, grid)
    return found.maps(output.detach())


# --- second reading: intersections and unions -------------------------------------------------------------------------


def _iou(
    model: nn.Module,
    batches: Iterable,
    concepts: int,
    layer: Layer,
    thresholds: Float[Tensor, " k"],
    grid: tuple[int, int] | None,
) -> Float[Tensor, "k concepts"]:
    both = on = there = 0
    for images, masks, labelled in _labelled(batches, concepts):
        A = _activations(model, images, layer, grid)
        for a, L, known in zip(A, masks, labelled, strict=True):
            counts = _counts(a, thresholds, L)
            both = both + counts[:, :-1] * known
            on = on + counts[:, -1:] * known
            there = there + L.sum((1, 2)) * known
    union = on + there - both
    return (both / union).where(union > 0, 0)


def _counts(
    a: Float[Tensor, "k h w"], thresholds: Float[Tensor, " k"], L: Bool[Tensor, "concepts H W"]
) -> Float[Tensor, "k _"]:
    """Pixels of one image where a unit is on, within each concept and, in the last column, in all; 64 units at a time.

    float32 counts exactly up to 2^24 pixels, but bfloat16, to which autocast would turn, only up to 256.
    """
    within = torch.cat([L, torch.ones_like(L[:1])]).flatten(1).float()
    parts = zip(a.split(64), thresholds.split(64), strict=True)
    with torch.autocast(a.device.type, enabled=False):
        on = (heatmap.resize(part, L.shape[1:]) > T[:, None, None] for part, T in parts)
        return torch.cat([M.flatten(1).float() @ within.mT for M in on]).double()


def _labelled(
    batches: Iterable, concepts: int
) -> Iterator[tuple[Tensor, Bool[Tensor, "b c h w"], Bool[Tensor, "b c"]]]:
    """Each batch as (images, masks, labelled). Raises ValueError where these do not fit each other."""
    for images, masks, *rest in batches:
        labelled = rest[0] if rest else torch.ones(masks.shape[:2], dtype=torch.bool)
        if masks.ndim != 4 or masks.dtype != torch.bool or masks.shape[:2] != (len(images), concepts):
            raise ValueError(
                f"masks must be bool [b concepts h w], here [{len(images)} {concepts} h w], "
                f"found {masks.dtype} {tuple(masks.shape)}"
            )
        if labelled.dtype != torch.bool or labelled.shape != masks.shape[:2]:
            raise ValueError(
                f"labelled must be bool {tuple(masks.shape[:2])}, found {labelled.dtype} {tuple(labelled.shape)}"
            )
        yield images, masks.to(images.device), labelled.to(images.device)
