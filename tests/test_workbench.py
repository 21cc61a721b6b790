"""The workbench without a browser: what is refused and in which words, what is computed, and what a hand would do."""

import io
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from xailib import explain, metrics
from xailib.data import photos
from xailib.workbench import Workbench, compare, hiding, networks, photographs
from xailib.workbench.methods import METHODS, MOST
from xailib.workbench.picture import picture, png

SMALL = "smallcnn_shape"


def file(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    made = io.BytesIO()
    image.save(made, kind, **options)
    return made.getvalue()


def flat(mode: str = "RGB", size: tuple[int, int] = (40, 30), colour=(255, 0, 0)) -> Image.Image:
    return Image.new(mode, size, colour)


# --- uploads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.png", b"", "empty.png is empty"),
        ("essay.docx", b"PK\x03\x04 nothing to see", "essay.docx is not an image that can be read here; choose a JPEG"),
        ("cut.png", file(Image.effect_noise((90, 90), 60))[:2000], "cut.png is damaged or cut off"),
        ("cut.jpg", file(flat(size=(300, 300)), "JPEG")[:700], "cut.jpg is (damaged|not an image)"),
        ("head.png", file(flat())[:20], "head.png is (damaged|not an image)"),
        ("wide.png", file(Image.new("1", (60_000, 1000))), "wide.png has 60000 x 1000 pixels, more than 50,000,000"),
        ("bomb.png", file(Image.new("1", (40_000, 10_000))), "bomb.png has too many pixels; make it smaller"),
        ("dot.png", file(flat(size=(3, 200))), "dot.png has only 3 x 200 pixels; choose one of at least 8 x 8"),
        ("deep.png", file(Image.new("I;16", (40, 40), 9000)), "deep.png has more than 8 bits per channel"),
        ("deep.tif", file(Image.new("F", (40, 40), 0.5), "TIFF"), "deep.tif has more than 8 bits per channel"),
    ],
)
def test_a_bad_file_gets_a_sentence(name, content, said):
    with pytest.raises(ValueError, match=said):
        photographs.opened(name, content)


def test_a_good_file_is_opened_as_it_is():
    found = photographs.opened("red.png", file(flat()))
    assert found.image.shape == (3, 30, 40) and found.notes == ()
    assert found.image.amin((1, 2)).tolist() == [1, 0, 0]


def sideways() -> bytes:
    """Red on the left of the file; its camera says that the left is up."""
    picture, exif = flat(colour=(0, 0, 255)), Image.Exif()
    picture.paste((255, 0, 0), (0, 0, 20, 30))
    exif[0x0112] = 6
    return file(picture, exif=exif)


@pytest.mark.parametrize(
    ("name", "content", "note", "corner"),
    [
        ("clear.png", file(flat("RGBA", colour=(0, 0, 255, 0))), "transparent, it is white", [1, 1, 1]),
        ("half.png", file(flat("LA", colour=(0, 51))), "transparent, it is white", [0.8, 0.8, 0.8]),
        ("print.jpg", file(flat("CMYK", colour=(0, 255, 255, 0)), "JPEG", quality=100), "CMYK", [1, 0, 0]),
        (
            "moves.gif",
            file(flat(), "GIF", save_all=True, append_images=[flat(colour=(0, 255, 0))]),
            "of its 2",
            [1, 0, 0],
        ),
        ("photo.jpg", file(flat()), "no PNG file, but it is one", [1, 0, 0]),
        ("sideways.png", sideways(), "turned as its camera says", [1, 0, 0]),
        ("grey.png", file(flat("L", colour=51)), None, [0.2, 0.2, 0.2]),
    ],
)
def test_what_was_changed_is_said(name, content, note, corner):
    found = photographs.opened(name, content)
    assert found.image[:, 0, -1].tolist() == pytest.approx(corner, abs=0.02)
    assert found.notes == () if note is None else note in " ".join(found.notes)


def test_a_network_sees_the_middle_square():
    wide = torch.zeros(3, 10, 30)
    wide[:, :, 10:20] = 1
    assert photographs.square(wide, 20).equal(torch.ones(3, 20, 20))
    assert photographs.shown("coffee", 224).equal(photos.load("coffee").image)
    assert all(photographs.shown(name, 64).shape == (3, 64, 64) for name in photographs.offered())


# --- networks and classes ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lite():
    return networks.opened(networks.OFFLINE)


@pytest.fixture(scope="module")
def small():
    return networks.opened(SMALL)


def test_networks_know_size_layer_and_classes(lite, small):
    assert (lite.size, lite.layer, len(lite.classes)) == (224, "bn2", 1000)
    assert (small.size, small.layer, len(small.classes)) == (64, "stages.2", 5)
    assert networks.opened("vit_colour").classes != small.classes
    drawn = networks.opened("resnet10t", random=True)  # timm's, of another size
    assert (drawn.size, drawn.layer, drawn.title) == (176, "layer4", "resnet10t, random weights")


