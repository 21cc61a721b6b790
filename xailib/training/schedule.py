"""How a network is trained: a recipe of plain numbers, and the learning rate that follows from it at every step.

warm-up      eta (t + 1) / T_w                                 for the steps t < T_w of the first `warmup` epochs
milestones   eta factor^(milestones passed)                    after that
cosine       eta (1 + cos(pi (t - T_w) / (T - T_w))) / 2       likewise, T steps in all
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

_ALLOWED = {
    "optimizer": ("sgd", "adamw"),
    "schedule": ("milestones", "cosine"),
    "precision": ("float32", "bf16", "fp16"),
}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides how training goes; by default the thesis' recipe for CIFAR-100 (chapter 4).

    `batch` is the number of images of a step, on all processes together; `milestones` and `warmup` are in epochs;
    `workers` load the data beside the training process. `momentum` and `nesterov` are for SGD only.
    Raises ValueError for values that make no sense.
    """

    epochs: int = 200
    batch: int = 128
    optimizer: str = "sgd"
    lr: float | int = 0.1
    momentum: float | int = 0.9
    nesterov: bool = False
    weight_decay: float | int = 5e-4
    schedule: str = "milestones"
    milestones: tuple[int, ...] = (60, 120, 160)
    factor: float | int = 0.2
    warmup: float | int = 1
    precision: str = "float32"
    channels_last: bool = False
    workers: int = 0
    seed: int = 0

    def __post_init__(self):
        for name, values in _ALLOWED.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} must be one of {', '.join(values)}, found {getattr(self, name)!r}")
        for name, least in {"epochs": 1, "batch": 1, "workers": 0, "seed": 0, "warmup": 0, "weight_decay": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, found {getattr(self, name)}")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr must be above 0, found {self.lr}")

    def learning_rate(self, step: int, steps: int) -> float:
        """The rate of a step, counted from 0 over the whole run, where an epoch has `steps` of them."""
        warm, last = self.warmup * steps, self.epochs * steps
        if step < warm:
            return self.lr * min(1.0, (step + 1) / warm)
        if self.schedule == "cosine":
            return self.lr * (1 + math.cos(math.pi * (step - warm) / (last - warm))) / 2
        return self.lr * self.factor ** sum(step >= milestone * steps for milestone in self.milestones)

    def optimizer_of(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer, at the recipe's learning rate."""
        if self.optimizer == "adamw":
            return torch.optim.AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay)
        sgd: dict = {"momentum": self.momentum, "nesterov": self.nesterov, "weight_decay": self.weight_decay}
        return torch.optim.SGD(parameters, lr=self.lr, **sgd)


CIFAR = Recipe()  # gradient denoising, ResNet-18 and MobileNet-V2
IMAGENET = Recipe(  # CA-Stream
    epochs=90, batch=256, weight_decay=1e-4, milestones=(30, 60), factor=0.1, warmup=0, precision="fp16"
)
VOC = Recipe(epochs=12, lr=1e-4, weight_decay=0, schedule="cosine", warmup=0)  # CA-Stream, many labels per image
