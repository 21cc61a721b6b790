"""AD, AI, AG and ADCC: numbers by hand, edge cases, laws, and planted evidence that Fake-CAM does not know."""

import pytest
import torch
from cases import batch, tiny
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from xailib import explain, heatmap, metrics
from xailib.explain import fakecam, random_map
from xailib.models.zoo import Normalized

TARGET = torch.tensor([0])


def exactly(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)


def close(found, *expected, atol=1e-9):
    return torch.allclose(found.double(), exactly(*expected), atol=atol, rtol=0)


class MeanProbability(nn.Module):
    """The probability of class 0 is the image's mean."""

    def __init__(self):
        super().__init__()
        self.seen = 0  # images that went through the network
        self.eval()

    def forward(self, x):
        self.seen += len(x)
        q = x.mean((1, 2, 3))
        return torch.stack([q, 1 - q], 1).log()


# --- drop, increase, gain ---------------------------------------------------------------------------------------------


def test_four_images_by_hand():
    p, o = exactly(0.8, 0.5, 0.2, 0.9), exactly(0.4, 0.75, 0.2, 0.99)
    assert close(metrics.average_drop(p, o), 50, 0, 0, 0) and metrics.average_drop(p, o).mean() == 12.5
    assert close(metrics.average_increase(p, o), 0, 100, 0, 100)  # a draw counts for nothing
    assert close(metrics.average_gain(p, o), 0, 50, 0, 90) and close(metrics.average_gain(p, o).mean(), 35)
    assert close(metrics.average_gain(p, o, ag_denominator="p"), 0, 50, 0, 10)


def test_one_image_by_hand():
    p, o = exactly(0.8756), exactly(0.7442)
    assert close(metrics.average_drop(p, o), 15.0069, atol=5e-5)
    assert not metrics.average_increase(p, o) and not metrics.average_gain(p, o)


def test_certain_and_impossible_classes():
    p, o = exactly(0, 0, 1, 1), exactly(0, 0.5, 1, 0.5)
    assert close(metrics.average_drop(p, o), 0, 0, 0, 50)
    assert close(metrics.average_gain(p, o), 0, 50, 0, 0)
    assert metrics.average_gain(p, o, ag_denominator="p").tolist() == [0, torch.inf, 0, 0]


probability = st.floats(0, 1, width=32)


@given(probability, probability, probability)
def test_ranges_and_monotonicity(p, o, more):
    o, more = sorted((o, more))
    p, o, more = exactly(p), exactly(o), exactly(more)
    drop, gain = metrics.average_drop(p, o), metrics.average_gain(p, o)
    assert 0 <= drop <= 100 and 0 <= gain <= 100 and not (drop and gain)
    assert metrics.average_drop(p, more) <= drop and metrics.average_gain(p, more) >= gain
    assert (metrics.average_increase(p, o) == 100) == (o > p)


@given(probability, probability, st.floats(0.01, 1))
def test_drop_and_gain_are_ratios(p, o, scale):
    p, o = exactly(p), exactly(o)
    assert torch.allclose(metrics.average_drop(scale * p, scale * o), metrics.average_drop(p, o))
    gain = metrics.average_gain(1 - scale * (1 - p), 1 - scale * (1 - o))  # the missing probability is scaled
    assert torch.allclose(gain, metrics.average_gain(p, o), atol=1e-4)
    assert torch.equal(metrics.average_drop(1 - p, 1 - o), metrics.average_gain(1 - (1 - p), 1 - (1 - o)))  # mirrored


# --- masked images ----------------------------------------------------------------------------------------------------


def test_masked_probabilities_by_hand():
    x = torch.full((1, 3, 2, 2), 0.8)
    maps = torch.tensor([[[1.0, 0.5], [0.5, 0]]])
    p, o = metrics.masked_probabilities(MeanProbability(), x, TARGET, maps)
    assert close(p, 0.8, atol=1e-6) and close(o, 0.4, atol=1e-6)
    p, o = metrics.masked_probabilities(MeanProbability(), x, TARGET, maps, temperature=0.5)  # odds are squared
    assert close(p, 16 / 17, atol=1e-6) and close(o, 4 / 13, atol=1e-6)


def test_a_mask_of_ones_changes_nothing_and_zeros_show_black():
    model, (images, targets) = tiny(), batch()
    ones = torch.ones_like(images[:, 0])
    p, o = metrics.masked_probabilities(model, images, targets, ones)
    assert torch.equal(p, o) and torch.allclose(p, model(images).softmax(1)[range(3), targets])
    for metric in (metrics.average_drop, metrics.average_increase, metrics.average_gain):
        assert not metric(p, o).any()
    _, o = metrics.masked_probabilities(model, images, targets, 0 * ones)
    torch.testing.assert_close(o, model(0 * images).softmax(1)[range(3), targets].detach())


