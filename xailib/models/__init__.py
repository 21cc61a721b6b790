"""Networks: pretrained ones with their normalisation inside, and the course's own."""

from xailib.models.ca_stream import CAStream
from xailib.models.convnets import SmallCNN, mobilenet_v2_cifar, resnet18_cifar
from xailib.models.normalized import Normalized
from xailib.models.parts import DPNet
from xailib.models.prototypes import ProtoPNet
from xailib.models.vit import ViT
from xailib.models.zoo import class_names, default_layer, load

__all__ = [
    "CAStream",
    "DPNet",
    "Normalized",
    "ProtoPNet",
    "SmallCNN",
    "ViT",
    "class_names",
    "default_layer",
    "load",
    "mobilenet_v2_cifar",
    "resnet18_cifar",
]
