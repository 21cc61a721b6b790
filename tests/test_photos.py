import pytest
import torch

from xailib.data import photos


def test_every_photograph_is_told_and_boxed():
    assert len(photos.names()) >= 8
    for name in photos.names():
        photo = photos.load(name)
        assert photo.image.shape == (3, 224, 224) and 0 <= photo.image.min() < photo.image.max() <= 1
        assert all((photo.title, photo.source, photo.licence)) and photo.alt.endswith(".")
        assert len(photo.boxes) and (photo.boxes[:, 2:] > photo.boxes[:, :2]).all()
        assert photo.boxes.min() >= 0 and photo.boxes.max() <= 224


def test_boxes_of_the_whole_photograph_lie_inside_it():
    for name in photos.names():
        photo = photos.load(name, size=None)
        height, width = photo.image.shape[1:]
        assert (photo.boxes <= torch.tensor([width, height, width, height])).all()


def test_boxes_move_with_the_pixels():
    # 400 x 600 pixels, halved to 200 x 300, then 50 columns cut off at either side
    assert photos.load("coffee", size=None).boxes.tolist() == [[173, 18, 409, 309]]
    assert photos.load("coffee", size=200).boxes.tolist() == [[173 // 2 - 50, 9, 204 - 50, 154]]


def test_boxes_hold_what_they_say():
    rocket = photos.load("rocket")
    (x0, y0, x1, y1), grey = rocket.boxes[0].tolist(), rocket.image.mean(0)
    sky = grey[y0:y1, x0 - 20 : x0 - 5]
    assert grey[y0:y1, x0:x1].mean() > 1.5 * sky.mean()  # a white rocket, the evening sky to its left
    flower = photos.load("flower")
    inside = torch.zeros(224, 224, dtype=torch.bool)
    for x0, y0, x1, y1 in flower.boxes.tolist():
        inside[y0:y1, x0:x1] = True
    orange = (flower.image[0] > 0.6) & (flower.image[0] > 1.2 * flower.image[2])
    assert orange[inside].float().mean() > 0.5 and orange[~inside].float().mean() < 0.01


def test_boxes_are_clipped_and_dropped():
    image, boxes = torch.zeros(3, 10, 30), torch.tensor([[0, 0, 9, 10], [8, 2, 14, 6], [25, 0, 30, 10]])
    square, kept = photos._square(image, boxes, 10, None)  # columns 10 to 19 remain
    assert square.shape == (3, 10, 10) and kept.tolist() == [[0, 2, 4, 6]]
    _, kept = photos._square(image, boxes, 10, 29)  # the centre gives way to the border
    assert kept.tolist() == [[5, 0, 10, 10]]


def test_whole_photograph_is_the_file():
    skimage_data = pytest.importorskip("skimage.data")
    pixels = (photos.load("chelsea", size=None).image * 255).round().byte().permute(1, 2, 0).numpy()
    assert (pixels == skimage_data.chelsea()).all()


def test_grey_photographs_have_three_equal_channels():
    red, green, blue = photos.load("camera").image
    assert red.equal(green) and red.equal(blue)


def test_changing_a_photograph_changes_no_later_one():
    photos.load("coffee", size=None).image.zero_()
    assert photos.load("coffee", size=None).image.max() > 0


def test_batch_holds_the_labelled_ones():
    images, targets, boxes = photos.batch(size=32)
    labelled = [name for name in photos.names() if photos.load(name).label is not None]
    assert "astronaut" not in labelled and len(labelled) >= 8
    assert images.shape == (len(labelled), 3, 32, 32) and targets.dtype == torch.int64
    assert targets.tolist() == [photos.load(name).label for name in labelled]
    images, targets, boxes = photos.batch(["flower", "coffee"], size=64)
    assert images[1].equal(photos.load("coffee", 64).image)
    assert targets.tolist() == [985, 967] and [len(one) for one in boxes] == [2, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: photos.load("coffe"), "no photograph 'coffe'; did you mean 'coffee'"),
        (lambda: photos.load("zzz"), "no photograph 'zzz'; choose from chelsea, "),
        (lambda: photos.load("coffee", size=0), "size must be at least 1 pixel, but is 0"),
        (lambda: photos.batch(["coffee", "astronaut"]), "each with a label, but found .'astronaut'."),
        (lambda: photos.batch([]), "at least one photograph"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
