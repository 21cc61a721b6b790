"""What holds for every method of `xailib.explain`, on both kinds of network and in every surrounding."""

from functools import cache, partial
from types import SimpleNamespace

import pytest
import torch
from cases import METHODS, METHODS_VIT, batch, tiny, tiny_vit
from torch import nn

from xailib import explain
from xailib.heatmap import degenerate
from xailib.inputs import explainer

# seeds of networks and images with which no map is blank: of blank maps all would be true
CNN, VIT = partial(tiny, seed=1), partial(tiny_vit, seed=2)
CASES = {name: (CNN, method) for name, method in METHODS.items()}
CASES |= {f"ViT: {name}": (VIT, method) for name, method in METHODS_VIT.items()}


@pytest.fixture(params=CASES)
def case(request):
    """A method, its network with some parameters frozen and some gradients there, and a batch of three images."""
    make, method = CASES[request.param]
    model, (images, targets) = make(), batch(size=4, seed=2)
    images = images.repeat_interleave(4, 2).repeat_interleave(4, 3)  # flat squares, for superpixels to find
    for number, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(number % 2 == 0)
        parameter.grad = torch.full_like(parameter, 0.5) if number % 3 == 0 else None
    return SimpleNamespace(name=request.param, make=make, model=model, images=images, targets=targets, method=method)


def explained(case, **changed):
    """The maps of a case, or of one that differs from it."""
    given = {**vars(case), **changed}
    return given["method"](given["model"], given["images"], given["targets"])


def double(case) -> dict:
    return {"model": case.model.double(), "images": case.images.double()}


def assert_same(found, expected, tolerance=1e-5):
    """Equal up to rounding, which is measured by the largest value of the maps."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= tolerance * expected.abs().max()


# --- nothing is changed -----------------------------------------------------------------------------------------------


def state(case):
    """All that a method must leave as it was: of what the modules consist, the mode of torch, the tensors' values."""
    tensors = [*case.model.parameters(), *case.model.buffers(), case.images, case.targets]
    modules = {name: _insides(module) for name, module in case.model.named_modules()}
    flags = [(tensor.requires_grad, tensor._version, id(tensor.grad)) for tensor in tensors]
    mode = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_rng_state().tolist()
    values = tensors + [tensor.grad for tensor in tensors if tensor.grad is not None]
    return modules, flags, mode, [value.detach().clone() for value in values]


def _insides(module) -> dict:
    """Training mode, hooks, parameters, forward function: every attribute by identity, dictionaries by their entries."""
    inside = {
        key: {name: id(part) for name, part in value.items()} if isinstance(value, dict) else id(value)
        for key, value in vars(module).items()
    }
    return inside | {"class": type(module)}


def assert_untouched(before, after):
    for one, other in zip(before[:-1], after[:-1], strict=True):
        assert one == other
    assert all(torch.equal(one, other) for one, other in zip(before[-1], after[-1], strict=True))


def test_nothing_is_changed_by_success(case):
    before = state(case)
    explained(case)
    assert_untouched(before, state(case))


