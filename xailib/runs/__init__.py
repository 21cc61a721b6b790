"""Whole trainings by name, and studies that compare them: what `python -m xailib train` and `study` run."""

from xailib.runs.catalogue import RUNS
from xailib.runs.plan import Run
from xailib.runs.report import published, summary
from xailib.runs.studies import STUDIES, study
from xailib.runs.train import Trained, train

__all__ = ["RUNS", "STUDIES", "Run", "Trained", "published", "study", "summary", "train"]
