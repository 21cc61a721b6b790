"""Every exercise: its stub is not attempted, its solution is correct, typical wrong answers are not yet.

Wrong answers are cells tagged `wrong` in the exercise's source. Each calls one check, and runs where it stands.
"""

import sys
from collections import Counter
from pathlib import Path

import pytest
from lesson_source import Cell, notebooks_of, read_source, sources

import xailib.checks
from xailib.checks import CORRECT, NOT_ATTEMPTED, NOT_YET, Checks

ROOT = Path(__file__).resolve().parents[1]
FEWEST_WRONG = 2  # wrong answers per check
every_exercise = pytest.mark.parametrize(
    "source", [path for path in sources(ROOT) if path.stem.endswith("_ex")], ids=lambda path: path.stem
)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """No verdicts of an earlier run, no windows, and files looked for where a script would look."""
    for name in [name for name in sys.modules if name.startswith("xailib.checks.")]:
        monkeypatch.delitem(sys.modules, name)
        monkeypatch.delattr(xailib.checks, name.rpartition(".")[2])
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.chdir(ROOT)


@every_exercise
def test_stub_is_not_attempted(source):
    cells = notebooks_of(source)[f"exercises/{source.stem.removesuffix('_ex')}.ipynb"]
    names = {"__name__": "__main__"}
    for cell in cells:
        run(cell, source, names)
    check = checks_in(names)
    assert {verdict.name for verdict in check.verdicts} == set(check), "the exercise must call every check"
    assert {verdict.name: verdict.status for verdict in check.verdicts} == dict.fromkeys(check, NOT_ATTEMPTED)


@every_exercise
def test_solution_is_correct_and_wrong_answers_are_not_yet(source):
    names, wrong = {"__name__": "__main__"}, Counter()
    for cell in read_source(source):
        if "wrong" in cell.tags:
            wrong[run_wrong(cell, source, names)] += 1
        else:
            run(cell, source, names)
    check = checks_in(names)
    assert [verdict for verdict in check.verdicts if verdict.status != CORRECT] == []
    assert {verdict.name for verdict in check.verdicts} == set(check), "the solution must call every check"
    few = [name for name in check if wrong[name] < FEWEST_WRONG]
    assert not few, f"{few} need {FEWEST_WRONG} cells tagged 'wrong' each"


def run(cell: Cell, source: Path, names: dict) -> None:
    if cell.kind == "code":
        exec(compile("\n" * cell.line + cell.source, source, "exec"), names)


def run_wrong(cell: Cell, source: Path, names: dict) -> str:
    """The name of the check that the wrong answer was given to."""
    check, copy = checks_in(names), dict(names)
    before = len(check.verdicts)
    run(cell, source, copy)
    where, verdicts = f"{source.name}:{cell.line}", check.verdicts[before:]
    del check.verdicts[before:]
    assert len(verdicts) == 1, f"{where}: a wrong answer calls one check, found {verdicts}"
    assert verdicts[0].status == NOT_YET, f"{where}: not caught: {verdicts[0]}"
    assert verdicts[0].hint.strip(), f"{where}: no hint: {verdicts[0]}"
    changed = [name for name in names if copy.get(name) is not names[name]]
    assert not changed, f"{where}: run as a script, this cell would spoil {changed} for the cells below; rename them"
    return verdicts[0].name


def checks_in(names: dict) -> Checks:
    found = [value for value in names.values() if isinstance(value, Checks)]
    assert len(found) == 1, "an exercise imports one object with checks, before its first answer"
    return found[0]
