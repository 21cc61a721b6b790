"""`python -m xailib benchmark`: the benchmark on the command line.

    python -m xailib benchmark --data photos --methods gradcam,opticam --metrics average_drop --out mine.csv
    python -m xailib benchmark --data photos --small --out results/benchmark_photos.csv
    python -m torch.distributed.run --nproc-per-node 4 -m xailib benchmark --data imagenet --root ILSVRC --out mine.csv

The second judges all methods that suit the network by all metrics, as in results/; three processes took 53 minutes
on two CPU cores that had other work to do. The third shares the images between four processes.

Beside the table it leaves its record (.json), the summary for reading (.md) and for papers (.tex), and a figure (.png).
Killed at any moment, the same command continues it; when the table is whole, it only writes the summary again.
"""

import argparse
import json
from pathlib import Path

from xailib.benchmark import report
from xailib.benchmark.methods import METHODS
from xailib.benchmark.metrics import METRICS
from xailib.benchmark.plan import Settings
from xailib.benchmark.run import SMALL, run
from xailib.benchmark.sources import KINDS, source
from xailib.training import parallel


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        table = run(**_options(given))
        if parallel.rank() == 0:
            report.write(table, given.out)
            print(report.markdown(table))
    except (ValueError, FileNotFoundError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m xailib benchmark",
        description="Methods x metrics x networks over a data set, as one table. Killed, the same command continues it.",
    )
    add = parser.add_argument
    add("--model", default="efficientnet_lite0", help="names for models.load, with commas between them")
    add("--data", choices=KINDS, default="photos")
    add("--root", type=Path, help="the folder of imagenet (above ILSVRC/), or of a folder of images per class")
    add("--images", type=int, help="only so many images, from the first; how many planted scenes (100)")
    add("--size", type=int, default=224, help="images become squares of so many pixels (224)")
    add("--cue", default="shape", help="what tells the class of planted scenes (shape)")
    add("--methods", default="all", help=f"all, or some of {', '.join(METHODS)}")
    add("--metrics", default="all", help=f"all, or some of {', '.join(METRICS)}")
    add(
        "--set", action="append", default=[], metavar="NAME.OPTION=VALUE", help="as in rise.masks=1000; can be repeated"
    )
    add(
        "--small",
        action="store_true",
        help="fewer masks, steps and samples where the defaults take thousands of forward passes",
    )
    add("--layer", help="what class activation maps read (default: the network's usual one)")
    add("--targets", choices=("label", "predicted"), default="label", help="the class to explain (label)")
    add("--seed", type=int, default=0)
    add("--device", help="cpu, cuda, ... (default: a GPU if there is one)")
    add("--out", type=Path, required=True, metavar="FILE.csv", help="the table; what it holds is not computed again")
    return parser


def _options(given: argparse.Namespace) -> dict:
    """What `run` is asked for."""
    where = {"root": given.root, "images": given.images, "size": given.size, "cue": given.cue, "seed": given.seed}
    settings = _settings(given.set, SMALL if given.small else {})
    names = {name: getattr(given, name).split(",") for name in ("model", "methods", "metrics")}
    same = {name: getattr(given, name) for name in ("layer", "targets", "seed", "device")}
    return names | same | {"data": source(given.data, **where), "settings": settings, "file": given.out}


def _settings(texts: list[str], settings: Settings) -> Settings:
    """{"rise": {"masks": 1000}} of ["rise.masks=1000"], on top of other settings; a value is JSON, or else text."""
    for text in texts:
        place, _, value = text.partition("=")
        name, _, option = place.partition(".")
        if not option or not value:
            raise ValueError(f"--set takes NAME.OPTION=VALUE, as in rise.masks=1000, found {text!r}")
        settings = {**settings, name: {**settings.get(name, {}), option: _value(value)}}
    return settings


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
