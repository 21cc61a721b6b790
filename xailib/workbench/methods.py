"""The methods of the workbench, with settings that answer within seconds on a laptop."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from xailib import explain

MOST = 6  # side by side


class Method(NamedTuple):
    """A method with settings for a laptop; `effort` says where these are fewer than the library's, or many."""

    explain: Callable
    effort: str = ""
    pictures: int | None = None  # that the network sees, where it is known beforehand and worth a progress bar


def _occlusion(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    window = images.shape[-1] // 7
    return explain.occlusion(model, images, targets, window=window, stride=window // 2)


def _extremal(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    size = images.shape[-1]
    options = {"step": max(size // 32, 1), "sigma": size * 21 / 224, "blur": size * 20 / 224}
    return explain.extremal_perturbation(model, images, targets, iterations=100, **options)


def _cam(name: str, **about) -> Method:
    return Method(partial(explain.cam, weights=explain.WEIGHTS[name]), **about)


METHODS = {
    "Grad-CAM": _cam("gradcam"),
    "Grad-CAM++": _cam("gradcam_pp"),
    "XGrad-CAM": _cam("xgradcam"),
    "Layer-CAM": _cam("layercam"),
    "HiRes-CAM": _cam("hirescam"),
    "CAM": _cam("classic_cam"),
    "Score-CAM": _cam("scorecam", effort="a mask per channel"),
    "Ablation-CAM": _cam("ablationcam"),
    "Opti-CAM": Method(partial(explain.opticam, iterations=50), "50 steps", 52),
    "gradient": Method(explain.input_gradient),
    "saliency": Method(explain.saliency),
    "guided backprop": Method(explain.guided_backprop),
    "SmoothGrad": Method(partial(explain.smoothgrad, n=16, chunk=4), "16 copies", 16),
    "integrated gradients": Method(partial(explain.integrated_gradients, steps=24, chunk=4), "24 steps", 24),
    "occlusion": Method(_occlusion, "169 squares", 170),
    "RISE": Method(partial(explain.rise, masks=400, divide_by="seen"), "400 masks", 400),
    "LIME": Method(partial(explain.lime, samples=300), "300 samples", 300),
    "meaningful perturbation": Method(partial(explain.meaningful_perturbation, iterations=100), "100 steps", 100),
    "extremal perturbation": Method(_extremal, "100 steps", 100),
    "rollout": Method(explain.rollout),
    "TIBAV": Method(explain.tibav),
    "edges only": Method(explain.edge_map),
    "Fake-CAM": Method(explain.fakecam),
}
