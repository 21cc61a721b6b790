"""`python -m xailib grade FOLDER`: the grading on the command line.

    python -m xailib grade submissions --out grades.csv
    python -m xailib grade submissions --lessons 00,08 --require-sandbox --own-numbers

FOLDER holds a folder for each student, with their notebooks. The table is written when all are judged, and not before.
"""

import argparse
import platform
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from xailib.checks import CORRECT
from xailib.grading import questions, sandbox, session, table
from xailib.grading.submissions import Submission, submissions

LEAKS = {
    sandbox.FILES: "files are not protected: a notebook can read and change what you can, other submissions too",
    sandbox.NETWORK: "network was not cut",
    sandbox.PROCESSES: "a notebook can start other processes, and stop those of the grading",
}


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    given = parser.parse_args(arguments)
    if platform.system() != "Linux":
        parser.exit(2, "grading needs Linux, where notebooks can be shut in: use a container, or WSL on Windows\n")
    try:
        rows = _grade(given)
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    correct = sum(row.verdict == CORRECT for row in rows)
    print(f"{given.out}: {len(rows)} lines, {correct} of them correct")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m xailib grade",
        description="Judge handed-in exercise notebooks, one by one, each shut in. See teaching/grading.md.",
    )
    add, usual = parser.add_argument, session.Limits()
    add("folder", type=Path, help="a folder for each student, with notebooks named like those in exercises/")
    add("--out", type=Path, default=Path("grades.csv"), metavar="FILE.csv", help="the table (grades.csv)")
    add("--lessons", help="only these, with commas between them, as in 00,08 (default: all that somebody handed in)")
    add("--own-numbers", action="store_true", help="students have notebooks made by `python -m xailib handout`")
    add("--require-sandbox", action="store_true", help="refuse to run where notebooks cannot be shut in")
    add("--seconds", type=float, default=usual.seconds, help="for a notebook (%(default)g)")
    add("--question-seconds", type=float, default=usual.question_seconds, help="for a cell or answer (%(default)g)")
    add("--memory", type=float, default=usual.memory / 2**30, metavar="GB", help="for a notebook (%(default)g)")
    return parser


def _grade(given: argparse.Namespace) -> list[table.Row]:
    exercises, handed_in = questions.lessons(), submissions(given.folder)
    _outside(given.folder)
    wanted = [*questions.chosen(given.lessons)]
    if not given.lessons:
        wanted = [lesson for lesson in wanted if lesson in {each.lesson for each in handed_in}]
    closed = _closed(given.require_sandbox)
    limits = session.Limits(given.seconds, given.question_seconds, int(given.memory * 2**30))
    asked = {lesson: questions.questions(exercises[lesson]) for lesson in wanted}
    rows = []
    for each in _completed(handed_in, wanted, {*exercises}):
        rows += _rows(each, asked.get(each.lesson, []), limits, closed, given.own_numbers)
    table.write(rows, given.out, " ".join(sorted(closed)) or "nothing")
    return rows


def _outside(folder: Path) -> None:
    inside = [path for path in sandbox.readable() if folder.resolve().is_relative_to(path.resolve())]
    if inside:
        raise ValueError(f"{folder} lies in {inside[0]}, which notebooks may read; move it to another place")


def _closed(required: bool) -> frozenset[str]:
    """What notebooks are shut in from on this machine, which is printed too."""
    with TemporaryDirectory() as scratch:
        closed = sandbox.probe(Path(scratch))
    leaks = [why for what, why in LEAKS.items() if what not in closed]
    if leaks and required:
        raise ValueError(f"the system does not allow to shut notebooks in ({'; '.join(leaks)})")
    print("; ".join(leaks) + ": the system does not allow it" if leaks else "notebooks are shut in", flush=True)
    return closed


def _completed(handed_in: list[Submission], wanted: list[str], known: set[str]) -> list[Submission]:
    """What was handed in for these lessons, what is wrong, and an entry for each student and lesson without."""
    numbers = known | {""}
    named = [
        each if each.lesson in numbers else replace(each, problem=f"no exercise {each.lesson}") for each in handed_in
    ]
    some = [each for each in named if each.lesson in wanted or each.lesson not in known]
    there = {(each.student, each.lesson) for each in some}
    pairs = [(name, lesson) for name in dict.fromkeys(each.student for each in named) for lesson in wanted]
    return some + [Submission(*pair, missing=True) for pair in pairs if pair not in there]


def _rows(each: Submission, asked: list, limits: session.Limits, closed: frozenset, own: bool) -> list[table.Row]:
    rows = session.grade(each, asked, limits, closed, own)
    verdicts = ", ".join(row.verdict for row in rows)
    print(table.plain(f"{each.student} {each.lesson}: {verdicts}"), flush=True)
    return rows