def test_in_the_normalised_space_hidden_pixels_have_the_mean_colour():
    net, (images, targets) = tiny(), batch()
    mean, std = torch.tensor([0.2, 0.4, 0.6])[:, None, None], torch.tensor([0.1, 0.2, 0.3])[:, None, None]
    model = Normalized(net, (0.2, 0.4, 0.6), (0.1, 0.2, 0.3)).eval()
    maps = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    seen = metrics.masked_images(model, images, maps, mask_space="normalized")
    torch.testing.assert_close((seen - mean) / std, (images - mean) / std * maps[:, None])
    _, o = metrics.masked_probabilities(model, images, targets, maps, mask_space="normalized")
    torch.testing.assert_close(o, net((images - mean) / std * maps[:, None]).softmax(1)[range(3), targets].detach())
    torch.testing.assert_close(metrics.masked_images(model, images, maps), images * maps[:, None])


def test_three_metrics_cost_two_forward_passes_per_image():
    model, images = MeanProbability(), batch(7)[0]
    p, o = metrics.masked_probabilities(model, images, torch.zeros(7, dtype=torch.int64), images[:, 0])
    for metric in (metrics.average_drop, metrics.average_increase, metrics.average_gain):
        metric(p, o)
    assert model.seen == 14


def test_the_chunk_and_the_other_images_do_not_matter():
    model, (images, targets) = tiny(), batch(5)
    maps = heatmap.normalize(images.mean(1))
    whole = torch.stack(metrics.masked_probabilities(model, images, targets, maps, chunk=100))
    for chunk in (1, 3):
        found = torch.stack(metrics.masked_probabilities(model, images, targets, maps, chunk=chunk))
        torch.testing.assert_close(found, whole)
    one = metrics.masked_probabilities(model, images[2:3], targets[2:3], maps[2:3])
    torch.testing.assert_close(torch.stack(one), whole[:, 2:3])


# --- confidence -------------------------------------------------------------------------------------------------------


def test_confidence_by_hand():
    logits = exactly(3, 1).log()[None]
    assert close(metrics.confidence(logits), 0.75)
    assert metrics.matched_temperature(logits, 0.9) == pytest.approx(0.5)  # odds of 9 are those of 3, squared
    assert metrics.matched_temperature(logits, 0.75) == pytest.approx(1)


