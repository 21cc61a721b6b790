"""Gradient methods against captum, where it is right: module ReLUs that are not in place, each used once."""

import pytest
import torch
from cases import batch
from torch import nn

from xailib import explain

captum = pytest.importorskip("captum.attr")
pytestmark = pytest.mark.reference


@pytest.fixture
def case():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 144, 4)
    )
    images, targets = batch()
    return model.double().eval(), images.double(), targets


def test_saliency_and_gradient(case):
    model, images, targets = case
    colours = captum.Saliency(model).attribute(images.clone().requires_grad_(), target=targets, abs=False)
    assert torch.allclose(explain.gradient(model, images, targets), colours)
    assert torch.allclose(explain.saliency(model, images, targets), colours.abs().amax(1))


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
def test_guided_backprop(case):
    model, images, targets = case
    colours = captum.GuidedBackprop(model).attribute(images.clone().requires_grad_(), target=targets)
    assert torch.allclose(explain.gradient(model, images, targets, guided=True), colours)


def test_integrated_gradients_by_the_midpoint_rule(case):
    model, images, targets = case
    expected, delta = captum.IntegratedGradients(model).attribute(
        images, images.roll(1, 0), target=targets, n_steps=20, method="riemann_middle", return_convergence_delta=True
    )
    found = explain.integrated_gradients(model, images, targets, baseline=images.roll(1, 0), steps=20)
    assert torch.allclose(found, expected.sum(1))
    rise = (found.sum((1, 2)) - delta).abs()
    error = explain.completeness_error(model, images, targets, found, baseline=images.roll(1, 0))
    assert torch.allclose(error, delta.abs() / rise)
