"""One map out of several layers: the deep ones know the class, the shallow ones know where its edges are."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from xailib import heatmap
from xailib.explain.cam import layercam
from xailib.explain.evidence import collect_layers
from xailib.inputs import explainer
from xailib.network import Layer


@explainer
def layercam_fusion(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    *,
    layers: Sequence[Layer],
    shallow: int | None = None,
    fusion: str = "max",
    gamma: float = 2.0,
) -> Float[Tensor, "b H W"]:
    """The Layer-CAM of several layers in one map, in [0, 1] (Jiang et al., TIP 2021), by one forward and one backward.

    `layers` go from shallow to deep. Each layer's map M is divided by its maximum; the maps of the first `shallow`
    layers (default: all but the last two), faint but for a few peaks, become tanh(gamma M / max M). Resized to the
    image they are fused by their `"max"` at each pixel, or by their `"mean"`.
    Raises ValueError as `cam` does, for no layers, and for bad options.
    """
    if not layers:
        raise ValueError("layers must name at least one layer, found none")
    shallow = max(0, len(layers) - 2) if shallow is None else shallow
    if fusion not in ("max", "mean") or not 0 <= shallow <= len(layers) or not gamma > 0:
        raise ValueError(
            "fusion must be 'max' or 'mean', shallow from 0 to the number of layers, and gamma positive, "
            f"found {fusion=}, {shallow=}, {gamma=}"
        )
    maps = []
    for depth, e in enumerate(collect_layers(model, images, targets, layers=layers)):
        M = heatmap.normalize((layercam(e) * e.A).sum(1).relu(), "max")
        maps.append(heatmap.resize((gamma * M).tanh() if depth < shallow else M, images.shape[2:]))
    stacked = torch.stack(maps)
    return stacked.amax(0) if fusion == "max" else stacked.mean(0)
