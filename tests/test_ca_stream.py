"""CA-Stream: the specification's numbers by hand, its theorems, its counts, and a backbone that stays as it is."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from xailib import explain, models, network
from xailib.models import CAStream, Normalized
from xailib.models.ca_stream import IMAGENET_RECIPE, CrossAttention, attend
from xailib.models.convnets import SmallCNN, mobilenet_v2_cifar, resnet18_cifar
from xailib.models.stages import known
from xailib.training.schedule import Recipe

STAGES = ["0", "1", "2"]


class Net(nn.Sequential):
    """Three stages of 4, 6 and 5 channels, global average pooling, an in-place ReLU after the first stage."""

    def __init__(self, classes: int = 3):
        stages = [nn.Sequential(nn.Conv2d(c, d, 3, 2, 1), nn.BatchNorm2d(d)) for c, d in [(3, 4), (4, 6), (6, 5)]]
        stages[1].insert(0, nn.ReLU(inplace=True))
        super().__init__(*stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, classes))


def net(seed: int = 0, **options) -> Net:
    torch.manual_seed(seed)
    made = Net(**options)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
    return made.double().eval()


def ca_stream(**options) -> CAStream:
    backbone = net()
    torch.manual_seed(1)
    model = CAStream(backbone, **({"stages": STAGES, "classifier": "5"} | options)).eval()
    with torch.no_grad():  # a fresh stream looks almost everywhere alike
        for parameter in model.stream.parameters():
            parameter *= 5
    return model


def images(b: int = 2) -> torch.Tensor:
    return torch.rand(b, 3, 24, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def features(backbone: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """The stages' outputs as [b p d]."""
    outputs = []
    for name in STAGES:
        x = backbone.get_submodule(name)(x.clone())
        outputs.append(x.flatten(2).transpose(1, 2))
    return outputs


# --- one block, by hand -----------------------------------------------------------------------------------------------


def block(width: int, kind: str = "ca") -> CrossAttention:
    made = CrossAttention(width, width, block=kind, bias=True).double()
    for linear in (module for module in made.modules() if isinstance(module, nn.Linear)):
        nn.init.eye_(linear.weight)
        nn.init.zeros_(linear.bias)
    return made


@pytest.mark.parametrize("kind", ["ca", "proj"])  # with identity maps, keys and values are the features
def test_two_places_of_one_channel(kind):
    seen, a = block(1, kind)(torch.tensor([[[0.0], [math.log(3)]]], dtype=torch.float64), torch.ones(1, 1).double())
    assert a[0].tolist() == pytest.approx([0.25, 0.75], abs=1e-9)
    assert seen.item() == pytest.approx(0.823959217, abs=1e-9)


def test_scores_are_divided_by_the_root_of_the_channels():
    two = torch.zeros(1, 2, 4, dtype=torch.float64)
    two[0, 1, 0] = 2 * math.log(3)
    q = torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64)
    assert attend(two, q)[0].tolist() == pytest.approx([0.25, 0.75], abs=1e-9)


def test_keys_choose_and_values_are_seen():
    two, made = torch.tensor([[[0.0], [math.log(3)]]], dtype=torch.float64), block(1, "proj")
    nn.init.constant_(made.key.weight, -1.0)
    nn.init.constant_(made.value.weight, 10.0)
    seen, a = made(two, torch.ones(1, 1).double())
    assert a[0].tolist() == pytest.approx([0.75, 0.25], abs=1e-9)
    assert seen.item() == pytest.approx(10 * 0.25 * math.log(3), abs=1e-9)


def test_attention_is_a_class_activation_map_of_the_query():  # thesis, eq. 3.2
    A, q = torch.rand(1, 5, 3, 4).double(), torch.rand(1, 5).double()
    cam = (q[..., None, None] * A).sum(1)
    expected = (cam / math.sqrt(5)).flatten(1).softmax(1)
    torch.testing.assert_close(attend(A.flatten(2).mT, q), expected)


def test_attention_moves_with_the_places_and_what_is_seen_does_not():
    A, q, order = torch.rand(1, 6, 4).double(), torch.rand(1, 4).double(), torch.randperm(6)
    made = block(4)
    seen, a = made(A, q)
    again, moved = made(A[:, order], q)
    torch.testing.assert_close(moved, a[:, order])
    torch.testing.assert_close(again, seen)


