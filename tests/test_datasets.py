"""Published data sets, on small folders in the formats in which they are published; boxes, batches, workers, errors."""

import gzip
import hashlib
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from xailib import data
from xailib.data import datasets
from xailib.data.boxes import carry
from xailib.data.images import Entry, Images


def save(path, width=40, height=30, box=(0, 0, 0, 0), format=None):
    """A dark image with a white box."""
    pixels = np.full((height, width, 3), 30, dtype=np.uint8)
    x0, y0, x1, y1 = box
    pixels[y0:y1, x0:x1] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, format=format, **({"quality": 100} if path.suffix.lower() != ".png" else {}))
    return path


def assert_boxes_hold_the_white(sample):
    white = sample.image.mean(0) > 0.55
    inside = torch.zeros_like(white)
    for x0, y0, x1, y1 in sample.boxes.tolist():
        inside[y0:y1, x0:x1] = True
    assert inside.any() and white[inside].all() and not white[~inside].any()


# --- formats ----------------------------------------------------------------------------------------------------------


def idx(array: np.ndarray) -> bytes:
    """The format of MNIST: a magic number, the lengths, the bytes."""
    head = [0x0800 | array.ndim, *array.shape]
    return gzip.compress(b"".join(number.to_bytes(4, "big") for number in head) + array.tobytes())


def test_fashion_mnist(tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, count in (("train", 5), ("t10k", 3)):
        pictures = np.arange(count * 784, dtype=np.uint32).astype(np.uint8).reshape(count, 28, 28)
        (raw / f"{prefix}-images-idx3-ubyte.gz").write_bytes(idx(pictures))
        (raw / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(idx(np.arange(9, 9 - count, -1, dtype=np.uint8)))
    train, test = (data.fashion_mnist(tmp_path, split) for split in ("train", "test"))
    assert (len(train), len(test)) == (5, 3)
    image, label, boxes = test[2]
    assert (label, test.class_names[label]) == (7, "Sneaker") and len(boxes) == 0
    assert image.shape == (3, 28, 28) and image[0].equal(image[2])
    assert (image[0] * 255).round().flatten().tolist() == [(2 * 784 + i) % 256 for i in range(784)]


@pytest.mark.skipif(not datasets.DEBIAN.exists(), reason="the Debian package dataset-fashion-mnist is not installed")
def test_fashion_mnist_of_debian():
    train, test = data.fashion_mnist(), data.fashion_mnist(split="test")
    assert (len(train), len(test)) == (60_000, 10_000)
    assert np.bincount(train.source.labels).tolist() == [6000] * 10
    assert train.source.pictures.mean() == pytest.approx(72.94, abs=0.01)  # 0.2860, as is usually given, of 255
    assert train.class_names[train[0].label] == "Ankle boot"


def test_cifar100(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR100

    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    rows = np.zeros((4, 3072), dtype=np.uint8)
    rows[1, 1024 + 2 * 32 + 5] = 255  # green, row 2, column 5
    meta = {"fine_label_names": [f"class {i}" for i in range(100)]}
    parts = {"train": {"data": rows, "fine_labels": [9, 99, 0, 1]}, "test": {"data": rows[:1], "fine_labels": [7]}}
    for name, content in {**parts, "meta": meta}.items():
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))

    def digest(name):
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    monkeypatch.setattr(CIFAR100, "train_list", [digest("train")])
    monkeypatch.setattr(CIFAR100, "test_list", [digest("test")])
    monkeypatch.setattr(CIFAR100, "meta", CIFAR100.meta | {"md5": digest("meta")[1]})
    train = data.cifar100(tmp_path)
    image, label, _ = train[1]
    assert image.nonzero().tolist() == [[1, 2, 5]] and image.max() == 1
    assert label == 99 and train.class_names[99] == "class 99" and len(data.cifar100(tmp_path, "test")) == 1
    (folder / "train").write_bytes(b"another file")
    with pytest.raises(RuntimeError, match="corrupted"):
        data.cifar100(tmp_path)


def test_cub200(tmp_path):
    root = tmp_path / "CUB_200_2011"
    save(root / "images/001.Black_footed_Albatross/a.jpg", box=(8, 8, 24, 16))
    save(root / "images/002.Laysan_Albatross/b.jpg", box=(16, 0, 40, 8))
    lists = {
        "images": "1 001.Black_footed_Albatross/a.jpg\n2 002.Laysan_Albatross/b.jpg\n",
        "image_class_labels": "1 1\n2 2\n",
        "train_test_split": "1 0\n2 1\n",
        "bounding_boxes": "1 8.0 8.0 16.0 8.0\n2 16.0 0.0 24.0 8.0\n",
        "classes": "1 001.Black_footed_Albatross\n2 002.Laysan_Albatross\n",
    }
    for name, text in lists.items():
        (root / f"{name}.txt").write_text(text)
    train, test = data.cub200(tmp_path), data.cub200(tmp_path, "test")
    assert (len(train), len(test)) == (1, 1) and train.class_names == ["Black footed Albatross", "Laysan Albatross"]
    assert (test[0].label, test[0].boxes.tolist()) == (0, [[8, 8, 24, 16]])
    assert (train[0].label, train[0].boxes.tolist()) == (1, [[16, 0, 40, 8]])
    assert_boxes_hold_the_white(test[0])


VOC_OBJECT = """<object><name>{}</name><pose>Left</pose><difficult>{}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin>
<xmax>{}</xmax><ymax>{}</ymax></bndbox><part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax>
<ymax>2</ymax></bndbox></part></object>"""


def test_voc2012(tmp_path):
    root = tmp_path / "VOCdevkit" / "VOC2012"
    objects = {
        "2007_000027": [("person", 0, 9, 9, 24, 16), ("dog", 1, 1, 1, 5, 5), ("person", 0, 33, 17, 40, 24)],
        "2008_000002": [("tvmonitor", 0, 1, 1, 40, 30), ("cat", 0, 1, 1, 40, 30)],
        "2008_000003": [("bus", 1, 1, 1, 40, 30)],
    }
    (root / "Annotations").mkdir(parents=True)
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "ImageSets/Main/val.txt").write_text("\n".join(objects) + "\n")
    for name, found in objects.items():
        pixels = np.full((30, 40, 3), 30, dtype=np.uint8)
        for _, difficult, x0, y0, x1, y1 in found:  # counted from 1, the last pixel inside
            pixels[y0 - 1 : y1, x0 - 1 : x1] = 30 if difficult else 255
        (root / "JPEGImages").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(root / f"JPEGImages/{name}.jpg", quality=100)
        body = "".join(VOC_OBJECT.format(*one) for one in found)
        (root / f"Annotations/{name}.xml").write_text(f"<annotation><size/>{body}</annotation>")
    val = data.voc2012(tmp_path, "val")
    present = [[val.class_names[i] for i in val[k].label.nonzero()] for k in range(3)]
    assert present == [["person"], ["cat", "tvmonitor"], []] and val[0].label.dtype == torch.float32
    assert val[0].boxes.tolist() == [[8, 8, 24, 16], [32, 16, 40, 24]] and val[2].boxes.shape == (0, 4)
    assert_boxes_hold_the_white(val[0])
    batch = next(iter(DataLoader(val, 3)))
    assert batch.labels.shape == (3, 20) and [len(boxes) for boxes in batch.boxes] == [2, 2, 0]


