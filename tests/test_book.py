"""The book: a small one is built and opened without the network; and the tools that make it, piece by piece."""

import re
import shutil
from pathlib import Path

import browser
import nbformat
import pytest
from book_docstrings import restructured
from book_links import faults
from book_notebooks import WIDGET_VIEW, BookError, in_book, page, still
from book_pages import last_run, modules
from lesson_execute import WIDGET_STATE, fingerprint, library_fingerprint, outdated
from lesson_source import KERNEL

import book

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ("__init__", "network", "heatmap", "plot", "explain/__init__", "explain/cam", "data/__init__", "data/photos")
LINK = re.compile(r"\]\((\.\./[^)#\s]+)")


# --- a small book --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The book with lesson 00 whole, of the other lessons their heads, and a few modules of the library."""
    root = tmp_path_factory.mktemp("book")
    for folder in ("book", "results"):
        shutil.copytree(ROOT / folder, root / folder)
    for name in LIBRARY:
        (root / "xailib" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "xailib" / f"{name}.py", root / "xailib" / f"{name}.py")
    (root / "lessons_src").mkdir()
    for path in sorted((ROOT / "lessons_src").glob("??_*.py")):
        whole = path.read_text(encoding="utf-8")
        head = "# %%".join(whole.split("# %%")[:2])
        (root / "lessons_src" / path.name).write_text(whole if path.name.startswith("00") else head, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def built(small):
    assert book.build(small, small / "build" / "book") == 0  # warnings are errors, and every link leads somewhere
    return small / "build" / "book" / "html"


def test_the_small_book_holds_lessons_reference_and_formulas(built):
    lesson = (built / "notebooks/00_first_photograph.html").read_text(encoding="utf-8")
    assert "00 · What did the network look at?" in lesson and "<math" in lesson and "$$" not in lesson
    assert "../reference/xailib.explain.cam.html" in lesson
    assert "assert " not in lesson  # cells tagged remove-cell
    reference = (built / "reference/xailib.explain.cam.html").read_text(encoding="utf-8")
    assert "S = h( sum_k  w_k * A_k )" in reference.replace("<span></span>", "")
    assert "_modules/xailib/explain/cam.html" in reference


def test_exercises_have_no_answers_and_solutions_have(built):
    exercise = (built / "exercises/00_first_photograph.html").read_text(encoding="utf-8")
    solution = (built / "solutions/00_first_photograph.html").read_text(encoding="utf-8")
    assert "divmod" not in exercise and "divmod" in solution
    assert "00 · What did the network look at? Solution" in solution


@pytest.mark.browser
def test_pages_open_from_disk_and_ask_nobody(built):
    pages = ("index", "notebooks/00_first_photograph", "reference/xailib.explain.cam", "glossary", "bibliography")
    with browser.chromium() as chromium:
        tab = chromium.new_page()
        asked, problems = [], []
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: problems.append(str(error)))
        for name in pages:
            tab.goto((built / f"{name}.html").as_uri())
        tab.goto((built / "notebooks/00_first_photograph.html").as_uri())
        assert tab.locator("math msub").first.bounding_box()["height"] > 5  # formulas are drawn
        tab.goto((built / "search.html").as_uri() + "?q=channel")
        tab.wait_for_selector("#search-results li a")
        tab.set_viewport_size({"width": 400, "height": 800})
        for name in pages:
            tab.goto((built / f"{name}.html").as_uri())
            assert tab.evaluate("document.documentElement.scrollWidth") <= 400, f"{name} is wider than a narrow screen"
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert problems == []


# --- links ---------------------------------------------------------------------------------------------------------------


def test_links_of_the_lessons_lead_to_files():
    missing = []
    for path in sorted((ROOT / "lessons_src").glob("*.py")):
        missing += [
            f"{path.name}: {link}" for link in LINK.findall(path.read_text(encoding="utf-8")) if not there(link)
        ]
    assert missing == []


def there(link: str) -> bool:
    kind, _, name = link.removeprefix("../").partition("/")
    if kind in ("notebooks", "exercises", "solutions"):
        kind, name = "lessons_src", name.replace(".ipynb", ".py" if kind == "notebooks" else "_ex.py")
    return (ROOT / kind / name).is_file()


