"""Images with labels and boxes as a map-style data set, from files or from memory, and errors that name what is wrong.

Everything can be pickled, so DataLoader workers start on every system (macOS and Windows spawn theirs).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from xailib.data.boxes import carry
from xailib.data.records import NO_BOXES, Sample


class Entry(NamedTuple):
    """An image file, its label, and its boxes in the file's pixels."""

    path: Path
    label: int | Float[Tensor, " classes"]
    boxes: Int64[Tensor, "n 4"] = NO_BOXES


class Arrays(NamedTuple):
    """Images in memory: grey or colour bytes and a class for each."""

    pictures: UInt8[np.ndarray, "n h w"] | UInt8[np.ndarray, "n h w 3"]
    labels: Sequence[int] | Int64[np.ndarray, " n"]


class Images(torch.utils.data.Dataset):
    """Images as `Sample`s in the order of their source. `transform` is one of torchvision's v2, and moves boxes too.

    Reading an item raises ValueError, naming the file, where it is broken, FileNotFoundError where it is gone.
    """

    def __init__(
        self, source: Sequence[Entry] | Arrays, class_names: Sequence[str], *, transform: Callable | None = None
    ):
        self.source, self.class_names, self.transform = source, list(class_names), transform

    def __len__(self) -> int:
        return len(self.source.labels if isinstance(self.source, Arrays) else self.source)

    def __getitem__(self, index: int) -> Sample:
        if isinstance(self.source, Arrays):
            picture = np.atleast_3d(self.source.pictures[index])
            picture = torch.from_numpy(picture.transpose(2, 0, 1)).expand(3, -1, -1)
            label, boxes = int(self.source.labels[index]), NO_BOXES
        else:
            path, label, boxes = self.source[index]
            picture = read(path)
        image, boxes = carry(picture, boxes, self.transform)
        return Sample(image, label, boxes)


def read(path: Path) -> UInt8[Tensor, "3 h w"]:
    """The pixels of an image file, in three channels. Raises ValueError if it cannot be read as an image."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            pixels = np.array(picture.convert("RGB"))
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError) as error:  # a PNG that is cut off is a SyntaxError to Pillow
        raise ValueError(f"{path} is not a whole image ({error}); get this file again") from error
    return torch.from_numpy(pixels).permute(2, 0, 1)


def need(root: Path | str, name: str, url: str, *parts: str) -> Path:
    """The folder `root`, where all `parts` of a data set are. Raises FileNotFoundError saying what to get and where."""
    root = Path(root).expanduser()
    missing = [part for part in parts if not (root / part).exists()]
    if missing:
        layout = "\n".join(f"    {root / part}" for part in parts)
        raise FileNotFoundError(
            f"no {missing[0]} in {root}: download {name} from {url} and unpack it, so that there are\n{layout}"
        )
    return root
