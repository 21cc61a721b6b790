"""DP-Net: a classifier that votes with parts, learned on a network that stays as it is (Sicre et al., ICIP 2023).

Each region r of the last feature maps is a vector x_r, each part p a vector u_p, of length 1. How much regions look
like parts, the bag of parts, and the logits are

    S = U X,    b_p = max_r S_pr,    y = V b + bias.

A class has q parts of its own: of P = q C parts, those of class c are the block q c ... q c + q - 1. The constraints on
what is learned, U and V, are losses: all four are to be made small.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from xailib.models.stages import OnFrozen, known, read, widths


class DPNet(OnFrozen):
    """Parts `U` [P d] and their votes `V` (linear, [classes P]) on a frozen backbone; only these learn. At first a class
    is the mean of its own parts.

    - `parts_per_class`: q, a choice of this course
    - `layer`: whose places are the regions; by default the last stage of a known network
    - `scales`: sizes of the regions in places; a region is the mean over its square
    - `normalize_regions`: whether regions have length 1, so that S is a cosine
    - `pool`: `"max"`, or `"avg"` over the regions

    Raises ValueError for other options and for a layer that returns no feature maps.
    """

    def __init__(
        self,
        backbone: nn.Module,
        classes: int,
        *,
        parts_per_class: int = 5,
        layer: str | None = None,
        scales: Sequence[int] = (1,),
        normalize_regions: bool = True,
        pool: str = "max",
        bias: bool = True,
    ):
        super().__init__(backbone)
        _check(classes, parts_per_class, scales, pool)
        self.layer = known(self.backbone)[0][-1] if layer is None else layer
        self.scales, self.normalize_regions, self.pooling = tuple(scales), normalize_regions, pool
        parts = classes * parts_per_class
        like = next(self.backbone.parameters())
        self.U = nn.Parameter(torch.randn(parts, *widths(self.backbone, [self.layer])).to(like))
        self.V = nn.Linear(parts, classes, bias=bias).to(like)
        with torch.no_grad():
            self.V.weight.copy_(own_parts(classes, parts) / parts_per_class)

    def forward(
        self, images: Float[Tensor, "b c H W"], *, similarities: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """The logits [b classes]; with `similarities`, as its loss needs them, also S [b P R]."""
        S = self._similarities(read(self.backbone, self.layer, images))
        logits = self.V(self._bag(S))
        return (logits, S) if similarities else logits

    def contributions(self, images: Float[Tensor, "b c H W"], targets: Int[Tensor, " b"]) -> Float[Tensor, "b P"]:
        """What each part adds to the target's logit, V_cp b_p: with the class's bias, they sum to it.

        `V.weight[c]` is the same for a class as a whole: what its parts count for, in whatever image.
        """
        return self.V.weight[targets] * self._bag(self._similarities(read(self.backbone, self.layer, images)))

    def part_maps(self, images: Float[Tensor, "b c H W"]) -> Float[Tensor, "b P h w"]:
        """Where each part is seen: S at the places of the layer; of several regions at a place, the most similar.

        A heat map of part p in the image: `heatmap.resize(model.part_maps(images)[:, p], images.shape[2:])`.
        """
        A = read(self.backbone, self.layer, images)
        h, w = A.shape[2:]
        counts = [(h - s + 1) * (w - s + 1) for s in self.scales]
        maps = []
        for s, S in zip(self.scales, self._similarities(A).split(counts, 2), strict=True):
            padded = F.pad(S.unflatten(2, (h - s + 1, w - s + 1)), (s - 1,) * 4, value=-torch.inf)
            maps.append(F.max_pool2d(padded, s, stride=1))
        return torch.stack(maps).amax(0)

    def best_boxes(self, images: Float[Tensor, "b c H W"]) -> list[Int[Tensor, "P 4"]]:
        """For each image, the region that looks most like each part: x0 y0 x1 y1, half-open, in pixels."""
        A = read(self.backbone, self.layer, images)
        boxes = region_boxes(A.shape[2:], images.shape[2:], self.scales).to(A.device)
        return list(boxes[self._similarities(A).argmax(2)])

    def _similarities(self, A: Float[Tensor, "b d h w"]) -> Float[Tensor, "b P R"]:
        X = torch.cat([F.avg_pool2d(A, s, stride=1).flatten(2) for s in self.scales], 2)
        return F.normalize(self.U, dim=1) @ (F.normalize(X, dim=1) if self.normalize_regions else X)

    def _bag(self, S: Float[Tensor, "b P R"]) -> Float[Tensor, "b P"]:
        return S.amax(2) if self.pooling == "max" else S.mean(2)


def region_boxes(grid: Sequence[int], size: Sequence[int], scales: Sequence[int] = (1,)) -> Int[Tensor, "R 4"]:
    """The pixels x0 y0 x1 y1 (half-open) that the regions of a grid (h, w) cover in an image of `size` (H, W)."""
    (h, w), (H, W) = grid, size
    boxes = []
    for s in scales:
        y, x = torch.meshgrid(torch.arange(h - s + 1), torch.arange(w - s + 1), indexing="ij")
        boxes.append(torch.stack([x * W // w, y * H // h, -((-x - s) * W // w), -((-y - s) * H // h)], -1).view(-1, 4))
    return torch.cat(boxes)


# --- the four constraints ---------------------------------------------------------------------------------------------


def discriminative_loss(logits: Float[Tensor, "b classes"], targets: Int[Tensor, " b"]) -> Float[Tensor, ""]:
    """Parts tell classes apart: cross-entropy."""
    return F.cross_entropy(logits, targets)


def complementary_loss(U: Float[Tensor, "P d"]) -> Float[Tensor, ""]:
    """Parts differ from each other: sum_{i != j} (u_i . u_j)^2 / P^2, of parts of length 1; 0 if all are orthogonal.

    The slides print a minus sign before it: made small, that would turn all parts into one.
    """
    U = F.normalize(U, dim=1)
    return ((U @ U.T).fill_diagonal_(0) ** 2).sum() / len(U) ** 2


def assignment_loss(
    S: Float[Tensor, "b P R"], *, temperature: float | int = 0.1, assign_balance: float | int = 0
) -> Float[Tensor, ""]:
    """Each region is like one part: the mean over regions of the entropy of softmax_p(S / temperature).

    The slides have no temperature, but cosines are too close to each other for a sharp softmax. Regions may all choose
    the same part; `assign_balance` weighs a term against that, sum_p m_p log m_p, m the mean over the batch's regions.
    """
    log_s = (S / temperature).log_softmax(1)
    log_m = log_s.transpose(0, 1).flatten(1).logsumexp(1) - math.log(len(S) * S.shape[2])
    return -(log_s.exp() * log_s).sum(1).mean() + assign_balance * (log_m.exp() * log_m).sum()


def specificity_loss(V: Float[Tensor, "classes P"], *, cs: str = "abs") -> Float[Tensor, ""]:
    """A part votes for its own class only: the mean over all other votes of |V| (`cs="abs"`), or of `"relu"`,
    `"square"` or, as on the slides, `"raw"` V, which has no minimum. Raises ValueError for another `cs`."""
    kinds = {"abs": V.abs, "relu": V.relu, "square": V.square, "raw": V.clone}
    if cs not in kinds:
        raise ValueError(f"cs must be one of {', '.join(kinds)}, found {cs!r}")
    return kinds[cs]()[~own_parts(*V.shape).to(V.device)].mean()


def own_parts(classes: int, parts: int) -> Bool[Tensor, "classes P"]:
    """Which parts are a class's own. Raises ValueError unless there is a block of parts for each class."""
    if parts % classes:
        raise ValueError(f"{parts} parts cannot be shared evenly by {classes} classes")
    return torch.eye(classes, dtype=torch.bool).repeat_interleave(parts // classes, 1)


@dataclass(frozen=True)
class PartLoss:
    """The weighted sum of the constraints, `total`, and each of them, not weighted."""

    total: Float[Tensor, ""]
    classification: Float[Tensor, ""]
    complementary: Float[Tensor, ""]
    assignment: Float[Tensor, ""]
    specificity: Float[Tensor, ""]


def part_loss(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    *,
    complementary: float | int = 1,
    assignment: float | int = 1,
    specificity: float | int = 1,
    cs: str = "abs",
    temperature: float | int = 0.1,
    assign_balance: float | int = 0,
) -> PartLoss:
    """Cross-entropy plus the three other constraints, each with its weight; 0 leaves one out.

    The weights that were used for the published results are not known. Options as in the constraints.
    """
    logits, S = model(images, similarities=True)
    net: Any = model if isinstance(model, DPNet) else model.module  # behind DistributedDataParallel
    classification = discriminative_loss(logits, targets)
    parts = complementary_loss(net.U)
    assigned = assignment_loss(S, temperature=temperature, assign_balance=assign_balance)
    specific = specificity_loss(net.V.weight, cs=cs)
    total = classification + complementary * parts + assignment * assigned + specificity * specific
    return PartLoss(total, classification, parts, assigned, specific)


def _check(classes: int, parts_per_class: int, scales: Sequence[int], pool: str) -> None:
    if classes < 2 or parts_per_class < 1:
        raise ValueError(f"parts need two classes and a part for each, found {classes} and {parts_per_class}")
    if not scales or min(scales) < 1:
        raise ValueError(f"scales are sizes of regions in places, at least 1, found {tuple(scales)}")
    if pool not in ("max", "avg"):
        raise ValueError(f"pool must be 'max' or 'avg', found {pool!r}")