def test_a_network_that_is_not_there():
    with pytest.raises(ValueError, match="no network 'resnet5O'; did you mean 'resnet50'"):
        networks.opened("resnet5O")


def test_classes_are_found_by_name_part_or_number(lite):
    assert lite.class_of("967") == lite.class_of("Espresso ") == lite.class_of("espresso (967)") == 967
    assert lite.class_of("tiger cat") == 282
    for text, said in {
        "poodle": "fits 3 classes .*toy poodle .265.",
        "crane": "fits 2 classes",
        "expresso": "no class 'expresso' in efficientnet_lite0; try espresso",
        "": "no class ''",
        "1000": "no class '1000'",
    }.items():
        with pytest.raises(ValueError, match=said):
            lite.class_of(text)


# --- methods and their scores -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def question(small):
    image = photographs.shown("planted scene 1", 64)[None]
    target = small.model(image).argmax(1).item()
    return compare.Question(small, "planted scene 1", image, target, small.layer)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_answers_or_says_why_not(question, name):
    before = {key: value.clone() for key, value in question.network.model.state_dict().items()}
    found = compare.answer(question, name)
    attends = name in ("rollout", "TIBAV")
    assert bool(found.problem) == attends and (found.heat is None) == attends
    assert attends or (found.heat.shape == (64, 64) and all(0 <= score <= 100 for score in found.scores))
    assert "forward" not in vars(question.network.model)
    assert all(value.equal(before[key]) for key, value in question.network.model.state_dict().items())


def test_the_map_is_the_librarys_and_the_scores_are_the_metrics(question):
    found, asked = compare.answer(question, "Grad-CAM"), (question.network.model, question.image, question.targets)
    maps = explain.cam(*asked, layer=question.layer, weights=explain.gradcam).detach()
    assert found.heat.equal(maps[0])
    p, o = metrics.masked_probabilities(*asked, maps / maps.max())
    assert found.scores.drop == pytest.approx(metrics.average_drop(p, o).item(), abs=0.5)
    assert compare.answer(question, "Fake-CAM").scores.drop < 1
    blank = compare.judge(question, torch.zeros(1, 64, 64))
    assert blank.drop > 10 and blank.gain == 0


def test_a_method_tells_how_far_it_is_and_can_be_stopped(question):
    seen = []
    compare.answer(question, "RISE", seen.append)
    assert METHODS["RISE"].pictures <= sum(seen) <= METHODS["RISE"].pictures + compare.POINTS + 8

    def stop(pictures):
        seen.append(pictures)
        if len(seen) == 3:
            raise compare.Stopped

    seen.clear()
    with pytest.raises(compare.Stopped):
        compare.answer(question, "RISE", stop)
    assert len(seen) == 3 and "forward" not in vars(question.network.model)


def test_without_a_layer_only_cams_give_up(question):
    bare = compare.Question(question.network, question.title, question.image, question.target, None)
    assert "no layer is known for smallcnn_shape; name one" == compare.answer(bare, "Grad-CAM").problem
    assert compare.answer(bare, "saliency").scores


def test_hiding_nothing_all_and_half(question):
    nothing, everything = torch.zeros(64, 64), torch.ones(64, 64)
    p = question.probabilities()[question.target].item()
    said = hiding.reply(question, nothing, "black")
    assert said.before == said.after == pytest.approx(p) and said.drop == said.gain == 0
    with torch.no_grad():
        black = question.network.model(torch.zeros(1, 3, 64, 64)).softmax(1)[0]
    assert hiding.reply(question, everything, "black").after == pytest.approx(black[question.target].item(), abs=1e-6)
    assert hiding.hide(question.image, everything, "its mean colour").std((2, 3)).max() < 1e-6
    half = nothing.clone()
    half[:, 32:] = 1
    seen = hiding.hide(question.image, half, "a blur of it")
    assert seen[..., :32].equal(question.image[..., :32]) and not seen[..., 32:].equal(question.image[..., 32:])
    with pytest.raises(ValueError, match="substrate must be one of black, its mean colour"):
        hiding.hide(question.image, half, "pink")


def test_the_saved_picture_has_its_caption(question):
    answers = [compare.answer(question, name) for name in ("Grad-CAM", "rollout")]
    figure = picture(question, answers)
    assert "Grad-CAM: AD" in figure.alt and "rollout: not here" in figure.alt
    with Image.open(io.BytesIO(png(figure))) as saved, Image.open(io.BytesIO(figure.encoded())) as shown:
        assert saved.format == "PNG" and saved.height > shown.height + 40
        assert saved.info["Description"] == figure.alt
        assert np.asarray(saved.convert("L"))[-60:].min() < 100  # letters
    (caption,) = (text.get_text() for text in figure.texts if "Network" in text.get_text())
    for word in ("planted scene 1", question.network.classes[question.target], SMALL, "stages.2"):
        assert word in caption


# --- the workbench itself, without a browser --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bench():
    made = Workbench("planted scene 1", SMALL)
    assert made.wait()
    return made


