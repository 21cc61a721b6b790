"""Occlusion, RISE and LIME on networks whose maps are known in closed form; optimised masks on planted evidence."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xailib.explain.lime import _coins, _local_linear_model, _own_colour, lime
from xailib.explain.optimised_masks import (
    _at_level,
    area_misfit,
    area_price,
    blur_pyramid,
    disc_kernel,
    extremal_perturbation,
    gaussian_enlarging,
    meaningful_perturbation,
    smooth_maximum,
)
from xailib.explain.perturbation import class_score, masked_scores, occlusion, random_masks, rise

TARGET = torch.tensor([0])


class Additive(nn.Module):
    """The logit of class 0 is sum_j a_j x_j; class 1 has its negative."""

    def __init__(self, a):
        super().__init__()
        self.a = nn.Parameter(torch.as_tensor(a))

    def forward(self, x):
        y = (x * self.a).sum((1, 2, 3))
        return torch.stack([y, -y], 1)


class AdditiveProbability(Additive):
    """The probability of class 0 is sum_j a_j x_j."""

    def forward(self, x):
        q = (x * self.a).sum((1, 2, 3))
        return torch.stack([q, 1 - q], 1).clamp(min=1e-12).log()


class Contrast(nn.Module):
    """Class 0 for high contrast inside one box, which blurring takes away; nothing outside is read."""

    def __init__(self, box, gain=100.0, threshold=0.04):
        super().__init__()
        self.box, self.gain, self.threshold = box, gain, threshold

    def forward(self, x):
        y = self.gain * ((x[(..., *self.box)] - 0.5) ** 2).mean((1, 2, 3)) - self.gain * self.threshold
        return torch.stack([y, torch.zeros_like(y)], 1)


def image(a, scale=1.0):
    return torch.full((1, *torch.as_tensor(a).shape), scale)


def noise(b=1, size=48, seed=0):
    return torch.rand(b, 3, size, size, generator=torch.Generator().manual_seed(seed))


# --- occlusion --------------------------------------------------------------------------------------------------------


def test_occlusion_of_an_additive_model_by_hand():
    model = Additive([[[1.0, 2, 0, -1], [3, 0, 0, 0]]]).eval()
    options = dict(window=2, substrate="black")
    x = image(model.a, 0.5)  # hidden windows at columns 0, 1, 2 lose 3, 1 and -1/2
    apart = occlusion(model, x, TARGET, stride=2, **options)
    assert torch.equal(apart[0], torch.tensor([[3, 3, -0.5, -0.5]] * 2))
    dense = occlusion(model, x, TARGET, stride=1, **options)
    assert torch.equal(dense[0], torch.tensor([[3, 2, 0.25, -0.5]] * 2))


def test_occlusion_hides_every_pixel_when_the_stride_does_not_divide():
    model = Additive([[[1.0, 0, 0, 0, 4], [0, 0, 0, 2, 0]]]).eval()  # windows at columns 0, 2 and, at the border, 3
    maps = occlusion(model, image(model.a), TARGET, window=2, stride=2, substrate="black")
    assert torch.equal(maps[0], torch.tensor([[1, 1, 2, 4, 6.0]] * 2))


def test_occlusion_of_single_pixels_is_the_model_itself():
    a = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    maps = occlusion(Additive(a).eval(), image(a), TARGET, window=1, stride=1, substrate="black", chunk=7)
    torch.testing.assert_close(maps[0], a.sum(0))


@pytest.mark.parametrize("substrate, level", [("image_mean", 0.75), ("grey", 0.5), ("black", 0.0)])
def test_occlusion_paints_with_the_substrate(substrate, level):
    a = torch.zeros(1, 2, 2)
    a[0, 0, 0] = 1
    x = torch.tensor([[[[1.0, 1], [0.5, 0.5]]]])
    maps = occlusion(Additive(a).eval(), x, TARGET, window=1, stride=1, substrate=substrate)
    torch.testing.assert_close(maps[0], torch.tensor([[1 - level, 0], [0, 0]]))


def test_occlusion_of_the_probability():
    model = AdditiveProbability([[[0.1, 0.2], [0.3, 0.1]]]).eval()
    maps = occlusion(model, image(model.a), TARGET, window=1, stride=1, substrate="black", score="probability")
    torch.testing.assert_close(maps[0], model.a[0].detach())
    logits = occlusion(model, image(model.a), TARGET, window=1, stride=1, substrate="black")
    torch.testing.assert_close(logits[0], (0.7 / (0.7 - model.a[0])).log().detach())


# --- RISE -------------------------------------------------------------------------------------------------------------


def every_mask(cells, size):
    """All grids and all shifts, enlarged by PyTorch's own interpolation, with the number of open cells."""
    cell = -(-size // cells)
    for bits in itertools.product([0.0, 1.0], repeat=cells**2):
        large = F.interpolate(torch.tensor(bits).view(1, 1, cells, cells), (cells + 1) * cell, mode="bilinear")[0, 0]
        for y, x in itertools.product(range(cell), repeat=2):
            yield large[y : y + size, x : x + size], sum(bits)


def test_every_random_mask_is_a_shifted_enlarged_grid():
    masks = torch.cat(list(random_masks(torch.zeros(1, 3, 6, 6), 2000, 2, 0.5, None, 300)))
    possible = torch.stack([mask for mask, _ in every_mask(2, 6)])
    possible = (possible * 1e4).round().unique(dim=0) / 1e4
    distance = torch.cdist(masks.flatten(1), possible.flatten(1), compute_mode="donot_use_mm_for_euclid_dist")
    assert distance.min(1).values.max() < 1e-3
    assert len(distance.argmin(1).unique()) == len(possible)  # and they all occur


@pytest.mark.parametrize("p", [0.5, 0.2])
def test_rise_converges_to_its_expectation(p):
    a = torch.zeros(1, 4, 4)
    a[0, 0, :2], a[0, 3, 3] = torch.tensor([0.5, 0.1]), 0.3
    expected = 0
    for mask, opened in every_mask(2, 4):
        chance = p**opened * (1 - p) ** (4 - opened) / 4  # of the grid, times that of one of 2 x 2 shifts
        expected = expected + chance * (a * mask).sum() * mask / p
    maps = rise(AdditiveProbability(a).eval(), image(a), TARGET, masks=40_000, cells=2, p=p, chunk=4000)
    assert expected.max() - expected.min() > 0.03
    torch.testing.assert_close(maps[0], expected, atol=8e-3, rtol=0)


def test_rise_with_all_cells_open_is_constant():
    a = torch.full((1, 5, 7), 0.02)
    maps = rise(AdditiveProbability(a).eval(), image(a), TARGET, masks=10, p=1.0)
    torch.testing.assert_close(maps[0], torch.full((5, 7), 0.7))


def test_rise_divided_by_what_was_seen_shows_no_chance_where_nothing_matters():
    """A score that is always 0.7 gives 0.7 everywhere with any masks; the paper's formula shows the masks instead."""

    class Constant(torch.nn.Module):
        def forward(self, x):
            return torch.tensor([[0.7, 0.3]]).log().expand(len(x), -1) + 0 * x.mean((1, 2, 3))[:, None]

    model, x = Constant().eval(), noise(2, 8)
    found = rise(model, x, torch.tensor([0, 1]), masks=9, cells=2, divide_by="seen", chunk=4)
    torch.testing.assert_close(found, torch.tensor([0.7, 0.3])[:, None, None].expand(2, 8, 8))
    assert rise(model, x, torch.tensor([0, 1]), masks=9, cells=2, chunk=4)[0].std() > 0.02
    with pytest.raises(ValueError, match="divide_by must be 'expected' or 'seen', found 'mean'"):
        rise(model, x, torch.tensor([0, 1]), masks=9, divide_by="mean")


def test_rise_with_one_cell_is_the_score_times_the_share_of_open_masks():
    a = torch.full((1, 4, 4), 0.05)
    x = torch.zeros(1, 1, 4, 4)
    opened = torch.cat(list(random_masks(x, 50, 1, 0.3, None, 50)))[:, 0, 0].sum()  # 0 or 1 all over
    maps = rise(AdditiveProbability(a).eval(), image(a), TARGET, masks=50, cells=1, p=0.3)
    torch.testing.assert_close(maps[0], (0.8 * opened / (50 * 0.3)).expand(4, 4))


def test_random_masks_have_mean_p_and_the_shape_of_the_image():
    masks = torch.cat(list(random_masks(torch.zeros(1, 3, 30, 50), 3000, 7, 0.3, None, 500)))
    assert masks.shape == (3000, 30, 50) and 0 <= masks.min() and masks.max() <= 1
    torch.testing.assert_close(masks.mean(0), torch.full((30, 50), 0.3), atol=0.04, rtol=0)
    assert 0.1 < ((masks > 0) & (masks < 1)).float().mean() < 0.95  # smooth


def test_rise_repeats_and_follows_its_generator():
    model, x = Additive(torch.ones(3, 8, 8) / 50).eval(), noise(1, 8)
    first = rise(model, x, TARGET, masks=20)
    assert torch.equal(first, rise(model, x, TARGET, masks=20))
    seeded = [rise(model, x, TARGET, masks=20, generator=torch.Generator().manual_seed(s)) for s in (0, 1)]
    assert torch.equal(first, seeded[0]) and not torch.allclose(first, seeded[1])


# --- LIME -------------------------------------------------------------------------------------------------------------


def quadrants():
    """Four flat quadrants of 12 x 12 pixels, which any superpixel method finds."""
    colours = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 1.0], [0.9, 0.9, 0.2]])
    return colours.T.reshape(1, 3, 2, 2).repeat_interleave(12, 2).repeat_interleave(12, 3)


