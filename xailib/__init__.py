"""The reusable core of the course: networks explained, and explanations judged.

Submodules load on first use, so that `import xailib` costs little more than `import torch`.
"""

from importlib import import_module
from pkgutil import iter_modules

__version__ = "0.1.0"

_ROOMS = [room.name for room in iter_modules(__path__) if not room.name.startswith("_")]


def __getattr__(name: str):
    if name in _ROOMS:
        return import_module(f"xailib.{name}")
    raise AttributeError(f"module 'xailib' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_ROOMS]  # for completion in a notebook
