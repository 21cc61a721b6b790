"""Real photographs for explanations, each with a description, a licence, and boxes drawn by hand for this course.

The files ship inside scikit-image, scikit-learn and matplotlib, so nothing is downloaded. A label is the ImageNet class
that fits what a person sees, whether or not a network agrees; `note` says where that choice can be argued with.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Photo:
    """One photograph in [0, 1], with what a reader must know to use it and to describe it.

    `boxes` hold the objects of class `label`, or the main subject where `label` is None: x0 y0 x1 y1, half-open, in
    pixels of `image`. `alt` describes the picture for a reader who cannot see it.
    """

    name: str
    title: str
    image: Float[Tensor, "3 h w"]
    label: int | None
    boxes: Int64[Tensor, "n 4"]
    source: str
    licence: str
    alt: str
    note: str


@dataclass(frozen=True)
class _Entry:
    title: str
    file: str  # package, then the path inside it
    label: int | None
    boxes: tuple[tuple[int, int, int, int], ...]  # in pixels of the file
    source: str
    licence: str
    alt: str
    note: str = ""
    centre: int | None = None  # of the square crop, along the longer side of the file; None is the middle


_PHOTOS = {
    "chelsea": _Entry(
        title="Chelsea the cat",
        file="skimage/data/chelsea.png",
        label=282,  # tiger cat
        boxes=((0, 0, 402, 300),),
        source="scikit-image; photograph by Stefan van der Walt",
        licence="CC0",
        alt="The face of a brown striped cat with green eyes, close up, looking to the right.",
        note="Tabby (281) fits as well as tiger cat: ImageNet tells the two apart by their stripes only.",
    ),
    "coffee": _Entry(
        title="A cup of espresso",
        file="skimage/data/coffee.png",
        label=967,  # espresso
        boxes=((173, 18, 409, 309),),
        source="scikit-image; photograph by Rachel Michetti, courtesy of Pikolo Espresso Bar",
        licence="CC0",
        alt="A red cup of espresso on a red saucer with a spoon, on a wooden table, seen from above.",
        note="The box holds the whole cup, as espressos are shown in ImageNet, without saucer and spoon.",
    ),
    "rocket": _Entry(
        title="A Falcon 9 before launch",
        file="skimage/data/rocket.jpg",
        label=657,  # missile
        boxes=((311, 126, 335, 408),),
        source="scikit-image; photograph by SpaceX, launch of DSCOVR",
        licence="public domain, released by SpaceX",
        alt="A slim white rocket stands on its launch pad at dusk between lattice towers and bright lamps.",
        note="ImageNet has no space rocket; its missile (657) and projectile (744) come closest.",
    ),
    "motorcycle": _Entry(
        title="A motorcycle in a garage",
        file="skimage/data/motorcycle_left.png",
        label=665,  # moped
        boxes=((91, 15, 685, 451),),
        source="scikit-image; Middlebury 2014 stereo data set, left image (Scharstein et al., GCPR 2014)",
        licence="none stated by scikit-image or its source; cite Scharstein et al., GCPR 2014",
        alt="A red motorcycle on its side stand in a garage, in front of a bench and shelves with boxes.",
        note="ImageNet has no motorcycle; moped (665) and motor scooter (670) come closest.",
    ),
    "astronaut": _Entry(
        title="Eileen Collins, astronaut",
        file="skimage/data/astronaut.png",
        label=None,
        boxes=((18, 15, 366, 512),),
        source="scikit-image; photograph by NASA",
        licence="public domain",
        alt="A smiling astronaut in an orange suit, with her helmet, between a flag and a model space shuttle.",
        note="ImageNet has neither astronaut nor space suit, so every answer of a network is wrong; the box holds her.",
    ),
    "camera": _Entry(
        title="A man filming",
        file="skimage/data/camera.png",
        label=872,  # tripod
        boxes=((229, 186, 407, 512),),
        source="scikit-image; photograph by Lav Varshney",
        licence="CC0",
        alt="A man in a dark coat bends to a video camera on a tripod in a field; black and white.",
        note="The man is larger than the tripod, but ImageNet has no class for a person.",
    ),
    "clock": _Entry(
        title="A clock, blurred by motion",
        file="skimage/data/clock_motion.png",
        label=892,  # wall clock
        boxes=((139, 92, 289, 217),),
        source="scikit-image; photograph by Stefan van der Walt",
        licence="public domain",
        alt="A round white clock on a grey wall, smeared sideways by camera motion until its hands are gone; grey.",
        note="One knows from its source that it is a wall clock; from the picture alone one can only guess.",
    ),
    "flower": _Entry(
        title="Dahlias",
        file="sklearn/datasets/images/flower.jpg",
        label=985,  # daisy
        boxes=((168, 85, 447, 361), (287, 374, 472, 427)),
        source="scikit-learn; photograph by vultilion, flickr.com/photos/vultilion/6056698931",
        licence="CC BY 2.0",
        alt="A round orange dahlia with many petals before dark leaves; the top of a second one shows below it.",
        note="A dahlia is not a daisy, but of the daisy family, and ImageNet has no dahlia.",
    ),
    "china": _Entry(
        title="A tower of the Summer Palace in Beijing",
        file="sklearn/datasets/images/china.jpg",
        label=698,  # palace
        boxes=((62, 29, 374, 427),),
        source="scikit-learn; photograph by danielbuechele, flickr.com/photos/danielbuechele/6061409035",
        licence="CC BY 2.0",
        alt="A Chinese tower with three storeys and orange roofs rises over trees; behind it lies a lake with boats.",
        note="The tower belongs to a palace; by itself one may call it a pagoda, which ImageNet does not have.",
        centre=225,
    ),
    "grace_hopper": _Entry(
        title="Grace Hopper, computer scientist",
        file="matplotlib/mpl-data/sample_data/grace_hopper.jpg",
        label=652,  # military uniform
        boxes=((12, 23, 512, 600),),
        source="matplotlib; portrait by the United States Navy",
        licence="public domain (work of the United States government)",
        alt="An elderly woman with glasses in a dark navy uniform and cap, before a flag and a blue wall.",
        note="The box holds cap and jacket in one, and so the face between them.",
        centre=272,
    ),
}


def names() -> list[str]:
    """All photographs' names, in the order in which `batch` returns them."""
    return list(_PHOTOS)


