"""Maps resized, normalised, blurred and ranked by hand."""

import pytest
import torch

from xailib import heatmap

MAPS = torch.tensor([[[1.0, 2], [3, 5]], [[-2, 0], [-4, 4]], [[3, 3], [3, 3]], [[0, 0], [0, 0]], [[-1, -1], [-2, -1]]])
ZEROS = [[0, 0], [0, 0]]

# --- resize -----------------------------------------------------------------------------------------------------------


def test_resize_uses_half_pixel_centres():
    found = heatmap.resize(torch.tensor([[[0.0, 1.0]]]), (1, 4))
    torch.testing.assert_close(found, torch.tensor([[[0, 0.25, 0.75, 1]]]))


def test_resize_is_bilinear_along_both_sides():
    found = heatmap.resize(torch.tensor([[[0.0, 4], [8, 12]]]), (4, 2))
    torch.testing.assert_close(found, torch.tensor([[[0.0, 4], [2, 6], [6, 10], [8, 12]]]))


def test_resize_takes_any_rectangle_and_keeps_what_fits():
    maps = torch.rand(2, 3, 5)
    assert torch.equal(heatmap.resize(maps, (3, 5)), maps)
    assert heatmap.resize(maps, (9, 4)).shape == (2, 9, 4)
    torch.testing.assert_close(heatmap.resize(torch.full((1, 3, 5), 0.7), (30, 31)), torch.full((1, 30, 31), 0.7))


# --- normalize --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "to, expected",
    [
        ("range", [[[0, 0.25], [0.5, 1]], [[0.25, 0.5], [0, 1]], ZEROS, ZEROS, [[1, 1], [0, 1]]]),
        ("max", [[[0.2, 0.4], [0.6, 1]], [[-0.5, 0], [-1, 1]], [[1, 1], [1, 1]], ZEROS, ZEROS]),
    ],
)
def test_normalize_by_hand(to, expected):
    """Constant maps become zeros by range, maps without a positive value by maximum."""
    torch.testing.assert_close(heatmap.normalize(MAPS, to), torch.tensor(expected, dtype=torch.float32))


def test_sigmoid_by_hand():
    found = heatmap.normalize(torch.tensor([[[0.0, 3.0]]]).log(), "sigmoid")  # e^S / (1 + e^S) of 0 and 3
    torch.testing.assert_close(found, torch.tensor([[[0, 0.75]]]))


def test_range_is_the_default():
    assert torch.equal(heatmap.normalize(MAPS), heatmap.normalize(MAPS, "range"))


def test_constant_maps_raise_a_flag():
    assert heatmap.degenerate(MAPS).tolist() == [False, False, True, True, False]


@pytest.mark.parametrize("to", ["range", "max"])
def test_small_maps_are_not_biased(to):
    """An epsilon in the denominator would show here."""
    small = MAPS.double() * 1e-30
    torch.testing.assert_close(heatmap.normalize(small, to), heatmap.normalize(MAPS.double(), to))


@pytest.mark.parametrize("to", ["range", "max", "sigmoid"])
def test_each_map_by_itself_in_its_own_precision(to):
    for dtype in (torch.float64, torch.bfloat16):
        maps = MAPS.to(dtype)
        together = heatmap.normalize(maps, to)
        assert together.dtype == dtype
        assert torch.equal(together, torch.cat([heatmap.normalize(one, to) for one in maps.split(1)]))


@pytest.mark.parametrize("to", ["range", "max", "sigmoid"])
def test_nan_is_not_hidden(to):
    maps = MAPS.clone()
    maps[0, 0, 1] = torch.nan
    found = heatmap.normalize(maps, to)
    assert found[0].isnan().any() and found[1:].isfinite().all()


@pytest.mark.parametrize("to", ["range", "max"])
def test_a_blank_map_has_a_gradient_of_zeros(to):
    """Methods that optimise through it must not meet 0 / 0."""
    maps = torch.stack([torch.zeros(2, 2), torch.eye(2)]).requires_grad_()
    heatmap.normalize(maps, to).square().sum().backward()
    assert maps.grad.isfinite().all() and not maps.grad[0].any()


def test_another_normalization_is_refused():
    normalize = getattr(heatmap.normalize, "__wrapped__", heatmap.normalize)  # without the tests' check of types
    with pytest.raises(ValueError, match="normalize to 'range', 'max' or 'sigmoid', found 'minmax'"):
        normalize(MAPS, "minmax")


# --- blur -------------------------------------------------------------------------------------------------------------


def test_a_blurred_point_is_a_gaussian():
    images = torch.zeros(1, 2, 11, 15, dtype=torch.float64)
    images[0, 1, 5, 7] = 1
    found = heatmap.blur(images, 1.0)
    x = torch.arange(-3, 4, dtype=torch.float64)
    line = (-(x**2) / 2).exp() / (-(x**2) / 2).exp().sum()
    assert torch.allclose(found[0, 1, 2:9, 4:11], line[:, None] * line, atol=1e-12)
    assert not found[0, 0].any(), "colours do not mix"
    assert found.sum().item() == pytest.approx(1, abs=1e-12)


def test_a_wider_gaussian_has_a_larger_variance():
    images = torch.zeros(1, 1, 41, 41, dtype=torch.float64)
    images[0, 0, 20, 20] = 1
    x = torch.arange(41) - 20
    for sigma in (1.5, 3, 6.5):
        variance = (heatmap.blur(images, sigma)[0, 0].sum(0) * x**2).sum().item()
        assert variance == pytest.approx(sigma**2, rel=0.04)  # what is cut off beyond 3 sigma is missing


def test_borders_are_reflected_and_constant_images_stay():
    constant = torch.full((1, 3, 7, 9), 0.4)
    torch.testing.assert_close(heatmap.blur(constant, 2), constant)
    images = torch.rand(1, 1, 6, 6)
    mirrored = torch.nn.functional.pad(images, (3,) * 4, mode="reflect")
    torch.testing.assert_close(heatmap.blur(images, 1), heatmap.blur(mirrored, 1)[..., 3:-3, 3:-3])


@pytest.mark.parametrize("sigma", [0, -1.0, 2.4, float("nan"), float("inf")])
def test_bad_sigmas_are_named(sigma):
    with pytest.raises(ValueError, match=f"sigma must be positive and .* 9 x 8 pixels, found sigma={sigma}"):
        heatmap.blur(torch.rand(1, 1, 9, 8), sigma)


# --- rank -------------------------------------------------------------------------------------------------------------


def test_rank_by_hand():
    maps = torch.tensor([[[1.0, 5, 1], [5, -2, 3]], [[0, 0, 0], [0, 0, 0]]])
    assert heatmap.rank(maps).tolist() == [[1, 3, 5, 0, 2, 4], [0, 1, 2, 3, 4, 5]]  # ties in row-major order


def test_ties_keep_their_order_in_large_maps():
    maps = torch.arange(4).repeat(2, 500).reshape(2, 40, 50).float()
    ranks = heatmap.rank(maps)
    expected = torch.cat([torch.arange(2000)[value::4] for value in (3, 2, 1, 0)])
    assert torch.equal(ranks, expected.expand(2, -1))
