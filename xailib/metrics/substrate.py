"""What stands where a metric takes pixels away: a flat colour, named by what the network sees there.

A network of the course normalises first, (x - mean) / std, with the mean colour of the data set it was trained on. So
the `"mean"` is where its first layer says zero, which is not the mean of the image in hand.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def flat_substrate(model: nn.Module, images: Float[Tensor, "b c H W"], substrate: str) -> Float[Tensor, "b c 1 1"]:
    """One colour per image, in pixel space.

    - `"mean"`: the mean of the network's normalisation, zero in its own space (RISE's code)
    - `"black"`: zero in pixel space
    - `"minimum"`: the least of the image's normalised values, in all channels of that space (Quantus' "black")

    Raises ValueError for another substrate.
    """
    mean, std = normalization(model, images)
    if substrate == "minimum":
        return mean + std * ((images - mean) / std).amin((1, 2, 3), keepdim=True)
    if substrate not in ("mean", "black"):
        raise ValueError(f"substrate must be 'mean', 'black' or 'minimum', found {substrate!r}")
    return (mean if substrate == "mean" else 0 * mean).expand(len(images), -1, 1, 1)


def normalization(
    model: nn.Module, images: Float[Tensor, "b c H W"]
) -> tuple[Float[Tensor, "1 c 1 1"], Float[Tensor, "1 c 1 1"]]:
    """Mean and standard deviation that the network normalises pixels with: those of its first module that has a `mean`
    and a `std` (`models.load`, torchvision's `Normalize`). A network without sees pixels as they are: 0 and 1."""
    found = next((one for one in model.modules() if hasattr(one, "mean") and hasattr(one, "std")), None)
    mean, std = (0.0, 1.0) if found is None else (found.mean, found.std)
    per_channel = (torch.as_tensor(value).to(images).view(1, -1, 1, 1) for value in (mean, std))
    mean, std = (value.expand(1, images.shape[1], 1, 1) for value in per_channel)
    return mean, std
