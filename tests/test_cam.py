"""The gradient CAMs by hand: A1 = [[1,2],[3,4]], A2 = [[0,1],[1,0]], a linear head (2, -1), bias 0.5."""

import pytest
import torch
from torch import nn

from xailib.explain import WEIGHTS, cam


class GapLinear(nn.Module):
    """The image's channels are the activations; their means meet a linear head."""

    def __init__(self, signs=(2.0, -1.0)):
        super().__init__()
        self.features, self.head = nn.Identity(), nn.Linear(2, 1)
        self.head.weight.data, self.head.bias.data = torch.tensor([signs]), torch.tensor([0.5])

    def forward(self, images):
        return self.head((self.features(images) * 4).mean((2, 3)))


IMAGES = torch.tensor([[[[1.0, 2], [3, 4]], [[0, 1], [1, 0]]]]) / 4  # pixels; the head sees them times 4
BY_HAND = {  # of the activations A / 4, whose gradient is 4 times that of A: the products w A are those of A
    "gradcam": [[0.5, 0.75], [1.25, 2]],
    "xgradcam": [[0.5, 0.75], [1.25, 2]],
    "hirescam": [[0.5, 0.75], [1.25, 2]],
    "layercam": [[0.5, 1], [1.5, 2]],
    "gradcam_pp": [[2 / 7, 4 / 7], [6 / 7, 8 / 7]],
}


@pytest.mark.parametrize("name", BY_HAND)
def test_map_by_hand(name):
    found = cam(GapLinear().eval(), IMAGES, torch.tensor([0]), layer="features", weights=WEIGHTS[name])
    torch.testing.assert_close(found, torch.tensor([BY_HAND[name]]))


def test_negative_sums_become_zero():
    found = cam(GapLinear((-2.0, 1.0)).eval(), IMAGES, torch.tensor([0]), layer="features", weights=WEIGHTS["gradcam"])
    torch.testing.assert_close(found, torch.zeros(1, 2, 2))


def test_grad_cam_averages_a_gradient_that_varies():
    net = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(4, 1, bias=False)).eval()
    net[2].weight.data = torch.tensor([[4.0, -2, 1, 1]])
    images = torch.tensor([[[[1.0, 0.5], [0, 1]]]])
    maps = {
        n: cam(net, images, torch.tensor([0]), layer="0", weights=WEIGHTS[n])[0].tolist()
        for n in WEIGHTS
        if "grad" in n or n == "layercam"
    }
    assert maps["gradcam"] == [[1.0, 0.5], [0, 1]]  # mean gradient 1
    assert maps["layercam"] == [[4.0, 0], [0, 1]]
    torch.testing.assert_close(maps["xgradcam"], [[1.6, 0.8], [0.0, 1.6]])  # (4 - 1 + 0 + 1) / 2.5
    weight = 4 / 12 + 2 / 4.5  # alpha = 1 / (2 + 2.5 g); -2 is cut by the ReLU
    torch.testing.assert_close(maps["gradcam_pp"], [[weight, weight / 2], [0.0, weight]])
