"""The engine behind `check.name(answer)`."""

import pytest

from xailib.checks import CORRECT, NOT_ATTEMPTED, NOT_YET, Checks, NotYet, Verdict


@pytest.fixture
def check():
    check = Checks()

    @check(hints=["Look at the rows.", "Row 2."])
    def hottest_pixel(answer):
        if answer != (2, 1):
            raise NotYet(f"expected (2, 1), found {answer}", hint="rows come first")

    @check(hints=["Twice."])
    def double(function):
        if function(3) != 6:
            raise NotYet(f"expected 6, found {function(3)}", hint="twice three")

    return check


def stub(x):
    raise NotImplementedError("your code here")


def crash(x):
    return x / 0


def test_correct(check):
    assert check.hottest_pixel((2, 1)) == Verdict("hottest_pixel", CORRECT)
    assert repr(check.double(lambda x: 2 * x)) == "✔ double: correct."


def test_not_yet_says_what_was_expected_and_gives_a_hint(check):
    verdict = check.hottest_pixel((1, 2))
    assert verdict == Verdict("hottest_pixel", NOT_YET, "expected (2, 1), found (1, 2)", "rows come first")
    assert repr(verdict) == "✎ hottest_pixel: not yet. expected (2, 1), found (1, 2) Hint: rows come first"


@pytest.mark.parametrize("answer", [..., None])
def test_empty_answers_are_not_attempted(check, answer):
    assert check.hottest_pixel(answer).status == NOT_ATTEMPTED
    assert check.double(answer).status == NOT_ATTEMPTED


def test_a_stub_is_not_attempted(check):
    verdict = check.double(stub)
    assert verdict.status == NOT_ATTEMPTED
    assert "your code here" in verdict.message


def test_a_crash_is_not_yet_and_named(check):
    verdict = check.double(crash)
    assert verdict.status == NOT_YET
    assert verdict.message == "Trying your answer raised ZeroDivisionError: division by zero."
    assert verdict.hint


@pytest.mark.parametrize("answer", ["text", 7, object(), int, lambda: None])
def test_no_answer_crashes_the_notebook(check, answer):
    assert check.hottest_pixel(answer).status == NOT_YET
    assert check.double(answer).status == NOT_YET


def test_arrays_are_answers_too(check):
    """Comparing an array with None or ... gives an array, whose truth is an error."""
    import numpy as np

    assert check.hottest_pixel(np.array([2, 1])).status == NOT_YET


def test_wrong_number_of_answers_is_not_yet(check):
    assert "TypeError" in check.double().message
    assert "TypeError" in check.double(crash, crash).message


def test_page_escapes_the_answer_and_does_not_rely_on_colour(check):
    page = check.hottest_pixel("<script>")._repr_html_()
    assert "&lt;script&gt;" in page and "<script>" not in page
    assert "✎ hottest_pixel: not yet." in page


def test_hints_come_one_by_one_and_end(check, capsys):
    for _ in range(3):
        check.hint("hottest_pixel")
    assert capsys.readouterr().out.splitlines() == [
        "Hint 1 of 2: Look at the rows.",
        "Hint 2 of 2: Row 2.",
        "There are no more hints for hottest_pixel; the 2 so far say all there is.",
    ]
    check.hint("double")
    assert capsys.readouterr().out == "Hint 1 of 1: Twice.\n"


def test_unknown_names_suggest_a_near_one(check):
    with pytest.raises(AttributeError, match="no check 'hotest_pixel'; did you mean 'hottest_pixel'"):
        check.hotest_pixel((2, 1))
    with pytest.raises(ValueError, match="no check 'xyz'; there are hottest_pixel, double"):
        check.hint("xyz")


def test_names_and_verdicts_are_listed(check):
    check.double(crash)
    check.hottest_pixel((2, 1))
    assert list(check) == ["hottest_pixel", "double"]
    assert [(verdict.name, verdict.status) for verdict in check.verdicts] == [
        ("double", NOT_YET),
        ("hottest_pixel", CORRECT),
    ]
    assert {"hottest_pixel", "double", "hint"} <= set(dir(check))


def test_bad_checks_are_refused(check):
    def hint(answer): ...

    def double(answer): ...

    def fresh(answer): ...

    for function, hints in [(hint, ["a"]), (double, ["a"]), (fresh, [])]:
        with pytest.raises(ValueError, match="a check needs hints and a name of its own"):
            check(hints=hints)(function)
    with pytest.raises(ValueError, match="needs a hint"):
        NotYet("expected 1", hint=" ")
