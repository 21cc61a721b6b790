"""The saved results are traceable, and what is written about them is what they say."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

RESULTS = Path(__file__).resolve().parents[1] / "results"
PAGE = (RESULTS / "thesis.md").read_text(encoding="utf-8")


def test_the_page_of_numbers_is_what_the_tables_say(monkeypatch):
    monkeypatch.syspath_prepend(RESULTS.parent / "benchmarks")
    import summary

    assert (RESULTS / "numbers.md").read_text(encoding="utf-8") == summary.page(), "run benchmarks/summary.py"


@pytest.mark.parametrize("table", sorted(RESULTS.glob("*.csv")), ids=lambda path: path.stem)
def test_every_table_says_how_it_came_about(table):
    record = json.loads(table.with_suffix(".json").read_text(encoding="utf-8"))
    assert {"profile", "date", "machine", "commit", "versions"} <= set(record)
    assert re.match("[0-9a-f]{40}", record["commit"]) and "torch" in record["versions"]
    assert not pd.read_csv(table).empty


def study(name, **chosen):
    """The mean over the seeds of a study's row."""
    table = pd.read_csv(RESULTS / f"study_{name}.csv")
    for column, value in chosen.items():
        table = table[table[column] == value]
    assert len(table) > 1
    return table.select_dtypes("number").mean()


def photos(method, metric):
    table = pd.read_csv(RESULTS / "benchmark_photos.csv")
    return table[(table.method == method) & (table.metric == metric)].value.mean()


def quotes():
    """Sentences of results/thesis.md with the numbers they need, in their order."""
    gap, ca = (study("ca_stream", row=row, method="gradcam") for row in ("GAP", "CA"))
    without, small, some, much = (
        study("denoising", row=row, method="gradcam") for row in ("standard", "cosine 0.0075", "cosine 0.1", "cosine 1")
    )
    free, bound = study("parts", row="without specificity"), study("parts", row="all constraints")
    starts = [study("ca_stream", row=row).accuracy for row in ("CA", "CA, from stage 1", "CA, from stage 2")]
    of = ("opticam", "gradcam")
    yield "AD {:.1f} against {:.1f} of Grad-CAM", [photos(method, "average_drop") for method in of]
    yield "AG {:.1f} against {:.1f}", [photos(method, "average_gain") for method in of]
    yield "AI {:.1f} against {:.1f}", [photos(method, "average_increase") for method in of]
    yield "({:.1f} against {:.1f} of Grad-CAM); ADCC", [photos(method, "aopc") for method in of]
    yield "*highest* here ({:.1f} against {:.1f})", [photos(method, "adcc") for method in of]
    yield "({:.1f} and {:.1f}, Grad-CAM", [photos("opticam", metric) for metric in ("insertion", "deletion")]
    yield "AD falls ({:.1f} to {:.1f})", [gap.average_drop, ca.average_drop]
    yield "insertion rises ({:.1f} to {:.1f})", [gap.insertion, ca.insertion]
    yield "confidence rises from {:.1f} to {:.1f}", [gap.confidence, ca.confidence]
    yield "{:.1f}, {:.1f}, {:.1f}, a little lower", [100 * accuracy for accuracy in starts]
    yield "(alignment {:.2f} without, {:.2f} and", [without.alignment, small.alignment]
    yield "({:.1f}, {:.1f},", [100 * without.accuracy, 100 * small.accuracy]
    yield "falls here ({:.1f} to {:.1f})", [100 * without.accuracy, 100 * much.accuracy]
    yield "({:.2f} without, {:.2f} at 0.1, {:.2f} at 1)", [row.alignment for row in (without, some, much)]
    yield "(specificity {:.2f} to {:.2f})", [free.specificity, bound.specificity]


@pytest.mark.parametrize(("words", "numbers"), list(quotes()), ids=lambda part: part if isinstance(part, str) else "")
def test_numbers_on_the_page_are_those_of_the_tables(words, numbers):
    assert words.format(*numbers) in " ".join(PAGE.split())
