"""The data sets of the thesis and of the course, read from the files in which they are published.

Each function gives `Images`: samples of (image in [0, 1], label, boxes). Nothing is downloaded without `download=True`;
what is not there raises FileNotFoundError saying where to get it and how the folder must look.
"""

import csv
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from xailib.data.images import Arrays, Entry, Images, need

DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # of the package dataset-fashion-mnist
VOC = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep "
    "sofa train tvmonitor"
).split()
# mean and deviation of its training pixels, for models.Normalized
CIFAR100_STATISTICS = (0.50707516, 0.48654887, 0.44091784), (0.26733429, 0.25643846, 0.27615047)

Folder = Path | str
Split = Literal["train", "test"]


def fashion_mnist(
    root: Folder | None = None, split: Split = "train", *, transform: Callable | None = None, download: bool = False
) -> Images:
    """Fashion-MNIST (Xiao et al., 2017): 60,000 and 10,000 grey images of 28 x 28 pixels in ten classes.

    Without `root`, the files of Debian's package dataset-fashion-mnist. The three channels are equal.
    """
    from torchvision.datasets import FashionMNIST

    if root is not None and download:
        FashionMNIST(str(root), download=True)
    folder = DEBIAN if root is None else Path(root) / "FashionMNIST" / "raw"
    prefix = "train" if _trains(split) else "t10k"
    files = [f"{prefix}-{part}.gz" for part in ("images-idx3-ubyte", "labels-idx1-ubyte")]
    where = "https://github.com/zalandoresearch/fashion-mnist (or give a root and download=True)"
    folder = need(folder, "Fashion-MNIST", where, *files)
    images, labels = (np.frombuffer(gzip.decompress((folder / file).read_bytes()), np.uint8) for file in files)
    arrays = Arrays(images[16:].reshape(-1, 28, 28).copy(), labels[8:].astype(int))  # after the files' heads
    return Images(arrays, FashionMNIST.classes, transform=transform)


def cifar100(
    root: Folder, split: Split = "train", *, transform: Callable | None = None, download: bool = False
) -> Images:
    """CIFAR-100 (Krizhevsky, 2009): 50,000 and 10,000 colour images of 32 x 32 pixels in a hundred classes."""
    from torchvision.datasets import CIFAR100

    if not download:
        where = "https://www.cs.toronto.edu/~kriz/cifar.html (the Python version; or give download=True)"
        need(root, "CIFAR-100", where, *(f"cifar-100-python/{part}" for part in ("train", "test", "meta")))
    found = CIFAR100(str(root), train=_trains(split), download=download)  # reads only files of the published MD5
    return Images(Arrays(found.data, found.targets), found.classes, transform=transform)


def cub200(root: Folder, split: Split = "train", *, transform: Callable | None = None) -> Images:
    """CUB-200-2011 (Wah et al., 2011): 5,994 and 5,794 photographs of 200 species of birds, with a box around the bird."""
    lists = ["images", "image_class_labels", "train_test_split", "bounding_boxes", "classes"]
    where = "https://www.vision.caltech.edu/datasets/cub_200_2011/"
    parts = [f"CUB_200_2011/{name}.txt" for name in lists] + ["CUB_200_2011/images"]
    root = need(root, "CUB-200-2011", where, *parts) / "CUB_200_2011"
    images, labels, train, boxes, classes = (_numbered(root / f"{name}.txt") for name in lists)
    entries = [
        Entry(root / "images" / file, int(labels[i]) - 1, _box_of_size(boxes[i]))
        for i, file in images.items()
        if train[i] == str(int(_trains(split)))
    ]
    return Images(entries, [name.split(".", 1)[-1].replace("_", " ") for name in classes.values()], transform=transform)


def _trains(split: str) -> bool:
    if split not in ("train", "test"):
        raise ValueError(f"split must be 'train' or 'test', found {split!r}")
    return split == "train"


def _numbered(file: Path) -> dict[str, str]:
    """Lines of a number and what belongs to it."""
    return dict(line.split(maxsplit=1) for line in file.read_text(encoding="utf-8").splitlines() if line.strip())


def _box_of_size(text: str) -> Int64[Tensor, "1 4"]:
    x, y, width, height = map(float, text.split())
    return torch.tensor([[x, y, x + width, y + height]]).round().long()


def voc2012(root: Folder, split: Literal["train", "val", "trainval"], *, transform: Callable | None = None) -> Images:
    """PASCAL VOC 2012 (Everingham et al.): photographs in which several of twenty classes can be present.

    The label is 1 for each class of which there is an object, and the boxes are those of all objects; objects marked as
    difficult are left out of both, as in the challenge.
    """
    from torchvision.datasets import VOCDetection

    where = "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/"
    parts = ("JPEGImages", "Annotations", f"ImageSets/Main/{split}.txt")
    root = need(root, "PASCAL VOC 2012", where, *(f"VOCdevkit/VOC2012/{part}" for part in parts))
    found = VOCDetection(str(root), year="2012", image_set=split)
    entries = [_voc_entry(*files) for files in zip(found.images, found.annotations, strict=True)]
    return Images(entries, VOC, transform=transform)


