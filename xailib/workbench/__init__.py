"""The workbench: any photograph, any network, up to six methods side by side, and a brush that hides what you like.

`Workbench()` as the last value of a cell shows it; notebooks/workbench.ipynb is that and a few lines, `make workbench`
opens it as an app. What is computed, and the picture, need no widgets: `compare`, `networks`, `photographs`.
"""

from xailib.workbench.app import Workbench

__all__ = ["Workbench"]
