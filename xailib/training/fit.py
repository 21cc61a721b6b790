"""Training: one loop for every network of the course, on one device or, under `torchrun`, on many.

>>> history = fit(model, train, validation, recipe=Recipe(epochs=20), folder="build/my_run")
>>> load_weights(model, "build/my_run")

What is random in an epoch (order of the images, augmentation, dropout) is drawn from torch's generator, seeded from
(seed, epoch) alone. So a run that was interrupted goes on, when `fit` is called again, as if nothing had happened: on a
CPU to the same bits.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import BatchSampler, Dataset, DistributedSampler

from xailib.training import checkpoint, parallel
from xailib.training.evaluation import autocast, batches, classification, evaluate
from xailib.training.schedule import Recipe

if TYPE_CHECKING:
    from pandas import DataFrame


def fit(
    model: nn.Module,
    train: Dataset,
    validation: Dataset,
    *,
    recipe: Recipe = Recipe(),  # noqa: B008 - it is frozen
    loss: Callable = classification,
    folder: Path | str | None = None,
    progress: bool = True,
) -> "DataFrame":
    """The history of training, one row per epoch: learning rate, losses, accuracies, seconds. The model is trained in
    place, where it is, and comes back in evaluation mode with the weights of the last epoch.

    - `train`, `validation`: map-style data sets of (image, label, ...); what follows the label is not used
    - `loss(model, images, labels)` returns a tensor, or a record with `total` whose other scalars go into the history
      as well. Under torchrun the model it gets is a wrapper: call it, do not look inside
    - `folder`: where the run is saved after each epoch (see `load_weights`); a run that is there already goes on
    - `progress` shows a bar

    Only parameters that require gradients are trained. Each epoch begins with `model.train()`: a network with a frozen
    part overrides that method to keep the part's batch norm in evaluation mode. Under torchrun every process calls
    `fit` with the same arguments and shares in each batch; if they do not divide the training set, a few images are
    used twice. Raises ValueError for a folder that holds another run, a model with nothing to train, a batch that the
    processes cannot share, and a loss that is not finite.
    """
    import pandas as pd

    device = parallel.join(next(model.parameters()).device)
    run = _Run(model, recipe, loss, device)
    facts = {"recipe": asdict(recipe), "loss": _name(loss), "images": len(train)}  # type: ignore[arg-type]  # a map-style data set has a length
    history = checkpoint.resume(folder, facts, run.parts) if folder else []
    steps = len(_shuffled(train, recipe, 0))
    with _bar(len(history) * steps, recipe.epochs * steps, progress) as bar:
        for epoch in range(len(history), recipe.epochs):
            start = time.perf_counter()
            with _seeded(device, recipe.seed, epoch, parallel.rank()):
                means = run.epoch(_shuffled(train, recipe, epoch), epoch, bar)
            judged = asdict(evaluate(model, validation, precision=recipe.precision, workers=recipe.workers))
            row = {"epoch": epoch + 1, "lr": run.lr} | _titled("train", means) | _titled("validation", judged)
            history.append(row | {"seconds": time.perf_counter() - start})
            if folder and parallel.rank() == 0:
                checkpoint.save(folder, facts, history, run.parts)
            bar.set_postfix({name: f"{value:.3f}" for name, value in judged.items()})
    parallel.wait()
    model.eval()
    return pd.DataFrame(history)


class _Run:
    """A model, with what else changes while it is trained."""

    def __init__(self, model: nn.Module, recipe: Recipe, loss: Callable, device: torch.device):
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not trained:
            raise ValueError("no parameter of the model requires a gradient: there is nothing to train")
        self.recipe, self.loss, self.device = recipe, loss, device
        self.layout = torch.channels_last if recipe.channels_last else torch.preserve_format
        self.model = model.to(device).to(memory_format=self.layout)
        self.replica = parallel.replicated(model, device)
        self.optimizer = recipe.optimizer_of(trained)
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
        self.lr = recipe.lr

    @property
    def parts(self) -> checkpoint.Parts:
        return self.model, self.optimizer, self.scaler

    def epoch(self, loader, epoch: int, bar) -> dict[str, float]:
        """One pass over the training images; the means of the loss and its parts."""
        self.model.train()
        sums, seen = torch.zeros(()), 0
        for step, (images, labels, *_) in enumerate(loader, start=epoch * len(loader)):
            self.lr = self.recipe.learning_rate(step, len(loader))
            parts = self.step(images.to(self.device, memory_format=self.layout), labels.to(self.device))
            sums, seen = sums + len(images) * torch.stack([*parts.values()]).double(), seen + len(images)
            bar.update()
        parallel.share_buffers(self.model)
        means = parallel.total(sums) / parallel.total(torch.tensor(seen, device=self.device))
        if not means.isfinite().all():
            raise ValueError(f"the loss is not finite in epoch {epoch + 1}; lower lr, or use float32 or bf16")
        return dict(zip(parts, means.tolist(), strict=True))

    def step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One step of the optimizer, downhill; the loss and its parts."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
        with autocast(self.device, self.recipe.precision):
            found = self.loss(self.replica, images, labels)
        parts = {field.name: getattr(found, field.name) for field in fields(found)} if is_dataclass(found) else {}
        total = parts.pop("total", found)
        self.optimizer.zero_grad()
        self.scaler.scale(total).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return {name: part.detach() for name, part in {"loss": total, **parts}.items()}


# --- chance, data, names ----------------------------------------------------------------------------------------------


def _mixed(*numbers: int) -> int:
    """A seed that differs wherever one of the numbers does."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]) >> 1


@contextmanager
def _seeded(device: torch.device, *numbers: int) -> Iterator[None]:
    """Torch's chance in the `with` depends on the numbers only; the caller's own is as it was afterwards."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(_mixed(*numbers))
        yield


def _shuffled(train: Dataset, recipe: Recipe, epoch: int):
    """The batches of an epoch; of each, this process's share."""
    if recipe.batch % parallel.count():
        raise ValueError(f"a batch of {recipe.batch} images cannot be shared by {parallel.count()} processes")
    order = DistributedSampler(train, parallel.count(), parallel.rank(), seed=_mixed(recipe.seed, epoch))
    share = BatchSampler(order, recipe.batch // parallel.count(), drop_last=False)
    return batches(train, share, recipe.workers, seed=_mixed(recipe.seed, epoch, parallel.rank()))


def _bar(done: int, steps: int, progress: bool):
    """A bar over all steps of the run, shown by the first process."""
    from tqdm.auto import tqdm

    shown = progress and parallel.rank() == 0
    return tqdm(total=steps, initial=done, unit="step", disable=not shown)


def _name(loss: Callable) -> str:
    """A loss function as text, with its settings, so that a run is not continued with another one."""
    if isinstance(loss, partial):
        return f"{_name(loss.func)} {loss.keywords}"
    return getattr(loss, "__qualname__", type(loss).__qualname__)


def _titled(title: str, values: dict[str, float]) -> dict[str, float]:
    return {f"{title}_{name}": value for name, value in values.items()}
