"""The gradient CAMs by hand, by theorem, and at their edges. Score-CAM and Ablation-CAM are in test_masked_cam.py."""

import pytest
import torch
from cases import batch, tiny, tiny_vit
from torch import nn

from xailib import explain, heatmap, network
from xailib.explain import WEIGHTS, cam, collect, collect_layers, combine

GRADIENT = ["gradcam", "gradcam_pp", "xgradcam", "layercam", "hirescam"]


class Scale(nn.Module):
    def forward(self, x):
        return 4 * x


class GapLinear(nn.Module):
    """Features are the pixels times 4; their means meet a linear head."""

    def __init__(self, w=(2.0, -1.0), b=0.5):
        super().__init__()
        self.features, self.head = Scale(), nn.Linear(2, 1)
        self.head.weight.data, self.head.bias.data = torch.tensor([w]), torch.tensor([b])
        self.double().eval()

    def forward(self, images):
        return self.head(self.features(images).mean((2, 3)))


# A1 = [[1, 2], [3, 4]] and A2 = [[0, 1], [1, 0]] as pixels; a head of (2, -1) makes y = 2 * 2.5 - 0.5 + 0.5 = 5
IMAGES = torch.tensor([[[[1.0, 2], [3, 4]], [[0, 1], [1, 0]]]], dtype=torch.float64) / 4
FIRST = torch.tensor([0])


def close(found, expected, atol=1e-9):
    return torch.allclose(found, torch.tensor(expected, dtype=torch.float64), atol=atol, rtol=0)


def maps_of(net, weights, images=IMAGES, layer="features", **options):
    return cam(net, images, FIRST.expand(len(images)), layer=layer, weights=weights, **options)[0]


# --- by hand ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, raw, normalized",
    [
        ("classic_cam", [[2, 3], [5, 8]], [[0, 1 / 6], [1 / 2, 1]]),
        ("gradcam", [[0.5, 0.75], [1.25, 2]], [[0, 1 / 6], [1 / 2, 1]]),
        ("xgradcam", [[0.5, 0.75], [1.25, 2]], [[0, 1 / 6], [1 / 2, 1]]),
        ("hirescam", [[0.5, 0.75], [1.25, 2]], [[0, 1 / 6], [1 / 2, 1]]),
        ("layercam", [[0.5, 1], [1.5, 2]], [[0, 1 / 3], [2 / 3, 1]]),
        ("gradcam_pp", [[2 / 7, 4 / 7], [6 / 7, 8 / 7]], [[0, 1 / 3], [2 / 3, 1]]),
    ],
)
def test_map_by_hand(name, raw, normalized):
    found = maps_of(GapLinear(), WEIGHTS[name])
    assert close(found, raw) and close(heatmap.normalize(found[None])[0], normalized)


@pytest.mark.parametrize(
    "name, expected",
    [("classic_cam", [2, -1]), ("gradcam", [0.5, -0.25]), ("xgradcam", [0.5, -0.25]), ("gradcam_pp", [2 / 7, 0])],
)
def test_weights_by_hand(name, expected):
    seen = collect(GapLinear(), IMAGES, FIRST, layer="features")
    assert seen.scores.item() == pytest.approx(5)
    assert close(WEIGHTS[name](seen).flatten(), expected)


def test_a_gradient_that_varies_by_hand():
    net = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(4, 1, bias=False)).double().eval()
    net[2].weight.data = torch.tensor([[4.0, -2, 1, 1]]).double()
    images = torch.tensor([[[[1.0, 0.5], [0, 1]]]]).double()
    maps = {name: maps_of(net, WEIGHTS[name], images, "0") for name in GRADIENT}
    assert close(maps["gradcam"], [[1, 0.5], [0, 1]])  # mean gradient 1
    assert close(maps["hirescam"], [[4, 0], [0, 1]]) and close(maps["layercam"], [[4, 0], [0, 1]])
    assert close(maps["xgradcam"], [[1.6, 0.8], [0, 1.6]])  # (4 - 1 + 0 + 1) / 2.5
    weight = 4 / 12 + 2 / 4.5  # alpha = 1 / (2 + 2.5 g); -2 is cut by the ReLU
    assert close(maps["gradcam_pp"], [[weight, weight / 2], [0, weight]])


# --- ReLU, size, and scale --------------------------------------------------------------------------------------------


def test_negative_sums_become_zero_unless_asked_for():
    against = GapLinear((-2.0, 1.0))
    assert not maps_of(against, explain.gradcam).any()
    assert close(maps_of(against, explain.gradcam, relu=False), [[-0.5, -0.75], [-1.25, -2]])
    assert close(maps_of(against, explain.classic_cam), [[-2, -3], [-5, -8]])  # the original CAM keeps its sign
    assert not maps_of(against, explain.classic_cam, relu=True).any()


