"""The course's convolutional networks: published sizes, and the same functions as torchvision's."""

import pytest
import torch
from torch import nn

from xailib import explain, heatmap, network
from xailib.models import SmallCNN, default_layer, mobilenet_v2_cifar, resnet18_cifar
from xailib.models.convnets import InvertedResidual

NETWORKS = {"SmallCNN": SmallCNN, "ResNet-18": resnet18_cifar, "MobileNet-V2": mobilenet_v2_cifar}


def randomised(net: nn.Module) -> nn.Module:
    """With batch norms that do something, in evaluation mode."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
    return net.eval()


def numbers(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def transplant(source: nn.Module, target: nn.Module) -> None:
    """Weights in their order, whatever they are called."""
    values = [value for name, value in source.state_dict().items() if "num_batches" not in name]
    names = [name for name in target.state_dict() if "num_batches" not in name]
    target.load_state_dict(dict(zip(names, values, strict=True)), strict=False)


def test_parameters_as_published():
    assert numbers(resnet18_cifar(100)) == 11_220_132
    assert numbers(resnet18_cifar(10)) == 11_173_962
    assert numbers(mobilenet_v2_cifar(100)) == 2_369_380
    assert numbers(SmallCNN(10)) * 4 < 3_000_000  # bytes: small enough to ship


def test_resnet_is_torchvisions_with_another_stem():
    from torchvision.models import resnet18

    ours, theirs = randomised(resnet18_cifar(7)), resnet18(num_classes=7)
    theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    transplant(ours, theirs)
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(ours(images), theirs.eval()(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(8, 8, 1), (8, 12, 1), (8, 8, 2)])
def test_inverted_residual_is_torchvisions(inputs, outputs, stride):
    from torchvision.models.mobilenetv2 import InvertedResidual as Theirs

    ours, theirs = randomised(InvertedResidual(inputs, outputs, stride)), Theirs(inputs, outputs, stride, 6).eval()
    for module in ours.modules():
        if isinstance(module, nn.Conv2d):
            module.bias = None  # theirs have none
    transplant(ours, theirs)
    images = torch.randn(2, inputs, 10, 10)
    torch.testing.assert_close(ours(images), theirs(images))
    assert ours.adds == theirs.use_res_connect


@pytest.mark.parametrize(
    ("build", "shapes"),
    [
        (resnet18_cifar, dict(stem=(64, 32), layer1=(64, 32), layer2=(128, 16), layer3=(256, 8), layer4=(512, 4))),
        (mobilenet_v2_cifar, dict(stem=(32, 34), stage1=(16, 34), stage2=(24, 17), stage3=(32, 9), stage4=(64, 5))),
        (mobilenet_v2_cifar, dict(stage5=(96, 5), stage6=(160, 5), stage7=(320, 5), conv_head=(1280, 5))),
        (SmallCNN, {"stages.0": (32, 32), "stages.1": (64, 16), "stages.2": (128, 8)}),
    ],
)
def test_feature_maps_have_the_published_sizes(build, shapes):
    net, seen = build(10).eval(), {}
    for name in shapes:
        network.find_layer(net, name).register_forward_hook(lambda _, __, A, name=name: seen.update({name: A.shape}))
    net(torch.rand(1, 3, 32, 32))
    assert {name: (A[1], A[2]) for name, A in seen.items()} == shapes
    assert all(A[2] == A[3] for A in seen.values())


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_each_activation_is_a_module_used_once(build):
    net, calls = randomised(build(5)), {}
    rectifiers = {name: module for name, module in net.named_modules() if isinstance(module, nn.ReLU | nn.ReLU6)}
    for name, module in rectifiers.items():
        assert not module.inplace
        module.register_forward_hook(lambda *_, name=name: calls.update({name: calls.get(name, 0) + 1}))
    images = torch.rand(1, 3, 32, 32, requires_grad=True)
    logits = net(images)
    assert calls == dict.fromkeys(rectifiers, 1)
    nodes, found = [logits.grad_fn], set()  # and the graph holds no rectifier beside them
    while nodes:
        node = nodes.pop()
        if node is not None and node not in found:
            found.add(node)
            nodes += [parent for parent, _ in node.next_functions]
    kinds = [type(node).__name__ for node in found]
    assert sum(kind.startswith(("Relu", "Hardtanh")) for kind in kinds) == len(rectifiers)


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_logits_are_the_mean_of_the_class_activation_map(build):
    net, images, targets = randomised(build(5)), torch.rand(2, 3, 32, 32), torch.tensor([3, 0])
    layer = {"SmallCNN": "stages", "ResNet": "layer4", "MobileNetV2": "conv_head"}[type(net).__name__]
    seen = []
    with network.hooked([(network.find_layer(net, layer), lambda _, __, A: seen.append(A))]):
        logits = net(images).gather(1, targets[:, None])[:, 0]
    cams = torch.einsum("bk,bkhw->bhw", net.fc.weight[targets], seen[0])
    torch.testing.assert_close(cams.mean((1, 2)) + net.fc.bias[targets], logits, rtol=1e-4, atol=1e-4)
    gradcam = explain.cam(net, images, targets, layer=layer, weights=explain.gradcam)
    torch.testing.assert_close(gradcam, heatmap.resize(cams.relu() / cams[0].numel(), (32, 32)), rtol=1e-4, atol=1e-6)


def test_a_cell_of_the_small_cnn_has_seen_32_pixels():
    net, images = randomised(SmallCNN(2)), torch.rand(1, 3, 64, 64, requires_grad=True)
    net.stages(images)[0, :, 8, 8].sum().backward()
    rows, columns = images.grad[0].abs().sum(0).nonzero().unbind(1)
    assert 28 < rows.max() - rows.min() + 1 <= 32 and 28 < columns.max() - columns.min() + 1 <= 32


def test_small_cnn_takes_grey_images_and_other_widths():
    net = SmallCNN(4, channels=1, widths=(8, 16)).eval()
    assert net(torch.rand(2, 1, 28, 28)).shape == (2, 4) and net.stages[1](torch.rand(1, 8, 28, 28)).shape[2] == 14
    with pytest.raises(ValueError, match="widths is empty"):
        SmallCNN(4, widths=())


@pytest.mark.parametrize(
    "net, layer", [(resnet18_cifar, "layer4"), (mobilenet_v2_cifar, "conv_head"), (SmallCNN, "stages.2")]
)
def test_default_layer_is_what_is_pooled(net, layer):
    assert default_layer(net(10)) == layer
