"""What tests in a browser share: a JupyterLab and a Chromium, started once for a file of tests."""

import browser
import pytest


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    browser.executable()
    with browser.jupyterlab(tmp_path_factory.mktemp("notebooks"), tmp_path_factory.mktemp("jupyter")) as lab:
        yield lab


@pytest.fixture(scope="module")
def chromium():
    with browser.chromium() as running:
        yield running
