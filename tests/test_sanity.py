"""Baseline maps, randomised weights and bootstrap intervals: by hand, by law, and where the truth is known."""

from functools import partial

import pytest
import torch
from cases import batch, tiny
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, spearmanr
from torch import nn

from xailib import explain, metrics, network
from xailib.explain import centre_map, edge_map, random_map
from xailib.metrics.sanity import average_ranks, shuffle_weights

TARGET = torch.tensor([0])
SEES_PIXELS = nn.Identity().eval()


def seeded(seed):
    return torch.Generator().manual_seed(seed)


# --- baselines --------------------------------------------------------------------------------------------------------


def test_edges_by_hand():
    ramp = (torch.arange(5) / 10).expand(1, 3, 4, 5)  # a tenth brighter with every column
    expected = torch.tensor([0.05, 0.1, 0.1, 0.1, 0.05]).expand(1, 4, 5)
    torch.testing.assert_close(edge_map(SEES_PIXELS, ramp, TARGET), expected)
    torch.testing.assert_close(edge_map(SEES_PIXELS, ramp.mT, TARGET), expected.mT)
    assert not edge_map(SEES_PIXELS, torch.full((1, 3, 4, 5), 0.7), TARGET).any()


def test_edges_are_sobels():
    from skimage.filters import sobel_h, sobel_v

    images = torch.rand(1, 3, 9, 7, generator=seeded(0), dtype=torch.float64)
    grey = images[0].mean(0).numpy()
    expected = torch.from_numpy((sobel_h(grey) ** 2 + sobel_v(grey) ** 2) ** 0.5)[1:-1, 1:-1]  # its border is zero
    torch.testing.assert_close(2 * edge_map(SEES_PIXELS, images, TARGET)[0, 1:-1, 1:-1], expected)  # of two pixels


def test_the_centre_is_the_highest():
    maps = centre_map(SEES_PIXELS, torch.zeros(2, 3, 5, 9), torch.tensor([0, 0]))
    assert maps[1, 2, 4] == maps.max() == 1 and torch.allclose(maps, maps.flip(1, 2)) and torch.equal(maps[0], maps[1])
    wide = centre_map(SEES_PIXELS, torch.zeros(1, 3, 401, 801), TARGET)[0]  # half-way along each side
    assert wide[200, 600] == pytest.approx(0.1353, abs=2e-3) and wide[300, 400] == pytest.approx(0.1353, abs=2e-3)


def test_random_maps_are_seeded_coarse_or_fine():
    images, targets = torch.zeros(2, 3, 56, 56), torch.tensor([0, 1])
    maps = random_map(SEES_PIXELS, images, targets)
    assert torch.equal(maps, random_map(SEES_PIXELS, images, targets)) and torch.equal(maps[0], maps[1])
    assert not torch.equal(maps, random_map(SEES_PIXELS, images, targets, generator=seeded(1)))
    neighbours = lambda S: torch.corrcoef(torch.stack([S[0, :, 1:].flatten(), S[0, :, :-1].flatten()]))[0, 1]  # noqa: E731
    fine = random_map(SEES_PIXELS, images, targets, cells=None)
    assert neighbours(maps) > 0.9 and abs(neighbours(fine)) < 0.1
    assert fine.mean() == pytest.approx(0.5, abs=0.03) and 0 <= fine.min() < 0.01 and 0.99 < fine.max() < 1
    with pytest.raises(ValueError, match="cells must be at least 1"):
        random_map(SEES_PIXELS, images, targets, cells=0)


# --- ranks ------------------------------------------------------------------------------------------------------------


def test_ranks_by_hand():
    ranks = average_ranks(torch.tensor([[[5.0, -1], [5, 7]], [[2, 2], [2, 2]]]))
    assert ranks.tolist() == [[[2.5, 1], [2.5, 4]], [[2.5, 2.5], [2.5, 2.5]]]


@given(st.lists(st.integers(0, 4), min_size=12, max_size=12), st.lists(st.integers(0, 4), min_size=12, max_size=12))
def test_rank_correlation_is_spearmans(one, other):
    maps, others = (torch.tensor(values, dtype=torch.float64).view(1, 3, 4) for values in (one, other))
    found = metrics.correlation(average_ranks(maps).double(), average_ranks(others).double())
    constant = len({*one}) == 1 or len({*other}) == 1
    assert found.item() == pytest.approx(0 if constant else spearmanr(one, other).statistic, abs=1e-9)


# --- randomised weights -----------------------------------------------------------------------------------------------

gradcam = partial(explain.cam, layer="features", weights=explain.gradcam)


def test_a_map_that_asks_no_network_stays():
    images, targets = batch()
    for blind in (edge_map, random_map):
        torch.testing.assert_close(metrics.weight_randomization(tiny(), images, targets, blind), torch.ones(1, 3))


def test_a_map_that_asks_the_network_changes():
    images, targets = batch()
    found = metrics.weight_randomization(tiny(), images, targets, explain.input_gradient)
    assert found.abs().max() < 0.3