def test_lime_recovers_a_linear_model_exactly():
    a = torch.randn(3, 24, 24, generator=torch.Generator().manual_seed(0))
    options = dict(superpixels=4, samples=40, substrate="black", score="logit", ridge=0.0)
    maps = lime(Additive(a).eval(), quadrants(), TARGET, **options)
    shares = F.avg_pool2d((a * quadrants()).sum(1), 12) * 144  # what each quadrant adds to the logit
    assert shares.min() < 0 < shares.max()
    torch.testing.assert_close(maps, shares.repeat_interleave(12, 1).repeat_interleave(12, 2), rtol=1e-3, atol=1e-3)


def test_lime_finds_the_one_superpixel_that_is_read():
    a = torch.zeros(3, 24, 24)
    a[1, :12, 12:] = 1 / 144
    maps = lime(AdditiveProbability(a).eval(), quadrants(), TARGET, superpixels=4, samples=200, substrate="black")
    read = torch.zeros(24, 24, dtype=torch.bool)
    read[:12, 12:] = True
    assert maps[0, read].min() > 0.7 and maps[0, ~read].abs().max() < 0.02


def test_lime_hides_a_superpixel_behind_its_own_mean_colour_by_default():
    a = torch.randn(3, 24, 24, generator=torch.Generator().manual_seed(0)) / 3000
    model = Additive(a).eval()  # nothing changes when a flat quadrant takes its own colour
    flat = lime(model, quadrants(), TARGET, superpixels=4, samples=30)
    assert flat.abs().max() < 1e-5
    assert lime(model, quadrants(), TARGET, superpixels=4, samples=30, substrate="grey").abs().max() > 1e-3
    segments = torch.tensor([[0, 1], [0, 2]])
    assert torch.equal(
        _own_colour(torch.tensor([[[[0.2, 1.0], [0.6, 0.5]]]]), segments), torch.tensor([[[[0.4, 1.0], [0.4, 0.5]]]])
    )


