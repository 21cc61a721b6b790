"""tools/lessons.py on small lessons: what is built, what is refused, and what comes back from a notebook."""

from pathlib import Path

import lessons
import nbformat
import pytest
from lesson_head import read_head
from lesson_source import LessonError, source_of

ROOT = Path(__file__).resolve().parents[1]
HEAD = """# %% [markdown]
# # How small can a lesson be?
#
# | | |
# |---|---|
# | You will | count to two |
# | You need | nothing |
# | Minutes | 5 |
# | Run time | quick 10 s · laptop 1.5 min · full 2 h |
# | Memory | 1.5 GB |
# | Data | none |
# | Network | no |

"""
LESSON = (
    HEAD
    + """# %%
import math

# %%
def double(x):
    return 2 * x

# %% tags=["test", "remove-cell"]
assert double(2) == 4
"""
)
EXERCISE = (
    HEAD
    + '''# %%
def mean(values: list[float]) -> float:
    """The arithmetic mean."""
    total = sum(values)
    ### BEGIN SOLUTION
    # as in school
    return total / len(values)
    ### END SOLUTION


class Counter:
    def up(self):
        ### BEGIN SOLUTION
        return 1
        ### END SOLUTION

# %% tags=["wrong"]
"the first wrong answer"

# %%
### BEGIN SOLUTION
import math
row, column = 2, 1
area: float = math.pi
### END SOLUTION
kept = 1

# %% tags=["wrong"]
"the second wrong answer"

# %% [markdown] tags=["solution"]
# Because it is so.
'''
)


@pytest.fixture
def root(tmp_path):
    write(tmp_path, "00_tiny.py", LESSON)
    write(tmp_path, "00_tiny_ex.py", EXERCISE)
    assert lessons.main(["build"], root=tmp_path) == 0
    return tmp_path


def write(root, name, text):
    path = root / "lessons_src" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


def cells(root, place):
    return nbformat.read(root / place, as_version=4).cells


def edit(root, place, change):
    """Change a notebook as a person in JupyterLab does, who leaves outputs and metadata behind."""
    notebook = nbformat.read(root / place, as_version=4)
    change(notebook.cells)
    notebook.metadata["language_info"]["version"] = "3.12.0"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count = 1
            cell.outputs = [nbformat.v4.new_output("stream", text="a line\n")]
            cell.metadata["scrolled"] = True
    nbformat.write(notebook, root / place)


# --- build -----------------------------------------------------------------------------------------------------------


def test_exercise_keeps_signatures_and_loses_solutions(root):
    stub = [cell.source for cell in cells(root, "exercises/00_tiny.ipynb")[1:]]
    assert stub == [
        "def mean(values: list[float]) -> float:\n"
        '    """The arithmetic mean."""\n'
        "    total = sum(values)\n"
        '    raise NotImplementedError("your code here")\n\n\n'
        "class Counter:\n"
        "    def up(self):\n"
        '        raise NotImplementedError("your code here")',
        "row = ...  # your answer here\ncolumn = ...  # your answer here\narea = ...  # your answer here\nkept = 1",
    ]


@pytest.mark.parametrize(
    ("above", "left"),
    [("", ["area = ...  # your answer here"]), ("area = ...  # in cells\n", ["area = ...  # in cells"])],
)
def test_a_stub_asks_only_for_what_the_cell_reads_and_only_once(tmp_path, above, left):
    cell = f"# %%\n{above}### BEGIN SOLUTION\nrow = 2\narea = row * 3\n### END SOLUTION\ncheck.area(area)\n"
    write(tmp_path, "00_a.py", HEAD + "# %%\nx = 1\n")
    write(tmp_path, "00_a_ex.py", HEAD + cell)
    lessons.build(tmp_path)
    assert cells(tmp_path, "exercises/00_a.ipynb")[-1].source.splitlines() == [*left, "check.area(area)"]


def test_solution_is_complete_but_holds_no_wrong_answers(root):
    complete = [cell.source for cell in cells(root, "solutions/00_tiny.ipynb")]
    assert len(complete) == 4
    assert "return total / len(values)" in complete[1]
    assert complete[-1] == "Because it is so."
    assert "wrong" not in (root / "solutions/00_tiny.ipynb").read_text()


