"""Where the images of a benchmark come from: a name for each, and a sample when it is wanted."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Generator

from xailib.data import PlantedScenes, Sample, photos
from xailib.data.images import Arrays, Images

KINDS = ("photos", "planted", "imagenet", "folder")


@dataclass(frozen=True)
class Source:
    """Images by number: `load(i)` gives a `Sample`, or raises ValueError or OSError if it is broken.

    `names` are unique; a number that a benchmark draws at random depends on the image's name alone. `classes` is how
    many its labels count, or None.
    """

    title: str
    names: list[str]
    load: Callable[[int], Sample]
    classes: int | None = None

    def sample(self, name: str) -> Sample:
        """The image of that name."""
        return self.load(self._numbers[name])

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names)}

    def readable(self) -> Iterator[Sample]:
        """The samples that are not broken."""
        for number in range(len(self.names)):
            with suppress(OSError, ValueError):
                yield self.load(number)

    def facts(self) -> dict[str, object]:
        """What the record of a run says of the data: the names by their hash, for there may be many."""
        joined = "\n".join(self.names).encode()
        return {"data": self.title, "images": len(self.names), "names": hashlib.sha256(joined).hexdigest()[:16]}


def source(
    data: "str | Source | torch.utils.data.Dataset",
    *,
    root: Path | str | None = None,
    images: int | None = None,
    size: int = 224,
    cue: str = "shape",
    seed: int = 0,
) -> Source:
    """The images of a data set: of a kind by name, or of any data set of `Sample`s, as those of `xailib.data` are.

    - `"photos"`: the labelled photographs that come with the installation
    - `"planted"`: scenes drawn from `seed` (default: 100), whose evidence is `cue`
    - `"imagenet"`: the validation images below `root`, with their boxes (see `data.datasets.imagenet`)
    - `"folder"`: one folder of images per class below `root`, classes in alphabetical order

    `images` takes only so many, from the first. All but those of a given data set are squares of `size` pixels.
    Raises ValueError for another kind, FileNotFoundError where there are no such files.
    """
    if isinstance(data, Source):
        return data
    if not isinstance(data, str):
        return _from_dataset(data, images)
    if data not in KINDS:
        raise ValueError(f"data must be one of {', '.join(KINDS)}, or a data set, found {data!r}")
    if data == "photos":
        return _photos(images, size)
    if data == "planted":
        scenes = PlantedScenes(images or 100, generator=Generator().manual_seed(seed), evidence=cue, size=size)
        names = [f"scene {i}" for i in range(len(scenes))]
        return Source(f"planted {cue}, {size} pixels", names, scenes.__getitem__, len(scenes.class_names))
    return _from_files(data, root, images, size)


def _photos(images: int | None, size: int) -> Source:
    names = [name for name in photos.names() if photos.load(name).label is not None][:images]

    def load(index: int) -> Sample:
        photo = photos.load(names[index], size)
        return Sample(photo.image, photo.label, photo.boxes)

    return Source(f"photos, {size} pixels", names, load, 1000)


def _from_files(data: str, root: Path | str | None, images: int | None, size: int) -> Source:
    from xailib.data import datasets
    from xailib.data.boxes import square

    if root is None:
        raise ValueError(f"data {data!r} lies in a folder; say which: root=... (--root on the command line)")
    read = datasets.imagenet if data == "imagenet" else datasets.image_folder
    found = _from_dataset(read(root, transform=square(size)), images)
    return Source(f"{data}, {size} pixels", found.names, found.load, found.classes)


def _from_dataset(dataset: torch.utils.data.Dataset, images: int | None) -> Source:
    count = len(dataset)  # type: ignore[arg-type]  # a map-style data set has a length
    count = count if images is None else min(images, count)
    names = [f"image {i}" for i in range(count)]
    if isinstance(dataset, Images) and not isinstance(dataset.source, Arrays):
        names = ["/".join(entry.path.parts[-2:]) for entry in dataset.source[:count]]
    classes = getattr(dataset, "class_names", None)
    return Source(type(dataset).__name__, names, dataset.__getitem__, classes and len(classes))
