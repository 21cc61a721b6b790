"""What every data set here hands out: one sample, and a batch of them. Boxes are x0 y0 x1 y1, half-open, in pixels."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.data._utils.collate import default_collate_fn_map

NO_BOXES = torch.zeros(0, 4, dtype=torch.int64)


class Sample(NamedTuple):
    """An image in [0, 1] with three channels, its class, and its boxes.

    Where an image can show several classes, the label is a float vector, 1 for each class that is there and else 0.
    """

    image: Float[Tensor, "3 h w"]
    label: int | Float[Tensor, " classes"]
    boxes: Int64[Tensor, "n 4"]


class Batch(NamedTuple):
    """Samples of one size: images [b 3 h w], labels int64 [b] (or float [b classes]), and a list of b sets of boxes."""

    images: Float[Tensor, "b 3 h w"]
    labels: Int64[Tensor, " b"] | Float[Tensor, "b classes"]
    boxes: list[Int64[Tensor, "_ 4"]]


def collate(samples: list[Sample]) -> Batch:
    """The samples as one batch; every DataLoader does this with samples, without being told.

    Raises ValueError if the images differ in size.
    """
    images, labels, boxes = zip(*samples, strict=True)
    sizes = sorted({tuple(image.shape[1:]) for image in images})
    if len(sizes) > 1:
        raise ValueError(f"the images of a batch must have one size, found {sizes}; give the data set a transform")
    return Batch(torch.stack(images), torch.stack([torch.as_tensor(label) for label in labels]), list(boxes))


# what images have differs in number (boxes), which PyTorch's own rule for tuples cannot stack
default_collate_fn_map[Sample] = lambda samples, *, collate_fn_map=None: collate(samples)
