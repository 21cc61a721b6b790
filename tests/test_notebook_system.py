"""Does the test system bite? Planted faults, beside healthy lessons, met by the real tools in a small clone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import lessons
import nbformat
import pytest
from lesson_execute import outdated

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
# | Run time | quick 1.5 s · laptop 2 s · full 2 s |
# | Memory | 0.2 GB |
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


SLOW = """# %%
import time

# %%
time.sleep(100)

# %%
time.sleep(100)
"""
EXERCISE_FAULTS = {  # name: what is replaced, by what, and what the report says
    "00_wrong_solution": ("return 2 * x", "return x + 3", "double: not yet. expected 4, found 5"),
    "01_right_wrong": ("double(lambda x: x)", "double(lambda x: x + x)", "not caught: ✔ double: correct"),
    "02_no_call": ("check.double(lambda x: x)", "x = 1", "a wrong answer calls one check"),
    "03_spoils": ("check.double(lambda x: x)", "check.double(twice := lambda x: x)", "would spoil ['twice']"),
    "04_one_wrong": ('\n# %% tags=["wrong"]\ncheck.double(lambda x: x / 0)', "", "need 2 cells tagged 'wrong' each"),
    "05_unchecked": ("\n\ncheck.double(twice)", "\n", "must call every check"),
    "06_given_away": ("    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION", "    return 2 * x", "correct"),
    "07_stub_raises": ("check.double(twice)", "check.double(twice)\ntwice(1)", "NotImplementedError: your code here"),
}
NOTEBOOK_FAULTS = {  # name: code, and what the report says
    "05_busy": ("import time\nwhile time.process_time() < 6: pass", "the head says quick 1.5 s"),
    "06_large": ("text = bytearray(300_000_000)", "the head says 0.2 GB"),
    "07_connects": ('import socket; socket.create_connection(("192.0.2.1", 80))', "asked for 192.0.2.1"),
    "08_downloads": ('import urllib.request as r; r.urlopen("https://example.org")', "asked for example.org"),
}
SOURCE_FAULTS = {
    "00_raises": ("assert 1 == 2", "AssertionError"),
    "05_long_cell": ("x = 1\n" * 26, "a cell of 26 lines"),
    "06_no_head": ("x = 1", "head cannot be read: no table row '| Memory | ... |'"),
    "07_magic": ("display(1)", "only a notebook knows these"),
}
LOOPBACK = (
    "import socket\nwith socket.create_server(('127.0.0.1', 0)) as s:\n    socket.create_connection(s.getsockname())"
)
NO_PORT = (
    "from ipykernel.connect import get_connection_info\nassert get_connection_info(unpack=True)['transport'] == 'ipc'"
)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """Makes what it takes to build and test the given sources, without this project's lessons."""

    def make(sources):
        folder = tmp_path_factory.mktemp("clone")
        for part in PARTS:
            (folder / part).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, folder / part)
        (folder / "lessons_src").mkdir()
        for name, text in sources.items():
            (folder / "lessons_src" / f"{name}.py").write_text(text, encoding="utf-8")
        assert lessons.build(folder) == 0
        return folder

    return make


