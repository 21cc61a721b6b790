"""What an entry costs, as a ratio to forward passes that take turns with it in the same process.

Each entry runs in a process of its own: what it is measured by runs and then the entry, over and over, and its cost is
the median of the ratios, so that a machine's speed, and most of what else it does, cancel out. It has one thread: a
batch gains by a second one where a single image does not, and the ratios would tell how many cores there are. Peak
memory is how far the process's largest resident set grew beyond what those forward passes had needed.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import nn

from xailib import heatmap, models, network
from xailib.course import save_results
from xailib.data import photos

MODELS = {"efficientnet_lite0": "bn2", "resnet50": "layer4"}  # the last stage
PHOTOGRAPHS = ["chelsea", "coffee", "motorcycle", "rocket", "clock", "flower"]
IMPORTS = {
    "xailib": "xailib.explain",
    "grad-cam": "pytorch_grad_cam",
    "torchcam": "torchcam.methods",
    "captum": "captum.attr",
    "quantus": "quantus",
}


@dataclass(frozen=True)
class Case:
    """What an entry gets: a network, one of its layers, images and their classes."""

    model: nn.Module
    layer: str
    images: torch.Tensor
    targets: torch.Tensor

    @property
    def module(self) -> nn.Module:
        return network.find_layer(self.model, self.layer)


def one_forward(case: Case) -> None:
    case.model(case.images[:1])


@dataclass(frozen=True)
class Entry:
    """A function of the case that returns maps, and how it is measured.

    `unit` is what runs beside it, without gradients, `units` times before each of the `repeats`; `limit` is how many of
    these the entry may cost, `same` the entry whose maps its own are compared with, `score` what else is said of maps.
    """

    run: Callable[[Case], torch.Tensor]
    package: str = "xailib"
    repeats: int = 25
    images: int = 1
    limit: float | None = None
    unit: Callable[[Case], None] = one_forward
    units: int = 1
    same: str | None = None
    score: Callable[[Case, torch.Tensor], dict] | None = None


# --- one entry, in its own process ------------------------------------------------------------------------------------


def measure(entry: Entry, model_name: str, file: Path) -> dict:
    """Cost and memory of one entry, and its score; its maps go to `file`."""
    case = _case(model_name, entry.images)
    unit = [_unit_seconds(entry, case) for _ in range(5)][2:]  # the first ones warm up
    import_module(IMPORTS[entry.package])  # a library's import is not part of its method's cost
    before = _peak_mib()
    ratios, seconds = [], []
    for _ in range(entry.repeats):
        beside = [_unit_seconds(entry, case) for _ in range(entry.units)]
        took, maps = _seconds(lambda: entry.run(case))
        seconds.append(took / entry.images)
        ratios.append(seconds[-1] / statistics.median(beside))
        unit += beside
    grown = _peak_mib() - before
    torch.save(heatmap.normalize(maps.detach().float()), file)
    found = {"forwards": statistics.median(ratios), "seconds": statistics.median(seconds)}
    found |= {"forward_seconds": statistics.median(unit), "peak_mib": grown}
    return found | (entry.score(case, heatmap.normalize(maps)) if entry.score else {})


def _case(model_name: str, count: int) -> Case:
    pretrained = model_name == models.zoo.OFFLINE  # the other networks' weights would have to be downloaded
    torch.manual_seed(0)
    model = models.load(model_name, pretrained=pretrained)
    images, targets, _ = photos.batch(PHOTOGRAPHS[:count])
    return Case(model, MODELS[model_name], images, targets)


@torch.no_grad()
def _unit_seconds(entry: Entry, case: Case) -> float:
    return _seconds(lambda: entry.unit(case))[0]


def _seconds(run: Callable) -> tuple[float, object]:
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def _peak_mib() -> float:
    """The largest resident set of this process so far; Linux counts it in KiB, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


# --- all entries ------------------------------------------------------------------------------------------------------


def row(entry: Entry, model_name: str, name: str, folder: Path) -> dict:
    """One line of the table, from a process of its own."""
    line = {"model": model_name, "entry": name, "version": _version(entry.package), "limit": entry.limit}
    if line["version"] is None:
        return line | {"note": f"{entry.package} is not installed"}
    command = [sys.executable, sys.argv[0], "--entry", name, "--model", model_name, "--folder", str(folder)]
    setting = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=setting)
    if ran.returncode:
        return line | {"note": f"failed with exit status {ran.returncode}"}
    line |= json.loads(ran.stdout.splitlines()[-1])
    if entry.limit:
        line["note"] = "holds" if line["forwards"] <= entry.limit else "too slow"
    return line | ({"correlation": _correlation(model_name, name, entry.same, folder)} if entry.same else {})


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _correlation(model_name: str, name: str, same: str, folder: Path) -> float:
    """Of the maps of two entries, by pixel; the least of the images."""
    maps = [torch.load(_file(folder, model_name, one), weights_only=True).flatten(1) for one in (name, same)]
    return min(torch.corrcoef(torch.stack(pair))[0, 1].item() for pair in zip(*maps, strict=True))


def _file(folder: Path, model_name: str, name: str) -> Path:
    return folder / f"{model_name}-{name}.pt"


def main(entries: Mapping[str, Entry], description: str, result: str, **context) -> None:
    """Measures all entries on all networks as the command line says, and saves the table to results/."""
    import pandas as pd

    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--quick", action="store_true", help="leave out what takes hundreds of forward passes")
    parser.add_argument("--name", default=result, help="of the files in results/")
    parser.add_argument("--entry", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.entry:
        file = _file(given.folder, given.model[0], given.entry)
        print(json.dumps(measure(entries[given.entry], given.model[0], file)))
        return
    chosen = {name: entry for name, entry in entries.items() if entry.repeats > 1 or not given.quick}
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for model_name in given.model:
            for name, entry in chosen.items():
                lines.append(row(entry, model_name, name, Path(folder)))
                print(pd.DataFrame(lines[-1:]).drop(columns="model").to_string(header=False, index=False), flush=True)
    table = pd.DataFrame(lines)
    print(table.round(3).to_string(index=False, na_rep=""))
    facts = {"random weights": ["resnet50"], "threads": 1, "load": os.getloadavg()}
    print(save_results(given.name, table.round(4), seed=0, **context, **facts))
