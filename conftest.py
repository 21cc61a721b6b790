"""Settings for every test and every notebook under test."""

import os
import sys
from pathlib import Path

import pytest

assert "torch" not in sys.modules, "torch reads these variables when it is imported"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads of one process must not slow another down
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XAILIB_PROFILE", "quick")

broken: set[Path] = set()  # notebooks with a cell that failed


def pytest_runtest_setup(item):
    if item.path in broken:
        pytest.skip("an earlier cell of this notebook failed")


def pytest_runtest_makereport(item, call):
    if item.path.suffix == ".ipynb" and call.excinfo and not call.excinfo.errisinstance(pytest.skip.Exception):
        broken.add(item.path)
