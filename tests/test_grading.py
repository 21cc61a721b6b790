"""Grading: what students may do in a notebook, by mistake or not, and that it costs nobody else a point."""

import csv
import json
import os
import resource
import socket
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from xailib.checks import (
    CORRECT,
    NOT_ATTEMPTED,
    NOT_YET,
    Checks,
    NotYet,
    lesson_00,
    lesson_02,
    lesson_08,
    lesson_10,
    lesson_11,
    lesson_12,
    lesson_15,
    lesson_16,
)
from xailib.grading import command, handout, questions, sandbox, wire
from xailib.grading.judge import verdicts
from xailib.grading.questions import Question
from xailib.grading.submissions import Submission, submissions
from xailib.grading.table import BY_HAND, ERROR, Row, write
from xailib.metrics import average_drop

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="grading needs Linux")
SIX = "def double(x):\n    return 2 * x"


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """What this system can shut notebooks in; tests that need more are skipped."""
    return sandbox.probe(tmp_path_factory.mktemp("probe"))


@pytest.fixture
def judged(tmp_path, closed):
    """Runs cells as a student's, and gives verdict and remark for each check."""

    def run(*cells, check=None, **changes):
        check = check or small()
        job = {"scratch": str(tmp_path), "seconds": 60, "question_seconds": 20, "memory": 2**30, "closed": [*closed]}
        job |= {"cells": cells, "questions": [(name, name) for name in check]} | changes
        return dict(zip(check, [(verdict, remark) for verdict, remark, _ in verdicts(job, check)], strict=True))

    return run


def small() -> Checks:
    check = Checks()

    @check(hints=["Twice."])
    def double(answer):
        if answer(3) != 6:
            raise NotYet(f"expected 6, found {answer(3)}", hint="twice three")

    @check(hints=["Say what you found."])
    def said(answer):
        raise NotYet(f"{answer}", hint="this one only listens")

    return check


# --- honest notebooks -------------------------------------------------------------------------------------------------


def test_answers_are_variables_or_what_was_handed_over_last(judged):
    assert judged(SIX)["double"][0] == CORRECT
    assert judged("mine = lambda x: x + 3")["double"] == (NOT_ATTEMPTED, "no answer: double is not there")
    assert judged("double = ...")["double"][0] == NOT_ATTEMPTED
    other = "import xailib.grading.judge\n" + SIX  # a notebook without its check cell
    assert judged(other)["double"][0] == CORRECT


def test_an_answer_handed_over_under_another_name(judged):
    check = small()
    lesson_00.mine = check  # as a lesson's `check` is imported in a notebook
    try:
        cells = ["from xailib.checks.lesson_00 import mine", "mine.double(lambda x: 2 * x)\nmine.said('hello')"]
        found = judged(*cells, check=check)
    finally:
        del lesson_00.mine
    assert found["double"][0] == CORRECT
    assert found["said"] == (NOT_YET, "hello Hint: this one only listens")


def test_wrong_and_empty_answers_read_as_in_the_notebook(judged):
    assert judged("double = lambda x: x")["double"] == (NOT_YET, "expected 6, found 3 Hint: twice three")
    stub = 'def double(x):\n    raise NotImplementedError("your code here")'
    assert judged(stub)["double"] == (NOT_ATTEMPTED, "Your function stops at: your code here. ")
    crash = judged("double = lambda x: x / 0")["double"]
    assert crash[0] == NOT_YET and "raised ZeroDivisionError: division by zero" in crash[1]


def test_one_broken_cell_costs_its_own_question_only(judged):
    found = judged("def double(x)\n    return 2", "1 / 0", "%matplotlib inline\nsaid = 'still here'\ndisplay(said)")
    assert found["double"][0] == ERROR and found["double"][1].startswith("SyntaxError")
    assert found["said"][1].startswith("still here")


