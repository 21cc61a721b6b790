"""Every attribution method, one protocol: `(model, images, targets, *, ...) -> maps [b H W]`, raw, at image size."""

from xailib.explain.attention import raw_attention, rollout, tibav
from xailib.explain.baselines import centre_map, edge_map, random_map
from xailib.explain.cam import (
    WEIGHTS,
    cam,
    classic_cam,
    combine,
    fakecam,
    gradcam,
    gradcam_pp,
    hirescam,
    layercam,
    xgradcam,
)
from xailib.explain.evidence import Evidence, collect, collect_layers
from xailib.explain.fusion import layercam_fusion
from xailib.explain.gradients import (
    completeness_error,
    gradient,
    guided_backprop,
    input_gradient,
    integrated_gradients,
    saliency,
    smoothgrad,
)
from xailib.explain.lime import lime
from xailib.explain.masked_cam import ablationcam, scorecam
from xailib.explain.opticam import Trace, opticam, opticam_trace
from xailib.explain.optimised_masks import extremal_perturbation, meaningful_perturbation
from xailib.explain.perturbation import occlusion, rise

__all__ = [
    "WEIGHTS",
    "Evidence",
    "Trace",
    "ablationcam",
    "cam",
    "centre_map",
    "classic_cam",
    "collect",
    "collect_layers",
    "combine",
    "completeness_error",
    "edge_map",
    "extremal_perturbation",
    "fakecam",
    "gradcam",
    "gradcam_pp",
    "gradient",
    "guided_backprop",
    "hirescam",
    "input_gradient",
    "integrated_gradients",
    "layercam",
    "layercam_fusion",
    "lime",
    "meaningful_perturbation",
    "occlusion",
    "opticam",
    "opticam_trace",
    "random_map",
    "raw_attention",
    "rise",
    "rollout",
    "saliency",
    "scorecam",
    "smoothgrad",
    "tibav",
    "xgradcam",
]
