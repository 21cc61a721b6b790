"""What every data set here hands out: one sample, and a batch of them. Boxes are x0 y0 x1 y1, half-open, in pixels."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor


class Sample(NamedTuple):
    """An image in [0, 1], its class (or 0 and 1 for each class, where several can be present), and its boxes."""

    image: Float[Tensor, "3 h w"]
    label: int | Int64[Tensor, " classes"]
    boxes: Int64[Tensor, "n 4"]


class Batch(NamedTuple):
    """Samples of one size: images [b 3 h w], labels int64 [b] (or [b classes]), and a list of b tensors of boxes."""

    images: Float[Tensor, "b 3 h w"]
    labels: Int64[Tensor, " b"] | Int64[Tensor, "b classes"]
    boxes: list[Int64[Tensor, "_ 4"]]


def collate(samples: list[Sample]) -> Batch:
    """The samples as one batch, for `DataLoader(..., collate_fn=collate)`; images differ in their number of boxes.

    Raises ValueError if the images differ in size.
    """
    images, labels, boxes = zip(*samples, strict=True)
    sizes = {tuple(image.shape[1:]) for image in images}
    if len(sizes) > 1:
        raise ValueError(f"images of one batch must have one size, found {sorted(sizes)}; give a transform that crops")
    labels = torch.stack([torch.as_tensor(label) for label in labels])
    return Batch(torch.stack(images), labels, list(boxes))


NO_BOXES = torch.zeros(0, 4, dtype=torch.int64)