def load(name: str, size: int | None = 224) -> Photo:
    """One photograph, its shorter side resized to `size` pixels and then cut to a square around its subject.

    `size=None` gives the whole photograph as it is in its file. Boxes move with the pixels, are clipped to the image,
    and are dropped where nothing is left. Grey photographs have three equal channels.
    Raises ValueError for an unknown name and for a size below 1.
    """
    entry = _entry(name)
    image, boxes = _pixels(entry.file).clone(), torch.tensor(entry.boxes)
    if size is not None:
        image, boxes = _square(image, boxes, size, entry.centre)
    return Photo(name, entry.title, image, entry.label, boxes, entry.source, entry.licence, entry.alt, entry.note)


def batch(
    names: list[str] | None = None, size: int = 224
) -> tuple[Float[Tensor, "b 3 s s"], Int64[Tensor, " b"], list[Int64[Tensor, "_ 4"]]]:
    """The labelled photographs (or those named) as images, their ImageNet classes, and a list of their boxes.

    Raises ValueError for an unknown name, for one without a label, and for an empty list.
    """
    photos = [load(name, size) for name in (names if names is not None else _labelled())]
    unlabelled = [photo.name for photo in photos if photo.label is None]
    if unlabelled or not photos:
        raise ValueError(
            f"a batch needs at least one photograph, each with a label, but found {unlabelled or 'an empty list'}; "
            f"choose from {', '.join(_labelled())}"
        )
    targets = torch.tensor([photo.label for photo in photos])
    return torch.stack([photo.image for photo in photos]), targets, [photo.boxes for photo in photos]


def _labelled() -> list[str]:
    return [name for name, entry in _PHOTOS.items() if entry.label is not None]


def _entry(name: str) -> _Entry:
    if name in _PHOTOS:
        return _PHOTOS[name]
    close = get_close_matches(name, _PHOTOS, n=1)
    advice = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(_PHOTOS)}"
    raise ValueError(f"no photograph {name!r}; {advice}")


@cache
def _pixels(file: str) -> Float[Tensor, "3 h w"]:
    from PIL import Image

    package, path = file.split("/", 1)
    folder = find_spec(package).submodule_search_locations[0]  # finds the package without importing it
    with Image.open(Path(folder, path)) as picture:
        pixels = np.array(picture.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def _square(
    image: Float[Tensor, "3 h w"], boxes: Int64[Tensor, "n 4"], size: int, centre: int | None
) -> tuple[Float[Tensor, "3 s s"], Int64[Tensor, "_ 4"]]:
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, but is {size}; give None for the whole photograph")
    old = torch.tensor(image.shape[:0:-1])  # width, height
    new = (old * size / old.min()).round().long()
    middle = new / 2 if centre is None else centre * new / old
    corner = (middle - size / 2).round().long().clamp(min=0).minimum(new - size)
    shape = new.flip(0).tolist()
    image = torch.nn.functional.interpolate(image[None], shape, mode="bilinear", antialias=True, align_corners=False)[0]
    (left, top), scale = corner.tolist(), (new / old).repeat(2)
    boxes = ((boxes * scale).round().long() - corner.repeat(2)).clamp(0, size)
    image = image[:, top : top + size, left : left + size].clamp(0, 1)  # rounding leaves 1.0000001
    return image, boxes[(boxes[:, 2:] > boxes[:, :2]).all(1)]
