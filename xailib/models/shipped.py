"""The course's own trained networks: small enough to come with it, so that no lesson has to train before it explains.

Each has a card in weights/cards.json: how it was trained, by which command, on which machine, how accurate it is, and the
hash of its weights. `python -m xailib train NAME --ship` makes the weights and the card anew.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
from torch import nn

from xailib.models.ca_stream import CAStream
from xailib.models.convnets import SmallCNN
from xailib.models.normalized import Normalized
from xailib.models.parts import DPNet
from xailib.models.vit import ViT

FOLDER = Path(__file__).parent / "weights"
CLASSES = 5  # of planted scenes
SIZE = 64  # pixels of a side


def small_cnn(classes: int = CLASSES) -> Normalized:
    """The convolutional network that the others are compared with, or built on."""
    return _centred(SmallCNN(classes, widths=(16, 32, 64)))


def small_vit(classes: int = CLASSES) -> Normalized:
    """A vision transformer of about its cost: 8 x 8 patches of 8 x 8 pixels, and a class token."""
    return _centred(ViT(size=SIZE, patch=8, classes=classes, dim=96, depth=4, heads=3, mlp_ratio=2))


def small_dpnet(backbone: nn.Module) -> DPNet:
    """Three parts per class. Regions keep their lengths, for these tell how surely the backbone sees something."""
    return DPNet(backbone, CLASSES, parts_per_class=3, normalize_regions=False)


def _centred(net: nn.Module) -> Normalized:
    return Normalized(net, (0.5,) * 3, (0.5,) * 3)


SHIPPED: dict[str, Callable[[], nn.Module]] = {
    "smallcnn_shape": small_cnn,
    "smallcnn_shortcut": small_cnn,
    "smallcnn_denoised": small_cnn,
    "vit_colour": small_vit,
    "ca_stream_shape": lambda: CAStream(small_cnn()),
    "dpnet_shape": lambda: small_dpnet(small_cnn()),
}


def load(name: str, pretrained: bool = True) -> nn.Module:
    """One of the networks, in evaluation mode. Raises RuntimeError if its weights are missing or damaged."""
    model = SHIPPED[name]()
    if pretrained:
        model.load_state_dict(safetensors.torch.load(checked_bytes(name)))
    return model.eval()


def card(name: str) -> dict:
    """How a network came about, and how accurate it is."""
    return json.loads((FOLDER / "cards.json").read_text(encoding="utf-8"))[name]


def checked_bytes(name: str) -> bytes:
    """The file of the weights, as it should be."""
    file, mend = (
        FOLDER / f"{name}.safetensors",
        f"get it again (git checkout -- {FOLDER.name}), or train it: python -m xailib train {name} --ship",
    )
    if not file.exists():
        raise RuntimeError(f"{file} is missing; {mend}")
    content = file.read_bytes()
    found, wanted = hashlib.sha256(content).hexdigest(), card(name)["sha256"]
    if found != wanted:
        raise RuntimeError(f"{file.name} is damaged: its SHA-256 is {found[:12]}..., not {wanted[:12]}...; {mend}")
    return content


def ship(name: str, model: nn.Module, facts: dict) -> Path:
    """Puts a trained network among the shipped ones; `facts` go on its card."""
    content = safetensors.torch.save({key: value.contiguous().cpu() for key, value in model.state_dict().items()})
    file, cards = FOLDER / f"{name}.safetensors", FOLDER / "cards.json"
    file.write_bytes(content)
    known = json.loads(cards.read_text(encoding="utf-8")) if cards.exists() else {}
    known[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)} | facts
    cards.write_text(json.dumps(dict(sorted(known.items())), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return file
