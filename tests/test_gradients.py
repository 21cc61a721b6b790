"""Gradient methods against numbers done by hand, theorems, and an independent guided gradient."""

import copy

import pytest
import torch
import torch.nn.functional as F
from cases import batch, tiny
from torch import nn

from xailib import explain
from xailib.rectifier import guided_relu


class Function(nn.Module):
    """A network from a plain function images -> logits."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.eval()

    def forward(self, x):
        return self.function(x)


def double(b: int = 3, size: int = 8):
    images, targets = batch(b, size)
    return images.double(), targets


def linear(images, classes: int = 4):
    torch.manual_seed(5)
    return nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), classes)).to(images.dtype).eval()


def row(*pixels: float):
    """One image [1 3 1 w] whose first colour holds the pixels; the others are black."""
    image = torch.zeros(1, 3, 1, len(pixels), dtype=torch.float64)
    image[0, 0, 0] = torch.tensor(pixels)
    return image


FIRST = torch.tensor([0])


# --- by hand ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign, guided", [(1, (2.0, 0.0)), (-1, (0.0, 3.0))])
def test_guided_backprop_is_not_odd(sign, guided):
    model = Function(lambda x: sign * (2 * x.relu()[:, 0, :, 0] - 3 * x.relu()[:, 0, :, 1]))
    assert explain.guided_backprop(model, row(1, 1), FIRST).flatten().tolist() == list(guided)
    assert explain.input_gradient(model, row(1, 1), FIRST).flatten().tolist() == [2 * sign, -3 * sign]


def test_relu6_lets_nothing_through_outside_0_and_6():
    model = Function(lambda x: F.relu6(10 * x - 2)[:, 0].sum((1, 2))[:, None])  # -2, 3, 8 before the rectifier
    assert explain.guided_backprop(model, row(0, 0.5, 1), FIRST).flatten().tolist() == [0, 10, 0]


def test_two_guided_layers_by_hand():
    # h = relu(x), y = relu(h1 - 2 h2) - relu(h2): 1 and 0.25 give d/dx1 = 1, d/dx2 = -2 - 1; guided stops the -1 at
    # the upper rectifier and the -2 at the lower one
    def function(x):
        h = x.relu()[:, 0, 0]
        return ((h[:, 0] - 2 * h[:, 1]).relu() - h[:, 1].relu())[:, None]

    assert explain.input_gradient(Function(function), row(1, 0.25), FIRST).flatten().tolist() == [1, -3]
    assert explain.guided_backprop(Function(function), row(1, 0.25), FIRST).flatten().tolist() == [1, 0]


def test_colours_become_a_map():
    weights = torch.tensor([1.0, -3.0, 1.5])[:, None, None]
    model, images = Function(lambda x: (weights * x).sum((1, 2, 3))[:, None]), torch.rand(1, 3, 2, 2)
    assert explain.gradient(model, images, FIRST)[0, :, 0, 0].tolist() == [1, -3, 1.5]
    assert explain.input_gradient(model, images, FIRST).unique().tolist() == [-0.5]
    assert explain.saliency(model, images, FIRST).unique().tolist() == [3]


def test_smoothgrad_of_a_parabola_sees_the_noise_it_drew():
    # d/dx sum x^2 = 2 x, so the map is twice the mean of the noisy copies; noise is scaled by max - min of each image
    model, (images, targets) = Function(lambda x: (x**2).sum((2, 3)) * 1.0), double()
    images[1] /= 4
    noise = torch.stack(
        [torch.randn(3, 8, 8, generator=g) for g in [torch.Generator().manual_seed(7)] for _ in range(5)]
    )
    spread = (images.amax((1, 2, 3)) - images.amin((1, 2, 3)))[:, None, None, None]
    copies = images + 0.3 * spread * noise.mean(0)
    maps = explain.smoothgrad(model, images, targets % 3, n=5, sigma=0.3, generator=torch.Generator().manual_seed(7))
    assert torch.allclose(maps, 2 * copies[range(3), targets % 3])


def test_integrated_gradients_of_a_parabola():
    model, baseline = Function(lambda x: (x**2).sum((1, 2, 3))[:, None]), row(0.5, 0.25)
    maps = explain.integrated_gradients(model, row(1, 0), FIRST, baseline=baseline, steps=3)
    assert torch.allclose(maps.flatten(), torch.tensor([1 - 0.25, 0 - 0.0625]).double())  # x^2 - x'^2 at each pixel


def test_completeness_error_by_hand():
    model, images = (
        Function(lambda x: x[:, 0].sum((1, 2))[:, None]),
        torch.cat([row(1, 0.5), row(1, 1), row(0, 0), row(0, 0)]),
    )
    maps = torch.tensor([[[1, 0.5]], [[2.0, 1.0]], [[1.0, -1.0]], [[0.0, 1.0]]], dtype=torch.float64)
    found = explain.completeness_error(model, images, FIRST.expand(4), maps)
    assert found.tolist() == [0, 0.5, 0, float("inf")]  # rises 1.5, 2, 0, 0 of the score; sums 1.5, 3, 0, 1
    assert explain.completeness_error(model, images, FIRST.expand(4), maps, baseline=row(0.5, 0)[0])[0] == 0.5


# --- theorems ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_integrated_gradients_of_a_linear_model_need_one_step(steps):
    images, targets = double()
    model, baseline = linear(images), images.flip(0)
    W = model[1].weight.detach()[targets].view_as(images)
    maps = explain.integrated_gradients(model, images, targets, steps=steps, baseline=baseline)
    assert torch.allclose(maps, ((images - baseline) * W).sum(1))
    assert explain.completeness_error(model, images, targets, maps, baseline=baseline).max() < 1e-9


@pytest.mark.parametrize("sigma", [0.0, 0.15, 3.0])
def test_smoothgrad_of_a_linear_model_is_its_gradient(sigma):
    images, targets = double()
    model = linear(images)
    found = explain.smoothgrad(model, images, targets, n=3, sigma=sigma)
    assert torch.allclose(found, model[1].weight.detach()[targets].view_as(images).sum(1))


@pytest.mark.parametrize("guided", [False, True])
def test_smoothgrad_without_noise_is_the_gradient(guided):
    images, targets = batch()
    found = explain.smoothgrad(tiny(), images, targets, n=3, sigma=0.0, guided=guided)
    base = explain.guided_backprop if guided else explain.input_gradient
    assert torch.allclose(found, base(tiny(), images, targets), atol=1e-6)


def test_completeness_error_falls_with_the_square_of_the_steps():
    images, targets = double()
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Tanh(), nn.Flatten(), nn.Linear(6 * 36, 4)).double().eval()
    errors = []
    for steps in (4, 16, 64):
        maps = explain.integrated_gradients(model, images, targets, steps=steps)
        errors.append(explain.completeness_error(model, images, targets, maps))
    assert (errors[0] / errors[1] > 10).all() and (errors[1] / errors[2] > 10).all() and errors[2].max() < 1e-4


def test_integrated_gradients_are_complete_on_a_relu_network():
    images, targets = batch()
    maps = explain.integrated_gradients(tiny(), images, targets, steps=300)
    assert explain.completeness_error(tiny(), images, targets, maps).max() < 0.01


# --- the guided rectifier ---------------------------------------------------------------------------------------------


def by_module_hooks(model, images, targets):
    """The guided gradient the classic way: a hook on every activation module (never in place) clamps what goes back."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, (nn.ReLU, nn.ReLU6)):
            module.inplace = False
            module.register_full_backward_hook(lambda module, inputs, outputs: (inputs[0].clamp(min=0),))
    images = images.clone().requires_grad_()
    model(images).gather(1, targets[:, None]).sum().backward()
    return images.grad