# --- the whole stream -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ca", "proj"])
@pytest.mark.parametrize("start", [0, 1, 2])
def test_logits_follow_the_formula(kind, start):
    model, x = ca_stream(block=kind, start=start), images()
    q = model.stream.query.expand(2, -1)
    for A, step in zip(features(model.backbone, x)[start:], model.stream.blocks, strict=True):
        keys, values = (A, A) if kind == "ca" else (step.key(A), step.value(A))
        a = (torch.einsum("bpd,bd->bp", keys, q) / math.sqrt(A.shape[2])).softmax(1)
        q = torch.einsum("bpd,bp->bd", values, a) @ step.W.weight.T + step.W.bias
    torch.testing.assert_close(model(x), model.backbone[5](q))
    torch.testing.assert_close(model.attention(x).flatten(1), a)


def test_zero_query_and_identity_are_global_average_pooling():
    model, x = ca_stream(start=2), images()
    with torch.no_grad():
        model.stream.query.zero_()
        nn.init.eye_(model.stream.blocks[0].W.weight)
        nn.init.zeros_(model.stream.blocks[0].W.bias)
    torch.testing.assert_close(model(x), model.backbone(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(model.attention(x), torch.full((2, 3, 3), 1 / 9, dtype=torch.float64))


def test_attention_of_every_stage():
    model, x = ca_stream(start=1), images()
    assert [model.attention(x, stage=stage).shape[1:] for stage in (1, 2)] == [(6, 6), (3, 3)]
    torch.testing.assert_close(model.attention(x, stage=1).sum((1, 2)), torch.ones(2, dtype=torch.float64))
    assert torch.equal(model.attention(x, stage=2), model.attention(x))
    with pytest.raises(ValueError, match="the stream reads stages 1 to 2, found stage=0"):
        model.attention(x, stage=0)


def test_attention_in_bf16_is_float32():
    model = CAStream(net().float(), stages=STAGES).eval()
    exact = model.attention(images().float())
    with torch.autocast("cpu", torch.bfloat16):
        maps = model.attention(images().float())
    torch.testing.assert_close(maps, exact, rtol=0.05, atol=0)  # the same dtype, too


def test_an_image_is_pooled_alone():
    model, x = ca_stream(), images(3)
    torch.testing.assert_close(model(x)[1:2], model(x[1:2]))


def test_first_query_is_normal_around_one():
    torch.manual_seed(0)
    query = CAStream(net(classes=3000), stages=STAGES, classifier="5", queries="class").stream.query
    assert query.mean().item() == pytest.approx(1, abs=0.03) and query.std().item() == pytest.approx(1, abs=0.03)


# --- class queries ----------------------------------------------------------------------------------------------------


def test_class_queries_follow_targets_or_the_backbone():
    model, x = ca_stream(queries="class", start=2), images(4)
    predicted = model.backbone(x).argmax(1)
    torch.testing.assert_close(model(x), model(x, predicted))
    other = (predicted + 1) % 3
    assert (model(x, other) - model(x, predicted)).abs().amax(1).min() > 1e-2
    one = ca_stream(start=2)
    one.stream.load_state_dict(model.stream.state_dict() | {"query": model.stream.query[:1]})
    torch.testing.assert_close(model(x, torch.zeros(4, dtype=torch.int64)), one(x))
    torch.testing.assert_close(model.attention(x, torch.zeros(4, dtype=torch.int64)), one.attention(x))


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite0", "convnext_atto", "torchvision/convnext_tiny"])
def test_without_targets_known_networks_choose_the_query(name):
    torch.manual_seed(3)
    backbone = models.load(name, pretrained=False)
    model = CAStream(backbone, queries="class").eval()
    with torch.no_grad():
        x = torch.rand(2, 3, 64, 64)
        torch.testing.assert_close(model(x), model(x, backbone(x).argmax(1)))


@pytest.mark.parametrize("targets", [[0, 3], [-1, 0]])
def test_targets_outside_the_classes_are_named(targets):
    with pytest.raises(ValueError, match="targets must lie in 0..2, found"):
        ca_stream(queries="class")(images(), torch.tensor(targets))


# --- Grad-CAM does not see the attention ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ca", "proj"])
def test_gradcam_at_the_last_stage_does_not_see_the_attention(kind):
    """sum_i dy_c/dF_L,i = W_V^T W_L^T w_c exactly: of the softmax nothing is left, for its weights sum to 1."""
    model, x = ca_stream(block=kind), images()
    step, w = model.stream.blocks[-1], model.backbone[5].weight[1]
    effective = step.W.weight.T @ w
    if kind == "proj":
        effective = step.value.weight.T @ effective
    targets = torch.ones(2, dtype=torch.int64)
    seen = explain.evidence.collect(model, x, targets, layer="2")
    torch.testing.assert_close(seen.G.sum((2, 3)), effective.detach().expand(2, -1), rtol=0, atol=1e-12)
    assert seen.G.std((2, 3)).min() > 1e-6  # place by place the gradient does depend on the attention
    maps = explain.cam(model, x, targets, layer="2", weights=explain.gradcam)
    cam = explain.cam(model, x, targets, layer="2", weights=lambda e: effective.expand(2, -1)[..., None, None] / 9)
    torch.testing.assert_close(maps, cam)


# --- counts, to the last digit ----------------------------------------------------------------------------------------


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def on_meta(name: str) -> nn.Module:
    return models.load(name, pretrained=False).to("meta")  # older ConvNeXts cannot be made there


@pytest.fixture(scope="module")
def resnet50():
    return on_meta("resnet50")


@pytest.mark.parametrize(
    "options, with_bias, without",
    [
        (dict(start=0), 6_969_152, 6_963_264),
        (dict(start=1), 6_952_704, 6_947_072),
        (dict(start=2), 6_821_376, 6_816_256),
        (dict(start=3), 6_296_576, 6_292_480),
        (dict(start=4), 4_198_400, 4_196_352),
        (dict(block="proj"), 18_126_272, 18_112_576),
        (dict(queries="class"), 6_969_152 + 999 * 64, 6_963_264 + 999 * 64),
    ],
    ids=str,
)
def test_parameters_of_the_stream_on_resnet50(resnet50, options, with_bias, without):
    for bias, expected in ((True, with_bias), (False, without)):
        model = CAStream(resnet50, bias=bias, **options)
        assert parameters(model.stream) == expected
        assert parameters(model) == 25_557_032 + expected


@pytest.mark.parametrize(
    "name, backbone, total, without, flops",
    [
        ("resnet18", 11_689_512, 12_129_320, 12_127_848, 3_184_640),
        ("torchvision/resnet18", 11_689_512, 12_129_320, 12_127_848, 3_184_640),
        ("resnet50", 25_557_032, 32_526_184, 32_520_296, 20_750_336),
        ("torchvision/resnet50", 25_557_032, 32_526_184, 32_520_296, 20_750_336),
        ("torchvision/convnext_small", 50_223_688, 51_202_792, 51_200_680, 4_211_712),
        ("convnext_base", 88_591_464, 90_331_112, 90_328_296, 6_483_968),
    ],
)
def test_parameters_and_flops_of_the_thesis(name, backbone, total, without, flops):
    net = on_meta(name)
    assert parameters(net) == backbone
    model = CAStream(net)
    biases = sum(value.numel() for name, value in model.stream.named_parameters() if name.endswith("bias"))
    assert (parameters(model), parameters(model) - biases) == (total, without)
    assert count_flops(model) - count_flops(net) == flops  # rounded: .020, .003, .004, .006 G


def count_flops(model: nn.Module) -> int:
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, 224, 224, device="meta"))
    return counter.get_total_flops()


