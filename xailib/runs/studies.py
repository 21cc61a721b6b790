"""Studies: networks trained alike but for one thing, with several seeds, and judged alike, as one table.

Every network is kept in its folder, and every judged image in a file there: killed at any moment, the same call goes on.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.utils.data import Dataset

from xailib import course
from xailib.runs import judges, report, rows
from xailib.runs.plan import Run
from xailib.runs.train import train
from xailib.training import parallel

if TYPE_CHECKING:
    from pandas import DataFrame

Judge = Callable[[nn.Module, Dataset, str, Path], list[dict[str, object]]]


@dataclass(frozen=True)
class Study:
    """`rows(profile, root)` are the runs by name. `judge(model, test, profile, folder)` says about each network what
    goes into the table, in one line or, for several methods, in several. `seeds` are how many, by profile."""

    about: str
    rows: Callable[[str, Path | None], dict[str, Run]]
    judge: Judge
    seeds: Mapping[str, int]


THREE = {"quick": 1, "laptop": 3, "full": 3}
STUDIES = {
    "baselines": Study(
        "CNN and ViT on few and on many images (lesson 03)", rows.baselines, judges.accuracy_only, THREE
    ),
    "ca_stream": Study("pooling by attention beside averaging (thesis, ch. 3)", rows.ca_stream, judges.pooling, THREE),
    "denoising": Study(
        "four errors and a grid of coefficients (thesis, ch. 4)", rows.denoising, judges.gradients, THREE
    ),
    "parts": Study("DP-Net with and without its constraints", rows.parts, judges.constraints, THREE | {"laptop": 2}),
}


def study(
    name: str,
    profile: str,
    *,
    seeds: int | None = None,
    root: Path | None = None,
    folder: Path,
    device: torch.device | str = "cpu",
) -> "DataFrame":
    """The table of a study, one line per row, seed and method, also saved as results/study_NAME.csv.

    Raises ValueError and FileNotFoundError as `train` does.
    """
    import pandas as pd

    one = STUDIES[name]
    lines, titles, started = [], set(), course.facts()["date"]
    for row, run in one.rows(profile, root).items():
        for seed in range(seeds or one.seeds[profile]):
            place = folder / f"{slug(f'{name}-{row}')}-{profile}-{seed}"
            trained = train(run, profile, seed=seed, root=root, folder=place, device=device)
            known = {"row": row, "seed": seed, "accuracy": trained.accuracy["test"], "seconds": trained.seconds}
            titles.add(trained.data)
            lines += [known | line for line in one.judge(trained.model, trained.test, profile, place)]
    table = pd.DataFrame(lines)
    if parallel.rank() == 0:
        facts = {"seeds": sorted({*table["seed"]}), "data": sorted(titles), "started": started}
        facts["command"] = f"python -m xailib study {name} --profile {profile}"
        file = course.save_results(f"study_{name}", table, seed=0, **facts)
        said = f"{facts['data'][0]}, {profile} profile, `{facts['command']}`; machine and date: {file.stem}.json."
        file.with_suffix(".md").write_text(report.markdown(name, table, said), encoding="utf-8")
        drawn = report.figure(table)
        drawn.savefig(file.with_suffix(".png"), metadata={"Description": drawn.alt})
    return table


def slug(name: str) -> str:
    """A name that any file system takes."""
    return re.sub(r"[^a-z0-9.]+", "_", name.lower())
