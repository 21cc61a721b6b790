"""What the metrics cost beyond the forward passes that they cannot do without.

    python benchmarks/metrics.py                               both networks (half an hour)
    python benchmarks/metrics.py --model efficientnet_lite0    one network

`needs` is how many units an entry cannot do without, and `limit` 1.1 times that; see ratios.py for how both are timed.
The unit is a plain forward pass, without gradients, of 4 images laid out in memory as the metric runs them; or of one
image, which is what a plain loop over the steps would run; or one Grad-CAM. Quantus comes with
`pip install quantus`; its pixel flipping is a deletion curve, of 168 steps, from a loop over single images.
The table goes to results/benchmark_metrics.csv, and machine, versions and date to the .json beside it.
"""

from functools import partial

import torch
from ratios import Case, Entry, main, one_forward

from xailib import explain, metrics

BATCH, STEPS, FLIPS = 4, 224, 168


def four_images(case: Case) -> None:
    case.model(case.images[:BATCH])


def one_image_four_times(case: Case) -> None:
    images = case.images.expand(BATCH, -1, -1, -1)
    case.model(images.contiguous(memory_format=torch.channels_last))


def gradcam(case: Case) -> torch.Tensor:
    return explain.cam(case.model, case.images, case.targets, layer=case.layer, weights=explain.gradcam)


def random_maps(case: Case) -> torch.Tensor:
    return explain.random_map(case.model, case.images, case.targets)


def faithfulness(case: Case) -> torch.Tensor:
    p, o = metrics.masked_probabilities(case.model, case.images, case.targets, random_maps(case))
    values = [metrics.average_drop(p, o), metrics.average_increase(p, o), metrics.average_gain(p, o)]
    return torch.stack(values, 1)[:, None]


def insertion_and_deletion(case: Case) -> torch.Tensor:
    given = case.model, case.images, case.targets, random_maps(case)
    return torch.cat([metrics.insertion_curve(*given), metrics.deletion_curve(*given)])[:, None]


def perturbation(case: Case) -> torch.Tensor:
    return metrics.perturbation_curve(case.model, case.images, case.targets, random_maps(case))[:, None]


def max_sensitivity(case: Case) -> torch.Tensor:
    explainer = partial(explain.cam, layer=case.layer, weights=explain.gradcam)
    return metrics.max_sensitivity(case.model, case.images, case.targets, explainer)[:, None, None]


def deletion(case: Case) -> torch.Tensor:
    return metrics.deletion_curve(case.model, case.images, case.targets, random_maps(case))[:, None, 1:]


def pixel_flipping(case: Case) -> torch.Tensor:
    """Quantus flips values, three to a pixel, and takes a step that divides the number of pixels: this one is nearest."""
    import quantus

    judge = quantus.PixelFlipping(features_in_step=3 * 224**2 // FLIPS, perturb_baseline=0.5, disable_warnings=True)
    values = {"x_batch": case.images.numpy(), "y_batch": case.targets.numpy(), "a_batch": random_maps(case)[:, None]}
    values["a_batch"] = values["a_batch"].expand_as(case.images).numpy()
    return torch.tensor(judge(model=case.model, softmax=True, device="cpu", **values))[:, None]


NEEDS = {  # per image
    "AD, AI and AG": 2 / BATCH,
    "insertion and deletion": 2 * STEPS / BATCH,
    "insertion and deletion, beside single images": 2 * STEPS,
    "AOPC, 10 regions": 12 / BATCH,  # one of them to see which layout the network takes
    "max-sensitivity of Grad-CAM": 11,
    "deletion": STEPS,
    "deletion, Quantus": FLIPS,
}
LIMITS = {name: 1.1 * needs for name, needs in NEEDS.items()}
ENTRIES = {
    "AD, AI and AG": Entry(faithfulness, unit=four_images, units=3, images=6, limit=LIMITS["AD, AI and AG"]),
    "insertion and deletion": Entry(
        insertion_and_deletion, unit=one_image_four_times, units=25, repeats=5, limit=LIMITS["insertion and deletion"]
    ),
    "insertion and deletion, beside single images": Entry(
        insertion_and_deletion, units=50, repeats=5, limit=LIMITS["insertion and deletion, beside single images"]
    ),
    "AOPC, 10 regions": Entry(
        perturbation, unit=one_image_four_times, units=3, repeats=11, limit=LIMITS["AOPC, 10 regions"]
    ),
    "max-sensitivity of Grad-CAM": Entry(
        max_sensitivity, unit=gradcam, units=5, repeats=11, limit=LIMITS["max-sensitivity of Grad-CAM"]
    ),
    "deletion": Entry(deletion, units=50, repeats=5, limit=LIMITS["deletion"]),
    "deletion, Quantus": Entry(pixel_flipping, "quantus", units=50, repeats=5, unit=one_forward),
}


if __name__ == "__main__":
    main(ENTRIES, __doc__, "benchmark_metrics", needs=NEEDS)
