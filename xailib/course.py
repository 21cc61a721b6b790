"""What every lesson shares: the run profile, the device, and where results go."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

if TYPE_CHECKING:
    from pandas import DataFrame

PROFILES = ("quick", "laptop", "full")  # from short to long
ROOT = Path(__file__).resolve().parents[1]
VERSIONS = ("xailib", "torch", "torchvision", "timm", "numpy")
Setting = TypeVar("Setting")


def profile() -> str:
    """The run profile of this process: `quick` (tests), `laptop` (default) or `full` (the thesis' recipe).

    Read from XAILIB_PROFILE. Raises ValueError for another name, RuntimeError for `full` without a CUDA GPU.
    """
    name = os.environ.get("XAILIB_PROFILE", "laptop")
    if name not in PROFILES:
        raise ValueError(f"XAILIB_PROFILE is {name!r}; it must be one of {', '.join(PROFILES)}")
    if name == "full" and not torch.cuda.is_available():
        raise RuntimeError("XAILIB_PROFILE=full needs a CUDA GPU and PyTorch sees none; use XAILIB_PROFILE=laptop")
    return name


def choose(*, quick: Setting, laptop: Setting, full: Setting) -> Setting:
    """The setting for the running profile, for a training lesson's frozen `Config` (`epochs: int = choose(...)`)."""
    return {"quick": quick, "laptop": laptop, "full": full}[profile()]


def device() -> torch.device:
    """The CUDA GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def save_results(name: str, table: "DataFrame", *, seed: int | None, **context) -> Path:
    """The path of the CSV file a table was written to; NAME.json beside it says how the numbers came about.

    The folder is XAILIB_RESULTS if set; else `results/`, and `build/results/` for quick runs, whose numbers mean
    little. A table of a longer profile is never overwritten, one of the same profile in `results/` only where
    XAILIB_RESULTS=results asks for it: else the new one goes to `build/results/`, and this is printed.
    `seed` is None where nothing is random; `context` is anything JSON holds. Raises ValueError for an empty table or a
    name that is no plain file name.
    """
    if not name or Path(name).name != name:
        raise ValueError(f"a result's name is a plain file name without folders, found {name!r}")
    if table.empty:
        raise ValueError(f"the table {name!r} is empty; there is nothing to save")
    record = facts() | {"seed": seed} | context
    folder = _folder(name, record["profile"])
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=2, ensure_ascii=False)
    table.to_csv(folder / f"{name}.csv", index=not _is_counter(table), lineterminator="\n")
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    return folder / f"{name}.csv"


def _is_counter(table: "DataFrame") -> bool:
    """Whether the index only counts rows, so that it says nothing in a file."""
    return table.index.name is None and list(table.index) == list(range(len(table)))


def _folder(name: str, current: str) -> Path:
    scratch, asked = ROOT / "build" / "results", os.environ.get("XAILIB_RESULTS")
    folder = Path(asked or (scratch if current == "quick" else ROOT / "results"))
    earlier = folder / f"{name}.json"
    if not earlier.exists():
        return folder
    found = json.loads(earlier.read_text(encoding="utf-8"))["profile"]
    longer = PROFILES.index(current) - PROFILES.index(found)
    if longer > 0 or longer == 0 and (asked or folder == scratch):
        return folder
    print(f"{folder / name}.csv holds a {found} run and stays as it is; this {current} run goes to {scratch}")
    if longer == 0:
        print(f"XAILIB_RESULTS={folder.name} replaces it")
    return scratch


def facts() -> dict[str, Any]:
    """How numbers of this process come about: profile, date, machine, commit and versions, for the file beside a table."""
    return {
        "profile": profile(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(),
        "commit": _commit(),
        "versions": {"python": platform.python_version()} | {package: version(package) for package in VERSIONS},
    }


def _machine() -> str:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, {gpu}"


def _commit() -> str:
    """The commit that ran, with "+changes" where tracked files differ from it, results that were just saved aside."""
    try:
        changed = _git("diff", "--name-only", "HEAD", "--", ".", ":!results")
        return _git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
