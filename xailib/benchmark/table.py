"""The table on disk: rows of CSV that are only ever appended, and at no moment of a run more than a group is lost.

    FILE.csv          one row per model, image, method and metric
    FILE.csv.1, ...   what the other processes of a run have found so far
    FILE.json         what the numbers are: options, seed, versions, machine

The rows of one image and one method are a group, with one row for each metric, written at once. If a process is killed
while it writes, its file ends in part of a group; whoever reads it next leaves that part out.
"""

import csv
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from xailib.course import facts

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS = ["model", "image", "target", "method", "metric", "value", "problem"]
Key = tuple[str, str, str]  # model, image, method
Group = list[list[str]]


def append(file: Path, group: Group) -> None:
    """Adds the rows of one group, and the head before the first."""
    with file.open("ab") as stream:
        stream.write(_encoded(group if stream.tell() else [COLUMNS, *group]))
        stream.flush()
        os.fsync(stream.fileno())


def gather(file: Path, keys: Iterable[Key], metrics: int) -> set[Key]:
    """Brings what all processes have found into `file`, in the order of `keys`; which of these are done.

    For the first process only, and while no other writes.
    """
    parts = [part for part in file.parent.glob(f"{file.name}.*") if part.name.removeprefix(f"{file.name}.").isdigit()]
    found = {key(group): group for part in (file, *parts) for group in groups(part, metrics)}
    done = [one for one in keys if one in found]
    replace(file, _encoded([COLUMNS, *(row for one in done for row in found[one])]))
    for part in parts:
        part.unlink()
    return set(done)


def groups(file: Path, metrics: int) -> Iterable[Group]:
    """The whole groups of a file, none if it is missing. Raises ValueError for a file that is no such table."""
    lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []  # what has no end is torn
    head, *rows = list(csv.reader(line.decode(errors="replace") for line in lines)) or [COLUMNS]
    if head != COLUMNS:
        raise ValueError(f"{file} is not a table of the benchmark; choose another file")
    for start in range(0, len(rows) - metrics + 1, metrics):
        yield rows[start : start + metrics]


def read(file: Path) -> "DataFrame":
    """The table, with NaN for what is missing."""
    from pandas import read_csv

    return read_csv(file, keep_default_na=False, na_values={"value": [""], "target": [""]}, dtype={"image": str})


def key(group: Group) -> Key:
    """Whose rows these are."""
    model, image, _, method = group[0][:4]
    return model, image, method


def replace(file: Path, content: bytes) -> None:
    """The whole file or, if interrupted, the one before."""
    part = file.with_name(f"{file.name}.part")
    with part.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, file)


def _encoded(rows: Group) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


# --- what the numbers are ---------------------------------------------------------------------------------------------


def record(file: Path, options: dict) -> None:
    """Notes in the .json beside the table what is measured, and with each start by which machine and versions.

    Raises ValueError if the file holds something else: a run is continued with the options it was begun with.
    """
    notes, now = file.with_suffix(".json"), facts()
    if file.suffix != ".csv":
        raise ValueError(f"the table goes to a file named *.csv, found {file}")
    if file.exists() and not notes.exists():
        raise ValueError(f"{file} is there, but not {notes.name}, which says what it holds; choose another file")
    try:
        known = json.loads(notes.read_bytes()) if notes.exists() else now | {"options": options}
        begun, starts = dict(known["options"]), list(known.get("continued", []))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{notes} is damaged ({error}); choose another file") from None
    for name, value in json.loads(json.dumps(options)).items():
        if begun.get(name) != value:
            was = _difference(begun.get(name), value)
            raise ValueError(f"{file} was begun with other {name}: {was}; choose another file, or the options of then")
    if notes.exists():
        known["continued"] = [*starts, now]
    file.parent.mkdir(parents=True, exist_ok=True)
    replace(notes, (json.dumps(known, indent=2, ensure_ascii=False) + "\n").encode())


def _difference(old, new) -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        return "; ".join(
            f"{name} {old.get(name, 'not there')} then, {new.get(name, 'not there')} now" for name in names
        )
    return f"{old} then, {new} now"