SPELLINGS = {
    "module": nn.ReLU(),
    "module in place": nn.ReLU(inplace=True),
    "function": F.relu,
    "function in place": lambda x: F.relu(x, inplace=True),
    "torch": torch.relu,
    "torch in place": torch.relu_,
    "method": lambda x: x.relu(),
    "method in place": lambda x: x.relu_(),
    "in place, result not used": lambda x: (x.relu_(), x)[1],
    "in place on a view": lambda x: (x.flatten(1).relu_(), x)[1],
    "operator": torch.ops.aten.relu.default,
    "keyword": lambda x: F.relu(input=x),
    "clamp": lambda x: x.clamp(min=0),
    "torch.clamp": lambda x: torch.clamp(x, 0),
    "clamp in place": lambda x: x.clamp_(min=0.0),
    "clip": lambda x: x.clip(0),
    "clamp_min": lambda x: torch.clamp_min(x, 0),
}
SPELLINGS_6 = {
    "module": nn.ReLU6(),
    "module in place": nn.ReLU6(inplace=True),
    "function": F.relu6,
    "function in place": lambda x: F.relu6(x, True),
    "hardtanh module": nn.Hardtanh(0, 6),
    "hardtanh": lambda x: F.hardtanh(x, 0, 6),
    "hardtanh in place": lambda x: F.hardtanh_(x, 0, 6),
    "clamp": lambda x: x.clamp(0, 6),
    "clamp in place": lambda x: x.clamp_(0, max=6),
    "clip": lambda x: torch.clip(x, min=0, max=6),
}


