"""Every bad input that must be refused, one by one: by its own words, and before or without any change to the model."""

import warnings

import numpy as np
import pytest
import torch
from cases import batch, tiny, tiny_vit
from torch import nn

from xailib import explain, models
from xailib.inputs import check_maps

IMAGES, TARGETS = batch()


class Function(nn.Module):
    """A network whose layer `features` is read by a function of features and images."""

    def __init__(self, function):
        super().__init__()
        self.features, self.unused, self.function = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), function
        self.eval()

    def forward(self, x):
        return self.function(self.features, x)


def pooled(features):
    return features.mean((2, 3))


def one_part_training():
    net = tiny()
    net.stem[1].train()
    return net


def scripted():
    with warnings.catch_warnings(action="ignore"):  # newer versions of torch call it deprecated
        return torch.jit.script(nn.ReLU().eval())


def not_finite():
    net = tiny()
    net.head.bias.data[1] = torch.nan
    return net


def with_(value, images=IMAGES):
    """The images with one pixel of another value."""
    images = images.clone()
    images[1, 2, 3, 4] = value
    return images


# name -> (what differs from a good call: model, images, targets or an option of cam, words that the message must hold)
ENGINE = {
    # model
    "a function as model": ({"model": lambda x: x}, "model must be a torch.nn.Module, found function"),
    "no model": ({"model": None}, "model must be a torch.nn.Module, found NoneType"),
    "training mode": ({"model": tiny().train()}, "the model is in training mode, call model.eval() first"),
    "one part in training mode": ({"model": one_part_training()}, "stem.1 is in training mode call model.eval()"),
    "TorchScript": ({"model": scripted()}, "TorchScript pass the Python model"),
    "model in double": ({"model": tiny().double()}, "images are torch.float32 parameters torch.float64 images.to(torch.float64)"),
    "model elsewhere": ({"model": tiny().to("meta")}, "images are on cpu, the model on meta"),
    # images
    "images as an array": ({"images": IMAGES.numpy()}, "images must be a torch tensor [b c H W], found ndarray"),
    "images as a list": ({"images": [*IMAGES]}, "images must be a torch tensor found list"),
    "one image without batch": ({"images": IMAGES[0]}, "found shape (3, 16, 16) images[None]"),
    "one channel": ({"images": IMAGES[0, 0]}, "images must be [b c H W], found shape (16, 16)"),
    "videos": ({"images": IMAGES[None]}, "images must be [b c H W], found shape (1, 3, 3, 16, 16)"),
    "no images": ({"images": IMAGES[:0], "targets": TARGETS[:0]}, "images are empty: shape (0, 3, 16, 16)"),
    "bytes": ({"images": (IMAGES * 255).byte()}, "floating point in [0, 1], found torch.uint8 images.float() / 255"),
    "integers": ({"images": IMAGES.long()}, "floating point in [0, 1], found torch.int64"),
    "images in double": ({"images": IMAGES.double()}, "images are torch.float64 images.to(torch.float32)"),
    "images in half": ({"images": IMAGES.half()}, "images are torch.float16 images.to(torch.float32)"),
    "bytes as floats": ({"images": (IMAGES * 255).round()}, "must lie in [0, 1] to 255 divide bytes by 255"),
    "normalised": ({"images": (IMAGES - 0.5) / 0.5}, "must lie in [0, 1] the model normalises them itself"),
    "a pixel just above 1": ({"images": with_(1.001)}, "must lie in [0, 1] divide"),
    "a pixel just below 0": ({"images": with_(-1e-3)}, "must lie in [0, 1] normalises"),
    "a NaN pixel": ({"images": with_(torch.nan)}, "NaN or infinite find out"),
    "an infinite pixel": ({"images": with_(torch.inf)}, "NaN or infinite find out"),
    # targets
    "target as a number": ({"targets": 1}, "targets must be a torch tensor, found int torch.tensor([...])"),
    "targets as a list": ({"targets": [0, 1, 2]}, "targets must be a torch tensor, found list torch.tensor([...])"),
    "targets as an array": ({"targets": np.arange(3)}, "targets must be a torch tensor, found ndarray"),
    "int32 targets": ({"targets": TARGETS.int()}, "targets must be int64 class numbers, found torch.int32"),
    "float targets": ({"targets": TARGETS.float()}, "targets must be int64 class numbers, found torch.float32"),
    "too few targets": ({"targets": TARGETS[:2]}, "one class per image: 3 images, targets of shape (2,)"),
    "too many targets": ({"targets": torch.zeros(4).long()}, "one class per image: 3 images, targets of shape (4,)"),
    "one target for all": ({"targets": torch.tensor(1)}, "one class per image targets of shape ()"),
    "one-hot targets": ({"targets": torch.eye(3, 4).long()}, "one class per image targets of shape (3, 4)"),
    "targets elsewhere": ({"targets": TARGETS.to("meta")}, "targets are on meta, images on cpu"),
    "class too large": ({"targets": TARGETS + 2}, "targets must lie in 0..3, found 2 to 4"),
    "class below 0": ({"targets": TARGETS - 1}, "targets must lie in 0..3, found -1 to 1"),
    # layer
    "misspelt layer": ({"layer": "feature"}, "no layer 'feature' in TinyNet; did you mean 'features'"),
    "unknown layer": ({"layer": "qqq"}, "no layer 'qqq' in TinyNet model.named_modules()"),
    "layer of another network": ({"layer": tiny().features}, "the given Conv2d is not a layer of this TinyNet"),
    "layer that does not run": (
        {"model": Function(lambda features, x: pooled(features(x))), "layer": "unused"},
        "layer 'unused' is not used in the forward pass",
    ),
    "layer that runs twice": (
        {"model": Function(lambda features, x: pooled(features(x) + features(1 - x)))},
        "layer 'features' runs more than once",
    ),
    "layer without places": ({"layer": "head"}, "shape (3, 4) a map needs places"),
    "layer without a way to the score": (
        {"model": Function(lambda features, x: pooled(features(x).detach()))},
        "the score has no gradient at layer 'features'",
    ),
    "layer below an argmax": (
        {"model": Function(lambda features, x: torch.eye(4)[pooled(features(x)).argmax(1)])},
        "the score has no gradient at layer 'features'",
    ),
    "last block of a ViT": (
        {"model": tiny_vit(), "layer": "blocks.2"},
        "no gradient at the patch tokens of 'blocks.2' class token choose an earlier layer",
    ),
    "tokens that do not fit": ({"model": tiny_vit(), "layer": "blocks.1", "grid": (5, 5)}, "17 tokens do not fit 5 x 5"),
    # what the network returns
    "logits that are NaN": ({"model": not_finite()}, "scores contain NaN or infinite values"),
    "a map instead of logits": (
        {"model": Function(lambda features, x: features(x))},
        "must return logits [b classes], found (3, 4, 14, 14)",
    ),
    "a record instead of logits": (
        {"model": Function(lambda features, x: {"logits": pooled(features(x))})},
        "must return logits [b classes], found dict",
    ),
    "one score for the batch": (
        {"model": Function(lambda features, x: pooled(features(x)).mean(0))},
        "must return logits [b classes], found (4,)",
    ),
    # weights
    "weights of the wrong shape": ({"weights": lambda e: e.G.mean((2, 3))}, "weights must be [b k 1 1] or [b k h w] found (3, 8)"),
    "weights of another layer": ({"weights": lambda e: e.G[:, :1]}, "for activations (3, 8, 8, 8), found (3, 1, 8, 8)"),
    "weights as a number": ({"weights": lambda e: 1.0}, "weights must be [b k 1 1] or [b k h w] found float"),
    "weights that are NaN": ({"weights": lambda e: e.G / 0}, "maps [0, 1, 2] contain NaN or infinite values"),
    "CAM without a linear head": ({"weights": explain.classic_cam}, "global average pooling and one linear layer"),
}  # fmt: skip

