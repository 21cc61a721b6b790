"""How well a network classifies: the loss of a batch, and accuracy and loss of a data set."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, TensorDataset

from xailib.training import parallel

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Classification:
    """The mean loss of a batch, `total`, and the part of it that is classified rightly, `accuracy`."""

    total: Float[Tensor, ""]
    accuracy: Float[Tensor, ""]


@dataclass(frozen=True)
class Evaluation:
    """The part of the images that is classified rightly, in [0, 1], and the mean loss."""

    accuracy: float
    loss: float


def classification(model: nn.Module, images: Float[Tensor, "b c H W"], labels: Tensor) -> Classification:
    """Cross-entropy for int64 labels [b]; for float labels [b classes], 1 for each class that an image shows, the
    binary cross-entropy over all classes, with the part of these questions that is answered rightly as accuracy."""
    logits = model(images)
    if labels.is_floating_point():
        right = (logits > 0) == (labels > 0.5)
        return Classification(F.binary_cross_entropy_with_logits(logits, labels), right.float().mean())
    return Classification(F.cross_entropy(logits, labels), (logits.argmax(1) == labels).float().mean())


@torch.no_grad()
def evaluate(
    model: nn.Module, data: Dataset, *, batch: int = 256, precision: str = "float32", workers: int = 0
) -> Evaluation:
    """Accuracy and loss of the model, in evaluation mode, on a data set of (image, label, ...), with labels as for
    `classification`. The model's modes are afterwards as they were. Raises ValueError for an empty data set.
    """
    device = next(model.parameters()).device
    count = len(data)  # type: ignore[arg-type]  # a map-style data set has a length
    share = BatchSampler(range(parallel.rank(), count, parallel.count()), batch, drop_last=False)
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    with _evaluating(model), autocast(device, precision):
        for images, labels, *_ in batches(data, share, workers):
            found = classification(model, images.to(device), labels.to(device))
            sums += len(images) * torch.stack([torch.ones_like(found.total), found.accuracy, found.total])
    seen, accuracy, loss = parallel.total(sums).tolist()
    return Evaluation(accuracy / seen, loss / seen)


def batches(data: Dataset, order: BatchSampler, workers: int, seed: int = 0) -> DataLoader:
    """The data set batch by batch; `seed` is that of the workers' chance. Raises ValueError if it is empty."""
    if len(data) == 0:  # type: ignore[arg-type]
        raise ValueError("the data set is empty")
    together = isinstance(data, TensorDataset)  # it takes the numbers of a whole batch at once
    how: dict = {"sampler": order, "batch_size": None} if together else {"batch_sampler": order}
    generator = torch.Generator().manual_seed(seed)
    pinned = torch.cuda.is_available() and not together
    return DataLoader(data, **how, num_workers=workers, generator=generator, pin_memory=pinned)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Arithmetic in the recipe's precision, where that is safe."""
    return torch.autocast(device.type, DTYPES[precision], enabled=precision != "float32")


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