# --- what learns and what stays ---------------------------------------------------------------------------------------


def snapshot(module: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(module.state_dict())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("options", [{}, {"block": "proj", "queries": "class"}], ids=str)
def test_a_training_step_changes_the_stream_and_nothing_else(training, options):
    model, x, targets = ca_stream(**options).train(training), images(), torch.tensor([0, 2])
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained == [f"stream.{name}" for name, _ in model.stream.named_parameters()]
    backbone, stream = snapshot(model.backbone), snapshot(model.stream)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5, weight_decay=0.1)
    F.cross_entropy(model(x, targets), targets).backward()
    optimizer.step()
    assert all(torch.equal(value, backbone[name]) for name, value in model.backbone.state_dict().items())
    assert not any(torch.equal(value, stream[name]) for name, value in model.stream.state_dict().items())


def test_the_stream_learns_where_to_look():
    """Two places with opposite evidence, one of them marked: pooled alike they cancel, attention finds the marked one."""
    marker = torch.tensor([[0, 1], [0, 1], [1, 0], [1, 0.0]])
    evidence = torch.tensor([[0, 1], [1, 0], [1, 0], [0, 1.0]])  # 1 for class 0, at the marked place
    x, targets = torch.stack([marker, evidence, 1 - evidence], 1)[:, :, None], torch.tensor([0, 1, 0, 1])
    backbone = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    with torch.no_grad():
        backbone[0].weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1, -1]])[..., None, None])
        backbone[3].weight.copy_(torch.tensor([[0.0, 5], [0, -5]]))
        backbone[3].bias.zero_()
    torch.manual_seed(0)
    model = CAStream(backbone, stages=["0"])
    optimizer = torch.optim.Adam(model.stream.parameters(), lr=0.1)
    for _ in range(100):
        loss = F.cross_entropy(model(x), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert not backbone(x).any()  # no evidence at all
    assert loss < 0.05
    assert (model.attention(x)[:, 0] * marker).sum(1).min() > 0.6


def test_the_stream_alone_is_saved_and_loaded():
    model, x = ca_stream(), images()
    weights = model.stream.state_dict()
    torch.manual_seed(5)
    fresh = CAStream(net(), stages=STAGES).eval()
    assert (fresh(x) - model(x)).abs().max() > 1e-3
    fresh.stream.load_state_dict(weights)
    assert torch.equal(fresh(x), model(x))


def test_copies_are_independent():
    model, x = ca_stream(), images()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.stream.query += 1
    assert not torch.equal(twin(x), model(x))
    assert torch.equal(ca_stream()(x), model(x))


# --- explaining it ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"queries": "class"}, {"start": 2}], ids=str)
def test_ablation_cam_equals_running_again_without_each_channel(options):
    model, x, targets = ca_stream(**options), images(2), torch.tensor([1, 2])
    for layer in ("backbone.2", "1"):
        seen = explain.evidence.collect(model, x, targets, layer=layer)
        weights = explain.ablationcam(seen, ablation_norm="none")[..., 0, 0]
        for channel in range(weights.shape[1]):
            without = seen.A.clone()
            without[:, channel] = 0
            handle = model.get_submodule(layer).register_forward_hook(lambda *_, without=without: without)
            drop = model(x).gather(1, targets[:, None])[:, 0]
            handle.remove()
            torch.testing.assert_close(weights[:, channel], seen.scores.detach() - drop.detach(), rtol=0, atol=1e-9)


def test_networks_behind_their_normalisation():
    plain, x = net(), images()
    wrapped = Normalized(net(), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)).double().eval()
    model = CAStream(wrapped, stages=STAGES).eval()
    twin = CAStream(plain, stages=STAGES).eval()
    twin.stream.load_state_dict(model.stream.state_dict())
    mean, std = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)))
    torch.testing.assert_close(model(x), twin((x - mean) / std))
    targets, gradcam = torch.tensor([0, 1]), explain.gradcam
    maps = [explain.cam(model, x, targets, layer=name, weights=gradcam) for name in ("1", "backbone.1", "net.1")]
    assert torch.equal(maps[0], maps[1]) and torch.equal(maps[0], maps[2]) and maps[0].any()


