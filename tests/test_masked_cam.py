"""Score-CAM, Ablation-CAM, Layer-CAM fusion and Fake-CAM: numbers by hand, theorems, edge cases, costs."""

from functools import partial

import pytest
import torch
from cases import batch, tiny
from torch import nn

from xailib import explain, heatmap, network
from xailib.explain import ablationcam, cam, fakecam, layercam_fusion, scorecam


class Hand(nn.Module):
    """Features by a function of the pixels, global average pooling, one linear layer."""

    def __init__(self, features, W, b=(0.0, 0.0)):
        super().__init__()
        self.features = type("Features", (nn.Module,), {"forward": lambda self, x: features(x)})()
        self.head = nn.Linear(len(W[0]), len(W))
        self.head.weight.data, self.head.bias.data = torch.tensor(W), torch.tensor(b)
        self.double().eval()
        self.seen = 0  # images that went through the network

    def forward(self, x):
        self.seen += len(x)
        return self.head(self.features(x).mean((2, 3)))


def fixture_1(b=0.5):
    """A1 = [[1, 2], [3, 4]], A2 = [[0, 1], [1, 0]], w = (2, -1): y = 4.5 + b."""
    A = torch.tensor([[[1.0, 2], [3, 4]], [[0, 1], [1, 0]], [[0, 0], [0, 0]]], dtype=torch.float64)
    return Hand(lambda x: 4 * x[:, :2], [[2.0, -1.0], [0.0, 0.0]], (b, 0.0)), A[None] / 4


def fixture_2():
    """x = [[1, 2], [3, 4]], A1 = ReLU(x), A2 = ReLU(2 - x), y = 2 mean(A1) - mean(A2); the other class's logit is 0."""
    x = torch.tensor([[1.0, 2], [3, 4]], dtype=torch.float64).expand(1, 3, 2, 2) / 4
    features = lambda x: torch.cat([(4 * x[:, :1]).relu(), (2 - 4 * x[:, :1]).relu()], 1)  # noqa: E731
    return Hand(features, [[2.0, -1.0], [0.0, 0.0]]), x


FIRST = torch.tensor([0])


def close(found, expected, atol=1e-9):
    return torch.allclose(found.double(), torch.tensor(expected, dtype=torch.float64), atol=atol, rtol=0)


# --- Score-CAM --------------------------------------------------------------------------------------------------------


def test_scorecam_by_hand():
    net, x = fixture_2()
    w = scorecam(explain.collect(net, x, FIRST, layer="features"))
    assert close(w.flatten(), [0.97702263, 0.02297737], 1e-8)  # softmax(2.5, -1.25)
    maps = cam(net, x, FIRST, layer="features", weights=scorecam)
    assert close(heatmap.normalize(maps)[0], [[0, 0.32806587], [0.66403294, 1]], 1e-8)


def test_scorecam_with_probabilities_by_hand():
    net, x = fixture_2()
    net.head.bias.data[1] = 1  # the other class's logit
    weights = partial(scorecam, score_cam="prob_nosoftmax")
    w = weights(explain.collect(net, x, FIRST, layer="features"))
    assert close(w.flatten(), [0.81757448, 0.09534946], 1e-8)  # sigmoid(2.5 - 1), sigmoid(-1.25 - 1)


def test_scorecam_is_the_plain_loop_over_channels():
    net = tiny().double()
    images, targets = batch(2)
    images = images.double()
    seen = explain.collect(net, images, targets, layer="features")
    scores = torch.zeros(seen.A.shape[:2], dtype=torch.float64)
    for i, k in torch.cartesian_prod(torch.arange(2), torch.arange(8)):
        mask = heatmap.normalize(heatmap.resize(seen.A[i, k][None], images.shape[2:]))
        scores[i, k] = net(images[i : i + 1] * mask)[0, targets[i]]
    assert torch.allclose(scorecam(seen).flatten(1), scores.softmax(1), atol=1e-9)


@pytest.mark.parametrize("level", [0.0, 0.7])
def test_a_constant_channel_hides_the_whole_image(level):
    """0.7 resized from 4 x 3 to 30 x 31 is no longer constant in its last bit, which must not become a mask."""

    def features(x):
        A = nn.functional.adaptive_avg_pool2d(x, (4, 3))
        return torch.cat([A[:, :2], torch.full_like(A[:, :2], level)], 1)

    torch.manual_seed(0)
    net, images = Hand(features, torch.randn(3, 4).tolist(), [0.0] * 3), torch.rand(1, 3, 30, 31, dtype=torch.float64)
    logits = explain.collect(net, images, FIRST, layer="features").masked_logits(
        torch.full((1, 2, 4, 3), level).double()
    )
    assert torch.allclose(logits, net(torch.zeros_like(images)).expand(1, 2, 3))


