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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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

_TAKES_KEYS = "select, .noUi-handle, input[type=checkbox]"
_FINGERPRINT = """async image => {
    await image.decode();
    const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight), pen = canvas.getContext('2d');
    pen.drawImage(image, 0, 0);
    const pixels = pen.getImageData(0, 0, canvas.width, canvas.height).data;
    return new Uint8Array(await crypto.subtle.digest('SHA-256', pixels)).join();
}"""
_WATCH = """box => {  // notes when the key went down, when the next picture was there, and what the reader was told
    const image = box.querySelector(':scope > .widget-image'), now = () => performance.now() - window.pressed;
    const listen = new MutationObserver(() => { window.announced ||= box.innerText.includes('computing…'); });
    Object.assign(window, { pressed: null, answered: null, announced: false });
    for (const event of ['keydown', 'change'])  // the key that chooses from an open list is seen as its change only
        box.addEventListener(event, () => { window.pressed = performance.now(); }, { capture: true });
    image.addEventListener('load', () => { window.answered ??= now(); }, { once: true });
    listen.observe(box, { subtree: true, childList: true });
    window.settled = idle => window.answered !== null
        || (now() > 1500 && idle && !box.innerText.includes('computing…'));  // nothing came, and nothing will
}"""


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


@contextmanager
def voila(notebook: Path, private: Path) -> Iterator[str]:
    """The address of a notebook that runs as a Voila app, which keeps all its own files in `private`."""
    port = _free_port()
    command = [sys.executable, "-m", "voila", "--no-browser", f"--port={port}", "--Voila.ip=127.0.0.1", str(notebook)]
    with open(private / "voila.log", "w", encoding="utf-8") as log:
        server = subprocess.Popen(command, env=_environment(private), cwd=notebook.parent, stdout=log, stderr=log)
        try:
            _wait_for_port(port, server, private / "voila.log")
            yield f"http://127.0.0.1:{port}/"
        finally:
            server.terminate()
            server.wait(15)


def _wait_for_port(port: int, server: subprocess.Popen, log: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"Voila did not start:\n{log.read_text(encoding='utf-8')[-2000:]}")


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

    def run_cell(self, at: int, seconds: float = 120) -> None:
        """Runs one cell and waits until it is done, or has failed."""
        self.page.evaluate(
            "at => { window.ran = false; window.jupyterapp.shell.currentWidget.content.activeCellIndex = at;"
            "window.jupyterapp.commands.execute('notebook:run-cell').finally(() => { window.ran = true }) }",
            at,
        )
        self.page.wait_for_function(f"() => window.ran && {_IDLE}", timeout=1000 * seconds)

    def close(self) -> None:
        """Ends kernel and page: kernels of several lessons side by side would fill the memory."""
        self.page.evaluate(f"() => {_NOTEBOOK}.sessionContext.shutdown()")
        self.page.close()

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
        _press(self.page.locator(".jp-OutputArea-output .widget-slider .noUi-handle").nth(slider))

    def explorers(self, cell: int | None = None) -> list["Explorer"]:
        """The experiments of the notebook, or of one cell: boxes of controls with a picture below."""
        place = self.page.locator(".jp-Notebook" if cell is None else f".jp-Cell[data-windowed-list-index='{cell}']")
        return [Explorer(self, found) for found in place.locator(".widget-vbox:has(> .widget-image)").all()]

    def picture(self, at: int = 0) -> str:
        """A fingerprint of the pixels of a widget's picture."""
        return self.page.locator(".widget-image").nth(at).evaluate(_FINGERPRINT)

    def wait_for_change(self, picture: str, at: int = 0, seconds: float = 20) -> float:
        """The seconds until the picture of a widget is another than `picture`; fails if it stays."""
        start = time.monotonic()
        while self.picture(at) == picture:
            if time.monotonic() > start + seconds:
                pytest.fail(f"the picture did not change within {seconds} s; errors: {self.errors()}")
            time.sleep(0.01)
        return time.monotonic() - start


@dataclass(frozen=True)
class Move:
    """What one step of one control did."""

    control: str  # its label
    seconds: float  # from the key to the new picture


class Explorer:
    """An experiment in a page: controls, a picture, a sentence."""

    def __init__(self, notebook: Notebook, box):
        self.notebook, self.page, self.box = notebook, notebook.page, box
        self.image = box.locator("> .widget-image")

    def controls(self) -> list:
        """What takes the keyboard's focus, one for each control, in their order."""
        return self.box.locator(f"> .jupyter-widgets:not(.widget-image, .widget-html) :is({_TAKES_KEYS})").all()

    def moves(self) -> list[Move]:
        """Goes from control to control by the Tab key and moves each by keys, as someone without a mouse would.

        Fails where Tab does not lead on, where an error appears, where no "computing…" is shown meanwhile, and where a
        control leaves the picture as it was.
        """
        controls, made = self.controls(), []
        assert controls, "the widget has no controls"
        controls[0].focus()
        for at, control in enumerate(controls):
            if at:
                self._tab_to(control)
            made.append(self._move(control))
        return made

    def _tab_to(self, control) -> None:
        for _ in range(2):  # a slider's number, which can be typed, stands between
            self.page.keyboard.press("Tab")
            if control.evaluate("control => control === document.activeElement"):
                return
        raise AssertionError(f"the Tab key does not lead to {_label(control)!r}")

    def _move(self, control, presses: int = 4) -> Move:
        """One step, or a few more where a small one rounds to the same picture."""
        before = self.image.evaluate(_FINGERPRINT)
        for _ in range(presses):
            self.box.evaluate(_WATCH)
            _press(control)
            self.page.wait_for_function(f"() => window.settled({_IDLE})", timeout=40_000)
            assert self.notebook.errors() == [], f"{_label(control)!r}: {self.notebook.errors()}"
            assert self.page.evaluate("() => window.announced"), f"{_label(control)!r} gave no sign of progress"
            answered = self.page.evaluate("() => window.answered")
            if answered and self.image.evaluate(_FINGERPRINT) != before:
                return Move(_label(control), answered / 1000)
        raise AssertionError(f"{_label(control)!r} was moved {presses} steps, and the picture stayed as it was")


def _label(control) -> str:
    return control.evaluate(
        "it => it.closest('.jupyter-widgets').innerText.replaceAll('\u200b', '').trim().split('\\n')[0]"
    )


def _press(control) -> None:
    """One step by keys: a slider to the right, a list down, either back from its end; a box is ticked or cleared.

    A list is opened with Space first: while it is closed, JupyterLab takes the arrows for itself and leaves the cell.
    """
    kind, at_end = control.evaluate(
        "it => it.type === 'checkbox' ? ['box', false]"
        ": it.options ? ['list', it.selectedIndex === it.options.length - 1]"
        ": ['slider', +it.ariaValueNow >= +it.ariaValueMax]"
    )
    keys = {"box": ("Space",), "list": ("Space", "ArrowUp" if at_end else "ArrowDown", "Enter")}
    for key in keys.get(kind, ("ArrowLeft" if at_end else "ArrowRight",)):
        control.press(key)


def _free_port() -> int:
    """Not one of those that systems give to connections: somebody could get it before the server takes it."""
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", secrets.choice(range(10_000, 32_000))))
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
