"""`python -m xailib handout FOLDER --students names.txt`: each student's own copies of the exercises.

    python -m xailib handout handouts --students names.txt --lessons 08,10,11,12

names.txt has a name on each line, as the folders will be called that come back. In a copy the first cell says whose it
is, and questions with numbers of their own take them from that name. Grading takes it from the folder's name instead.
"""

import argparse
import json
from pathlib import Path

from xailib.grading import questions

FIRST_CELL = """# Your copy of this exercise: some questions have numbers of your own. Leave this cell as it is.
import os

os.environ["XAILIB_STUDENT"] = {name}"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m xailib handout", description="Each student's own exercises.")
    parser.add_argument("folder", type=Path, help="gets a folder for each student")
    parser.add_argument("--students", type=Path, required=True, metavar="names.txt", help="a name on each line")
    parser.add_argument("--lessons", help="only these, with commas between them, as in 08,10 (default: all)")
    given = parser.parse_args(arguments)
    try:
        exercises = questions.chosen(given.lessons)
        names = _names(given.students.read_text(encoding="utf-8"))
        for name in names:
            for exercise in exercises.values():
                copy = given.folder / name / exercise.name
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text(personal(exercise.read_text(encoding="utf-8"), name), encoding="utf-8")
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    print(f"{given.folder}: {len(exercises)} exercises for each of {len(names)} students")
    return 0


def _names(text: str) -> list[str]:
    names = [line.strip() for line in text.splitlines() if line.strip()]
    bad = [name for name in names if Path(name).name != name or name.startswith(".") or names.count(name) > 1]
    if bad or not names:
        raise ValueError(f"a student's name stands on one line, once, and can name a folder; found {bad or 'nobody'}")
    return names


def personal(notebook: str, name: str) -> str:
    """The notebook with a first cell that says whose it is."""
    found = json.loads(notebook)
    source = FIRST_CELL.format(name=json.dumps(name, ensure_ascii=False)).splitlines(keepends=True)
    first = {"cell_type": "code", "execution_count": None, "id": "student", "metadata": {}, "outputs": []}
    found["cells"].insert(0, first | {"source": source})
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"
