"""The course as a student meets it: JupyterLab in a browser. Small notebooks prove that the tests can fail.

Widgets come without the rest of their lessons here, to save time: `make widgets` opens whole lessons.
"""

import shutil
from pathlib import Path

import browser
import nbformat
import pytest

pytestmark = pytest.mark.browser
TESTS = Path(__file__).parent
LESSONS = sorted((TESTS.parent / "notebooks").glob("[0-9]*.ipynb"))

FIGURE = """
from xailib import plot
plot.bars({"espresso": 0.94, "cup": 0.02}, alt="Espresso is by far the likeliest class.", xlabel="probability")
"""
EXPLORER = """
import torch
from xailib.widgets import Explorer, slider

def compute(height):
    if height == 3:
        raise RuntimeError("no map of height 3")
    return torch.tensor([[0.0, height], [0.0, 0.0]])

def draw(heat):
    photograph = torch.full((3, 64, 64), 0.5)
    return plot.overlay(photograph, heat, alt=f"Heat up to {heat.max():g}, top right.", limits=(0, 4))

Explorer(compute, draw, height=slider(1, 4, 1, 1, "height"))
"""


def test_a_missing_browser_skips_or_fails_as_asked(monkeypatch):
    monkeypatch.setattr(browser, "_PROGRAMS", ())
    monkeypatch.setattr(browser, "_PLACES", ())
    monkeypatch.delenv("XAILIB_REQUIRE_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Chromium"):
        browser.executable()
    monkeypatch.setenv("XAILIB_REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="no Chromium"):
        browser.executable()


def small_notebook(path: Path, *cells: str) -> None:
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}  # without one, Lab asks
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    notebook.cells = [nbformat.v4.new_code_cell(cell.strip()) for cell in cells]
    nbformat.write(notebook, path)


def test_small_notebook_shows_pictures_and_errors(lab, chromium):
    small_notebook(lab.folder / "small.ipynb", FIGURE, EXPLORER)
    notebook = browser.Notebook(chromium, lab, "small.ipynb")
    notebook.run_all()
    assert notebook.errors() == [] and notebook.unrun() == []
    assert notebook.alts() == ["Espresso is by far the likeliest class."]
    first = notebook.picture()
    notebook.nudge()  # to 2
    notebook.wait_for_change(first)
    assert notebook.says("Heat up to 2, top right.")
    notebook.nudge()  # to 3, which raises
    assert notebook.says("RuntimeError: no map of height 3")
    assert "RuntimeError: no map of height 3" in notebook.errors()
    notebook.nudge()  # to 4, the end
    assert notebook.says("Heat up to 4, top right.") and notebook.errors() == []
    notebook.nudge()  # back to 3
    assert notebook.says("RuntimeError: no map of height 3")


def test_a_raising_cell_is_noticed(lab, chromium):
    small_notebook(lab.folder / "broken.ipynb", "1 / 0", "1 + 1")
    notebook = browser.Notebook(chromium, lab, "broken.ipynb")
    assert notebook.errors() == [] and notebook.unrun() == ["1 / 0", "1 + 1"]
    notebook.run_all()  # whether the cell behind the error runs depends on which reaches the kernel first
    assert notebook.errors() == ["ZeroDivisionError: division by zero"] and "1 / 0" not in notebook.unrun()


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        (EXPLORER.replace("== 3", "== 2"), "'height': .*RuntimeError: no map of height 3"),
        (EXPLORER.replace("== 3", "== 9").replace("[0.0, height]", "[0.0, 4]"), "'height' .* the picture stayed"),
    ],
    ids=["raises", "stays"],
)
def test_a_widget_that_does_not_work_is_noticed(lab, chromium, code, complaint):
    assert code != EXPLORER
    small_notebook(lab.folder / "faulty.ipynb", FIGURE, code)
    notebook = browser.Notebook(chromium, lab, "faulty.ipynb")
    notebook.run_all()
    (explorer,) = notebook.explorers()
    with pytest.raises(AssertionError, match=complaint):
        explorer.moves()
    notebook.close()


@pytest.fixture(scope="module")
def widgets(lab, chromium):
    """A notebook with a cell for the widget of each lesson, so that one page and one kernel do for all."""
    start = f"import sys; sys.path.insert(0, {str(TESTS)!r})\nfrom pathlib import Path\nfrom lesson_widgets import widget_of"
    small_notebook(lab.folder / "widgets.ipynb", start, *(f"widget_of(Path({str(one)!r}))" for one in LESSONS))
    notebook = browser.Notebook(chromium, lab, "widgets.ipynb")
    notebook.run_cell(0)
    yield notebook
    notebook.close()


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_widgets_move_by_keyboard_and_their_pictures_change(widgets, lesson):
    at = 1 + LESSONS.index(lesson)
    widgets.run_cell(at)
    assert widgets.errors() == []
    (explorer,) = widgets.explorers(at)
    print(lesson.stem, *explorer.moves(), sep="\n")


@pytest.mark.skipif(not LESSONS, reason="the notebooks are not built")
def test_first_lesson_runs_and_its_slider_changes_the_picture(lab, chromium):
    shutil.copy(LESSONS[0], lab.folder)
    notebook = browser.Notebook(chromium, lab, LESSONS[0].name)
    notebook.run_all()
    assert notebook.errors() == [] and notebook.unrun() == []
    assert notebook.alts() and all(notebook.alts())
    first = notebook.picture()
    notebook.nudge()
    notebook.wait_for_change(first)
    assert notebook.errors() == []
    notebook.close()
