"""Class activation maps: one engine, many weights.

Every method of the family is the same sum over the channels k of a layer's activations A,

    S = h( sum_k  w_k * A_k ),        h = ReLU  (identity for the original CAM),

and differs in the weights w alone. So the engine below is that sum, and a method is a function from `Evidence` to its
weights: `[b k 1 1]`, one number per channel, or `[b k h w]`, one per channel and place. A new CAM is one lambda:

    maps = cam(model, images, targets, layer="layer4", weights=lambda e: e.G.amax((2, 3), keepdim=True))

A is the layer's output and G = dy_c/dA the gradient of the target's logit y_c (not of the loss or the probability).
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from xailib import heatmap, network
from xailib.explain.evidence import Evidence, collect
from xailib.explain.masked_cam import ablationcam, scorecam
from xailib.inputs import explainer
from xailib.network import Layer

Weights = Callable[[Evidence], Tensor]


# --- the engine -------------------------------------------------------------------------------------------------------


@explainer
def cam(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    *,
    layer: Layer,
    weights: Weights,
    relu: bool | None = None,
    grid: tuple[int, int] | None = None,
) -> Float[Tensor, "b H W"]:
    """The class activation map of each image: h(sum_k w_k A_k) at `layer`, resized to the image, not normalised.

    `weights` is a function of `WEIGHTS` or your own. `relu` says whether h is the ReLU (default: yes, but not for
    `classic_cam`). `grid` (h, w) says where the tokens of a transformer lie if the model does not tell.
    Raises ValueError for bad input, for a layer that is unknown, unused, or used twice, and for weights of wrong shape.
    """
    return combine(collect(model, images, targets, layer=layer, grid=grid), weights, relu=relu)


def combine(evidence: Evidence, weights: Weights, *, relu: bool | None = None) -> Float[Tensor, "b H W"]:
    """The map h(sum_k w_k A_k), resized to the image. Raises ValueError if the weights do not fit the activations."""
    if not callable(weights):
        raise ValueError(f"weights must be a function, such as WEIGHTS['gradcam'], found {weights!r}")
    w, A = weights(evidence), evidence.A
    if not isinstance(w, Tensor) or w.shape not in (A.shape, (*A.shape[:2], 1, 1)):
        found = tuple(w.shape) if isinstance(w, Tensor) else type(w).__name__
        raise ValueError(f"weights must be [b k 1 1] or [b k h w] for activations {tuple(A.shape)}, found {found}")
    maps = (w * A).sum(1)
    if relu if relu is not None else weights is not classic_cam:
        maps = maps.relu()
    return heatmap.resize(maps, evidence.images.shape[2:])


# --- the weights ------------------------------------------------------------------------------------------------------


def classic_cam(e: Evidence) -> Float[Tensor, "b k 1 1"]:
    """w_k = W_ck, the linear head's weights (CAM; Zhou et al., CVPR 2016; thesis, eq. 1.2). The bias is left out.

    Raises ValueError unless the network is global average pooling and one linear layer above this layer.
    """
    return network.linear_head(e.model, e.grid.maps(e.output.detach()), e.logits)[e.targets][..., None, None]


def gradcam(e: Evidence) -> Float[Tensor, "b k 1 1"]:
    """w_k = (1/hw) sum_ij G_k,ij (Grad-CAM; Selvaraju et al., ICCV 2017; thesis, eq. 1.4)."""
    return e.G.mean((2, 3), keepdim=True)


def hirescam(e: Evidence) -> Float[Tensor, "b k h w"]:
    """w = G, place by place (HiRes-CAM; Draelos and Carin, 2020)."""
    return e.G


def layercam(e: Evidence) -> Float[Tensor, "b k h w"]:
    """w = ReLU(G), place by place (Layer-CAM; Jiang et al., TIP 2021)."""
    return e.G.relu()


def xgradcam(e: Evidence) -> Float[Tensor, "b k 1 1"]:
    """w_k = sum_ij A_k,ij G_k,ij / sum_ij A_k,ij, and 0 for a channel that sums to 0 (XGrad-CAM, also Axiom-CAM;
    Fu et al., BMVC 2020; thesis, eq. 1.8)."""
    total = e.A.sum((2, 3), keepdim=True)
    return ((e.A * e.G).sum((2, 3), keepdim=True) / total).where(total != 0, 0)


def gradcam_pp(e: Evidence) -> Float[Tensor, "b k 1 1"]:
    """w_k = sum_ij alpha_k,ij ReLU(G_k,ij), alpha = G^2 / (2 G^2 + sum_ab A_k,ab G^3), and 0 where that is undefined
    (Grad-CAM++; Chattopadhay et al., WACV 2018, eq. 19; thesis, eq. 1.5)."""
    denominator = 2 + e.A.sum((2, 3), keepdim=True) * e.G  # G^2 cancelled: it would underflow for small gradients
    alpha = (1 / denominator).where((denominator != 0) & (e.G != 0), 0)
    return (alpha * e.G.relu()).sum((2, 3), keepdim=True)


WEIGHTS = {
    "classic_cam": classic_cam,
    "gradcam": gradcam,
    "gradcam_pp": gradcam_pp,
    "xgradcam": xgradcam,
    "layercam": layercam,
    "hirescam": hirescam,
    "scorecam": scorecam,
    "ablationcam": ablationcam,
}


# --- the control ------------------------------------------------------------------------------------------------------


@explainer
def fakecam(model: nn.Module, images: Float[Tensor, "b c H W"], targets: Int[Tensor, " b"]) -> Float[Tensor, "b H W"]:
    """1 everywhere but 0 at the first pixel: a map that explains nothing, and that good metrics must see through
    (Fake-CAM; Poppi et al., CVPR workshops 2021). The network is not asked."""
    maps = torch.ones_like(images[:, 0], dtype=torch.promote_types(images.dtype, torch.float32))
    maps[:, 0, 0] = 0
    return maps.detach()
