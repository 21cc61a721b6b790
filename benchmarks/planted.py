"""How fast planted scenes are drawn: images per second, in one process and by DataLoader workers, at several sizes.

    python benchmarks/planted.py              all CPU cores, and a GPU where there is one (about a minute)
    python benchmarks/planted.py --scenes 512

Each process works with one thread; `load` in the .json says how busy the machine was with other work. The table goes to
results/benchmark_planted.csv, and machine, versions and date to the .json beside it.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator

import pandas as pd
import torch
from torch.utils.data import DataLoader

from xailib.course import save_results
from xailib.data import PlantedScenes

SIZES = (32, 64, 128, 224)
LIMIT = 3000  # images of 64 x 64 per second that two cores must draw
REPEATS = 3
PROCESSES = 2


def scenes(size: int, count: int, device: str = "cpu") -> PlantedScenes:
    generator = torch.Generator().manual_seed(0)
    return PlantedScenes(count, size=size, correlation={"context": 0.9}, generator=generator, device=device)


def one_process(data: PlantedScenes) -> Iterator[int]:
    for batch in data.batches(256):
        yield len(batch.images)


def workers(data: PlantedScenes) -> Iterator[int]:
    for batch in DataLoader(data, 256, num_workers=PROCESSES):
        yield len(batch.images)


def rate(run: Callable[[PlantedScenes], Iterator[int]], data: PlantedScenes) -> dict[str, int]:
    """Images per second, and per second that this process computed; the best of the repeats, since other work on the
    machine only slows down. The first batch, which also makes the materials and starts the workers, does not count."""
    found = []
    for _ in range(REPEATS):
        steps = run(data)
        next(steps)
        start, busy, drawn = time.perf_counter(), time.process_time(), sum(steps)
        if data.device.type == "cuda":
            torch.cuda.synchronize()
        found.append((drawn / (time.perf_counter() - start), drawn / (time.process_time() - busy)))
    seconds, busy = (round(max(column)) for column in zip(*found, strict=True))
    return {"images per second": seconds} | ({"images per CPU second": busy} if run is one_process else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=4096, help="of 64 x 64 pixels; fewer where they are larger")
    count = parser.parse_args().scenes
    torch.set_num_threads(1)
    runs = {"one process": (one_process, "cpu"), f"{PROCESSES} workers": (workers, "cpu")}
    if torch.cuda.is_available():
        runs["GPU"] = (one_process, "cuda")
    lines = []
    for size in SIZES:
        for name, (run, device) in runs.items():
            found = rate(run, scenes(size, max(1024, min(count, count * 64**2 // size**2)), device))
            lines.append({"size": size, "drawn by": name} | found)
            if (size, run) == (64, workers):
                lines[-1]["note"] = "holds" if found["images per second"] >= LIMIT else "too slow"
            print(lines[-1], flush=True)
    table = pd.DataFrame(lines)
    print(save_results("benchmark_planted", table, seed=0, limit=LIMIT, threads=1, load=os.getloadavg()))


if __name__ == "__main__":
    main()
