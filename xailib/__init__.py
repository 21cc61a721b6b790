"""The reusable core of the course: networks explained, and explanations judged.

Submodules load on first use, so that `import xailib` costs little more than `import torch`.
"""

from importlib import import_module

__version__ = "0.1.0"

_ROOMS = (
    "benchmark",
    "checks",
    "course",
    "data",
    "explain",
    "heatmap",
    "metrics",
    "models",
    "network",
    "plot",
    "training",
    "widgets",
)


def __getattr__(name: str):
    if name in _ROOMS:
        return import_module(f"xailib.{name}")
    raise AttributeError(f"module 'xailib' has no attribute {name!r}")