def test_imagenet(tmp_path):
    images = tmp_path / "ILSVRC/Data/CLS-LOC"
    save(images / "val/ILSVRC2012_val_00000002.JPEG", box=(8, 8, 16, 24))
    save(images / "val/ILSVRC2012_val_00000001.JPEG", box=(0, 0, 40, 30))
    save(images / "train/n01440764/n01440764_1.JPEG")
    save(images / "train/n02123045/n02123045_1.JPEG")
    (tmp_path / "LOC_synset_mapping.txt").write_text("n01440764 tench, Tinca tinca\nn02123045 tabby, tabby cat\n")
    (tmp_path / "LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\n"
        "ILSVRC2012_val_00000002,n02123045 8 8 15 23 \n"
        "ILSVRC2012_val_00000001,n01440764 0 0 39 29 n01440764 1 1 2 2 \n"
    )
    val, train = data.imagenet(tmp_path), data.imagenet(tmp_path, "train")
    assert val.class_names == ["tench", "tabby"] and [val[i].label for i in (0, 1)] == [1, 0]
    assert [val[i].boxes.tolist() for i in (0, 1)] == [[[8, 8, 16, 24]], [[0, 0, 40, 30], [1, 1, 3, 3]]]
    assert_boxes_hold_the_white(val[0])
    assert [sample.label for sample in train] == [0, 1] and train[0].boxes.shape == (0, 4)