@pytest.fixture(autouse=True)
def _no_trace_of_other_tests(request):
    yield
    if "bench" in request.fixturenames:
        request.getfixturevalue("bench").wait()


def upload(bench, name, content):
    bench.upload.set_trait("name", name)
    bench.upload.bytes, bench.upload.content = len(content), content
    bench.upload.count += 1
    assert bench.wait()


def test_it_begins_with_an_answer(bench):
    assert [one.method for one in bench.answers] == ["Grad-CAM", "Layer-CAM", "integrated gradients"]
    assert all(one.scores for one in bench.answers) and "3 methods" in bench.status
    assert "Save the picture" in bench.save.value and len(bench.guesses.children) == 5
    assert {"stages.0", "stages.2"} <= set(bench.layer.options) and not any("net" in one for one in bench.layer.options)


def test_another_class_is_another_answer(bench):
    before = bench.answers[0].heat
    bench.guesses.children[2].click()
    assert bench.wait() and not bench.answers[0].heat.equal(before)
    bench.asked.value = "0"
    assert bench.wait() and bench.question.target == 0
    bench.asked.value = "unicorn"
    assert bench.wait() and "no class 'unicorn'" in bench.status and bench.question.target == 0


def test_six_methods_at_most(bench):
    for name in ("saliency", "edges only", "Fake-CAM"):
        bench.methods[name].value = True
    assert bench.wait() and len(bench.answers) == MOST
    assert bench.methods["RISE"].disabled and not bench.methods["saliency"].disabled
    for name in ("saliency", "edges only", "Fake-CAM"):
        bench.methods[name].value = False
    assert bench.wait() and not bench.methods["RISE"].disabled


def begin_rise(bench) -> None:
    begun = threading.Event()
    bench._said.observe(lambda change: "RISE: the network has seen" in change.new and begun.set(), names="value")
    bench.methods["RISE"].value = True
    assert begun.wait(60)


def test_a_slow_method_can_be_stopped(bench):
    begin_rise(bench)
    bench.stop.click()
    assert bench.wait() and "Stopped: 3 of 4 methods" in bench.status
    bench.methods["RISE"].value = False
    assert bench.wait() and "3 methods" in bench.status


def test_what_comes_while_a_slow_method_runs_is_not_lost(bench):
    begin_rise(bench)
    bench.methods["edges only"].value = True
    bench.brush.mask = bytes([255]) * (64 * 64)
    bench.brush.asked += 1
    assert bench.wait() and [one.method for one in bench.answers][-2:] == ["RISE", "edges only"]
    assert bench.brush.reply["asked"] == bench.brush.asked
    for name in ("RISE", "edges only"):
        bench.methods[name].value = False
    assert bench.wait() and "3 methods" in bench.status


def test_the_brush_is_answered(bench):
    bench.brush.mask = bytes(64 * 64)
    bench.brush.asked += 1
    assert bench.wait() and bench.brush.reply["after"] == bench.brush.reply["before"]
    bench.brush.mask = bytes([255]) * (64 * 64)
    bench.brush.asked += 1
    assert bench.wait() and bench.brush.reply["after"] != bench.brush.reply["before"]


def test_uploads(bench):
    before = bench.question
    upload(bench, "essay.docx", b"no image")
    assert "essay.docx is not an image" in bench.status and 'role="alert"' in bench._said.value
    assert bench.question is before
    upload(bench, "red.jpg", file(flat()))
    assert bench.question.title == "red.jpg" and "no PNG file" in bench.notes.value
    bench.upload.set_trait("name", "film.png")
    bench.upload.bytes = 31_000_000
    bench.upload.count += 1
    assert bench.wait() and "film.png has 31 MB, more than the 8 that can be sent" in bench.status
    bench.photographs.value = "planted scene 2"
    assert bench.wait() and bench.question.title == "planted scene 2"


def test_networks_that_cannot_be_had_leave_the_one_before(bench, monkeypatch):
    bench.names.value = "resnet999"
    assert bench.wait() and "no network 'resnet999'" in bench.status and bench.network.name == SMALL

    def unreachable(name, *, random=False):
        if random:
            return real(SMALL, random=True)
        raise RuntimeError(f"could not get the weights of {name!r}")

    real = networks.opened
    monkeypatch.setattr(networks, "opened", unreachable)
    bench.names.value = "resnet50.tv_in1k"
    assert bench.wait() and "could not get the weights" in bench.status and bench.network.name == SMALL
    assert bench.random.layout.display == ""  # random weights are offered, not taken
    bench.random.click()
    assert bench.wait() and bench.network.random and "random weights" in bench.figure.alt
    monkeypatch.undo()
    bench.names.value = SMALL
    assert bench.wait() and not bench.network.random


def test_a_layer_that_is_not_there(bench):
    bench.layer.value = "stages.9"
    assert bench.wait() and "stages.9" in bench.status
    bench.layer.value = "stages.1"
    assert bench.wait() and bench.question.layer == "stages.1" and all(one.scores for one in bench.answers)
