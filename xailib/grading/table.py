"""The table of grades, a line per student and question."""

import csv
import os
from dataclasses import dataclass
from pathlib import Path

from xailib.checks import CORRECT
from xailib.grading.questions import Question
from xailib.grading.submissions import Submission

ERROR, BY_HAND = "error", "by hand"
COLUMNS = ("student", "lesson", "question", "check", "verdict", "points", "remark", "seconds", "shut_in")


@dataclass(frozen=True)
class Row:
    """One line."""

    submission: Submission
    question: Question
    verdict: str
    remark: str = ""
    seconds: float | int = 0.0

    def cells(self, shut_in: str) -> list[str]:
        points = "" if self.verdict == BY_HAND or not self.question.title else str(int(self.verdict == CORRECT))
        asked = self.question.title, self.question.check
        texts = self.submission.student, self.submission.lesson, *asked, self.verdict, points, self.remark
        return [plain(text) for text in (*texts, f"{self.seconds:.1f}", shut_in)]


def plain(text: str) -> str:
    """One line of at most 300 characters that no spreadsheet takes for a formula."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return ("'" if line[:1] in ("=", "+", "-", "@") else "") + line[:300]


def write(rows: list[Row], file: Path, shut_in: str) -> None:
    """Writes the whole table, sorted by student and lesson, or leaves the file as it was."""
    table = sorted(rows, key=lambda row: (row.submission.student.casefold(), row.submission.lesson))
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    with open(draft, "w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(row.cells(shut_in) for row in table)
    os.replace(draft, file)
