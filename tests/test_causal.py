"""Insertion, deletion, AOPC and max-sensitivity: curves by hand, theorems, costs, and planted evidence."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from cases import batch, tiny
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from torch import nn

from xailib import explain, metrics
from xailib.explain import fakecam, random_map
from xailib.metrics.causal import folded_gaussian
from xailib.metrics.substrate import flat_substrate
from xailib.models.zoo import Normalized

TARGET = torch.tensor([0])
BLACK = torch.zeros(1, 1, 1, 1, dtype=torch.float64)


class AdditiveProbability(nn.Module):
    """The probability of class 0 is sum_j a_j x_j."""

    def __init__(self, a):
        super().__init__()
        self.a = torch.as_tensor(a, dtype=torch.float64)
        self.batches = []  # how many images went through the network at a time
        self.eval()

    def forward(self, x):
        self.batches.append(len(x))
        q = (x * self.a).sum((1, 2, 3))
        return torch.stack([q, 1 - q], 1).clamp(min=1e-300).log()


def row(*numbers):
    """A map, [1 1 w]."""
    return torch.tensor([[numbers]], dtype=torch.float64)


def close(found, *expected, atol=1e-9):
    return torch.allclose(found.double(), torch.tensor(expected, dtype=torch.float64), atol=atol, rtol=0)


FOUR = AdditiveProbability([[[0.4, 0.3, 0.2, 0.1]]])
WHITE = torch.ones(1, 1, 1, 4, dtype=torch.float64)

# --- curves -----------------------------------------------------------------------------------------------------------


def test_deletion_and_insertion_of_four_pixels_by_hand():
    order = row(0.4, 0.3, 0.2, 0.1)
    deletion = metrics.deletion_curve(FOUR, WHITE, TARGET, order, step=1, substrate="black")
    insertion = metrics.replacement_curve(FOUR, BLACK, WHITE, TARGET, order, step=1)
    assert close(deletion[0], 1, 0.6, 0.3, 0.1, 0) and close(metrics.auc(deletion), 0.375)
    assert close(insertion[0], 0, 0.4, 0.7, 0.9, 1) and close(metrics.auc(insertion), 0.625)


def test_a_step_that_does_not_divide_is_shorter_at_the_end():
    model = AdditiveProbability([[[1.0, 0, 0, 0]]])  # is pixel 0 there?
    maps = row(4, 3, 2, 1)
    curve = metrics.deletion_curve(model, WHITE, TARGET, maps, step=3, substrate="black")
    fractions = metrics.replaced_fractions(maps, 3)
    assert close(curve[0], 1, 0, 0) and close(fractions, 0, 0.75, 1)
    assert close(metrics.auc(curve), 0.25) and close(metrics.auc(curve, fractions), 0.375)
    assert close(metrics.deletion_curve(model, WHITE, TARGET, maps, step=99, substrate="black")[0], 1, 0)


def test_equally_salient_pixels_go_row_by_row():
    model = AdditiveProbability([[[0.4, 0.3], [0.2, 0.1]]])
    x = WHITE.view(1, 1, 2, 2)
    curve = partial(metrics.deletion_curve, model, x, TARGET, step=1, substrate="black")
    assert close(curve(torch.zeros(1, 2, 2))[0], 1, 0.6, 0.3, 0.1, 0)
    assert close(curve(torch.tensor([[[0.0, 1], [0, 1]]]))[0], 1, 0.7, 0.6, 0.2, 0)


def test_the_default_step_is_a_row():
    maps = torch.rand(1, 6, 4)
    model = AdditiveProbability(torch.full((1, 6, 4), 1 / 24))
    curve = metrics.deletion_curve(model, torch.ones(1, 1, 6, 4).double(), TARGET, maps, substrate="black")
    assert close(curve[0], 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0, atol=1e-6)
    assert len(metrics.replaced_fractions(torch.zeros(1, 224, 224))) == 225
    assert len(metrics.replaced_fractions(torch.zeros(1, 224, 224), 8 * 224)) == 29


def test_insertion_ends_and_deletion_starts_at_the_image():
    model, (images, targets) = tiny(), batch()
    maps = images.mean(1)
    p = model(images).softmax(1)[range(3), targets]
    deletion = metrics.deletion_curve(model, images, targets, maps, substrate="black")
    insertion = metrics.insertion_curve(model, images, targets, maps)
    torch.testing.assert_close(deletion[:, 0], p)
    torch.testing.assert_close(insertion[:, -1], p)
    torch.testing.assert_close(deletion[:, -1], model(0 * images).softmax(1)[range(3), targets])
    start = model(metrics.blurred(model, images)).softmax(1)[range(3), targets]
    torch.testing.assert_close(insertion[:, 0], start)
    assert (insertion[:, 0] - p).abs().min() > 1e-4


@given(st.permutations(range(12)), st.integers(1, 12))
def test_for_an_additive_model_insertion_and_deletion_sum_to_the_score(order, step):
    """What insertion has of the image, deletion lacks: I + D = f(x) for any map, with black on both sides."""
    a = torch.arange(1, 13).view(1, 3, 4) / 100
    model, x = AdditiveProbability(a), torch.linspace(0.5, 1, 12, dtype=torch.float64).view(1, 1, 3, 4)
    maps = torch.tensor(order, dtype=torch.float64).view(1, 3, 4)
    deletion = metrics.deletion_curve(model, x, TARGET, maps, step=step, substrate="black")
    insertion = metrics.replacement_curve(model, BLACK, x, TARGET, maps, step=step)
    score = (x * a).sum()
    torch.testing.assert_close(deletion + insertion, score.expand(1, len(deletion[0])))
    torch.testing.assert_close(metrics.auc(deletion) + metrics.auc(insertion), score[None])
    assert (deletion.diff() <= 1e-12).all()  # it only loses


@given(st.lists(st.integers(-5, 5), min_size=6, max_size=6), st.floats(0.01, 100), st.floats(-100, 100))
def test_the_order_alone_counts(values, scale, shift):
    model = AdditiveProbability([[[0.1, 0.2, 0.05, 0.3, 0.15, 0.1]]])
    x, maps = torch.ones(1, 1, 1, 6, dtype=torch.float64), row(*values)
    curve = partial(metrics.deletion_curve, model, x, TARGET, step=1, substrate="black")
    assert torch.equal(curve(maps), curve(scale * maps + shift)) and torch.equal(curve(maps), curve((maps / 9).exp()))


@given(st.permutations(range(6)))
def test_moving_all_pixels_with_their_map_changes_nothing(order):
    a, maps = torch.tensor([0.1, 0.2, 0.05, 0.3, 0.15, 0.1]).double(), row(3, 1, 4, 1.5, 9, 2)
    x = torch.linspace(0.2, 1, 6, dtype=torch.float64)
    curves = [
        metrics.deletion_curve(
            AdditiveProbability(a[index].view(1, 1, 6)), x[index].view(1, 1, 1, 6), TARGET, maps[..., index],
            step=1, substrate="black",
        )
        for index in (list(range(6)), list(order))
    ]  # fmt: skip
    torch.testing.assert_close(*curves)


def test_the_best_order_bounds_every_other():
    a = torch.rand(1, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    model, x = AdditiveProbability(a / a.sum()), torch.ones(1, 1, 3, 3).double()
    area = lambda maps: metrics.auc(metrics.deletion_curve(model, x, TARGET, maps, step=1, substrate="black"))  # noqa: E731
    for seed in range(20):
        maps = torch.rand(1, 3, 3, generator=torch.Generator().manual_seed(seed))
        assert area(a) <= area(maps) <= area(-a)


# --- the area ---------------------------------------------------------------------------------------------------------


def test_areas_by_hand():
    curves = torch.tensor([[0.0, 0, 1, 1, 1], [1, 0, 0, 0, 0], [0, 1, 1, 1, 1], [0, 0.25, 0.5, 0.75, 1], [0.3] * 5])
    assert close(metrics.auc(curves), 0.625, 0.125, 0.875, 0.5, 0.3, atol=1e-7)
    assert close(metrics.auc(curves).mean(), metrics.auc(curves.mean(0, keepdim=True)).item(), atol=1e-7)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_the_area_lies_within_the_curve(points):
    curve = torch.tensor([points], dtype=torch.float64)
    area = metrics.auc(curve)
    assert curve.min() - 1e-12 <= area <= curve.max() + 1e-12
    torch.testing.assert_close(metrics.auc(1 - curve), 1 - area)
    torch.testing.assert_close(metrics.auc(curve.flip(1)), area)


# --- costs and chunks -------------------------------------------------------------------------------------------------


def test_both_curves_of_one_image_cost_little_more_than_their_steps():
    model = AdditiveProbability(torch.full((1, 224, 224), 1 / 224**2))
    x = torch.ones(1, 1, 224, 224).double()
    maps = torch.rand(1, 224, 224, generator=torch.Generator().manual_seed(0))
    metrics.deletion_curve(model, x, TARGET, maps)
    metrics.insertion_curve(model, x, TARGET, maps)
    assert 2 * 224 <= sum(model.batches) <= 1.02 * 2 * 224 and max(model.batches) == 4  # the default chunk


def test_all_steps_are_laid_out_channels_last():
    """Convolutions on a CPU are a quarter slower otherwise."""
    layouts = []

    class Watching(nn.Module):
        def forward(self, x):
            layouts.append(x.is_contiguous(memory_format=torch.channels_last))
            return x.mean((2, 3))

    images, targets = batch(2, 4)
    targets = targets.clamp(max=2)
    metrics.deletion_curve(Watching().eval(), images, targets, images[:, 0])
    metrics.insertion_curve(Watching().eval(), images, targets, images[:, 0])
    metrics.perturbation_curve(Watching().eval(), images, targets, images[:, 0], patch=1)
    assert len(layouts) > 10 and all(layouts)


def test_the_chunk_and_the_other_images_do_not_matter():
    model, (images, targets) = tiny(), batch()
    maps = images.std(1)
    for curve in (metrics.deletion_curve, metrics.insertion_curve, partial(metrics.perturbation_curve, patch=4)):
        whole = curve(model, images, targets, maps, chunk=100)
        for chunk in (1, 3):
            torch.testing.assert_close(curve(model, images, targets, maps, chunk=chunk), whole)
        alone = curve(model, images[1:2], targets[1:2], maps[1:2], chunk=100)
        assert torch.equal(alone, whole[1:2])
        assert not whole.requires_grad


# --- what stands for pixels that are not there ------------------------------------------------------------------------


def test_substrates_by_hand():
    net = Normalized(nn.Identity(), (0.2, 0.4, 0.6), (0.1, 0.2, 0.4))
    images = torch.tensor([0.3, 0.3, 0.4])[None, :, None, None].expand(1, 3, 2, 2)  # normalised: 1, -0.5, -0.5
    assert close(flat_substrate(net, images, "mean")[0, :, 0, 0], 0.2, 0.4, 0.6, atol=1e-7)
    assert close(flat_substrate(net, images, "black")[0, :, 0, 0], 0, 0, 0)
    assert close(flat_substrate(net, images, "minimum")[0, :, 0, 0], 0.15, 0.3, 0.4, atol=1e-7)
    assert close(flat_substrate(nn.Identity(), images, "mean").flatten(), 0, atol=1e-7)  # pixels as they are
    assert close(flat_substrate(nn.Identity(), images, "minimum").flatten(), 0.3, atol=1e-7)


def test_the_mean_is_found_in_torchvisions_normalisation():
    from torchvision.transforms import Normalize

    net = nn.Sequential(Normalize([0.2, 0.4, 0.6], [0.1, 0.2, 0.4]), nn.Flatten())
    assert close(flat_substrate(net, torch.zeros(2, 3, 1, 1), "mean")[1, :, 0, 0], 0.2, 0.4, 0.6, atol=1e-7)


def test_deletion_ends_where_the_network_sees_zeros():
    net, (images, targets) = tiny(), batch()
    model = Normalized(net, (0.2, 0.4, 0.6), (0.1, 0.2, 0.3)).eval()
    zeros = net(torch.zeros(3, 3, 16, 16)).softmax(1)[range(3), targets]
    torch.testing.assert_close(metrics.deletion_curve(model, images, targets, images.mean(1))[:, -1], zeros)
    black = metrics.deletion_curve(model, images, targets, images.mean(1), substrate="black")[:, -1]
    torch.testing.assert_close(black, model(0 * images).softmax(1)[range(3), targets])
    assert (black - zeros).abs().min() > 0.001


@pytest.mark.parametrize(
    "size, corner, most", [(11, 0.007737, 0.008833), (5, 0.0400004, 0.0400030)], ids=["rise11", "ca5"]
)
def test_rises_gaussian_is_nearly_flat(size, corner, most):
    delta = torch.zeros(size, size, dtype=torch.float64)
    delta[size // 2, size // 2] = 1
    kernel = folded_gaussian(size)
    torch.testing.assert_close(kernel, torch.from_numpy(gaussian_filter(delta.numpy(), 5)))
    assert close(kernel.sum(), 1)
    tolerance = 5e-7 if size == 11 else 5e-8
    assert close(kernel[0, 0], corner, atol=tolerance) and close(kernel.max(), most, atol=tolerance)


@pytest.mark.parametrize("blur, size", [("rise11", 11), ("ca5", 5)])
def test_blur_is_rises_convolution_of_normalised_images(blur, size):
    mean, std = torch.tensor([0.2, 0.4, 0.6])[:, None, None], torch.tensor([0.1, 0.2, 0.3])[:, None, None]
    model, images = Normalized(nn.Identity(), (0.2, 0.4, 0.6), (0.1, 0.2, 0.3)), batch()[0]
    kernel = torch.zeros(3, 3, size, size)
    for channel in range(3):
        kernel[channel, channel] = folded_gaussian(size)
    expected = F.conv2d((images - mean) / std, kernel, padding=size // 2)
    torch.testing.assert_close((metrics.blurred(model, images, blur) - mean) / std, expected, atol=1e-5, rtol=1e-5)


def test_the_true_gaussian_is_one():
    images = torch.zeros(1, 1, 63, 63, dtype=torch.float64)
    images[..., 31, 31] = 1
    found = metrics.blurred(nn.Identity(), images, "gaussian")[0, 0]
    assert close(found[31, 36] / found[31, 31], 0.6065306597) and close(found.sum(), 1)  # exp(-1/2) at one sigma
    assert (found[31] > 0).sum() == 31


# --- AOPC -------------------------------------------------------------------------------------------------------------


def test_areas_over_a_curve_by_hand():
    curve = 0.9 - torch.tensor([[0, 0.4, 0.7, 0.7]], dtype=torch.float64)
    assert close(metrics.area_over(curve), 0.45) and close(metrics.area_over(curve, aopc="quantus_mean"), 0.6)
    assert close(metrics.area_over(curve, aopc="trapz"), 1.25)


def test_patches_leave_in_the_order_of_their_sums():
    """2 x 2 patches of 2 x 2 pixels: the one with the largest pixel has not the largest sum."""
    maps = torch.tensor([[[9, 0, 4, 4], [0, 0, 4, 4], [1, 1, 1, 1], [1, 1, 1, 1]]]).double()
    a = torch.tensor([[0.1, 0.2], [0.3, 0.4]]).repeat_interleave(2, 0).repeat_interleave(2, 1)[None] / 4
    model, x = AdditiveProbability(a), torch.ones(1, 1, 4, 4).double()
    curve = metrics.perturbation_curve(model, x, TARGET, maps, patch=2, regions=4, substrate="black")
    assert close(curve[0], 1, 0.8, 0.7, 0.4, 0, atol=1e-7)  # equal sums below: row by row
    found = metrics.aopc(model, x, TARGET, maps, patch=2, regions=2, substrate="black")
    assert close(found, (0.2 + 0.3) / 3, atol=1e-7)
    assert model.batches == [1, 4, 1, 1, 3]  # the first of each call asks which layout the network takes
    assert not metrics.aopc(model, x, TARGET, maps, patch=2, regions=4).any()  # the minimum of white is white


# --- max-sensitivity --------------------------------------------------------------------------------------------------


SEES_PIXELS = nn.Identity().eval()


def red(model, images, targets):
    """Explains by the first channel."""
    return images[:, 0]


def test_max_sensitivity_of_the_identity_approaches_its_bound():
    x = torch.tensor([0.3, 0.4], dtype=torch.float64).view(1, 1, 1, 2)
    found = metrics.max_sensitivity(SEES_PIXELS, x, TARGET, red, radius=0.02, samples=2000)
    bound = 0.02 * 2**0.5 / 0.5  # both pixels off by the whole radius
    assert 0.97 * bound < found < bound
    raw = metrics.max_sensitivity(SEES_PIXELS, x, TARGET, red, radius=0.02, samples=2000, normalised=False)
    assert close(raw, found.item() / 2)


@pytest.mark.parametrize("level", [0, 1])
def test_noise_goes_both_ways_and_is_cut_at_black_and_white(level):
    x = torch.full((1, 1, 8, 8), float(level), dtype=torch.float64)
    found = metrics.max_sensitivity(SEES_PIXELS, x, TARGET, red, radius=0.3, normalised=False)
    assert 0.1 * 64**0.5 < found < 0.2 * 64**0.5  # about half of the noise is cut


def test_noise_is_drawn_in_the_normalised_space():
    model = Normalized(nn.Identity(), (0.5,) * 3, (0.1, 1.0, 1.0)).double().eval()
    x = torch.tensor([0.3, 0.4], dtype=torch.float64).expand(1, 3, 1, 2)
    wide = metrics.max_sensitivity(SEES_PIXELS, x, TARGET, red, radius=0.02)
    torch.testing.assert_close(metrics.max_sensitivity(model, x, TARGET, red, radius=0.2), wide)


def test_constant_and_empty_maps():
    images, targets = batch()
    constant = lambda model, images, targets: torch.ones_like(images[:, 0])  # noqa: E731
    empty = lambda model, images, targets: torch.zeros_like(images[:, 0])  # noqa: E731
    assert close(metrics.max_sensitivity(tiny(), images, targets, constant), 0, 0, 0)
    assert metrics.max_sensitivity(tiny(), images, targets, empty).isnan().all()
    assert close(metrics.max_sensitivity(tiny(), images, targets, empty, normalised=False), 0, 0, 0)


@given(st.floats(0.01, 100))
def test_max_sensitivity_ignores_scale(scale):
    images, targets = batch(2, 4)
    found = metrics.max_sensitivity(tiny(), images, targets, lambda *case: scale * red(*case), samples=2)
    torch.testing.assert_close(found, metrics.max_sensitivity(tiny(), images, targets, red, samples=2))


def test_more_noise_and_more_samples_find_more():
    images, targets = batch()
    explainer = partial(explain.cam, layer="features", weights=explain.gradcam)
    found = partial(metrics.max_sensitivity, tiny(), images, targets, explainer)
    assert (found(radius=0.05) < found(radius=0.3)).all() and (found(samples=2) <= found(samples=9)).all()
    assert (found(samples=2) < found(samples=9)).any() and torch.equal(found(), found())
    one = metrics.max_sensitivity(tiny(), images[2:], targets[2:], explainer)
    torch.testing.assert_close(one, found()[2:])  # the same noise for all images


# --- planted evidence -------------------------------------------------------------------------------------------------


class RedPatch(nn.Module):
    """Class 0 is a saturated red, which blurring takes away."""

    def forward(self, x):
        y = 200 * (x[:, 0] - x[:, 1] - 0.4).relu().mean((1, 2)) - 2
        return torch.stack([y, torch.zeros_like(y)], 1)


def test_the_true_evidence_beats_random_and_fakecam():
    images, masks = 0.3 * torch.rand(1, 3, 28, 28, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 28, 28)
    images[:, 1], masks[0, 4:12, 6:14] = images[:, 0], 1
    images[:, 0] += 0.7 * masks
    model = RedPatch().eval()

    def judged(maps):
        deletion = metrics.auc(metrics.deletion_curve(model, images, TARGET, maps))
        insertion = metrics.auc(metrics.insertion_curve(model, images, TARGET, maps, blur="gaussian"))
        return deletion, -insertion, -metrics.aopc(model, images, TARGET, maps, patch=4)  # less is better

    truth = judged(masks)
    others = [random_map(model, images, TARGET, generator=torch.Generator().manual_seed(seed)) for seed in range(5)]
    for other in [*others, fakecam(model, images, TARGET)]:
        assert all(best < found - 0.02 for best, found in zip(truth, judged(other), strict=True))


# --- refusals ---------------------------------------------------------------------------------------------------------

IMAGES, TARGETS = batch()
MAPS = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
deletion = partial(metrics.deletion_curve, tiny(), IMAGES, TARGETS)
insertion = partial(metrics.insertion_curve, tiny(), IMAGES, TARGETS)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: deletion(MAPS / 0), "maps .* contain NaN or infinite"),
        (lambda: deletion(MAPS[:, :8]), "do not fit images"),
        (lambda: deletion(MAPS, step=0), "step must be at least 1 pixel, found 0"),
        (lambda: deletion(MAPS, substrate="grey"), "'mean', 'black' or 'minimum', found 'grey'"),
        (lambda: deletion(MAPS, chunk=0), "chunk must be at least 1"),
        (lambda: insertion(MAPS, blur="median"), "'rise11', 'ca5', 'gaussian', found 'median'"),
        (lambda: metrics.insertion_curve(tiny().train(), IMAGES, TARGETS, MAPS), r"call model.eval\(\)"),
        (lambda: metrics.insertion_curve(tiny(), IMAGES, TARGETS[:1], MAPS), "one class per image"),
        (lambda: metrics.replacement_curve(tiny(), IMAGES, IMAGES[..., :8], TARGETS, MAPS), "do not fit"),
        (lambda: metrics.auc(MAPS[:, 0, :1]), "two points or more, found 1"),
        (lambda: metrics.aopc(tiny(), IMAGES, TARGETS, MAPS, patch=5), "do not tile maps of 16 x 16"),
        (lambda: metrics.aopc(tiny(), IMAGES, TARGETS, MAPS, patch=4, regions=17), "from 1 to 16"),
        (lambda: metrics.aopc(tiny(), IMAGES, TARGETS, MAPS, patch=4, aopc="sum"), "found 'sum'"),
        (lambda: metrics.max_sensitivity(tiny(), IMAGES, TARGETS, red, radius=0), "radius > 0"),
        (lambda: metrics.max_sensitivity(tiny(), IMAGES, TARGETS, lambda *case: red(*case) / 0), "contain NaN"),
        (lambda: metrics.max_sensitivity(tiny(), 2 * IMAGES, TARGETS, red), r"must lie in \[0, 1\]"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
