"""The pages for teachers agree with the lessons: minutes, prerequisites, sections, quizzes and their answers."""

import math
import re
import tomllib
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import lessons
import pytest
import slides
import torch
from lesson_head import read_head
from lesson_source import read_source, sources
from lesson_table import BEGIN, END, outdated
from scipy import stats

ROOT = Path(__file__).resolve().parents[1]
TEACHING = ROOT / "teaching"
SOURCES = {path.stem: path for path in sources(ROOT)}
LESSONS = {name[:2]: path for name, path in SOURCES.items() if not name.endswith("_ex")}
EXERCISES = {name[:2]: path for name, path in SOURCES.items() if name.endswith("_ex")}
SYLLABI = {path.stem: path for path in sorted((TEACHING / "syllabus").glob("*.md"))}
PAGES = sorted(TEACHING.rglob("*.md"))
head, cells = cache(read_head), cache(read_source)
every_syllabus = pytest.mark.parametrize("name", SYLLABI)
every_lesson = pytest.mark.parametrize("number", LESSONS)


def table(text):
    """The rows of all tables of a page, below their heads, as lists of cells."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if re.fullmatch(r"[\d.:]+", row[0])]


def minutes(what):
    """The minutes of 'lesson 03, exercise 10, questions 3 and 4, break (15)': from the heads, or as they are written."""
    total = sum(int(number) for number in re.findall(r"\((\d+)\)", what))
    total += sum(int(head(LESSONS[n]).rows["Minutes"]) for n in re.findall(r"\blesson (\d\d)", what))
    for number, chosen in re.findall(r"\bexercise (\d\d)(?:, questions? ([\d, and]+))?", what):
        of_question = question_minutes(number)
        some = [of_question[int(q)] for q in re.findall(r"\d", chosen)]
        total += sum(some) or int(head(EXERCISES[number]).rows["Minutes"])
    return total


def question_minutes(number):
    """Minutes by question, from an exercise's '## 2. Title' and '*8 minutes, two lines.*'."""
    text = "\n\n".join(cell.source for cell in cells(EXERCISES[number]) if cell.kind == "markdown")
    return {int(q): int(m) for q, m in re.findall(r"## (\d)\. [^\n]*\n\n?\*(\d+) minutes", text)}


# --- minutes, order, sections ----------------------------------------------------------------------------------------


def test_tables_of_lessons_are_those_of_the_heads():
    assert (TEACHING / "lessons.md").exists() and outdated(ROOT) == {}


@pytest.mark.parametrize("number", EXERCISES)
def test_questions_take_as_long_as_their_exercise(number):
    together = sum(question_minutes(number).values())
    assert together == int(head(EXERCISES[number]).rows["Minutes"])


@every_syllabus
def test_minutes_of_a_syllabus_add_up(name):
    text = SYLLABI[name].read_text(encoding="utf-8")
    rows = table(text)
    if name == "day":
        assert [int(row[1]) for row in rows] == [minutes(row[2]) for row in rows]
        taught = sum(int(row[1]) for row in rows if re.search(r"lesson|exercise", row[2]))
        assert f"together: {taught} minutes" in text
        starts = [datetime.strptime(row[0], "%H:%M") for row in rows]
        ends = [start + timedelta(minutes=int(row[1])) for start, row in zip(starts, rows, strict=True)]
        assert starts[1:] == ends[:-1] and f"Ends at {ends[-1]:%H:%M}" in text
    else:
        for row in rows:
            assert (int(row[2]), int(row[4])) == (minutes(row[1]), minutes(row[3])), row
            assert int(row[2]) <= 180
        in_class, at_home = (sum(int(row[column]) for row in rows) for column in (2, 4))
        assert f"In class {in_class} minutes, at home {at_home}." in text


