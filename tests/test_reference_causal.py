"""Region perturbation, pixel flipping and max-sensitivity against Quantus, where the two mean the same.

Quantus works in the network's normalised space, on NumPy arrays, and flips values, not pixels: given a map per channel it
takes a pixel's channels one after the other. With one channel the two agree.
"""

import numpy as np
import pytest
import torch
from torch import nn

from xailib import metrics
from xailib.models.zoo import Normalized

quantus = pytest.importorskip("quantus")
pytestmark = pytest.mark.reference


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def grey_network():
    """Convolution, pooling and a linear head on grey images of 16 x 16, behind a normalisation."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 4))
    net[-1].weight.data *= 5
    return Normalized(net, (0.4,), (0.25,)).eval()


MODEL = grey_network()
IMAGES, TARGETS = torch.rand(3, 1, 16, 16, generator=seeded(1)), torch.tensor([0, 1, 2])
MAPS = torch.rand(3, 16, 16, generator=seeded(2))  # no ties
NORMALISED = ((IMAGES - MODEL.mean) / MODEL.std).numpy()
QUIET = {"disable_warnings": True, "display_progressbar": False}


def judged(metric, **options):
    given = {"x_batch": NORMALISED, "y_batch": TARGETS.numpy(), "a_batch": MAPS[:, None].numpy()}
    return torch.tensor(np.array(metric(model=MODEL.net, softmax=True, device="cpu", **given, **options)))


@pytest.mark.parametrize("patch, regions", [(4, 10), (2, 5)])
def test_region_perturbation(patch, regions):
    metric = quantus.RegionPerturbation(patch_size=patch, regions_evaluation=regions, perturb_baseline="black", **QUIET)
    options = dict(patch=patch, regions=regions)
    curves = metrics.perturbation_curve(MODEL, IMAGES, TARGETS, MAPS, **options)
    expected = judged(metric)
    torch.testing.assert_close(curves[:, :1] - curves[:, 1:], expected.float(), atol=1e-5, rtol=1e-4)
    found = metrics.aopc(MODEL, IMAGES, TARGETS, MAPS, aopc="quantus_mean", **options)
    torch.testing.assert_close(found, expected.float().mean(1), atol=1e-5, rtol=1e-4)
    found = metrics.aopc(MODEL, IMAGES, TARGETS, MAPS, aopc="trapz", **options)
    torch.testing.assert_close(found, torch.trapezoid(expected.float()), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("substrate, value", [("minimum", "black"), ("mean", 0.0)])
@pytest.mark.parametrize("step", [16, 32])
def test_pixel_flipping_is_deletion(substrate, value, step):
    metric = quantus.PixelFlipping(features_in_step=step, perturb_baseline=value, **QUIET)
    found = metrics.deletion_curve(MODEL, IMAGES, TARGETS, MAPS, step=step, substrate=substrate)
    torch.testing.assert_close(found[:, 1:], judged(metric).float(), atol=1e-5, rtol=1e-4)  # Quantus leaves out p_0


def test_max_sensitivity():
    """The same noises, by way of our generator; images far enough from black and white that none is cut."""
    images = 0.4 + 0.2 * IMAGES
    generator = seeded(0)
    noises = [2 * torch.rand(1, 16, 16, generator=generator) - 1 for _ in range(10)]
    turns = iter(noises)

    def add_noise(arr, indices, **_):
        return arr + 0.2 * next(turns).numpy().reshape(1, -1)

    def gradients(model, inputs, targets, **_):
        x = torch.as_tensor(inputs, dtype=torch.float32).requires_grad_()
        scores = model(x).gather(1, torch.as_tensor(targets)[:, None])
        return torch.autograd.grad(scores.sum(), x)[0].numpy()

    def input_gradients(model, images, targets):
        x = ((images - MODEL.mean) / MODEL.std).numpy()
        return torch.from_numpy(gradients(MODEL.net, x, targets))[:, 0]

    metric = quantus.MaxSensitivity(
        nr_samples=10, perturb_func=add_noise, similarity_func=quantus.difference, abs=False, normalise=False, **QUIET
    )
    normalised = ((images - MODEL.mean) / MODEL.std).numpy()
    expected = metric(
        model=MODEL.net, x_batch=normalised, y_batch=TARGETS.numpy(), a_batch=None, explain_func=gradients, device="cpu"
    )
    found = metrics.max_sensitivity(MODEL, images, TARGETS, input_gradients)
    torch.testing.assert_close(found, torch.tensor(np.array(expected)).float(), atol=1e-4, rtol=1e-3)
    assert found.min() > 0.05
