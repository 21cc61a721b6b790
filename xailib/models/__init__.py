"""Networks: pretrained ones with their normalisation inside, and the course's own."""

from xailib.models.ca_stream import CAStream
from xailib.models.vit import ViT
from xailib.models.zoo import Normalized, class_names, default_layer, load

__all__ = ["CAStream", "Normalized", "ViT", "class_names", "default_layer", "load"]