def test_image_folders(tmp_path):
    for split, count in (("train", 2), ("val", 1), ("test", 1)):
        for name in ("NORMAL", "PNEUMONIA"):
            for i in range(count):
                save(tmp_path / f"chest_xray/{split}/{name}/{i}.jpeg")
    for name in ("dyed-lifted-polyps", "normal-cecum"):
        save(tmp_path / f"kvasir-dataset-v2/{name}/0.jpg")
    for name in ("kitchen/a.jpg", "bar/b.jpg", "bar/c.jpg"):
        save(tmp_path / "Images" / name)
    (tmp_path / "TrainImages.txt").write_text("kitchen/a.jpg\nbar/b.jpg\n")
    (tmp_path / "TestImages.txt").write_text("kitchen/a.jpg\nbar/c.jpg")
    xrays = data.chest_xray(tmp_path)
    assert len(xrays) == 4 and len(data.chest_xray(tmp_path, "val")) == 2
    assert xrays.class_names == ["NORMAL", "PNEUMONIA"] and [sample.label for sample in xrays] == [0, 0, 1, 1]
    assert data.kvasir(tmp_path).class_names == ["dyed-lifted-polyps", "normal-cecum"]
    train, test = data.mit67(tmp_path), data.mit67(tmp_path, "test")
    assert train.class_names == ["bar", "kitchen"] and [sample.label for sample in train] == [1, 0]
    assert [entry.path.name for entry in test.source] == ["a.jpg", "c.jpg"]


def test_grey_and_transparent_files_have_three_channels(tmp_path):
    for mode, name in (("L", "a"), ("RGBA", "b"), ("P", "c"), ("1", "d")):
        (tmp_path / "one").mkdir(exist_ok=True)
        Image.new(mode, (6, 5)).save(tmp_path / f"one/{name}.png")
    assert all(sample.image.shape == (3, 5, 6) for sample in data.image_folder(tmp_path))


# --- boxes ------------------------------------------------------------------------------------------------------------


def picture(width=40, height=20, box=(8, 4, 16, 12)):
    pixels = torch.full((3, height, width), 30, dtype=torch.uint8)
    x0, y0, x1, y1 = box
    pixels[:, y0:y1, x0:x1] = 255
    return pixels, torch.tensor([box])


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (None, [8, 4, 16, 12]),
        (v2.RandomHorizontalFlip(1.0), [24, 4, 32, 12]),
        (v2.Resize((40, 80)), [16, 8, 32, 24]),
        (v2.CenterCrop(20), [0, 4, 6, 12]),  # columns 10 to 29 remain
        (v2.Pad([3, 5, 0, 0]), [11, 9, 19, 17]),
        (data.square(10), [0, 2, 3, 6]),  # halved, then columns 5 to 14
        (v2.RandomRotation((90, 90), expand=True), [4, 24, 12, 32]),
    ],
)
def test_boxes_move_with_the_pixels(transform, expected):
    image, boxes = carry(*picture(), transform)
    assert boxes.tolist() == [expected] and boxes.dtype == torch.int64
    sample = data.Sample(image, 0, boxes)
    assert_boxes_hold_the_white(sample)


def test_boxes_that_leave_the_image_are_dropped():
    image, boxes = carry(*picture(box=(0, 0, 8, 8)), v2.CenterCrop(20))
    assert boxes.shape == (0, 4) and not (image > 0.5).any()


def test_boxes_that_reach_beyond_their_file_are_clipped():
    _, boxes = carry(picture()[0], torch.tensor([[-3, 4, 50, 25], [41, 4, 50, 25]]), None)
    assert boxes.tolist() == [[0, 4, 40, 20]]


@pytest.mark.parametrize("transform", [data.jitter(20), data.random_square(16)])
def test_random_transforms_carry_boxes(transform):
    torch.manual_seed(0)
    seen = set()
    for _ in range(40):
        image, boxes = carry(*picture(20, 20, (6, 6, 14, 14)), transform)
        assert 0 <= image.min() and image.max() <= 1 and image.shape[1] == image.shape[2]
        inside = torch.zeros(image.shape[1:], dtype=torch.bool)
        for x0, y0, x1, y1 in boxes.tolist():
            inside[max(y0 - 1, 0) : y1 + 1, max(x0 - 1, 0) : x1 + 1] = True
        assert not ((image[0] > 0.6) & ~inside).any()
        seen.add(tuple(boxes.flatten().tolist()))
    assert len(seen) > 20