def test_temperature_undoes_a_change_of_scale():
    logits = torch.randn(50, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    reference = metrics.confidence(logits).mean().item()
    assert metrics.matched_temperature(4 * logits, reference) == pytest.approx(4, rel=1e-9)
    with pytest.raises(ValueError, match="between 0.10.* and 1.0"):
        metrics.matched_temperature(logits, 0.05)  # ten classes: a tenth is the least


def test_at_equal_confidence_a_surer_network_no_longer_wins():
    """Two networks that say the same, one three times as loud: AG differs, and at the matched temperature it does not."""
    model, (images, targets) = tiny(), batch(3)
    loud = tiny()
    loud.head.weight.data *= 3
    loud.head.bias.data *= 3
    targets, maps = model(images).argmin(1), heatmap.normalize(images.mean(1))
    quiet = metrics.masked_logits(model, images, maps)[0]
    T = metrics.matched_temperature(
        metrics.masked_logits(loud, images, maps)[0], metrics.confidence(quiet).mean().item()
    )
    expected = torch.stack(metrics.masked_probabilities(model, images, targets, maps))
    matched = torch.stack(metrics.masked_probabilities(loud, images, targets, maps, temperature=T))
    torch.testing.assert_close(matched, expected, atol=1e-5, rtol=1e-4)
    assert (torch.stack(metrics.masked_probabilities(loud, images, targets, maps)) - expected).abs().max() > 0.02


# --- coherency, complexity, ADCC --------------------------------------------------------------------------------------

S = exactly(0, 1 / 3, 2 / 3, 1).view(1, 2, 2)


def test_coherency_by_hand():
    assert close(metrics.coherency(S, 3 * S + 1), 1)
    assert close(metrics.coherency(S, 1 - S), 0) and close(metrics.coherency(S, 1 - S, coherency="raw"), -1)
    other = exactly(1, 0, 0, 1).view(1, 2, 2)  # centred: (-3, -1, 1, 3) / 6 and (1, -1, -1, 1) / 2 are at right angles
    assert close(metrics.coherency(S, other), 0.5)
    assert close(metrics.coherency(S, exactly(0, 0, 0, 1).view(1, 2, 2), coherency="raw"), 3 / 15**0.5)


def test_a_constant_map_coheres_with_nothing():
    assert close(metrics.coherency(0 * S + 0.1, S, coherency="raw"), 0)
    assert close(metrics.coherency(S, 0 * S), 0.5) and close(metrics.coherency(0 * S, 0 * S), 0.5)


def test_complexity_by_hand():
    assert close(metrics.complexity(S), 0.5)


def test_adcc_by_hand():
    p, o = exactly(0.8), exactly(0.4)
    found = metrics.adcc(p, o, exactly(1), exactly(0.25))
    assert close(found, 9 / 13)  # 3 / (1/1 + 1/0.75 + 1/0.5)


@pytest.mark.parametrize("coherency, complexity, o", [(0, 0.25, 0.4), (1, 1, 0.4), (1, 0.25, 0), (-0.5, 0.25, 0.4)])
def test_adcc_is_zero_where_a_part_is(coherency, complexity, o):
    assert metrics.adcc(exactly(0.8), exactly(o), exactly(coherency), exactly(complexity)) == 0


def test_adcc_of_means():
    p, o, coherency, complexity = exactly(1, 1), exactly(1, 0.5), exactly(1, 0.5), exactly(0, 0.5)
    assert close(metrics.adcc(p, o, coherency, complexity), 1, 0.5)
    assert close(metrics.adcc(p, o, coherency, complexity, aggregate="of_means"), 0.75)
    mixed = metrics.adcc(p, o, coherency, exactly(0.5, 0), aggregate="of_means")
    assert close(mixed, 0.75) and metrics.adcc(p, o, coherency, exactly(0.5, 0)).mean() < 0.7


def test_adcc_sees_through_fakecam():
    images = torch.rand(1, 3, 224, 224, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    maps, p = fakecam(tiny().double(), images, TARGET), exactly(0.5)
    coherency = metrics.coherency(maps, fakecam(tiny().double(), images * maps[:, None], TARGET))
    assert close(coherency, 1) and close(metrics.complexity(maps), 1 - 1 / 50176)
    assert close(metrics.adcc(p, p, coherency, metrics.complexity(maps)), 3 / 50178, atol=1e-12)


pixels = st.lists(st.floats(-100, 100, width=32), min_size=6, max_size=6).map(lambda n: exactly(*n).view(1, 2, 3))


@given(pixels, pixels, st.floats(0.1, 10), st.floats(-10, 10), st.permutations(range(6)))
def test_coherency_ignores_scale_and_places(maps, others, scale, shift, order):
    assume(min(maps.std(), others.std()) > 1e-3)
    found = metrics.coherency(maps, others)
    assert 0 <= found <= 1
    torch.testing.assert_close(metrics.coherency(scale * maps + shift, others), found, atol=1e-6, rtol=0)
    torch.testing.assert_close(metrics.coherency(others, maps), found, atol=1e-6, rtol=0)
    torch.testing.assert_close(metrics.coherency(-maps, others), 1 - found, atol=1e-6, rtol=0)
    moved = [values.flatten()[list(order)].view(1, 2, 3) for values in (maps, others)]
    torch.testing.assert_close(metrics.coherency(*moved), found, atol=1e-6, rtol=0)


@given(probability, probability, probability, probability)
def test_adcc_lies_between_the_least_and_three_times_the_least(p, o, coherency, complexity):
    p, o, coherency, complexity = map(exactly, (p, o, coherency, complexity))
    parts = torch.stack([coherency, 1 - complexity, 1 - metrics.average_drop(p, o) / 100])
    found = metrics.adcc(p, o, coherency, complexity)
    assert parts.amin() - 1e-9 <= found <= min(3 * parts.amin(), parts.amax()) + 1e-9


# --- planted evidence -------------------------------------------------------------------------------------------------


class RedPatch(nn.Module):
    """Class 0 is red. A green surrounding speaks for it, a blue one against it."""

    def forward(self, x):
        red, green, blue = x.mean((2, 3)).T
        y = 40 * red + 4 * green - 4 * blue - 2
        return torch.stack([y, torch.zeros_like(y)], 1)


def red_patches():
    """Grey noise with a red patch each, on a green and on a blue ground, and the true masks."""
    images = 0.2 * torch.rand(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    images[:, 0] = 0
    images[0, 1] += 0.4
    images[1, 2] += 0.4
    masks = torch.zeros(2, 28, 28)
    masks[0, 4:12, 6:14] = masks[1, 15:23, 12:20] = 1
    patch = torch.tensor([0.9, 0.1, 0.1])[:, None, None]
    return torch.where(masks[:, None] > 0, patch, images), masks


def judged(maps):
    model, (images, _) = RedPatch().eval(), red_patches()
    p, o = metrics.masked_probabilities(model, images, torch.tensor([0, 0]), heatmap.normalize(maps))
    return metrics.average_drop(p, o).mean(), metrics.average_increase(p, o).mean(), metrics.average_gain(p, o).mean()


def test_the_true_evidence_beats_random_and_fakecam_wins_drop_and_fails_gain():
    model, (images, masks) = RedPatch().eval(), red_patches()
    targets = torch.tensor([0, 0])
    drop, increase, gain = judged(masks)
    for seed in range(5):
        chance = judged(random_map(model, images, targets, generator=torch.Generator().manual_seed(seed)))
        assert drop < chance[0] - 5 and gain > chance[2] + 20
    fake_drop, _, fake_gain = judged(fakecam(model, images, targets))
    assert fake_drop < 0.5 < drop and fake_gain < 0.5 and gain > 10 and increase == 50


# --- refusals ---------------------------------------------------------------------------------------------------------

IMAGES, TARGETS = batch()
MAPS = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
HALF = torch.full((3,), 0.5)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: metrics.masked_probabilities(tiny(), IMAGES, TARGETS, 3 * MAPS), r"heatmap.normalize\(maps\)"),
        (lambda: metrics.masked_probabilities(tiny(), IMAGES, TARGETS, MAPS - 0.5), "must lie in"),
        (lambda: metrics.masked_probabilities(tiny(), IMAGES, TARGETS, MAPS / 0), "maps .* contain NaN or infinite"),
        (lambda: metrics.masked_probabilities(tiny(), IMAGES, TARGETS, MAPS[:, :8]), "do not fit images"),
        (lambda: metrics.masked_probabilities(tiny(), IMAGES, TARGETS[:2], MAPS), "one class per image"),
        (lambda: metrics.masked_probabilities(tiny(), IMAGES, TARGETS + 4, MAPS), r"targets must lie in 0\.\.3"),
        (lambda: metrics.masked_probabilities(tiny().train(), IMAGES, TARGETS, MAPS), r"call model.eval\(\)"),
        (lambda: metrics.masked_probabilities(tiny(), 255 * IMAGES, TARGETS, MAPS), "divide bytes by 255"),
        (lambda: metrics.masked_probabilities(tiny(), IMAGES, TARGETS, MAPS, temperature=0), "must be positive"),
        (lambda: metrics.masked_probabilities(tiny(), IMAGES, TARGETS, MAPS, chunk=0), "chunk must be at least 1"),
        (lambda: metrics.masked_images(tiny(), IMAGES, MAPS, mask_space="lab"), "'pixel' or 'normalized', found 'lab'"),
        (lambda: metrics.average_drop(100 * HALF, HALF), "p must hold probabilities"),
        (lambda: metrics.average_gain(HALF, HALF / 0 * 0), "o must hold probabilities"),
        (lambda: metrics.average_gain(HALF, HALF, ag_denominator="q"), "'1-p' or 'p', found 'q'"),
        (lambda: metrics.coherency(MAPS, MAPS / 0), "contain NaN"),
        (lambda: metrics.coherency(MAPS, MAPS, coherency="squared"), "found 'squared'"),
        (lambda: metrics.complexity(2 * MAPS), "must lie in"),
        (lambda: metrics.adcc(HALF, HALF, HALF, HALF, aggregate="sum"), "found 'sum'"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_network_that_says_nan_is_refused():
    model = tiny()
    model.head.bias.data[1] = torch.nan
    with pytest.raises(ValueError, match="logits contain NaN|scores contain NaN"):
        metrics.masked_probabilities(model, IMAGES, 0 * TARGETS, MAPS)


def test_the_model_is_left_as_it_was():
    model = tiny()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    maps = heatmap.normalize(explain.cam(model, IMAGES, TARGETS, layer="features", weights=explain.gradcam))
    p, o = metrics.masked_probabilities(model, IMAGES.requires_grad_(False), TARGETS, maps)
    assert not p.requires_grad and not o.requires_grad and not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
