"""Every lesson and exercise source as a plain script: it runs, offline, within the budget in its head."""

import os
import re
import subprocess
import sys
from pathlib import Path

import lessons
import pytest
from lesson_head import read_head
from lesson_source import read_source, sources

ROOT = Path(__file__).resolve().parents[1]
LONGEST_CELL = 25  # lines of code
SLOW = 2.0  # times the quick budget: the machines that run the tests differ
SOURCES = sources(ROOT)
every_source = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def test_there_are_lessons():
    assert SOURCES, "lessons_src/ holds no lesson, so nothing below was tested"


def test_notebooks_agree_with_their_sources(capsys):
    assert lessons.check(ROOT) == 0, capsys.readouterr().out


@every_source
def test_runs_as_a_script_within_its_budget(source, tmp_path):
    head = read_head(source)
    done, seconds, gigabytes = run_script(source, tmp_path / "cost")
    assert done.returncode == 0, done.stderr[-3000:]
    quick = head.seconds["quick"]
    assert seconds <= SLOW * quick, f"took {seconds:.0f} s of one core; the head says quick {quick:g} s, times {SLOW:g}"
    assert gigabytes <= head.gigabytes, f"used {gigabytes:.2f} GB; the head says {head.gigabytes:g} GB"


def run_script(source: Path, cost: Path) -> tuple[subprocess.CompletedProcess, float, float]:
    """The finished process, its seconds of processor time (other tests run beside it), and its peak memory in GB."""
    settings = {"XAILIB_PROFILE": "quick", "MPLBACKEND": "Agg", "XAILIB_COST": str(cost)}
    settings["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests" / "offline"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(source)], cwd=ROOT, env=os.environ | settings, capture_output=True, text=True
    )
    peak, seconds = cost.read_text().split() if cost.exists() else (0, 0)
    return done, float(seconds), int(peak) / 1e9


@every_source
def test_cells_are_short(source):
    for cell in read_source(source):
        lines = len(cell.source.splitlines())
        assert cell.kind != "code" or lines <= LONGEST_CELL, f"{source.name}:{cell.line}: a cell of {lines} lines"


@every_source
def test_no_text_is_lost_in_a_code_cell(source):
    for cell in read_source(source):
        heading = cell.kind == "code" and re.search(r"^# #+ ", cell.source, re.M)
        assert not heading, (
            f"{source.name}:{cell.line}: a heading in a code cell; is '# %% [markdown]' missing above it?"
        )


@every_source
def test_exercises_belong_to_a_lesson(source):
    assert source.with_name(source.name.replace("_ex.py", ".py")) in SOURCES
