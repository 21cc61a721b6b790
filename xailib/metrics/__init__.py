"""Every metric: finished maps in, one number per image out. What a metric makes of maps says its module."""

from xailib.metrics.box_study import box_study
from xailib.metrics.boxes import box_iou, box_masks, legacy_boxes, predicted_box
from xailib.metrics.causal import auc, blurred, deletion_curve, insertion_curve, replaced_fractions, replacement_curve
from xailib.metrics.dissection import network_dissection
from xailib.metrics.faithfulness import (
    adcc,
    average_drop,
    average_gain,
    average_increase,
    coherency,
    complexity,
    correlation,
    masked_images,
    masked_logits,
    masked_probabilities,
)
from xailib.metrics.intervals import bootstrap_interval
from xailib.metrics.localization import (
    best_accuracy,
    box_accuracy,
    box_hits,
    localization_error,
    official_metric,
    saliency_metric,
)
from xailib.metrics.pointing import energy_pointing_game, pixel_f1, pointing_game
from xailib.metrics.robustness import aopc, area_over, max_sensitivity, perturbation_curve
from xailib.metrics.sanity import average_ranks, weight_randomization
from xailib.metrics.temperature import confidence, matched_temperature

__all__ = [
    "adcc",
    "aopc",
    "area_over",
    "auc",
    "average_drop",
    "average_gain",
    "average_increase",
    "average_ranks",
    "best_accuracy",
    "blurred",
    "bootstrap_interval",
    "box_accuracy",
    "box_hits",
    "box_iou",
    "box_masks",
    "box_study",
    "coherency",
    "complexity",
    "confidence",
    "correlation",
    "deletion_curve",
    "energy_pointing_game",
    "insertion_curve",
    "legacy_boxes",
    "localization_error",
    "masked_images",
    "masked_logits",
    "masked_probabilities",
    "matched_temperature",
    "max_sensitivity",
    "network_dissection",
    "official_metric",
    "perturbation_curve",
    "pixel_f1",
    "pointing_game",
    "predicted_box",
    "replaced_fractions",
    "replacement_curve",
    "saliency_metric",
    "weight_randomization",
]