def test_pixels_stay_in_pixel_space():
    normalise = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)])
    with pytest.raises(ValueError, match="pixels go from -0.76.* to 1; keep them in .0, 1., the model normalises"):
        carry(*picture(), normalise)


# --- batches and workers ----------------------------------------------------------------------------------------------


def folder_of(tmp_path, count=5) -> Images:
    paths = [save(tmp_path / f"{i}.png", box=(i, i, 2 * i + 8, 2 * i + 8)) for i in range(count)]
    boxes = [torch.tensor([[i, i, 2 * i + 8, 2 * i + 8]]).repeat(i % 3, 1) for i in range(count)]
    entries = [Entry(path, i % 2, box) for i, (path, box) in enumerate(zip(paths, boxes, strict=True))]
    return Images(entries, ["even", "odd"], transform=data.square(16))


def test_spawned_workers_load_the_same(tmp_path):
    images = folder_of(tmp_path)
    loader = DataLoader(images, 3, num_workers=1, multiprocessing_context="spawn")
    here, there = list(DataLoader(images, 3)), list(loader)
    assert [type(batch) for batch in there] == [data.Batch, data.Batch]
    for one, other in zip(here, there, strict=True):
        assert one.images.equal(other.images) and one.labels.equal(other.labels)
        assert all(a.equal(b) for a, b in zip(one.boxes, other.boxes, strict=True))
    assert here[0].labels.tolist() == [0, 1, 0] and [len(boxes) for boxes in here[0].boxes] == [0, 1, 2]


def test_pickled_data_sets_are_the_same(tmp_path):
    images = folder_of(tmp_path)
    copy = pickle.loads(pickle.dumps(images))
    assert len(copy) == 5 and all(a.image.equal(b.image) for a, b in zip(images, copy, strict=True))


def test_a_batch_needs_one_size(tmp_path):
    save(tmp_path / "one/a.png", 40, 30)
    save(tmp_path / "one/b.png", 20, 30)
    with pytest.raises(ValueError, match=r"must have one size, found \[\(30, 20\), \(30, 40\)\]; give .* a transform"):
        list(DataLoader(data.image_folder(tmp_path), 2))


# --- what is missing or broken ----------------------------------------------------------------------------------------


def test_broken_files_are_named(tmp_path):
    images = folder_of(tmp_path)
    whole = images.source[1].path.read_bytes()
    images.source[1].path.write_bytes(whole[: len(whole) // 2])
    images.source[2].path.write_bytes(b"<html>404</html>")
    images.source[3].path.unlink()
    assert images[0].label == 0
    for i in (1, 2):
        with pytest.raises(ValueError, match=f"{i}.png is not a whole image .*get this file again"):
            images[i]
    with pytest.raises(FileNotFoundError, match="3.png"):
        images[3]
    with pytest.raises(IndexError):
        images[5]
    jpeg = save(tmp_path / "cut.jpg", 200, 200, (10, 10, 90, 90))
    jpeg.write_bytes(jpeg.read_bytes()[:-400])
    with pytest.raises(ValueError, match="cut.jpg is not a whole image"):
        data.images.read(jpeg)


@pytest.mark.parametrize(
    ("load", "what"),
    [
        (data.fashion_mnist, "Fashion-MNIST from https://github.com/zalandoresearch.*download=True"),
        (data.cifar100, "CIFAR-100 from https://www.cs.toronto.edu"),
        (data.cub200, "CUB-200-2011 from https://www.vision.caltech.edu"),
        (lambda root: data.voc2012(root, "val"), "PASCAL VOC 2012 from http://host.robots.ox.ac.uk"),
        (data.imagenet, "ImageNet from https://www.kaggle.com/c/imagenet"),
        (data.mit67, "MIT 67 from https://web.mit.edu"),
        (data.chest_xray, "Chest X-ray from https://www.kaggle.com"),
        (data.kvasir, "Kvasir v2 from https://datasets.simula.no"),
        (data.image_folder, "no folder .*one folder of images per class"),
    ],
)
def test_missing_data_says_what_to_get_and_where(load, what, tmp_path):
    with pytest.raises(FileNotFoundError, match=what) as error:
        load(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in str(error.value)


def test_another_split_is_named():
    with pytest.raises(ValueError, match="split must be 'train' or 'test', found 'val'"):
        datasets._trains("val")