def test_answers_of_every_kind_arrive_as_they_are():
    import numpy as np

    def back(value):
        return wire.decode(json.loads(json.dumps(wire.encode(value))))

    plain = {"a": [1, 2.5, True, None], ("b", 3): {"x", "y"}, "c": ({1: -0.0},)}
    assert back(plain) == plain
    assert back(...) is ... and str(back(float("nan"))) == "nan"
    assert back(np.float64(0.5)) == 0.5 and type(back(np.int64(3))) is int
    for tensor in (
        torch.eye(3)[:, 1:],
        torch.tensor(2.0).bfloat16(),
        torch.zeros(0, 4),
        torch.tensor([True]),
        torch.arange(3),
    ):
        found = back(tensor)
        assert found.dtype == tensor.dtype and found.shape == tensor.shape and found.equal(tensor)
    assert isinstance(back(np.eye(2)), np.ndarray)


def test_arguments_arrive_with_their_networks_functions_and_graphs():
    factor, net = 3.0, nn.Linear(2, 1)
    function, network, seen = wire.unpack(wire.pack((lambda x: factor * x, net, lesson_08._varying()[0])))
    assert function(2) == 6 and network.weight.equal(net.weight) and network.weight.requires_grad
    assert isinstance(seen, nn.Sequential)


SOLVED = """
import torch
from copy import deepcopy

def depends_on_company(model, images):
    model = deepcopy(model)
    return not torch.allclose(model(images)[0], model(images[:1])[0], atol=1e-4)

def ablation_weights(A, score):
    drops = []
    for k in range(len(A)):
        without = A.clone()
        without[k] = 0
        drops.append(score(A) - score(without))
    return torch.tensor(drops) / (abs(score(A)) or 1)

def peak_weights(e):
    place = e.A.flatten(2).argmax(2, keepdim=True)
    return e.G.flatten(2).gather(2, place)[..., None]

def denoising_loss(model, images, labels, teacher, coefficient):
    images = images.detach().requires_grad_()
    loss = torch.nn.functional.cross_entropy(model(images), labels)
    (slope,) = torch.autograd.grad(loss, images, create_graph=True)
    cosines = torch.nn.functional.cosine_similarity(slope.flatten(1), TEACHER.flatten(1))
    return loss - coefficient * cosines.mean()

def deletion(f, x, b, order):
    left = x.clone()
    curve = [f(left)]
    for cell in order:
        left[cell] = b[cell]
        curve.append(f(left))
    return curve
"""


@pytest.mark.parametrize(
    ("lesson", "name"),
    [(lesson_02, "depends_on_company"), (lesson_08, "ablation_weights"), (lesson_08, "peak_weights")]
    + [(lesson_15, "denoising_loss"), (lesson_11, "deletion")],
)
def test_answers_that_take_networks_functions_and_gradients(judged, lesson, name):
    """Right ones are correct; ones that spoil what they are given, or let the teacher learn, are not."""

    def verdict(solved):
        return judged(solved, check=lesson.check, questions=[(name, name)] + [("", "")] * (len([*lesson.check]) - 1))

    def first(solved):
        return next(iter(verdict(solved).values()))

    assert first(SOLVED.replace("TEACHER", "teacher.detach()"))[0] == CORRECT
    spoilt = {
        "depends_on_company": ("model = deepcopy(model)", "pass"),
        "ablation_weights": ("without = A.clone()", "without = A"),
        "peak_weights": ("e.G.flatten", "e.A.flatten"),
        "denoising_loss": ("TEACHER", "teacher"),
        "deletion": ("left = x.clone()", "left = x"),
    }[name]
    assert first(SOLVED.replace(*spoilt))[0] == NOT_YET


# --- hostile notebooks ------------------------------------------------------------------------------------------------


def test_overwriting_the_checks_changes_nothing(judged):
    cell = """
import json, sys, torch
import xailib.checks as checks
from xailib.grading import judge, wire
correct = lambda *things, **options: checks.Verdict("double", checks.CORRECT)
checks._judge = checks.Checks.__getattr__ = judge.Session.judge = judge.verdicts = correct
for module in [module for name, module in sys.modules.items() if name.startswith("xailib.checks")]:
    module.NotYet = type("Quiet", (Exception,), {})
torch.allclose = torch.equal = lambda *things, **options: True
wire.decode = judge.wire.unpack
double = lambda x: 5
"""
    assert judged(cell)["double"] == (NOT_YET, "expected 6, found 5 Hint: twice three")


