"""The benchmark: every method explains every image to every network, and every metric judges the map.

One image at a time, as long as it takes: what has been found is on disk, and the same call continues it. Under
`torchrun` each process takes its share of the images, and the table is the same, bit for bit, if each process has as
many threads as one alone.
"""

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from xailib import course
from xailib.benchmark import table
from xailib.benchmark.case import Case, image_seed
from xailib.benchmark.functions import Functions
from xailib.benchmark.plan import Models, Plan, Settings, logits, planned
from xailib.benchmark.sources import Source, source
from xailib.data import Sample
from xailib.training import parallel

if TYPE_CHECKING:
    from pandas import DataFrame

SMALL = {  # settings that take hundreds of forward passes where the defaults take thousands
    "smoothgrad": {"n": 10},
    "integrated_gradients": {"steps": 20},
    "occlusion": {"stride": 24},
    "rise": {"masks": 200},
    "lime": {"samples": 100},
    "meaningful_perturbation": {"iterations": 50},
    "extremal_perturbation": {"iterations": 60},
    "insertion": {"step": 1792},
    "deletion": {"step": 1792},
    "max_sensitivity": {"samples": 2},
}


def run(
    model: Models = "efficientnet_lite0",
    data: str | Source | torch.utils.data.Dataset = "photos",
    *,
    methods: Functions = "all",
    metrics: Functions = "all",
    settings: Settings = {},  # noqa: B006  (nobody writes into it)
    file: Path | str | None = None,
    layer: str | None = None,
    targets: str = "label",
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> "DataFrame":
    """The table of all values, one row per model, image, method and metric; `summary` and the rest of `report` read it.

    - `model`: names for `models.load`, a network, or networks by name; all in evaluation mode
    - `data`: a kind of `source`, or a data set of `Sample`s
    - `methods`, `metrics`: names of `METHODS` and `METRICS`, `"all"` of them, or your own functions by name (see `case`)
    - `settings`: options of these functions, as in `{"rise": {"masks": 1000}}`, or `SMALL`
    - `file`: a .csv that grows row by row; what it holds already is not computed again
    - `layer`: what class activation maps read (default: `models.default_layer`)
    - `targets`: explain the image's `"label"`, or the `"predicted"` class
    - `device`: of networks given by name (default: the GPU if there is one); others stay where they are

    An image that cannot be read, or where a method or metric has no number, keeps its rows; `problem` says why, and
    `value` is NaN. Raises ValueError for names and options that make no sense, and for a file begun with other ones.
    """
    device = parallel.join(torch.device(device) if device is not None else course.device())
    if file is None and parallel.count() > 1:
        raise ValueError("several processes meet in a file; say which: file=... (--out on the command line)")
    options: dict = {"layer": layer, "targets": targets, "seed": seed, "device": device}
    plan = planned(model, source(data), methods, metrics, settings, **options)
    with tempfile.TemporaryDirectory() as folder:
        return _filled(plan, Path(folder, "table.csv") if file is None else Path(file), progress)


# --- the processes ----------------------------------------------------------------------------------------------------


def _filled(plan: Plan, file: Path, progress: bool) -> "DataFrame":
    """The table, once all processes have done their share."""
    first, metrics, wait = parallel.rank() == 0, len(plan.metrics), _meeting()
    if first:
        table.record(file, plan.options())
        table.gather(file, plan.keys(), metrics)
    wait()
    done = {table.key(group) for group in table.groups(file, metrics)}
    wait()  # nobody writes before all have read
    _work(plan, file if first else file.with_name(f"{file.name}.{parallel.rank()}"), done, progress and first)
    wait()
    if first:
        table.gather(file, plan.keys(), metrics)
    wait()
    return table.read(file)


def _meeting() -> Callable[[], object]:
    """A function that returns once all processes have called it; it waits for weeks, if need be."""
    if parallel.count() == 1:
        return lambda: None
    return partial(dist.barrier, dist.new_group(backend="gloo", timeout=timedelta(weeks=4)))


def _work(plan: Plan, file: Path, done: set[table.Key], progress: bool) -> None:
    """Appends this process's share of what is not done to its file."""
    from tqdm.auto import tqdm

    left: dict[tuple[str, str], list[str]] = {}
    for net, image, method in plan.keys():
        if (net, image, method) not in done:
            left.setdefault((net, image), []).append(method)
    mine = list(left.items())[parallel.rank() :: parallel.count()]
    total = sum(len(methods) for _, methods in mine)
    with tqdm(total=total, desc="maps judged", unit="map", disable=not progress) as bar:
        for (net, image), methods in mine:
            bar.set_postfix_str(image)
            for group in _judged(plan, net, image, methods):
                table.append(file, group)
                bar.update()


# --- one image --------------------------------------------------------------------------------------------------------


def _judged(plan: Plan, net: str, image: str, methods: list[str]) -> Iterator[table.Group]:
    """For each method its rows for one image."""
    try:
        inputs = _inputs(plan, net, plan.source.sample(image))
    except (OSError, ValueError) as error:  # broken: named in the table, and the others go on
        for method in methods:
            yield [[net, image, "", method, metric, "", _said(error)] for metric in plan.metrics]
        return
    for method in methods:
        seed, target = image_seed(plan.seed, image), str(inputs[1].item())
        case = Case(plan.networks[net], *inputs, plan.methods[net][method], layer=plan.layers[net], seed=seed)
        yield [[net, image, target, method, *row] for row in _values(case, plan.metrics)]


def _inputs(plan: Plan, net: str, sample: Sample) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Image, class and boxes, as batches of one on the network's device."""
    said = logits(plan.networks[net], sample.image[None])
    images = sample.image[None].to(said.device)
    if plan.targets == "predicted":
        return images, said.argmax(1), [sample.boxes]
    if not isinstance(sample.label, int):
        raise ValueError("the image has several labels; explain what the network sees, with targets='predicted'")
    return images, torch.tensor([sample.label], device=said.device), [sample.boxes]


def _values(case: Case, metrics: Mapping[str, Callable]) -> Iterator[list[str]]:
    """Metric, value and problem, for each metric."""
    try:
        _ = case.maps
    except ValueError as error:  # no map, nothing to judge
        yield from ([metric, "", _said(error)] for metric in metrics)
        return
    for name, metric in metrics.items():
        try:
            value = case.value(metric)
        except ValueError as error:
            yield [name, "", _said(error)]
        else:
            yield [name, "", "undefined"] if math.isnan(value) else [name, f"{value:.9g}", ""]


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
