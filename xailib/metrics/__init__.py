"""Every metric: finished maps in, one number per image out. What a metric makes of maps says its module."""

from xailib.metrics.causal import auc, blurred, deletion_curve, insertion_curve, replaced_fractions, replacement_curve
from xailib.metrics.faithfulness import (
    adcc,
    average_drop,
    average_gain,
    average_increase,
    coherency,
    complexity,
    confidence,
    correlation,
    masked_images,
    masked_logits,
    masked_probabilities,
    matched_temperature,
)
from xailib.metrics.intervals import bootstrap_interval
from xailib.metrics.robustness import aopc, area_over, max_sensitivity, perturbation_curve
from xailib.metrics.sanity import weight_randomization

__all__ = [
    "adcc",
    "aopc",
    "area_over",
    "auc",
    "average_drop",
    "average_gain",
    "average_increase",
    "blurred",
    "bootstrap_interval",
    "coherency",
    "complexity",
    "confidence",
    "correlation",
    "deletion_curve",
    "insertion_curve",
    "masked_images",
    "masked_logits",
    "masked_probabilities",
    "matched_temperature",
    "max_sensitivity",
    "perturbation_curve",
    "replaced_fractions",
    "replacement_curve",
    "weight_randomization",
]
