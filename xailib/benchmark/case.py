"""One image and one method, and all that a metric may ask about them, each made once.

Methods and metrics are plain functions, and get what their parameters name:

    def my_method(model, images, targets): ...      more: layer, generator
    def my_metric(maps, boxes): ...                 more: every attribute of `Case`

A batch holds one image, so that no number depends on which others were judged beside it, or by which process.
"""

import hashlib
from collections.abc import Callable
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from xailib import heatmap, metrics
from xailib.benchmark.functions import wants
from xailib.inputs import check_maps

PROTOCOL = ("model", "images", "targets")
METHOD_OFFERS = ("layer", "generator")
METRIC_OFFERS = (*PROTOCOL, "boxes", "maps", "explain", "p", "o", "masked_maps", "coherency", "complexity")
METRIC_OFFERS += ("predictions", "layer", "generator")


class Case:
    """What a metric may ask for: all attributes here. `maps` are normalised to [0, 1]."""

    def __init__(
        self,
        model: nn.Module,
        images: Float[Tensor, "1 c H W"],
        targets: Int[Tensor, " 1"],
        boxes: list[Int[Tensor, "_ 4"]],
        method: Callable,
        *,
        layer: str | None = None,
        seed: int = 0,
    ):
        self.model, self.images, self.targets, self.boxes = model, images, targets, boxes
        self.layer, self._method, self._seed = layer, method, seed

    @property
    def generator(self) -> Generator:
        """A new one with each question, of the same seed: nothing random depends on what was asked before."""
        return Generator().manual_seed(self._seed)

    def explain(self, model: nn.Module, images: Tensor, targets: Tensor) -> Float[Tensor, "1 H W"]:
        """The method itself, as metrics call it again; of this very image it is not asked twice."""
        if model is self.model and images is self.images:
            return self._raw
        return self._explained(model, images, targets)

    def _explained(self, model: nn.Module, images: Tensor, targets: Tensor) -> Float[Tensor, "1 H W"]:
        wanted = wants(self._method, METHOD_OFFERS)
        maps = self._method(model, images, targets, **{name: getattr(self, name) for name in wanted})
        check_maps(maps, images)
        return maps.detach()

    @cached_property
    def _raw(self) -> Float[Tensor, "1 H W"]:
        return self._explained(self.model, self.images, self.targets)

    @cached_property
    def maps(self) -> Float[Tensor, "1 H W"]:
        return heatmap.normalize(self._raw)

    @cached_property
    def masked_maps(self) -> Float[Tensor, "1 H W"]:
        """What the method says of the masked image, for the same class."""
        masked = metrics.masked_images(self.model, self.images, self.maps)
        return heatmap.normalize(self.explain(self.model, masked, self.targets))

    @cached_property
    def _probabilities(self) -> tuple[Tensor, Tensor]:
        return metrics.masked_probabilities(self.model, self.images, self.targets, self.maps)

    @property
    def p(self) -> Float[Tensor, " 1"]:
        return self._probabilities[0]

    @property
    def o(self) -> Float[Tensor, " 1"]:
        return self._probabilities[1]

    @property
    def coherency(self) -> Float[Tensor, " 1"]:
        return metrics.coherency(self.maps, self.masked_maps)

    @property
    def complexity(self) -> Float[Tensor, " 1"]:
        return metrics.complexity(self.maps)

    @property
    def predictions(self) -> Int[Tensor, " 1"]:
        """The class that the network itself sees in the image."""
        with torch.no_grad():
            return self.model(self.images).argmax(1)

    def value(self, metric: Callable) -> float:
        """The metric's number. Raises TypeError if it is not one number."""
        found = torch.as_tensor(metric(**{name: getattr(self, name) for name in wants(metric, METRIC_OFFERS)}))
        if found.numel() != 1:
            raise TypeError(
                f"a metric must return one number per image, found shape {tuple(found.shape)} for one image"
            )
        return found.item()


def image_seed(seed: int, image: str) -> int:
    """The seed of one image: it depends on its name, and not on who else is there or who computes it."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{image}".encode()).digest()[:7])
