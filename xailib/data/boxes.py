"""Transforms that carry boxes along: what moves the pixels moves the boxes.

A transform is any of torchvision's `transforms.v2`, applied to an image and its boxes at once. Afterwards boxes are
rounded to whole pixels, clipped to the image, and dropped where nothing is left of them.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor


def carry(
    picture: UInt8[Tensor, "3 h w"], boxes: Int64[Tensor, "n 4"], transform: Callable | None
) -> tuple[Float[Tensor, "3 H W"], Int64[Tensor, "_ 4"]]:
    """The transformed image in [0, 1], and where its boxes are then.

    Raises ValueError for a transform that leaves [0, 1]: models normalise by themselves.
    """
    from torchvision import tv_tensors
    from torchvision.transforms.v2 import functional

    image = tv_tensors.Image(picture)
    boxes = tv_tensors.BoundingBoxes(boxes.float(), format="XYXY", canvas_size=image.shape[1:])
    if transform is not None:
        image, boxes = transform(image, boxes)
    image = functional.to_dtype(image, torch.float32, scale=True).as_subclass(Tensor)
    low, high = image.aminmax()
    if low < 0 or high > 1:
        raise ValueError(
            f"after the transform the pixels go from {low:.3g} to {high:.3g}; keep them in [0, 1], the model normalises"
        )
    return image, _whole(boxes.as_subclass(Tensor), *image.shape[1:])


def _whole(boxes: Float[Tensor, "n 4"], height: int, width: int) -> Int64[Tensor, "_ 4"]:
    boxes = boxes.round().long().clamp(min=0).minimum(torch.tensor([width, height, width, height]))
    return boxes[(boxes[:, 2:] > boxes[:, :2]).all(1)]


def square(size: int) -> Callable:
    """The shorter side resized to `size`, then the middle square: for testing, and for explaining."""
    from torchvision.transforms import v2

    return v2.Compose([v2.Resize(size, antialias=True), v2.CenterCrop(size)])


def random_square(size: int) -> Callable:
    """A random part of the image, flipped half of the time, as a square: for training on photographs."""
    from torchvision.transforms import v2

    return v2.Compose([v2.RandomResizedCrop(size, antialias=True), v2.RandomHorizontalFlip()])


def jitter(size: int = 32, padding: int = 4, degrees: float | int = 15) -> Callable:
    """Small images moved by up to `padding` pixels, flipped half of the time, and turned: the thesis' CIFAR recipe."""
    from torchvision.transforms import v2

    return v2.Compose(
        [v2.RandomCrop(size, padding=padding), v2.RandomHorizontalFlip(), v2.RandomRotation(float(degrees))]
    )
