"""Every attribution method, one protocol: `(model, images, targets, *, ...) -> maps [b H W]`, raw, at image size."""

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

__all__ = [
    "WEIGHTS",
    "Evidence",
    "cam",
    "classic_cam",
    "collect",
    "collect_layers",
    "combine",
    "gradcam",
    "gradcam_pp",
    "hirescam",
    "layercam",
    "xgradcam",
]
