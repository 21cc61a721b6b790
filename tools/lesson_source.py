"""One py:percent source, and the notebooks that come out of it.

`lessons_src/NN_name.py` gives `notebooks/NN_name.ipynb`. `lessons_src/NN_name_ex.py` gives `exercises/NN_name.ipynb`,
with the solutions cut out, and the complete `solutions/NN_name.ipynb`. Cells tagged `solution` stand in solutions/
only, cells tagged `wrong` (typical wrong answers, for the tests) in no notebook. `lessons_src/apps/name.py` gives
`notebooks/name.ipynb`, which is no lesson: it has no head, no budget and no page in the book.
"""

import ast
import hashlib
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

FOLDERS = ("notebooks", "exercises", "solutions")
KERNEL = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
STUB = 'raise NotImplementedError("your code here")'
NAMES = re.compile(r"\d\d_[a-z0-9_]+\.py")
MARKER = re.compile(r"^\s*#+\s*(begin|end)\s+solutions?\b.*$", re.IGNORECASE)  # misspelt ones too: they would leak


class LessonError(ValueError):
    """A source or notebook that cannot be used, with the reason and the place."""


@dataclass(frozen=True)
class Cell:
    kind: str  # "code", "markdown" or "raw"
    source: str
    tags: tuple[str, ...] = ()
    text: str = ""  # the cell as it stands in the source file, marker line and blank lines included
    line: int = 0  # of its "# %%" marker

    @property
    def content(self) -> tuple:
        return self.kind, self.source, self.tags


def sources(root: Path) -> list[Path]:
    """All lesson and exercise sources, in course order."""
    found = sorted((root / "lessons_src").glob("*.py"))
    for path in found:
        if not NAMES.fullmatch(path.name):
            raise LessonError(f"{path}: a source is called NN_name.py or NN_name_ex.py, in lower case")
    return found


def apps(root: Path) -> list[Path]:
    """The sources of notebooks that are no lessons."""
    return sorted((root / "lessons_src" / "apps").glob("*.py"))


def read_source(path: Path) -> list[Cell]:
    return parse(path.read_text(encoding="utf-8"), path)


def parse(text: str, path: Path) -> list[Cell]:
    """The cells of a source; refuses headers, text that jupytext reads differently, and markers that do not balance."""
    if not text.startswith("# %%"):
        raise LessonError(f"{path}:1: a source starts with its first cell ('# %% [markdown]'), without a header")
    _balanced(text, path)
    texts = re.split(r"(?m)^(?=# %%)", text)[1:]
    texts[-1] += "\n"
    cells, line = from_notebook(jupytext.reads(text, fmt="py:percent")), 1
    if len(cells) != len(texts):
        raise LessonError(f"{path}: {len(texts)} lines start with '# %%', but jupytext reads {len(cells)} cells")
    for i, chunk in enumerate(texts):
        cells[i] = replace(cells[i], text=chunk, line=line)
        _same_words(cells[i], path)
        line += chunk.count("\n")
    return cells


def _same_words(cell: Cell, path: Path) -> None:
    """jupytext takes a heading of one word and a question mark, like 'Why?', for IPython's help and drops its '#'."""
    lines = cell.text.rstrip().splitlines()[1:]
    if cell.kind == "markdown" and all(line.startswith("#") for line in lines):
        for line, read in zip(lines, cell.source.splitlines(), strict=False):
            if line[1:].strip() != read.strip():
                raise LessonError(f"{path}:{cell.line}: jupytext reads {line!r} as {read!r}; put it in other words")


def from_notebook(notebook: NotebookNode) -> list[Cell]:
    return [Cell(c.cell_type, c.source, tuple(c.metadata.get("tags", ()))) for c in notebook.cells]


def notebooks_of(source: Path) -> dict[str, list[Cell]]:
    """The notebooks of one source: their places, such as "notebooks/00_name.ipynb", and their cells."""
    cells = [cell for cell in read_source(source) if "wrong" not in cell.tags]
    if not source.stem.endswith("_ex"):
        return {f"notebooks/{source.stem}.ipynb": cells}
    name = source.stem.removesuffix("_ex")
    stubs = [cut(cell, source) for cell in cells if "solution" not in cell.tags]
    return {f"exercises/{name}.ipynb": stubs, f"solutions/{name}.ipynb": cells}


def source_of(place: str) -> str:
    """The source a notebook was built from, both as paths from the repository's root."""
    folder, name = place.split("/")
    apart = "" if name[:2].isdigit() else "apps/"
    return f"lessons_src/{apart}{Path(name).stem}{'' if folder == 'notebooks' else '_ex'}.py"


# --- solutions -------------------------------------------------------------------------------------------------------


