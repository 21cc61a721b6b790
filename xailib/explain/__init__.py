"""Every attribution method, one protocol: `(model, images, targets, *, ...) -> maps [b H W]`, raw, at image size."""

from xailib.explain.attention import raw_attention, rollout, tibav
from xailib.explain.cam import (
    WEIGHTS,
    Evidence,
    cam,
    classic_cam,
    collect,
    collect_layers,
    combine,
    gradcam,
    gradcam_pp,
    hirescam,
    layercam,
    xgradcam,
)
from xailib.explain.gradients import (
    completeness_error,
    gradient,
    guided_backprop,
    input_gradient,
    integrated_gradients,
    saliency,
    smoothgrad,
)

__all__ = [
    "WEIGHTS",
    "Evidence",
    "cam",
    "classic_cam",
    "collect",
    "collect_layers",
    "combine",
    "completeness_error",
    "gradcam",
    "gradcam_pp",
    "gradient",
    "guided_backprop",
    "hirescam",
    "input_gradient",
    "integrated_gradients",
    "layercam",
    "raw_attention",
    "rollout",
    "saliency",
    "smoothgrad",
    "tibav",
    "xgradcam",
]
