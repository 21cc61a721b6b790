"""The table of a study for readers: means over the seeds, beside what the thesis prints."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from xailib.benchmark.report import pipe_table

if TYPE_CHECKING:
    from pandas import DataFrame

    from xailib.plot import Figure

PUBLISHED = Path(__file__).with_name("thesis.json")


def summary(table: "DataFrame") -> "DataFrame":
    """Mean and standard deviation over the seeds, for each row and method, as text: "71.2 ± 0.4"; where all
    are equal, the number."""
    groups = table.drop(columns="seed").groupby(_keys(table), sort=False)
    mean, deviation = groups.mean(), groups.std()
    spread = deviation.map(lambda value: "" if not value > 0 else f" ± {value:.2g}")
    return mean.map(lambda value: f"{value:,.0f}" if value >= 1000 else f"{value:.4g}") + spread


def figure(table: "DataFrame") -> "Figure":
    """Mean, smallest and largest value over the seeds: one panel per column, one row per row and method."""
    from xailib import plot

    left_out = ["seed", "seconds", "parameters"]
    groups = table.drop(columns=left_out, errors="ignore").groupby(_keys(table), sort=False)
    ends = [getattr(groups, name)() for name in ("mean", "min", "max")]
    names = [key if isinstance(key, str) else ": ".join(key) for key in ends[0].index]
    panels = {
        column: dict(zip(names, zip(*(end[column] for end in ends), strict=True), strict=True)) for column in ends[0]
    }
    what = f"{', '.join(table['row'].unique())}: {', '.join(panels)}"
    return plot.intervals(panels, alt=f"Means on lines from the smallest to the largest seed. {what}.")


def published(study: str) -> "dict[str, DataFrame]":
    """The tables of the thesis (and of the authors' slides) on a study's subject, by what they show."""
    import pandas as pd

    tables = [one for one in json.loads(PUBLISHED.read_text(encoding="utf-8")) if one["study"] == study]
    return {f"{one['table']}: {one['title']}": pd.DataFrame(one["rows"], columns=one["columns"]) for one in tables}


def markdown(study: str, table: "DataFrame", facts: str) -> str:
    """What was measured, and below it what the thesis prints."""
    seeds = table["seed"].nunique()
    parts = [f"# {study}", facts, f"Means and standard deviations over {seeds} seeds." * (seeds > 1)]
    parts.append(_lines(summary(table).reset_index()))
    for title, one in published(study).items():
        parts += [f"**The thesis, {title}**", _lines(one.astype(object).where(one.notna(), "-"))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _keys(table: "DataFrame") -> list[str]:
    return [key for key in ("row", "method") if key in table]


def _lines(table: "DataFrame") -> str:
    head = [[*map(str, table.columns)], ["---"] * len(table.columns)]
    return pipe_table([*head, *([str(cell) for cell in line] for line in table.to_numpy().tolist())])
