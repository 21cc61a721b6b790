"""Opti-CAM: an optimisation small enough to follow by hand, its theorems, its options and its edge cases."""

import math

import pytest
import torch
from cases import batch, tiny
from torch import nn

from xailib import explain, heatmap, network
from xailib.explain import opticam, opticam_trace


class Pixels(nn.Module):
    """Three pixels with a linear score v . x, a second class of score 0, and fixed features: A1 = e1, A2 = e2."""

    def __init__(self, v, A=((1.0, 0, 0), (0, 1.0, 0))):
        super().__init__()
        self.v = torch.tensor(v, dtype=torch.float64)
        A = torch.tensor(A, dtype=torch.float64)[None, :, None]
        self.features = type("Features", (nn.Module,), {"forward": lambda self, x: A.expand(len(x), -1, -1, -1)})()
        self.eval()
        self.seen = []  # images in each forward pass

    def forward(self, x):
        self.seen.append(len(x))
        self.features(x)
        score = (x[:, 0, 0] * self.v).sum(1)
        return torch.stack([score, 0 * score], 1)


WHITE = torch.ones(1, 3, 1, 3, dtype=torch.float64)
FIRST = torch.tensor([0])


def trace_of(v, **options):
    return opticam_trace(Pixels(v), WHITE, FIRST, layer="features", **options)


# --- by hand ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("v, order", [((3.0, -1.0, 0.0), [0, 1, 2]), ((-1.0, 3.0, 0.0), [1, 0, 2])])
def test_a_hundred_steps(v, order):
    trace = trace_of(v)
    assert trace.losses[0].item() == -2.0
    assert trace.losses[100].item() == pytest.approx(-2.98847, abs=1e-5)
    assert trace.kept.item() == 100
    expected = torch.tensor([1.0, 0.01153, 0.0], dtype=torch.float64)[order]
    assert torch.allclose(trace.maps[0, 0], expected, atol=1e-5)


def test_the_best_iterate_is_kept_even_if_it_is_the_first():
    assert -trace_of((3.0, 2.0, 0.0)).losses.min() == 5.0
    assert trace_of((3.0, 2.0, 0.0)).maps.flatten().tolist() == [1, 1, 0]
    last = trace_of((3.0, 2.0, 0.0), keep="last")
    assert last.kept.item() == 100 and last.losses[100].item() == pytest.approx(-4.9748, abs=1e-4)
    assert last.maps[0, 0, 1].item() == pytest.approx(0.9874, abs=1e-4)  # 3 + 2 * 0.9874 = 4.9748


def test_the_first_step_of_adam_is_the_learning_rate():
    trace = trace_of((3.0, -1.0, 0.0), iterations=1, lr=0.25, keep="last")
    first = 1 / (1 + math.exp(-0.5))  # softmax(0.25, -0.25)
    assert trace.saliency[1, 0, 0].tolist() == pytest.approx([first, 1 - first, 0], abs=1e-6)


@pytest.mark.parametrize(
    "options, loss",
    [
        (dict(), -2.0),  # the mask is (1, 1, 0) at first
        (dict(selector="prob"), -1 / (1 + math.exp(-2))),
        (dict(selector="margin"), -2.0),  # the other class's score is 0
        (dict(objective="diff"), 0.5),  # v . x = 2.5
        (dict(objective="diff", selector="prob"), 1 / (1 + math.exp(-2.5)) - 1 / (1 + math.exp(-2))),
        (dict(norm="max"), -2.0),
        (dict(norm="sigmoid"), -2 / (1 + math.exp(-0.5)) - 0.25),  # sigmoid(0.5), sigmoid(0.5), sigmoid(0)
    ],
    ids=str,
)
def test_loss_of_equal_weights(options, loss):
    assert trace_of((3.0, -1.0, 0.5), iterations=1, **options).losses[0].item() == pytest.approx(loss, abs=1e-12)


def test_margin_is_to_the_largest_other_class():
    class Three(Pixels):
        def forward(self, x):
            return torch.cat([super().forward(x), x[:, 0, 0, :1] * 7], 1)

    trace = opticam_trace(Three((3.0, -1.0, 0.0)), WHITE, FIRST, layer="features", selector="margin", iterations=1)
    assert trace.losses[0].item() == 7 - 2


def test_negative_activations_are_rectified():
    A = ((1.0, 0, 0), (-5.0, 1.0, -5.0))
    found = opticam_trace(Pixels((3.0, -1.0, 0.0), A), WHITE, FIRST, layer="features", iterations=1).saliency[0, 0, 0]
    assert found.tolist() == [0.5, 0.5, 0]


# --- edge cases -------------------------------------------------------------------------------------------------------


