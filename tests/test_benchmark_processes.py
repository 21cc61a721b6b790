"""A benchmark that is killed, continued, and shared between processes ends with the same file, byte for byte.

    python tests/test_benchmark_processes.py FILE SECONDS [dying RANK]

judges eight maps, each of which takes some seconds; with `dying`, process RANK kills itself at its third map.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from cases import tiny

from xailib.benchmark import run, table
from xailib.data import Sample
from xailib.training import parallel

KILL = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 here")
ROOT = Path(__file__).parent.parent
METRICS = {
    "mean": lambda maps: maps.mean((1, 2)),
    "spread": lambda maps: maps.std(),
    "chance": lambda generator: torch.rand(1, generator=generator),
}
BOX = torch.tensor([[2, 2, 10, 9]])


class Pictures(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        if i == 2:
            raise OSError("picture 2 cannot be read")
        return Sample(torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(i)), i, BOX)


def judged(file: Path, seconds: float = 0, dying: int | None = None, **options):
    asked = []

    def slow(model, images, targets):
        asked.append(1)
        if dying == parallel.rank() and len(asked) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(seconds)
        return images.mean(1)

    def noisy(model, images, targets, generator):
        return slow(model, images, targets) + torch.rand(images.shape[2:], generator=generator)

    methods = {"slow": slow, "noisy": noisy}
    run({"net": tiny()}, Pictures(), methods=methods, metrics=METRICS, file=file, device="cpu", **options)
    return len(asked)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    file = tmp_path_factory.mktemp("whole") / "table.csv"
    judged(file)
    return file.read_bytes()


def command(*words: object) -> list[str]:
    return [sys.executable, *map(str, words)]


ENV = os.environ | {"PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0"}
HERE = ("--nproc-per-node=2", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "--local-addr=127.0.0.1")


def two_processes(*words: object) -> subprocess.CompletedProcess:
    torchrun = command("-m", "torch.distributed.run", *HERE, __file__, *words)
    return subprocess.run(torchrun, env=ENV, capture_output=True, text=True, timeout=300)


def test_file_has_a_row_for_each_value(whole, tmp_path):
    assert judged(tmp_path / "table.csv") == 6  # two maps of each picture that can be read
    head, *rows = whole.decode().splitlines()
    assert head == "model,image,target,method,metric,value,problem" and len(rows) == 4 * 2 * 3
    assert rows[0].startswith("net,image 0,0,slow,mean,0.440904677,")
    assert rows[12] == "net,image 2,,slow,mean,,OSError: picture 2 cannot be read"


@KILL
def test_kill_9_costs_at_most_one_map_and_not_a_bit(whole, tmp_path):
    file = tmp_path / "table.csv"
    process = subprocess.Popen(command(__file__, file, 0.3), env=ENV, stderr=subprocess.DEVNULL)
    while process.poll() is None and (not file.exists() or file.read_bytes().count(b"\n") < 1 + 3 * 3):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    lines = file.read_bytes().count(b"\n")
    assert 1 + 3 * 3 <= lines < 1 + 8 * 3
    assert judged(file) <= 6 - 3
    assert file.read_bytes() == whole
    assert judged(file) == 0  # nothing is left to do
    assert '"continued"' in file.with_suffix(".json").read_text()


def test_torn_ends_are_left_out_wherever_the_writer_died(whole, tmp_path):
    judged(tmp_path / "table.csv")
    slow = [0, 1, 2, 3, 6, 7]  # groups that take a map; 4 and 5 are those of the broken picture
    for end in range(len(whole) - 1, 0, -41):
        (tmp_path / "table.csv").write_bytes(whole[:end])
        groups = (whole[:end].count(b"\n") - 1) // 3
        assert judged(tmp_path / "table.csv") == sum(group >= groups for group in slow)
        assert (tmp_path / "table.csv").read_bytes() == whole


@KILL
def test_two_processes_one_of_which_dies_end_with_the_same_table(whole, tmp_path):
    file = tmp_path / "table.csv"
    died = two_processes(file, 0, 1)
    assert died.returncode != 0 and "Signal 9" in died.stderr
    share = file.with_name("table.csv.1").read_text()
    assert "image 1" in share and "image 0" not in share and file.read_bytes() != whole
    finished = two_processes(file, 0)
    assert finished.returncode == 0, finished.stderr
    assert file.read_bytes() == whole
    assert {one.name for one in tmp_path.iterdir()} == {"table.csv", "table.json"}


def test_one_process_finishes_what_two_began(whole, tmp_path):
    """Each of the two has left a file, one of them with a torn end."""
    file = tmp_path / "table.csv"
    judged(file)
    lines = whole.splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:7]) + b"net,ima")
    (tmp_path / "table.csv.1").write_bytes(b"".join([lines[0], *lines[13:16]]) + lines[16][:9])
    (tmp_path / "table.csv.12").write_bytes(lines[0] + b"".join(lines[19:22]))
    assert judged(file) == 3
    assert file.read_bytes() == whole and not list(tmp_path.glob("table.csv.*"))


def test_a_file_with_other_options_is_refused(whole, tmp_path):
    file = tmp_path / "table.csv"
    judged(file)
    for change, words in (
        ({"seed": 1}, "other seed: 0 then, 1 now"),
        ({"targets": "predicted"}, "other targets: label then, predicted now"),
    ):
        with pytest.raises(ValueError, match=words):
            judged(file, **change)
    ask = {"methods": ["edge_map"], "metrics": METRICS, "file": file, "device": "cpu"}
    with pytest.raises(ValueError, match="other models: net {'weights'"):
        run({"net": tiny(1)}, Pictures(), **ask)
    with pytest.raises(ValueError, match="other methods: net: slow .* then, not there now"):
        run({"net": tiny()}, Pictures(), **ask)
    assert file.read_bytes() == whole
    file.with_suffix(".json").unlink()
    with pytest.raises(ValueError, match=r"table.csv is there, but not table.json"):
        judged(file)
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    table.record(tmp_path / "new.csv", {})
    with pytest.raises(ValueError, match="is not a table of the benchmark"):
        list(table.groups(other, 1))


if __name__ == "__main__":
    judged(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]) if sys.argv[3:] else None)
