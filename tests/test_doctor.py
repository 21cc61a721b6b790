"""`python -m xailib doctor`: each thing that can be wrong is said, and ends in exit status 1."""

import hashlib
import importlib.metadata
import socket
import sys
import time

import pytest

from xailib import doctor
from xailib.__main__ import main


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr(doctor, "_answers", lambda address: False)


def test_this_installation_is_sound(capsys):
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith(("ok: ", "note: ")) for line in lines)
    for subject in ("Python", "torch ", "together", "GPU", "EfficientNet-Lite0", "photographs", "disk", "kernel"):
        assert any(subject in line for line in lines), subject
    assert sum(line.startswith("note: https://") for line in lines) == 2


def test_one_problem_fails_and_the_rest_is_still_said(monkeypatch, capsys):
    def broken():
        yield from ()
        raise OSError("no such disk")

    monkeypatch.setattr(doctor, "PARTS", (broken, doctor.python))
    assert main(["doctor"]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("problem: checking the broken raised OSError: no such disk")
    assert second.startswith("ok: Python")


def test_missing_and_old_packages(monkeypatch):
    needed = ["torch>=99", "no-such-package>=1", 'no-such-tool>=1; extra == "dev"', 'other; extra == "reference"']
    monkeypatch.setattr(doctor, "requires", lambda name: needed)
    old, missing, tool = doctor.packages()
    assert old.startswith("problem: torch") and ">=99 is needed" in old
    assert missing.startswith("problem: no-such-package is not installed; run: python -m pip install")
    assert tool.startswith("note: no-such-tool is not installed (only the tests")


def test_every_dependency_is_looked_at():
    named = {line.split()[1] for line in doctor.packages()}
    assert {"torch", "torchvision", "timm", "ipywidgets", "jupytext", "nbval", "pytest"} <= named
    assert "captum" not in named
    assert len(named) >= len([r for r in importlib.metadata.requires("xailib") if "extra" not in r])


def test_torchvision_of_another_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.ops", None)
    (line,) = doctor.torch_pair()
    assert line.startswith("problem: torch and torchvision do not fit each other")


def test_damaged_weights(monkeypatch):
    class Damaged:
        def hexdigest(self):
            return "0" * 64

    monkeypatch.setattr(hashlib, "sha256", lambda data: Damaged())
    (line,) = doctor.weights()
    assert line.startswith("problem: ") and "damaged" in line and "pip install" in line


def test_full_disk(monkeypatch):
    usage = type(doctor.shutil.disk_usage("/"))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage(100, 100, 2**29))
    assert list(doctor.disk()) == ["problem: 0.5 GB of disk space are free; make room for at least 2 GB."]


def test_no_browser(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    (line,) = doctor.browser()
    assert line.startswith("note: no Chromium")


def test_kernel_of_another_python(monkeypatch):
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager

    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", lambda *_: KernelSpec(argv=["/other/bin/python"]))
    (line,) = doctor.kernel()
    assert line.startswith("problem: Jupyter's kernel 'python3' is /other/bin/python")


def test_a_silent_network_costs_seconds_not_minutes(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(doctor, "SECONDS", 0.2)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: time.sleep(2) or [])
    start = time.perf_counter()
    assert all(line.startswith("note: https://") for line in doctor.internet())
    assert time.perf_counter() - start < 1


def test_any_answer_is_an_answer(monkeypatch):
    from urllib.error import HTTPError

    def refuse(address, timeout):
        raise HTTPError(address, 403, "forbidden", {}, None)

    monkeypatch.undo()
    monkeypatch.setattr(doctor, "urlopen", refuse)
    assert [line[:4] for line in doctor.internet()] == ["ok: ", "ok: "]


def test_without_a_command_help_is_printed(capsys):
    assert main([]) == 0
    assert "doctor" in capsys.readouterr().out
