"""The page results/numbers.md: what everything costs, from the tables that the other benchmarks wrote.

make benchmarks              measures everything (best on a quiet machine), then writes the page
python benchmarks/summary.py     writes the page only
"""

import json
from pathlib import Path

import pandas as pd

RESULTS = Path(__file__).resolve().parents[1] / "results"
TABLES = {
    "cam": "Class activation maps. `forwards`: how many times as long as a forward pass of the same image.",
    "perturbation": "Maps from many masked images. `forwards`: in forward passes of a batch of 8 images.",
    "metrics": """Metrics. `forwards`: in forward passes of 4 images, of one image, or in Grad-CAMs, as its program says.
EfficientNet's deletion curve is too slow because Linux takes back the memory that a batch has freed, and the next batch
waits for it again. With `MALLOC_TRIM_THRESHOLD_=4000000000 MALLOC_MMAP_THRESHOLD_=4000000000` in front of the command,
which keep the memory, it held its limit.""",
    "denoising": "A training step with gradient denoising, beside the five passes that it cannot do without.",
    "planted": "Planted scenes drawn on a CPU.",
}
COLUMNS = {
    "model": "network",
    "entry": "what",
    "version": "version",
    "limit": "limit",
    "forwards": "forwards",
    "peak_mib": "MiB",
    "of the five passes": "of the five passes",
    "of ours": "of ours",
    "size": "pixels",
    "drawn by": "drawn by",
    "images per second": "images per second",
    "note": "limit holds",
}
INTRODUCTION = """# Numbers

Cost as ratios: an entry and what it is measured by take turns in one process and one thread, so that most of a
machine's speed cancels out. *Limit* is what the course promises itself; where a public library does the same, it stands
below. Peak memory (MiB) is on top of what a forward pass needs. Made by `make benchmarks`; each table's record says
when and on what.

Two runs within a day on one shared machine (`git log -p results/benchmark_cam.csv` has both) differed by less than 10 %
for maps that take one pass, and by up to 27 % for the others; three runs of `planted` by a factor of up to 2.1, because
images per second are no ratios. So a limit that is held or missed by less is not decided."""


def page() -> str:
    return "\n\n".join([INTRODUCTION, *(section(name, about) for name, about in TABLES.items())]) + "\n"


def section(name: str, about: str) -> str:
    record = json.loads((RESULTS / f"benchmark_{name}.json").read_text(encoding="utf-8"))
    table = pd.read_csv(RESULTS / f"benchmark_{name}.csv", dtype={"version": str, "size": str})
    table = table[[column for column in COLUMNS if column in table]].rename(columns=COLUMNS)
    rows = [table.columns, ["---"] * table.shape[1], *(map(_text, row) for row in table.itertuples(index=False))]
    where = f"`benchmarks/{name}.py` on {record['machine']}, {record['date'][:10]}, torch {record['versions']['torch']}"
    return "\n".join([f"## {name}", "", f"{about} {where}.", "", *(f"| {' | '.join(row)} |" for row in rows)])


def _text(value: object) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:,.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    (RESULTS / "numbers.md").write_text(page(), encoding="utf-8", newline="\n")
    print(RESULTS / "numbers.md")
