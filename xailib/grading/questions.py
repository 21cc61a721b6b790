"""What the course's exercises ask: read from exercises/, not from what was handed in."""

import ast
import json
import re
from dataclasses import dataclass
from pathlib import Path

from xailib.course import ROOT

HEADING = re.compile(r"(?m)^## (\d+\. .+)$")


@dataclass(frozen=True)
class Question:
    """One question of an exercise; an open one has no check, and is for a person to read."""

    title: str  # "1. Where is it hottest?"
    check: str = ""
    variable: str = ""  # what the exercise hands to the check


def lessons(folder: Path = ROOT / "exercises") -> dict[str, Path]:
    """The course's exercises by number, such as {"00": exercises/00_first_photograph.ipynb}."""
    found = {path.name[:2]: path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb"))}
    if not found:
        raise FileNotFoundError(f"no exercises in {folder}; run this in a clone of the course")
    return found


def chosen(names: str | None, folder: Path = ROOT / "exercises") -> dict[str, Path]:
    """The exercises of "00,08", or all; raises ValueError for one that is not there."""
    known = lessons(folder)
    wanted = names.split(",") if names else [*known]
    unknown = sorted({*wanted} - {*known})
    if unknown:
        raise ValueError(f"no exercise {', '.join(unknown)}; there are {', '.join(known)}")
    return {lesson: known[lesson] for lesson in wanted}


def questions(exercise: Path) -> list[Question]:
    """The questions of an exercise, in their order."""
    found, seen, title = [], set(), exercise.stem
    for cell in json.loads(exercise.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and (heading := HEADING.search(source)):
            title = heading[1]
            found.append(Question(title))
        for check, variable in _checks(source) if cell["cell_type"] == "code" else ():
            if check not in seen:
                found.append(Question(title, check, variable))
                seen.add(check)
    asked = {question.title for question in found if question.check}
    return [question for question in found if question.check or question.title not in asked]


def _checks(source: str) -> list[tuple[str, str]]:
    """Names of checks called in a cell, and of the variables handed over."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [
        (call.func.attr, call.args[0].id)
        for call in calls
        if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "check"
        if call.args and isinstance(call.args[0], ast.Name)
    ]