def test_answers_that_equal_everything_and_numbers_that_are_none(judged):
    cell = "class All:\n    __eq__ = lambda *_: True\n    __ne__ = lambda *_: False\ndouble = lambda x: All()"
    assert judged(cell)["double"][0] == NOT_YET
    for lesson in (lesson_00, lesson_11, lesson_12, lesson_16):
        for name in lesson.check:
            for count in (0, 2, 3, 4):
                numbers = (float("nan"),) * count or float("nan")
                assert getattr(lesson.check, name)(lambda *_, n=numbers: n).status == NOT_YET, name


FORGED = """
import json, os, struct
line = json.dumps(["correct", "", 0.0]) + "\\n"
reply = json.dumps({"value": 6}).encode()
for place in range(64):
    for forged in (line.encode(), struct.pack("!Q", len(reply)) + reply):
        try:
            os.write(place, forged * 3)
        except OSError:
            pass
double = lambda x: 5
"""


def test_forged_verdicts_are_no_verdicts(judged, capfd):
    assert judged(FORGED)["double"][0] != CORRECT
    assert "correct" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ('{"value": {"pickle": "gASV"}}', NOT_YET),
        ('{"value": {"tensor": "AAAA", "dtype": "torch.float32", "shape": [9]}}', NOT_YET),
        ('{"raised": ["SystemExit", "0"]}', NOT_YET),
        ('{"raised": ["NotYet"]}', NOT_YET),
        ('{"value": 1' + "0" * 5000 + "}", ERROR),
        ("[" * 100000, ERROR),
        ("null", ERROR),
    ],
)
def test_replies_that_are_none(judged, reply, verdict):
    cell = f"from xailib.grading import student\nstudent._call = lambda *_: 0\nreply = {reply!r}\n"
    cell += "student.json = type('J', (), {'dumps': lambda x: reply if x == 0 else __import__('json').dumps(x)})\n"
    assert judged(cell + SIX)["double"][0] == verdict


def test_a_large_answer_and_a_large_output(judged, monkeypatch):
    monkeypatch.setattr(wire, "LARGEST", 2**20)
    found = judged("print('x' * 10**8)\nsaid = 'x' * 2**21", SIX)
    assert found["double"][0] == CORRECT
    assert found["said"] == (ERROR, "an answer of more than 1 MB")


def test_endless_loops_cost_their_question_only(judged):
    cells = ["said = 'before'", "while True:\n    pass", "def double(x):\n    while True:\n        pass"]
    found = judged(*cells, question_seconds=0.5)
    assert found["double"] == (ERROR, "took longer than 0 s") and found["said"][1].startswith("before")


def test_loops_that_cannot_be_stopped_are_ended(judged):
    stubborn = "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass"
    start = time.monotonic()
    assert judged(stubborn, SIX, question_seconds=0.5, seconds=2)["double"] == (ERROR, "the notebook's time was over")
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("hog", ["bytearray(2**31)", "[bytearray(2**24) for _ in range(1000)]", "torch.ones(2**29)"])
def test_a_hungry_cell_is_refused_its_memory(judged, hog):
    found = judged(f"import torch\nsaid = {hog}", SIX, memory=2**28)
    assert found["double"][0] == CORRECT
    assert found["said"][0] == ERROR and "emory" in found["said"][1]


def test_ending_the_process_costs_the_rest_of_this_notebook(judged):
    found = judged("import sys\nsaid = 'here'\nsys.exit()", SIX)  # is a cell's end only
    assert found["double"][0] == CORRECT
    found = judged("import os\ndouble = lambda x: os._exit(0)\nsaid = 1")
    assert found == {"double": (ERROR, "its process ended"), "said": (ERROR, "not reached: its process ended")}


def test_filling_the_disk_ends_the_notebook(judged):
    cell = "import time\nfor i in range(2000):\n    open(f'{i}', 'w').close()\ntime.sleep(9)"
    assert "it wrote" in judged(cell, SIX)["double"][1]


