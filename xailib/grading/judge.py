"""The process that judges one notebook: it starts the student's process, calls the checks, and prints the verdicts.

It reads its task from standard input and writes one line for each question, both JSON. It never runs what a student
wrote: an answer that is a function is called over the wire.
"""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path

import torch
import torch._dynamo  # noqa: F401  the library asks for it, and it does not load in a process that is shut in

from xailib.checks import NOT_ATTEMPTED, Checks
from xailib.grading import sandbox, student, wire
from xailib.grading.table import ERROR

LARGEST_SCRATCH = 256 * 2**20  # bytes, in at most so many files
MOST_FILES = 1000


class Answer:
    """A student's function: called here, run there."""

    def __init__(self, session: "Session", number: int):
        self.session, self.number, self.changed = session, number, False

    def __call__(self, *arguments):
        found = self.session.ask("call", self.number, arguments, self.session.left())
        if "raised" in found:
            raise _error(*found["raised"])
        self.changed |= bool(found.get("changed"))
        return _with_slopes(wire.decode(found.get("value")), wire.decode(found.get("slopes")), arguments)


def _error(name: str, message: str) -> Exception:
    """An error like the student's; its name is told, and nothing of what it can do."""
    if name == "NotImplementedError":
        return NotImplementedError(message)
    return type(str(name)[:80].replace("\0", ""), (Exception,), {})(str(message)[:500])


def _with_slopes(value: object, slopes: list | None, arguments: tuple) -> object:
    """The value with a graph whose gradients are the given ones; a check may ask for them."""
    if not slopes or not isinstance(value, torch.Tensor):
        return value
    for leaf, slope in zip(wire.leaves(arguments), slopes, strict=True):
        if slope is not None:
            value = value + ((leaf - leaf.detach()) * slope.reshape(leaf.shape)).sum()
    return value


class Session:
    """The student's process, as the judge sees it."""

    def __init__(self, job: dict, check: Checks):
        self.job, self.check = job, check
        self.scratch, self.started = Path(job["scratch"]), 0.0
        ours, theirs = socket.socketpair()
        self.channel = wire.Channel(ours, deadline=time.monotonic() + job["seconds"], watch=self._watch)
        self.process = os.fork()
        if self.process == 0:
            student.live(theirs, job, check)
        theirs.close()

    def left(self) -> float:
        """Seconds left for this question."""
        return max(0.1, self.started + self.job["question_seconds"] - time.monotonic())

    def ask(self, *question) -> dict:
        self.channel.send(wire.pack(question))
        found = wire.reply(self.channel.receive())
        if "slow" in found:
            raise wire.TooSlow(str(found["slow"])[:80])
        return found

    def judge(self, name: str, variable: str) -> tuple[str, str]:
        """Verdict and remark for one question."""
        self.started = time.monotonic()
        found = self.ask("answer", name, variable)
        if "answers" not in found:
            why = str(found.get("missing") or "")
            return (ERROR, why) if why else (NOT_ATTEMPTED, f"no answer: {variable} is not there")
        answers = [wire.decode(answer, partial(Answer, self)) for answer in found["answers"]]
        verdict = getattr(self.check, name)(*answers)
        return verdict.status, f"{verdict.message} {verdict.hint and 'Hint: ' + verdict.hint}"

    def end(self) -> None:
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)

    def _watch(self) -> None:
        sizes = [_size(file) for file in os.scandir(self.scratch)]
        if sum(sizes) > LARGEST_SCRATCH or len(sizes) > MOST_FILES:
            raise wire.Gone(f"it wrote {len(sizes)} files of {sum(sizes) // 2**20} MB")


def _size(file: os.DirEntry) -> int:
    try:
        return file.stat(follow_symlinks=False).st_size
    except FileNotFoundError:  # it has just gone
        return 0


def verdicts(job: dict, check: Checks) -> Iterator[tuple[str, str, float]]:
    """Verdict, remark and seconds for each question of the task; the student's process lives as long as this runs."""
    session, gone = Session(job, check), ""
    try:
        session.channel.receive()  # all cells have run
    except wire.Gone as error:
        gone = str(error)
    for name, variable in job["questions"]:
        start = time.monotonic()
        try:
            verdict, remark = (ERROR, gone) if gone else session.judge(name, variable)
        except wire.Gone as error:
            verdict, remark, gone = ERROR, str(error), f"not reached: {error}"
        except wire.TooSlow as error:
            verdict, remark = ERROR, str(error)
        except Exception as error:  # an answer that cannot be read
            verdict, remark = ERROR, f"{type(error).__name__}: {error}"
        yield verdict, remark[:1000], time.monotonic() - start
    session.end()


def main() -> None:
    sandbox.guard()
    job = json.load(sys.stdin)
    check = import_module(f"xailib.checks.lesson_{job['lesson']}").check
    torch.set_num_threads(1)
    sandbox.limit_memory(job["memory"])
    said, sys.stdout = sys.stdout, sys.stderr  # what a check prints is no verdict
    for verdict in verdicts(job, check):
        print(json.dumps(verdict), file=said, flush=True)


if __name__ == "__main__":
    main()