class Failing(nn.Module):
    """The head of a network that raises an error from one of its calls on."""

    def __init__(self, head):
        super().__init__()
        self.head, self.calls, self.failing_call, self.error = head, [], float("inf"), None

    def forward(self, x):
        self.calls.append(len(x))
        if len(self.calls) >= self.failing_call:
            raise self.error
        return self.head(x)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_nothing_is_changed_by_failure(case, error):
    if case.name in ("fakecam", "random_map", "centre_map", "edge_map"):
        pytest.skip("does not ask the network")
    case.model.head = head = Failing(case.model.head).eval()
    explained(case)
    count = len(head.calls)
    for call in {1, 1 + count // 2, count}:
        head.calls.clear()
        head.failing_call, head.error = call, error("planted")
        before = state(case)
        with pytest.raises(error, match="planted"):
            explained(case)
        assert_untouched(before, state(case))


# --- the map of an image ----------------------------------------------------------------------------------------------


def test_maps_are_finite_and_as_large_as_the_images(case):
    maps = explained(case)
    assert maps.shape == (3, 16, 16) and maps.dtype == torch.float32
    assert maps.isfinite().all() and not degenerate(maps).any()
    if not case.name.startswith("ViT"):
        assert explained(case, images=case.images[..., :12]).shape == (3, 16, 12)


def test_maps_belong_to_no_graph(case):
    expected = explained(case)
    images = case.images.clone().requires_grad_()
    maps = explained(case, images=images * 1)  # in the middle of someone's graph
    assert not maps.requires_grad and images.grad is None
    assert torch.equal(maps, expected)


def test_maps_repeat(case):
    maps = explained(case)
    torch.rand(5)  # the global random numbers have moved on
    assert torch.equal(maps, explained(case))


def test_an_image_has_the_same_map_alone_and_in_a_batch(case):
    together = explained(case, **double(case))
    alone = [
        explained(case, images=image[None].double(), targets=target[None])
        for image, target in zip(case.images, case.targets, strict=True)
    ]
    assert_same(together, torch.cat(alone), tolerance=1e-9)


# --- surroundings -----------------------------------------------------------------------------------------------------

# Extremal perturbation sorts mask values that are equal at first: rounding decides which comes first.
ROUNDING = {"extremal_perturbation": 0.05}
# In bfloat16 a small change of the score is mostly rounding: these go by such changes, or repeat them many times.
COARSE = {"occlusion", "lime", "opticam", "opticam, diff", "meaningful_perturbation", "extremal_perturbation"}


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_switched_off_around(case, mode):
    expected = explained(case)
    with mode():
        maps = explained(case, images=case.images.clone(), targets=case.targets.clone())  # made in this mode
    assert_same(maps, expected)


@pytest.mark.parametrize("learns", [True, False])
def test_frozen_and_trainable_networks(case, learns):
    expected = explained(case)
    case.model.requires_grad_(learns)
    assert torch.equal(explained(case), expected)


def test_double_precision(case):
    single = explained(case)
    exact = explained(case, **double(case))
    assert exact.dtype == torch.float64
    assert_same(single.double(), exact, tolerance=ROUNDING.get(case.name, 1e-4))


def test_autocast_gives_nearby_float32_maps(case):
    expected = explained(case)
    with torch.autocast("cpu", torch.bfloat16):
        maps = explained(case)
    assert maps.dtype == torch.float32 and maps.isfinite().all()
    pairs = zip(maps.flatten(1), expected.flatten(1), strict=True)
    nearness = min(torch.corrcoef(torch.stack(pair))[0, 1] for pair in pairs)
    assert nearness > (0.5 if case.name in COARSE else 0.9)


@cache
def compiled(make, how: str):
    """A network of which the head, or all, is compiled, by a backend that compiles backward passes too."""
    torch.compiler.reset()
    model = make()
    if how == "in place":
        model.compile(backend="aot_eager")
    elif how == "head":
        model.head = torch.compile(model.head, backend="aot_eager")
    else:
        model = torch.compile(model, backend="aot_eager")
    model(torch.rand(3, 3, 16, 16))
    return model


@pytest.mark.parametrize("how", ["wrapped", "in place", "head"])
def test_compiled_networks(case, how):
    if case.name.startswith("ViT") and torch.__version__ < "2.7":
        pytest.skip("torch 2.6 cannot compile functions whose types are checked, as they are in tests only")
    maps = explained(case, model=compiled(case.make, how))
    assert torch.equal(maps, explained(case))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_maps_on_a_gpu_are_those_of_the_cpu(case):
    expected = explained(case, **double(case))
    maps = explained(case, model=case.model.cuda(), images=case.images.double().cuda(), targets=case.targets.cuda())
    assert maps.is_cuda
    assert_same(maps.cpu(), expected, tolerance=ROUNDING.get(case.name, 1e-6))


# --- what is refused --------------------------------------------------------------------------------------------------


class Twice(nn.Module):
    """One layer that runs twice."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 3, 1), nn.Linear(3, 4)

    def forward(self, x):
        return self.head(self.conv(self.conv(x).relu()).mean((2, 3)))


READ_A_LAYER = {
    "cam": lambda *given: explain.cam(*given, layer="conv", weights=explain.gradcam),
    "layercam_fusion": lambda *given: explain.layercam_fusion(*given, layers=["conv"]),
    "opticam": lambda *given: explain.opticam(*given, layer="conv"),
}


@pytest.mark.parametrize("name", READ_A_LAYER)
def test_a_layer_that_runs_twice_is_refused(name):
    with pytest.raises(ValueError, match="'conv' runs more than once"):
        READ_A_LAYER[name](Twice().eval(), *batch())


@pytest.mark.parametrize(
    "answer, message",
    [
        (lambda images: images.sum(1).log(), "contain NaN or infinite"),
        (lambda images: images, "must be a torch tensor .b H W., found .2, 3, 16, 16."),
        (lambda images: images[:, 0, ::2, ::2], "do not fit images"),
    ],
)
def test_maps_that_are_none_do_not_come_out(answer, message):
    images, targets = batch(b=2)
    images[1, :, 3] = 0
    method = explainer(lambda model, images, targets: answer(images))
    with pytest.raises(ValueError, match=message):
        method(tiny(), images, targets)
