"""Self-checks that exercises call: not attempted, correct, or not yet with what was expected and a hint.

A lesson's checks stand in one module, `xailib/checks/lesson_NN.py`:

    check = Checks()

    @check(hints=["Which value is largest?", "`argmax` of the flattened map gives its position."])
    def hottest_pixel(answer):
        if tuple(answer) != (2, 1):
            raise NotYet(f"expected row 2, column 1, found {answer}", hint="rows come first")

The learner writes `from xailib.checks.lesson_00 import check`, then `check.hottest_pixel(my_answer)` and, when stuck,
`check.hint("hottest_pixel")`.

Where every student has numbers of their own, the check draws them: `@check(hints=[...], numbers=draw)`, where
`draw(random.Random)` returns them. The learner reads them with `check.numbers("hottest_pixel")`, and the check gets
them as its second argument. They depend on the name in XAILIB_STUDENT alone; without it all have the same ones.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from html import escape
from random import Random
from unicodedata import normalize

NOT_ATTEMPTED, CORRECT, NOT_YET = "not attempted", "correct", "not yet"
LOOKS = {NOT_ATTEMPTED: ("○", "#595959"), CORRECT: ("✔", "#005ab5"), NOT_YET: ("✎", "#b34700")}  # sign, colour


class NotYet(Exception):
    """Raised by a check: what was expected and what was found, and a hint towards it."""

    def __init__(self, message: str, *, hint: str):
        if not hint.strip():
            raise ValueError("NotYet needs a hint that helps the learner on")
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, repr=False)
class Verdict:
    """What a check says about an answer; shown as one line, signs and words beside the colour."""

    name: str
    status: str
    message: str = ""
    hint: str = ""

    def __repr__(self) -> str:
        sign, _ = LOOKS[self.status]
        hint = self.hint and f" Hint: {self.hint}"
        return f"{sign} {self.name}: {self.status}. {self.message}{hint}".rstrip()

    def _repr_html_(self) -> str:
        sign, colour = LOOKS[self.status]
        hint = self.hint and f"<br><b>Hint:</b> {escape(self.hint)}"
        head = f'<b style="color: {colour}">{sign} {escape(self.name)}: {self.status}.</b>'
        frame = f"border-left: 4px solid {colour}; padding: 0.3em 0.8em"
        return f'<div style="{frame}">{head} {escape(self.message)}{hint}</div>'


class Checks:
    """The checks of one lesson: `check.name(answer)` gives a Verdict, `check.hint("name")` the next hint.

    Iterating gives the names; `verdicts` lists all verdicts so far, `answers` what each check was handed last.
    An unknown name raises, and names a similar one.
    """

    def __init__(self):
        self.verdicts: list[Verdict] = []
        self.answers: dict[str, tuple] = {}
        self._functions: dict[str, Callable] = {}
        self._hints: dict[str, list[str]] = {}
        self._given = Counter()
        self._draws: dict[str, Callable[[Random], object]] = {}
        self._unchanged: dict[str, str] = {}

    def __call__(self, *, hints: list[str], numbers: Callable | None = None, unchanged: str = "") -> Callable:
        """Decorator: adds a function that returns for a right answer and raises NotYet for another.

        `numbers` draws what differs between students. `unchanged` is the hint for an answer that changes the tensors
        or networks it is called with; without it, it may.
        """

        def add(function: Callable) -> Callable:
            name = function.__name__
            if name in ("answers", "hint", "numbers", "verdicts") or name in self._functions or not hints:
                raise ValueError(f"a check needs hints and a name of its own, found {name!r} with {len(hints)} hints")
            self._functions[name], self._hints[name], self._unchanged[name] = function, hints, unchanged
            if numbers:
                self._draws[name] = numbers
            return function

        return add

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __dir__(self) -> list[str]:
        return [*self._functions, "answers", "hint", "numbers", "verdicts"]

    def __getattr__(self, name: str) -> Callable[..., Verdict]:
        if name.startswith("_") or name not in self._functions:
            raise AttributeError(self._unknown(name))

        def judged(*answers) -> Verdict:
            self.answers[name] = answers
            self.verdicts.append(_judge(name, self._function(name), answers, self._unchanged[name]))
            return self.verdicts[-1]

        return judged

    def _function(self, name: str) -> Callable:
        function = self._functions[name]
        return partial(_with_numbers, function, self.numbers(name)) if name in self._draws else function

    def numbers(self, name: str) -> object:
        """The numbers of this student's question; raises ValueError where all students have the same."""
        if name not in self._draws:
            raise ValueError(f"{name!r} has no numbers of its own; {', '.join(self._draws) or 'no check here'} has")
        return self._draws[name](Random(f"{student()}/{name}"))

    def hint(self, name: str) -> None:
        """Print the next hint for a check, from gentle to plain; raises ValueError for an unknown name."""
        if name not in self._functions:
            raise ValueError(self._unknown(name))
        hints, given = self._hints[name], self._given[name]
        if given == len(hints):
            print(f"There are no more hints for {name}; the {len(hints)} so far say all there is.")
            return
        self._given[name] += 1
        print(f"Hint {given + 1} of {len(hints)}: {hints[given]}")

    def _unknown(self, name: str) -> str:
        names = list(self.__dict__.get("_functions", ()))
        close = get_close_matches(name, names, n=1)
        return f"no check {name!r}" + (f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(names)}")


def student() -> str:
    """The name that numbers depend on: XAILIB_STUDENT, without differences in spaces, capitals and ways to write é."""
    name = normalize("NFKC", os.environ.get("XAILIB_STUDENT", ""))
    return " ".join(name.split()).casefold()


def _with_numbers(function: Callable, numbers: object, *answers) -> None:
    if len(answers) != 1:
        raise TypeError(f"this check takes one answer, found {len(answers)}")
    function(*answers, numbers)


def tensors_in(values: tuple) -> list:
    """The tensors among values, and all parameters and buffers of networks among them."""
    from torch import Tensor, nn

    found = []
    for value in values:
        found += value.state_dict().values() if isinstance(value, nn.Module) else [value] * isinstance(value, Tensor)
    return found


def _watched(answer: object, hint: str) -> object:
    """An answer that must leave what it is called with as it was."""
    if not hint or not callable(answer):
        return answer

    def watched(*given):
        before = [tensor.detach().clone() for tensor in tensors_in(given)]
        found = answer(*given)
        same = all(one.equal(other) for one, other in zip(before, tensors_in(given), strict=True))
        if not same or getattr(answer, "changed", False):  # an answer far away tells so itself
            raise NotYet("your function changed what it was given.", hint=hint)
        return found

    return watched


def _judge(name: str, function: Callable, answers: tuple, unchanged: str) -> Verdict:
    """Nothing an answer does, short of ending the program, gets past this function as an exception."""
    if any(answer is None or answer is Ellipsis for answer in answers):
        return Verdict(name, NOT_ATTEMPTED, "Put your answer where the cell says so, then run it again.")
    answers = tuple(_watched(answer, unchanged) for answer in answers)
    try:
        function(*answers)
    except NotYet as verdict:
        return Verdict(name, NOT_YET, str(verdict), verdict.hint)
    except NotImplementedError as error:
        return Verdict(name, NOT_ATTEMPTED, f"Your function stops at: {error}.")
    except Exception as error:
        hint = f'Run it on its own to see the line that raised; check.hint("{name}") tells more.'
        return Verdict(name, NOT_YET, f"Trying your answer raised {type(error).__name__}: {error}.", hint)
    return Verdict(name, CORRECT)
