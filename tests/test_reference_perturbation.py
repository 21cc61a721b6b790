"""Occlusion against captum, where the two agree: a stride that fits the image (captum cuts the last window off)."""

import pytest
import torch
from cases import batch
from torch import nn

from xailib import explain

captum = pytest.importorskip("captum.attr")
pytestmark = pytest.mark.reference


@pytest.mark.parametrize("window, stride", [(4, 4), (4, 2), (6, 5)])
@pytest.mark.parametrize("substrate, baseline", [("black", 0.0), ("grey", 0.5)])
def test_occlusion(window, stride, substrate, baseline):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 196, 4)).eval()
    images, targets = batch()
    expected = captum.Occlusion(model).attribute(
        images, (3, window, window), (3, stride, stride), baselines=baseline, target=targets
    )
    maps = explain.occlusion(model, images, targets, window=window, stride=stride, substrate=substrate)
    assert torch.allclose(maps, expected[:, 0], atol=1e-6)  # captum runs in float32 only
