"""The data of the named runs, in the size of each profile."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Generator
from torch.utils.data import Dataset, Subset

from xailib import data
from xailib.data import PlantedScenes
from xailib.runs.plan import Data

SCENES = {"quick": 128, "laptop": 8192, "full": 65_536}  # to learn from
TEST_SCENES = {"quick": 64, "laptop": 2048, "full": 4096}
TRAIN_SEED, TEST_SEED = 1, 2  # the same scenes for every network and every seed of its weights


def planted(
    evidence: str, *, correlation: Mapping[str, float | int] | None = None, size: int = 64
) -> Callable[[str, Path | None], Data]:
    """Scenes whose class is told by `evidence`. Where another cue follows it in training, there is a second test,
    "broken", in which that cue says nothing."""

    def scenes(count: int, seed: int, correlation: Mapping[str, float | int] | None) -> PlantedScenes:
        generator = Generator().manual_seed(seed)
        return PlantedScenes(count, evidence=evidence, correlation=correlation, size=size, generator=generator)

    def load(profile: str, root: Path | None) -> Data:
        tests: dict[str, Dataset] = {"test": scenes(TEST_SCENES[profile], TEST_SEED, correlation)}
        if correlation:
            tests["broken"] = scenes(TEST_SCENES[profile], TEST_SEED, dict.fromkeys(correlation, 0))
        also = "".join(f", {cue} follows it with r = {r}" for cue, r in (correlation or {}).items())
        title = f"planted scenes, evidence {evidence}{also}, {size} pixels"
        return Data(title, scenes(SCENES[profile], TRAIN_SEED, correlation), tests)

    return load


def fashion_mnist(profile: str, root: Path | None) -> Data:
    """All images in the full profile, and the first ones in the others."""
    train, test = data.fashion_mnist(root, "train"), data.fashion_mnist(root, "test")
    count = {"quick": 128, "laptop": 4000, "full": len(train)}[profile]
    return Data(
        f"Fashion-MNIST, {count} images",
        Subset(train, range(count)),
        {"test": test if count > 128 else Subset(test, range(count))},
    )


def cifar100(profile: str, root: Path | None) -> Data:
    """With the thesis' augmentation."""
    train, test = data.cifar100(given(root), "train", transform=data.jitter()), data.cifar100(given(root), "test")
    return Data("CIFAR-100", train, {"test": test})


def imagenet(profile: str, root: Path | None) -> Data:
    """Random squares of 224 pixels to learn from, the middle square to judge."""
    train = data.imagenet(given(root), "train", transform=data.random_square(224))
    test = data.imagenet(given(root), "val", transform=data.square(224))
    return Data("ImageNet", train, {"test": test})


def given(root: Path | None) -> Path:
    if root is None:
        raise ValueError("the data set lies in a folder; say which: --root FOLDER")
    return root