ATTEMPTS = """
import fcntl, os, resource, signal, socket
from pathlib import Path

def attempts(other, checks, port, judge):
    def connect():
        with socket.socket() as s:
            s.connect(("127.0.0.1", port))
    def fork():
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
    return {
        "read another submission": lambda: Path(other).read_text(),
        "change another submission": lambda: Path(other).write_text("mine"),
        "take another submission away": lambda: Path(other).chmod(0),
        "list the submissions": lambda: os.listdir(Path(other).parent.parent),
        "change a check": lambda: open(checks, "a").close(),
        "touch a check": lambda: os.utime(checks),
        "reach the network": connect,
        "start a process": fork,
        "signal the judge": lambda: os.kill(judge, 0),
        "signal the judge by a socket": lambda: fcntl.fcntl(socket.socketpair()[0], fcntl.F_SETOWN, judge),
        "starve the judge": lambda: resource.prlimit(judge, resource.RLIMIT_CORE, resource.getrlimit(resource.RLIMIT_CORE)),
        "read the judge's memory": lambda: open(f"/proc/{judge}/mem", "rb").close(),
        "read the machine's users": lambda: open("/etc/passwd").close(),
    }

def outcome(attempt):
    try:
        attempt()
        return "done"
    except OSError as error:
        return type(error).__name__
"""


def test_no_way_out_of_the_sandbox(judged, closed, tmp_path):
    if closed != sandbox.ALL:
        pytest.skip("this system does not allow to shut notebooks in")
    other = tmp_path.parent / f"{tmp_path.name}-others" / "bob" / "00_a.ipynb"
    other.parent.mkdir(parents=True)
    other.write_text("bob's")
    checks = tmp_path.parent / f"{tmp_path.name}-others" / "lesson_00.py"
    checks.write_text("check")
    names = {}
    exec(ATTEMPTS, names)
    with socket.create_server(("127.0.0.1", 0)) as server:
        facts = str(other), str(checks), server.getsockname()[1], os.getpid()
        said = f"said = {{name: outcome(each) for name, each in attempts{facts}.items()}}"
        found = judged(ATTEMPTS + said)["said"][1]
        outside = {name: names["outcome"](each) for name, each in names["attempts"](*facts).items()}
    refused = dict.fromkeys(outside, "PermissionError")
    assert found == f"{refused} Hint: this one only listens"
    assert {*outside.values()} == {"done"}, "each attempt can succeed where nothing is shut"


@pytest.mark.skipif(os.environ.get("XAILIB_REQUIRE_SANDBOX") != "1", reason="XAILIB_REQUIRE_SANDBOX is not 1")
def test_nothing_that_is_required_was_skipped(closed):
    assert closed == sandbox.ALL, f"this system shuts notebooks in from {sorted(closed)} only"


def test_what_the_kernel_granted_is_what_holds(closed, tmp_path):
    outer, inner = os.pipe()
    if os.fork() == 0:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
            granted = sandbox.close_in(tmp_path, seconds=10)
            os.write(inner, " ".join([*sorted(granted), str(resource.getrlimit(resource.RLIMIT_NOFILE)[1])]).encode())
        finally:
            os._exit(0)  # whatever happened: here ends what is no test
    os.wait()
    assert os.read(outer, 99).decode().split() == [*sorted(closed), "100"], "a limit that is lower already stays"


def test_real_code_of_the_checks_cannot_be_changed(judged, closed):
    if sandbox.FILES not in closed:
        pytest.skip("this system does not allow to protect files")
    before = Path(lesson_00.__file__).read_bytes()
    cell = "from xailib.checks import lesson_00\nsaid = 'kept'\nopen(lesson_00.__file__, 'a').write('# mine')"
    judged(cell)
    assert Path(lesson_00.__file__).read_bytes() == before


def test_a_writable_folder_of_its_own(judged):
    assert judged("open('a.txt', 'w').write('1')\nsaid = open('a.txt').read()")["said"][1].startswith("1")


