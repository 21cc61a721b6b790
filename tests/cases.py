"""Every method of `xailib.explain` on a small network, for the tests that hold for all of them (test_invariants.py)."""

from functools import partial

import torch
from torch import nn

from xailib import explain
from xailib.models import ViT


class TinyNet(nn.Module):
    """Two convolutions, in-place ReLU after the explained layer, global average pooling, a linear head."""

    def __init__(self, classes: int = 4):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.features = nn.Conv2d(6, 8, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(8, classes)

    def forward(self, x):
        return self.head(self.act(self.features(self.stem(x))).mean((2, 3)))


def tiny(seed: int = 0) -> TinyNet:
    torch.manual_seed(seed)
    net = TinyNet()
    net.stem[1].running_mean.normal_()
    return net.eval()


def tiny_vit(seed: int = 0, **options) -> ViT:
    torch.manual_seed(seed)
    return ViT(size=16, patch=4, classes=4, dim=16, depth=3, heads=2, **options).eval()


def batch(b: int = 3, size: int = 16, seed: int = 1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(b, 3, size, size, generator=generator), torch.arange(b) % 4


# name -> method of the protocol (model, images, targets) -> maps, with settings small enough for a test
METHODS = {
    name: partial(explain.cam, layer="act" if name == "classic_cam" else "features", weights=weights)
    for name, weights in explain.WEIGHTS.items()
}
METHODS |= {
    "input_gradient": explain.input_gradient,
    "saliency": explain.saliency,
    "guided_backprop": explain.guided_backprop,
    "smoothgrad": partial(explain.smoothgrad, n=3),
    "integrated_gradients": partial(explain.integrated_gradients, steps=4),
}
METHODS |= {
    "scorecam, probabilities": partial(
        explain.cam, layer="features", weights=partial(explain.scorecam, score_cam="prob_nosoftmax")
    ),
    "layercam_fusion": partial(explain.layercam_fusion, layers=["stem.0", "features"], shallow=1),
    "fakecam": explain.fakecam,
    "opticam": partial(explain.opticam, layer="features", iterations=4),
    "opticam, diff": partial(explain.opticam, layer="features", iterations=4, objective="diff", selector="prob"),
}
METHODS |= {
    "occlusion": partial(explain.occlusion, window=8, stride=4),
    "rise": partial(explain.rise, masks=8, cells=4),
    "lime": partial(explain.lime, superpixels=6, samples=12),
    "meaningful_perturbation": partial(explain.meaningful_perturbation, iterations=3, cells=4, blur=2.0),
    "extremal_perturbation": partial(explain.extremal_perturbation, iterations=3, step=4, sigma=6.0, blur=2.0),
}

METHODS |= {one.__name__: one for one in (explain.random_map, explain.centre_map, explain.edge_map)}

# the same for `tiny_vit`
METHODS_VIT = {
    "raw_attention": explain.raw_attention,
    "rollout": explain.rollout,
    "tibav": explain.tibav,
    "tibav, attention": partial(explain.tibav, relevance="attention"),
    "gradcam": partial(explain.cam, layer="blocks.2.norm1", weights=explain.gradcam),
    "scorecam": partial(explain.cam, layer="blocks.2.norm1", weights=explain.scorecam),
    "ablationcam": partial(explain.cam, layer="blocks.2.norm1", weights=explain.ablationcam),
    "opticam": partial(explain.opticam, layer="blocks.2.norm1", iterations=3),
}
