"""One run, from new weights to a trained network that has been judged on its tests."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.utils.data import Dataset

from xailib.runs.plan import Run
from xailib.training import evaluate, fit

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Trained:
    """The network, in evaluation mode, with what is to be known of it. `accuracy` is by test, in [0, 1]."""

    model: nn.Module
    test: Dataset
    history: "DataFrame"
    accuracy: dict[str, float]
    data: str
    recipe: dict[str, object]

    @property
    def seconds(self) -> float:
        """How long the training took."""
        return float(self.history["seconds"].sum()) if len(self.history) else 0.0


def train(
    run: Run,
    profile: str,
    *,
    seed: int = 0,
    root: Path | None = None,
    folder: Path | None = None,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> Trained:
    """A network trained as the run says; `seed` decides its first weights and the order of the images.

    `folder` keeps the run after each epoch, and the same call goes on from there. Raises ValueError for a profile that
    the run does not have, FileNotFoundError for data that is not there.
    """
    from pandas import DataFrame

    recipe = replace(run.recipe(profile), seed=seed) if run.recipes else None
    data, history = run.data(profile, root), DataFrame()
    test, model = next(iter(data.tests.values())), built(run, seed).to(device)
    if recipe:
        history = fit(model, data.train, test, recipe=recipe, loss=run.loss, folder=folder, progress=progress)
    accuracy = {name: evaluate(model, one).accuracy for name, one in data.tests.items()}
    return Trained(model, test, history, accuracy, data.title, asdict(recipe) if recipe else {})


def built(run: Run, seed: int) -> nn.Module:
    """The run's network, with the weights that this seed gives; the caller's chance is as it was afterwards."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return run.network()
