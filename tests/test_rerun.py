"""What lies above a layer, run again: always what the whole network says, whatever the network looks like."""

import pytest
import torch
from cases import TinyNet, tiny
from torch import nn

from xailib import explain, network, rerun


def resnet():
    import torchvision

    return torchvision.models.resnet18(num_classes=5)


def densenet():
    import timm

    return timm.create_model("densenet121", num_classes=5)


def efficientnet():
    import timm

    return timm.create_model("tf_efficientnet_lite0", num_classes=5)


def vit():
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(img_size=32, patch_size=8, embed_dim=16, depth=3, num_heads=2, num_classes=5)


# network, layer, and which stand-in for the modules below must be found: 0 NaN, 1 recorded outputs, 2 the whole network
CASES = [
    (tiny, "features", 0),  # in-place ReLU and a functional mean above
    (tiny, "stem.0", 0),
    (resnet, "layer4", 0),
    (resnet, "layer4.1.conv2", 1),  # a residual, and a ReLU that runs below and above the layer
    (resnet, "layer4.1.bn1", 1),
    (resnet, "conv1", 0),
    (efficientnet, "bn2", 0),
    (efficientnet, "blocks.4.1.conv_dw", 1),
    (vit, "blocks.2.norm1", 1),
    (vit, "blocks.1", 1),  # joins the class token to the patches by a function, which NaN does not survive
    (densenet, "features.norm5", 0),
    (densenet, "features.denseblock4.denselayer16.conv1", 2),  # concatenates what does not broadcast
]


@pytest.fixture(scope="module")
def nets():
    torch.manual_seed(0)
    return {make: make().eval() for make in {case[0] for case in CASES}}


def whole(net, layer, image, output, target):
    """The slow way: a full forward pass for each changed output."""
    replace = [(net.get_submodule(layer), lambda *_: output.clone())]
    with torch.no_grad(), network.hooked(replace):
        return net(image.expand(len(output), -1, -1, -1))[:, target]


def changed(output):
    outputs = output.detach().repeat(3, *[1] * (output.ndim - 1))
    outputs[1] *= 0.5
    outputs[2] = outputs[2].flip(-1)
    return outputs


@pytest.mark.parametrize("make, layer, stand_in", CASES, ids=lambda part: getattr(part, "__name__", str(part)))
def test_scores_are_those_of_the_whole_network(nets, make, layer, stand_in, monkeypatch):
    net, image = nets[make], torch.rand(1, 3, 32, 32)
    seen = explain.collect(net, image, torch.tensor([2]), layer=layer)
    tried = []
    for number, name in enumerate(("_nan", "_recorded", "_nothing")):
        make_stand_in = getattr(rerun, name)
        monkeypatch.setattr(rerun, name, lambda *a, n=number, f=make_stand_in: (tried.append(n), f(*a))[1])
    scores = rerun.above(net, layer, image, 2, seen.output, seen.logits)
    outputs = changed(seen.output)
    expected = whole(net, layer, image, outputs, 2)
    before = outputs.clone()
    assert torch.allclose(scores(outputs), expected, atol=1e-4 * expected.abs().max().item())
    assert torch.equal(outputs, before), "in-place operations above must not reach the caller's activations"
    assert torch.allclose(scores(outputs), expected, atol=1e-4 * expected.abs().max().item()), "and again"
    assert tried[-1] == stand_in
    assert not any("forward" in vars(module) for module in net.modules())


def test_inside_inference_mode():
    net = tiny()
    with torch.inference_mode():
        image = torch.rand(1, 3, 16, 16)
        seen = explain.collect(net, image, torch.tensor([2]), layer="features")
        outputs = changed(seen.output)
        before = outputs.clone()
        found = rerun.above(net, "features", image, 2, seen.output, seen.logits)(outputs)
    assert torch.equal(outputs, before)
    assert torch.allclose(found, whole(net, "features", image, outputs.clone(), 2), atol=1e-6)