def test_constant_channels_share_one_run():
    net = Hand(lambda x: torch.cat([x[:, :2], *[0 * x[:, :1]] * 5], 1), torch.ones(2, 7).tolist())
    seen = explain.collect(net, torch.rand(1, 3, 8, 8, dtype=torch.float64), FIRST, layer="features")
    net.seen = 0
    w = scorecam(seen)
    assert net.seen == 2 + 1 + 1  # two masks, one black image, one image that tries the memory layout
    assert w[0, 2:].unique().numel() == 1


@pytest.mark.parametrize("weights", [scorecam, ablationcam])
def test_chunks_change_nothing(weights):
    net, (images, targets) = tiny(), batch(2)
    maps = [cam(net, images, targets, layer="features", weights=partial(weights, chunk=n)) for n in (1, 3, 100)]
    assert torch.allclose(maps[0], maps[1], atol=1e-6) and torch.allclose(maps[0], maps[2], atol=1e-6)


@pytest.mark.parametrize("weights", [scorecam, ablationcam])
def test_memory_is_bounded_by_the_chunk(weights):
    net, (images, targets) = tiny(), batch(1)
    seen = explain.collect(net, images, targets, layer="features")
    largest = []
    with network.hooked([(net.act, lambda _, __, output: largest.append(len(output)))]):
        weights(seen, chunk=3)
    assert max(largest) == 3


def test_a_network_that_reshapes_with_view():
    class Viewing(type(tiny())):
        def forward(self, x):
            return self.head(self.act(self.features(self.stem(x))).view(len(x), 8, -1).mean(2))

    net, viewing, (images, targets) = tiny(), Viewing().eval(), batch(2)
    viewing.load_state_dict(net.state_dict())
    expected = cam(net, images, targets, layer="features", weights=scorecam)
    assert torch.allclose(cam(viewing, images, targets, layer="features", weights=scorecam), expected, atol=1e-6)


# --- Ablation-CAM -----------------------------------------------------------------------------------------------------


def test_ablationcam_by_hand():
    net, x = fixture_1()
    w = ablationcam(explain.collect(net, x, FIRST, layer="features"))
    assert close(w.flatten(), [1.0, -0.1])
    maps = cam(net, x, FIRST, layer="features", weights=ablationcam)
    assert close(maps[0], [[1, 1.9], [2.9, 4]])
    assert close(heatmap.normalize(maps)[0], [[0, 0.3], [0.63333333, 1]], 1e-8)


@pytest.mark.parametrize(
    "b, norm, expected",
    [
        (-6.5, "abs", [2.5, -0.25]),  # y = -2: the drops 5 and -0.5, divided by 2
        (-6.5, "signed", [-2.5, 0.25]),
        (-6.5, "none", [5.0, -0.5]),
        (-4.5, "abs", [5.0, -0.5]),  # y = 0: not divided
        (-4.5, "signed", [5.0, -0.5]),
    ],
)
def test_ablation_norm(b, norm, expected):
    net, x = fixture_1(b)
    w = ablationcam(explain.collect(net, x, FIRST, layer="features"), ablation_norm=norm)
    assert close(w.flatten(), expected)


def test_ablation_on_pooling_and_a_linear_head_is_the_weight_times_the_mean():
    net, (images, targets) = tiny().double(), batch(3)
    seen = explain.collect(net, images.double(), targets, layer="act")
    closed = net.head.weight[targets] * seen.A.mean((2, 3)) / seen.scores[:, None].abs()
    assert torch.allclose(ablationcam(seen).flatten(1), closed, atol=1e-9)


@pytest.mark.parametrize("layer", ["stem.0", "stem.1", "features"])
def test_ablationcam_is_the_plain_loop_over_channels(layer):
    net, (images, targets) = tiny().double(), batch(2)
    images = images.double()
    seen = explain.collect(net, images, targets, layer=layer)
    for k in range(seen.A.shape[1]):

        def without(_, __, output, k=k):
            output = output.clone()
            output[:, k] = 0
            return output

        with torch.no_grad(), network.hooked([(net.get_submodule(layer), without)]):
            drop = seen.scores - net(images).gather(1, targets[:, None])[:, 0]
        assert torch.allclose(ablationcam(seen)[:, k, 0, 0], drop / seen.scores.abs(), atol=1e-9)


def test_tokens_are_ablated_at_their_places_only():
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    net = VisionTransformer(img_size=16, patch_size=4, embed_dim=8, depth=2, num_heads=2, num_classes=3).eval().double()
    images = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    seen = explain.collect(net, images, FIRST, layer="blocks.1.norm1")
    assert seen.A.shape == (1, 8, 4, 4)

    def without(_, __, output):
        output = output.clone()
        output[:, 1:, 5] = 0  # all but the class token
        return output

    with torch.no_grad(), network.hooked([(net.blocks[1].norm1, without)]):
        drop = (seen.scores - net(images)[:, 0]) / seen.scores.abs()
    assert drop.abs() > 1e-6 and torch.allclose(ablationcam(seen)[0, 5, 0, 0], drop, atol=1e-9)