def python(clone, *arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


def run_pytest(clone, *arguments):
    """The exit status, and what was said about each test: "" if it passed."""
    status, said = python(clone, "-m", "pytest", "--junitxml=report.xml", *arguments)
    assert (clone / "report.xml").exists(), said
    cases = ElementTree.parse(clone / "report.xml").iter("testcase")
    return status, {
        f"{case.get('classname')}::{case.get('name')}": "\n".join(
            part.get("message", "") + (part.text or "") for part in case
        )
        for case in cases
    }


def about(reports, name):
    return [said for test, said in reports.items() if name in test]


def test_drifted_notebook(clone):
    folder = clone({"00_fault": HEAD + "# %%\nx = 1\n"})
    assert python(folder, "tools/lessons.py", "check")[0] == 0
    (folder / "lessons_src/00_fault.py").write_text(HEAD + "# %%\nx = 2\n", encoding="utf-8")
    status, said = python(folder, "tools/lessons.py", "check")
    assert status == 1
    assert "-x = 1" in said and "+x = 2" in said and "make notebooks" in said


# --- notebooks -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def notebooks(clone):
    return clone(
        {
            "00_map": HEAD.replace("1.5 s", "30 s").replace("0.2 GB", "2 GB") + HEATMAP,
            "01_zeros": HEAD + HEATMAP.replace("weights=gradcam", "weights=lambda e: 0 * gradcam(e)"),
            "02_widget": HEAD + WIDGET,
            "03_raising": HEAD + WIDGET.replace("value=2", "value=0"),
            "04_slow": HEAD + SLOW,
            **{name: f"{HEAD}# %%\n{code}\n" for name, (code, _) in NOTEBOOK_FAULTS.items()},
            "09_loopback": f"{HEAD}# %%\n{LOOPBACK}\n",
            "10_no_port": f"{HEAD}# %%\n{NO_PORT if os.name == 'posix' else ''}\n",
        }
    )


def test_notebooks_under_nbval(notebooks):
    status, reports = run_pytest(
        notebooks, "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=10", "notebooks"
    )
    assert status == 1
    assert about(reports, "00_map") == [""] * 5
    assert about(reports, "02_widget") == [""] * 3 and about(reports, "09_loopback") == [""] * 2
    assert about(reports, "10_no_port") == [""] * 2
    *before, claim, after, budget = about(reports, "01_zeros")
    assert before == ["", ""]
    assert "the heat map shows nothing" in claim
    assert "an earlier cell of this notebook failed" in after and "an earlier cell" in budget
    assert "division by zero" in about(reports, "03_raising")[1]
    assert "Timeout" in about(reports, "04_slow")[1]
    assert "an earlier cell of this notebook failed" in about(reports, "04_slow")[2]
    for name, (_, complaint) in NOTEBOOK_FAULTS.items():
        assert complaint in "".join(about(reports, name))


def test_execute(notebooks):
    names = ("00_map", "01_zeros", "03_raising", "10_no_port")
    status, said = python(
        notebooks, "tools/lessons.py", "execute", "-j", "2", *(f"notebooks/{name}.ipynb" for name in names)
    )
    assert status == 1
    assert "2 of 4 notebooks ran without an error" in said
    assert "FAILED notebooks/01_zeros.ipynb" in said and "the heat map shows nothing" in said
    assert "FAILED notebooks/03_raising.ipynb\nin a widget: ZeroDivisionError: division by zero" in said
    executed = nbformat.read(notebooks / "build/executed/notebooks/00_map.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].data["text/plain"] == "torch.Size([1, 16, 16])"
    run = executed.metadata["run"]
    assert (run["profile"], run["errors"], run["jobs"]) == ("quick", 0, 2) and 0 < run["seconds"] < 120
    assert outdated([f"notebooks/{name}.ipynb" for name in names], notebooks, "quick") == [
        *("notebooks/01_zeros.ipynb", "notebooks/03_raising.ipynb")  # they failed
    ]


# --- exercises -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exercises(clone):
    sources = {"90_healthy_ex": EXERCISE}
    for name, (old, new, _) in EXERCISE_FAULTS.items():
        assert old in EXERCISE
        sources[f"{name}_ex"] = EXERCISE.replace(old, new, 1)
    return run_pytest(clone(sources), "tests/test_exercises.py")


@pytest.mark.parametrize("name", EXERCISE_FAULTS)
def test_faulty_exercise(exercises, name):
    status, reports = exercises
    assert status == 1
    assert EXERCISE_FAULTS[name][2] in "".join(about(reports, name))


def test_healthy_exercise(exercises):
    assert about(exercises[1], "90_healthy") == ["", ""]


# --- sources ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(clone):
    root = clone({name: f"{HEAD}# %%\n{code}\n" for name, (code, _) in SOURCE_FAULTS.items()})
    source = root / "lessons_src" / "06_no_head.py"  # spoilt after the build, which reads heads as well
    source.write_text(source.read_text().replace("# | Memory | 0.2 GB |\n", ""))
    return run_pytest(root, "tests/test_lessons.py")


@pytest.mark.parametrize("name", SOURCE_FAULTS)
def test_faulty_source(written, name):
    status, reports = written
    assert status == 1
    said = about(reports, "first_lesson") if name == "00_raises" else about(reports, name)
    assert SOURCE_FAULTS[name][1] in "".join(said)


def test_no_lessons_at_all(clone):
    status, reports = run_pytest(clone({}), "tests/test_lessons.py")
    assert status != 0
    assert "nothing below was tested" in "".join(about(reports, "there_are_lessons"))
