"""The table of a benchmark for readers: means with intervals, in Markdown, in LaTeX, as a figure, beside the thesis."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from xailib.benchmark.metrics import PERCENT, better
from xailib.metrics import bootstrap_interval

if TYPE_CHECKING:
    from pandas import DataFrame, Series

    from xailib.plot import Figure


def summary(table: "DataFrame") -> "DataFrame":
    """One row per model, method and metric: the mean over images, the ends of its 95 % bootstrap interval, the median,
    over how many images (`n`), and how many have no value (`missing`).

    The interval is NaN for fewer than two values, and where one is infinite, as a saliency metric can be.
    """
    groups = table.groupby(["model", "method", "metric"], sort=False)["value"]
    return groups.apply(_summarised).unstack(sort=False).astype({"n": int, "missing": int}).reset_index()


def _summarised(values: "Series") -> "Series":
    from pandas import Series

    known = torch.tensor(values.dropna().to_numpy())
    low, high = torch.nan, torch.nan
    if len(known) > 1 and known.isfinite().all():
        samples = min(10_000, 100 + 10**7 // len(known))  # of many images a few say as much
        low, high = bootstrap_interval(known, samples=samples)
    counts = {"n": len(known), "missing": len(values) - len(known)}
    return Series({"mean": known.mean().item(), "low": low, "high": high, "median": values.median()} | counts)


def problems(table: "DataFrame") -> "DataFrame":
    """The values that are missing, by what is wrong, each with the images, methods and metrics it hit, and how often."""
    hit = table[table["problem"] != ""]

    def names(values: "Series") -> str:
        return ", ".join(values.unique())

    found = {column: (column, names) for column in ("image", "method", "metric")}
    return hit.groupby(["model", "problem"], sort=False).agg(**found, values=("metric", "size")).reset_index()


# --- as text ----------------------------------------------------------------------------------------------------------


def markdown(table: "DataFrame") -> str:
    """Methods x metrics for each model as a Markdown table, then the values that are missing."""
    parts = []
    for model, cells in _cells(table).items():
        head = [["method", *cells.columns], ["---"] * (1 + len(cells.columns))]
        parts += [f"**{model}**: {_caption(table)}", pipe_table([*head, *cells.reset_index().to_numpy().tolist()])]
    lost = [
        f"- {row.values} values of {row.model} are missing ({row.problem}): images {row.image}; methods {row.method}"
        for row in problems(table).itertuples(index=False)
    ]
    return "\n\n".join([*parts, *(["\n".join(lost)] if lost else [])]) + "\n"


def latex(table: "DataFrame") -> str:
    """The same as LaTeX, for the package booktabs."""
    parts = []
    for model, cells in _cells(table).items():
        head = (
            " & ".join(["method", *cells.columns])
            .replace("↓", r"$\downarrow$")
            .replace("↑", r"$\uparrow$")
            .replace("→", r"$\to$")
        )
        body = [" & ".join(line) + r" \\" for line in cells.reset_index().to_numpy().tolist()]
        inside = [r"\toprule", head + r" \\", r"\midrule", *body, r"\bottomrule"]
        lines = [f"% {model}: {_caption(table)}", rf"\begin{{tabular}}{{l{'r' * len(cells.columns)}}}", *inside]
        parts.append("\n".join([*lines, r"\end{tabular}"]).replace("_", r"\_").replace(" % ", r" \% "))
    return "\n\n".join(parts) + "\n"


def _caption(table: "DataFrame") -> str:
    return f"means over {table['image'].nunique()} images and, in brackets, their 95 % bootstrap intervals"


def _cells(table: "DataFrame") -> dict:
    """For each model a table of text, methods x metrics."""
    rows = summary(table)
    rows["text"] = [_cell(row) for row in rows.itertuples(index=False)]
    rows["metric"] = [f"{metric} {better(metric)}".strip() for metric in rows["metric"]]
    return {
        model: part.pivot(index="method", columns="metric", values="text")
        .loc[part["method"].unique(), part["metric"].unique()]
        .fillna("")
        for model, part in rows.groupby("model", sort=False)
    }


def _cell(row) -> str:
    if row.n == 0:
        return "none"
    between = "" if row.low != row.low else f" [{row.low:.3g}, {row.high:.3g}]"
    return f"{row.mean:.3g}{between}" + (f" (n = {row.n})" if getattr(row, "missing", 0) else "")


# --- beside the thesis ------------------------------------------------------------------------------------------------

PUBLISHED = Path(__file__).with_name("thesis.csv")
NETWORKS = {
    "resnet18": "ResNet-18",
    "resnet50": "ResNet50",
    "vgg16": "VGG16",
    "vgg16_bn": "VGG16",
    "convnext_small": "ConvNeXt-S",
    "convnext_base": "ConvNeXt-B",
    "vit_base_patch16_224": "ViT-B",
    "deit_base_patch16_224": "DeiT-B",
}


def beside_thesis(table: "DataFrame") -> "DataFrame":
    """The rows of `summary` for which the thesis prints a number, with that number (`published`) and its table (`source`).

    The thesis took the 50,000 validation images of ImageNet. Its tables 2.6 and 2.7 come from boxes of the preset
    "thesis_legacy"; table 3.1 has insertion with the blur "ca5" and both curves in 28 steps; the max-sensitivity of
    table 2.3 cannot be that of the maps. Where these differ here, so do the numbers. A network is told by its name,
    without the tag of its weights, which can be others than those of the thesis. Empty where nothing matches.
    """
    from pandas import read_csv

    rows, published = summary(table), read_csv(PUBLISHED, dtype={"source": str})
    rows["network"] = [NETWORKS.get(name.removeprefix("torchvision/").split(".")[0]) for name in rows["model"]]
    found = rows.merge(published, on=["network", "method", "metric"])
    return found[["model", "method", "metric", "mean", "low", "high", "n", "published", "source"]]


# --- all of it --------------------------------------------------------------------------------------------------------


def figure(table: "DataFrame") -> "Figure":
    """Means and intervals, one panel per metric and one row per method (and model, if there are several)."""
    from xailib import plot

    rows = summary(table)
    several, panels = rows["model"].nunique() > 1, {}
    for row in rows[rows["mean"].abs() < torch.inf].itertuples(index=False):
        name = f"{row.model}: {row.method}" if several else row.method
        ends = (row.mean, row.mean) if row.low != row.low else (row.low, row.high)
        panels.setdefault(_title(row.metric), {})[name] = (row.mean, *ends)
    what = f"{', '.join(rows['method'].unique())}, judged by {', '.join(rows['metric'].unique())}"
    alt = f"Dots on lines: {_caption(table)}, for {', '.join(rows['model'].unique())}: {what}."
    return plot.intervals(panels, alt=alt, columns=6)


def _title(metric: str) -> str:
    unit = " (%)" if metric in PERCENT else ""
    return f"{metric.replace('_', ' ')}{unit} {better(metric)}".strip()


def write(table: "DataFrame", file: Path) -> None:
    """Leaves the summary beside the table: FILE.md with what the thesis prints, FILE.tex, and FILE.png."""
    beside = beside_thesis(table)
    text = f"\n**Beside the thesis**\n\n{_beside(beside)}\n" if len(beside) else "\nThe thesis prints no such rows.\n"
    file.with_suffix(".md").write_text(markdown(table) + text, encoding="utf-8")
    file.with_suffix(".tex").write_text(latex(table), encoding="utf-8")
    if table["value"].notna().any():
        drawn = figure(table)
        drawn.savefig(file.with_suffix(".png"), metadata={"Description": drawn.alt})


def _beside(rows: "DataFrame") -> str:
    lines = [["model", "method", "metric", "here", "thesis", "table"], ["---"] * 6]
    lines += [
        [r.model, r.method, r.metric, _cell(r), f"{r.published:g}", r.source] for r in rows.itertuples(index=False)
    ]
    return pipe_table(lines)


def pipe_table(lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
