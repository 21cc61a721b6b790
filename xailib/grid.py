"""Where a layer's output lies in the image: convolution maps, channels-last maps, or the tokens of a transformer."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Grid:
    """Layout of a layer's output: `height` x `width` places, and `prefix` tokens (CLS, registers) that lie nowhere."""

    layout: Literal["channels first", "channels last", "tokens"]
    height: int
    width: int
    prefix: int = 0

    def maps(self, output: Tensor) -> Tensor:
        """The output as maps [b k h w], in at least float32; prefix tokens are left out."""
        output = output.to(torch.promote_types(output.dtype, torch.float32))
        if self.layout == "channels first":
            return output
        if self.layout == "tokens":
            output = output[:, self.prefix :].unflatten(1, (self.height, self.width))
        return output.permute(0, 3, 1, 2)

    def output(self, maps: Tensor, like: Tensor) -> Tensor:
        """The inverse of `maps`: an output for the layer whose places hold `maps` and whose prefix tokens are `like`'s."""
        maps = maps.to(like.dtype)
        if self.layout == "channels first":
            return maps
        output = maps.permute(0, 2, 3, 1)
        if self.layout == "tokens":
            prefix = like[:, : self.prefix].expand(len(maps), -1, -1)
            output = torch.cat([prefix, output.flatten(1, 2)], 1)
        return output


def read_grid(model: nn.Module, layer: nn.Module, output: Tensor, images: Tensor, grid: tuple[int, int] | None) -> Grid:
    """The grid of a layer's output, read from the model; `grid` (h, w) where a token model does not tell its own.

    Raises ValueError if the output has no places, or the model does not say where its tokens lie.
    """
    if output.ndim == 4:
        if _channels_last(layer, output):
            return Grid("channels last", *output.shape[1:3])
        return Grid("channels first", *output.shape[2:])
    if output.ndim != 3:
        raise ValueError(
            f"the layer returns shape {tuple(output.shape)}; a map needs places: [b k h w] or tokens [b n k]"
        )
    height, width = grid or _token_grid(model, images)
    prefix = output.shape[1] - height * width
    if prefix < 0 or (grid is None and prefix not in (0, _prefix_tokens(model))):
        raise ValueError(
            f"{output.shape[1]} tokens do not fit {height} x {width} places and {_prefix_tokens(model)} prefix tokens; "
            "say where they lie with grid=(h, w)"
        )
    return Grid("tokens", height, width, prefix)


def _channels_last(layer: nn.Module, output: Tensor) -> bool:
    """A Linear or LayerNorm works on the last dimension, so its 4-d output is [b h w k] (ConvNeXt, Swin)."""
    if isinstance(layer, nn.Linear):
        return True
    if isinstance(layer, nn.LayerNorm) and not type(layer).__name__.endswith("2d"):  # LayerNorm2d permutes inside
        return output.shape[-1] == layer.normalized_shape[-1]
    return False


def _token_grid(model: nn.Module, images: Tensor) -> tuple[int, int]:
    for module in model.modules():
        patch = getattr(getattr(module, "patch_embed", module), "patch_size", None)  # timm and xailib, torchvision
        if patch is not None:
            tall, wide = patch if isinstance(patch, tuple) else (patch, patch)
            return images.shape[2] // tall, images.shape[3] // wide
    raise ValueError(f"{type(model).__name__} does not tell how its tokens lie in the image; pass grid=(h, w)")


def _prefix_tokens(model: nn.Module) -> int:
    for module in model.modules():
        tokens = getattr(module, "num_prefix_tokens", None)  # timm and xailib
        if tokens is not None:
            return tokens
        if hasattr(module, "class_token"):  # torchvision
            return 1
    return 0