def test_maps_are_raw_and_at_image_size():
    net = GapLinear()
    net.features = nn.Sequential(Scale(), nn.AvgPool2d((2, 4))).eval()
    images = torch.rand(2, 2, 6, 20, dtype=torch.float64)
    small = net.features(images)
    expected = heatmap.resize((2 * small[:, 0] - small[:, 1]).relu() / 15, (6, 20))  # w = (2, -1) / (3 * 5 places)
    found = cam(net, images, torch.tensor([0, 0]), layer="features", weights=explain.gradcam)
    assert torch.allclose(found, expected, atol=1e-12)
    net.head.weight.data *= 10
    louder = cam(net, images, torch.tensor([0, 0]), layer="features", weights=explain.gradcam)
    assert torch.allclose(louder, 10 * expected, atol=1e-12)


# --- theorems ---------------------------------------------------------------------------------------------------------


def random_case():
    images, targets = batch()
    return tiny().double(), images.double(), targets


def test_below_pooling_and_a_linear_head_the_family_is_one():
    """G = W / hw at every place: Grad-CAM, XGrad-CAM and HiRes-CAM are CAM / hw, the others have closed forms."""
    net, images, targets = random_case()
    seen = collect(net, images, targets, layer="act")
    W, places = net.head.weight[targets].detach()[..., None, None], 64
    found = {name: WEIGHTS[name](seen).expand_as(seen.A) for name in [*GRADIENT, "classic_cam"]}
    assert torch.equal(found["classic_cam"], W.expand_as(seen.A))
    for name in ("gradcam", "hirescam"):
        assert torch.allclose(found[name], W / places, atol=1e-12)
    alive = seen.A.any(3).any(2)[..., None, None]
    assert alive.any() and torch.allclose(found["xgradcam"], (W / places).where(alive, 0), atol=1e-12)
    assert torch.allclose(found["layercam"], W.relu() / places, atol=1e-12)
    means = seen.A.mean((2, 3), keepdim=True)
    assert torch.allclose(found["gradcam_pp"], W.relu() / (2 + W * means), atol=1e-12)


def test_cam_adds_up_to_the_score_without_its_bias():
    net, images, targets = random_case()
    seen = collect(net, images, targets, layer="act")
    total = (explain.classic_cam(seen) * seen.A).sum((1, 2, 3)) / 64
    assert torch.allclose(total, seen.scores.detach() - net.head.bias[targets], atol=1e-12)


@pytest.mark.parametrize("name", ["hirescam", "xgradcam"])
def test_above_the_layer_only_relus_and_linear_maps_so_all_of_the_score_is_shared_out(name):
    net, images, targets = random_case()
    seen = collect(net, images, targets, layer="features")
    total = (WEIGHTS[name](seen) * seen.A).sum((1, 2, 3))
    assert torch.allclose(total, seen.scores.detach() - net.head.bias[targets], atol=1e-12)


# --- edges ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GRADIENT)
def test_without_gradient_or_activation_the_map_is_blank(name):
    assert not maps_of(GapLinear((0.0, 0.0)), WEIGHTS[name]).any()
    assert not maps_of(GapLinear(), WEIGHTS[name], torch.zeros_like(IMAGES)).any()


def test_undefined_weights_are_zero():
    net = nn.Sequential(nn.Identity(), Scale(), nn.Flatten(), nn.Linear(4, 1, bias=False)).double().eval()
    net[3].weight.data = torch.tensor([[1.0, 0, 0, 0]]).double()

    def weights(name, *A):
        seen = collect(net, torch.zeros(1, 1, 2, 2).double(), FIRST, layer="0")
        vars(seen)["A"] = torch.tensor(A, dtype=torch.float64).view(
            1, 1, 2, 2
        )  # activations below 0 too; G = 4, 0, 0, 0
        return WEIGHTS[name](seen).item()

    assert weights("xgradcam", 1, -1, 2, -2) == 0  # the channel sums to 0
    assert weights("gradcam_pp", 1, -1, 0, -0.5) == 0  # 2 + -0.5 * 4 = 0
    assert weights("gradcam_pp", 1, -1, 0, 0) == pytest.approx(4 / 2)


@pytest.mark.parametrize("name", ["xgradcam", "gradcam_pp"])
def test_tiny_gradients_do_not_underflow(name):
    net, (images, targets) = tiny(), batch()
    expected = cam(net, images, targets, layer="features", weights=WEIGHTS[name])
    net.head.weight.data *= 1e-25  # squared, it would be 0 in float32
    found = cam(net, images, targets, layer="features", weights=WEIGHTS[name])
    assert found.any()
    if name == "xgradcam":  # linear in the gradient
        torch.testing.assert_close(found * 1e25, expected)


# --- one engine -------------------------------------------------------------------------------------------------------


