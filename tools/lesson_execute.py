"""Executed copies of the notebooks, for reading and for the book, each with a record of its run."""

import hashlib
import os
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from traitlets.config import Config

EXECUTED = Path("build/executed")
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
SECONDS_PER_CELL = 3600  # executed copies are made in every profile, the full one trains for long


def execute(places: list[str], root: Path, jobs: int = 1) -> dict[str, list[str]]:
    """Write build/executed/PLACE for each notebook; returns the errors of each, an empty list where all went well."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if jobs > 1:  # torch processes side by side fight for the cores otherwise
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ThreadPoolExecutor(jobs) as pool:
        return dict(zip(places, pool.map(lambda place: _execute(place, root, jobs), places), strict=True))


def _execute(place: str, root: Path, jobs: int) -> list[str]:
    from xailib.course import facts  # torch comes with it: not for those who only build notebooks

    text = (root / place).read_text(encoding="utf-8")
    record = facts() | {"jobs": jobs, "notebook": fingerprint(text), "library": library_fingerprint(root)}
    notebook, start = nbformat.reads(text, as_version=4), time.monotonic()
    errors = _run(notebook, (root / place).parent) + widget_errors(notebook)
    seconds = round(time.monotonic() - start, 1)
    notebook.metadata["run"] = record | {"seconds": seconds, "errors": len(errors)}
    print(f"{place} {'failed' if errors else 'ran'} in {seconds:.0f} s", flush=True)
    target = root / EXECUTED / place
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)  # after an error too: it shows where
    return errors


def _run(notebook: NotebookNode, folder: Path) -> list[str]:
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=SECONDS_PER_CELL,
        record_timing=False,
        config=Config(KernelManager=own_sockets()),
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        return [str(error)]
    return []


def own_sockets() -> dict[str, str]:
    """Settings for a kernel that no other can disturb: two that start at once may be given one TCP port, and one dies."""
    if os.name != "posix":
        return {}
    return {"transport": "ipc", "ip": f"{tempfile.gettempdir()}/kernel-{uuid.uuid4().hex}"}


def widget_errors(notebook: NotebookNode) -> list[str]:
    """Errors that an Output widget swallowed: they stand in the saved widget state, and no cell fails."""
    models = notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {}).values()
    outputs = [output for model in models for output in model["state"].get("outputs", ())]
    return [f"in a widget: {o['ename']}: {o['evalue']}" for o in outputs if o["output_type"] == "error"]


# --- what is up to date ------------------------------------------------------------------------------------------------


def outdated(places: list[str], root: Path, profile: str) -> list[str]:
    """The notebooks without an executed copy that ran to its end, as they are now, in this profile."""
    return [place for place in places if not _is_current(place, root, profile)]


def _is_current(place: str, root: Path, profile: str) -> bool:
    wanted = {"notebook": fingerprint((root / place).read_text(encoding="utf-8")), "profile": profile, "errors": 0}
    return wanted.items() <= run_record(place, root).items()


def run_record(place: str, root: Path) -> dict:
    """How an executed copy came about; empty where there is none, or where it does not say."""
    path = root / EXECUTED / place
    return nbformat.read(path, as_version=4).metadata.get("run", {}) if path.exists() else {}


def library_fingerprint(root: Path) -> str:
    """A mark that changes with any module of the library."""
    return fingerprint("".join(path.read_text(encoding="utf-8") for path in sorted((root / "xailib").rglob("*.py"))))


def fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
