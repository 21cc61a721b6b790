"""`python -m xailib doctor`: what is right and wrong with this installation, one plain sentence a line.

"ok:" needs nothing, "note:" is good to know, "problem:" keeps lessons or tests from running and says what to do.
"""

import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError
from urllib.request import urlopen

INSTALL = 'run: python -m pip install -e ".[dev]"'
WEIGHT_HOSTS = ("https://huggingface.co", "https://download.pytorch.org")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 3.0  # to wait for the internet
FREE_GIGABYTES = 2

Lines = Iterator[str]


def main() -> int:
    """Print every sentence; returns 1 if one of them is a problem, else 0."""
    problems = 0
    for part in PARTS:
        for line in _sentences(part):
            print(line, flush=True)
            problems += line.startswith("problem:")
    return 1 if problems else 0


def _sentences(part: Callable[[], Lines]) -> Lines:
    """A part that breaks on a broken installation is itself a problem to report, and the rest still runs."""
    try:
        yield from part()
    except Exception as error:
        yield f"problem: checking the {part.__name__} raised {type(error).__name__}: {error}; {INSTALL}"


def python() -> Lines:
    yield f"ok: Python {platform.python_version()} on {platform.system()}, from {sys.prefix}."


def packages() -> Lines:
    from packaging.requirements import Requirement

    for requirement in map(Requirement, requires("xailib") or ()):
        needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if needed or requirement.marker.evaluate({"extra": "dev"}):
            yield _package(requirement.name, requirement.specifier, "problem" if needed else "note")


def _package(name: str, bound, severity: str) -> str:
    use = "" if severity == "problem" else " (only the tests and the notebook builder use it)"
    try:
        found = version(name)
    except PackageNotFoundError:
        return f"{severity}: {name} is not installed{use}; {INSTALL}"
    if not bound.contains(found, prereleases=True):
        return f"{severity}: {name} {found} is installed, but {bound} is needed{use}; {INSTALL}"
    return f"ok: {name} {found}."


def torch_pair() -> Lines:
    """torchvision built for another torch imports or calls its own operators with an error."""
    try:
        import torch
        from torchvision.ops import nms

        nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
    except (ImportError, RuntimeError, OSError) as error:
        yield f"problem: torch and torchvision do not fit each other ({str(error).splitlines()[0]}); {INSTALL}"
        return
    yield "ok: torch and torchvision work together."


def gpu() -> Lines:
    import torch

    if torch.cuda.is_available():
        yield f"ok: PyTorch sees the GPU {torch.cuda.get_device_name()}."
    else:
        yield "note: PyTorch sees no CUDA GPU; the profiles quick and laptop do not need one, full does."


def weights() -> Lines:
    from xailib.models.zoo import checked_file

    try:
        checked_file()
    except RuntimeError as error:
        yield f"problem: {error}."
        return
    yield "ok: the weights of EfficientNet-Lite0 are there and are the right ones."


def photographs() -> Lines:
    from xailib.data import photos

    names = photos.names()
    for name in names:
        photos.load(name)
    yield f"ok: all {len(names)} photographs of the course can be read."


def internet() -> Lines:
    for host in WEIGHT_HOSTS:
        if _reachable(host):
            yield f"ok: {host} answers, so models.load can fetch other networks from there."
        else:
            yield f"note: {host} does not answer; networks from there cannot be fetched, EfficientNet-Lite0 needs none."


def _reachable(address: str) -> bool:
    """In a thread of its own, because looking up a name has no time-out."""
    answers = []
    thread = Thread(target=lambda: answers.append(_answers(address)), daemon=True)
    thread.start()
    thread.join(SECONDS)
    return answers == [True]


def _answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=SECONDS):
            return True
    except HTTPError:
        return True
    except OSError:
        return False


def browser() -> Lines:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found:
        yield f"ok: the browser test can use {found}."
    else:
        yield "note: no Chromium or Chrome found; only the browser test needs one, and is skipped without."


def disk() -> Lines:
    free = shutil.disk_usage(Path(__file__).parent).free / 2**30
    if free < FREE_GIGABYTES:
        yield f"problem: {free:.1f} GB of disk space are free; make room for at least {FREE_GIGABYTES} GB."
    else:
        yield f"ok: {free:.0f} GB of disk space are free."


def kernel() -> Lines:
    """JupyterLab runs notebooks with the kernel called python3; it must be this very Python."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        command = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        yield "problem: Jupyter has no kernel 'python3'; run: python -m ipykernel install --sys-prefix"
        return
    if command in ("python", "python3") or Path(command).parent == Path(sys.executable).parent:
        yield "ok: Jupyter's kernel 'python3' is this Python."
    else:
        yield f"problem: Jupyter's kernel 'python3' is {command}; run: python -m ipykernel install --sys-prefix"


PARTS = (python, packages, torch_pair, gpu, weights, photographs, internet, browser, disk, kernel)