def test_build_gives_the_same_bytes_and_keeps_tags_only(root):
    places = sorted(root.glob("*/*.ipynb"))
    before = [place.read_bytes() for place in places]
    for place in places:
        place.unlink()
    lessons.build(root)
    assert len(places) == 3
    assert [place.read_bytes() for place in places] == before
    assert not any(b"\r" in text for text in before)
    test_cell = cells(root, "notebooks/00_tiny.ipynb")[-1]
    assert test_cell.metadata == {"tags": ["test", "remove-cell"]}
    assert test_cell.outputs == []


def test_ids_follow_the_content_and_differ_for_equal_cells(tmp_path):
    write(tmp_path, "00_a.py", HEAD + "# %%\nx = 1\n\n# %%\nx = 1\n\n# %%\ny = 2\n")
    lessons.build(tmp_path)
    first = [cell.id for cell in cells(tmp_path, "notebooks/00_a.ipynb")]
    assert len(set(first)) == 4
    write(tmp_path, "00_a.py", HEAD + "# %%\nx = 0\n\n# %%\nx = 1\n\n# %%\nx = 1\n\n# %%\ny = 2\n")
    lessons.build(tmp_path)
    second = [cell.id for cell in cells(tmp_path, "notebooks/00_a.ipynb")]
    assert second[0] == first[0] and second[2:] == first[1:]


def test_orphans_go_but_nobodys_work(root, capsys):
    edit(root, "solutions/00_tiny.ipynb", lambda cells: cells[1].update(source="my own"))
    (root / "lessons_src/00_tiny.py").unlink()
    (root / "lessons_src/00_tiny_ex.py").unlink()
    assert lessons.build(root) == 1
    assert [path.relative_to(root).as_posix() for path in root.glob("*/*.ipynb")] == ["solutions/00_tiny.ipynb"]
    said = capsys.readouterr().out
    assert "removed  notebooks/00_tiny.ipynb" in said
    assert "kept     solutions/00_tiny.ipynb" in said


def test_a_students_work_survives_make_lab(root):
    edit(root, "exercises/00_tiny.ipynb", lambda cells: cells[1].update(source="def mean(values): return 7"))
    write(root, "00_tiny_ex.py", EXERCISE.replace("Because", "Since"))
    work = (root / "exercises/00_tiny.ipynb").read_bytes()
    assert lessons.main(["build", "--keep-work"], root=root) == 0
    assert (root / "exercises/00_tiny.ipynb").read_bytes() == work
    assert cells(root, "solutions/00_tiny.ipynb")[-1].source == "Since it is so."
    assert lessons.main(["build"], root=root) == 0
    assert (root / "exercises/00_tiny.ipynb").read_bytes() != work


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("# %%\n### BEGIN SOLUTION\nx = 1\n", r":2: .* not closed"),
        ("# %%\n### BEGIN SOLUTION\nx = 1\n\n# %%\n### END SOLUTION\n", r":2: .* not closed .* before line 5"),
        ("# %%\n### BEGIN SOLUTION\n### BEGIN SOLUTION\nx = 1\n### END SOLUTION\n", r":2: .* before line 3"),
        ("# %%\nx = 1\n### END SOLUTION\n", r":3: .* without '### BEGIN SOLUTION'"),
        ("# %%\n## begin solution\nx = 1\n## end solution\n", r":2: '## begin solution' is no marker"),
        ("# %%\nx = 1\n### BEGIN SOLUTION\nprint(x)\n### END SOLUTION\n", r":3: .* needs an assignment"),
        (
            "# %%\nif True:\n    ### BEGIN SOLUTION\n    x = 1\n    ### END SOLUTION\n",
            r":3: .* not in a class or branch",
        ),
        ("# %%\ndef f(:\n    ### BEGIN SOLUTION\n    ### END SOLUTION\n", r":2: cannot cut"),
        ("# ---\n# jupyter: {}\n# ---\n# %%\nx = 1\n", r":1: .* without a header"),
        ("# %% [markdown]\n# # Why?\n", r":1: jupytext reads '# # Why\?'"),
    ],
)
def test_refused_sources(tmp_path, capsys, text, complaint):
    write(tmp_path, "00_bad_ex.py", text)
    with pytest.raises(LessonError, match=r"00_bad_ex\.py" + complaint):
        lessons.build(tmp_path)
    assert lessons.main(["build"], root=tmp_path) == 1
    assert "00_bad_ex.py" in capsys.readouterr().err
    assert not list(tmp_path.glob("*/*.ipynb"))


def test_refused_names(tmp_path):
    write(tmp_path, "Lesson.py", LESSON)
    with pytest.raises(LessonError, match="NN_name.py"):
        lessons.build(tmp_path)


# --- check -----------------------------------------------------------------------------------------------------------