def complementary(size):
    class Net(nn.Module):
        """A2 = 0.3 - A1 wherever A1 is: with equal weights S is 0.15 everywhere."""

        def __init__(self):
            super().__init__()
            self.features = type("Features", (nn.Module,), {"forward": lambda self, x: torch.cat([x, 0.3 - x], 1)})()
            self.head = nn.Linear(3, 2)

        def forward(self, x):
            self.features(0.3 * nn.functional.adaptive_avg_pool2d(x[:, :1], (5, 7)))
            return self.head(x.mean((2, 3)))

    torch.manual_seed(0)
    return Net().eval(), torch.rand(1, 3, *size)


@pytest.mark.parametrize("size", [(5, 7), (30, 31)])
def test_complementary_channels_give_zeros_and_an_early_end(size):
    """S is constant up to rounding, in which resizing and normalising must not find a picture."""
    net, images = complementary(size)
    trace = opticam_trace(net, images, FIRST, layer="features")
    assert not trace.maps.any() and heatmap.degenerate(trace.maps).all()
    assert trace.losses.isfinite().sum() == 2 and trace.losses[0] == trace.losses[1]


def test_a_single_channel_is_its_own_map():
    trace = opticam_trace(Pixels((3.0, -1, 0), A=((0.5, 0.2, 0.1),)), WHITE, FIRST, layer="features")
    assert trace.maps.flatten().tolist() == pytest.approx([1, 0.25, 0])
    assert trace.losses.isfinite().sum() == 2  # nothing moves: stops after the second


def test_dead_features_give_zeros():
    trace = opticam_trace(Pixels((3.0, -1, 0), A=((-1.0, -2, 0), (0, 0, 0))), WHITE, FIRST, layer="features")
    assert not trace.maps.any()


# --- stopping ---------------------------------------------------------------------------------------------------------


def test_images_that_have_stopped_take_no_part_any_more():
    net = Pixels((3.0, -1.0, 0.0))
    images = torch.cat([WHITE, 0 * WHITE, WHITE])  # in the black image no mask changes anything
    trace = opticam_trace(net, images, FIRST.expand(3), layer="features", iterations=20, chunk=3)
    assert trace.losses.isfinite().sum(0).tolist() == [21, 2, 21]
    assert net.seen[-21:] == [3, 3] + [2] * 19
    alone = opticam(net, WHITE, FIRST, layer="features", iterations=20)
    assert torch.equal(trace.maps[0], alone[0]) and torch.equal(trace.maps[2], alone[0])


def test_stop_when_the_loss_has_grown_over_a_tenth_of_the_iterations():
    trace = trace_of((3.0, 2.0, 0.0), stop="loss_increase", keep="last")  # only gets worse after the first iterate
    assert trace.losses.isfinite().sum() == 11 and trace.kept.item() == 10
    assert torch.equal(trace.maps, trace.frame(100)) and not torch.equal(trace.maps, trace.frame(9))
    short = trace_of((3.0, 2.0, 0.0), stop="loss_increase", iterations=3)
    assert short.losses.isfinite().sum() == 2, "every step is compared where a tenth is less than one"
    assert trace_of((3.0, -1.0, 0.0), stop="loss_increase").losses.isfinite().all(), "a falling loss runs to the end"


# --- theorems on a real network ---------------------------------------------------------------------------------------