def test_limes_regression_is_the_papers():
    shown = _coins(60, 5, seed=0)
    assert shown[0].all() and 0.3 < shown[1:].float().mean() < 0.7
    scores = torch.randn(60, generator=torch.Generator().manual_seed(1))
    found = _local_linear_model(shown.float(), scores, kernel_width=0.25, ridge=1.0)
    Z, y = torch.cat([shown, torch.ones(60, 1)], 1).double(), scores.double()
    d = 1 - F.cosine_similarity(shown.double(), torch.ones(1, 5, dtype=torch.float64))
    K = torch.exp(-(d**2) / 0.25**2).sqrt()[:, None]
    penalty = torch.diag(torch.tensor([1.0, 1, 1, 1, 1, 0], dtype=torch.float64))  # the intercept is free
    normal = torch.linalg.solve(Z.T @ (K * Z) + penalty, Z.T @ (K[:, 0] * y))
    torch.testing.assert_close(found, normal[:5].float())


def test_lime_repeats_and_follows_its_generator():
    model = Additive(torch.randn(3, 24, 24) / 50).eval()
    maps = [
        lime(model, quadrants(), TARGET, superpixels=4, samples=9, substrate="black", generator=g)
        for g in (None, torch.Generator().manual_seed(0), torch.Generator().manual_seed(1))
    ]
    assert torch.equal(maps[0], maps[1]) and not torch.allclose(maps[0], maps[2])


