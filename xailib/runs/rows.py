"""What each study compares: its runs by name, in the size of each profile."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Subset

from xailib.models import CAStream, DPNet, Normalized, load, resnet18_cifar, shipped
from xailib.models.parts import part_loss
from xailib.runs import data
from xailib.runs.catalogue import CNN, CONSTRAINTS, FULL, ON_FROZEN, PARTS, VIT
from xailib.runs.plan import Data, Run
from xailib.training import Classification, interpretable_gradient_loss


def baselines(profile: str, root: Path | None) -> dict[str, Run]:
    """A convolutional network and a transformer, on fewer and more of the same images."""
    counts = {"quick": (128,), "laptop": (256, 1024, 4096), "full": (256, 4096, 65_536)}[profile]
    networks = {"CNN": (shipped.small_cnn, CNN), "ViT": (shipped.small_vit, VIT)}
    return {
        f"{name}, {count} images": Run(name, build, partial(_first, count, data.planted("shape")), recipe)
        for count in counts
        for name, (build, recipe) in networks.items()
    }


def _first(count: int, load_data, profile: str, root: Path | None) -> Data:
    found = load_data(profile, root)
    return replace(found, train=Subset(found.train, range(count)), title=found.title)


def ca_stream(profile: str, root: Path | None) -> dict[str, Run]:
    """A network with global average pooling, and with streams of other starts, blocks and queries (thesis, 3.3 to 3.6)."""
    variants: dict[str, dict] = {
        "CA": {},
        "CA, from stage 1": {"start": 1},
        "CA, from stage 2": {"start": 2},
        "PROJ->CA": {"block": "proj"},
        "CA, class queries": {"queries": "class"},
    }
    shapes = data.planted("shape")
    runs = {"GAP": Run("the backbone as it is", partial(load, "smallcnn_shape"), shapes, {})}
    for name, options in variants.items():
        build = partial(_stream, **options)
        runs[name] = Run(name, build, shapes, ON_FROZEN, own_query if "queries" in options else Run.loss)
    return runs


def _stream(**options) -> CAStream:
    return CAStream(load("smallcnn_shape"), **options)


def own_query(model: nn.Module, images: Tensor, labels: Tensor) -> Classification:
    """Cross-entropy, where each image sends the query of its own class, as in training with class queries."""
    logits = model(images, labels)
    return Classification(F.cross_entropy(logits, labels), (logits.argmax(1) == labels).float().mean())


def denoising(profile: str, root: Path | None) -> dict[str, Run]:
    """Training without and with gradient denoising (thesis, tables 4.1 to 4.3): a small CNN on Fashion-MNIST, and in the
    full profile the thesis' ResNet-18, on CIFAR-100 if `root` is given."""
    if profile == "full":
        classes, load_data = (100, data.cifar100) if root else (10, data.fashion_mnist)
        build, recipe = partial(_resnet18, classes), FULL
    else:
        build, load_data, recipe = partial(shipped.small_cnn, 10), data.fashion_mnist, CNN
    runs = {"standard": Run("standard", build, load_data, recipe)}
    for error, coefficients in GRID.items():
        for coefficient in coefficients:
            loss = partial(interpretable_gradient_loss, error=error, coefficient=coefficient)
            runs[f"{error} {coefficient:g}"] = Run(error, build, load_data, recipe, loss)
    part = partial(interpretable_gradient_loss, coefficient=1e-1, fraction=0.25)
    runs["cosine 0.1, a quarter of each batch"] = Run("cheaper", build, load_data, recipe, part)
    return runs


GRID = {  # the thesis gives coefficients for the cosine only; the absolute errors of small gradients are smaller
    "cosine": (7.5e-3, 1e-1, 1.0),
    "hi": (1.0,),
    "mae": (10.0,),
    "mse": (100.0,),
}


def _resnet18(classes: int) -> nn.Module:
    return Normalized(resnet18_cifar(classes), (0.5,) * 3, (0.5,) * 3)


ON_PARTS = PARTS | {"laptop": replace(PARTS["laptop"], epochs=2)}  # accurate after one already


def parts(profile: str, root: Path | None) -> dict[str, Run]:
    """DP-Net with all its constraints, without each, without any, and with regions of length 1."""
    names = ("complementary", "assignment", "specificity")
    without = {f"without {name}": {name: 0} for name in names} | {"without balance": {"assign_balance": 0}}
    weights = {"all constraints": {}} | without | {"cross-entropy only": dict.fromkeys(names, 0)}

    def run(name: str, normalize_regions: bool = False, **changed) -> Run:
        loss = partial(part_loss, **CONSTRAINTS | changed)
        return Run(name, partial(_dpnet, normalize_regions), data.planted("shape"), ON_PARTS, loss)

    runs = {name: run(name, **changed) for name, changed in weights.items()}
    return runs | {"all constraints, cosines": run("cosines", normalize_regions=True)}


def _dpnet(normalize_regions: bool) -> DPNet:
    backbone = load("smallcnn_shape")
    return DPNet(backbone, shipped.CLASSES, parts_per_class=3, normalize_regions=normalize_regions)