@every_syllabus
def test_no_lesson_comes_before_what_it_needs(name):
    text = SYLLABI[name].read_text(encoding="utf-8")
    taught = re.findall(r"\blesson (\d\d)", " ".join(" ".join(row) for row in table(text)))
    assert len(taught) == len(set(taught)) and (name != "semester" or set(LESSONS) == set(taught))
    needs = {n: re.findall(r"\b\d\d\b", head(LESSONS[n]).rows["You need"]) for n in taught}
    missing = {(n, need) for i, n in enumerate(taught) for need in needs[n] if need not in taught[:i]}
    gaps = re.search(r"^Gaps: (.*?)\.", text, re.MULTILINE)[1]
    assert set(re.findall(r"lesson (\d\d) without lesson (\d\d)", gaps)) == missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(TEACHING).as_posix())
def test_sections_named_in_a_page_exist_and_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    headings = {
        h for path in LESSONS.values() for h in re.findall(r"(?m)^# ##+ (.*)$", path.read_text(encoding="utf-8"))
    }
    for named in re.findall(r"\bsections?\s+\*([^*]+)\*", text):
        assert " ".join(named.split()) in headings, named
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert target.startswith("http") or (page.parent / target).exists(), target


HEAD = """# %% [markdown]
# # Is this {name}?
#
# | | |
# |---|---|
# | You will | see |
# | You need | nothing |
# | Minutes | {minutes} |
# | Run time | quick 10 s · laptop 1.5 min · full {full} |
# | Memory | 1 GB |
# | Data | none |
# | Network | no |
"""


def test_the_table_is_built_between_its_markers_and_watched(tmp_path, capsys):
    (tmp_path / "lessons_src").mkdir()
    for name, took, full in (("00_a", 45, "1.5 min"), ("00_a_ex", 20, "1.5 min"), ("01_b", 50, "2 h")):
        text = HEAD.format(name=name, minutes=took, full=full)
        (tmp_path / "lessons_src" / f"{name}.py").write_text(text, encoding="utf-8")
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    assert lessons.main(["build"], root=tmp_path) == lessons.main(["check"], root=tmp_path) == 0
    assert readme.read_text(encoding="utf-8").split("\n") == [
        *("before", BEGIN, "| | lesson | minutes | exercise | GPU |", "|---|---|---|---|---|"),
        "| 00 | [Is this 00_a?](notebooks/00_a.ipynb) | 45 | 20 | no |",
        "| 01 | [Is this 01_b?](notebooks/01_b.ipynb) | 50 |  | only for `full` |",
        "| | together | 1 h 35 min | 0 h 20 min | |",
        *(END, "after", ""),
    ]
    readme.write_text(readme.read_text(encoding="utf-8").replace("45", "40"), encoding="utf-8")
    assert lessons.main(["check"], root=tmp_path) == 1
    assert "README.md: its table of lessons is not that of the heads" in capsys.readouterr().out
    readme.write_text("no markers", encoding="utf-8")
    assert lessons.main(["build"], root=tmp_path) == 1
    assert "one is missing" in capsys.readouterr().err and readme.read_text(encoding="utf-8") == "no markers"


# --- quizzes ---------------------------------------------------------------------------------------------------------


def questions(number):
    """Each question's text, by number; a multiple choice holds lines '- A. ...'."""
    return dict(re.findall(r"(?ms)^\*\*(\d)\.\*\* (.*?)(?=^\*\*\d|\Z)", quiz("quiz", number)))


def answers(number):
    """What each answer begins with, by number: a letter, a number, or '' for an open one."""
    return dict(re.findall(r"(?m)^\*\*(\d)\.(?: (.+?))?\*\*", quiz("quiz_answers", number)))


def quiz(folder, number):
    return (TEACHING / folder / f"{number}.md").read_text(encoding="utf-8")


@every_lesson
def test_quiz_and_answers_fit(number):
    asked, answered = questions(number), answers(number)
    assert 4 <= len(asked) <= 6 and list(asked) == list(answered)
    assert head(LESSONS[number]).title in quiz("quiz", number).splitlines()[0]
    for q, text in asked.items():
        options = re.findall(r"(?m)^- ([A-D])\. ", text)
        assert not options or (options == list("ABCD") and answered[q] in {f"{letter}." for letter in options}), q
        assert options or not re.fullmatch(r"[A-D]\.", answered[q]), q
    assert sum("- A. " in text for text in asked.values()) >= 2