class Spelled(nn.Module):
    def __init__(self, act):
        super().__init__()
        torch.manual_seed(3)
        self.first, self.second, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 4)
        self.act = act
        self.double().eval()

    def forward(self, x):
        x = self.act(20 * self.first(x))  # many activations beyond 6
        return self.head(self.act(self.second(x)).mean((2, 3)))


@pytest.mark.parametrize(
    "act, same_as",
    [pytest.param(act, nn.ReLU(), id=f"relu {name}") for name, act in SPELLINGS.items()]
    + [pytest.param(act, nn.ReLU6(), id=f"relu6 {name}") for name, act in SPELLINGS_6.items()],
)
def test_every_spelling_is_guided_alike(act, same_as):
    images, targets = double()
    expected = by_module_hooks(Spelled(same_as), images, targets)
    assert torch.allclose(explain.gradient(Spelled(act), images, targets, guided=True), expected, atol=1e-12)
    plain = explain.gradient(Spelled(act), images, targets)
    assert torch.allclose(plain, explain.gradient(Spelled(same_as), images, targets), atol=1e-12)
    assert not torch.allclose(plain, expected, rtol=0.1)


def test_mobilenet_is_really_guided():
    from torchvision.models import mobilenet_v2

    torch.manual_seed(0)
    model, (images, targets) = mobilenet_v2(num_classes=4, width_mult=0.25).double().eval(), double(size=32)
    guided = explain.gradient(model, images, targets, guided=True)
    assert torch.allclose(guided, by_module_hooks(model, images, targets), atol=0, rtol=1e-9)
    assert not torch.allclose(guided, explain.gradient(model, images, targets), atol=guided.abs().mean().item())


def test_one_graph_gives_plain_guided_and_second_gradients():
    images, targets = double()
    model = Spelled(nn.ReLU6(inplace=True))

    def regularised(scores, x):
        plain = torch.autograd.grad(scores.sum(), x, create_graph=True)[0]
        return plain, torch.autograd.grad(plain.pow(2).sum(), model.first.weight, retain_graph=True)[0]

    x = images.clone().requires_grad_()
    with guided_relu(model) as gate:
        scores = model(x).gather(1, targets[:, None])
    plain, second = regularised(scores, x)
    gate.on = True
    guided = torch.autograd.grad(scores.sum(), x, retain_graph=True)[0]
    gate.on = False
    again = torch.autograd.grad(scores.sum(), x)[0]

    x = images.clone().requires_grad_()
    native, native_second = regularised(model(x).gather(1, targets[:, None]), x)
    assert second.abs().max() > 0 and torch.allclose(second, native_second)
    assert torch.equal(plain, native) and torch.equal(again, native)
    assert torch.allclose(guided, by_module_hooks(model, images, targets), atol=1e-12)
    assert gate.count == 2