def test_nothing_runs_where_less_is_shut_than_promised(judged, tmp_path):
    found = judged("open('ran', 'w').close()", closed=["files", "the moon"])
    assert found["double"] == (ERROR, "its process ended") and not (tmp_path / "ran").exists()


# --- what was handed in -----------------------------------------------------------------------------------------------


def notebook(*cells: str, **changes) -> str:
    made = [{"cell_type": "code", "source": cell, "metadata": {}} for cell in cells]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": made} | changes)


@pytest.fixture
def folder(tmp_path):
    for name in ("ada", "Bob Roy_123_assignsubmission_file", ".hidden"):
        (tmp_path / "in" / name).mkdir(parents=True)
    return tmp_path / "in"


def test_folders_and_names(folder):
    (folder / "ada" / "00_first_photograph (1).ipynb").write_text(notebook("a = 1", "b = 2"))
    (folder / "ada" / "notes.txt").write_text("x")
    (folder / "ada" / "mine.ipynb").write_text(notebook())
    wrong = "mine.ipynb: a notebook's name begins with its number, as in 08_"
    assert submissions(folder) == [
        Submission("Bob Roy", "", problem="no notebook in the folder"),
        Submission("ada", "00", ("a = 1", "b = 2")),
        Submission("ada", "", problem=wrong),
    ]


def test_two_notebooks_for_a_lesson_are_not_guessed_at(folder):
    for name in ("00_a.ipynb", "00_b.ipynb"):
        (folder / "ada" / name).write_text(notebook())
    problem = "more than one notebook for this lesson: 00_a.ipynb, 00_b.ipynb"
    assert submissions(folder)[1:] == [Submission("ada", "00", problem=problem)]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not JSON"),
        (b"[" * 100000, "nested too deep"),
        (b'{"cells": [\xff\xfe]}', "not UTF-8"),
        (b"[1, 2]", "no notebook of format 4"),
        (notebook(nbformat=3).encode(), "no notebook of format 4"),
        (notebook(cells=[7]).encode(), "a cell in it is none"),
        (notebook(cells=[{"cell_type": "code", "source": 7}]).encode(), "a cell in it is none"),
        (b" " * (2**20 + 1), "no file of at most 1 MB"),
    ],
)
def test_files_that_are_no_notebooks(folder, content, problem, monkeypatch):
    monkeypatch.setattr("xailib.grading.submissions.LARGEST", 2**20)
    (folder / "ada" / "00_a.ipynb").write_bytes(content)
    assert problem in submissions(folder)[1].problem


def test_links_and_pipes_are_not_followed(folder):
    real = folder.parent / "real.ipynb"
    real.write_text(notebook())
    (folder / "ada" / "00_a.ipynb").symlink_to(real)
    os.mkfifo(folder / "ada" / "01_a.ipynb")
    (folder / "eve").symlink_to(folder / "ada")
    problems = [each.problem for each in submissions(folder)[1:]]
    assert "link" in problems[0] and "no file" in problems[1] and "link" in problems[2] and len(problems) == 3


def test_other_layouts_are_refused(folder):
    with pytest.raises(FileNotFoundError, match="no folder"):
        submissions(folder / "nowhere")
    with pytest.raises(ValueError, match="one folder for each student"):
        submissions(folder / "ada")
    (folder / "Bob Roy").mkdir()
    with pytest.raises(ValueError, match="two folders for 'Bob Roy'"):
        submissions(folder)
    (folder / "00_a.ipynb").write_text(notebook())
    with pytest.raises(ValueError, match="00_a.ipynb lies beside the students' folders"):
        submissions(folder)


EXERCISE = [("markdown", "# Title"), ("markdown", "## 1. Hottest\nText"), ("code", "def hottest(heat): ...\n\n\ncheck.hottest(hottest)")] + [
    ("markdown", "## 2. Open\nText"),
    ("code", "solved = check.hottest(hottest).status\ncheck.hint('hottest')"),
    ("markdown", "## 3. Share"),
    ("code", "if check.share_inside(mine).status == 'correct': print()"),
]  # fmt: skip


