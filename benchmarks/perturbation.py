"""What occlusion and RISE cost beyond the forward passes that they cannot do without.

    python benchmarks/perturbation.py                               both networks (some minutes on two CPU cores)
    python benchmarks/perturbation.py --model efficientnet_lite0    one network

The unit is a plain forward pass of 8 images, laid out channels last, as both methods run them; see ratios.py for how it
is timed. 128 masks need 16 of these, 121 windows and the whole image 15.25: what is above is the cost of making masks,
masking, and adding up. Thousands of masks cost as many times more and need no more memory, so few are enough here.
The table goes to results/benchmark_perturbation.csv, and machine, versions and date to the .json beside it.
"""

import torch
from ratios import Case, Entry, main

from xailib import explain

BATCH, MASKS, WINDOW, STRIDE = 8, 128, 64, 16  # 121 = (1 + (224 - 64) / 16)^2 windows
RISE_NEEDS, OCCLUSION_NEEDS = MASKS / BATCH, (121 + 1) / BATCH


def plain_forward(case: Case) -> None:
    """Makes its images first, as a method must, but these are copies."""
    case.model(case.images.expand(BATCH, -1, -1, -1).contiguous(memory_format=torch.channels_last))


def rise(case: Case) -> torch.Tensor:
    return explain.rise(case.model, case.images, case.targets, masks=MASKS, chunk=BATCH)


def occlusion(case: Case) -> torch.Tensor:
    return explain.occlusion(case.model, case.images, case.targets, window=WINDOW, stride=STRIDE, chunk=BATCH)


MEASURED = {"unit": plain_forward, "units": 9, "repeats": 5}
ENTRIES = {
    "rise, 128 masks": Entry(rise, limit=1.1 * RISE_NEEDS, **MEASURED),
    "occlusion, 121 windows": Entry(occlusion, limit=1.1 * OCCLUSION_NEEDS, **MEASURED),
}


if __name__ == "__main__":
    needs = {"rise, 128 masks": RISE_NEEDS, "occlusion, 121 windows": OCCLUSION_NEEDS}
    main(ENTRIES, __doc__, "benchmark_perturbation", unit=f"forward pass of {BATCH} images", needs=needs)
