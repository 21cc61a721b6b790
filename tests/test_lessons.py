"""The sources of lessons and exercises: how they are written. (Their notebooks run under nbval, within a budget.)"""

import ast
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
SOURCES = sources(ROOT)
every_source = pytest.mark.parametrize("source", SOURCES, ids=[path.stem for path in SOURCES])


def test_there_are_lessons():
    assert SOURCES, "lessons_src/ holds no lesson, so nothing below was tested"


def test_notebooks_agree_with_their_sources(capsys):
    assert lessons.check(ROOT) == 0, capsys.readouterr().out


def test_first_lesson_runs_as_a_script():
    done = subprocess.run([sys.executable, str(SOURCES[0])], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr[-3000:]


@every_source
def test_is_plain_python_with_a_head(source):
    read_head(source)
    names = {node.id for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))) if isinstance(node, ast.Name)}
    assert not names & {"display", "get_ipython"}, "only a notebook knows these"


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
