"""Images to learn from and to explain: generated scenes with a known answer, photographs, and the field's data sets."""

from xailib.data.boxes import jitter, random_square, square
from xailib.data.datasets import (
    chest_xray,
    cifar100,
    cub200,
    fashion_mnist,
    image_folder,
    imagenet,
    kvasir,
    mit67,
    voc2012,
)
from xailib.data.images import Images
from xailib.data.planted import PlantedScenes, Scenes
from xailib.data.records import Batch, Sample, collate

__all__ = [
    "Batch",
    "Images",
    "PlantedScenes",
    "Sample",
    "Scenes",
    "chest_xray",
    "cifar100",
    "collate",
    "cub200",
    "fashion_mnist",
    "image_folder",
    "imagenet",
    "jitter",
    "kvasir",
    "mit67",
    "random_square",
    "square",
    "voc2012",
]