@pytest.fixture
def exercise(tmp_path):
    cells = [{"cell_type": kind, "source": source} for kind, source in EXERCISE]
    (tmp_path / "00_a.ipynb").write_text(notebook(cells=cells))
    return tmp_path / "00_a.ipynb"


def test_questions_come_from_the_courses_own_exercise(exercise):
    assert questions.questions(exercise) == [
        Question("1. Hottest", "hottest", "hottest"),
        Question("2. Open"),
        Question("3. Share", "share_inside", "mine"),
    ]
    assert questions.lessons(exercise.parent) == {"00": exercise}
    with pytest.raises(FileNotFoundError, match="no exercises"):
        questions.lessons(exercise.parent / "none")


# --- the table --------------------------------------------------------------------------------------------------------


def test_table_is_sorted_whole_and_harmless(tmp_path, monkeypatch):
    question = Question("1. Hottest", "hottest", "hottest")
    rows = [
        Row(Submission("zoe", "00"), question, NOT_YET, '=HYPERLINK("x")\n\x1b[31m' + "y" * 400),
        Row(Submission("@ada", "00"), Question("2. Open"), BY_HAND),
        Row(Submission("Bob", "00"), question, CORRECT, seconds=1.26),
    ]
    write(rows, tmp_path / "grades.csv", "files")
    with open(tmp_path / "grades.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [line["student"] for line in table] == ["'@ada", "Bob", "zoe"]
    assert [line["points"] for line in table] == ["", "1", "0"]
    assert table[2]["remark"].startswith("'=HYPERLINK") and table[2]["remark"].isprintable()
    assert len(table[2]["remark"]) <= 301 and table[1]["seconds"] == "1.3"
    write(rows[::-1], tmp_path / "again.csv", "files")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "grades.csv").read_bytes()
    monkeypatch.setattr(Row, "cells", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(rows, tmp_path / "grades.csv", "files")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "grades.csv").read_bytes()


# --- numbers of each student's own ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lesson", "name"),
    [(lesson_08, "own_map"), (lesson_10, "own_drop"), (lesson_11, "own_area"), (lesson_12, "own_iou")],
)
def test_a_neighbours_answer_is_another_questions_answer(lesson, name, monkeypatch):
    def own(student):
        monkeypatch.setenv("XAILIB_STUDENT", student)
        return lesson.check.numbers(name)

    class_of = [own(f"student {number}") for number in range(60)]
    assert len({str(numbers) for numbers in class_of}) >= 55
    assert own("  ZOE\u0308 ") == own("zo\u00eb") != own("zoe")
    mine = right(name, own("ada"))
    assert getattr(lesson.check, name)(mine).status == CORRECT
    own("bob")
    assert getattr(lesson.check, name)(mine).status == NOT_YET
    monkeypatch.delenv("XAILIB_STUDENT")
    assert lesson.check.numbers(name) == own("")


def right(name, numbers):
    """The answer, another way than the check finds it."""
    if name == "own_map":
        A, row = (torch.tensor(part) for part in numbers)
        return torch.einsum("k,khw->hw", row / 4, A).relu().flatten()
    if name == "own_drop":
        p, o = (torch.tensor(part) for part in numbers)
        return average_drop(p, o).mean()
    if name == "own_area":
        return float(torch.trapezoid(torch.tensor(numbers), dx=0.2))
    (a0, b0, a1, b1), (c0, d0, c1, d1) = numbers
    both = (min(a1, c1) - c0) * (min(b1, d1) - d0)
    return both / ((a1 - a0) * (b1 - b0) + (c1 - c0) * (d1 - d0) - both)


