"""Every lesson, whole, in a browser, and every control of its widget moved by keyboard. For `make widgets`: it is long.

The answers' times go to widgets.csv among the results. pytest does not find this file by itself.
"""

import os
import shutil
from pathlib import Path

import browser
import pandas as pd
import pytest

from xailib.course import save_results

LESSONS = sorted((Path(__file__).parents[1] / "notebooks").glob("[0-9]*.ipynb"))


@pytest.fixture(scope="module")
def table():
    rows = []
    yield rows
    print(save_results("widgets", pd.DataFrame(rows), seed=None))


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
@pytest.mark.browser
def test_whole_lesson(lab, chromium, table, lesson):
    shutil.copy(lesson, lab.folder)
    notebook = browser.Notebook(chromium, lab, lesson.name)
    notebook.run_all(600)
    assert notebook.errors() == [] and notebook.unrun() == []
    assert notebook.alts() and all(notebook.alts())
    explorers = notebook.explorers()
    assert explorers, "the lesson has no widget"
    for explorer in explorers:
        table += [{"lesson": lesson.stem} | vars(move) for move in explorer.moves()]
        if folder := os.environ.get("XAILIB_SCREENSHOTS"):
            explorer.box.screenshot(path=Path(folder) / f"{lesson.stem}.png")
    notebook.close()
