"""`make check` turns red: each of its commands in a small repository with this project's settings, sound and spoilt."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import links
import pytest

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
MODULE = '''"""One function."""


def double(number: int) -> int:
    """Twice the number."""
    return 2 * number
'''
USE = "from xailib.small import double\n\nassert double(1) == 2\n"
README = "# Small\n\n## What *it* does\n\n[It](#what-it-does), [code](xailib/small.py), <https://example.org>\n"


@pytest.fixture
def small(tmp_path):
    """A sound repository: one module, one test, one page."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    texts = {"xailib/__init__.py": "", "xailib/small.py": MODULE, "tests/test_small.py": USE, "README.md": README}
    for name in ("pyproject.toml", "Makefile", "conftest.py"):
        texts[name] = (ROOT / name).read_text(encoding="utf-8")
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_every_link_leads_somewhere():
    assert links.faults(ROOT) == []


@pytest.mark.parametrize(
    ("link", "fault"),
    [
        ("[a](xailib/gone.py)", "README.md:7: xailib/gone.py leads to no file of the repository"),
        ("![a](gone.png)", "README.md:7: gone.png leads to no file of the repository"),
        ('<img src="gone.png">', "README.md:7: gone.png leads to no file of the repository"),
        ("[a][b]\n\n[b]: gone.md", "README.md:7: gone.md leads to no file of the repository"),
        ("[a](../README.md)", "README.md:7: ../README.md leads to no file of the repository"),
        ("[a](#small-1)", "README.md:7: #small-1 leads to no heading of README.md"),
        ("[a](README.md#What)", "README.md:7: README.md#What leads to no heading of README.md"),
        ("[a](https://example)", "README.md:7: https://example is no whole address"),
        ("[a](http//example.org)", "README.md:7: http//example.org leads to no file of the repository"),
    ],
)
def test_a_broken_link_is_named_with_its_place(small, link, fault):
    assert links.faults(small) == []
    (small / "README.md").write_text(f"{README}\n{link}\n", encoding="utf-8")
    assert links.faults(small) == [fault]


def test_links_of_lessons_start_from_the_notebook(small):
    (small / "lessons_src").mkdir()
    lesson = small / "lessons_src" / "00_small.py"
    lesson.write_text("# %% [markdown]\n# # Small\n#\n# [code](../xailib/small.py)\n", encoding="utf-8")
    assert links.faults(small) == []
    lesson.write_text("# %% [markdown]\n# # Small\n#\n# [code](xailib/small.py)\n", encoding="utf-8")
    assert links.faults(small) == ["lessons_src/00_small.py:4: xailib/small.py leads to no file of the repository"]


def test_what_looks_like_a_link_in_code_or_a_formula_is_none(small):
    (small / "README.md").write_text("`[a](b)` and $[a](b)$\n\n    [a](b)\n\n$$\n[a](b)\n$$\n", encoding="utf-8")
    assert links.faults(small) == []


def test_a_file_that_git_does_not_keep_leads_nowhere(small):
    for command in (["init", "-q"], ["add", "README.md"]):
        subprocess.run(["git", *command], cwd=small, check=True)
    assert links.faults(small) == ["README.md:5: xailib/small.py leads to no file of the repository"]


def test_headings_are_numbered_where_they_repeat():
    assert links.places("# A `b`, c!\n## d\n## D\n") == {"a-b-c", "d", "d-1"}


@needs_make
def test_make_check_is_red_for_each_fault(small):
    """All commands that make prints pass in the sound repository, and the one that looks for a fault finds it."""
    commands = [command for command in said_by_make(small) if "lessons.py" not in command]  # see test_lessons_tool.py
    assert {command: run(command, small) for command in commands} == dict.fromkeys(commands, 0)
    for fault, name, text in (
        ("ruff check", "xailib/small.py", f"import os\n\n{MODULE}"),
        ("ruff format", "xailib/small.py", MODULE.replace("2 * number", "2*number")),
        ("links.py", "README.md", f"{README}[a](gone.md)\n"),
        ("vulture", "tests/test_small.py", ""),
        ("mypy", "xailib/small.py", MODULE.replace("2 * number", 'f"{number}"')),
    ):
        before = (small / name).read_text(encoding="utf-8")
        (small / name).write_text(text, encoding="utf-8")
        red = [command for command in commands if fault in command]
        assert [run(command, small) != 0 for command in red] == [True], fault
        (small / name).write_text(before, encoding="utf-8")


def said_by_make(folder: Path) -> list[str]:
    """The commands behind `make check`, one by one."""
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").touch()
    (folder / ".venv" / ".installed").touch()
    apart = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    said = subprocess.run(["make", "-n", "check"], cwd=folder, env=apart, capture_output=True, text=True, check=True)
    return [command for line in said.stdout.splitlines() for command in line.split(" && ")]


def run(command: str, folder: Path) -> int:
    if command.endswith(("vulture", "mypy")):
        command += " xailib tests"  # not tools/, which is copied without what calls it
    command = command.replace(".venv/bin", str(BIN))
    return subprocess.run(command, shell=True, cwd=folder, capture_output=True).returncode
