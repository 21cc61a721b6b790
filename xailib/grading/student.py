"""The student's process: it runs the cells of a notebook, then serves its answers to the judge until it is ended.

Nothing in here protects anything, since the cells can change all of it. That is the sandbox' and the judge's part.
"""

import json
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

from xailib.checks import Checks, tensors_in
from xailib.grading import sandbox, wire

MAGIC = re.compile(r"(?m)^([ \t]*)[%!].*$")  # IPython's commands: %matplotlib inline, !pip install ...


def live(connection: socket.socket, job: dict, check: Checks) -> None:
    """All of this process' life, from right after the fork."""
    try:
        _leave_the_judge(connection)
        os.chdir(job["scratch"])
        sandbox.limit_memory(job["memory"])
        closed = sandbox.close_in(Path(job["scratch"]), seconds=int(job["seconds"]) + 5)
        if closed >= set(job["closed"]):  # else run nothing
            _serve(wire.Channel(connection), job, check)
    finally:
        os._exit(0)


def _leave_the_judge(connection: socket.socket) -> None:
    """No way back: neither its files nor its group of processes, and an end of its own when the judge ends."""
    os.setsid()
    sandbox.guard()
    nothing, kept = os.open(os.devnull, os.O_RDWR), connection.fileno()
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
    sys.stdin, sys.stdout, sys.stderr = (open(kind, mode, closefd=False) for kind, mode in enumerate("rww"))


def _serve(channel: wire.Channel, job: dict, check: Checks) -> None:
    check.answers.clear()  # those of a notebook that was judged before
    names = {"__name__": "__main__", "display": lambda *things, **options: None}
    stopped = [_run(cell, names, job["question_seconds"]) for cell in job["cells"]]
    cells = list(zip(job["cells"], stopped, strict=True))
    functions = []
    hand_in = partial(_hand_in, names=names, check=check, cells=cells, functions=functions)
    channel.send(json.dumps({"stopped": list(filter(None, stopped))}).encode())
    while True:
        kind, *rest = wire.unpack(channel.receive())
        found = hand_in(*rest) if kind == "answer" else _call(functions, *rest)
        channel.send(json.dumps(found).encode())


def _run(cell: str, names: dict, seconds: float | int) -> str:
    """Runs a cell; why it stopped early, or nothing."""
    try:
        with _at_most(seconds):
            exec(_compiled(cell), names)
    except BaseException as error:
        return _said(error)
    return ""


def _compiled(cell: str):
    try:
        return compile(cell, "<cell>", "exec")
    except SyntaxError:
        return compile(MAGIC.sub(r"\1pass", cell), "<cell>", "exec")


@contextmanager
def _at_most(seconds: float | int) -> Iterator[None]:
    def stop(*_):
        raise wire.TooSlow(f"took longer than {seconds:.0f} s")

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def _hand_in(name: str, variable: str, names: dict, check: Checks, cells: list, functions: list) -> dict:
    """What the notebook handed to the check last; where it never called the check, the variable of that name."""
    answers = check.answers.get(name, (names[variable],) if variable in names else None)
    if answers is None:
        why = [said for cell, said in cells if said and (f"check.{name}" in cell or variable in cell)]
        return {"missing": why[0] if why else ""}
    return {"answers": [_handed(answer, functions) for answer in answers]}


def _handed(answer: object, functions: list) -> object:
    if not callable(answer):
        return wire.encode(answer)
    functions.append(answer)
    return {"function": len(functions) - 1}


def _call(functions: list, number: int, arguments: tuple, seconds: float | int) -> dict:
    before = [tensor.detach().clone() for tensor in tensors_in(arguments)]
    try:
        with _at_most(seconds):
            value = functions[number](*arguments)
            slopes = _slopes(value, arguments)
        changed = not all(map(torch.equal, before, tensors_in(arguments)))
        return {"value": wire.encode(value), "slopes": wire.encode(slopes), "changed": changed}
    except wire.TooSlow as error:
        return {"slow": str(error)}
    except BaseException as error:
        return {"raised": [type(error).__name__, str(error)[:500]]}


def _slopes(value: object, arguments: tuple) -> list | None:
    """The gradients of a number that carries a graph, at the tensors that it was called with; the judge goes on with them."""
    inputs = list(wire.leaves(arguments))
    if not isinstance(value, torch.Tensor) or not value.requires_grad or value.numel() != 1 or not inputs:
        return None
    return list(torch.autograd.grad(value, inputs, allow_unused=True))
