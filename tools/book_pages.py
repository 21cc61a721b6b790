"""Pages of the book that are written by the project itself: contents, reference, last run."""

import ast
from pathlib import Path

from book_docstrings import restructured
from book_notebooks import NAMES
from lesson_execute import library_fingerprint
from lesson_head import read_head
from lesson_source import source_of

PARTS = {
    "Start": range(1),
    "I · Recognition": range(1, 5),
    "II · Explaining": range(5, 10),
    "III · Judging": range(10, 13),
    "IV · Three contributions": range(13, 16),
    "V · By design": range(16, 17),
    "VI · Capstone": range(17, 100),
}
FLOORS = {
    "Tensors and networks": ("network", "heatmap", "inputs", "attention", "grid", "rectifier", "rerun"),
    "Methods, metrics, networks, data, training": ("explain", "metrics", "models", "data", "training"),
}
LAST_FLOOR = "Measuring, drawing, teaching"  # whatever else there is
VERSIONS = ("python", "torch", "torchvision", "timm", "numpy")


# --- contents ----------------------------------------------------------------------------------------------------------


def contents(root: Path) -> str:
    """A table of the lessons, by part, and the book's table of contents."""
    lessons = [path for path in sorted((root / "lessons_src").glob("*.py")) if not path.stem.endswith("_ex")]
    rows, trees = ["| | minutes | run time |", "|---|---|---|"], []
    for part, numbers in PARTS.items():
        inside = [path for path in lessons if int(path.stem[:2]) in numbers]
        if inside:
            rows += [f"| **{part}** | | |", *map(_row, inside)]
            trees.append(_tree(part, [f"notebooks/{path.stem}" for path in inside]))
    return "\n".join([*rows, "", *trees])


def _row(path: Path) -> str:
    head = read_head(path)
    return f"| {path.stem[:2]} [{head.title}](notebooks/{path.stem}.ipynb) | {head.rows['Minutes']} | {head.rows['Run time']} |"


def _tree(caption: str, documents: list[str]) -> str:
    titled = [f":caption: {caption}"] if caption else []
    return "\n".join(["```{toctree}", ":hidden:", *titled, "", *documents, "```", ""])


def numbers(root: Path) -> dict[str, str]:
    """The pages on what was measured, by file name: results/README.md, and below it each table, with a title."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted((root / "results").glob("*.md"))}
    texts = {name: text if text.startswith("# ") else f"# {Path(name).stem}\n\n{text}" for name, text in texts.items()}
    tables = [Path(name).stem for name in texts if name != "README.md"]
    return texts | {"README.md": f"{texts['README.md']}\n{_tree('', tables)}"}


# --- reference ---------------------------------------------------------------------------------------------------------


def modules(root: Path) -> list[str]:
    """The modules of the library that have a page: all but the answers that exercises are checked by."""
    found = ["/".join(path.relative_to(root).with_suffix("").parts) for path in sorted((root / "xailib").rglob("*.py"))]
    names = [name.removesuffix("/__init__").replace("/", ".") for name in found]
    return [name for name in names if not name.endswith("__main__") and ".lesson_" not in name]


def reference(root: Path) -> str:
    """The modules and rooms of the library, floor by floor, each with its first sentence."""
    rooms = [name for name in modules(root) if name.count(".") == 1]
    floors = {title: [f"xailib.{room}" for room in floor] for title, floor in FLOORS.items()}
    floors[LAST_FLOOR] = [room for room in rooms if room not in sum(floors.values(), [])]
    lines = []
    for title, floor in floors.items():
        items = [_line(f"/reference/{room}", room, root) for room in floor if room in rooms]
        lines += [f"## {title}", "", "```{eval-rst}", *items, "```", ""]
    return "\n".join([*lines, _tree("", ["xailib <reference/xailib>"])])


def reference_page(name: str, root: Path) -> str:
    """A module's docstring and public members, and for a package a list of its modules."""
    members = f".. automodule:: {name}\n   :members:\n   :ignore-module-all:\n"
    inside = [other for other in modules(root) if other.rpartition(".")[0] == name]
    hidden = [".. toctree::", "   :hidden:", "", *(f"   {other.split('.')[-1]} <{other}>" for other in inside)]
    lists = [*(_line(other, other, root) for other in inside), "", *hidden] if inside else []
    return "\n".join([name, "=" * len(name), "", members, *lists, ""])


def _line(document: str, name: str, root: Path) -> str:
    return f"- :doc:`{name} <{document}>`: {_summary(name, root)}"


def _summary(name: str, root: Path) -> str:
    path = root / name.replace(".", "/")
    text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")
    first = (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0]
    return " ".join(restructured(first.splitlines()))


# --- last run ----------------------------------------------------------------------------------------------------------


def last_run(runs: dict[str, dict], root: Path) -> str:
    """A table of when, where, in what profile and in how many seconds each notebook ran."""
    settings = list(dict.fromkeys(_setting(run) for run in runs.values() if run))
    where = {setting: chr(ord("A") + at) for at, setting in enumerate(settings)}
    library, rows = library_fingerprint(root), []
    for place, run in sorted(runs.items(), key=lambda item: item[0].split("/")[::-1]):
        cells = _cells(place, run, where, library, root) if run else ["not run", *[""] * 5]
        kind = NAMES[place.split("/")[0]].lower()
        rows.append(f"| [{place.split('/')[1][:2]} {kind}]({place}) | {' | '.join(cells)} |")
    head = "| | when (UTC) | profile | seconds | head says | where | commit |\n|---|---|---|--:|--:|---|---|"
    legend = [f"- **{letter}**: {setting}" for setting, letter in where.items()]
    return "\n".join([head, *rows, "", *legend, ""])


def _cells(place: str, run: dict, where: dict[str, str], library: str, root: Path) -> list[str]:
    commit, _, changes = run["commit"].partition("+")
    commit = f"`{commit[:8]}{'+' if changes else ''}`{'' if run['library'] == library else ' †'}"
    when, budget = run["date"][:16].replace("T", " "), read_head(root / source_of(place)).seconds[run["profile"]]
    seconds = f"{run['seconds']:.0f}{'' if not run['errors'] else ', ended in an error'}"
    return [when, run["profile"], seconds, f"{budget:.0f}", where[_setting(run)], commit]


def _setting(run: dict) -> str:
    versions = ", ".join(f"{package} {run['versions'][package]}" for package in VERSIONS)
    side = "one notebook at a time" if run["jobs"] == 1 else f"{run['jobs']} notebooks side by side"
    return f"{run['machine']}; {versions}; {side}"