def test_check_agrees_and_changes_nothing(root):
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert lessons.main(["check"], root=root) == 0
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_check_shows_drift_orphans_and_missing_and_what_mends_them(root, capsys):
    write(root, "00_tiny.py", LESSON.replace("2 * x", "3 * x"))
    (root / "solutions/00_tiny.ipynb").unlink()
    (root / "notebooks/99_old.ipynb").write_bytes((root / "notebooks/00_tiny.ipynb").read_bytes())
    assert lessons.main(["check"], root=root) == 1
    said = capsys.readouterr().out
    assert "-    return 2 * x\n+    return 3 * x\n" in said
    assert "solutions/00_tiny.ipynb: missing" in said
    assert "notebooks/99_old.ipynb: an orphan" in said
    assert "make notebooks" in said


def test_check_sees_outputs(root, capsys):
    edit(root, "notebooks/00_tiny.ipynb", lambda cells: None)
    assert lessons.main(["check"], root=root) == 1
    assert "notebooks/00_tiny.ipynb: the cells agree, but it holds outputs" in capsys.readouterr().out
    assert lessons.main(["build"], root=root) == lessons.main(["check"], root=root) == 0


# --- back ------------------------------------------------------------------------------------------------------------


def back(root, place, *options):
    return lessons.main(["back", *options, str(root / place)], root=root)


@pytest.mark.parametrize(
    ("place", "name", "text"),
    [("notebooks/00_tiny.ipynb", "00_tiny.py", LESSON), ("solutions/00_tiny.ipynb", "00_tiny_ex.py", EXERCISE)],
)
def test_round_trip_leaves_the_source_unchanged(root, place, name, text):
    edit(root, place, lambda cells: None)
    assert back(root, place) == 0
    assert (root / "lessons_src" / name).read_text(encoding="utf-8") == text


def test_back_brings_text_tags_and_new_cells_and_keeps_wrong_answers(root):
    def change(cells):
        cells[1].source = cells[1].source.replace("as in school", "as always")
        cells[2].metadata["tags"] = ["hide-input"]
        cells.insert(2, nbformat.v4.new_markdown_cell("A new remark."))
        cells.append(nbformat.v4.new_code_cell(""))

    edit(root, "solutions/00_tiny.ipynb", change)
    assert back(root, "solutions/00_tiny.ipynb") == 0
    wanted = EXERCISE.replace("as in school", "as always")
    wanted = wanted.replace(
        "# %%\n### BEGIN", '# %% [markdown]\n# A new remark.\n\n# %% tags=["hide-input"]\n### BEGIN'
    )
    assert (root / "lessons_src/00_tiny_ex.py").read_text(encoding="utf-8") == wanted
    assert lessons.build(root) == lessons.check(root) == 0


def test_back_follows_moved_cells(root):
    edit(root, "notebooks/00_tiny.ipynb", lambda cells: cells.insert(1, cells.pop()))
    assert back(root, "notebooks/00_tiny.ipynb") == 0
    last = '# %% tags=["test", "remove-cell"]\nassert double(2) == 4\n'
    body = LESSON.removeprefix(HEAD).removesuffix(last)
    assert (root / "lessons_src/00_tiny.py").read_text() == HEAD + last + "\n" + body.rstrip("\n") + "\n"


@pytest.mark.parametrize(
    ("place", "change", "complaint"),
    [
        ("exercises/00_tiny.ipynb", lambda cells: None, "edit solutions/00_tiny.ipynb"),
        ("notebooks/00_tiny.ipynb", lambda cells: cells.pop(1), "00_tiny.py:14: either the source changed"),
        ("notebooks/00_tiny.ipynb", lambda cells: cells[1].update(source="x = 1\n# %%\ny = 2"), "could not hold"),
        ("solutions/00_tiny.ipynb", lambda cells: cells[2].update(source="### END SOLUTION"), "without"),
    ],
)
def test_back_refuses_and_writes_nothing(root, capsys, place, change, complaint):
    edit(root, place, change)
    before = {path: path.read_bytes() for path in (root / "lessons_src").iterdir()}
    assert back(root, place) == 1
    assert complaint in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (root / "lessons_src").iterdir()} == before


def test_back_never_reverts_a_newer_source(root, capsys):
    newer = LESSON.replace("2 * x", "x + x")
    write(root, "00_tiny.py", newer)
    assert back(root, "notebooks/00_tiny.ipynb") == 1
    assert "the source changed after the notebook was built" in capsys.readouterr().err
    assert (root / "lessons_src/00_tiny.py").read_text(encoding="utf-8") == newer


