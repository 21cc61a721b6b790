"""Does the test system bite? Planted faults, each beside its healthy twin, met by the real tools in a small clone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("pyproject.toml", "conftest.py", "tools", "tests/offline", "tests/test_lessons.py", "tests/test_exercises.py")
HEAD = """# %% [markdown]
# # Does the test system bite?
#
# | | |
# |---|---|
# | You will | plant faults |
# | You need | nothing |
# | Minutes | 5 |
# | Run time | quick 30 s · laptop 30 s · full 30 s |
# | Memory | 2 GB |
# | Data | none |
# | Network | no |

"""
EXERCISE = (
    HEAD
    + """# %%
from xailib.checks import Checks, NotYet

check = Checks()

@check(hints=["two and two"])
def double(function):
    if function(2) != 4:
        raise NotYet(f"expected 4, found {function(2)}", hint="twice two")

# %%
def twice(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION

check.double(twice)

# %% tags=["wrong"]
check.double(lambda x: x)

# %% tags=["wrong"]
check.double(lambda x: x / 0)
"""
)
HEATMAP = """# %%
import torch
from torch import nn
from xailib.explain.cam import cam, gradcam

torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
images, targets = torch.rand(1, 3, 16, 16), torch.tensor([1])

# %%
maps = cam(model, images, targets, layer="1", weights=gradcam)

# %% tags=["test", "remove-cell"]
assert maps.std() > 0, "the heat map shows nothing"

# %%
maps.shape
"""
WIDGET = """# %%
import ipywidgets

slider = ipywidgets.IntSlider(value=2)

def draw(value):
    print(1 / value)

# %%
ipywidgets.interactive_output(draw, {"value": slider})
"""


@pytest.fixture
def clone(tmp_path):
    """What it takes to build and test lessons, without this project's lessons."""
    for part in PARTS:
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    return tmp_path


def plant(clone, text, name="00_fault.py"):
    (clone / "lessons_src").mkdir(exist_ok=True)
    (clone / "lessons_src" / name).write_text(text, encoding="utf-8")
    return name


def python(clone, *arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


def build(clone):
    status, said = python(clone, "tools/lessons.py", "build")
    assert status == 0, said


def nbval(clone, *arguments):
    flags = ("--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=120", "-q")
    return python(clone, "-m", "pytest", *flags, *arguments, "notebooks")


def run_tests(clone, name, *arguments):
    return python(clone, "-m", "pytest", "-q", f"tests/{name}", *arguments)


# --- notebooks -------------------------------------------------------------------------------------------------------


def test_drifted_notebook(clone):
    plant(clone, HEAD + "# %%\nx = 1\n")
    build(clone)
    assert python(clone, "tools/lessons.py", "check")[0] == 0
    plant(clone, HEAD + "# %%\nx = 2\n")
    status, said = python(clone, "tools/lessons.py", "check")
    assert status == 1
    assert "-x = 1" in said and "+x = 2" in said and "make notebooks" in said


def test_heat_map_of_zeros(clone):
    plant(clone, HEAD + HEATMAP)
    build(clone)
    status, said = nbval(clone)
    assert status == 0, said
    plant(clone, HEAD + HEATMAP.replace("weights=gradcam", "weights=lambda e: 0 * gradcam(e)"))
    build(clone)
    status, said = nbval(clone)
    assert status == 1
    assert "the heat map shows nothing" in said
    assert "1 failed, 2 passed, 1 skipped" in said


def test_cell_without_end(clone):
    plant(clone, HEAD + "# %%\nimport time\n\n# %%\ntime.sleep(100)\n\n# %%\nx = 1\n")
    build(clone)
    status, said = nbval(clone, "--nbval-cell-timeout=1")
    assert status == 1
    assert "1 failed" in said


@pytest.mark.parametrize("value, status", [(2, 0), (0, 1)])
def test_raising_widget_callback(clone, value, status):
    plant(clone, HEAD + WIDGET.replace("value=2", f"value={value}"))
    build(clone)
    assert nbval(clone)[0] == status
    found, said = python(clone, "tools/lessons.py", "execute", "-j", "2")
    assert found == status, said
    assert ("in a widget: ZeroDivisionError: division by zero" in said) == bool(status)
    executed = nbformat.read(clone / "build/executed/notebooks/00_fault.ipynb", as_version=4)
    assert executed.cells[1].execution_count == 1


def test_execute_reports_a_failing_cell_and_still_runs_the_others(clone):
    plant(clone, HEAD + "# %%\nprint('fine')\n", "00_fine.py")
    plant(clone, HEAD + "# %%\nundefined_name\n", "01_broken.py")
    build(clone)
    status, said = python(clone, "tools/lessons.py", "execute")
    assert status == 1
    assert "FAILED notebooks/01_broken.ipynb" in said and "undefined_name" in said
    assert "1 of 2 notebooks ran" in said
    fine = nbformat.read(clone / "build/executed/notebooks/00_fine.ipynb", as_version=4)
    assert fine.cells[1].outputs[0].text == "fine\n"


# --- exercises -------------------------------------------------------------------------------------------------------


def test_healthy_exercise(clone):
    plant(clone, EXERCISE, "00_fault_ex.py")
    status, said = run_tests(clone, "test_exercises.py")
    assert status == 0, said
    assert "2 passed" in said


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("return 2 * x", "return x + 3", "double: not yet. expected 4, found 5"),  # a wrong solution
        ("double(lambda x: x)", "double(lambda x: x + x)", "not caught: ✔ double: correct"),
        ('tags=["wrong"]\ncheck.double(lambda x: x)', 'tags=["wrong"]\nx = 1', "a wrong answer calls one check"),
        ("check.double(lambda x: x)", "check.double(twice := lambda x: x)", "would spoil ['twice']"),
        ("check.double(lambda x: x / 0)", "...", "a wrong answer calls one check"),
        ('\n# %% tags=["wrong"]\ncheck.double(lambda x: x / 0)', "", "need 2 cells tagged 'wrong' each"),
        ("\n\ncheck.double(twice)", "\n", "must call every check"),
        ("    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION", "    return 2 * x", "'double': 'correct'"),
        ("check.double(twice)", "check.double(twice)\ntwice(1)", "NotImplementedError: your code here"),  # stub raises
    ],
)
def test_faulty_exercise(clone, old, new, complaint):
    assert old in EXERCISE
    plant(clone, EXERCISE.replace(old, new), "00_fault_ex.py")
    status, said = run_tests(clone, "test_exercises.py")
    assert status == 1, said
    assert complaint in said, said


