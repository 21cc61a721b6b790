"""Pixels in: the normalisation of a network's training is its first layer."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Normalized(nn.Module):
    """A network behind the normalisation it was trained with: pixels in, logits out.

    Attributes and layer names of the network answer here too: `model.layer4`, `layer="layer4"`.
    """

    def __init__(self, net: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        return self.net((images - self.mean) / self.std)

    def _get_name(self) -> str:  # what torch prints, and our messages say
        return f"Normalized{self.net._get_name()}"

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "net":  # not there yet, while being unpickled or copied
                raise
            return getattr(self.net, name)
