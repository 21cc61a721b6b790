"""The head of a lesson: its first markdown cell, a question as title and a table with the lesson's budget."""

import re
from dataclasses import dataclass
from pathlib import Path

from lesson_source import LessonError, read_source

PROFILES = ("quick", "laptop", "full")
ROWS = ("You will", "You need", "Minutes", "Run time", "Memory", "Data", "Network")
EXERCISE_ROWS = ("Minutes", "Run time", "Memory", "Network")
SECONDS = {"s": 1, "min": 60, "h": 3600}


@dataclass(frozen=True)
class Head:
    title: str
    rows: dict[str, str]  # all rows of the table, as written
    seconds: dict[str, float]  # run time per profile
    gigabytes: float  # peak memory
    network: bool


def read_head(path: Path) -> Head:
    """The head of a source; refuses one that is missing or cannot be read, saying which row is wrong."""
    first = read_source(path)[0]
    title, _, table = first.source.partition("\n")
    if first.kind != "markdown" or not title.startswith("# "):
        raise _garbled(path, "the first cell must be markdown and start with '# Title'")
    is_exercise = path.stem.endswith("_ex")
    if not is_exercise and not title.endswith("?"):
        raise _garbled(path, f"a lesson's title is a question, found {title!r}")
    rows = dict(re.findall(r"^\|\s*([A-Z][^|]*?)\s*\|\s*(.*?)\s*\|\s*$", table, re.MULTILINE))
    missing = [row for row in (EXERCISE_ROWS if is_exercise else ROWS) if not rows.get(row)]
    if missing:
        raise _garbled(path, f"no table row '| {missing[0]} | ... |'")
    return Head(title.removeprefix("# "), rows, _seconds(rows, path), _gigabytes(rows, path), _network(rows, path))


def _garbled(path: Path, reason: str) -> LessonError:
    return LessonError(f"{path}: the lesson's head cannot be read: {reason}")


def _seconds(rows: dict[str, str], path: Path) -> dict[str, float]:
    found = re.findall(r"(\w+) (\d+(?:\.\d+)?) (s|min|h)\b", rows["Run time"])
    if [profile for profile, _, _ in found] != list(PROFILES):
        raise _garbled(
            path, f"'Run time' must read like 'quick 20 s · laptop 2 min · full 3 h', not {rows['Run time']!r}"
        )
    return {profile: float(number) * SECONDS[unit] for profile, number, unit in found}


def _gigabytes(rows: dict[str, str], path: Path) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?) GB", rows["Memory"])
    if not found:
        raise _garbled(path, f"'Memory' must read like '1.5 GB', not {rows['Memory']!r}")
    return float(found[1])


def _network(rows: dict[str, str], path: Path) -> bool:
    if rows["Network"].split()[0] not in ("yes", "no"):
        raise _garbled(path, f"'Network' must start with 'yes' or 'no', not {rows['Network']!r}")
    return rows["Network"].startswith("yes")
