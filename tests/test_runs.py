"""Named trainings: they learn, they go on where they stopped, and what is shipped is what its card says."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pandas
import pytest
import torch
from PIL import Image
from torch import Generator

from xailib import runs
from xailib.__main__ import main
from xailib.data import PlantedScenes, datasets
from xailib.models import load, shipped
from xailib.runs import RUNS, STUDIES, judges, train
from xailib.runs.report import markdown, published, summary
from xailib.runs.train import built
from xailib.training import evaluate

needs_fashion = pytest.mark.skipif(not datasets.DEBIAN.exists(), reason="needs Debian's dataset-fashion-mnist")


# --- what comes with the course ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", shipped.SHIPPED)
def test_a_shipped_network_is_as_accurate_as_its_card_says(name):
    model, card = load(name), shipped.card(name)
    assert card["bytes"] == (shipped.FOLDER / f"{name}.safetensors").stat().st_size < 3_000_000
    assert card["command"] == f"python -m xailib train {name} --profile {card['profile']} --seed {card['seed']}"
    assert {"machine", "date", "commit", "versions", "data", "recipe"} <= card.keys()
    tests = RUNS[name].data("laptop", None).tests
    assert tests.keys() == card["accuracy"].keys()
    for test, scenes in tests.items():  # new scenes of the same kind: 256 of them tell 5 points
        correlation = {"marker": 0.95 if test == "test" else 0} if "broken" in tests else None
        cue = "colour" if name == "vit_colour" else "shape"
        fresh = PlantedScenes(256, evidence=cue, generator=Generator().manual_seed(99), correlation=correlation)
        assert evaluate(model, fresh).accuracy == pytest.approx(card["accuracy"][test], abs=0.08), test
        assert len(scenes) >= 2000


def test_parts_on_a_shipped_network_are_on_that_network():
    for name in ("ca_stream_shape", "dpnet_shape"):
        below, alone = load(name).backbone.state_dict(), load("smallcnn_shape").state_dict()
        assert all(torch.equal(below[key], alone[key]) for key in alone)


def test_damaged_or_missing_weights_are_refused(tmp_path, monkeypatch):
    for file in shipped.FOLDER.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    file = tmp_path / "vit_colour.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(
        RuntimeError, match="vit_colour.safetensors is damaged: its SHA-256 .* python -m xailib train vit_colour"
    ):
        load("vit_colour")
    file.unlink()
    with pytest.raises(RuntimeError, match="is missing"):
        load("vit_colour")
    assert not torch.equal(load("vit_colour", pretrained=False).head.weight, torch.zeros(5, 96))


# --- trainings --------------------------------------------------------------------------------------------------------


def test_a_run_depends_on_its_seed_only(tmp_path):
    run, chance = RUNS["smallcnn_shape"], torch.get_rng_state()
    one, again, other = (train(run, "quick", seed=seed, progress=False) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), chance)
    assert torch.equal(one.model.fc.weight, again.model.fc.weight)
    assert not torch.equal(one.model.fc.weight, other.model.fc.weight)
    assert one.recipe["seed"] == 0 and one.data == "planted scenes, evidence shape, 64 pixels"


def test_only_the_stream_and_the_parts_learn():
    backbone = load("smallcnn_shape").state_dict()
    for name, part in {"ca_stream_shape": "stream.", "dpnet_shape": ("U", "V.")}.items():
        trained, new = train(RUNS[name], "quick", progress=False).model, built(RUNS[name], 0)
        assert all(torch.equal(trained.backbone.state_dict()[key], value) for key, value in backbone.items())
        changed = [key for key, value in trained.state_dict().items() if not torch.equal(value, new.state_dict()[key])]
        assert changed and all(key.startswith(part) for key in changed)


def test_a_run_without_recipes_is_judged_as_it_is():
    found = train(replace(RUNS["smallcnn_shape"], network=lambda: load("smallcnn_shape"), recipes={}), "quick")
    assert found.accuracy["test"] > 0.9 and found.seconds == 0 and found.history.empty


def test_the_command_trains_saves_and_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XAILIB_RESULTS", str(tmp_path))
    monkeypatch.setenv("XAILIB_PROFILE", "quick")
    monkeypatch.setenv("XAILIB_RUNS", str(tmp_path / "runs"))
    assert main(["train", "smallcnn_shape", "--seed", "3"]) == 0
    first = capsys.readouterr().out
    record = json.loads((tmp_path / "train_smallcnn_shape.json").read_text())
    assert record["seed"] == 3 and record["parameters"] == 72_629 and record["accuracy"]["test"] >= 0
    monkeypatch.setattr(sys.modules["xailib.training.fit"]._Run, "epoch", None)  # it must not train again
    assert main(["train", "smallcnn_shape", "--seed", "3"]) == 0
    assert capsys.readouterr().out == first


def test_two_processes_train_the_same_stream_as_one(tmp_path):
    """The backbone is frozen, batch norm included, so sharing a batch changes nothing but rounding."""
    here = ("--nproc-per-node=2", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "--local-addr=127.0.0.1")
    device = {"GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0", "OMP_NUM_THREADS": "1"}
    histories = []
    for name, launcher in {"one": (), "two": ("-m", "torch.distributed.run", *here)}.items():
        where = {"XAILIB_RESULTS": str(tmp_path / name), "XAILIB_RUNS": str(tmp_path / f"runs of {name}")}
        words = (sys.executable, *launcher, "-m", "xailib", "train", "ca_stream_shape", "--profile", "quick")
        subprocess.run(words, env=os.environ | device | where, check=True, capture_output=True, timeout=300)
        histories.append(pandas.read_csv(tmp_path / name / "train_ca_stream_shape.csv"))
    for column in ("train_loss", "validation_loss"):
        one, two = (history[column].tolist() for history in histories)
        assert two == pytest.approx(one, abs=1e-4)


@pytest.mark.parametrize(
    "words, message",
    [
        (["train", "resnet18_cifar100"], "the profile full only, found 'quick'"),
        (["train", "smallcnn_fashion", "--ship"], "only these come with the course"),
        (["train", "smallcnn_fashion", "--root", "nowhere"], "Fashion-MNIST"),
        (["train", "smallcnn_shape", "--profile", "full"], "needs a CUDA GPU"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_sentence(words, message, monkeypatch, capsys):
    if "full" in words and torch.cuda.is_available():
        pytest.skip("here is a GPU")
    monkeypatch.setenv("XAILIB_PROFILE", "quick")
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2 and message in capsys.readouterr().err


def test_the_thesis_recipes_are_commands():
    assert {"resnet18_cifar100_denoised", "mobilenet_v2_cifar100_denoised"} <= RUNS.keys()
    recipe = RUNS["ca_stream_resnet50"].recipe("full")
    assert (recipe.epochs, recipe.batch, recipe.lr, recipe.milestones) == (90, 256, 0.1, (30, 60))
    assert RUNS["resnet18_cifar100_denoised"].loss.keywords == {"coefficient": 7.5e-3}
    assert RUNS["mobilenet_v2_cifar100_denoised"].loss.keywords == {"coefficient": 1e-3}
    assert {run.recipe("full").epochs for name, run in RUNS.items() if "cifar100" in name} == {200}
    with pytest.raises(ValueError, match="--root FOLDER"):
        RUNS["ca_stream_resnet50"].data("full", None)


# --- studies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ca_stream", "parts", pytest.param("denoising", marks=needs_fashion)])
def test_a_study_goes_on_where_it_stopped(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XAILIB_RESULTS", str(tmp_path))
    monkeypatch.setenv("XAILIB_PROFILE", "quick")
    some = dict(list(STUDIES[name].rows("quick", None).items())[:3])
    monkeypatch.setitem(STUDIES, name, replace(STUDIES[name], rows=lambda profile, root: some))
    table = runs.study(name, "quick", folder=tmp_path / "runs")
    assert set(table["row"]) == set(some) and not table.drop(columns="seconds").isna().any().any()
    monkeypatch.setattr(sys.modules["xailib.training.fit"]._Run, "epoch", None)  # neither trained nor judged again
    monkeypatch.setattr(sys.modules["xailib.benchmark.run"], "_judged", None)
    again = runs.study(name, "quick", folder=tmp_path / "runs")
    assert again.equals(table)
    assert "**The thesis, " in (tmp_path / f"study_{name}.md").read_text(encoding="utf-8")
    with Image.open(tmp_path / f"study_{name}.png") as picture:
        assert next(iter(some)) in picture.info["Description"]
    record = json.loads((tmp_path / f"study_{name}.json").read_text())
    assert record["seeds"] == [0] and len(record["data"]) == 1


def test_summary_is_mean_and_deviation_over_the_seeds():
    from pandas import DataFrame

    lines = [("a", 0, "x", 1.0), ("a", 1, "x", 3.0), ("b", 0, "x", 5.0), ("b", 1, "x", 5.0)]
    found = summary(DataFrame(lines, columns=["row", "seed", "method", "accuracy"]))
    assert found["accuracy"].to_dict() == {("a", "x"): "2 ± 1.4", ("b", "x"): "5"}


def test_the_thesis_tables_stand_below():
    from pandas import DataFrame

    accuracy = published("denoising")["4.1: CIFAR-100, accuracy"].set_index(["model", "error"])["acc"]
    assert accuracy["MobileNet-V2", "cosine"] == 62.36
    text = markdown("denoising", DataFrame({"row": ["a"], "seed": [0], "accuracy": [0.5]}), "made up")
    assert "| a | 0.5 |" in text and "| ResNet-18 | - | - | 73.42 |" in text
    assert all(published(name) for name in STUDIES)


def test_alignment_is_the_cosine_of_the_two_gradients():
    images, targets = torch.rand(2, 3, 64, 64), torch.tensor([0, 1])
    without_relu = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64 * 64, 5)).eval()
    assert torch.allclose(judges.alignment(without_relu, images, targets), torch.ones(2))
    assert (judges.alignment(load("smallcnn_shape"), images, targets) < 0.9).all()
