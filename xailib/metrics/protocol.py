"""What every metric that asks the network refuses."""

import functools
from collections.abc import Callable

from xailib.inputs import check_inputs, check_maps


def judged(metric: Callable) -> Callable:
    """The same metric of (model, images, targets, maps, ...), with all four checked before anything runs.

    Raises ValueError for bad input (see `check_inputs`), and for maps that are not finite or not as large as the images.
    A compiled model stays compiled: no metric looks inside it.
    """

    @functools.wraps(metric)
    def judge(model, images, targets, maps, **options):
        check_inputs(model, images, targets)
        check_maps(maps, images)
        return metric(model, images, targets, maps, **options)

    return judge
