"""Layers found, scores picked, networks cut: the same numbers as plain PyTorch, and nothing left behind."""

import pytest
import torch
from cases import batch, tiny, tiny_vit
from torch import nn

from xailib import network
from xailib.models import Normalized

# --- layers -----------------------------------------------------------------------------------------------------------


def test_a_layer_by_name_by_module_and_behind_compilation():
    net = tiny()
    for layer in ("stem.0", net.stem[0], torch.compile(net.stem[0])):
        assert network.find_layer(net, layer) is net.stem[0]
        assert network.layer_name(net, layer) == "stem.0"
    compiled = torch.compile(net)
    assert network.uncompiled(compiled) is net and network.uncompiled(net) is net
    assert network.find_layer(network.uncompiled(compiled), "features") is net.features
    assert network.find_layer(net, "") is net and network.layer_name(net, net) == "the model"


def test_a_normalized_network_answers_to_inner_and_outer_names():
    net = tiny()
    model = Normalized(net, (0.5,) * 3, (0.5,) * 3)
    for layer in ("features", "net.features", net.features, model.features):
        assert network.find_layer(model, layer) is net.features


@pytest.mark.parametrize(
    "layer, words",
    [
        ("feature", "no layer 'feature' in TinyNet; did you mean 'features'"),
        ("stem.7", "no layer 'stem.7' in TinyNet; did you mean 'stem"),
        ("features.weight", "no layer 'features.weight' in TinyNet; did you mean 'features'"),
        ("features.", "no layer 'features.' in TinyNet; did you mean 'features'"),
        ("Qx", "no layer 'Qx' in TinyNet; see model.named_modules()"),
        (nn.ReLU(), "the given ReLU is not a layer of this TinyNet"),
        (4, "layer must be a name or a module, such as 'layer4' or model.layer4, found int"),
        (None, "found NoneType"),
        (["features"], "found list"),
    ],
    ids=str,
)
def test_unknown_layers_are_named(layer, words):
    find_layer = getattr(
        network.find_layer, "__wrapped__", network.find_layer
    )  # types are not checked outside of tests
    with pytest.raises(ValueError) as caught:
        find_layer(tiny(), layer)
    assert words in str(caught.value)


def test_inner_names_are_suggested_too():
    with pytest.raises(ValueError, match="in NormalizedTinyNet; did you mean .*'features'"):
        network.find_layer(Normalized(tiny(), (0.5,), (0.5,)), "featurs")


# --- scores -----------------------------------------------------------------------------------------------------------


def test_scores_are_the_targets_logits():
    logits = torch.tensor([[1.0, 2, 3], [4, 5, 6]])
    assert network.class_scores(logits, torch.tensor([2, 0])).tolist() == [3, 4]
    assert network.class_scores(logits.bfloat16(), torch.tensor([2, 0])).dtype == torch.float32
    assert network.class_scores(logits.double(), torch.tensor([2, 0])).dtype == torch.float64


@pytest.mark.parametrize(
    "logits, targets, words",
    [
        (torch.zeros(2, 3), [0, 3], r"targets must lie in 0..2, found 0 to 3"),
        (torch.zeros(2, 3), [-1, 0], r"targets must lie in 0..2, found -1 to 0"),
        (torch.zeros(2, 3, 1, 1), [0, 0], r"must return logits \[b classes\], found \(2, 3, 1, 1\)"),
        (torch.zeros(3), [0, 0], r"found \(3,\)"),
        (torch.zeros(1, 3), [0, 0], r"found \(1, 3\)"),
        (torch.tensor([[0, float("nan")]]), [1], "NaN or infinite"),
        (torch.tensor([[0, -float("inf")]]), [1], "NaN or infinite"),
    ],
    ids=lambda part: str(part)[:30],
)
def test_bad_scores_are_refused(logits, targets, words):
    with pytest.raises(ValueError, match=words):
        network.class_scores(logits, torch.tensor(targets))