# --- all three --------------------------------------------------------------------------------------------------------


METHODS = {
    "occlusion": lambda *inputs, **o: occlusion(*inputs, window=4, stride=3, **o),
    "rise": lambda *inputs, **o: rise(*inputs, masks=17, **o),
    "lime": lambda *inputs, **o: lime(*inputs, superpixels=4, samples=17, **o),
}


@pytest.mark.parametrize("name", METHODS)
def test_forwards_are_channels_last_where_the_network_takes_them(name):
    layouts = []
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
    model[0].register_forward_hook(
        lambda _, i, __: layouts.append(i[0].is_contiguous(memory_format=torch.channels_last))
    )
    METHODS[name](model, noise(2, 12), torch.tensor([0, 1]))
    assert all(layouts)


def test_a_mask_mixes_image_and_substrate():
    model = Additive(torch.tensor([[[1.0, 10.0]]])).eval()
    x = torch.tensor([[[[0.4, 0.8]]], [[[1.0, 0.0]]]])
    keep = torch.tensor([[[1.0, 1.0]], [[0.0, 0.5]]])
    scores = masked_scores(model, x, torch.tensor([0, 1]), keep, torch.full((2, 1, 1, 1), 0.2), "logit")
    torch.testing.assert_close(scores.detach(), torch.tensor([[8.4, 0.2 + 5], [-1.0, -(0.2 + 1)]]))


def test_the_probability_is_the_softmax():
    model, x = Additive(torch.full((3, 8, 8), 0.02)).eval(), noise(2, 8)
    targets = torch.tensor([1, 0])
    expected = model(x).softmax(1)[[0, 1], targets]
    torch.testing.assert_close(class_score(model, x, targets, "probability"), expected)