def test_handouts_carry_the_name(exercise, folder, monkeypatch, capsys):
    monkeypatch.setenv("XAILIB_STUDENT", "nobody")  # so that it is put back
    monkeypatch.setattr(questions, "lessons", lambda *_: {"00": exercise})
    (folder / "names.txt").write_text('Ada\n\n Bob "B" Roy \n')
    assert handout.main([str(folder / "out"), "--students", str(folder / "names.txt")]) == 0
    copies = sorted((folder / "out").rglob("*.ipynb"))
    assert [copy.parent.name for copy in copies] == ["Ada", 'Bob "B" Roy']
    first, *others = json.loads(copies[1].read_text())["cells"]
    exec("".join(first["source"]), {})
    assert os.environ["XAILIB_STUDENT"] == 'Bob "B" Roy'
    assert others == json.loads(exercise.read_text())["cells"]
    (folder / "names.txt").write_text("../Ada\n")
    with pytest.raises(SystemExit):
        handout.main([str(folder / "out"), "--students", str(folder / "names.txt")])
    assert "can name a folder" in capsys.readouterr().err


# --- the command ------------------------------------------------------------------------------------------------------

HOTTEST = "import os\n\ndef hottest(heat):\n    assert os.environ.get('SECRET') is None\n    return divmod(heat.argmax().item(), heat.shape[1])"


def test_from_a_folder_to_a_table(folder, exercise, monkeypatch, capsys):
    monkeypatch.setattr(questions, "lessons", lambda *_: {"00": exercise, "01": exercise})
    monkeypatch.setenv("SECRET", "of the teacher")
    (folder / "ada" / "00_a.ipynb").write_text(notebook(HOTTEST, "mine = lambda heat, box: 0.5"))
    (folder / "Bob Roy_123_assignsubmission_file" / "00_a.ipynb").write_text("{")
    (folder / "eve").mkdir()
    (folder / "eve" / "77_a.ipynb").write_text(notebook())
    out = folder.parent / "grades.csv"
    assert command.main([str(folder), "--out", str(out)]) == 0
    with open(out, newline="") as file:
        table = [(each["student"], each["check"], each["verdict"]) for each in csv.DictReader(file)]
    assert table[:3] == [("ada", "hottest", CORRECT), ("ada", "", BY_HAND), ("ada", "share_inside", NOT_YET)]
    assert table[3:6] == [("Bob Roy", name, ERROR) for name in ("hottest", "", "share_inside")]
    assert table[6:7] == [("eve", "hottest", NOT_ATTEMPTED)] and table[9:] == [("eve", "", ERROR)]
    assert "of them correct" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--lessons", "99"], "no exercise 99; there are 00"),
        (["--require-sandbox"], "does not allow to shut notebooks in"),
    ],
)
def test_sentences_of_the_command(folder, exercise, monkeypatch, capsys, options, sentence):
    monkeypatch.setattr(questions, "lessons", lambda *_: {"00": exercise})
    monkeypatch.setattr(sandbox, "probe", lambda scratch: frozenset({sandbox.FILES}))
    out = folder.parent / "grades.csv"
    with pytest.raises(SystemExit) as end:
        command.main([str(folder), "--out", str(out), *options])
    assert end.value.code == 2 and sentence in capsys.readouterr().err and not out.exists()


def test_less_than_a_sandbox_is_said_on_screen_and_in_the_table(folder, exercise, monkeypatch, capsys):
    monkeypatch.setattr(questions, "lessons", lambda *_: {"00": exercise})
    monkeypatch.setattr(sandbox, "probe", lambda scratch: frozenset({sandbox.FILES}))
    (folder / "ada" / "00_a.ipynb").write_text("{")
    out = folder.parent / "grades.csv"
    command.main([str(folder), "--out", str(out)])
    assert "network was not cut" in capsys.readouterr().out
    with open(out, newline="") as file:
        assert {line["shut_in"] for line in csv.DictReader(file)} == {"files"}


def test_submissions_must_not_lie_where_notebooks_may_read(exercise, monkeypatch, capsys):
    monkeypatch.setattr(sandbox, "readable", lambda: [exercise.parent])
    monkeypatch.setattr(questions, "lessons", lambda *_: {"00": exercise})
    (exercise.parent / "in" / "ada").mkdir(parents=True)
    with pytest.raises(SystemExit):
        command.main([str(exercise.parent / "in")])
    assert "which notebooks may read" in capsys.readouterr().err
