"""Gradient denoising against numbers by hand, theorems, and a version with two forward passes written out here."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from cases import batch, tiny
from torch import nn

from xailib.training import interpretable_gradient_loss
from xailib.training.denoising import ERRORS, HISTOGRAMS, gradients


def two(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def double(b: int = 4, size: int = 12):
    images, targets = batch(b, size)
    return images.double(), targets


def net(act=nn.ReLU, norm: bool = True, seed: int = 2):
    """Two convolutions whose activations lie below 0, between, and above 6."""
    torch.manual_seed(seed)
    norms = [nn.BatchNorm2d(8) if norm else nn.Identity() for _ in range(2)]
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), norms[0], act(), nn.Conv2d(8, 8, 3), norms[1], act(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    ).double()  # fmt: skip
    with torch.no_grad():
        for module in model:
            if isinstance(module, nn.BatchNorm2d) or not norm and isinstance(module, nn.Conv2d):
                module.weight.mul_(8)
    return model.train()


def parameter_gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


# --- errors by hand ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "measure, value",
    [
        (ERRORS["mae"], 1), (ERRORS["mse"], 1), (ERRORS["cosine"], -0.8), (ERRORS["hi"], -2 / 3),
        (HISTOGRAMS["normalized"], -2 / 3), (HISTOGRAMS["thesis"], -2 / 9),
    ],
)  # fmt: skip
def test_errors_by_hand(measure, value):
    assert torch.allclose(measure(two((1, 2), (-1, 2)), two((2, 1), (-2, 1))), two(value))


def test_errors_of_unequal_entries_by_hand():
    standard, guided = two((1, -2, 0, 5)), two((3, 2, 0, 1))
    assert ERRORS["mae"](standard, guided).item() == 2.5  # (2 + 4 + 0 + 4) / 4
    assert ERRORS["mse"](standard, guided).item() == 9  # (4 + 16 + 0 + 16) / 4
    assert ERRORS["cosine"](standard, guided).item() == pytest.approx(-4 / 420**0.5)  # 3 - 4 + 5, |.|^2 = 30 and 14
    assert ERRORS["hi"](standard, guided).item() == pytest.approx(-(1 / 8 + 2 / 8 + 1 / 6))  # of eighths and sixths
    assert HISTOGRAMS["thesis"](standard, guided).item() == pytest.approx(-4 / 48)


@pytest.mark.parametrize("scale", [3.0, 1e-9])
def test_cosine_and_histogram_see_direction_only(scale):
    standard = two((1, -2, 3))
    for name in ("cosine", "hi"):
        assert ERRORS[name](standard, scale * standard).item() == pytest.approx(-1)
        assert ERRORS[name](scale * standard, standard).item() == pytest.approx(-1)
    assert ERRORS["mae"](standard, standard).item() == 0


@pytest.mark.parametrize("measure", [ERRORS["cosine"], ERRORS["hi"], HISTOGRAMS["thesis"]])
def test_a_vanished_gradient_costs_nothing_and_pulls_nowhere(measure):
    for standard, guided in ((two((0, 0)), two((1, 2))), (two((1, 2)), two((0, 0)))):
        standard.requires_grad_()
        found = measure(standard, guided)
        found.sum().backward()
        assert found.item() == 0 and standard.grad.tolist() == [[0, 0]]


# --- the loss ---------------------------------------------------------------------------------------------------------


def two_forwards(model, images, targets, error, coefficient, guided_of="loss", scale=1.0):
    """The same loss the long way: delta and delta^G from a forward pass each, the second with guided modules."""
    x = images.clone().requires_grad_()
    losses = F.cross_entropy(model(x), targets, reduction="none")
    standard = torch.autograd.grad(scale * losses.sum(), x, create_graph=True)[0]
    other, x = copy.deepcopy(model), images.clone().requires_grad_()
    for module in other.modules():
        if isinstance(module, (nn.ReLU, nn.ReLU6)):
            module.register_full_backward_hook(lambda module, inputs, outputs: (inputs[0].clamp(min=0),))
    logits = other(x)
    if guided_of == "loss":
        F.cross_entropy(logits, targets, reduction="sum").backward()
    else:
        logits.gather(1, targets[:, None]).sum().backward()
    guided = scale * (x.grad if guided_of == "loss" else -x.grad)
    measure = HISTOGRAMS["thesis"] if error == "thesis" else ERRORS[error]
    return losses.mean() + coefficient * measure(standard.flatten(1), guided.flatten(1)).mean()


@pytest.mark.parametrize("act", [nn.ReLU, nn.ReLU6])
@pytest.mark.parametrize("error", ["cosine", "mae", "mse", "hi", "thesis"])
def test_one_graph_is_two_forward_passes(act, error):
    model, (images, targets) = net(act), double()
    expected = two_forwards(model, images, targets, error, 0.5)
    options = {"error": "hi", "hi": "thesis"} if error == "thesis" else {"error": error}
    found = interpretable_gradient_loss(model, images, targets, coefficient=0.5, **options)
    assert torch.allclose(found.total, expected)
    expected = parameter_gradients(model, expected)
    assert torch.allclose(parameter_gradients(model, found.total), expected)
    assert not torch.allclose(parameter_gradients(model, F.cross_entropy(model(images), targets)), expected, rtol=0.01)


def test_convolutions_of_all_kinds_are_differentiated_twice():
    torch.manual_seed(4)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=(2, 1), padding=(1, 0), bias=False), nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, dilation=2, groups=2), nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding="same"), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.Flatten(), nn.LazyLinear(4),
    ).double()  # fmt: skip
    images, targets = double()
    model(images)
    model[0].weight.requires_grad_(False)
    expected = torch.autograd.grad(
        two_forwards(model, images, targets, "cosine", 0.5), [w for w in model.parameters() if w.requires_grad]
    )
    found = interpretable_gradient_loss(model, images, targets, coefficient=0.5).total
    found = torch.autograd.grad(found, [w for w in model.parameters() if w.requires_grad])
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_logit_guided_and_mean_reduction():
    model, (images, targets) = net(), double()
    of_logit = interpretable_gradient_loss(model, images, targets, coefficient=1, guided_of="logit")
    assert torch.allclose(of_logit.total, two_forwards(model, images, targets, "cosine", 1, "logit"))
    of_loss = interpretable_gradient_loss(model, images, targets, coefficient=1)
    assert not torch.allclose(of_logit.regularisation, of_loss.regularisation, rtol=0.01)
    for error, power in (("cosine", 0), ("mae", 1), ("mse", 2)):  # delta carries 1/n under the mean
        whole, mean = (
            interpretable_gradient_loss(model, images, targets, error=error, grad_reduction=reduction).regularisation
            for reduction in ("sum", "mean")
        )
        assert torch.allclose(mean, whole / 4**power)


def test_the_record_adds_up():
    model, (images, targets) = net(), double()
    found = interpretable_gradient_loss(model, images, targets, coefficient=0.25)
    assert torch.allclose(found.classification, F.cross_entropy(model(images), targets))
    assert torch.allclose(found.total, found.classification + 0.25 * found.regularisation)
    assert -1 < found.regularisation < 1 and abs(found.regularisation) > 1e-3


@pytest.mark.parametrize("error", [*ERRORS])
def test_coefficient_0_gives_the_plain_gradients(error):
    model, (images, targets) = net(), double()
    found = interpretable_gradient_loss(model, images, targets, error=error, coefficient=0)
    assert torch.equal(
        parameter_gradients(model, found.total), parameter_gradients(model, F.cross_entropy(model(images), targets))
    )


def test_without_a_relu_guided_is_plain():
    model, (images, targets) = net(nn.Tanh), double()
    assert interpretable_gradient_loss(model, images, targets).regularisation.item() == pytest.approx(-1)
    found = interpretable_gradient_loss(model, images, targets, error="mse")
    assert found.regularisation.item() == 0
    model.zero_grad()
    found.regularisation.backward()
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize("act", [nn.ReLU, nn.ReLU6, partial(nn.ReLU, inplace=True), partial(nn.ReLU6, inplace=True)])
def test_guided_differs_from_plain_and_is_a_constant(act):
    _, standard, guided = gradients(net(act), *double())
    assert standard.requires_grad and not guided.requires_grad
    assert (standard - guided).norm() > 0.3 * standard.norm()


@pytest.mark.parametrize("name", ["resnet18_cifar", "mobilenet_v2_cifar"])
def test_guided_differs_from_plain_on_the_networks_of_the_thesis(name):
    models = pytest.importorskip("xailib.models.convnets")
    torch.manual_seed(0)
    model, (images, targets) = getattr(models, name)(10).train(), batch(4, 32)
    _, standard, guided = gradients(model, images, targets)
    assert (standard - guided).norm() > 0.3 * standard.norm()


def test_gradients_of_the_sum_do_not_depend_on_the_batch():
    model, (images, targets) = net(norm=False), double()
    whole = gradients(model, images, targets)
    alone = gradients(model, images[2:3], targets[2:3])
    for one, all in zip(alone, whole, strict=True):
        assert torch.allclose(one, all[2:3])


def test_a_fraction_regularises_the_first_images():
    model, (images, targets) = net(norm=False), double(b=5)
    found = interpretable_gradient_loss(model, images, targets, fraction=0.4)
    part = interpretable_gradient_loss(model, images[:2], targets[:2])
    whole = F.cross_entropy(model(images), targets)
    assert torch.allclose(found.classification, whole)
    assert torch.allclose(found.total, whole + 7.5e-3 * part.regularisation)
    expected = parameter_gradients(model, whole + 7.5e-3 * part.regularisation)
    assert torch.allclose(parameter_gradients(model, found.total), expected)


def test_one_step_against_the_loss_denoises():
    """Small steps along the regulariser alone bring the two gradients together."""
    model, (images, targets) = net(norm=False), double()
    optimizer, course = torch.optim.SGD(model.parameters(), lr=0.01), []
    for _ in range(10):
        found = interpretable_gradient_loss(model, images, targets).regularisation
        optimizer.zero_grad()
        found.backward()
        optimizer.step()
        course.append(found.item())
    assert course == sorted(course, reverse=True) and course[-1] < course[0] - 0.01


def test_bfloat16_autocast_is_near_float32():
    model, (images, targets) = net(norm=False).float(), batch(4, 12)
    expected = interpretable_gradient_loss(model, images, targets, coefficient=0.5)
    plain = parameter_gradients(model, F.cross_entropy(model(images), targets))
    expected_gradients = parameter_gradients(model, expected.total)
    with torch.autocast("cpu", torch.bfloat16):
        found = interpretable_gradient_loss(model, images, targets, coefficient=0.5)
    assert found.total.dtype == torch.float32
    assert found.regularisation.item() == pytest.approx(expected.regularisation.item(), abs=0.05)
    found = parameter_gradients(model, found.total)
    assert (found - expected_gradients).norm() < 0.3 * (plain - expected_gradients).norm()


def test_images_and_their_gradients_are_left_alone():
    model, (images, targets) = net(), double()
    before = images.clone()
    interpretable_gradient_loss(model, images, targets).total.backward()
    assert torch.equal(images, before) and not images.requires_grad and images.grad is None


@pytest.mark.parametrize(
    "options, words",
    [
        ({"error": "l1"}, "error must be one of cosine, mae, mse, hi, found 'l1'"),
        ({"hi": "raw"}, "hi must be one of"),
        ({"guided_of": "prob"}, "guided_of must be one of loss, logit"),
        ({"grad_reduction": "none"}, "grad_reduction must be one of"),
        ({"fraction": 0}, "fraction must be"),
        ({"fraction": 1.5}, "fraction must be"),
    ],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        interpretable_gradient_loss(net(), *double(), **options)


def test_what_cannot_be_guided_or_has_no_gradient_is_refused():
    with pytest.raises(ValueError, match="the network uses gelu"):
        interpretable_gradient_loss(net(nn.GELU), *double())
    images, targets = batch()
    with pytest.raises(ValueError, match="no_grad"), torch.no_grad():
        interpretable_gradient_loss(tiny(), images, targets)
    cut = tiny()
    cut.stem.register_forward_hook(lambda module, inputs, output: output.detach())
    with pytest.raises(ValueError, match="no gradient at the image"):
        interpretable_gradient_loss(cut, images, targets)
    with pytest.raises(ValueError, match="targets must be int64"):
        interpretable_gradient_loss(tiny(), images, targets.int())