@pytest.mark.parametrize("name", METHODS)
def test_the_chunk_changes_nothing(name):
    model, x, targets = Additive(torch.randn(3, 12, 12) / 50).eval(), noise(2, 12), torch.tensor([0, 1])
    whole = METHODS[name](model, x, targets, chunk=100)
    for chunk in (1, 5):
        torch.testing.assert_close(METHODS[name](model, x, targets, chunk=chunk), whole, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_the_chunk_bounds_the_images_per_forward(name):
    model, sizes = Additive(torch.randn(3, 12, 12) / 50).eval(), []
    model.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    METHODS[name](model, noise(2, 12), torch.tensor([0, 1]), chunk=5)
    assert max(sizes) == 5


@pytest.mark.parametrize("name", METHODS)
def test_an_image_alone_has_the_very_same_map(name):
    model, x, targets = nn.Sequential(nn.Flatten(), nn.Linear(432, 4)).eval(), noise(3, 12), torch.tensor([0, 1, 3])
    together = METHODS[name](model, x, targets)
    assert torch.equal(together[1:2], METHODS[name](model, x[1:2], targets[1:2]))


# --- meaningful perturbation ------------------------------------------------------------------------------------------

PATCH = (slice(14, 38), slice(6, 30))  # off the centre


def share_inside(maps, box=PATCH):
    return maps[(..., *box)].sum((1, 2)) / maps.sum((1, 2))


def test_meaningful_perturbation_deletes_the_planted_patch():
    model, x, targets = Contrast(PATCH, threshold=0.05).eval(), noise(2), torch.tensor([0, 0])
    assert class_score(model, x, targets, "probability").min() > 0.95
    maps = meaningful_perturbation(model, x, targets, cells=16, blur=4.0, iterations=200, l1=3e-3, tv=1e-3)
    assert maps.min() > -1e-5 and maps.max() < 1 + 1e-5 and maps[(..., *PATCH)].mean() > 0.4
    assert share_inside(maps).min() >= 0.9


def test_meaningful_perturbation_keeps_an_image_without_evidence():
    maps = meaningful_perturbation(
        Contrast(PATCH, gain=0.0).eval(), noise(), TARGET, cells=12, blur=4.0, iterations=100, l1=1e-3
    )
    assert maps.abs().max() < 0.05  # only the price of blurring is left


def test_the_price_of_variation_joins_the_cells():
    options = dict(cells=12, blur=4.0, iterations=100, l1=1e-3)
    rough, smooth = (
        meaningful_perturbation(Contrast(PATCH).eval(), noise(), TARGET, tv=tv, **options) for tv in (0.0, 1.0)
    )
    steps = [(maps.diff(dim=1).abs().sum() + maps.diff(dim=2).abs().sum()) / maps.sum() for maps in (rough, smooth)]
    assert steps[1] < 0.8 * steps[0]


def test_gaussian_enlarging_keeps_constants_and_is_the_papers_sum():
    matrix = gaussian_enlarging(224, 28)
    torch.testing.assert_close(matrix.sum(1), torch.ones(224))
    v, u = 100, 11  # pixel 100 lies 4.5 pixels right of the centre 8 u + 3.5 + 4.5 of cell 11 (91.5)
    ratio = torch.exp(torch.tensor(-((v - 91.5) ** 2) / 50 + (v - 99.5) ** 2 / 50))  # to its neighbour, cell 12 (99.5)
    torch.testing.assert_close(matrix[v, u] / matrix[v, u + 1], ratio, rtol=1e-4, atol=0)


def test_jitter_is_drawn_from_the_generator():
    run = lambda g: meaningful_perturbation(  # noqa: E731
        Contrast(PATCH).eval(), noise(), TARGET, cells=12, blur=4.0, iterations=20, generator=g
    )
    assert torch.equal(run(None), run(torch.Generator().manual_seed(0)))
    assert not torch.allclose(run(None), run(torch.Generator().manual_seed(1)))


# --- extremal perturbation --------------------------------------------------------------------------------------------

SMALL = dict(step=4, sigma=6.0, blur=6.0, flip=False)


def test_extremal_perturbation_keeps_the_planted_patch():
    patch = (slice(24, 44), slice(6, 26))  # 400 of 2304 pixels
    maps = extremal_perturbation(Contrast(patch).eval(), noise(2), torch.tensor([0, 0]), iterations=150, **SMALL)
    torch.testing.assert_close(maps.mean((1, 2)), torch.full((2,), 0.1), atol=0.02, rtol=0)
    assert share_inside(maps, patch).min() >= 0.9


def test_the_area_is_kept_whatever_is_asked():
    for area in (0.05, 0.3):
        maps = extremal_perturbation(Contrast(PATCH).eval(), noise(), TARGET, area=area, iterations=150, **SMALL)
        assert abs(maps.mean() - area) < 0.03
        assert ((maps < 0.2) | (maps > 0.8)).float().mean() > 0.8  # nearly binary


def test_every_second_iteration_sees_the_mirror_image():
    model, x, seen = Contrast(PATCH).eval(), noise(), []
    model.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].detach()))
    for flip, expected in [(True, [x.flip(-1), x, x.flip(-1)]), (False, [x, x, x])]:
        seen.clear()
        extremal_perturbation(model, x, TARGET, iterations=3, **{**SMALL, "flip": flip})
        for found, view in zip(seen, expected, strict=True):  # the first masks show nearly everything
            assert torch.corrcoef(torch.stack([found.flatten(), view.flatten()]))[0, 1] > 0.95


def test_the_price_of_area_grows_as_far_in_fewer_iterations():
    assert area_price(0, 800) == area_price(0, 10) == 300
    assert area_price(2, 800) == pytest.approx(300 * 1.0035**2)
    assert area_price(400, 800) == pytest.approx(area_price(5, 10)) == pytest.approx(300 * 1.0035**400)


def test_area_misfit_by_hand():
    mask = torch.tensor([[[0.5, 0.0], [1.0, 0.8]]])  # sorted 0, .5, .8, 1 against 0, 0, 1, 1
    torch.testing.assert_close(area_misfit(mask, 2.0), torch.tensor([(0.25 + 0.04) / 4]))
    assert area_misfit(torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]), 1.0) == 0


