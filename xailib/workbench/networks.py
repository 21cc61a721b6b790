"""Any network, and what one must know to use it: the size of its pictures, its layer, the names of its classes."""

from dataclasses import dataclass
from difflib import get_close_matches

import torch
from torch import nn

from xailib.data import PlantedScenes
from xailib.models import class_names, default_layer, load
from xailib.models.shipped import SHIPPED, SIZE, card
from xailib.models.zoo import OFFLINE

SUGGESTED = (  # timm's, whose weights are downloaded at first use
    "resnet50.tv_in1k",
    "convnext_tiny.fb_in1k",
    "vgg16_bn.tv_in1k",
    "vit_small_patch16_224.augreg_in21k_ft_in1k",
    "deit_small_patch16_224.fb_in1k",
    "mobilenetv3_large_100.ra_in1k",
)


@dataclass(frozen=True, eq=False)
class Network:
    """A network in evaluation mode, and what one must know to use it. `layer` is None where none is known."""

    name: str
    model: nn.Module
    size: int
    layer: str | None
    classes: list[str]
    random: bool = False

    @property
    def title(self) -> str:
        return f"{self.name}, random weights" if self.random else self.name

    def class_of(self, text: str) -> int:
        """The class that a person means: its number, its name, or a part of one name only.

        Raises ValueError for a text that fits no class, or several.
        """
        text = text.strip()
        if text.isdigit() and int(text) < len(self.classes):
            return int(text)
        names = [labelled.lower() for labelled in self.labels]
        exact = [c for c, label in enumerate(names) if text.lower() in (label, self.classes[c].lower())]
        found = exact or [c for c, label in enumerate(names) if text and text.lower() in label]
        if len(found) == 1:
            return found[0]
        if found:
            some = ", ".join(self.labels[c] for c in found[:4]) + (", ..." if len(found) > 4 else "")
            raise ValueError(f"{text!r} fits {len(found)} classes ({some}); choose one of them")
        near = get_close_matches(text.lower(), [name.lower() for name in self.classes], n=3)
        raise ValueError(f"no class {text!r} in {self.name}; " + (f"try {', '.join(near)}" if near else "try another"))

    @property
    def labels(self) -> list[str]:
        """What a list of the classes shows: some names stand for two classes, so each has its number with it."""
        return [f"{name} ({number})" for number, name in enumerate(self.classes)]


def names() -> list[str]:
    """Networks to suggest: first those that need no download. Any other name of timm's does as well."""
    return [OFFLINE, *SHIPPED, *SUGGESTED]


def opened(name: str, *, random: bool = False) -> Network:
    """A network by name; with `random` weights only if that is asked for.

    Raises ValueError for an unknown name and for a network that is no classifier of RGB images, RuntimeError where its
    weights cannot be had.
    """
    model = load(name.strip(), pretrained=not random)
    size = _size(name, model)
    with torch.no_grad():
        logits = model(torch.full((1, 3, size, size), 0.5))
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(f"{name} gives no scores of classes, so it cannot be asked for one; choose a classifier")
    return Network(name, model, size, _layer(model), _classes(name, logits.shape[1]), random)


def _size(name: str, model: nn.Module) -> int:
    if name in SHIPPED:
        return SIZE
    wanted = getattr(getattr(model, "net", model), "default_cfg", {}).get("input_size", (3, 224, 224))
    return int(wanted[-1])


def _layer(model: nn.Module) -> str | None:
    try:
        return default_layer(model)
    except ValueError:
        return None


def _classes(name: str, count: int) -> list[str]:
    if name in SHIPPED:
        evidence = card(name)["data"].split("evidence ")[1].split(",")[0]
        return PlantedScenes(1, generator=torch.Generator(), evidence=evidence).class_names
    return class_names() if count == 1000 else [f"class {number}" for number in range(count)]
