"""The students' folders and notebooks, read as data: nothing in here runs what a student wrote."""

import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LARGEST = 32 * 2**20  # bytes of a notebook
MOODLE = re.compile(r"^(.+?)_\d+_assignsubmission_file_?$")
NUMBER = re.compile(r"^(\d\d)_.*\.ipynb$", re.IGNORECASE)


@dataclass(frozen=True)
class Submission:
    """A student's notebook for one lesson: its code cells, or what is wrong with it."""

    student: str
    lesson: str  # "00"; nothing where the file's name does not tell
    cells: tuple[str, ...] = ()
    problem: str = ""
    missing: bool = False  # nothing was handed in for this lesson


def submissions(folder: Path) -> list[Submission]:
    """All that was handed in: FOLDER/student/NN_name.ipynb, or as Moodle packs it.

    Raises ValueError for a folder that is laid out in another way.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    loose = [path.name for path in entries if path.suffix == ".ipynb"]
    if loose:
        raise ValueError(f"{loose[0]} lies beside the students' folders; each student's notebooks go into a folder")
    students = [path for path in entries if path.is_dir() or path.is_symlink()]
    names = Counter(map(_student, students))
    if not students or max(names.values()) > 1:
        found = f"two folders for {names.most_common(1)[0][0]!r}" if students else "no folder in it"
        raise ValueError(f"{folder} needs one folder for each student, with the notebooks in it; found {found}")
    return [submission for path in students for submission in _of_student(path)]


def _student(folder: Path) -> str:
    packed = MOODLE.match(folder.name)
    return packed[1] if packed else folder.name


def _of_student(folder: Path) -> Iterator[Submission]:
    name = _student(folder)
    if folder.is_symlink():
        yield Submission(name, "", problem="the folder is a link to another place; it was not followed")
        return
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".ipynb")
    if not files:
        yield Submission(name, "", problem="no notebook in the folder")
    numbers = Counter(_number(path) for path in files)
    for path in files:
        number = _number(path)
        if not number:
            yield Submission(name, "", problem=f"{path.name}: a notebook's name begins with its number, as in 08_")
        elif numbers[number] == 1:
            yield _read(name, number, path)
    for number in sorted(number for number, times in numbers.items() if number and times > 1):
        both = ", ".join(path.name for path in files if _number(path) == number)
        yield Submission(name, number, problem=f"more than one notebook for this lesson: {both}")


def _number(path: Path) -> str:
    found = NUMBER.match(path.name)
    return found[1] if found else ""


def _read(student: str, lesson: str, path: Path) -> Submission:
    try:
        return Submission(student, lesson, tuple(_cells(_bytes(path))))
    except (ValueError, OSError) as error:
        return Submission(student, lesson, problem=f"{path.name}: {error}")


def _bytes(path: Path) -> bytes:
    if path.is_symlink():
        raise ValueError("a link to another place; it was not followed")
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > LARGEST:
            raise ValueError(f"no file of at most {LARGEST // 2**20} MB")
        return file.read(LARGEST)


def _cells(content: bytes) -> Iterator[str]:
    try:
        notebook = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"no notebook: it is not UTF-8 ({error.reason})") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"no notebook: not JSON ({error})") from error
    except RecursionError as error:
        raise ValueError("no notebook: its JSON is nested too deep") from error
    if not isinstance(notebook, dict) or notebook.get("nbformat") != 4 or not isinstance(notebook.get("cells"), list):
        raise ValueError("no notebook of format 4; opening and saving it in JupyterLab makes it one")
    for cell in notebook["cells"]:
        if not isinstance(cell, dict) or not isinstance(cell.get("source", ""), str | list):
            raise ValueError("no notebook: a cell in it is none")
        if cell.get("cell_type") == "code":
            yield "".join(map(str, cell.get("source", "")))
