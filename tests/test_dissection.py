"""Units dissected by hand: thresholds over the data set, enlarged activations, intersections and unions."""

import pytest
import torch
from cases import tiny, tiny_vit
from torch import nn
from torch.utils.data import DataLoader

from xailib import network
from xailib.metrics import network_dissection


class Colours(nn.Module):
    """Unit 0 is red, 1 is green, 2 is blue, at half the size where `pool` is 2."""

    def __init__(self, pool=1):
        super().__init__()
        self.units, self.head = nn.AvgPool2d(pool), nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.units(x).mean((2, 3)))


def dissect(batches, concepts, quantile, pool=1):
    found = network_dissection(Colours(pool).eval(), batches, concepts, layer="units", quantile=quantile)
    assert found.columns.tolist() == ["unit", "concept", "threshold", "iou", "detector"]
    return found.set_index(["unit", "concept"])


def two_images():
    """Red is on in row 0 of both images, green is never on, blue is the same everywhere."""
    images = torch.full((2, 3, 4, 4), 0.1)
    images[0, 0, 0], images[1, 0, 0] = 0.9, 0.8
    images[:, 1], images[:, 2] = 0, 0.5
    masks = torch.zeros(2, 2, 4, 4, dtype=torch.bool)
    masks[0, 0, :2] = True  # the concept "top": half of image 0
    masks[:, 1, 0, :2] = True  # the concept "corner": two pixels of either image
    return images, masks


def test_iou_over_the_data_set_by_hand():
    found = dissect([two_images()], ["top", "corner"], 0.25)  # 8 of 32 places
    assert found.threshold[0, "top"] == pytest.approx(0.1)
    assert found.iou[0, "top"] == pytest.approx(4 / (8 + 8 - 4))  # not the mean of 4/8 and 0/4
    assert found.iou[0, "corner"] == pytest.approx(4 / 8)
    assert found.loc[[1, 2]].iou.tolist() == [0, 0, 0, 0]  # nothing lies above what is the same everywhere
    assert found.detector.tolist() == [True, True, False, False, False, False]


def test_images_where_a_concept_was_not_labelled_do_not_count():
    images, masks = two_images()
    labelled = torch.tensor([[True, True], [False, True]])
    found = dissect([(images, masks, labelled)], ["top", "corner"], 0.25)
    assert found.iou[0, "top"] == pytest.approx(4 / (4 + 8 - 4)) and found.iou[0, "corner"] == pytest.approx(4 / 8)


def test_units_are_enlarged_before_they_are_compared():
    images, masks = torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    images[:, 0, :2, :2], masks[:, :, :2, :2] = 1, True
    # 2 x 2 activations 1 0 / 0 0 become the outer product of (1, 0.75, 0.25, 0): 9 pixels lie above 0
    assert dissect([(images, masks)], ["corner"], 0.25, pool=2).iou[0, "corner"] == pytest.approx(4 / 9)
    images[:, 0, :2, 2:] = 0.75  # now row 0 is 1, 0.9375, 0.8125, 0.75, and row 1 begins with 0.75: 3 pixels lie above
    assert dissect([(images, masks)], ["corner"], 0.25, pool=2).iou[0, "corner"] == pytest.approx(2 / (3 + 4 - 2))


@pytest.mark.parametrize("sizes", [[7], [3, 3, 1], [1] * 7, [4, 3]])
def test_reading_in_batches_changes_nothing(sizes):
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(7, 3, 6, 6, generator=generator)
    masks = torch.rand(7, 2, 6, 6, generator=generator) < 0.3
    batches = list(zip(images.split(sizes), masks.split(sizes), strict=True))
    found = dissect(batches, ["a", "b"], 0.1)
    above = int(0.1 * 7 * 36)
    for unit in range(3):
        threshold = images[:, unit].flatten().sort(descending=True).values[above]
        on = images[:, unit] > threshold
        assert found.threshold[unit, "a"] == threshold.item() and on.sum() == above
        for c, concept in enumerate("ab"):
            iou = (on & masks[:, c]).sum() / (on | masks[:, c]).sum()
            assert found.iou[unit, concept] == pytest.approx(iou.item())


