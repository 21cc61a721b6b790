"""Channel weights from the network's answers alone, without a gradient: Score-CAM and Ablation-CAM.

Score-CAM asks what the network says of the image seen through a channel, Ablation-CAM what it says without the channel.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from xailib.explain.evidence import Evidence
from xailib.explain.perturbation import chunk_size


def scorecam(
    e: Evidence,
    *,
    score_cam: str = "logit_softmax",
    order: str = "up_then_norm",
    chunk: int | None = None,
) -> Float[Tensor, "b k 1 1"]:
    """w = softmax_k y_c(x * n(up(A_k))), the logits of the image seen through each channel (Score-CAM; Wang et al.,
    CVPR workshops 2020; thesis, eq. 1.6).

    `score_cam="prob_nosoftmax"` takes the class probabilities as they are (the authors' code). The paper's baseline
    image is left out: its score is the same for all k, and the softmax drops it. A constant channel masks everything.
    `order` and `chunk` as in `Evidence.masked_logits`. Raises ValueError for another `score_cam` or `order` and for a
    chunk below 1.
    """
    if score_cam not in ("logit_softmax", "prob_nosoftmax"):
        raise ValueError(f"score_cam must be 'logit_softmax' or 'prob_nosoftmax', found {score_cam!r}")
    logits = e.masked_logits(e.A, order=order, chunk=chunk)
    seen = logits.softmax(2) if score_cam == "prob_nosoftmax" else logits
    scores = seen.take_along_dim(e.targets[:, None, None], 2)
    return (scores if score_cam == "prob_nosoftmax" else scores.softmax(1))[..., None]


def ablationcam(e: Evidence, *, ablation_norm: str = "abs", chunk: int = 64) -> Float[Tensor, "b k 1 1"]:
    """w_k = (y_c - y_c without channel k) / |y_c|, and not divided where y_c = 0 (Ablation-CAM; Desai and Ramaswamy,
    WACV 2020; thesis, eq. 1.9).

    The paper divides by y_c itself (`ablation_norm="signed"`), which turns the map upside down for a negative logit;
    `"none"` does not divide. Only the part of the network above the layer runs, on `chunk` copies of the activations
    at a time. Raises ValueError for another `ablation_norm` and a chunk below 1.
    """
    divisors = {"abs": e.scores.detach().abs(), "signed": e.scores.detach(), "none": torch.ones_like(e.scores)}
    if ablation_norm not in divisors:
        raise ValueError(f"ablation_norm must be one of {', '.join(divisors)}, found {ablation_norm!r}")
    y, divisor, chunk = e.scores.detach(), divisors[ablation_norm], chunk_size(chunk, e.images)
    drops = y[:, None] - torch.stack([_ablated_scores(e, image, chunk) for image in range(len(y))])
    return (drops / divisor.where(divisor != 0, 1)[:, None])[..., None, None]


def _ablated_scores(e: Evidence, image: int, chunk: int) -> Float[Tensor, " k"]:
    """The score of one image without each channel in turn.

    The copies of A are made once: a channel is set to zero in each and put back, so that they stay in the cache.
    """
    scores, A = e.above(image), e.A[image]
    copies = A.repeat(min(chunk, len(A)), 1, 1, 1)
    parts = []
    for channels in torch.arange(len(A), device=A.device).split(chunk):
        rows = torch.arange(len(channels), device=A.device)
        copies[rows, channels] = 0
        parts.append(scores(copies[: len(channels)]))
        copies[rows, channels] = A[channels]
    return torch.cat(parts)
