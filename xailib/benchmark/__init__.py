"""Methods x metrics x networks over a data set, as one table: in Python, on the command line, on many processes.

table = benchmark.run("efficientnet_lite0", "photos", methods=["gradcam", "opticam"], file="mine.csv")
benchmark.summary(table)
"""

from xailib.benchmark.methods import METHODS
from xailib.benchmark.metrics import METRICS
from xailib.benchmark.report import beside_thesis, figure, latex, markdown, problems, summary
from xailib.benchmark.run import SMALL, run
from xailib.benchmark.sources import Source, source

__all__ = [
    "METHODS",
    "METRICS",
    "SMALL",
    "Source",
    "beside_thesis",
    "figure",
    "latex",
    "markdown",
    "problems",
    "run",
    "source",
    "summary",
]
