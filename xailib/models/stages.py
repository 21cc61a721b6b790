"""A network that stays as it is, and a part on it that learns.

The network is read as f = g . GAP . f_L . ... . f_0 (thesis, eq. 3.5): stages whose outputs F_0 ... F_L are feature maps,
global average pooling, and a classifier g. A stage ends where the network is about to change its resolution.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xailib import network

# class of the network (timm's, torchvision's or the course's), its stages, its classifier
_KNOWN = [
    ("ResNet", ("maxpool", "layer1", "layer2", "layer3", "layer4"), "fc"),
    ("ResNet", ("stem", "layer1", "layer2", "layer3", "layer4"), "fc"),
    ("MobileNetV2", ("stage1", "stage2", "stage3", "conv_head"), "fc"),
    # where the authors' code reads it: stem, first and second down-sampling (not the third), end of the last stage
    ("ConvNeXt", ("stem", "stages.1.downsample", "stages.2.downsample", "stages.3"), "head"),
    ("ConvNeXt", ("features.0", "features.2", "features.4", "features.7"), "classifier"),
    ("EfficientNet", ("blocks.0", "blocks.1", "blocks.2", "blocks.4", "bn2"), "classifier"),
]


def bare(backbone: nn.Module) -> nn.Module:
    """The network behind its normalisation, if it has one."""
    return getattr(backbone, "net", backbone)


def known(backbone: nn.Module) -> tuple[tuple[str, ...], str]:
    """The names of a network's stages and of its classifier. Raises ValueError for a network of an unknown kind."""
    net: Any = bare(backbone)
    if type(net).__name__ == "SmallCNN":  # as many as it was given widths
        return tuple(f"stages.{number}" for number in range(len(net.stages))), "fc"
    names = {name for name, _ in net.named_modules()}
    for kind, stages, classifier in _KNOWN:
        if type(net).__name__ == kind and names.issuperset(stages):
            return stages, classifier
    raise ValueError(
        f"the stages of {type(net).__name__} are not known; name its layers, "
        "the last one being what global average pooling reads"
    )


class OnFrozen(nn.Module):
    """A model of which only its own part learns: its backbone keeps its parameters, buffers and evaluation mode.

    The backbone is frozen where it is, not copied. Its attributes and layer names answer here too: `layer="layer4"`.
    """

    def __init__(self, backbone: nn.Module):
        super().__init__()
        self.backbone = network.uncompiled(backbone).eval().requires_grad_(False)

    def train(self, mode: bool = True):
        """Training mode for all but the backbone, whose batch-norm statistics would drift in it."""
        super().train(mode)
        self.backbone.eval()
        return self

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "backbone":  # not there yet, while being unpickled or copied
                raise
            return getattr(self.backbone, name)


def read(backbone: nn.Module, layer: str, images: Float[Tensor, "b c H W"]) -> Float[Tensor, "b d h w"]:
    """What the layer returns for the images."""
    seen = []

    def keep(_, __, output: Tensor) -> Tensor:
        seen.append(output)
        return output.clone()  # what follows may change it in place

    with network.hooked([(network.find_layer(backbone, layer), keep)]):
        backbone(images)
    return seen[0]


# --- does it fit? asked of one small image ----------------------------------------------------------------------------


def widths(backbone: nn.Module, layers: Sequence[str]) -> list[int]:
    """The channels of each layer. Raises ValueError for one that is unknown, unused, used twice, or no feature map."""
    features, _ = network.cut(backbone, _small_image(backbone), layers)
    for layer, feature in zip(layers, features, strict=True):
        if feature.ndim != 4:
            raise ValueError(f"layer {layer!r} returns shape {tuple(feature.shape)}, not feature maps [b d h w]")
    return [feature.shape[1] for feature in features]


@torch.no_grad()
def pooled_classes(backbone: nn.Module, last: str) -> int:
    """The number of classes. Raises ValueError unless the logits stay if the last stage returns its mean over places."""
    image, stage = _small_image(backbone), network.find_layer(backbone, last)
    logits = backbone(image)
    with network.hooked([(stage, lambda _, __, output: output.mean((2, 3), keepdim=True))]):
        again = backbone(image)
    if not logits.is_meta and not torch.allclose(again, logits, rtol=0, atol=1e-3 * logits.abs().max().item()):
        raise ValueError(f"what follows {last!r} is not global average pooling and a classifier; name the last stage")
    return logits.shape[1]


def _small_image(backbone: nn.Module) -> Float[Tensor, "1 c 64 64"]:
    like = next(module.weight for module in backbone.modules() if isinstance(module, nn.Conv2d))
    ramp = torch.linspace(0, 1, like.shape[1] * 64 * 64, dtype=like.dtype, device=like.device)
    return ramp.view(1, -1, 64, 64)
