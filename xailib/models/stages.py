"""A network that stays as it is, and a part on it that learns.

The network is read as f = g . GAP . f_L . ... . f_0 (thesis, eq. 3.5): stages whose outputs F_0 ... F_L are feature maps,
global average pooling, and a classifier g. A stage ends where the network is about to change its resolution.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xailib import network

# class of the network (timm's, torchvision's or the course's), its stages, its classifier
_KNOWN = [
    ("ResNet", ("maxpool", "layer1", "layer2", "layer3", "layer4"), "fc"),
    # ConvNeXt begins a stage with its down-sampling; the thesis' code reads all of these but the last one
    ("ConvNeXt", ("stem", "stages.1.downsample", "stages.2.downsample", "stages.3"), "head"),
    ("ConvNeXt", ("features.0", "features.2", "features.4", "features.7"), "classifier"),
    ("EfficientNet", ("blocks.0", "blocks.1", "blocks.2", "blocks.4", "bn2"), "classifier"),
]


def bare(backbone: nn.Module) -> nn.Module:
    """The network behind its normalisation, if it has one."""
    return getattr(backbone, "net", backbone)


def known(backbone: nn.Module) -> tuple[tuple[str, ...], str]:
    """The names of a network's stages and of its classifier. Raises ValueError for a network of an unknown kind."""
    net = bare(backbone)
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


def probe(backbone: nn.Module, stages: Sequence[str]) -> tuple[list[int], int]:
    """The channels of each stage and the number of classes, from one small image.

    Raises ValueError for a stage that is unknown, unused, used twice, or no feature map [b d h w], and if what follows
    the last stage is not global average pooling and a classifier.
    """
    weight = next(module.weight for module in backbone.modules() if isinstance(module, nn.Conv2d))
    image = torch.linspace(0, 1, weight.shape[1] * 64 * 64, dtype=weight.dtype, device=weight.device)
    image = image.view(1, -1, 64, 64)
    features, logits = network.cut(backbone, image, stages)
    for stage, feature in zip(stages, features, strict=True):
        if feature.ndim != 4:
            raise ValueError(f"stage {stage!r} returns shape {tuple(feature.shape)}, not feature maps [b d h w]")
    if not _pools_globally(backbone, image, stages[-1], logits.detach()):
        raise ValueError(
            f"what follows {stages[-1]!r} is not global average pooling and a classifier; name the last stage"
        )
    return [feature.shape[1] for feature in features], logits.shape[1]


@torch.no_grad()
def _pools_globally(backbone: nn.Module, image: Tensor, last: str, logits: Float[Tensor, "1 classes"]) -> bool:
    """Whether the network answers alike when the last stage returns its mean over places."""
    pooling = (network.find_layer(backbone, last), lambda _, __, output: output.mean((2, 3), keepdim=True))
    with network.hooked([pooling]):
        again = backbone(image)
    return logits.is_meta or torch.allclose(again, logits, rtol=0, atol=1e-3 * logits.abs().max().item())
