"""The CAM family against pytorch-grad-cam, torchcam and captum, where these are right.

Known differences, and how these tests step around them: pytorch-grad-cam enlarges Score-CAM's masks with aligned
corners (here features have the image's size), adds 1e-6 in Grad-CAM++ (here gradients are large), divides by the
signed score in Ablation-CAM (so do we, by option); torchcam's Grad-CAM++ is not Grad-CAM++, and it normalises
Score-CAM's masks before it enlarges them (so do we, by option).
"""

from functools import partial

import numpy as np
import pytest
import torch
from cases import batch
from torch import nn

from xailib import explain, heatmap

pytestmark = pytest.mark.reference


class Net(nn.Module):
    """Ends in non-negative features, without in-place operations, and a head that is not linear."""

    def __init__(self, stride: int):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, stride, 1), nn.ReLU()
        )
        self.head = nn.Sequential(
            nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
        )

    def forward(self, x):
        return self.head(self.features(x))


def case(stride):
    torch.manual_seed(3)
    net = Net(stride).eval()
    for parameter in net.parameters():
        parameter.data *= 2
    return net, *batch(2)


def ours(net, images, targets, weights):
    return heatmap.normalize(explain.cam(net, images, targets, layer="features", weights=weights)).detach()


def theirs_by_pytorch_grad_cam(method, net, images, targets):
    pgc = pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with getattr(pgc, method)(net, [net.features]) as extractor:
        maps = extractor(images, [ClassifierOutputTarget(int(target)) for target in targets])
    return torch.from_numpy(np.asarray(maps))


def theirs_by_torchcam(method, net, images, targets):
    methods = pytest.importorskip("torchcam.methods")
    with getattr(methods, method)(net, "features") as extractor:
        scores = net(images)
        return extractor(targets.tolist(), scores, normalized=False)[0]


@pytest.mark.parametrize(
    "method, weights",
    [
        ("GradCAM", explain.gradcam),
        ("GradCAMPlusPlus", explain.gradcam_pp),
        ("XGradCAM", explain.xgradcam),
        ("HiResCAM", explain.hirescam),
        ("LayerCAM", explain.layercam),
        ("ScoreCAM", explain.scorecam),
        ("AblationCAM", partial(explain.ablationcam, ablation_norm="signed")),
    ],
)
def test_pytorch_grad_cam(method, weights):
    net, images, targets = case(stride=1)
    if method == "GradCAMPlusPlus":
        net.head[-1].weight.data *= 1000
    if method == "AblationCAM":
        targets = net(images).argmax(1)  # its sign is right for positive scores only
    found = theirs_by_pytorch_grad_cam(method, net, images, targets)
    assert torch.allclose(ours(net, images, targets, weights), found, atol=2e-3)


@pytest.mark.parametrize(
    "method, weights",
    [
        ("GradCAM", explain.gradcam),
        ("XGradCAM", explain.xgradcam),
        ("LayerCAM", explain.layercam),
        ("ScoreCAM", partial(explain.scorecam, order="norm_then_up")),
    ],
)
def test_torchcam(method, weights):
    net, images, targets = case(stride=2)
    found = theirs_by_torchcam(method, net, images, targets).detach()
    expected = heatmap.normalize(heatmap.resize(found, images.shape[2:]))
    assert torch.allclose(ours(net, images, targets, weights), expected, atol=1e-4)


def test_captum_gradcam():
    captum = pytest.importorskip("captum.attr")
    net, images, targets = case(stride=2)
    found = captum.LayerGradCam(net, net.features).attribute(images, target=targets, relu_attributions=True)
    expected = heatmap.resize(found[:, 0].detach(), images.shape[2:])
    assert torch.allclose(
        explain.cam(net, images, targets, layer="features", weights=explain.gradcam), expected, atol=1e-5
    )