def test_guided_relu_changes_no_output_and_is_gone_afterwards():
    images, targets = double()
    model = Spelled(nn.ReLU(inplace=True))
    with guided_relu(model) as gate:
        assert torch.equal(model(images), model(images)) and gate.count == 4
    assert torch.equal(model(images), Spelled(nn.ReLU())(images)) and gate.count == 4
    with pytest.raises(KeyboardInterrupt), guided_relu(model) as gate:
        raise KeyboardInterrupt
    model(images)
    assert gate.count == 0


def test_a_clamp_that_is_no_rectifier_is_left_alone():
    x = torch.linspace(-2, 2, 9, requires_grad=True)
    with guided_relu(nn.Identity()) as gate:
        x.clamp(min=0.1), x.clamp(max=0), F.hardtanh(x), torch.arange(3).clamp(min=0)
    assert gate.count == 0


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "act, named",
    [
        (nn.LeakyReLU(0.1), "leaky_relu"), (nn.LeakyReLU(inplace=True), "leaky_relu"), (nn.PReLU(), "prelu"),
        (nn.RReLU(), "rrelu"), (nn.ELU(), "elu"), (nn.SELU(), "selu"), (torch.selu_, "selu"), (nn.CELU(), "celu"),
        (nn.GELU(), "gelu"), (nn.SiLU(), "silu"), (nn.Mish(), "mish"), (nn.Softplus(), "softplus"),
        (nn.Hardswish(), "hardswish"), (nn.Threshold(0, 0), "threshold"),
    ],
)  # fmt: skip
def test_other_activations_are_refused_by_name(act, named):
    images, targets = double()
    with pytest.raises(ValueError, match=f"the network uses {named}, but"):
        explain.guided_backprop(Spelled(act), images, targets)
    with pytest.raises(ValueError, match=f"the network uses {named}, but"):  # also beside a ReLU that could be guided
        explain.guided_backprop(Spelled(lambda x: act(x.relu() - 1)), images, targets)


def test_nothing_to_guide_is_refused():
    images, targets = double()
    with pytest.raises(ValueError, match="no ReLU was met"):
        explain.guided_backprop(linear(images), images, targets)
    with pytest.raises(ValueError, match="no ReLU was met"):
        explain.smoothgrad(linear(images), images, targets, guided=True)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # newer versions of torch call tracing deprecated
def test_torchscript_inside_is_refused_when_guided():
    images, targets = batch()
    scripted = tiny()
    scripted.stem = torch.jit.trace(scripted.stem, images)
    with pytest.raises(ValueError, match="stem is TorchScript"):
        explain.guided_backprop(scripted, images, targets)
    assert torch.allclose(
        explain.input_gradient(scripted, images, targets), explain.input_gradient(tiny(), images, targets)
    )


