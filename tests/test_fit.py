"""Training by hand, interrupted, killed, and on two processes. Run as a script, this file is the process to kill."""

import json
import math
import os
import signal
import subprocess
import sys
from functools import partial
from itertools import product
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from xailib.training import Recipe, checkpoint, classification, evaluate, fit, interpretable_gradient_loss, load_weights

ROOT = Path(__file__).parents[1]
SMALL = Recipe(epochs=4, batch=8, lr=0.05, weight_decay=1e-3, milestones=(2,), warmup=0.5)
quiet = partial(fit, progress=False)


def data(n: int = 24, seed: int = 0) -> TensorDataset:
    """Images whose class is the colour that is brightest."""
    generator = torch.Generator().manual_seed(seed)
    images, labels = torch.rand(n, 3, 6, 6, generator=generator), torch.arange(n) % 3
    images[torch.arange(n), labels] += 0.5
    return TensorDataset(images.clamp(max=1), labels)


class Jittered(Dataset):
    """The same images, one at a time, with a random brightness; it writes down which were asked for."""

    def __init__(self, n: int = 24):
        self.data, self.asked = data(n), []

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        self.asked.append(index)
        image, label = self.data[index]
        return image * torch.rand(()), label, "evidence that training does not use"


def net(*, norm: bool = True, seed: int = 1) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        noise = [nn.BatchNorm2d(6), nn.Dropout(0.3)] if norm else []
        pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)]
        return nn.Sequential(nn.Conv2d(3, 6, 3), *noise, nn.ReLU(), *pooled)


def same(model, other) -> bool:
    mine, theirs = model.state_dict(), other if isinstance(other, dict) else other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def cross_entropy(model, images, labels):
    return F.cross_entropy(model(images), labels)


# --- the loop, by hand ------------------------------------------------------------------------------------------------


def test_learning_rates_of_the_thesis_by_hand():
    rate = partial(Recipe().learning_rate, steps=10)
    assert [rate(step) for step in (0, 4, 9, 10, 599)] == pytest.approx([0.01, 0.05, 0.1, 0.1, 0.1])
    assert [rate(step) for step in (600, 1200, 1599, 1600, 1999)] == pytest.approx([0.02, 0.004, 0.004, 8e-4, 8e-4])


def test_cosine_learning_rates_by_hand():
    rate = partial(Recipe(epochs=5, lr=2, schedule="cosine", warmup=1).learning_rate, steps=4)
    assert [rate(step) for step in (0, 3, 4, 12, 16)] == pytest.approx([0.5, 2, 2, 1, 1 - math.cos(math.pi / 4)])


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_by_hand(nesterov):
    """Three epochs of one batch each: v = 0.9 v + g + decay w, w = w - rate v (Nesterov: g + decay w + 0.9 v)."""
    train, model, reference = data(), net(norm=False), net(norm=False)
    recipe = Recipe(epochs=3, batch=24, lr=0.1, nesterov=nesterov, weight_decay=0.01, milestones=(2,), warmup=2)
    quiet(model, train, train, recipe=recipe)
    weights, v = list(reference.parameters()), [0.0] * 4
    for rate in (0.05, 0.1, 0.02):
        gradients = torch.autograd.grad(F.cross_entropy(reference(train.tensors[0]), train.tensors[1]), weights)
        with torch.no_grad():
            for i, (w, g) in enumerate(zip(weights, gradients, strict=True)):
                v[i] = 0.9 * v[i] + g + 0.01 * w
                w -= rate * (g + 0.01 * w + 0.9 * v[i] if nesterov else v[i])
    for w, expected in zip(model.parameters(), weights, strict=True):
        assert torch.allclose(w, expected, atol=1e-6)


