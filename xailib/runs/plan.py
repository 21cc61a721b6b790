"""A training run as a value: a network, its data, its recipe in each profile, and its loss."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn
from torch.utils.data import Dataset

from xailib.training import Recipe, classification

Tests = dict[str, Dataset]  # by name; the first one is judged after each epoch


@dataclass(frozen=True)
class Data:
    """What a run learns from, and what it is judged on. Nothing is chosen by the tests: the last epoch's weights count."""

    title: str
    train: Dataset
    tests: Tests


@dataclass(frozen=True)
class Run:
    """How a network is trained. `recipes` has the profiles that the run can have; `data` is called with the profile and
    the folder of files on disk (`--root`), `network` with nothing. Without recipes it is judged as it is."""

    about: str
    network: Callable[[], nn.Module]
    data: Callable[[str, Path | None], Data]
    recipes: Mapping[str, Recipe]
    loss: Callable = classification

    def recipe(self, profile: str) -> Recipe:
        """Raises ValueError for a profile that the run does not have."""
        if profile not in self.recipes:
            raise ValueError(f"this run has the profile {', '.join(self.recipes)} only, found {profile!r}")
        return self.recipes[profile]