LOADER = {
    "no name": ({"name": None}, "name must be text, such as 'efficientnet_lite0', found NoneType"),
    "a number": ({"name": 18}, "name must be text found int"),
    "empty name": ({"name": ""}, "no network ''; see timm.list_models()"),
    "misspelt offline network": ({"name": "efficientnet_lite_0"}, "did you mean 'efficientnet_lite0'"),
    "misspelt": ({"name": "resnet_50"}, "no network 'resnet_50'; did you mean 'resnet50'"),
    "capitals": ({"name": "ResNet50"}, "no network 'ResNet50'; did you mean 'resnet50'"),
    "nothing near": ({"name": "qqqqqq"}, "no network 'qqqqqq'; see timm.list_models()"),
    "unknown weights": ({"name": "resnet50.by_hand"}, "no network 'resnet50.by_hand'; did you mean 'resnet50"),
    "unknown weights, not wanted": ({"name": "resnet50.by_hand", "pretrained": False}, "no network 'resnet50.by_hand'"),
    "never trained": ({"name": "coatnet_0_224"}, "timm has no weights for 'coatnet_0_224'; pass pretrained=False"),
    "misspelt in torchvision": ({"name": "torchvision/vgg16bn"}, "no network 'vgg16bn' in torchvision vgg16_bn"),
    "no name in torchvision": ({"name": "torchvision/"}, "no network '' in torchvision; known are alexnet"),
}