OPTIONS = [
    dict(),
    dict(norm="max"),
    dict(norm="sigmoid"),
    dict(objective="diff"),
    dict(selector="prob"),
    dict(selector="margin"),
    dict(keep="last"),
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_invariants(options):
    net, (images, targets) = tiny().double(), batch(3)
    images = images.double()
    trace = opticam_trace(net, images, targets, layer="features", iterations=15, lr=0.5, **options)
    if "norm" not in options:
        assert trace.maps.amin((1, 2)).eq(0).all()
    assert 0 <= trace.maps.min() and trace.maps.max() <= 1
    if options.get("norm") != "sigmoid":
        assert trace.maps.amax((1, 2)).eq(1).all()
    if options.get("keep") != "last":
        assert (trace.losses.gather(0, trace.kept[None])[0] <= trace.losses.min(0).values).all()
        assert (trace.losses.min(0).values < trace.losses[0]).all()
    if not options:  # the loss of the kept iterate is the score of its map
        scores = net(images * trace.maps[:, None]).gather(1, targets[:, None])[:, 0]
        assert torch.allclose(-scores, trace.losses.gather(0, trace.kept[None])[0], atol=1e-9)


def test_saliency_is_a_convex_combination_of_the_rectified_activations():
    net, (images, targets) = tiny().double(), batch(1)
    trace = opticam_trace(net, images.double(), targets, layer="features", iterations=10)
    A = explain.collect(net, images.double(), targets, layer="features").A[0].relu().flatten(1)
    alpha = torch.linalg.lstsq(A.T, trace.saliency[:, 0].flatten(1).T).solution
    assert torch.allclose(A.T @ alpha, trace.saliency[:, 0].flatten(1).T, atol=1e-9)
    assert torch.allclose(alpha.sum(0), torch.ones(11, dtype=torch.float64), atol=1e-9) and (alpha > 0).all()
    assert torch.allclose(alpha[:, 0], torch.full((8,), 1 / 8, dtype=torch.float64))


def test_iterates_are_those_of_the_plain_loop():
    net, (images, targets) = tiny().double(), batch(2)
    images = images.double()
    trace = opticam_trace(net, images, targets, layer="features", iterations=30)
    A = explain.collect(net, images, targets, layer="features").A.relu()
    u = torch.full((2, 8), 0.5, dtype=torch.float64, requires_grad=True)  # the authors' start: equal weights as well
    adam = torch.optim.Adam([u], lr=0.1)
    for t in range(31):
        S = torch.einsum("bk,bkij->bij", u.softmax(1), A)
        assert torch.allclose(S, trace.saliency[t], atol=1e-9)
        S = nn.functional.interpolate(S[:, None], (16, 16), mode="bilinear")
        low, high = S.amin((2, 3), keepdim=True), S.amax((2, 3), keepdim=True)
        loss = -net(images * (S - low) / (high - low)).gather(1, targets[:, None]).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()


@pytest.mark.parametrize("chunk", [1, 2, 5])
def test_batch_and_chunks_change_nothing(chunk):
    net, (images, targets) = tiny().double(), batch(3)
    images = images.double()
    together = opticam(net, images, targets, layer="features", iterations=20, chunk=chunk)
    for i in range(3):
        alone = opticam(net, images[i : i + 1], targets[i : i + 1], layer="features", iterations=20)
        assert torch.allclose(together[i], alone[0], atol=1e-9)


def test_frames_show_the_way():
    net, (images, targets) = tiny(), batch(2)
    trace = opticam_trace(net, images, targets, layer="features", iterations=5, keep="last")
    mean = explain.collect(net, images, targets, layer="features").A.relu().mean(1)
    assert torch.allclose(trace.frame(0), heatmap.normalize(heatmap.resize(mean, (16, 16))), atol=1e-5)
    assert torch.equal(trace.frame(5), trace.maps) and not torch.equal(trace.frame(4), trace.maps)


def test_opticam_is_the_end_of_its_trace():
    net, (images, targets) = tiny(), batch(2)
    options = dict(layer="features", iterations=6, lr=0.3, objective="diff", norm="max", selector="prob", keep="last")
    trace = opticam_trace(net, images, targets, **options)
    assert torch.equal(opticam(net, images, targets, **options), trace.maps)


def test_on_the_tokens_of_a_transformer():
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    net = VisionTransformer(img_size=16, patch_size=4, embed_dim=8, depth=2, num_heads=2, num_classes=3).eval()
    images = torch.rand(1, 3, 16, 24)[..., :16]
    trace = opticam_trace(net, images, FIRST, layer="blocks.1.norm1", iterations=3)
    kept = []
    with torch.no_grad(), network.hooked([(net.blocks[1].norm1, lambda _, __, output: kept.append(output))]):
        net(images)
    tokens = kept[0][0, 1:].relu().mean(1).view(4, 4)  # without the class token
    assert torch.allclose(trace.saliency[0, 0], tokens, atol=1e-5)
    assert trace.losses[3, 0] < trace.losses[0, 0]


def test_no_gradient_reaches_the_parameters():
    net, (images, targets) = tiny(), batch(1)
    with torch.inference_mode():
        inference = images.clone()  # cannot be saved for a backward pass
        maps = opticam(net, inference, targets, layer="features", iterations=3)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())
    assert not maps.requires_grad
    assert torch.equal(maps, opticam(net, images, targets, layer="features", iterations=3))


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(objective="plain"), "objective must be one of mask, diff, found 'plain'"),
        (dict(norm="softmax"), "norm must be one of range, max, sigmoid"),
        (dict(selector="ce"), "selector must be one of logit, prob, margin"),
        (dict(stop="never"), "stop must be one of abs_delta, loss_increase"),
        (dict(keep="first"), "keep must be one of best, last"),
        (dict(iterations=0), "iterations >= 1"),
        (dict(lr=0.0), "lr > 0"),
        (dict(chunk=0), "chunk must be at least 1"),
        (dict(layer="nowhere"), "no layer 'nowhere'"),
    ],
    ids=str,
)
def test_bad_options(options, message):
    images, targets = batch()
    with pytest.raises(ValueError, match=message):
        opticam(tiny(), images, targets, **{"layer": "features", **options})
