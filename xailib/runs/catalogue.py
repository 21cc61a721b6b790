"""The runs by name: the small networks that come with the course, and the trainings of the thesis."""

from dataclasses import replace
from functools import partial

from torch import nn

from xailib.data.datasets import CIFAR100_STATISTICS
from xailib.models import CAStream, Normalized, load, mobilenet_v2_cifar, resnet18_cifar, shipped
from xailib.models.parts import part_loss
from xailib.runs import data
from xailib.runs.plan import Run
from xailib.training import CIFAR, IMAGENET, Recipe, interpretable_gradient_loss

# --- the course's own, on data that is there --------------------------------------------------------------------------

ADAMW: dict = {"optimizer": "adamw", "batch": 64, "weight_decay": 0.05, "schedule": "cosine", "warmup": 0.5}
ADAMW |= {"channels_last": True}  # faster, on a CPU too


def recipes(lr: float, *, laptop: int, full: int) -> dict[str, Recipe]:
    """So many epochs in each profile; the full one in bfloat16 on a GPU."""
    quick = Recipe(epochs=1, lr=lr, **ADAMW)
    on_gpu: dict = {"epochs": full, "precision": "bf16", "workers": 8}
    return {"quick": quick, "laptop": replace(quick, epochs=laptop), "full": replace(quick, **on_gpu)}


CNN = recipes(2e-3, laptop=3, full=20)
VIT = recipes(1e-3, laptop=8, full=60)
ON_FROZEN = recipes(5e-3, laptop=2, full=10)
PARTS = recipes(2e-2, laptop=4, full=20)
CONSTRAINTS: dict = {"complementary": 1, "assignment": 0.1, "specificity": 1, "assign_balance": 1}
denoised = partial(interpretable_gradient_loss, coefficient=0.1)
shapes = data.planted("shape")

COURSE = {
    "smallcnn_shape": Run("a small CNN that tells shapes", shipped.small_cnn, shapes, CNN),
    "smallcnn_shortcut": Run(
        "the same, where a meaningless tag gives the answer away",
        shipped.small_cnn,
        data.planted("shape", correlation={"marker": 0.95}),
        CNN,
    ),
    "smallcnn_denoised": Run("the same, with gradient denoising", shipped.small_cnn, shapes, CNN, denoised),
    "vit_colour": Run("a vision transformer that tells colours", shipped.small_vit, data.planted("colour"), VIT),
    "ca_stream_shape": Run("CA-Stream on smallcnn_shape", lambda: CAStream(load("smallcnn_shape")), shapes, ON_FROZEN),
    "dpnet_shape": Run(
        "DP-Net on smallcnn_shape",
        lambda: shipped.small_dpnet(load("smallcnn_shape")),
        shapes,
        PARTS,
        partial(part_loss, **CONSTRAINTS),
    ),
    "smallcnn_fashion": Run("a small CNN on Fashion-MNIST", partial(shipped.small_cnn, 10), data.fashion_mnist, CNN),
}

# --- the thesis' ------------------------------------------------------------------------------------------------------

FULL = {"full": replace(CIFAR, precision="bf16", channels_last=True, workers=8)}
CIFAR_NETWORKS = {"resnet18": (resnet18_cifar, 7.5e-3), "mobilenet_v2": (mobilenet_v2_cifar, 1e-3)}  # sec. 4.4
BACKBONES = ("resnet18", "resnet50", "convnext_small", "convnext_base")


def _cifar_network(build) -> nn.Module:
    return Normalized(build(100), *CIFAR100_STATISTICS)


def _ca_stream(name: str) -> nn.Module:
    return CAStream(load(f"torchvision/{name}"))


THESIS = {}
for name, (build, coefficient) in CIFAR_NETWORKS.items():
    network, loss = partial(_cifar_network, build), partial(interpretable_gradient_loss, coefficient=coefficient)
    THESIS[f"{name}_cifar100"] = Run(f"{name} (ch. 4)", network, data.cifar100, FULL)
    THESIS[f"{name}_cifar100_denoised"] = Run(
        f"{name} with gradient denoising (ch. 4)", network, data.cifar100, FULL, loss
    )
for name in BACKBONES:
    recipe = {"full": replace(IMAGENET, channels_last=True, workers=8)}
    THESIS[f"ca_stream_{name}"] = Run(f"CA-Stream on {name} (ch. 3)", partial(_ca_stream, name), data.imagenet, recipe)

RUNS = COURSE | THESIS