def test_infinite_logits_of_other_classes_do_not_matter():
    assert network.class_scores(torch.tensor([[1, -float("inf")]]), torch.tensor([0])).tolist() == [1]


# --- the linear head --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", [nn.Linear, lambda k, n, bias: nn.Conv2d(k, n, 1, bias=bias)])
def test_linear_head_is_found(kind, bias):
    torch.manual_seed(0)
    head = kind(8, 4, bias=bias)
    decoy = nn.Linear(8, 4)  # of the same shape, but not what computes the logits
    A = torch.rand(2, 8, 3, 3)
    pooled = A.mean((2, 3)) if isinstance(head, nn.Linear) else A.mean((2, 3), keepdim=True)
    found = network.linear_head(nn.ModuleList([head, decoy]), A, head(pooled).flatten(1))
    assert torch.equal(found, head.weight.flatten(1)) and not found.requires_grad


def test_another_pooling_is_no_linear_head():
    head, A = nn.Linear(8, 4), torch.rand(2, 8, 3, 3)
    with pytest.raises(ValueError, match="global average pooling and one linear layer"):
        network.linear_head(head, A, head(A.amax((2, 3))))


# --- cut --------------------------------------------------------------------------------------------------------------


class Plain(nn.Module):
    """The function of TinyNet without in-place operations, which tells all it computes."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        steps = {}
        x = steps["stem.0"] = self.net.stem[0](x)
        x = steps["stem.1"] = self.net.stem[1](x)
        x = steps["stem"] = steps["stem.2"] = x.relu()
        x = steps["features"] = self.net.features(x)
        x = steps["act"] = x.relu()
        steps["head"] = self.net.head(x.mean((2, 3)))
        return steps


@pytest.mark.parametrize("layer", ["stem.0", "stem.1", "stem.2", "stem", "features", "act", "head"])
def test_cut_is_plain_forward_and_autograd(layer):
    """At every layer, right below the in-place ReLUs too."""
    net, (images, targets) = tiny().double(), batch()
    steps = Plain(net)(images.double())
    scores = steps["head"].gather(1, targets[:, None]).sum()
    expected = torch.autograd.grad(scores, steps[layer])[0]
    (output,), logits = network.cut(net, images.double(), [layer])
    (found,) = network.gradients(network.class_scores(logits, targets), [output])
    assert torch.allclose(output, steps[layer], atol=1e-12) and torch.allclose(logits, steps["head"], atol=1e-12)
    assert found.any() and torch.allclose(found, expected, atol=1e-12)


def test_several_layers_in_any_order_share_one_pass():
    net, (images, targets) = tiny().double(), batch()
    names = ["act", "stem.0", "features"]
    runs = []
    with network.hooked([(net.head, lambda *_: runs.append(1))]):
        outputs, logits = network.cut(net, images.double(), names)
    found = network.gradients(network.class_scores(logits, targets), outputs)
    assert len(runs) == 1
    for name, output, gradient in zip(names, outputs, found, strict=True):
        (alone,), logits = network.cut(net, images.double(), [name])
        assert torch.equal(output, alone)
        expected = network.gradients(network.class_scores(logits, targets), [alone])[0]
        assert torch.allclose(gradient, expected, atol=1e-12)


def test_the_graph_begins_at_the_layer():
    net, (images, _) = tiny(), batch()
    reached = []
    hooks = [(module, lambda module, _, output: reached.append(output.requires_grad)) for module in net.children()]
    with network.hooked(hooks):
        (output,), logits = network.cut(net, images, ["features"])
    assert output.is_leaf and output.requires_grad and logits.requires_grad
    assert reached == [False, False, True, True]  # stem, features itself, act, head


class Odd(nn.Module):
    """Layers that cannot be explained: one that runs twice, one that never runs, one that returns a pair."""

    def __init__(self):
        super().__init__()
        self.twice, self.never, self.pair = nn.ReLU(), nn.Conv2d(3, 3, 1), nn.LSTM(3, 5, batch_first=True)
        self.head = nn.Linear(5, 4)

    def forward(self, x):
        tokens = self.twice(self.twice(x) - 0.1).flatten(2).mT
        return self.head(self.pair(tokens)[0].mean(1))


@pytest.mark.parametrize(
    "layer, words",
    [
        ("twice", "layer 'twice' runs more than once in a forward pass"),
        ("never", "layer 'never' is not used in the forward pass"),
        ("pair", "layer 'pair' returns tuple, not a tensor"),
    ],
)
def test_layers_that_cannot_be_cut_are_named(layer, words):
    net = Odd().eval()
    for given in (layer, net.get_submodule(layer)):
        with pytest.raises(ValueError, match=words):
            network.cut(net, batch()[0], [given])
    assert not any(module._forward_hooks for module in net.modules())


class Failing(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, x):
        raise self.error("planted")


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("grad", [True, False])
def test_nothing_is_left_behind(error, grad):
    net, (images, _) = tiny(), batch()
    mine = net.features.register_forward_hook(lambda *_: None)
    net.stem[0].weight.grad = torch.ones_like(net.stem[0].weight)
    if error:
        net.head = Failing(error).eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.set_grad_enabled(grad):
        try:
            network.cut(net, images, ["stem.0", "features"])
            assert error is None
        except (RuntimeError, KeyboardInterrupt) as caught:
            assert type(caught) is error and str(caught) == "planted"
        assert torch.is_grad_enabled() is grad and not torch.is_inference_mode_enabled()
    assert [hook for module in net.modules() for hook in module._forward_hooks] == [mine.id]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.stem[0].weight.grad.eq(1).all() and net.features.weight.grad is None
    assert not any(module.training for module in net.modules())


class Rereading(nn.Module):
    """Reads the image a second time above the layer, in a product that autograd must keep."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.features, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 4)

    def forward(self, x):
        return self.head((self.features(x) * x).mean((2, 3)))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("make", [tiny, Rereading])
