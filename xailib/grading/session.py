"""Grading one notebook: a judge in a fresh process, in a folder of its own that is thrown away."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from tempfile import TemporaryDirectory

from xailib.checks import NOT_ATTEMPTED
from xailib.course import ROOT
from xailib.grading.questions import Question
from xailib.grading.submissions import Submission
from xailib.grading.table import BY_HAND, ERROR, Row

OPEN = "an open question: read the notebook, with teaching/rubric.md beside it"
SPARE = 60  # seconds that a judge may take beyond the notebook's


@dataclass(frozen=True)
class Limits:
    """What one notebook may use."""

    seconds: float | int = 600
    question_seconds: float | int = 120  # a cell, or the answer to a question
    memory: int = 4 * 2**30  # bytes, beyond what Python and PyTorch take


def grade(
    submission: Submission, questions: list[Question], limits: Limits, closed: frozenset[str], own_numbers: bool
) -> list[Row]:
    """A row for each question. `closed` is what the student's process has to be shut in from, or nothing of it runs."""
    if submission.missing:
        return [Row(submission, question, NOT_ATTEMPTED, "no notebook was handed in") for question in questions]
    if submission.problem:
        return [Row(submission, question, ERROR, submission.problem) for question in questions or [Question("")]]
    asked = [question for question in questions if question.check]
    with TemporaryDirectory(prefix="xailib-", ignore_cleanup_errors=True) as scratch:
        job = asdict(limits) | {"lesson": submission.lesson, "cells": submission.cells, "closed": sorted(closed)}
        job |= {"questions": [[question.check, question.variable] for question in asked], "scratch": scratch}
        student = submission.student if own_numbers else ""
        said, trouble = _judge(json.dumps(job), _environment(scratch, student), limits.seconds + SPARE)
    found = dict(zip(asked, _whole(said), strict=False))
    return [
        Row(submission, question, BY_HAND, OPEN)
        if not question.check
        else Row(submission, question, *found.get(question, (ERROR, f"it was not judged: {trouble}", 0.0)))
        for question in questions
    ]


def _whole(lines: list[str]) -> Iterator[list]:
    """What a judge said, up to a line that was broken off."""
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            return


def _judge(job: str, environment: dict[str, str], seconds: float | int) -> tuple[list[str], str]:
    """The lines of a judge, and the end of what it complained of."""
    command = [sys.executable, "-P", "-s", "-m", "xailib.grading.judge"]
    pipes: dict = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    folder = environment["HOME"]
    with subprocess.Popen(
        command, text=True, errors="replace", env=environment, cwd=folder, start_new_session=True, **pipes
    ) as judge:
        try:
            said, complaint = judge.communicate(job, timeout=seconds)
        except subprocess.TimeoutExpired:
            judge.kill()
            said, complaint = judge.communicate()
    return said.splitlines(), complaint.strip()[-300:] or f"the judge ended with status {judge.returncode}"


def _environment(scratch: str, student: str) -> dict[str, str]:
    """All that a notebook sees of the environment."""
    home = dict.fromkeys(("HOME", "TMPDIR", "MPLCONFIGDIR", "XDG_CACHE_HOME", "XAILIB_RESULTS"), scratch)
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    python = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1", "MPLBACKEND": "Agg"}
    course = {"XAILIB_PROFILE": "quick", "XAILIB_STUDENT": student, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    return {"PATH": os.defpath, "OMP_WAIT_POLICY": "PASSIVE"} | home | threads | python | course