def test_a_cascade_goes_on_from_stage_to_stage():
    """The head alone, then the stem, too: a map of the stem's output changes at the second stage only."""
    model, (images, targets) = tiny(), batch()

    def first_channel(model, images, targets):
        assert model is not original
        return model.stem(images)[:, 0].detach().repeat_interleave(2, 1).repeat_interleave(2, 2)

    original = None  # the first call explains the model itself
    learned = first_channel(model, images, targets)
    original = model
    heads = []

    def explainer(asked, images, targets):
        heads.append(asked.head.weight.detach().clone())
        return learned if asked is model else first_channel(asked, images, targets)

    found = metrics.weight_randomization(model, images, targets, explainer, layers=["head", "stem"])
    torch.testing.assert_close(found[0], torch.ones(3))
    assert found[1].abs().max() < 0.9
    assert not torch.equal(heads[0], heads[1]) and torch.equal(heads[1], heads[2])


def test_the_model_keeps_its_weights_and_the_seed_decides():
    model, (images, targets) = tiny(), batch()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = [metrics.weight_randomization(model, images, targets, gradcam, generator=seeded(s)) for s in (0, 0, 1)]
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_shuffled_weights_are_the_same_numbers_elsewhere():
    layer = nn.Linear(30, 20)
    before = layer.weight.detach().clone()
    shuffle_weights(layer, seeded(0))
    assert torch.equal(layer.weight.flatten().sort().values, before.flatten().sort().values)
    assert (layer.weight == before).float().mean() < 0.05 and layer.weight.requires_grad


def test_layers_may_be_modules_and_must_exist():
    model, (images, targets) = tiny(), batch()
    by_name = metrics.weight_randomization(model, images, targets, gradcam, layers=["head"])
    assert torch.equal(metrics.weight_randomization(model, images, targets, gradcam, layers=[model.head]), by_name)
    for wrong, message in [("haed", "did you mean 'head'"), (nn.Linear(1, 1), "not a layer")]:
        with pytest.raises(ValueError, match=message):
            metrics.weight_randomization(model, images, targets, gradcam, layers=[wrong])
    assert network.find_layer(model, "") is model


# --- bootstrap --------------------------------------------------------------------------------------------------------


def test_two_values_by_hand():
    """Resamples of (0, 1) have the means 0, 1/2, 1 with probabilities 1/4, 1/2, 1/4."""
    values = torch.tensor([0.0, 1])
    assert metrics.bootstrap_interval(values, confidence=0.6) == (0, 1)
    assert metrics.bootstrap_interval(values, confidence=0.4) == (0.5, 0.5)


def test_for_many_values_it_is_the_normal_interval():
    values = torch.randn(2000, generator=seeded(0), dtype=torch.float64)
    mean, half = values.mean().item(), (norm.ppf(0.975) * values.std() / 2000**0.5).item()
    low, high = metrics.bootstrap_interval(values)
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.002)
    narrow = metrics.bootstrap_interval(values, confidence=0.5)
    assert low < narrow[0] < values.mean() < narrow[1] < high


def test_it_covers_the_true_mean_about_as_often_as_it_says():
    samples = torch.randn(300, 40, generator=seeded(1))
    intervals = [metrics.bootstrap_interval(values, confidence=0.8, samples=400) for values in samples]
    assert sum(low <= 0 <= high for low, high in intervals) / 300 == pytest.approx(0.8, abs=0.07)


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=8), st.floats(0.1, 10), st.floats(-10, 10))
def test_scale_and_shift_pass_through(values, scale, shift):
    values = torch.tensor(values, dtype=torch.float64)
    low, high = metrics.bootstrap_interval(values, samples=50)
    assert values.min() - 1e-9 <= low <= high <= values.max() + 1e-9
    moved = metrics.bootstrap_interval(scale * values + shift, samples=50)
    assert moved == pytest.approx((scale * low + shift, scale * high + shift), abs=1e-6)


def test_the_seed_decides_and_memory_is_bounded():
    values = torch.rand(3_000_000, generator=seeded(0))  # one resample at a time
    low, high = metrics.bootstrap_interval(values, samples=4)
    assert 0.499 < low < high < 0.501
    few = values[:9]
    assert metrics.bootstrap_interval(few) == metrics.bootstrap_interval(few, generator=seeded(0))
    assert metrics.bootstrap_interval(few, samples=60) != metrics.bootstrap_interval(
        few, samples=60, generator=seeded(1)
    )


@pytest.mark.parametrize(
    "values, options, message",
    [
        ([1.0], {}, "two finite numbers or more"),
        ([1.0, float("nan")], {}, "two finite numbers or more"),
        ([1.0, 2.0], {"confidence": 95.0}, "confidence between 0 and 1"),
        ([1.0, 2.0], {"samples": 0}, "samples >= 1"),
    ],
)
def test_bad_values_are_refused(values, options, message):
    with pytest.raises(ValueError, match=message):
        metrics.bootstrap_interval(torch.tensor(values), **options)
