"""The benchmark: every method explains every image to every network, and every metric judges the map.

One image at a time, as long as it takes: what has been found is on disk, and the same call continues it. Under
`torchrun` each process takes its share of the images, and the table is the same, bit for bit, if each process has as
many threads as one alone.
"""

import hashlib
import inspect
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from functools import cached_property, partial
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn

from xailib import course, network
from xailib.benchmark import table
from xailib.benchmark.case import METHOD_OFFERS, METRIC_OFFERS, PROTOCOL, Case, check_wants, image_seed, wants
from xailib.benchmark.methods import METHODS, methods_of
from xailib.benchmark.metrics import METRICS
from xailib.benchmark.sources import Source, source
from xailib.data import Sample
from xailib.inputs import check_model
from xailib.models import default_layer, load
from xailib.training import parallel

if TYPE_CHECKING:
    from pandas import DataFrame

SMALL = {
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
Models = str | nn.Module | Sequence[str] | Mapping[str, nn.Module]
Functions = str | Sequence[str] | Mapping[str, Callable]


def run(
    model: Models = "efficientnet_lite0",
    data: str | Source | torch.utils.data.Dataset = "photos",
    *,
    methods: Functions = "all",
    metrics: Functions = "all",
    settings: Mapping[str, Mapping[str, object]] | None = None,
    small: bool = False,
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
    - `settings`: options of these functions, as in `{"rise": {"masks": 1000}}`
    - `small`: take `SMALL` settings, but for these, where the defaults take thousands of forward passes
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
    plan = Plan(_networks(model, device), source(data), methods, metrics, settings or {}, small, layer, targets, seed)
    plan.check()
    with tempfile.TemporaryDirectory() as folder:
        return _filled(plan, Path(folder, "table.csv") if file is None else Path(file), progress)


@dataclass(frozen=True)
class Plan:
    """What is to be measured."""

    networks: dict[str, nn.Module]
    source: Source
    asked_methods: Functions
    asked_metrics: Functions
    settings: Mapping[str, Mapping[str, object]]
    small: bool
    layer: str | None
    targets: str
    seed: int

    @cached_property
    def methods(self) -> dict[str, dict[str, Callable]]:
        """Of each network."""
        return {
            name: self._set(_functions("method", self.asked_methods, METHODS, methods_of(net)))
            for name, net in self.networks.items()
        }

    @cached_property
    def metrics(self) -> dict[str, Callable]:
        return self._set(_functions("metric", self.asked_metrics, METRICS, METRICS))

    def _set(self, functions: dict[str, Callable]) -> dict[str, Callable]:
        """The functions, with their options filled in."""
        settings = {**(SMALL if self.small else {}), **self.settings}
        return {name: _with(name, function, settings.get(name, {})) for name, function in functions.items()}

    @cached_property
    def layers(self) -> dict[str, str | None]:
        """Of each network, if any of its methods needs one."""
        return {
            name: (self.layer or default_layer(net))
            if any("layer" in wants(method, METHOD_OFFERS) for method in self.methods[name].values())
            else None
            for name, net in self.networks.items()
        }

    def keys(self) -> Iterator[table.Key]:
        return (
            (net, image, method) for net in self.networks for image in self.source.names for method in self.methods[net]
        )

    def check(self) -> None:
        """Raises ValueError for what can be known to be wrong before anything runs."""
        if self.targets not in ("label", "predicted"):
            raise ValueError(f"targets must be 'label' or 'predicted', found {self.targets!r}")
        if not self.source.names or len(set(self.source.names)) < len(self.source.names):
            raise ValueError(
                f"the {len(self.source.names)} images of {self.source.title} need one name each, all different"
            )
        unused = self.settings.keys() - {
            *self.metrics,
            *(name for methods in self.methods.values() for name in methods),
        }
        if unused:
            raise ValueError(f"settings for {sorted(unused)[0]!r}, which is not in the table")
        for name, net in self.networks.items():
            check_model(net)
            if self.layers[name] is not None:
                network.find_layer(net, self.layers[name])
            for one, method in self.methods[name].items():
                check_wants(f"method {one!r}", method, (*PROTOCOL, *METHOD_OFFERS))
        for one, metric in self.metrics.items():
            check_wants(f"metric {one!r}", metric, METRIC_OFFERS)
        if self.targets == "label" and self.source.classes is not None:
            self._check_classes(self.source.classes)

    def _check_classes(self, classes: int) -> None:
        sample = next((one for one in map(_read, repeat(self.source), range(len(self.source.names))) if one), None)
        for name, net in self.networks.items() if sample else ():
            found = _logits(net, sample.image[None]).shape[1]
            if found != classes:
                raise ValueError(
                    f"the labels of {self.source.title} count {classes} classes, {name} knows {found}: they do not mean "
                    "the same; explain what the network sees, with targets='predicted' (--targets predicted)"
                )

    def options(self) -> dict[str, object]:
        """All that the numbers depend on, in JSON's types."""
        models = {n: {"weights": _fingerprint(net), "layer": self.layers[n]} for n, net in self.networks.items()}
        methods = {f"{net}: {n}": _described(m) for net, ms in self.methods.items() for n, m in ms.items()}
        metrics = {name: _described(metric) for name, metric in self.metrics.items()}
        return {"models": models, **self.source.facts(), "methods": methods, "metrics": metrics} | {
            "targets": self.targets,
            "seed": self.seed,
        }


# --- what is asked for ------------------------------------------------------------------------------------------------


def _networks(model: Models, device: torch.device) -> dict[str, nn.Module]:
    if isinstance(model, nn.Module):
        return {network.uncompiled(model)._get_name(): model}
    if isinstance(model, Mapping):
        return dict(model)
    return {name: load(name).to(device) for name in ([model] if isinstance(model, str) else model)}


def _functions(
    kind: str, asked: Functions, known: Mapping[str, Callable], every: Mapping[str, Callable]
) -> dict[str, Callable]:
    """Functions by name; `"all"` is `every` one."""
    if isinstance(asked, Mapping):
        return dict(asked)
    if asked == "all" or list(asked) == ["all"]:
        return dict(every)
    names = [asked] if isinstance(asked, str) else list(asked)
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(f"no {kind} {name!r}; {hint}known are all, {', '.join(known)}")
    return {name: known[name] for name in names}


def _with(name: str, function: Callable, options: Mapping[str, object]) -> Callable:
    """The function, with these options filled in."""
    parameters = inspect.signature(function).parameters
    unknown = [option for option in options if option not in parameters]
    if unknown and not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        raise ValueError(f"{name} has no option {unknown[0]!r}; it has {', '.join(parameters)}")
    return partial(function, **options) if options else function


def _described(part: object) -> str:
    """A function by its name and what has been filled in, for the record."""
    if isinstance(part, partial):
        filled = [*map(_described, part.args), *(f"{k}={_described(v)}" for k, v in part.keywords.items())]
        return f"{_described(part.func)}({', '.join(filled)})"
    return getattr(part, "__qualname__", None) or repr(part)


def _fingerprint(net: nn.Module) -> str:
    """Tells networks apart by their weights."""
    digest = hashlib.sha256()
    for name, tensor in net.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


# --- the work ---------------------------------------------------------------------------------------------------------


def _filled(plan: Plan, file: Path, progress: bool) -> "DataFrame":
    """The table, once all processes have done their share."""
    from pandas import read_csv

    first, wait = parallel.rank() == 0, _meeting()
    if first:
        table.record(file, plan.options())
        table.gather(file, plan.keys(), len(plan.metrics))
    wait()
    done = {table.key(group) for group in table.groups(file, len(plan.metrics))}
    wait()  # nobody writes before all have read
    _work(plan, file if first else file.with_name(f"{file.name}.{parallel.rank()}"), done, progress and first)
    wait()
    if first:
        table.gather(file, plan.keys(), len(plan.metrics))
    wait()
    return read_csv(file, keep_default_na=False, na_values={"value": [""], "target": [""]}, dtype={"image": str})


def _meeting() -> Callable[[], None]:
    """A function that returns once all processes have called it; it waits for days, if need be."""
    if parallel.count() == 1:
        return lambda: None
    return partial(dist.barrier, dist.new_group(backend="gloo", timeout=timedelta(weeks=4)))


def _work(plan: Plan, file: Path, done: set[table.Key], progress: bool) -> None:
    """Appends this process's share of what is not done to its file."""
    from tqdm.auto import tqdm

    numbers = {image: number for number, image in enumerate(plan.source.names)}
    left: dict[tuple[str, str], list[str]] = {}
    for net, image, method in plan.keys():
        if (net, image, method) not in done:
            left.setdefault((net, image), []).append(method)
    mine = list(left.items())[parallel.rank() :: parallel.count()]
    total = sum(len(methods) for _, methods in mine)
    with tqdm(total=total, desc="maps judged", unit="map", disable=not progress) as bar:
        for (net, image), methods in mine:
            for method, rows in _judged(plan, net, numbers[image], methods):
                bar.set_postfix_str(f"{image}, {method}")
                table.append(file, [[net, image, *row] for row in rows])
                bar.update()


def _judged(plan: Plan, net: str, number: int, methods: list[str]) -> Iterator[tuple[str, list[list[str]]]]:
    """For each method its rows for one image: target, method, metric, value, problem."""
    model, image = plan.networks[net], plan.source.names[number]
    try:
        inputs = _inputs(plan, model, plan.source.load(number))
    except (OSError, ValueError) as error:  # broken: named in the table, and the others go on
        for method in methods:
            yield method, [["", method, metric, "", _said(error)] for metric in plan.metrics]
        return
    for method in methods:
        seed = image_seed(plan.seed, image)
        case = Case(model, *inputs, plan.methods[net][method], layer=plan.layers[net], seed=seed)
        yield method, [[str(inputs[1].item()), method, *row] for row in _values(case, plan.metrics)]


def _inputs(plan: Plan, model: nn.Module, sample: Sample) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Image, class and boxes, as batches of one on the network's device."""
    images = sample.image[None].to(_device(model))
    if plan.targets == "predicted":
        return images, _logits(model, images).argmax(1), [sample.boxes]
    if not isinstance(sample.label, int):
        raise ValueError("the image has several labels; explain what the network sees, with targets='predicted'")
    return images, torch.tensor([sample.label], device=images.device), [sample.boxes]


def _read(source: Source, number: int) -> Sample | None:
    try:
        return source.load(number)
    except (OSError, ValueError):
        return None


@torch.no_grad()
def _logits(model: nn.Module, images: Tensor) -> Tensor:
    return model(images.to(_device(model)))


def _device(model: nn.Module) -> torch.device:
    return next((one.device for one in chain(model.parameters(), model.buffers())), torch.device("cpu"))


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