def iou(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return w * h / (2 * 16 - w * h)


def clipped(a, b):
    first = [min(x / math.hypot(a, b), 0.2) for x in (a, b)]
    return first[0] / first[1]


def field(layers):
    r, j = 1, 1
    for k, s in layers:
        r, j = r + (k - 1) * j, j * s
    return r


A = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
B = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
halved = [(M + torch.eye(2)) / 2 for M in (torch.tensor([[0.6, 0.4], [0, 1]]), torch.tensor([[0.5, 0.5], [0, 1]]))]
curve = torch.tensor([1, 0.5, 0.25, 0.25])
gains = torch.tensor([1.0, 2.0, 3.0])
NUMBERS = {
    ("00", "2"): (0.25 * A - B).relu().sum(),
    ("00", "4"): 0.63 / 0.18,
    ("01", "2"): math.degrees(math.atan2(1, -1)) % 180 // 20,
    ("01", "3"): clipped(10, 1),
    ("02", "1"): (96 + 2 * 1 - 5) // 3 + 1,
    ("02", "2"): field([(3, 2), (3, 1), (3, 2)]),
    ("03", "1"): 1 + (20 // 8) * (64 // 8) + 50 // 8,
    ("03", "4"): (2 + 4) * 192,
    ("04", "1"): (9 - 4) / 2 * 128,
    ("04", "2"): torch.tensor([0, math.log(4)]).softmax(0)[1],
    ("05", "2"): -1 * 4 / 4,
    ("06", "2"): 4 * sum(0.001 * (4 * (i + 0.5) / 1000 < 3) for i in range(1000)),
    ("06", "3"): sum(R for z, R in zip((-1, 2, 7, 3), (5, -2, 4, 1), strict=True) if 0 < z < 6 and R > 0),
    ("07", "1"): torch.cartesian_prod(*[torch.arange(2.0)] * 3) @ torch.tensor([4.0, 0, -2]),
    ("07", "2"): len(range(0, 224 - 64 + 1, 32)) ** 2,
    ("08", "1"): 2 / 49,
    ("08", "5"): 0.5 * (6 - 2 + 0 + 0) / 4 - 0.5 * -2,
    ("09", "2"): (halved[1] @ halved[0])[0, 1],
    ("09", "4"): 2 + 14 * 3 + 5,
    ("10", "1"): 100 * (0.6 - 0.45) / 0.6,
    ("10", "2"): 100 * (0.8 - 0.6) / (1 - 0.6),
    ("10", "4"): 3 / (1 + 1 / (1 - 0.5) + 1),
    ("11", "1"): torch.trapezoid(curve) / 3,
    ("11", "2"): 0.9 + 0.1 - 0.7,
    ("12", "1"): iou((0, 0, 4, 4), (2, 2, 6, 6)),
    ("12", "2"): 2 * 0.25 / 1.25,
    ("12", "5"): 0.005 / 0.2,
    ("13", "3"): 1280 - 49,
    ("13", "4"): 100 * 3.2,
    ("14", "1"): 2 + (2 * 3 + 3) + (3 * 3 + 3),
    ("15", "1"): -torch.cosine_similarity(torch.tensor([3.0, 4.0]), torch.tensor([4.0, 3.0]), 0),
    ("15", "2"): gains.mean() - stats.t.ppf(0.975, 2) * gains.std() / 3**0.5,
    ("17", "2"): torch.tensor([1.0, 1, -5, 6])[[3, 3, 0, 1]].mean(),
    ("17", "3"): 0.05 * 40,
    ("16", "1"): torch.tensor([2.0, -1.0, 0.5]) @ torch.tensor([3.0, 1.0, 2.0]) + 0.5,
    ("16", "2"): 2 * 1 / 3**2,
}
NUMBERS["07", "1"] = (NUMBERS["07", "1"] @ torch.cartesian_prod(*[torch.arange(2.0)] * 3) / (8 * 0.5))[1]


def test_every_number_among_the_answers_is_computed_here():
    found = {(n, q): a for n in LESSONS for q, a in answers(n).items() if re.match(r"-?\d", a)}
    assert set(found) == set(NUMBERS)
    for place, text in found.items():
        value = text.rstrip(".").split()[0]
        digits = len(value.partition(".")[2])
        assert float(value) == round(float(NUMBERS[place]), digits), place


def test_points_of_the_rubric_add_up():
    text = (TEACHING / "rubric.md").read_text(encoding="utf-8")
    assert sum(map(int, re.findall(r"(?m)^\| \*\*[^|]*\| (\d) \|", text))) == 20 and "20 points" in text
    assert sum(map(int, re.findall(r"\((\d)\)", text.split("Ten minutes, 5 points")[1]))) == 5


# --- slides ----------------------------------------------------------------------------------------------------------


@every_lesson
def test_slides_hold_goals_predictions_and_what_to_remember(number, tmp_path):
    deck = slides.deck(LESSONS[number], tmp_path)
    text = "\n".join(cell.source for cell in cells(LESSONS[number]) if cell.kind == "markdown")
    assert deck.count("<blockquote>") >= len(re.findall(r"(?m)^[^\n]*\*\*Predict", text)) * 0.8
    assert "To remember" in deck and "{{slides}}" not in deck
    assert not re.search(r"<m[io][^>]*>\\", deck), "a formula that the converter does not know"
    assert not re.search(r"""(?:src|href)=["']?(?!data:)""", deck), "a slide that needs another file"


def test_slides_take_figures_of_unchanged_cells_only(tmp_path):
    import nbformat

    source = LESSONS["00"]
    made = [nbformat.v4.new_code_cell(c.source) for c in cells(source) if c.kind == "code" and "plot." in c.source]
    png = nbformat.v4.new_output("display_data", {"image/png": "AAAA"}, metadata={"image/png": {"alt": 'a "cup"'}})
    for cell in made:
        cell.outputs = [png]
    made[-1].source += "\n# changed"
    (tmp_path / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=made), tmp_path / "notebooks" / f"{source.stem}.ipynb")
    deck = slides.deck(source, tmp_path)
    assert deck.count('<img alt="a &quot;cup&quot;" src="data:image/png;base64,AAAA">') == len(made) - 1


@pytest.mark.browser
def test_slides_turn_by_key_and_ask_for_nothing_else(tmp_path):
    from browser import chromium

    (tmp_path / "deck.html").write_text(slides.deck(LESSONS["08"], tmp_path), encoding="utf-8")
    with chromium() as browser:
        page, asked = browser.new_page(viewport={"width": 1280, "height": 720}), []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((tmp_path / "deck.html").as_uri())
        for key, number in (("ArrowRight", 1), (" ", 2), ("PageUp", 1)):
            page.keyboard.press(key)
            page.wait_for_function(f"() => here() === {number}")
        assert not page.locator("section:nth-of-type(2) aside").is_visible()
        page.keyboard.press("n")
        assert page.locator("section:nth-of-type(2) aside").is_visible()
        too_tall = "divs => divs.filter(div => div.scrollHeight > div.clientHeight + 2).length"
        page.keyboard.press("n")
        assert page.locator("section > div").evaluate_all(too_tall) == 0
    assert asked == [(tmp_path / "deck.html").as_uri()]


# --- running it ------------------------------------------------------------------------------------------------------


def test_the_cell_for_colab_installs_versions_that_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (cell,) = re.findall(
        r"(?s)```python\n(REPOSITORY_URL.*?)```", (TEACHING / "running.md").read_text(encoding="utf-8")
    )
    assert set(re.findall(r'"([a-z0-9-]+[=>]=[^"]+)"', cell)) < set(project["dependencies"])
