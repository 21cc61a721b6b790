"""The metrics of the table, by name. A metric is any function that gives one number per image: see `case`.

All are in percent but complexity, coherency, max_sensitivity, weight_randomization and saliency_metric. Box accuracy
and network dissection are left out: they judge a data set as a whole, and have no number for one image.
"""

from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from xailib import metrics


def adcc(p: Tensor, o: Tensor, coherency: Tensor, complexity: Tensor, **options) -> Float[Tensor, " b"]:
    """`metrics.adcc`, in percent."""
    return 100 * metrics.adcc(p, o, coherency, complexity, **options)


def insertion(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    maps: Float[Tensor, "b H W"],
    *,
    step: int | None = None,
    **options,
) -> Float[Tensor, " b"]:
    """The area under `metrics.insertion_curve`, in percent."""
    curves = metrics.insertion_curve(model, images, targets, maps, step=step, **options)
    return 100 * metrics.auc(curves, metrics.replaced_fractions(maps, step))


def deletion(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    maps: Float[Tensor, "b H W"],
    *,
    step: int | None = None,
    **options,
) -> Float[Tensor, " b"]:
    """The area under `metrics.deletion_curve`, in percent."""
    curves = metrics.deletion_curve(model, images, targets, maps, step=step, **options)
    return 100 * metrics.auc(curves, metrics.replaced_fractions(maps, step))


def aopc(model: nn.Module, images: Tensor, targets: Tensor, maps: Tensor, **options) -> Float[Tensor, " b"]:
    """`metrics.aopc`, in percent."""
    return 100 * metrics.aopc(model, images, targets, maps, **options)


def weight_randomization(
    model: nn.Module, images: Tensor, targets: Tensor, explain, *, generator: Generator | None = None, **options
) -> Float[Tensor, " b"]:
    """The last stage of `metrics.weight_randomization`."""
    return metrics.weight_randomization(model, images, targets, explain, generator=generator, **options)[-1]


METRICS = {
    metric.__name__: metric
    for metric in (
        metrics.average_drop,
        metrics.average_increase,
        metrics.average_gain,
        metrics.coherency,
        metrics.complexity,
        adcc,
        insertion,
        deletion,
        aopc,
        metrics.max_sensitivity,
        weight_randomization,
        metrics.official_metric,
        metrics.localization_error,
        metrics.pixel_f1,
        metrics.pointing_game,
        metrics.energy_pointing_game,
        metrics.saliency_metric,
    )
}
LESS = {"average_drop", "complexity", "deletion", "max_sensitivity", "weight_randomization"}
LESS |= {"official_metric", "localization_error", "saliency_metric"}
PERCENT = METRICS.keys() - {"complexity", "coherency", "max_sensitivity", "weight_randomization", "saliency_metric"}


def better(metric: str) -> str:
    """An arrow: down where less is better, up where more is, nothing for a metric that is not the course's."""
    return "" if metric not in METRICS else "↓" if metric in LESS else "↑"
