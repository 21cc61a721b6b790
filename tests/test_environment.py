"""Set-up files: conda's environment.yml repeats nothing, and make says plainly when Python is too old."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def test_environment_holds_python_pip_and_this_project_only():
    python, *rest = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    assert rest == ["pip", {"pip": ["-e .[dev]"]}]
    assert "dev" in PROJECT["optional-dependencies"]
    name, _, version = python.partition("=")
    assert name == "python"
    assert version in SpecifierSet(PROJECT["requires-python"])


def make(folder, *arguments):
    apart = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # `make test` runs us
    return subprocess.run(["make", *arguments], cwd=folder, env=apart, capture_output=True, text=True, timeout=60)


@needs_make
def test_an_old_python_is_refused_in_a_sentence(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    old = tmp_path / "python3.9"
    lie = "import sys; sys.version_info = (3, 9, 1); sys.version = '3.9.1 (old)'; exec(sys.argv[2])"
    old.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{lie}" "$@"\n')
    old.chmod(0o755)
    done = make(tmp_path, "test", f"PYTHON={old}")
    assert done.returncode != 0
    assert f"This course needs Python 3.11 or newer, but {old} is 3.9.1." in done.stderr
    assert not (tmp_path / ".venv").exists()


@needs_make
@pytest.mark.parametrize(
    "target", ["lab", "test", "notebooks", "lint", "check", "widgets", "workbench", "execute", "book"]
)
def test_a_fresh_stamp_means_no_pip(tmp_path, target):
    """Nothing is installed twice, so nothing asks for the network after installation."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for name in ("bin/python", ".installed"):
        (tmp_path / ".venv" / name).touch()
    assert "pip" not in make(tmp_path, "-n", target).stdout
    os.utime(tmp_path / "pyproject.toml", (2e9, 2e9))
    assert "pip install" in make(tmp_path, "-n", target).stdout


@needs_make
def test_help_names_every_target():
    said = make(ROOT, "help").stdout
    assert [line.split()[1] for line in said.splitlines()] == [
        *("help", "lab", "test", "notebooks", "lint", "check", "widgets", "workbench", "execute", "slides", "book"),
        "benchmarks",
    ]


def test_the_code_in_the_readme_runs():
    block = (ROOT / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    names = {}
    exec(block, names)
    assert names["maps"].shape == names["mine"].shape == (2, 224, 224)
    assert not names["maps"].equal(names["mine"])