class Counting(nn.Conv2d):
    runs = 0

    def forward(self, x):
        type(self).runs += len(x)
        return super().forward(x)


def test_what_lies_below_does_not_run():
    net = tiny()
    net.stem[0] = Counting(3, 6, 3, stride=2, padding=1).eval()
    image = torch.rand(1, 3, 16, 16)
    seen = explain.collect(net, image, torch.tensor([1]), layer="features")
    scores = rerun.above(net, "features", image, 1, seen.output, seen.logits)
    Counting.runs = 0
    scores(changed(seen.output))
    assert Counting.runs == 0


def test_of_a_linear_head_only_the_targets_row_is_computed(monkeypatch):
    net, image = tiny(), torch.rand(1, 3, 16, 16)
    seen = explain.collect(net, image, torch.tensor([1]), layer="features")
    scores = rerun.above(net, "features", image, 1, seen.output, seen.logits)
    widths = []
    with network.hooked([(net.head, lambda module, _, output: widths.append(output.shape[1]))]):
        scores(changed(seen.output))
    assert widths == [1]


class Scaled(nn.Module):
    """Logits that do not come straight from the linear layer, and a linear layer behind a hook that mixes classes."""

    def __init__(self, mixed: bool):
        super().__init__()
        self.net, self.mixed = tiny(), mixed
        if mixed:
            self.net.head.register_forward_hook(lambda module, _, output: output.softmax(1))

    def forward(self, x):
        logits = self.net(x)
        return logits if self.mixed else 10 * logits


@pytest.mark.parametrize("mixed", [True, False])
def test_a_head_with_something_behind_it_runs_in_full(mixed):
    net, image = Scaled(mixed).eval(), torch.rand(1, 3, 16, 16)
    seen = explain.collect(net, image, torch.tensor([1]), layer="net.features")
    outputs = changed(seen.output)
    scores = rerun.above(net, "net.features", image, 1, seen.output, seen.logits)
    assert torch.allclose(scores(outputs), whole(net, "net.features", image, outputs, 1), atol=1e-5)


def test_a_linear_layer_that_runs_twice_is_not_taken_for_a_plain_head():
    """The head also looks at its own logits: of such a layer no row can be left out."""

    class Twice(TinyNet):
        def forward(self, x):
            return self.head(super().forward(x).repeat(1, 2))

    torch.manual_seed(0)
    net, image = Twice().eval(), torch.rand(1, 3, 16, 16)
    seen = explain.collect(net, image, torch.tensor([1]), layer="features")
    outputs = changed(seen.output)
    scores = rerun.above(net, "features", image, 1, seen.output, seen.logits)
    assert torch.allclose(scores(outputs), whole(net, "features", image, outputs, 1), atol=1e-6)


def test_below_is_read_above_in_a_hidden_way():
    class Gated(nn.Module):
        """The gate runs before the layer and is used after it, outside of any module."""

        def __init__(self):
            super().__init__()
            self.gate, self.features, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 1), nn.Linear(8, 4)

        def forward(self, x):
            gate = self.gate(x).sigmoid()
            return self.head((self.features(x).relu() * gate).mean((2, 3)))

    torch.manual_seed(0)
    net, image = Gated().eval(), torch.rand(1, 3, 8, 8)
    seen = explain.collect(net, image, torch.tensor([1]), layer="features")
    outputs = changed(seen.output)
    scores = rerun.above(net, "features", image, 1, seen.output, seen.logits)
    assert torch.allclose(scores(outputs), whole(net, "features", image, outputs, 1), atol=1e-6)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_forwards_are_restored_after_an_error(error):
    net = tiny()
    mine = net.act.forward
    vars(net.act)["forward"] = mine  # a forward of the instance's own is put back, not deleted
    with pytest.raises(error), rerun.swapped({net.act: lambda x: x, net.head: lambda x: x}):
        raise error
    assert vars(net.act)["forward"] is mine and "forward" not in vars(net.head)