def test_gradients_where_they_are_switched_off(make, frozen, mode):
    def gradient(net, images, targets):
        outputs, logits = network.cut(net, images, ["features"])
        return network.gradients(network.class_scores(logits, targets), outputs)[0]

    net, (images, targets) = make().eval(), batch()
    expected = gradient(net, images, targets)
    net.requires_grad_(not frozen)
    with mode():
        found = gradient(net, images.clone(), targets.clone())
    assert expected.any() and torch.equal(found, expected)
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_score_that_does_not_depend_on_the_layer_has_no_gradient():
    net = Odd().eval()
    (output,), _ = network.cut(net, batch()[0], ["head"])
    assert network.gradients(torch.zeros(3), [output]) == [None]
    assert network.gradients(torch.zeros(3, requires_grad=True) * 2, [output]) == [None]


def test_hooks_see_through_compilation():
    net, (images, _) = tiny(), batch()
    compiled = torch.compile(net, backend="eager")
    compiled(images)  # compiled now: hooks that come later would be ignored
    (output,), _ = network.cut(network.uncompiled(compiled), images, ["features"])
    assert torch.equal(output, network.cut(net, images, ["features"])[0][0])


# --- memory layout ----------------------------------------------------------------------------------------------------


def test_channels_last_where_the_network_takes_it():
    images = batch(2)[0]
    laid_out = network.channels_last(tiny(), images)
    assert laid_out.is_contiguous(memory_format=torch.channels_last) and torch.equal(laid_out, images)
    viewing = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    viewing.forward = lambda x: nn.Sequential.forward(viewing, x).view(len(x), -1)
    assert network.channels_last(viewing, images) is images


def test_tokens_are_cut_too():
    net, (images, targets) = tiny_vit(), batch()
    (tokens,), logits = network.cut(net, images, ["blocks.1"])
    assert tokens.shape == (3, 17, 16) and torch.equal(logits, net(images))
    assert network.gradients(network.class_scores(logits, targets), [tokens])[0].flatten(1).any(1).all()
