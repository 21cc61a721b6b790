"""The book: lessons, exercises, solutions and the library's reference as pages that open from disk.

python tools/book.py              runs what is outdated (in the profile XAILIB_PROFILE), then builds build/book/html/
python tools/book.py --no-run     runs nothing: a lesson that has not run as it is stands there without its results
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from book_links import faults
from book_notebooks import BookError, linked_files, page
from book_pages import contents, last_run, modules, numbers, reference, reference_page
from lesson_execute import EXECUTED, fingerprint, outdated, run_record
from lesson_source import FOLDERS, LessonError
from lessons import expected
from lessons import run as execute
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]


def build(root: Path, out: Path) -> int:
    """Writes OUT/html, with the results of what has run; says what is wrong with its links, and returns 1 then."""
    shutil.rmtree(out, ignore_errors=True)
    stage(root, out / "source")
    command: list = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-d", out / "doctrees"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    if subprocess.run([*command, out / "source", out / "html"], env=environment).returncode:
        return 1
    found = faults(out / "html")
    print(*found, f"the links of the book have {len(found)} faults; outside links were not followed", sep="\n")
    print(f"open {out / 'html' / 'index.html'}")
    return 1 if found else 0


def stage(root: Path, source: Path) -> None:
    """Writes what Sphinx reads: book/ as it is, the notebooks, the numbers, and the pages made here."""
    shutil.copytree(root / "book", source)
    shutil.copytree(root / "results", source / "results")
    texts = expected(root)
    runs = {place: _run_of(place, root, text) for place, text in texts.items() if not place.startswith("exercises/")}
    for place, text in texts.items():
        folders = [folder for folder in FOLDERS if f"{folder}/{Path(place).name}" in texts]
        run = runs.get(place, {})
        notebook = nbformat.reads((root / EXECUTED / place).read_text(encoding="utf-8") if run else text, as_version=4)
        _copy_linked(place, notebook, root, source)
        _write(source / place, nbformat.writes(page(place, notebook, run, folders)))
    _write(source / "_contents.md", contents(root))
    _write(source / "_reference.md", reference(root))
    for name, text in numbers(root).items():
        _write(source / "results" / name, text)
    _write(source / "_last_run.md", last_run(runs, root))
    for name in modules(root):
        _write(source / "reference" / f"{name}.rst", reference_page(name, root))


def _run_of(place: str, root: Path, text: str) -> dict:
    """The record of a notebook's run; empty where another text ran, or none."""
    run = run_record(place, root)
    return run if run.get("notebook") == fingerprint(text) else {}


def _copy_linked(place: str, notebook: NotebookNode, root: Path, source: Path) -> None:
    for path in linked_files(notebook.cells):
        if not (root / path).is_file():
            raise BookError(f"{place} links to ../{path}, which is not there")
        _write(source / path, (root / path).read_text(encoding="utf-8"))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-run", action="store_true", help="run nothing")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="notebooks side by side")
    options = parser.parse_args(arguments)
    try:
        if not options.no_run and _run(root, options.jobs):
            return 1
        return build(root, root / "build" / "book")
    except (BookError, LessonError) as error:
        print(error, file=sys.stderr)
        return 1


def _run(root: Path, jobs: int) -> int:
    texts = {place: text for place, text in expected(root).items() if not place.startswith("exercises/")}
    if edited := [place for place, text in texts.items() if not _is_built(root / place, text)]:
        raise BookError(f"{', '.join(edited)}: not as lessons_src/ says; 'make notebooks' builds them")
    old = outdated([*texts], root, os.environ.get("XAILIB_PROFILE", "laptop"))
    print(f"{len(texts) - len(old)} of {len(texts)} notebooks have run as they are")
    return execute(root, [root / place for place in old], jobs) if old else 0


def _is_built(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
