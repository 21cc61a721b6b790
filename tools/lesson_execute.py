"""Executed copies of the notebooks, for reading and for the book."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
SECONDS_PER_CELL = 3600  # executed copies are made in every profile, the full one trains for long


def execute(places: list[str], root: Path, jobs: int = 1) -> dict[str, list[str]]:
    """Write build/executed/PLACE for each notebook; returns the errors of each, an empty list where all went well."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if jobs > 1:  # torch processes side by side fight for the cores otherwise
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ThreadPoolExecutor(jobs) as pool:
        return dict(zip(places, pool.map(lambda place: _execute(place, root), places), strict=True))


def _execute(place: str, root: Path) -> list[str]:
    notebook = nbformat.read(root / place, as_version=4)
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=SECONDS_PER_CELL,
        record_timing=False,
        resources={"metadata": {"path": str((root / place).parent)}},
    )
    errors = []
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        errors.append(str(error))
    target = root / "build" / "executed" / place
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)  # after an error too: it shows where
    return errors + widget_errors(notebook)


def widget_errors(notebook: NotebookNode) -> list[str]:
    """Errors that an Output widget swallowed: they stand in the saved widget state, and no cell fails."""
    models = notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {}).values()
    outputs = [output for model in models for output in model["state"].get("outputs", ())]
    return [f"in a widget: {o['ename']}: {o['evalue']}" for o in outputs if o["output_type"] == "error"]