@pytest.mark.parametrize("layer", ["0", "1", "2", "2.0"])
def test_gradients_at_every_layer_are_those_of_the_logits(layer):
    model, x, targets = ca_stream(), images(1), torch.tensor([2])
    seen, step = explain.evidence.collect(model, x, targets, layer=layer), 1e-6
    direction = torch.randn(seen.A.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    scores = []
    for way in (step, -step):
        moved = seen.A + way * direction
        handle = model.get_submodule(layer).register_forward_hook(lambda *_, moved=moved: moved.clone())
        scores.append(model(x)[0, 2].item())
        handle.remove()
    assert (seen.G * direction).sum().item() == pytest.approx((scores[0] - scores[1]) / (2 * step), rel=1e-5)


# --- networks and options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, stages, widths",
    [
        (lambda: SmallCNN(7), ["stages.0", "stages.1", "stages.2"], [32, 64, 128]),
        (lambda: SmallCNN(7, channels=1, widths=(4, 5, 6, 8)), [f"stages.{n}" for n in range(4)], [4, 5, 6, 8]),
        (lambda: resnet18_cifar(7), ["stem", "layer1", "layer2", "layer3", "layer4"], [64, 64, 128, 256, 512]),
        (lambda: mobilenet_v2_cifar(7), ["stage1", "stage2", "stage3", "conv_head"], [16, 24, 32, 1280]),
        (models.load, ["blocks.0", "blocks.1", "blocks.2", "blocks.4", "bn2"], [16, 24, 40, 112, 1280]),
    ],
)
def test_the_networks_of_the_course(make, stages, widths):
    backbone = make()
    model = CAStream(backbone, queries="class").eval()
    assert list(model.stage_names) == stages
    assert [block.W.in_features for block in model.stream.blocks] == widths
    channels = next(module.in_channels for module in backbone.modules() if isinstance(module, nn.Conv2d))
    with torch.no_grad():
        x = torch.rand(2, channels, 32, 32)
        torch.testing.assert_close(model(x), model(x, backbone(x).argmax(1)))
    sizes = [model.attention(x, stage=stage).shape[1] for stage in range(len(stages))]
    assert len(set(sizes)) >= len(sizes) - 1  # only ResNet's stem is as large as what follows
    for name in stages:  # also where the model has attributes of its own
        assert network.find_layer(model, name) is network.find_layer(backbone, name)