@pytest.mark.parametrize(
    "method, options, words",
    [
        ("smoothgrad", {"n": 0}, "n must be at least 1, found 0"),
        ("smoothgrad", {"chunk": 0}, "chunk must be at least 1"),
        ("smoothgrad", {"sigma": -0.1}, "sigma must be"),
        ("smoothgrad", {"sigma": float("nan")}, "sigma must be"),
        ("integrated_gradients", {"steps": 0}, "steps must be at least 1"),
        ("integrated_gradients", {"chunk": -3}, "chunk must be at least 1"),
        ("integrated_gradients", {"baseline": torch.zeros(3, 4, 4)}, r"baseline must be an image .* found \(3, 4, 4\)"),
        ("integrated_gradients", {"baseline": torch.zeros(2, 3, 16, 16)}, "one per image"),
        ("integrated_gradients", {"baseline": torch.full((3, 16, 16), 1.5)}, r"\[0, 1\], found values from 1.5"),
        (
            "integrated_gradients",
            {"baseline": torch.full((3, 16, 16), float("nan"))},
            r"\[0, 1\], found values from nan",
        ),
    ],
)
def test_bad_options_are_refused(method, options, words):
    with pytest.raises(ValueError, match=words):
        getattr(explain, method)(tiny(), *batch(), **options)


def test_a_score_without_gradient_is_refused():
    images, targets = batch()
    with pytest.raises(ValueError, match="no gradient at the image"):
        explain.input_gradient(Function(lambda x: tiny()(x.detach())), images, targets)


# --- reproducible, one image at a time, in bounded memory -------------------------------------------------------------


@pytest.mark.parametrize("method, count", [("smoothgrad", "n"), ("integrated_gradients", "steps")])
def test_chunk_bounds_the_copies_and_not_the_result(method, count):
    (images, targets), seen = double(b=3), []
    model = tiny().double()
    counting = Function(lambda x: (seen.append(len(x)), model(x))[1])
    maps = {}
    for chunk in (1, 2, 4, 7, 100):
        seen.clear()
        maps[chunk] = getattr(explain, method)(counting, images, targets, **{count: 5, "chunk": chunk})
        assert max(seen) <= chunk and sum(seen) == 15
    assert len(seen) == 1
    for found in maps.values():
        assert torch.allclose(found, maps[100], atol=1e-12)


@pytest.mark.parametrize(
    "method", ["input_gradient", "saliency", "guided_backprop", "smoothgrad", "integrated_gradients"]
)
def test_a_batch_is_its_images_one_by_one(method):
    images, targets = double()
    images[0] *= 0.1  # another range: smoothgrad's noise must not be shared through it
    model, method = tiny().double(), getattr(explain, method)
    alone = torch.cat([method(model, images[i : i + 1], targets[i : i + 1]) for i in range(3)])
    assert torch.allclose(method(model, images, targets), alone, atol=1e-12)


def test_smoothgrad_repeats_itself_unless_given_a_generator():
    images, targets = batch()
    first, second = (explain.smoothgrad(tiny(), images, targets, n=2) for _ in range(2))
    generator = torch.Generator().manual_seed(1)
    third, fourth = (explain.smoothgrad(tiny(), images, targets, n=2, generator=generator) for _ in range(2))
    assert torch.equal(first, second) and not torch.equal(first, third) and not torch.equal(third, fourth)


def test_inference_mode_around_and_tensors_from_inside_it():
    model, (images, targets) = tiny(), batch()
    for method in (explain.guided_backprop, explain.smoothgrad, explain.integrated_gradients):
        expected = method(model, images, targets)
        with torch.inference_mode():
            assert torch.equal(method(model, images.clone(), targets.clone()), expected)


def test_images_that_require_gradients_get_plain_maps():
    images, targets = batch()
    images.requires_grad_()
    for method in (explain.saliency, explain.guided_backprop, explain.smoothgrad, explain.integrated_gradients):
        assert not method(tiny(), images, targets).requires_grad and images.grad is None


def test_half_precision_gives_float32_maps():
    images, targets = batch()
    expected = explain.guided_backprop(tiny(), images, targets)
    with torch.autocast("cpu", torch.bfloat16):
        found = explain.guided_backprop(tiny(), images, targets)
    assert found.dtype == torch.float32 and (found - expected).norm() < 0.2 * expected.norm()
    assert explain.smoothgrad(tiny().bfloat16(), images.bfloat16(), targets, n=2).dtype == torch.float32
