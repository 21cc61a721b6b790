"""Every lesson and exercise source as a plain script: it runs, offline, within the budget in its head."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import lessons
import pytest
from lesson_head import read_head
from lesson_source import read_source, sources

ROOT = Path(__file__).resolve().parents[1]
LONGEST_CELL = 25  # lines of code
NOISE = 2.0  # times the quick budget: machines that run the tests differ, and do other things meanwhile
SOURCES = sources(ROOT)
every_source = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def test_there_are_lessons():
    assert SOURCES, "lessons_src/ holds no lesson, so nothing below was tested"


def test_notebooks_agree_with_their_sources(capsys):
    assert lessons.check(ROOT) == 0, capsys.readouterr().out


@every_source
def test_runs_as_a_script_within_its_budget(source, tmp_path):
    head = read_head(source)
    done, seconds, gigabytes = run_script(source, tmp_path / "peak")
    assert done.returncode == 0, done.stderr[-3000:]
    allowed = NOISE * head.seconds["quick"]
    assert seconds <= allowed, f"took {seconds:.0f} s; the head says quick {head.seconds['quick']:g} s, times {NOISE:g}"
    assert gigabytes <= head.gigabytes, f"used {gigabytes:.2f} GB; the head says {head.gigabytes:g} GB"


def run_script(source: Path, peak: Path) -> tuple[subprocess.CompletedProcess, float, float]:
    """The finished process, its seconds, and its peak memory in GB."""
    settings = {"XAILIB_PROFILE": "quick", "MPLBACKEND": "Agg", "XAILIB_PEAK_MEMORY": str(peak)}
    settings["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests" / "offline"), os.environ.get("PYTHONPATH", "")])
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(source)], cwd=ROOT, env=os.environ | settings, capture_output=True, text=True
    )
    seconds = time.perf_counter() - start
    return done, seconds, int(peak.read_text()) / 1e9 if peak.exists() else 0.0


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
