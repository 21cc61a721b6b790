"""Any photograph, as a network takes it: a file from someone's disk becomes pixels, or a sentence that says why not."""

from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from xailib.data import PlantedScenes, photos

LARGEST = 50_000_000  # pixels: beyond this, decoding takes gigabytes
SMALLEST = 8  # pixels of a side


class Photograph(NamedTuple):
    """Pixels in [0, 1], and in sentences what was done to get them."""

    name: str
    image: Float[Tensor, "3 h w"]
    notes: tuple[str, ...] = ()


def opened(name: str, content: bytes) -> Photograph:
    """The photograph in a file's bytes, upright, in three channels, with a note on each thing that was changed.

    Raises ValueError, in a sentence for the person who chose the file, for what is no image, cut off, too large, too
    small, or of more than 8 bits per channel.
    """
    from PIL import Image, UnidentifiedImageError

    if not content:
        raise ValueError(f"{name} is empty; choose another file")
    try:
        with Image.open(BytesIO(content)) as picture:
            _check(name, picture)
            picture.load()
            return Photograph(name, *_upright_rgb(name, picture))
    except UnidentifiedImageError:
        raise ValueError(
            f"{name} is not an image that can be read here; choose a JPEG, PNG, WebP or GIF file"
        ) from None
    except Image.DecompressionBombError:
        raise ValueError(f"{name} has too many pixels; make it smaller first") from None
    except (OSError, SyntaxError, EOFError) as error:
        raise ValueError(f"{name} is damaged or cut off ({error}); get this file again") from None


def _check(name: str, picture) -> None:
    width, height = picture.size
    if width * height > LARGEST:
        raise ValueError(f"{name} has {width} x {height} pixels, more than {LARGEST:,} in all; make it smaller first")
    if min(width, height) < SMALLEST:
        raise ValueError(f"{name} has only {width} x {height} pixels; choose one of at least {SMALLEST} x {SMALLEST}")
    if picture.mode.startswith(("I", "F")):
        raise ValueError(f"{name} has more than 8 bits per channel ({picture.mode}); save it as an 8-bit PNG or JPEG")


def _upright_rgb(name: str, picture) -> tuple[Tensor, tuple[str, ...]]:
    from PIL import Image, ImageOps

    notes, frames, ending = [], getattr(picture, "n_frames", 1), Path(name).suffix.lower()
    if Image.registered_extensions().get(ending) != picture.format:
        notes.append(f"By its name it is no {picture.format} file, but it is one.")
    if frames > 1:
        notes.append(f"It moves: the first of its {frames} frames is shown.")
    if picture.getexif().get(0x0112, 1) != 1:
        notes.append("It was turned as its camera says.")
    upright = ImageOps.exif_transpose(picture)
    if upright.has_transparency_data:
        notes.append("Where it was transparent, it is white now.")
        clear = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
    if upright.mode == "CMYK":
        notes.append("Its printing colours (CMYK) became RGB, and may look different.")
    pixels = np.array(upright.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255, tuple(notes)


def square(image: Float[Tensor, "3 h w"], size: int) -> Float[Tensor, "3 size size"]:
    """The middle square of an image at `size` pixels, which is what a network gets to see of it."""
    side = min(image.shape[1:])
    top, left = ((length - side) // 2 for length in image.shape[1:])
    middle = image[:, top : top + side, left : left + side]
    resized = torch.nn.functional.interpolate(middle[None], (size, size), mode="bilinear", antialias=True)
    return resized[0].clamp(0, 1)  # rounding leaves 1.0000001


# --- what is there without a file -------------------------------------------------------------------------------------

SCENES = {f"planted scene {number}": number for number in range(1, 6)}


def offered() -> list[str]:
    """The names of what comes with the course: nine photographs, and five planted scenes for its own small networks."""
    return [*photos.names(), *SCENES]


def shown(photograph: str | Photograph, size: int) -> Float[Tensor, "3 size size"]:
    """What a network that takes `size` pixels sees of an offered photograph, by name, or of an opened one."""
    if isinstance(photograph, Photograph):
        return square(photograph.image, size)
    if photograph in SCENES:
        scenes = PlantedScenes(len(SCENES), generator=torch.Generator().manual_seed(8))
        return square(scenes[SCENES[photograph] - 1].image, size)
    return photos.load(photograph, size).image
