"""This looks like that: a classifier that compares an image with patches of training images (ProtoPNet; Chen et al.,
NeurIPS 2019), in compact form.

Places z_r of feature maps are compared with prototypes p, and the nearest place counts:

    d_p = min_r ||z_r - p||^2,    s_p = log((d_p + 1) / (d_p + 1e-4)),    y = W s.

Compact: the backbone stays frozen, where the paper fine-tunes it; all else is trained at once, where the paper takes
turns; `project`, called now and then and at the end, turns prototypes into patches that exist. Beside DP-Net: distances
instead of cosines, and evidence that can be looked up in the training set.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from xailib.models.parts import own_parts, region_boxes
from xailib.models.stages import OnFrozen, known, read, widths


@dataclass(frozen=True)
class Projection:
    """Where each prototype comes from: the image, counted over all batches, a box in it, and how far the prototype
    moved (squared distance)."""

    images: Int[Tensor, " P"]
    boxes: Int[Tensor, "P 4"]
    distances: Float[Tensor, " P"]


class ProtoPNet(OnFrozen):
    """Prototypes on a frozen backbone: what learns is an `add_on` of two 1x1 convolutions to `dim` channels, the
    `prototypes` [P dim] and their votes `W` (linear, without bias), at first 1 for the own class and -0.5 for others.

    `layer` is the one whose places are compared, by default the last stage of a known network.
    """

    def __init__(
        self,
        backbone: nn.Module,
        classes: int,
        *,
        prototypes_per_class: int = 10,
        dim: int = 128,
        layer: str | None = None,
    ):
        super().__init__(backbone)
        self.layer = known(self.backbone)[0][-1] if layer is None else layer
        (width,) = widths(self.backbone, [self.layer])
        first, second = nn.Conv2d(width, dim, 1), nn.Conv2d(dim, dim, 1)
        self.add_on = nn.Sequential(first, nn.ReLU(), second, nn.Sigmoid())
        self.prototypes = nn.Parameter(torch.rand(classes * prototypes_per_class, dim))
        self.W = nn.Linear(len(self.prototypes), classes, bias=False)
        with torch.no_grad():
            self.W.weight.copy_(1.5 * own_parts(*self.W.weight.shape) - 0.5)
        self.to(next(self.backbone.parameters()))

    def forward(self, images: Float[Tensor, "b c H W"], *, distances: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """The logits [b classes]; with `distances`, as its loss needs them, also d [b P]."""
        d = self._distances(self.patches(images)).amin(2)
        logits = self.W(similarity(d))
        return (logits, d) if distances else logits

    def patches(self, images: Float[Tensor, "b c H W"]) -> Float[Tensor, "b dim h w"]:
        """What prototypes are compared with: a vector z in [0, 1]^dim at each place of the layer."""
        return self.add_on(read(self.backbone, self.layer, images))

    def prototype_maps(self, images: Float[Tensor, "b c H W"]) -> Float[Tensor, "b P h w"]:
        """How similar each place is to each prototype."""
        z = self.patches(images)
        return similarity(self._distances(z)).unflatten(2, z.shape[2:])

    def contributions(self, images: Float[Tensor, "b c H W"], targets: Int[Tensor, " b"]) -> Float[Tensor, "b P"]:
        """What each prototype adds to the target's logit, W_cp s_p: they sum to it."""
        return self.W.weight[targets] * self.prototype_maps(images).amax((2, 3))

    def best_boxes(self, images: Float[Tensor, "b c H W"]) -> list[Int[Tensor, "P 4"]]:
        """For each image, the place that is nearest to each prototype: x0 y0 x1 y1, half-open, in pixels."""
        z = self.patches(images)
        boxes = region_boxes(z.shape[2:], images.shape[2:]).to(z.device)
        return list(boxes[self._distances(z).argmin(2)])

    @torch.no_grad()
    def project(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Projection:
        """Moves each prototype to the nearest patch of its own class in training images, and says where that is.

        `batches` are (images, targets). Raises ValueError, and moves nothing, if there is a class without images.
        """
        p, own, count = self.prototypes, own_parts(*self.W.weight.shape), 0
        nearest, distances, found = (
            p.clone(),
            torch.full((len(p),), torch.inf),
            torch.zeros(len(p), 5, dtype=torch.int64),
        )
        for images, targets in batches:
            z = self.patches(images)
            boxes, d = region_boxes(z.shape[2:], images.shape[2:]), self._distances(z).cpu()
            d = d.masked_fill(~own[targets.cpu()][..., None], torch.inf)
            for part, closest in enumerate(d.transpose(0, 1).flatten(1).argmin(1).tolist()):
                image, place = divmod(closest, len(boxes))
                if d[image, part, place] < distances[part]:
                    distances[part] = d[image, part, place]
                    nearest[part] = z[image].flatten(1)[:, place]
                    found[part] = torch.tensor([count + image, *boxes[place].tolist()])
            count += len(images)
        if distances.isinf().any():
            missing = (own.float() @ distances).isinf().nonzero().flatten().tolist()
            raise ValueError(f"no training image of classes {missing}: their prototypes have nothing to be moved to")
        p.copy_(nearest)
        return Projection(found[:, 0], found[:, 1:], distances)

    def _distances(self, z: Float[Tensor, "b dim h w"]) -> Float[Tensor, "b P R"]:
        return torch.cdist(self.prototypes, z.flatten(2).mT) ** 2


def similarity(d: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """log((d + 1) / (d + 1e-4)) of squared distances: large where d is near 0, and 0 far away."""
    return ((d + 1) / (d + 1e-4)).log()


@dataclass(frozen=True)
class PrototypeLoss:
    """The weighted sum, `total`, and its terms, not weighted."""

    total: Float[Tensor, ""]
    classification: Float[Tensor, ""]
    cluster: Float[Tensor, ""]
    separation: Float[Tensor, ""]
    sparsity: Float[Tensor, ""]


def prototype_loss(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    *,
    cluster: float | int = 0.8,
    separation: float | int = 0.08,
    sparsity: float | int = 1e-4,
) -> PrototypeLoss:
    """Cross-entropy, plus the distance to the nearest prototype of the own class (cluster), less the distance to the
    nearest of another (separation), plus the absolute votes for other classes (sparsity)."""
    logits, d = model(images, distances=True)
    net: Any = model if isinstance(model, ProtoPNet) else model.module  # behind DistributedDataParallel
    W = net.W.weight
    own = own_parts(*W.shape).to(W.device)
    classification = F.cross_entropy(logits, targets)
    near = d.masked_fill(~own[targets], torch.inf).amin(1).mean()
    far = d.masked_fill(own[targets], torch.inf).amin(1).mean()
    votes = W[~own].abs().sum()
    total = classification + cluster * near - separation * far + sparsity * votes
    return PrototypeLoss(total, classification, near, far, votes)