def _voc_entry(image: str, annotation: str) -> Entry:
    there, boxes = torch.zeros(len(VOC)), []
    for item in ElementTree.parse(annotation).iter("object"):
        if item.findtext("difficult", "0").strip() == "0":
            there[VOC.index(item.findtext("name"))] = 1
            x0, y0, x1, y1 = (round(float(item.findtext(f"bndbox/{end}"))) for end in ("xmin", "ymin", "xmax", "ymax"))
            boxes.append([x0 - 1, y0 - 1, x1, y1])  # pixels are counted from 1 there, and the last one is inside
    return Entry(Path(image), there, torch.tensor(boxes, dtype=torch.int64).reshape(-1, 4))


def imagenet(root: Folder, split: Literal["train", "val"] = "val", *, transform: Callable | None = None) -> Images:
    """ImageNet (Russakovsky et al., IJCV 2015), classes in the order of pretrained networks' logits; the 50,000 images of
    `"val"` come with the boxes of the localisation task, those of `"train"` without."""
    where = "https://www.kaggle.com/c/imagenet-object-localization-challenge"
    parts = f"ILSVRC/Data/CLS-LOC/{split}", "LOC_synset_mapping.txt", "LOC_val_solution.csv"
    root = need(root, "ImageNet", where, *parts)
    names = _numbered(root / parts[1])  # "n02123045 tabby, tabby cat", in the order of the classes
    if split == "train":
        entries = image_folder(root / parts[0]).source
    else:
        with open(root / parts[2], newline="") as file:
            entries = [_imagenet_entry(root / parts[0], list(names), **row) for row in csv.DictReader(file)]
    return Images(entries, [name.split(",")[0] for name in names.values()], transform=transform)


def _imagenet_entry(folder: Path, classes: list[str], ImageId: str, PredictionString: str) -> Entry:
    """One line of the list: for each object its class and its box; the objects of one image are of one class."""
    words = PredictionString.split()
    boxes = torch.tensor([[int(word) for word in words[i + 1 : i + 5]] for i in range(0, len(words), 5)])
    boxes[:, 2:] += 1  # the last pixel is inside there
    return Entry(folder / f"{ImageId}.JPEG", classes.index(words[0]), boxes)


# --- one folder per class ---------------------------------------------------------------------------------------------


def image_folder(root: Folder, *, transform: Callable | None = None) -> Images:
    """Any folder that holds one folder of images per class; classes in alphabetical order."""
    from torchvision.datasets import ImageFolder

    if not Path(root).is_dir():
        raise FileNotFoundError(f"no folder {root}; it must hold one folder of images per class")
    found = ImageFolder(str(root))
    entries = [Entry(Path(path), label) for path, label in found.samples]
    return Images(entries, found.classes, transform=transform)


def mit67(root: Folder, split: Split = "train", *, transform: Callable | None = None) -> Images:
    """MIT 67 indoor scenes (Quattoni and Torralba, CVPR 2009): 80 photographs per class to train on, 20 to test."""
    chosen = f"{split.capitalize()}Images.txt"
    root = need(root, "MIT 67", "https://web.mit.edu/torralba/www/indoor.html", "Images", chosen)
    files = (root / chosen).read_text(encoding="utf-8").split()
    classes = sorted({file.split("/")[0] for file in files})
    entries = [Entry(root / "Images" / file, classes.index(file.split("/")[0])) for file in files]
    return Images(entries, classes, transform=transform)


def chest_xray(root: Folder, split: Split | Literal["val"] = "train", *, transform: Callable | None = None) -> Images:
    """Chest X-ray pneumonia (Kermany et al., Cell 2018): 5,856 radiographs, normal or with pneumonia."""
    where = "https://www.kaggle.com/datasets/paultimothymooney/chest-xray-pneumonia"
    root = need(root, "Chest X-ray", where, *(f"chest_xray/{split}/{name}" for name in ("NORMAL", "PNEUMONIA")))
    return image_folder(root / "chest_xray" / split, transform=transform)


def kvasir(root: Folder, *, transform: Callable | None = None) -> Images:
    """Kvasir v2 (Pogorelov et al., MMSys 2017): 8,000 endoscopic images in eight classes; it has no published split."""
    root = need(root, "Kvasir v2", "https://datasets.simula.no/kvasir/", "kvasir-dataset-v2/normal-cecum")
    return image_folder(root / "kvasir-dataset-v2", transform=transform)
