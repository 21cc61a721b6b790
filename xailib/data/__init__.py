"""Images to learn from and to explain: generated scenes with a known answer, photographs, and the field's data sets."""

from xailib.data.planted import PlantedScenes, Scenes
from xailib.data.records import Batch, Sample, collate

__all__ = ["Batch", "PlantedScenes", "Sample", "Scenes", "collate"]