def test_back_deletes_when_told_but_not_below_wrong_answers(root, capsys):
    edit(root, "notebooks/00_tiny.ipynb", lambda cells: cells.pop(1))
    assert back(root, "notebooks/00_tiny.ipynb", "--delete") == 0
    assert (root / "lessons_src/00_tiny.py").read_text(encoding="utf-8") == LESSON.replace("# %%\nimport math\n\n", "")
    edit(root, "solutions/00_tiny.ipynb", lambda cells: cells.pop(1))
    assert back(root, "solutions/00_tiny.ipynb", "--delete") == 1
    assert "wrong answers follow this deleted cell" in capsys.readouterr().err


# --- JupyterLab ------------------------------------------------------------------------------------------------------


@pytest.fixture
def jupyter(root):
    """The file side of a JupyterLab with jupytext, in a folder with this project's settings."""
    from jupytext import TextFileContentsManager

    (root / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    manager = TextFileContentsManager()
    manager.root_dir = str(root)
    return manager


def test_a_student_saving_a_notebook_changes_no_source(root, jupyter):
    before = {path: path.stat().st_mtime_ns for path in (root / "lessons_src").iterdir()}
    for place in ("notebooks/00_tiny.ipynb", "exercises/00_tiny.ipynb", "solutions/00_tiny.ipynb"):
        model = jupyter.get(place)
        model["content"]["cells"][1]["source"] = "answer = 42"
        jupyter.save(model, place)
        assert "answer = 42" in (root / place).read_text()
    assert {path: path.stat().st_mtime_ns for path in (root / "lessons_src").iterdir()} == before


@pytest.mark.parametrize(
    ("name", "text", "old", "new"),
    [
        ("00_tiny.py", LESSON, "import math", "import cmath"),
        ("00_tiny_ex.py", EXERCISE, "# as in school", "# as always"),
    ],
)
def test_a_source_opened_as_a_notebook_stays_a_plain_source(root, jupyter, name, text, old, new):
    model = jupyter.get(f"lessons_src/{name}", type="notebook")
    cell = model["content"]["cells"][1]
    cell["source"] = cell["source"].replace(old, new)
    model["content"]["metadata"]["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    jupyter.save(model, f"lessons_src/{name}")
    assert (root / "lessons_src" / name).read_text(encoding="utf-8") == text.replace(old, new)
    assert sorted(path.name for path in (root / "lessons_src").glob("*.*")) == ["00_tiny.py", "00_tiny_ex.py"]


# --- head ------------------------------------------------------------------------------------------------------------


def test_head(root):
    head = read_head(root / "lessons_src/00_tiny.py")
    assert head.title == "How small can a lesson be?"
    assert head.seconds == {"quick": 10, "laptop": 90, "full": 7200}
    assert head.gigabytes == 1.5
    assert head.network is False
    assert head.rows["You will"] == "count to two"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("# # How", "# How", "start with '# Title'"),
        ("lesson be?", "lesson be", "a question"),
        ("# | Memory | 1.5 GB |\n", "", r"no table row '\| Memory"),
        ("1.5 GB", "much", "'1.5 GB', not 'much'"),
        ("laptop 1.5 min · ", "", "'Run time' must read like"),
        ("| Network | no", "| Network | perhaps", "'yes' or 'no'"),
        ("# | You need | nothing |\n", "", r"no table row '\| You need"),
    ],
)
def test_garbled_heads(tmp_path, old, new, complaint):
    write(tmp_path, "00_a.py", LESSON.replace(old, new, 1))
    with pytest.raises(LessonError, match=complaint):
        read_head(tmp_path / "lessons_src/00_a.py")


def test_an_app_is_built_and_is_no_lesson(tmp_path):
    write(tmp_path, "00_one.py", LESSON)
    (tmp_path / "lessons_src" / "apps").mkdir()
    (tmp_path / "lessons_src" / "apps" / "bench.py").write_text("# %%\nx = 1\n", encoding="utf-8")
    assert lessons.build(tmp_path) == lessons.check(tmp_path) == 0
    assert (tmp_path / "notebooks" / "bench.ipynb").exists()
    assert [*lessons.expected(tmp_path)] == ["notebooks/00_one.ipynb"]
    assert source_of("notebooks/bench.ipynb") == "lessons_src/apps/bench.py"
    (tmp_path / "lessons_src" / "apps" / "bench.py").unlink()
    assert lessons.check(tmp_path) == 1