@pytest.mark.parametrize(
    "weights, message",
    [
        (
            partial(scorecam, score_cam="logits"),
            "score_cam must be 'logit_softmax' or 'prob_nosoftmax', found 'logits'",
        ),
        (partial(scorecam, order="up"), "order must be 'up_then_norm' or 'norm_then_up', found 'up'"),
        (partial(scorecam, chunk=0), "chunk must be at least 1"),
        (partial(ablationcam, ablation_norm="max"), "ablation_norm must be one of abs, signed, none, found 'max'"),
        (partial(ablationcam, chunk=-1), "chunk must be at least 1"),
    ],
)
def test_bad_options(weights, message):
    images, targets = batch()
    with pytest.raises(ValueError, match=message):
        cam(tiny(), images, targets, layer="features", weights=weights)


# --- Layer-CAM fusion -------------------------------------------------------------------------------------------------


class TwoStages(nn.Module):
    """Two layers with known activations and gradients: y = sum A1 + 3 A2 at one place, for A1 = 2 x and A2 = x."""

    def __init__(self):
        super().__init__()
        self.low, self.high = nn.Conv2d(3, 1, 1, bias=False), nn.Conv2d(1, 1, 1, bias=False)
        self.low.weight.data = torch.tensor([2.0, 0, 0]).view(1, 3, 1, 1)
        self.high.weight.data.fill_(0.5)
        self.eval()

    def forward(self, x):
        low = self.low(x)
        high = self.high(low)
        return torch.stack([low.sum((1, 2, 3)) + 3 * high[:, 0, 0, 0], high.sum((1, 2, 3))], 1)


def fused(**options):
    x = torch.tensor([[0.5, 0.25], [0.0, 1.0]]).expand(1, 3, 2, 2)
    return layercam_fusion(TwoStages(), x, FIRST, layers=["low", "high"], **options)[0]


def test_fusion_by_hand():
    """low: A = [[1, .5], [0, 2]], G = [[2.5, 1], [1, 1]], M = [[2.5, .5], [0, 2]]; high: A = low / 2, G = 3 once."""
    low, high = torch.tensor([[1, 0.2], [0, 0.8]]), torch.tensor([[1.0, 0], [0, 0]])
    assert torch.allclose(fused(), torch.maximum(low, high), atol=1e-6)
    assert torch.allclose(fused(fusion="mean"), (low + high) / 2, atol=1e-6)
    assert torch.allclose(fused(shallow=1), torch.maximum((2 * low).tanh(), high), atol=1e-6)
    assert torch.allclose(fused(shallow=2, gamma=1.0), torch.maximum(low.tanh(), high.tanh()), atol=1e-6)


def test_all_but_the_last_two_layers_are_shallow_by_default():
    net, (images, targets) = tiny(), batch()
    layers = ["stem.0", "stem.1", "features"]
    default = layercam_fusion(net, images, targets, layers=layers)
    assert torch.equal(default, layercam_fusion(net, images, targets, layers=layers, shallow=1))
    assert not torch.equal(default, layercam_fusion(net, images, targets, layers=layers, shallow=0))


def test_fusion_of_one_layer_is_its_layercam():
    net, (images, targets) = tiny(), batch()
    one = layercam_fusion(net, images, targets, layers=["features"])
    seen = explain.collect(net, images, targets, layer="features")
    M = (seen.G.relu() * seen.A).sum(1).relu()
    assert torch.allclose(one, heatmap.resize(M / M.amax((1, 2), keepdim=True), (16, 16)), atol=1e-6)


def test_fusion_runs_the_network_once_forward_and_once_backward(monkeypatch):
    net, (images, targets) = tiny(), batch()
    forwards, backwards, gradients = [], [], network.gradients
    monkeypatch.setattr(network, "gradients", lambda *a, **k: (backwards.append(1), gradients(*a, **k))[1])
    with network.hooked([(net.head, lambda *_: forwards.append(1))]):
        layercam_fusion(net, images, targets, layers=["stem.0", "features"])
    assert len(forwards) == len(backwards) == 1


@pytest.mark.parametrize(
    "options",
    [dict(fusion="sum"), dict(shallow=3), dict(shallow=-1), dict(gamma=0.0), dict(layers=[]), dict(layers=["nowhere"])],
    ids=str,
)
def test_bad_fusion(options):
    images, targets = batch()
    with pytest.raises(ValueError, match="fusion must be|at least one layer|no layer 'nowhere'"):
        layercam_fusion(tiny(), images, targets, **{"layers": ["stem.0", "features"], **options})


# --- Fake-CAM ---------------------------------------------------------------------------------------------------------


def test_fakecam_is_one_everywhere_but_at_the_first_pixel():
    images, targets = batch(2, size=4)
    maps = fakecam(tiny(), images.requires_grad_(), targets)
    assert maps.sum((1, 2)).tolist() == [15, 15] and maps[:, 0, 0].tolist() == [0, 0]
    assert maps.dtype == torch.float32 and not maps.requires_grad
