"""Notebooks in a real JupyterLab in a real browser: open, run, move a slider, look."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
_PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
    "C:/Program Files (x86)/Microsoft/Edge/Application/msedge.exe",
)
_FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},  # no pop-up over the page
    "notebook-extension/tracker": {"windowingMode": "none"},  # cells out of sight stay in the page
}
_NOTEBOOK = "window.jupyterapp?.shell?.currentWidget"
_IDLE = f"{_NOTEBOOK}?.sessionContext?.session?.kernel?.status === 'idle'"


def executable() -> str:
    """The path of a Chromium, Chrome or Edge; without one the test is skipped, or fails if XAILIB_REQUIRE_BROWSER=1."""
    found = [shutil.which(name) for name in _PROGRAMS] + [place for place in _PLACES if Path(place).exists()]
    for path in filter(None, found):
        return path
    reason = "no Chromium, Chrome or Edge was found on this machine; install one to test notebooks in a browser"
    if os.environ.get("XAILIB_REQUIRE_BROWSER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def chromium() -> Iterator:
    """A browser without a window."""
    path = executable()
    from playwright.sync_api import sync_playwright

    root = ["--no-sandbox"] if getattr(os, "geteuid", lambda: 1)() == 0 else []  # Chromium refuses root otherwise
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*_FLAGS, *root])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def jupyterlab(folder: Path, private: Path) -> Iterator["Lab"]:
    """A JupyterLab over `folder` that keeps all its own files in `private`, shut down at the end."""
    for name, values in _SETTINGS.items():
        file = private / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values), encoding="utf-8")
    lab = Lab(folder, _free_port(), secrets.token_hex(16))
    with open(private / "lab.log", "w", encoding="utf-8") as log:
        server = subprocess.Popen(lab.command(), env=_environment(private), cwd=folder, stdout=log, stderr=log)
        try:
            lab.wait(server, private / "lab.log")
            yield lab
        finally:
            lab.stop(server)


class Lab:
    """A JupyterLab server: where it is, and how to talk to it."""

    def __init__(self, folder: Path, port: int, token: str):
        self.folder, self.port, self.token = folder, port, token

    def command(self) -> list[str]:
        options = {
            "ServerApp.port": self.port,
            "ServerApp.port_retries": 0,
            "ServerApp.open_browser": False,
            "ServerApp.root_dir": self.folder,
            "ServerApp.allow_root": True,
            "IdentityProvider.token": self.token,
            "LabApp.expose_app_in_browser": True,
        }
        return [sys.executable, "-m", "jupyterlab", *(f"--{name}={value}" for name, value in options.items())]

    def address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    def ask(self, path: str, method: str = "GET") -> None:
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.address(path), headers=headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(request, timeout=10).close()

    def wait(self, server: subprocess.Popen, log: Path, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and server.poll() is None:
            try:
                return self.ask("api/status")
            except OSError:
                time.sleep(0.2)
        pytest.fail(f"JupyterLab did not start:\n{log.read_text(encoding='utf-8')[-2000:]}")

    def stop(self, server: subprocess.Popen) -> None:
        """Through its own door, so that kernels end too; by force only if it stays."""
        try:
            self.ask("api/shutdown", "POST")
            server.wait(15)
        except (OSError, subprocess.TimeoutExpired):
            server.kill()
            server.wait()


class Notebook:
    """A notebook of a running JupyterLab, open in a page of a browser, its kernel idle."""

    def __init__(self, browser, lab: Lab, name: str):
        self.page, self.problems = browser.new_page(viewport={"width": 1200, "height": 1000}), []
        self.page.on("pageerror", lambda error: self.problems.append(f"page: {error}"))
        self.page.on("console", lambda message: message.type == "error" and self.problems.append(message.text))
        self.page.goto(f"{lab.address(f'doc/tree/{name}')}?token={lab.token}&reset")
        self.page.wait_for_function(f"() => {_IDLE}", timeout=40_000)

    def run_all(self, seconds: float = 120) -> None:
        """Runs all cells and waits until the last is done, or one has failed."""
        self.page.evaluate(
            "() => { window.ran = false;"
            "window.jupyterapp.commands.execute('notebook:run-all-cells').finally(() => { window.ran = true }) }"
        )
        self.page.wait_for_function(f"() => window.ran && {_IDLE}", timeout=1000 * seconds)

    def unrun(self) -> list[str]:
        """The code cells that have code but did not run."""
        return self.page.evaluate(
            f"() => {_NOTEBOOK}.content.widgets.map(cell => cell.model)"
            ".filter(model => model.type === 'code' && !model.executionCount)"
            ".map(model => model.sharedModel.getSource()).filter(source => source.trim())"
        )

    def errors(self) -> list[str]:
        """What went wrong for the reader: errors among the outputs, alerts of widgets, problems of the page."""
        outputs = self.page.evaluate(
            f"() => {_NOTEBOOK}.content.widgets.flatMap(cell => cell.model.outputs?.toJSON() ?? [])"
            ".filter(output => output.output_type === 'error').map(output => `${output.ename}: ${output.evalue}`)"
        )
        return outputs + self.page.locator(".jp-Notebook [role=alert]").all_inner_texts() + self.problems

    def alts(self) -> list[str]:
        """The descriptions of the pictures among the outputs, '' where one has none; widgets' own pictures left out."""
        return self.page.eval_on_selector_all(
            ".jp-OutputArea-output img:not(.widget-image)", "images => images.map(i => i.alt)"
        )

    def says(self, sentence: str, seconds: float = 20) -> bool:
        """Whether a sentence stands in the outputs, now or soon."""
        place = self.page.locator(".jp-OutputArea-output").get_by_text(sentence, exact=True)
        place.first.wait_for(timeout=1000 * seconds)
        return True

    def nudge(self, slider: int = 0) -> None:
        """Moves a slider one step by key, as someone without a mouse would: to the right, or back from its end."""
        handle = self.page.locator(".jp-OutputArea-output .widget-slider .noUi-handle").nth(slider)
        at_end = float(handle.get_attribute("aria-valuenow")) >= float(handle.get_attribute("aria-valuemax"))
        handle.focus()
        handle.press("ArrowLeft" if at_end else "ArrowRight")

    def picture(self, at: int = 0) -> str:
        """A fingerprint of the picture of a widget."""
        return (
            self.page.locator(".widget-image")
            .nth(at)
            .evaluate(
                "async image => { const bytes = await (await fetch(image.src)).arrayBuffer();"
                "const hash = await crypto.subtle.digest('SHA-256', bytes); return new Uint8Array(hash).join() }"
            )
        )

    def wait_for_change(self, picture: str, at: int = 0, seconds: float = 20) -> float:
        """The seconds until the picture of a widget is another than `picture`; fails if it stays."""
        start = time.monotonic()
        while self.picture(at) == picture:
            if time.monotonic() > start + seconds:
                pytest.fail(f"the picture did not change within {seconds} s; errors: {self.errors()}")
            time.sleep(0.01)
        return time.monotonic() - start


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _environment(private: Path) -> dict[str, str]:
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    quiet = {"OMP_WAIT_POLICY": "PASSIVE"}
    return os.environ | quiet | {name: str(private / folder) for name, folder in folders.items()}
