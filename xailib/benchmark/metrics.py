"""The metrics of the table, by name. A metric is any function that gives one number per image: see `case`.

All are in percent but complexity, coherency, max_sensitivity, weight_randomization and saliency_metric. Box accuracy
and network dissection are left out: they judge a data set as a whole, and have no number for one image.
"""

import functools
from collections.abc import Callable

from jaxtyping import Float, Int
from torch import Tensor, nn

from xailib import metrics


def insertion(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    maps: Float[Tensor, "b H W"],
    *,
    step: int | None = None,
    blur: str = "rise11",
) -> Float[Tensor, " b"]:
    """The area under `metrics.insertion_curve`, in percent."""
    curves = metrics.insertion_curve(model, images, targets, maps, step=step, blur=blur)
    return 100 * metrics.auc(curves, metrics.replaced_fractions(maps, step))


def deletion(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    maps: Float[Tensor, "b H W"],
    *,
    step: int | None = None,
    substrate: str = "mean",
) -> Float[Tensor, " b"]:
    """The area under `metrics.deletion_curve`, in percent."""
    curves = metrics.deletion_curve(model, images, targets, maps, step=step, substrate=substrate)
    return 100 * metrics.auc(curves, metrics.replaced_fractions(maps, step))


def in_percent(metric: Callable) -> Callable:
    """The same metric, a hundred times as large."""

    @functools.wraps(metric)
    def percent(*args, **options):
        return 100 * metric(*args, **options)

    return percent


@functools.wraps(metrics.weight_randomization)
def last_stage(*args, **options):
    return metrics.weight_randomization(*args, **options)[-1]


METRICS = {
    metric.__name__: metric
    for metric in (
        metrics.average_drop,
        metrics.average_increase,
        metrics.average_gain,
        metrics.coherency,
        metrics.complexity,
        in_percent(metrics.adcc),
        insertion,
        deletion,
        in_percent(metrics.aopc),
        metrics.max_sensitivity,
        last_stage,
        metrics.official_metric,
        metrics.localization_error,
        metrics.pixel_f1,
        metrics.pointing_game,
        metrics.energy_pointing_game,
        metrics.saliency_metric,
    )
}
LESS = {"average_drop", "complexity", "deletion", "max_sensitivity"}
LESS |= {"official_metric", "localization_error", "saliency_metric"}
PERCENT = METRICS.keys() - {"complexity", "coherency", "max_sensitivity", "weight_randomization", "saliency_metric"}


def better(metric: str) -> str:
    """An arrow: down where less is better, up where more is, to the value that is best; none if it is not the course's."""
    if metric == "weight_randomization":
        return "→ 0"
    return "" if metric not in METRICS else "↓" if metric in LESS else "↑"
