"""Lessons: one source each, and the notebooks built from it.

python tools/lessons.py build                    sources -> notebooks and the tables of lessons; removes orphans
python tools/lessons.py check                    changes nothing; shows how notebooks and tables differ from sources
python tools/lessons.py back NOTEBOOK...         notebook edits -> source (cells, tags and text, nothing else)
python tools/lessons.py execute [NOTEBOOK...]    executed copies in build/executed/
"""

import argparse
import sys
from collections.abc import Callable
from difflib import unified_diff
from pathlib import Path

import nbformat
from lesson_back import merged
from lesson_execute import execute
from lesson_source import (
    FOLDERS,
    LessonError,
    apps,
    cell_ids,
    from_notebook,
    notebook_text,
    notebooks_of,
    percent,
    sources,
)
from lesson_table import outdated

ROOT = Path(__file__).resolve().parents[1]


def expected(root: Path) -> dict[str, str]:
    """The text of the notebook of every lesson and exercise, by place ("notebooks/00_name.ipynb")."""
    return _built(sources(root))


def with_apps(root: Path) -> dict[str, str]:
    """The text of every notebook there should be."""
    return expected(root) | _built(apps(root))


def _built(sources: list[Path]) -> dict[str, str]:
    cells = {place: cells for source in sources for place, cells in notebooks_of(source).items()}
    return {place: notebook_text(place, cells[place]) for place in sorted(cells)}


def orphans(root: Path, wanted: dict[str, str]) -> list[str]:
    found = [path for folder in FOLDERS for path in sorted((root / folder).glob("*.ipynb"))]
    return [place for path in found if (place := path.relative_to(root).as_posix()) not in wanted]


def build(root: Path, keep_work: bool = False) -> int:
    wanted = with_apps(root)
    for place, text in wanted.items():
        path = root / place
        if path.exists() and path.read_bytes() == text.encode():
            continue
        if path.exists() and keep_work and holds_work(place, path):
            print(f"kept     {place}: it holds your work ('make notebooks' would replace it)")
            continue
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        print(f"built    {place}")
    for place, text in outdated(root).items():
        (root / place).write_text(text, encoding="utf-8", newline="\n")
        print(f"built    {place}: its table of lessons")
    return _remove_orphans(root, orphans(root, wanted), keep_work)


def _remove_orphans(root: Path, places: list[str], keep_work: bool) -> int:
    mine = [place for place in places if holds_work(place, root / place)]
    for place in places:
        if place in mine:
            print(f"kept     {place}: it has no source, but holds someone's work; move it elsewhere yourself")
        else:
            (root / place).unlink()
            print(f"removed  {place}: it has no source")
    return 1 if mine and not keep_work else 0


def holds_work(place: str, path: Path) -> bool:
    """Whether a notebook is more than this tool once wrote: it has outputs, or ids that are not those of its cells."""
    try:
        notebook = nbformat.read(path, as_version=4)
    except ValueError:
        return True
    ran = any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
    return ran or [cell.get("id") for cell in notebook.cells] != cell_ids(place, from_notebook(notebook))


def check(root: Path) -> int:
    wanted = with_apps(root)
    reports = [f"{place}: missing" for place in wanted if not (root / place).exists()]
    reports += [f"{place}: an orphan, it has no source" for place in orphans(root, wanted)]
    reports += [report for place, text in wanted.items() if (report := _difference(place, root / place, text))]
    reports += [f"{place}: its table of lessons is not that of the heads" for place in outdated(root)]
    if not reports:
        print(f"{len(wanted)} notebooks agree with their sources")
        return 0
    print(*reports, "\nThe sources in lessons_src/ count. 'make notebooks' builds the notebooks from them.", sep="\n")
    return 1


def _difference(place: str, path: Path, text: str) -> str:
    """A diff of the cells; what the notebook file holds besides is named, not shown."""
    if not path.exists() or path.read_bytes() == text.encode():
        return ""
    try:
        found = percent(from_notebook(nbformat.read(path, as_version=4)))
    except ValueError as error:
        return f"{place}: not a notebook: {error}"
    built = percent(from_notebook(nbformat.reads(text, as_version=4)))
    if found == built:
        return f"{place}: the cells agree, but it holds outputs, metadata or other cell ids"
    names = f"{place} (as it is)", f"{place} (as its source says)"
    return "\n".join(unified_diff(found.splitlines(), built.splitlines(), *names, lineterm=""))


def back(root: Path, notebooks: list[Path], delete: bool = False) -> int:
    for place in _places(root, notebooks):
        path, text = merged(place, root, delete)
        before = path.read_text(encoding="utf-8")
        path.write_text(text, encoding="utf-8", newline="\n")
        name = path.relative_to(root).as_posix()
        diff = unified_diff(before.splitlines(), text.splitlines(), f"{name} (before)", f"{name} (now)", lineterm="")
        print("\n".join(diff) or f"{name}: nothing to bring back from {place}")
    print("'make notebooks' brings the notebooks in step.")
    return 0


def run(root: Path, notebooks: list[Path], jobs: int) -> int:
    places = _places(root, notebooks) or [place for place in expected(root) if not place.startswith("exercises/")]
    failed = {place: errors for place, errors in execute(places, root, jobs).items() if errors}
    for place, errors in failed.items():
        print(f"FAILED {place}", *errors, sep="\n")
    print(f"{len(places) - len(failed)} of {len(places)} notebooks ran without an error; copies in build/executed/")
    return 1 if failed else 0


def _places(root: Path, notebooks: list[Path]) -> list[str]:
    places = []
    for path in notebooks:
        if not path.is_file() or path.resolve().parent not in [(root / folder).resolve() for folder in FOLDERS]:
            raise LessonError(f"{path}: not a notebook in {', '.join(FOLDERS)}")
        places.append(f"{path.resolve().parent.name}/{path.name}")
    return places


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("build", help="build the notebooks")
    command.add_argument("--keep-work", action="store_true", help="leave notebooks that were run or edited as they are")
    commands.add_parser("check", help="compare notebooks and sources")
    command = commands.add_parser("back", help="bring edits of a notebook back into its source")
    command.add_argument("notebooks", nargs="+", type=Path)
    command.add_argument("--delete", action="store_true", help="cells deleted in the notebook vanish from the source")
    command = commands.add_parser("execute", help="run notebooks into build/executed/")
    command.add_argument("notebooks", nargs="*", type=Path)
    command.add_argument("-j", "--jobs", type=int, default=1, help="notebooks side by side")
    options = vars(parser.parse_args(arguments))
    actions: dict[str, Callable[..., int]] = {"build": build, "check": check, "back": back, "execute": run}
    action = actions[options.pop("command")]
    try:
        return action(root, **options)
    except LessonError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
