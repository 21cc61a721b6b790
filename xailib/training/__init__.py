"""Training: the loop, and gradient denoising."""

from xailib.training.checkpoint import load_weights
from xailib.training.denoising import DenoisingLoss, interpretable_gradient_loss
from xailib.training.evaluation import Classification, Evaluation, classification, evaluate
from xailib.training.fit import fit
from xailib.training.schedule import CIFAR, IMAGENET, VOC, Recipe

__all__ = [
    "CIFAR",
    "IMAGENET",
    "VOC",
    "Classification",
    "DenoisingLoss",
    "Evaluation",
    "Recipe",
    "classification",
    "evaluate",
    "fit",
    "interpretable_gradient_loss",
    "load_weights",
]