def test_planted_concepts_find_their_units():
    """Squares of one colour each, at random places: a unit agrees with its own colour, and with no other."""
    generator = torch.Generator().manual_seed(0)
    images, masks = torch.rand(30, 3, 16, 16, generator=generator) * 0.3, torch.zeros(30, 3, 16, 16, dtype=torch.bool)
    for i in range(30):
        x, y = torch.randint(0, 12, (2,), generator=generator).tolist()
        masks[i, i % 3, y : y + 4, x : x + 4] = True
    images[masks] += 0.6
    loader = DataLoader([*zip(images, masks, strict=True)], batch_size=8)
    found = dissect(loader, ["red", "green", "blue"], 16 / 256 / 3).iou.unstack()[["red", "green", "blue"]]
    assert (found.to_numpy().diagonal() == 1).all() and found.to_numpy().sum() == 3


def test_tokens_are_dissected_without_the_class_token():
    model, images = tiny_vit(), torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    masks = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(1)) < 0.5
    found = network_dissection(model, [(images, masks)], ["noise"], layer="blocks.1.norm1", quantile=0.1)
    (tokens,), _ = network.cut(model, images, ["blocks.1.norm1"])
    assert tokens.shape[1] == 17 and len(found) == tokens.shape[2]
    expected = tokens[:, 1:].detach().flatten(0, 1).sort(0, descending=True).values[6]
    assert found.threshold.tolist() == pytest.approx(expected.tolist())


def test_the_model_is_left_as_it_was_also_under_autocast():
    model, (images, masks) = tiny(), (torch.rand(3, 3, 16, 16), torch.rand(3, 2, 16, 16) < 0.5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = network_dissection(model, [(images, masks)], ["a", "b"], layer="features", quantile=0.1)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        rounded = network_dissection(model, [(images, masks)], ["a", "b"], layer="features", quantile=0.1)
    assert (rounded.iou - found.iou).abs().max() < 0.1


def test_counts_are_exact_under_autocast():
    images, masks = torch.zeros(1, 3, 64, 64), torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    images[:, 0, :21, :51], masks[:, :, :33, :33] = 1, True  # bfloat16 would round these sums
    with torch.autocast("cpu", torch.bfloat16):
        found = dissect([(images, masks)], ["square"], 0.3)
    assert found.iou[0, "square"] == pytest.approx(693 / (1071 + 1089 - 693), rel=1e-6)


IMAGES, MASKS = torch.rand(2, 3, 4, 4), torch.zeros(2, 1, 4, 4, dtype=torch.bool)


@pytest.mark.parametrize(
    ("batches", "options", "message"),
    [
        ([(IMAGES, MASKS)], {"quantile": 0.005}, "32 places are too few for quantile 0.005"),
        ([(IMAGES, MASKS)], {"quantile": 1.0}, "need 0 < quantile < 1"),
        ([], {}, "0 batches"),
        (((IMAGES, MASKS) for _ in range(2)), {}, "read twice: pass a list or a DataLoader, found generator"),
        ([(IMAGES, MASKS.float())], {}, "masks must be bool .b concepts h w., here .2 1 h w., found torch.float32"),
        ([(IMAGES, MASKS[:, 0])], {}, "masks must be bool"),
        ([(IMAGES, MASKS[:1])], {}, "masks must be bool"),
        ([(IMAGES, MASKS, torch.ones(2, 2) > 0)], {}, "labelled must be bool .2, 1., found torch.bool .2, 2."),
        ([(IMAGES[:1], MASKS[:1]), (IMAGES.repeat(4, 1, 1, 1), MASKS)], {}, "the first batch is smaller"),
        ([(IMAGES * 255, MASKS)], {}, "images must lie in"),
        ([(IMAGES, MASKS)], {"layer": "unit"}, "did you mean 'units'"),
    ],
)
def test_bad_input_is_named(batches, options, message):
    with pytest.raises(ValueError, match=message):
        network_dissection(Colours().eval(), batches, ["one"], **{"layer": "units", "quantile": 0.25, **options})


def test_a_model_in_training_mode_is_refused():
    with pytest.raises(ValueError, match="training mode"):
        network_dissection(Colours(), [(IMAGES, MASKS)], ["one"], layer="units", quantile=0.25)