def test_default_layer_is_that_of_the_backbone():
    assert models.default_layer(CAStream(models.load(pretrained=False))) == "bn2"


def test_weights_begin_as_in_the_authors_code():
    xavier = CAStream(models.load("resnet18", pretrained=False)).stream.blocks[-1].W
    bound = math.sqrt(6 / (512 + 512))
    assert 0.99 * bound < xavier.weight.abs().max() <= bound and xavier.bias.any()
    normal = CAStream(models.load("convnext_atto", pretrained=False)).stream.blocks[-1].W
    assert normal.weight.std().item() == pytest.approx(0.02, rel=0.05) and not normal.bias.any()


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(start=3), "start must be one of the stages 0..2, 0, 1, 2, found 3"),
        (dict(block="qkv"), "block must be 'ca' or 'proj', found 'qkv'"),
        (dict(queries="all"), "queries must be 'agnostic' or 'class', found 'all'"),
        (dict(queries="class", classifier=None), "name its layer with classifier="),
        (dict(stages=["0", "layer9"]), "no layer 'layer9'"),
        (dict(stages=["0", "1"]), "what follows '1' is not global average pooling and a classifier"),
        (dict(stages=["0", "4"]), "layer '4' returns shape .1, 5., not feature maps"),
        (dict(stages=["2", "0"]), "what follows '0' is not global average pooling"),
        (dict(stages=None), "the stages of Net are not known; name its layers"),
    ],
    ids=lambda part: str(part)[:40],
)
def test_what_does_not_fit_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        ca_stream(**options)


@pytest.mark.parametrize("step, lr", [(0, 0.1), (29, 0.1), (30, 0.01), (59, 0.01), (60, 0.001), (89, 0.001)])
def test_recipe_of_the_thesis(step, lr):
    assert Recipe(**IMAGENET_RECIPE).learning_rate(step, steps=1) == pytest.approx(lr)


def test_known_stages_need_more_than_the_name_of_the_class():
    with pytest.raises(ValueError, match="the stages of ResNet are not known"):
        known(type("ResNet", (nn.Module,), {})())


def test_by_default_maps_read_what_the_stream_pools():
    """One module further up, in the pooled features, there is nothing left to localise."""
    from xailib.models import SmallCNN, default_layer

    for net in (SmallCNN(3, widths=(4, 8)), resnet18_cifar(3)):
        stream = CAStream(net.eval()).eval()
        assert default_layer(stream) == stream.stage_names[-1]