def test_smooth_maximum_against_a_plain_loop():
    parameters = torch.rand(1, 3, 4, generator=torch.Generator().manual_seed(0))
    step, sigma = 2, 3.0
    found = smooth_maximum(parameters, disc_kernel(step, sigma))
    assert found.shape == (1, 6, 8)
    for y, x in [(0, 0), (3, 5), (5, 7)]:
        heights = []
        for row, column in itertools.product(range(y // step - 3, y // step + 4), range(x // step - 3, x // step + 4)):
            d = ((y - (2 * row + 0.5)) ** 2 + (x - (2 * column + 0.5)) ** 2) ** 0.5  # 1 + ceil(3 / 2) = 3 cells around
            inside = 0 <= row < 3 and 0 <= column < 4
            disc = torch.exp(torch.tensor(-2 * max(0, d / sigma - 0.5) ** 2))
            heights.append(disc * parameters[0, row, column] if inside else torch.tensor(0.0))
        heights = torch.stack(heights)
        torch.testing.assert_close(found[0, y, x], (heights * (20 * heights).softmax(0)).sum())


def test_the_pyramid_is_read_between_its_levels():
    x = noise(1, 24)
    pyramid = blur_pyramid(x, 4.0)
    assert len(pyramid) == 8 and torch.equal(pyramid[-1], x)
    assert (pyramid.std((1, 2, 3, 4)).diff() > 0).all()  # less and less blurred
    for level, mixture in [(0.0, pyramid[0]), (1.0, x), (2.25 / 7, 0.75 * pyramid[2] + 0.25 * pyramid[3])]:
        torch.testing.assert_close(_at_level(pyramid, torch.full((1, 24, 24), level)), mixture)


# --- what all refuse --------------------------------------------------------------------------------------------------

BAD = [
    (occlusion, dict(window=13), "window <= 12, found"),
    (occlusion, dict(window=4, stride=5), "stride <= window"),
    (occlusion, dict(window=4, stride=0), "1 <= stride"),
    (occlusion, dict(window=4, substrate="white"), "'image_mean', 'grey' or 'black', found 'white'"),
    (occlusion, dict(window=4, score="odds"), "'logit' or 'probability', found 'odds'"),
    (occlusion, dict(window=4, chunk=0), "chunk must be at least 1"),
    (rise, dict(masks=0), "masks >= 1"),
    (rise, dict(cells=0), "cells >= 1"),
    (rise, dict(p=0.0), "0 < p <= 1"),
    (rise, dict(p=1.5), "0 < p <= 1"),
    (rise, dict(score="log"), "found 'log'"),
    (rise, dict(chunk=-1), "chunk must be at least 1"),
    (lime, dict(superpixels=1), "superpixels >= 2"),
    (lime, dict(samples=1), "samples >= 2"),
    (lime, dict(kernel_width=0.0), "kernel_width > 0"),
    (lime, dict(ridge=-1.0), "ridge >= 0"),
    (lime, dict(substrate="white"), "'white'"),
    (meaningful_perturbation, dict(iterations=0), "iterations >= 1"),
    (meaningful_perturbation, dict(cells=1), "cells >= 2"),
    (meaningful_perturbation, dict(beta=0.5), "beta >= 1"),
    (meaningful_perturbation, dict(l1=-1.0), "l1 >= 0"),
    (meaningful_perturbation, dict(jitter=-1), "jitter >= 0"),
    (meaningful_perturbation, dict(blur=10.0), "blur must lie in 0..3.67"),
    (extremal_perturbation, dict(area=0.0), "0 < area < 1"),
    (extremal_perturbation, dict(area=1.0), "0 < area < 1"),
    (extremal_perturbation, dict(iterations=0), "iterations >= 1"),
    (extremal_perturbation, dict(step=0), "step >= 1"),
    (extremal_perturbation, dict(sigma=0.0), "sigma > 0"),
    (extremal_perturbation, dict(blur=-1.0), "blur must lie in"),
    (extremal_perturbation, dict(blur=2.0, score="loss"), "found 'loss'"),
]


@pytest.mark.parametrize("method, options, message", BAD, ids=lambda part: getattr(part, "__name__", str(part)))
def test_bad_options_are_named(method, options, message):
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        method(Additive(torch.zeros(3, 12, 12)).eval(), noise(1, 12), TARGET, **options)