@pytest.mark.parametrize(
    ("html", "fault"),
    [
        ('<a href="b.html">', None),
        ('<a href="b.html#here">', None),
        ('<a href="#me"><p id="me">', None),
        ('<a href="https://example.org/"><img src="data:image/png;base64,AA==">', None),
        ('<a href="b.html#there">', "a.html links to b.html#there, which is not there"),
        ('<a href="c.html">', "a.html links to c.html, which is not there"),
        ('<img src="c.png">', "a.html links to c.png, which is not there"),
        ('<script src="https://example.org/x.js"></script>', "a.html loads https://example.org/x.js from outside"),
        ('<link rel="stylesheet" href="//example.org/x.css">', "a.html loads //example.org/x.css from outside"),
    ],
)
def test_faults_of_links(tmp_path, html, fault):
    (tmp_path / "a.html").write_text(html)
    (tmp_path / "b.html").write_text('<h1 id="here">')
    assert faults(tmp_path) == ([fault] if fault else [])


def test_faults_of_style_sheets(tmp_path):
    (tmp_path / "a.css").write_text('@import "https://example.org/x.css"; p { background: url(b.png) }')
    assert faults(tmp_path) == ["a.css loads https://example.org/x.css from outside"]


# --- notebooks -----------------------------------------------------------------------------------------------------------


def test_links_into_the_library_lead_to_its_reference():
    assert in_book("xailib/explain/cam.py") == "reference/xailib.explain.cam.rst"
    assert in_book("xailib/explain/__init__.py") == "reference/xailib.explain.rst"
    assert in_book("xailib/models/weights/cards.json") == "xailib/models/weights/cards.json"


def model(name, buffers=(), **state):
    return {"model_name": name, "state": state, "buffers": [{"data": data} for data in buffers]}


def widget(sentence='<p role="status">a cat &amp; a dog</p>'):
    return {
        "box": model("VBoxModel", children=["IPY_MODEL_1", "IPY_MODEL_2", "IPY_MODEL_3", "IPY_MODEL_4"]),
        "1": model("DropdownModel", description="photo", _options_labels=["cat", "<dog>"], index=1),
        "2": model("FloatSliderModel", description="opacity", value=0.30000000000000004),
        "3": model("ImageModel", ["QUJD\n"], format="jpeg", width="357"),
        "4": model("HTMLModel", description="", value=sentence),
    }


def test_a_widget_is_shown_as_it_stood_at_the_end():
    html = still("box", widget())
    assert '<img src="data:image/jpeg;base64,QUJD" width="357" alt="a cat &amp; a dog">' in html
    assert "photo: <b>&lt;dog&gt;</b>" in html and "opacity: <b>0.3</b>" in html


@pytest.mark.parametrize("change", [lambda w: w.pop("3"), lambda w: w.update(widget('<p role="alert">ValueError</p>'))])
def test_a_widget_that_cannot_be_shown_is_refused(change):
    state = widget()
    change(state)
    with pytest.raises(BookError, match="a widget"):
        still("box", state)


def test_an_executed_notebook_becomes_a_page():
    view = nbformat.v4.new_output("display_data", {WIDGET_VIEW: {"model_id": "box"}, "text/plain": "Explorer"})
    cells = [
        nbformat.v4.new_markdown_cell(
            "# Why? Exercise\n\nSee [it](../xailib/plot.py), [this](../notebooks/03_why.ipynb)."
        ),
        nbformat.v4.new_code_cell("explorer", outputs=[view]),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=KERNEL | {"widgets": {WIDGET_STATE: {"state": widget()}}})
    run = {"date": "2026-01-02T03:04:05+00:00", "profile": "quick", "seconds": 12.3}
    made = page("solutions/03_why.ipynb", notebook, run, ["notebooks", "exercises", "solutions"])
    head, below, code = made.cells
    assert head.source.startswith("# 03 · Why? Solution")
    assert "[it](../reference/xailib.plot.rst), [this](../notebooks/03_why.ipynb)" in head.source
    assert "[Exercise](../exercises/03_why.ipynb)" in below.source
    assert "2026-01-02 in the profile `quick`, in 12 s" in below.source and "trained too little" in below.source
    assert list(code.outputs[0].data) == ["text/html"] and "widgets" not in made.metadata


# --- docstrings ----------------------------------------------------------------------------------------------------------


def test_docstrings_keep_formulas_and_lose_no_sign():
    text = (
        "The map `x * S` of |S| and `Sample`s.\n\nWith w_k,\n\n    S = h( sum_k  w_k * A_k )\n\n>>> maps = cam(model)"
    )
    done = "\n".join(restructured(text.splitlines()))
    assert r"The map \ ``x * S``\  of \|S\| and \ ``Sample``\ s." in done
    assert ".. code-block:: text\n\n   S = h( sum_k  w_k * A_k )\n" in done
    assert ".. code-block:: pycon\n\n   >>> maps = cam(model)\n" in done
    assert r"With w\_k," in done


