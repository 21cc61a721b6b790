"""Settings for every test and every notebook under test."""

import os
import sys
from functools import partial
from pathlib import Path

import psutil
import pytest

assert "torch" not in sys.modules, "torch reads these variables when it is imported"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # idle threads of one process must not slow another down
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XAILIB_PROFILE", "quick")

ROOT = Path(__file__).parent
SLOW = 2.0  # times the budget in the head: the machines that run the tests differ
broken: set[Path] = set()  # notebooks with a cell that failed


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    if item.path in broken:
        pytest.skip("an earlier cell of this notebook failed")
    with pytest.MonkeyPatch.context() as patch:
        if item.path.suffix == ".ipynb":  # its kernel starts now, and reads offline/sitecustomize.py
            from jupyter_client.manager import KernelManager
            from lesson_execute import own_sockets

            patch.setattr("nbval.kernel.KernelManager", partial(KernelManager, **own_sockets()))
            patch.setenv("PYTHONPATH", str(ROOT / "tests" / "offline"), prepend=os.pathsep)
        return (yield)


def pytest_runtest_makereport(item, call):
    if item.path.suffix == ".ipynb" and call.excinfo and not call.excinfo.errisinstance(pytest.skip.Exception):
        broken.add(item.path)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    if collector.path.suffix == ".ipynb" and collector.path.name[:2].isdigit() and report.result:
        report.result.append(Budget.from_parent(collector, name="Budget"))
    return report


class Budget(pytest.Item):
    """After the last cell of a notebook: what its kernel took, beside the budget in the head."""

    def runtest(self):
        from lesson_head import read_head
        from lesson_source import source_of

        head = read_head(ROOT / source_of(f"{self.path.parent.name}/{self.path.name}"))
        profile = os.environ["XAILIB_PROFILE"]
        most = head.seconds[profile]
        kernel = psutil.Process(self.parent.kernel.km.provisioner.pid)
        times = kernel.cpu_times()  # of the processor, for other tests run beside this one
        seconds, gigabytes = times.user + times.system, _peak(kernel) / 1e9
        assert seconds <= SLOW * most, f"took {seconds:.0f} s; the head says {profile} {most:g} s, times {SLOW:g}"
        assert gigabytes <= head.gigabytes, f"used {gigabytes:.2f} GB; the head says {head.gigabytes:g} GB"


def _peak(process: psutil.Process) -> int:
    """The most memory a process has used, in bytes; where the system does not tell, what it uses now."""
    status = Path(f"/proc/{process.pid}/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    memory = process.memory_info()
    return getattr(memory, "peak_wset", memory.rss)