def test_an_invented_cam_is_one_lambda():
    peak = maps_of(GapLinear(), lambda e: e.G.amax((2, 3), keepdim=True))
    assert close(peak, [[0.5, 0.75], [1.25, 2]])  # the gradient is the same everywhere
    assert close(maps_of(GapLinear(), lambda e: e.A), [[1, 5], [10, 16]])  # energy, place by place
    equal = maps_of(GapLinear(), lambda e: torch.ones_like(e.A[:, :, :1, :1]))
    assert close(equal, [[1, 3], [4, 4]])
    scored = maps_of(GapLinear(), lambda e: e.scores[:, None, None, None] * torch.ones_like(e.A))
    assert close(scored, [[5, 15], [20, 20]])


def test_one_forward_and_one_backward_serve_all_maps_of_all_layers(monkeypatch):
    net, images, targets = random_case()
    layers, count = ["stem.0", "features"], {"forward": 0, "backward": 0}
    expected = {
        (layer, name): cam(net, images, targets, layer=layer, weights=WEIGHTS[name])
        for layer in layers
        for name in GRADIENT
    }

    def counted(*args, gradients=network.gradients, **options):
        count["backward"] += 1
        return gradients(*args, **options)

    def count_forward(*_):
        count["forward"] += 1

    monkeypatch.setattr(network, "gradients", counted)
    with network.hooked([(net.head, count_forward)]):
        for layer, seen in zip(layers, collect_layers(net, images, targets, layers=layers), strict=True):
            for name in GRADIENT:
                found = combine(seen, WEIGHTS[name])
                assert torch.allclose(found, expected[layer, name], atol=1e-12)
    assert count == {"forward": 1, "backward": 1}


def test_other_classes_from_the_same_forward_pass():
    net, images, targets = random_case()
    others = (targets + 1) % 4
    for name in WEIGHTS:
        layer = "act" if name == "classic_cam" else "features"
        seen = collect(net, images, targets, layer=layer)
        expected = cam(net, images, others, layer=layer, weights=WEIGHTS[name])
        assert torch.allclose(combine(seen.towards(others), WEIGHTS[name]), expected, atol=1e-9)
        again = cam(net, images, targets, layer=layer, weights=WEIGHTS[name])
        assert torch.allclose(combine(seen, WEIGHTS[name]), again, atol=1e-9), "the first class is still there"
    with pytest.raises(ValueError, match="targets must lie in 0..3, found 1 to 7"):
        seen.towards(torch.tensor([1, 2, 7]))
    with pytest.raises(ValueError, match="one class per image"):
        seen.towards(targets[:1])


# --- other layouts ----------------------------------------------------------------------------------------------------


class ChannelsLast(nn.Module):
    """TinyNet whose features pass a LayerNorm (which does nothing) in the layout [b h w k], as in ConvNeXt and Swin."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        x = self.net.features(self.net.stem(x)).permute(0, 2, 3, 1)
        return self.net.head(self.last(x).relu().mean((1, 2)))


class Same(nn.LayerNorm):
    def forward(self, x):
        return 1 * x


@pytest.mark.parametrize("name", GRADIENT)
def test_channels_may_come_last(name):
    net, images, targets = random_case()
    expected = cam(net, images, targets, layer="features", weights=WEIGHTS[name])
    other = ChannelsLast(net)
    other.last = Same(8)
    found = cam(other.eval(), images, targets, layer="last", weights=WEIGHTS[name])
    assert torch.allclose(found, expected, atol=1e-12)


class Tokens(nn.Module):
    """TinyNet whose features are tokens behind two that lie nowhere; it does not tell how they lie in the image."""

    def __init__(self, net):
        super().__init__()
        self.net, self.tokens = net, nn.Identity()

    def forward(self, x):
        x = self.net.features(self.net.stem(x)).flatten(2).mT
        x = self.tokens(torch.cat([x[:, :2], x], 1))[:, 2:]
        return self.net.head(x.relu().mean(1))


def test_tokens_lie_where_they_are_said_to_lie():
    net, images, targets = random_case()
    images = images[..., :12]  # 8 x 6 places
    expected = cam(net, images, targets, layer="features", weights=explain.hirescam)
    other = Tokens(net).eval()
    found = cam(other, images, targets, layer="tokens", weights=explain.hirescam, grid=(8, 6))
    assert torch.allclose(found, expected, atol=1e-12)
    with pytest.raises(ValueError, match=r"Tokens does not tell how its tokens lie in the image; pass grid=\(h, w\)"):
        cam(other, images, targets, layer="tokens", weights=explain.hirescam)


def test_the_last_block_counts_where_patches_are_pooled():
    """With a class token it has no gradient, and is refused (test_inputs.py)."""
    images, targets = batch()
    assert cam(tiny_vit(pool="mean"), images, targets, layer="blocks.2", weights=explain.gradcam).any()