def assert_in_order(words, message):
    """The message holds the words, between them whatever it likes."""
    rest = message
    for word in words.split(" "):
        assert word in rest, f"{word!r} is missing or misplaced in: {message}"
        rest = rest[rest.index(word) + len(word) :]


def state(model):
    """What a refusal must leave as it was."""
    if not isinstance(model, nn.Module):
        return None
    modules = [
        (module.training, {name: id(value) for name, value in vars(module).items()}, [*module._forward_hooks])
        for module in model.modules()
    ]
    tensors = [(id(t), t._version, t.requires_grad, t.grad) for t in [*model.parameters(), *model.buffers()]]
    return modules, tensors, torch.is_grad_enabled(), torch.is_inference_mode_enabled()


@pytest.mark.parametrize("name", ENGINE)
def test_cam_refuses(name):
    changed, words = ENGINE[name]
    given = {"model": tiny(), "images": IMAGES, "targets": TARGETS, "layer": "features", "weights": explain.gradcam}
    given |= changed
    before = state(given["model"])
    with pytest.raises(ValueError) as caught:
        explain.cam(**given)
    assert_in_order(words, str(caught.value))
    assert state(given["model"]) == before


@pytest.mark.parametrize("name", LOADER)
def test_load_refuses(name):
    given, words = LOADER[name]
    load = getattr(models.load, "__wrapped__", models.load)  # without the tests' own check of types
    with pytest.raises(ValueError) as caught:
        load(**given)
    assert_in_order(words, str(caught.value))


def test_weights_are_no_name():
    combine = getattr(explain.combine, "__wrapped__", explain.combine)  # without the tests' own check of types
    evidence = explain.collect(tiny(), IMAGES, TARGETS, layer="features")
    with pytest.raises(ValueError, match=r"weights must be a function, such as WEIGHTS\['gradcam'\], found 'gradcam'"):
        combine(evidence, "gradcam")


def test_the_good_call_is_good():
    """Else the bad ones could be refused for another reason."""
    assert explain.cam(tiny(), IMAGES, TARGETS, layer="features", weights=explain.gradcam).any()
    assert explain.cam(tiny_vit(), IMAGES, TARGETS, layer="blocks.1", weights=explain.gradcam).any()
    edges = with_(0, with_(1))
    assert explain.cam(tiny(), edges, TARGETS, layer="features", weights=explain.gradcam).any()
    with torch.autocast("cpu", torch.bfloat16):  # where precisions may differ
        assert explain.cam(tiny(), IMAGES.bfloat16(), TARGETS, layer="features", weights=explain.gradcam).any()


@pytest.mark.parametrize(
    "maps, words",
    [
        (IMAGES, "maps must be a torch tensor [b H W], found (3, 3, 16, 16)"),
        (np.zeros((3, 16, 16)), "maps must be a torch tensor [b H W], found ndarray"),
        (torch.zeros(3, 16, 16).long(), "maps must be floating point, found torch.int64"),
        (with_(torch.nan)[:, 2], "maps [1] contain NaN or infinite values"),
        (with_(-torch.inf)[:, 2], "maps [1] contain NaN or infinite values"),
        (torch.zeros(2, 16, 16), "maps (2, 16, 16) do not fit images (3, 3, 16, 16)"),
        (torch.zeros(3, 16, 8), "maps (3, 16, 8) do not fit images (3, 3, 16, 16); resize with heatmap.resize"),
    ],
    ids=lambda part: str(getattr(part, "shape", part))[:40],
)
def test_bad_maps_are_refused(maps, words):
    with pytest.raises(ValueError) as caught:
        check_maps(maps, IMAGES)
    assert_in_order(words, str(caught.value))
    check_maps(torch.zeros(3, 16, 16), IMAGES)
    check_maps(torch.zeros(2, 5, 4))