def _balanced(text: str, path: Path) -> None:
    opened = None
    for number, line in enumerate(text.splitlines(), start=1):
        if (opened and line.startswith("# %%")) or (opened and line.strip() == BEGIN):
            raise LessonError(f"{path}:{opened}: '{BEGIN}' is not closed by '{END}' before line {number}")
        if MARKER.match(line) and line.strip() not in (BEGIN, END):
            raise LessonError(f"{path}:{number}: {line.strip()!r} is no marker; write '{BEGIN}' or '{END}'")
        if line.strip() == END and not opened:
            raise LessonError(f"{path}:{number}: '{END}' without '{BEGIN}'")
        if line.strip() in (BEGIN, END):
            opened = number if line.strip() == BEGIN else None
    if opened:
        raise LessonError(f"{path}:{opened}: '{BEGIN}' is not closed by '{END}'")


def cut(cell: Cell, path: Path) -> Cell:
    """The cell as the learner gets it: what stands between the markers is replaced by a stub."""
    if cell.kind != "code" or BEGIN not in cell.source:
        return cell
    try:
        tree = ast.parse(cell.source)
    except SyntaxError as error:
        raise LessonError(f"{path}:{cell.line + (error.lineno or 0)}: cannot cut this cell: {error.msg}") from None
    kept, opened = [], None
    for number, line in enumerate(cell.source.splitlines(), start=1):
        if line.strip() == BEGIN:
            opened = number
        elif line.strip() == END:
            kept += _stub(tree, opened, number, line, f"{path}:{cell.line + opened}")
            opened = None
        elif opened is None:
            kept.append(line)
    return replace(cell, source="\n".join(kept))


def _stub(tree: ast.Module, first: int, last: int, marker: str, where: str) -> list[str]:
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    if any(n.lineno < first and last <= _end(n, tree) for n in functions):
        return [marker[: marker.index("#")] + STUB]
    if marker != END:
        raise LessonError(f"{where}: a marked block stands inside a function or at top level, not in a class or branch")
    block = [n for n in tree.body if first < n.lineno < last]
    targets = [t for n in block for t in (n.targets if isinstance(n, ast.Assign) else [getattr(n, "target", None)])]
    names = [n.id for t in targets if t is not None for n in ast.walk(t) if isinstance(n, ast.Name)]
    if not names:
        raise LessonError(
            f"{where}: a marked block at top level needs an assignment (answer = ...) to leave a stub for"
        )
    outside = [n for n in tree.body if not first < n.lineno < last]
    read = {n.id for part in outside for n in ast.walk(part) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    left = {name for n in outside for name in _written_stub(n)}
    asked = [name for name in dict.fromkeys(names) if name in read] or dict.fromkeys(names)
    return [f"{name} = ...  # your answer here" for name in asked if name not in left]


def _written_stub(node: ast.stmt) -> list[str]:
    """The name in `name = ...`, which the author wrote to say more about the answer; of another statement none."""
    if isinstance(node, ast.Assign) and ast.unparse(node.value) == "...":
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


def _end(function: ast.stmt, tree: ast.Module) -> float:
    """The last line that still belongs to a function: comments after its last statement are not in the tree."""
    begins = [getattr(node, "lineno", 0) for node in ast.walk(tree)]
    return min((line - 1 for line in begins if line > function.end_lineno), default=1e9)


# --- notebooks -------------------------------------------------------------------------------------------------------


def cell_ids(place: str, cells: list[Cell]) -> list[str]:
    """Ids that depend on the notebook's place and each cell's content only; equal cells are counted."""
    seen, ids = Counter(), []
    for cell in cells:
        key = f"{place}|{cell.kind}|{cell.source}"
        ids.append(hashlib.sha1(f"{key}|{seen[key]}".encode()).hexdigest()[:8])
        seen[key] += 1
    return ids


def notebook_text(place: str, cells: list[Cell]) -> str:
    """The notebook file, byte for byte the same for the same cells."""
    made = []
    for cell, identity in zip(cells, cell_ids(place, cells), strict=True):
        new = getattr(nbformat.v4, f"new_{cell.kind}_cell")
        made.append(new(cell.source, id=identity, metadata={"tags": list(cell.tags)} if cell.tags else {}))
    notebook = nbformat.v4.new_notebook(cells=made, metadata=KERNEL)
    notebook.nbformat_minor = 5
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def percent(cells: list[Cell]) -> str:
    """Cells as py:percent text, without a header."""
    made = [
        getattr(nbformat.v4, f"new_{c.kind}_cell")(c.source, metadata={"tags": list(c.tags)} if c.tags else {})
        for c in cells
    ]
    filters = {"notebook_metadata_filter": "-all", "cell_metadata_filter": "tags,-all"}
    return jupytext.writes(nbformat.v4.new_notebook(cells=made, metadata={"jupytext": filters}), fmt="py:percent")