def test_every_epoch_has_an_order_of_its_own_that_depends_on_seed_and_epoch_only():
    orders = {}
    for seed in (0, 1):
        train = Jittered()
        torch.manual_seed(seed + 5)
        quiet(net(), train, data(), recipe=Recipe(epochs=3, batch=8, seed=seed))
        orders[seed] = [train.asked[i : i + 24] for i in (0, 24, 48)]
    epochs = orders[0] + orders[1]
    assert all(sorted(epoch) == list(range(24)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 6
    again = Jittered()
    quiet(net(), again, data(), recipe=Recipe(epochs=1, batch=5, seed=1))
    assert again.asked == orders[1][0]


def test_the_caller_keeps_its_chance_and_does_not_touch_ours():
    torch.manual_seed(3)
    expected, models = torch.rand(2), []
    for _ in range(2):
        models.append(net())
        torch.manual_seed(3 + len(models) // 2)
        quiet(models[-1], Jittered(), data(), recipe=SMALL)
        if len(models) == 1:
            assert torch.equal(torch.rand(2), expected)
    assert same(*models)


def test_a_batch_taken_at_once_is_its_images_one_by_one():
    class Plain(Dataset):
        def __len__(self):
            return 24

        def __getitem__(self, index):
            return data()[index]

    models = [net(), net()]
    for model, train in zip(models, (data(), Plain()), strict=True):
        quiet(model, train, data(), recipe=SMALL)
    assert same(*models)


def test_history_says_what_happened():
    train, validation, model = data(), data(30, seed=1), net()
    history = quiet(model, train, validation, recipe=SMALL)
    assert [*history] == [
        *("epoch", "lr", "train_loss", "train_accuracy", "validation_accuracy", "validation_loss", "seconds")
    ]
    assert history.epoch.tolist() == [1, 2, 3, 4] and history.lr.tolist() == pytest.approx([0.05, 0.05, 0.01, 0.01])
    judged = evaluate(model, validation)
    assert history.validation_accuracy.iloc[-1] == judged.accuracy
    assert history.validation_loss.iloc[-1] == judged.loss
    assert history.train_loss.iloc[-1] < history.train_loss.iloc[0]
    assert not model.training


def test_means_of_an_epoch_count_images_not_batches():
    """With a rate of nearly 0 the mean over batches of 16, 16 and 4 is that of the whole set."""
    train, model = data(36), net(norm=False)
    history = quiet(model, train, train, recipe=Recipe(epochs=1, batch=16, lr=1e-12))
    assert history.train_loss[0] == pytest.approx(history.validation_loss[0], rel=1e-5)
    assert history.train_accuracy[0] == pytest.approx(history.validation_accuracy[0])


# --- evaluation -------------------------------------------------------------------------------------------------------


class Colours(nn.Module):
    """Logits are the mean colours; one parameter, so that it has a device."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(self.scale * x.mean((2, 3)))


def test_evaluation_by_hand():
    images = torch.tensor([[2.0, 0, 0], [0, 1, 0], [0, 0, 0.5]])[..., None, None]
    model = Colours().train()
    model.drop.eval()
    found = evaluate(model, TensorDataset(images, torch.tensor([0, 1, 0])), batch=2)
    losses = [math.log(math.exp(2) + 2) - 2, math.log(math.e + 2) - 1, math.log(math.exp(0.5) + 2)]
    assert found.accuracy == pytest.approx(2 / 3) and found.loss == pytest.approx(sum(losses) / 3)
    assert model.training and not model.drop.training


def test_many_labels_by_hand():
    images = torch.tensor([[2.0, -1, 0.5], [-3, -1, -2]])[..., None, None]
    labels = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
    found = evaluate(Colours(), TensorDataset(images, labels))
    logits = (2, 1, -0.5, 3, -1, 2)  # in favour of what is true
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.loss == pytest.approx(sum(math.log(1 + math.exp(-logit)) for logit in logits) / 6)


# --- parts that are not trained, other losses, other precisions -------------------------------------------------------


class Frozen(nn.Module):
    """A frozen body, kept in evaluation mode by the network's own `train`, and a head to train."""

    def __init__(self):
        super().__init__()
        self.body, self.head = net()[:4].requires_grad_(False), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))

    def train(self, mode: bool = True):
        super().train(mode)
        self.body.eval()
        return self


def test_a_model_in_evaluation_mode_is_trained_in_training_mode():
    models = [net(), net().eval()]
    for model in models:
        quiet(model, data(), data(), recipe=SMALL)
    assert same(*models) and not same(models[0][1], net()[1])


def test_a_frozen_body_stays_bit_identical():
    model = Frozen()
    head = model.head.weight.clone()
    quiet(model, data(), data(), recipe=SMALL)
    assert same(model.body, net()[:4]) and not torch.equal(model.head.weight, head)


def test_denoising_is_a_loss_like_any_other():
    loss = partial(interpretable_gradient_loss, coefficient=0.5)
    models = [net(), net()]
    history = quiet(models[0], data(), data(), recipe=SMALL, loss=loss)
    quiet(models[1], data(), data(), recipe=SMALL)
    parts = history.train_classification + 0.5 * history.train_regularisation
    assert history.train_loss.tolist() == pytest.approx(parts.tolist()) and not same(*models)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_and_channels_last_learn_too(precision, tmp_path):
    losses = {}
    for recipe in (Recipe(epochs=6, batch=8, lr=0.1), Recipe(6, 8, lr=0.1, precision=precision, channels_last=True)):
        history = quiet(net(norm=False), data(), data(), recipe=recipe, folder=tmp_path / recipe.precision)
        losses[recipe.precision] = torch.tensor(history.train_loss.tolist())
    assert torch.allclose(losses[precision], losses["float32"], atol=0.02)
    assert not torch.equal(losses[precision], losses["float32"])
    scale = json.loads((tmp_path / precision / "state.json").read_text())["scaler"]
    assert scale == {} if precision == "bf16" else scale["scale"] > 1


# --- files ------------------------------------------------------------------------------------------------------------


def test_best_and_last_are_kept(tmp_path):
    model = net(norm=False)
    quiet(model, data(), data(), recipe=Recipe(epochs=8, batch=8, lr=0.1))  # a good start ...
    history = quiet(
        model, data(), data(), recipe=SMALL, loss=lambda *step: -cross_entropy(*step), folder=tmp_path
    )  # ... and downhill from there
    assert history.validation_accuracy.is_monotonic_decreasing and history.validation_accuracy.nunique() > 1
    assert evaluate(load_weights(net(norm=False), tmp_path), data()).accuracy == history.validation_accuracy.max()
    assert same(load_weights(net(norm=False), tmp_path, "last"), model)
    best = checkpoint.best_epoch(history.to_dict("records"))
    weights = {f"weights-{epoch:04}.safetensors" for epoch in (best, 4)}
    assert {file.name for file in tmp_path.iterdir()} == weights | {"state.json", "optimizer-0004.safetensors"}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("precision", ["float32", "fp16"])
def test_interrupted_and_called_again(optimizer, precision, tmp_path):
    recipe = Recipe(4, 8, optimizer, lr=0.01, milestones=(2,), warmup=0.5, precision=precision, channels_last=True)
    whole, broken = net(), net()
    expected = quiet(whole, Jittered(), data(), recipe=recipe, folder=tmp_path / "whole")

    def interrupted(model, images, labels, seen=[]):  # noqa: B006 - it counts the calls
        seen.append(1)
        if len(seen) == 8:
            raise KeyboardInterrupt
        return classification(model, images, labels)

    interrupted.__qualname__ = classification.__qualname__
    with pytest.raises(KeyboardInterrupt):
        quiet(broken, Jittered(), data(), recipe=recipe, loss=interrupted, folder=tmp_path / "broken")
    again = net(seed=9)
    history = quiet(again, Jittered(), data(), recipe=recipe, folder=tmp_path / "broken")
    assert same(again, whole)
    assert history.drop(columns="seconds").equals(expected.drop(columns="seconds"))
    scalers = [json.loads((tmp_path / name / "state.json").read_text())["scaler"] for name in ("whole", "broken")]
    assert scalers[0] == scalers[1]
    finished = net(seed=9)
    assert quiet(finished, Jittered(), data(), recipe=recipe, folder=tmp_path / "broken").equals(history)
    assert same(finished, whole)


def killed(folder: Path, moment: str) -> None:
    """Trains, and kills this process in the third of four epochs: between two steps, or before its state is written."""
    steps, replace = [], os.replace

    def loss(model, images, labels):
        steps.append(1)
        if moment == "training" and len(steps) == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        return cross_entropy(model, images, labels)

    def replace_or_die(part, file):
        if moment == "writing" and file.name == "state.json" and len(steps) == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(part, file)

    loss.__qualname__ = cross_entropy.__qualname__
    os.replace = replace_or_die
    quiet(net(), Jittered(), data(), recipe=SMALL, loss=loss, folder=folder)


def run(*command: str | Path, **options) -> subprocess.CompletedProcess:
    env = os.environ | {"PYTHONPATH": str(ROOT), "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0"}
    return subprocess.run([sys.executable, *map(str, command)], env=env, capture_output=True, text=True, **options)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 here")
@pytest.mark.parametrize("moment", ["training", "writing"])
def test_kill_9_costs_at_most_one_epoch_and_not_a_bit(moment, tmp_path):
    done = run(__file__, "killed", tmp_path, moment, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(json.loads((tmp_path / "state.json").read_text())["history"]) == 2
    again, whole = net(seed=9), net()
    quiet(again, Jittered(), data(), recipe=SMALL, loss=cross_entropy, folder=tmp_path)
    quiet(whole, Jittered(), data(), recipe=SMALL, loss=cross_entropy)
    assert same(again, whole)


# --- two processes ----------------------------------------------------------------------------------------------------

DENOISING = partial(interpretable_gradient_loss, coefficient=0.5, fraction=0.5)
LOSSES = {"classification": classification, "denoising": partial(interpretable_gradient_loss, coefficient=0.5)}


def trained(folder: Path) -> None:
    """Trains with each of the losses, and batch norm once more, as one of any number of processes."""
    for name, loss in LOSSES.items():
        quiet(net(norm=False), data(), data(31), recipe=SMALL, loss=loss, folder=folder / name)
    quiet(net(), Jittered(), data(31), recipe=SMALL, loss=DENOISING, folder=folder / "norm")


def test_two_processes_train_as_one(tmp_path):
    here = ("--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "--local-addr=127.0.0.1")  # works without a network
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node=2", *here)
    done = run(*torchrun, __file__, "trained", tmp_path / "two", timeout=300)
    assert done.returncode == 0, done.stderr
    for name, loss in LOSSES.items():
        alone = net(norm=False)
        history = quiet(alone, data(), data(31), recipe=SMALL, loss=loss)
        for key, value in load_file(tmp_path / "two" / name / "weights-0004.safetensors").items():
            assert torch.allclose(value, alone.state_dict()[key], atol=1e-6), (name, key)
        found = json.loads((tmp_path / "two" / name / "state.json").read_text())["history"]
        for row, expected in zip(found, history.to_dict("records"), strict=True):
            assert row | {"seconds": 0} == pytest.approx(expected | {"seconds": 0}, rel=1e-4)
    assert (tmp_path / "two" / "norm" / "weights-0004.safetensors").exists()


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, words",
    [
        ({"optimizer": "lion"}, "optimizer must be one of sgd, adamw, found 'lion'"),
        ({"schedule": "step"}, "schedule must be one of"),
        ({"precision": "int8"}, "precision must be one of"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"lr": 0}, "lr must be above 0"),
    ],
)
def test_recipes_that_make_no_sense(options, words):
    with pytest.raises(ValueError, match=words):
        Recipe(**options)


def test_a_run_of_another_kind_is_not_continued(tmp_path):
    quiet(net(), data(), data(), recipe=SMALL, folder=tmp_path, loss=LOSSES["denoising"])
    for change in (
        {"recipe": Recipe(epochs=5, batch=8)},
        {"loss": classification},
        {"loss": partial(interpretable_gradient_loss, coefficient=0.4)},
        {"train": data(23)},
    ):
        options = {"train": data(), "recipe": SMALL, "loss": LOSSES["denoising"]} | change
        with pytest.raises(ValueError, match="holds another run"):
            quiet(net(), validation=data(), folder=tmp_path, **options)


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


DAMAGES = {
    "cut off": lambda file: file.write_bytes(file.read_bytes()[:-9]),
    "not of this kind": lambda file: file.write_text("[1, 2]"),
    "a pickle": lambda file: torch.save(Trap(file.with_name("trapped")), file),
    "missing": lambda file: file.unlink(),
}


FILES = ("weights-0004.safetensors", "optimizer-0004.safetensors", "state.json")  # without the last there is no run


@pytest.mark.parametrize(("name", "damage"), [*product(FILES, DAMAGES)][:-1])
def test_a_damaged_run_is_refused_with_a_sentence(name, damage, tmp_path):
    quiet(net(), data(), data(), recipe=SMALL, folder=tmp_path)
    DAMAGES[damage](tmp_path / name)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    model, untouched = net(), net()
    with pytest.raises(ValueError, match=f"{name} is missing, damaged, or .* delete .* to train anew"):
        quiet(model, data(), data(), recipe=SMALL, folder=tmp_path)
    if not name.startswith("optimizer"):
        with pytest.raises(ValueError, match="to train anew"):
            load_weights(model, tmp_path, "last")
    assert same(model, untouched) and {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert not (tmp_path / "trapped").exists()


def test_what_cannot_be_trained_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nothing to train"):
        quiet(net().requires_grad_(False), data(), data())
    with pytest.raises(ValueError, match="not finite in epoch 1"):
        quiet(net(), data(), data(), loss=lambda *step: cross_entropy(*step) / 0, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="the data set is empty"):
        evaluate(net(), data(0))
    with pytest.raises(ValueError, match="the data set is empty"):
        quiet(net(), data(0), data())
    with pytest.raises(FileNotFoundError, match="no training run"):
        load_weights(net(), tmp_path)
    with pytest.raises(ValueError, match="'best' or 'last'"):
        load_weights(net(), tmp_path, "first")


if __name__ == "__main__":
    {"killed": killed, "trained": trained}[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