# --- what ran, and when ----------------------------------------------------------------------------------------------------


@pytest.fixture
def ran(tmp_path):
    """A project of one lesson that has run."""
    (tmp_path / "xailib").mkdir()
    (tmp_path / "xailib" / "a.py").write_text("x = 1")
    (tmp_path / "lessons_src").mkdir()
    shutil.copy(ROOT / "lessons_src/00_first_photograph.py", tmp_path / "lessons_src/00_why.py")
    notebook = nbformat.v4.new_notebook(metadata=KERNEL)
    run = {"date": "2026-01-02T03:04:05+00:00", "profile": "quick", "seconds": 12.3, "jobs": 2, "errors": 0}
    run |= {"machine": "a machine", "commit": "0123456789+changes", "library": library_fingerprint(tmp_path)}
    run |= {"versions": dict.fromkeys(("python", "torch", "torchvision", "timm", "numpy"), "1.0")}
    for folder in ("notebooks", "build/executed/notebooks"):
        (tmp_path / folder).mkdir(parents=True)
        nbformat.write(notebook, tmp_path / folder / "00_why.ipynb")
        text = (tmp_path / "notebooks/00_why.ipynb").read_text()
        notebook.metadata["run"] = run | {"notebook": fingerprint(text)}
    return tmp_path, notebook.metadata["run"]


def test_what_ran_as_it_is_does_not_run_again(ran):
    root, run = ran
    place = "notebooks/00_why.ipynb"
    assert outdated([place], root, "quick") == []
    assert outdated([place], root, "laptop") == [place]
    (root / place).write_text((root / place).read_text() + "\n")
    assert outdated([place], root, "quick") == [place]


def test_a_run_that_failed_runs_again(ran):
    root, run = ran
    executed = root / "build/executed/notebooks/00_why.ipynb"
    executed.write_text(executed.read_text().replace('"errors": 0', '"errors": 1'))
    assert outdated(["notebooks/00_why.ipynb"], root, "quick") == ["notebooks/00_why.ipynb"]


def test_last_run_names_time_versions_and_a_library_that_has_changed(ran):
    root, run = ran
    table = last_run({"notebooks/00_why.ipynb": run, "solutions/00_why.ipynb": {}}, root)
    assert "| [00 lesson](notebooks/00_why.ipynb) | 2026-01-02 03:04 | quick | 12 | 40 | A | `01234567+` |" in table
    assert (
        "- **A**: a machine; python 1.0, torch 1.0, torchvision 1.0, timm 1.0, numpy 1.0; 2 notebooks side by side"
        in table
    )
    assert "| [00 solution](solutions/00_why.ipynb) | not run |" in table
    (root / "xailib" / "a.py").write_text("x = 2")
    assert "`01234567+` † |" in last_run({"notebooks/00_why.ipynb": run}, root)


# --- completeness --------------------------------------------------------------------------------------------------------


def test_every_module_but_the_checks_answers_has_a_page():
    pages = modules(ROOT)
    assert {"xailib", "xailib.explain.cam", "xailib.checks"} < set(pages)
    assert not [name for name in pages if "lesson_" in name or "__" in name]


def test_the_bibliography_holds_all_further_reading():
    known = [plain(title) for title in re.findall(r"^  title = \{(.*)\},$", read("book/references.bib"), re.MULTILINE)]
    missing = []
    for path in sorted((ROOT / "lessons_src").glob("*.py")):
        part = re.search(
            r"^# ## Further reading\n(.*?)(^# %%|\Z)", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        )
        titles = re.findall(r"\*(?=\S)([^*]{12,}?)(?<=\S)\*", re.sub(r"\n#\s+", " ", part[1])) if part else []
        missing += [f"{path.name}: {title}" for title in titles if not any(k.startswith(plain(title)) for k in known)]
    assert missing == []


def test_every_lesson_has_a_word_in_the_glossary():
    glossary = read("book/glossary.md")
    lessons = [path.stem for path in (ROOT / "lessons_src").glob("??_*.py") if not path.stem.endswith("_ex")]
    assert [name for name in lessons if f"(notebooks/{name}.ipynb)" not in glossary] == []


def plain(title: str) -> str:
    return re.sub(r"[^a-z0-9]", "", title.lower())


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")
