"""A maintainer's edits in a notebook, brought back into the source: cells, tags and text, nothing else."""

from collections import defaultdict
from pathlib import Path

import nbformat
from lesson_source import Cell, LessonError, cell_ids, from_notebook, parse, percent, read_source, source_of


def merged(place: str, root: Path, delete: bool = False) -> tuple[Path, str]:
    """The notebook's source file and its new text; cells nobody touched keep every byte.

    Jupyter keeps a cell's id while its text changes, so the ids say which cell is which, and cells that stand only in
    the source (`wrong`) stay behind the cell they followed. Refuses exercises (their solutions are cut out), cells that
    would vanish from the source unless `delete`, and text that would not give this very notebook again.
    """
    if place.startswith("exercises/"):
        complete = place.replace("exercises/", "solutions/")
        raise LessonError(f"{place}: the solutions are cut out of it; edit {complete} and bring that back")
    path = root / source_of(place)
    notebook = nbformat.read(root / place, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cell.source.strip()]
    known, hidden = _in_source(place, read_source(path))
    _none_lost(place, known, hidden, {cell.get("id") for cell in notebook.cells}, delete)
    edited = from_notebook(notebook)
    texts = hidden[None]
    for node, cell in zip(notebook.cells, edited, strict=True):
        texts += [_text(cell, known.get(node.get("id"))), *hidden[node.get("id", "")]]
    text = "".join(texts).rstrip("\n") + "\n"
    again = [cell.content for cell in parse(text, path) if "wrong" not in cell.tags]
    if again != [cell.content for cell in edited if "wrong" not in cell.tags]:
        raise LessonError(f"{place}: the source could not hold these cells unchanged; does a line start with '# %%'?")
    return path, text


def _in_source(place: str, cells: list[Cell]) -> tuple[dict[str, Cell], dict[str | None, list[str]]]:
    """The cells the notebook was built from, by id, and the texts of the hidden ones by the id they follow."""
    visible = [cell for cell in cells if "wrong" not in cell.tags]
    known = dict(zip(cell_ids(place, visible), visible, strict=True))
    names = {id(cell): name for name, cell in known.items()}
    hidden, last = defaultdict(list), None
    for cell in cells:
        last = names.get(id(cell), last)
        if "wrong" in cell.tags:
            hidden[last].append(cell.text)
    return known, hidden


def _none_lost(place: str, known: dict, hidden: dict, present: set[str], delete: bool) -> None:
    for name, cell in known.items():
        where = f"{source_of(place)}:{cell.line}"
        if name not in present and not delete:
            raise LessonError(
                f"{place} has no cell for {where}: either the source changed after the notebook was built, or you "
                "deleted or merged cells. Nothing was written. If it was you, say so with 'back --delete'."
            )
        if name not in present and hidden[name]:
            raise LessonError(
                f"{where}: wrong answers follow this deleted cell; move or delete them in the source first"
            )


def _text(cell: Cell, old: Cell | None) -> str:
    if old is not None and cell.content == old.content:
        return old.text
    blank = "\n\n" if old is None else old.text[len(old.text.rstrip("\n")) :]
    return percent([cell]).rstrip("\n") + blank