# --- scripts and budgets ---------------------------------------------------------------------------------------------


def test_healthy_lesson(clone):
    plant(clone, HEAD + "# %%\nassert True\n")
    build(clone)
    status, said = run_tests(clone, "test_lessons.py")
    assert status == 0, said


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("assert 1 == 2", "AssertionError"),
        ("import time; time.sleep(3)", "the head says quick 1 s"),
        ("text = bytearray(200_000_000)", "the head says 0.1 GB"),
        ('import socket; socket.create_connection(("192.0.2.1", 80))', "asked for 192.0.2.1"),
        ('import urllib.request as r; r.urlopen("https://example.org")', "asked for example.org"),
        ("x = 1\n" * 26, "a cell of 26 lines"),
    ],
)
def test_faulty_lesson(clone, code, complaint):
    plant(clone, HEAD.replace("quick 30 s", "quick 1 s").replace("2 GB", "0.1 GB") + f"# %%\n{code}\n")
    build(clone)
    status, said = run_tests(clone, "test_lessons.py")
    assert status == 1, said
    assert complaint in said
    assert "1 failed" in said


def test_lesson_without_a_head(clone):
    plant(clone, HEAD.replace("# | Memory | 2 GB |\n", "") + "# %%\nx = 1\n")
    build(clone)
    status, said = run_tests(clone, "test_lessons.py")
    assert status == 1
    assert "head cannot be read: no table row '| Memory | ... |'" in said


def test_loopback_is_no_internet(clone):
    server = "import socket\nwith socket.create_server(('127.0.0.1', 0)) as s:\n"
    plant(clone, HEAD + f"# %%\n{server}    socket.create_connection(s.getsockname()).close()\n")
    build(clone)
    status, said = run_tests(clone, "test_lessons.py")
    assert status == 0, said


def test_no_lessons_at_all(clone):
    assert run_tests(clone, "test_lessons.py", "-k", "there_are_lessons")[0] == 1
