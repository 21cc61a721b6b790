"""What every method refuses, in one place: bad input is named before anything runs."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from xailib import network


def explainer(method: Callable) -> Callable:
    """The same method behind the course's protocol `(model, images, targets, *, ...) -> maps [b H W]`.

    Inputs are checked and compiled models run eagerly, see `checked`; maps are checked on the way out. Raises
    ValueError for bad input, and for maps that are not finite or not as large as the images (see `check_maps`).
    """
    ask = checked(method)

    @functools.wraps(method)
    def explain(model, images, targets, *args, **options):
        maps = ask(model, images, targets, *args, **options)
        check_maps(maps, images)
        return maps

    return explain


def checked(function: Callable) -> Callable:
    """The same function of (model, images, targets, ...), whatever it returns, with its inputs checked before it runs.

    Compiled models run eagerly for the length of the call. Raises ValueError for bad input (see `check_model`,
    `check_images`, `check_targets`).
    """

    @functools.wraps(function)
    def ask(model, images, targets, *args, **options):
        model = check_inputs(model, images, targets)
        with torch.compiler.set_stance("force_eager"):
            return function(model, images, targets, *args, **options)

    return ask


def check_inputs(model: Any, images: Any, targets: Any) -> nn.Module:
    """The model to work on (unwrapped if it was compiled), once model, images and targets are found to be sound."""
    model = check_model(model)
    check_images(images)
    check_targets(targets, images)
    _check_fit(model, images)
    return model


def check_model(model: object) -> nn.Module:
    """The model, unwrapped if it was compiled. Raises ValueError if it cannot be explained as it is."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch.nn.Module, found {type(model).__name__}")
    if isinstance(model, torch.jit.ScriptModule):
        raise ValueError("the model is a TorchScript module, whose inside cannot be observed; pass the Python model")
    model = network.uncompiled(model)
    training = [name or "the model" for name, module in model.named_modules() if module.training]
    if training:
        raise ValueError(f"{training[0]} is in training mode, where maps are random; call model.eval() first")
    return model


def check_images(images: object) -> None:
    """Raises ValueError unless `images` is a finite float tensor [b c H W] in pixel space [0, 1]."""
    if not isinstance(images, Tensor):
        raise ValueError(f"images must be a torch tensor [b c H W], found {type(images).__name__}")
    if images.ndim != 4:
        hint = "; add a batch dimension with images[None]" if images.ndim == 3 else ""
        raise ValueError(f"images must be [b c H W], found shape {tuple(images.shape)}{hint}")
    if not images.is_floating_point():
        raise ValueError(
            f"images must be floating point in [0, 1], found {images.dtype}; bytes become images.float() / 255"
        )
    if images.numel() == 0:
        raise ValueError(f"images are empty: shape {tuple(images.shape)}")
    low, high = (edge.item() for edge in images.detach().aminmax())
    if not (0 <= low and high <= 1):  # also true for NaN
        raise ValueError(_out_of_range(images, low, high))


def _out_of_range(images: Tensor, low: float, high: float) -> str:
    if not images.isfinite().all():
        return "images contain NaN or infinite values; find out where they come from"
    advice = (
        "divide bytes by 255" if low >= 0 else "pass pixels, not normalised values: the model normalises them itself"
    )
    return f"images must lie in [0, 1], found values from {low:.3g} to {high:.3g}; {advice}"


def _check_fit(model: nn.Module, images: Tensor) -> None:
    """Raises ValueError if model and images lie on different devices, or differ in precision outside of autocast."""
    parameters = [parameter for parameter in model.parameters() if parameter.is_floating_point()]
    if parameters and all(parameter.device != images.device for parameter in parameters):
        raise ValueError(f"images are on {images.device}, the model on {parameters[0].device}; move one to the other")
    same = any(parameter.dtype == images.dtype for parameter in parameters)
    if parameters and not same and not torch.is_autocast_enabled(images.device.type):
        wanted = parameters[0].dtype
        raise ValueError(f"images are {images.dtype}, the model's parameters {wanted}; pass images.to({wanted})")


def check_targets(targets: object, images: Tensor) -> None:
    """Raises ValueError unless `targets` is int64 [b], one class per image, on the images' device."""
    if not isinstance(targets, Tensor):
        raise ValueError(
            f"targets must be a torch tensor, found {type(targets).__name__}; wrap it: torch.tensor([...])"
        )
    if targets.dtype != torch.int64:
        raise ValueError(f"targets must be int64 class numbers, found {targets.dtype}")
    if targets.ndim != 1 or len(targets) != len(images):
        raise ValueError(
            f"targets must hold one class per image: {len(images)} images, targets of shape {tuple(targets.shape)}"
        )
    if targets.device != images.device:
        raise ValueError(f"targets are on {targets.device}, images on {images.device}; move them to one device")


def check_maps(maps: object, images: Tensor | None = None) -> None:
    """Raises ValueError unless `maps` is a finite float tensor [b H W], as large as the images where these are given."""
    if not isinstance(maps, Tensor) or maps.ndim != 3:
        found = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        raise ValueError(f"maps must be a torch tensor [b H W], found {found}")
    if not maps.is_floating_point():
        raise ValueError(f"maps must be floating point, found {maps.dtype}")
    if not maps.isfinite().all():
        bad = (~maps.isfinite()).flatten(1).any(1).nonzero().flatten().tolist()
        raise ValueError(f"maps {bad} contain NaN or infinite values; a map must be finite to be judged or drawn")
    if images is not None and (len(maps), *maps.shape[1:]) != (len(images), *images.shape[2:]):
        raise ValueError(
            f"maps {tuple(maps.shape)} do not fit images {tuple(images.shape)}; resize with heatmap.resize"
        )
