"""Localisation metrics by hand, the thesis' code as a preset, and what must hold for any map and boxes."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from xailib import heatmap, metrics
from xailib.metrics.pointing import _near

NAN = float("nan")


def box(*edges):
    return torch.tensor([edges])


def lit(*boxes, size=10, value=1.0):
    """One map [1 size size] that is `value` in the boxes and 0 elsewhere."""
    maps = torch.zeros(1, size, size)
    for x0, y0, x1, y1 in boxes:
        maps[0, y0:y1, x0:x1] = value
    return maps


def spot(row, column, size=10):
    return lit((column, row, column + 1, row + 1), size=size)


UNIFORM = torch.ones(1, 10, 10)

# --- boxes ------------------------------------------------------------------------------------------------------------


def test_iou_by_hand():
    found = metrics.box_iou(torch.tensor([[2, 2, 6, 6], [0, 0, 4, 4]]), torch.tensor([[4, 4, 8, 8], [0, 0, 4, 3]]))
    torch.testing.assert_close(found, torch.tensor([[1 / 7, 2 / 26], [0, 0.75]], dtype=torch.float64))
    assert metrics.box_iou(box(3, 3, 3, 3), box(3, 3, 3, 3)).item() == 0


def test_predicted_box_is_tight_and_of_the_largest_region():
    assert metrics.predicted_box(lit((1, 2, 4, 9), (5, 0, 7, 2))).tolist() == [[1, 2, 4, 9]]


def test_predicted_box_exceeds_the_mean_strictly():
    maps = lit((0, 0, 10, 5), value=2.0) + lit((0, 5, 5, 10))  # values 2, 1, 0, and the mean is 1.25
    assert metrics.predicted_box(maps).tolist() == [[0, 0, 10, 5]]
    maps = torch.tensor([[[0.0, 1.0, 2.0]]])  # 1 is the mean
    assert metrics.predicted_box(maps).tolist() == [[2, 0, 3, 1]]


def test_pixels_that_touch_at_corners_are_two_regions():
    maps = lit((0, 0, 2, 2), (2, 2, 4, 4), (4, 4, 5, 5))
    assert metrics.predicted_box(maps).tolist() == [[0, 0, 2, 2]]  # of two equal ones the first


def test_constant_map_predicts_the_whole_image():
    maps = torch.stack([torch.full((6, 9), value) for value in (0.0, 0.1, 1.0)])
    assert metrics.predicted_box(maps).tolist() == [[0, 0, 9, 6]] * 3


def test_boxes_are_clipped_and_union_is_no_sum():
    U = metrics.box_masks([torch.tensor([[-3, 2, 6, 8], [4, 0, 12, 4], [11, 0, 14, 5], [3, 3, 3, 9]])], UNIFORM)
    assert U.sum() == 36 + 24 - 4 and U[0, 2, 0] and U[0, 0, 9] and not U[0, 9, 9]


# --- the predicted box against the true ones --------------------------------------------------------------------------


def test_localization_error_by_hand():
    far = lit((4, 4, 8, 8)), [box(2, 2, 6, 6)]
    near = lit((0, 0, 4, 3)), [box(0, 0, 4, 4)]
    assert metrics.localization_error(*far).item() == 100
    assert metrics.localization_error(*far, iou_mode="raw").item() == pytest.approx(100 * 6 / 7, abs=1e-4)
    assert metrics.localization_error(*near).item() == 0
    assert metrics.localization_error(*near, iou_mode="raw").item() == 25


def test_localization_error_needs_more_than_half_and_takes_the_best_box():
    half = lit((0, 0, 4, 2))
    assert metrics.localization_error(half, [box(0, 0, 4, 4)]).item() == 100  # IoU 0.5
    several = [torch.tensor([[0, 0, 4, 4], [0, 0, 4, 2], [7, 7, 9, 9]])]
    assert metrics.localization_error(half, several, iou_mode="raw").item() == 0


def test_official_metric_asks_for_the_class_too():
    maps, boxes = lit((0, 0, 4, 3)).expand(2, -1, -1), [box(0, 0, 4, 4)] * 2
    predictions, targets = torch.tensor([3, 5]), torch.tensor([3, 3])
    assert metrics.official_metric(maps, boxes, predictions, targets).tolist() == [0, 100]
    assert metrics.official_metric(maps, boxes, predictions, targets, iou_mode="raw").tolist() == [25, 100]


def test_box_accuracy_takes_one_threshold_for_all_images():
    wide = lit((0, 0, 8, 8), value=0.5) + lit((2, 2, 6, 6), value=0.5)  # the object lies above 0.5
    sharp = lit((2, 2, 6, 6), value=0.5) + lit((2, 2, 3, 3), value=0.5)  # the object lies above 0
    boxes = [box(2, 2, 6, 6)]
    for boxacc in ("thesis", "v1", "v2"):
        assert metrics.box_accuracy(wide, boxes, boxacc=boxacc).item() == 100
        assert metrics.box_accuracy(sharp, boxes, boxacc=boxacc).item() == 100
        both = metrics.box_accuracy(torch.cat([wide, sharp]), boxes * 2, boxacc=boxacc)
        assert both.mean() == 50
        most = metrics.box_accuracy(torch.cat([wide, sharp, sharp]), boxes * 3, boxacc=boxacc)
        assert most.tolist() == [0, 100, 100]
    hits = metrics.box_hits(wide, boxes)
    assert hits.shape == (1, 3, 100) and hits[0, :, :50].sum() == 0 and hits[0, :, 50:].all()  # S > 0.5, not >=


def test_box_accuracy_over_overlaps():
    maps, boxes = lit((0, 0, 4, 5)), [box(0, 0, 4, 10)]  # IoU 0.5, which is enough here
    assert metrics.box_accuracy(maps, boxes).item() == pytest.approx(200 / 3)
    assert metrics.box_accuracy(maps, boxes, boxacc="v1").item() == 100
    hits = metrics.box_hits(maps, boxes, thresholds=[0.2], overlaps=[0.5, 0.51])
    assert hits.tolist() == [[[1], [0]]]


def test_box_accuracy_v2_takes_the_best_of_all_regions():
    maps, boxes = lit((0, 0, 5, 5), (7, 7, 10, 10)), [box(7, 7, 10, 10)]
    assert metrics.box_accuracy(maps, boxes).item() == 0
    assert metrics.box_accuracy(maps, boxes, boxacc="v1").item() == 0
    assert metrics.box_accuracy(maps, boxes, boxacc="v2").item() == 100


def test_hits_of_batches_are_joined():
    maps = torch.cat([lit((0, 0, 5, 5)), lit((0, 0, 5, 5), value=0.3), spot(9, 9)])
    boxes = [box(0, 0, 5, 5), box(0, 0, 5, 5), box(20, 0, 30, 5)]
    hits = torch.cat([metrics.box_hits(maps[i : i + 1], boxes[i : i + 1]) for i in range(3)])
    whole = metrics.box_accuracy(maps, boxes)
    assert whole[:2].tolist() == [100, 100] and whole[2].isnan()
    torch.testing.assert_close(metrics.best_accuracy(hits), whole, equal_nan=True)


# --- what the network sees in the box ---------------------------------------------------------------------------------


class Sure(nn.Module):
    """Two classes, the first with probability p for any image; keeps what it saw."""

    def __init__(self, logits):
        super().__init__()
        self.logits, self.seen = torch.tensor(logits), []

    def forward(self, x):
        self.seen.append(x)
        return self.logits.expand(len(x), -1)


@pytest.mark.parametrize(
    ("maps", "logits", "expected"),
    [
        (lit((3, 4, 8, 9)), [0.0, 0.0], -0.693147181),
        (spot(3, 3), [0.0, -200.0], -2.995732274),
        (spot(3, 3), [0.0, 0.0], -2.302585093),
        (UNIFORM, [0.0, -200.0], 0),
        (spot(3, 3), [0.0, 200.0], math.inf),
    ],
)
def test_saliency_metric_by_hand(maps, logits, expected):
    found = metrics.saliency_metric(Sure(logits).eval(), torch.rand(1, 3, 10, 10), torch.tensor([0]), maps)
    assert found.item() == pytest.approx(expected, abs=1e-6)


def test_saliency_metric_looks_at_the_crop_resized_bicubically():
    image, model = torch.zeros(1, 3, 4, 4), Sure([0.0, 0.0]).eval()
    image[:, :, 1:3, 2] = 1
    image[:, :, 0] = image[:, :, 3] = 0.5
    metrics.saliency_metric(model, image, torch.tensor([0]), lit((1, 1, 3, 3), size=4))
    # the crop's rows are 0 1; the cubic kernel (a = -0.75) overshoots at both ends, and is cut to [0, 1]
    torch.testing.assert_close(model.seen[0], torch.tensor([0, 0.2265625, 0.7734375, 1]).expand(1, 3, 4, 4))


def test_saliency_metric_runs_in_chunks():
    model, images = Sure([0.0, 0.0]).eval(), torch.rand(5, 3, 10, 10)
    metrics.saliency_metric(model, images, torch.zeros(5, dtype=torch.long), UNIFORM.expand(5, -1, -1), chunk=2)
    assert [len(part) for part in model.seen] == [2, 2, 1] and torch.cat(model.seen).allclose(images, atol=1e-6)


# --- every pixel ------------------------------------------------------------------------------------------------------

ROWS = [box(0, 0, 4, 2)]  # of a 4 x 4 image
QUARTER = [box(1, 1, 3, 3)]


def test_pixel_f1_and_energy_by_hand():
    columns = lit((0, 0, 2, 4), size=4)
    assert metrics.pixel_f1(columns, ROWS).item() == 50
    assert metrics.energy_pointing_game(columns, ROWS).item() == 50
    ones = torch.ones(1, 4, 4)
    assert metrics.pixel_f1(ones, QUARTER).item() == pytest.approx(40)
    assert metrics.energy_pointing_game(ones, QUARTER).item() == 25
    assert metrics.pixel_f1(ones / 2, QUARTER).item() == pytest.approx(100 / 3)  # not scale invariant
    assert metrics.energy_pointing_game(ones / 2, QUARTER).item() == 25
    assert metrics.pixel_f1(0 * ones, QUARTER).item() == metrics.energy_pointing_game(0 * ones, QUARTER).item() == 0


def test_several_boxes_are_one_object():
    boxes = [torch.tensor([[0, 0, 4, 4], [2, 0, 6, 4]])]  # the union covers 24 pixels
    assert metrics.pixel_f1(lit((0, 0, 6, 4)), boxes).item() == 100
    assert metrics.energy_pointing_game(UNIFORM, boxes).item() == pytest.approx(24)
    # with box 1 alone: P = 16/24, R = 1
    found = metrics.pixel_f1(lit((0, 0, 6, 4)), boxes, f1_mode="per_box_max_unclipped")
    assert found.item() == pytest.approx(80)


def test_box_over_the_border():
    assert metrics.energy_pointing_game(UNIFORM, [box(-3, 2, 6, 8)]).item() == pytest.approx(36)
    assert metrics.energy_pointing_game(UNIFORM, [box(-3, 2, 6, 8)], preset="thesis_legacy").item() == 0


# --- the most salient pixel -------------------------------------------------------------------------------------------


def test_pointing_game_by_hand():
    boxes = [box(2, 3, 5, 7)]  # columns 2 to 4, rows 3 to 6
    for row, column, expected in [(3, 2, 100), (6, 4, 100), (6, 5, 0), (7, 4, 0), (2, 3, 0)]:
        assert metrics.pointing_game(spot(row, column), boxes).item() == expected


def test_ties_of_the_pointing_game():
    ones = torch.ones(1, 4, 4)
    assert metrics.pointing_game(ones, QUARTER).item() == 25
    assert metrics.pointing_game(ones, QUARTER, ties="any").item() == 100
    assert metrics.pointing_game(ones, QUARTER, ties="first").item() == 0
    assert metrics.pointing_game(ones, ROWS, ties="first").item() == 100


def test_tolerance_is_a_distance_in_pixels():
    boxes = [box(2, 3, 5, 7)]
    assert metrics.pointing_game(spot(6, 6), boxes, tolerance=2).item() == 100
    assert metrics.pointing_game(spot(6, 6), boxes, tolerance=1.9).item() == 0
    assert metrics.pointing_game(spot(8, 6), boxes, tolerance=2.8).item() == 0  # two right, two down: 2.83
    assert metrics.pointing_game(spot(8, 6), boxes, tolerance=2.9).item() == 100
    assert not _near(torch.zeros(1, 3, 3, dtype=torch.bool), 9).any()


# --- what the thesis' code does ---------------------------------------------------------------------------------------
# Its Fake-CAM row needs ImageNet's boxes, which are not shipped; here the mechanism of each defect, on boxes by hand.


def legacy(metric, *inputs, **options):
    return metric(*inputs, preset="thesis_legacy", **options).item()


def test_legacy_boxes_move_with_the_crop_and_beyond_it():
    boxes = [torch.tensor([[50, 11, 151, 99], [250, 0, 300, 200]])] * 2
    wide, tall = metrics.legacy_boxes(boxes, [(200, 300), (300, 200)], size=100)  # halved, then 25 pixels off two sides
    assert wide.tolist() == [[0, 5, 50, 49], [100, 0, 125, 100]]
    assert tall.tolist() == [[25, -19, 75, 24], [125, -25, 150, 75]]


def test_legacy_masks_swap_axes_and_wrap_around():
    U = metrics.box_masks([torch.tensor([[1, 4, 3, 8]]), box(-3, 2, 9, 8)], UNIFORM.expand(2, -1, -1))
    assert U[0].nonzero().amin(0).tolist() == [4, 1] and U[0].nonzero().amax(0).tolist() == [7, 2]
    old = metrics.box_masks([box(1, 4, 3, 8), box(-3, 2, 9, 8)], UNIFORM.expand(2, -1, -1), preset="thesis_legacy")
    assert old[0].equal(U[0].mT)
    assert old[1].nonzero().amin(0).tolist() == [7, 2] and old[1].nonzero().amax(0).tolist() == [8, 7]


def test_legacy_predicted_box_ends_one_early():
    assert metrics.predicted_box(torch.ones(1, 224, 224), preset="thesis_legacy").tolist() == [[0, 0, 223, 223]]
    assert metrics.predicted_box(lit((1, 2, 4, 9)), preset="thesis_legacy").tolist() == [[1, 2, 3, 8]]


def test_legacy_boxes_keep_what_lies_outside():
    boxes = [box(-3, 0, 9, 9)]  # 108 pixels, 81 of them inside; the legacy prediction has 81, the clean one 100
    assert legacy(metrics.localization_error, UNIFORM, boxes, iou_mode="raw") == pytest.approx(25, abs=1e-4)
    assert metrics.localization_error(UNIFORM, boxes, iou_mode="raw").item() == pytest.approx(19, abs=1e-4)
    assert legacy(metrics.pixel_f1, UNIFORM, boxes) == pytest.approx(100 * 162 / 208)
    assert metrics.pixel_f1(UNIFORM, boxes).item() == pytest.approx(100 * 162 / 181)
    assert legacy(metrics.official_metric, UNIFORM, boxes, torch.tensor([1]), torch.tensor([1])) == 0
    assert legacy(metrics.localization_error, UNIFORM, [box(20, 20, 30, 30)]) == 100  # not dropped


def test_legacy_pointing_swaps_axes_and_includes_the_end():
    boxes = [box(4, 1, 6, 2)]
    assert (
        metrics.pointing_game(spot(1, 5), boxes).item() == 100 and legacy(metrics.pointing_game, spot(1, 5), boxes) == 0
    )
    assert legacy(metrics.pointing_game, spot(6, 2), boxes) == 100
    assert legacy(metrics.pointing_game, spot(7, 2), boxes) == legacy(metrics.pointing_game, spot(6, 3), boxes) == 0
    assert legacy(metrics.pointing_game, UNIFORM, boxes) == 100  # one of the tied pixels is enough
    assert legacy(metrics.pointing_game, UNIFORM, boxes, ties="mean") == 6


def test_legacy_crop_of_an_empty_box_is_black():
    model = Sure([0.0, 0.0]).eval()
    found = legacy(metrics.saliency_metric, model, torch.rand(1, 3, 10, 10), torch.tensor([0]), spot(3, 3))
    assert found == pytest.approx(math.log(0.05) + math.log(2)) and not model.seen[0].any()


# --- images without truth, and what is refused ------------------------------------------------------------------------


def test_an_image_without_a_box_is_nan_and_hurts_no_other():
    maps, boxes = lit((0, 0, 4, 4)).expand(3, -1, -1), [box(0, 0, 4, 4), box(10, 0, 14, 4), torch.zeros(0, 4).long()]
    classes = torch.zeros(3, dtype=torch.long)
    for found in (
        metrics.localization_error(maps, boxes),
        metrics.official_metric(maps, boxes, classes, classes),
        metrics.pixel_f1(maps, boxes),
        metrics.energy_pointing_game(maps, boxes),
        metrics.pointing_game(maps, boxes),
        metrics.box_accuracy(maps, boxes),
    ):
        assert found.isnan().tolist() == [False, True, True] and found[0] in (0, 100)


ON_BOXES = [
    metrics.localization_error,
    metrics.pixel_f1,
    metrics.energy_pointing_game,
    metrics.pointing_game,
    metrics.box_accuracy,
]


@pytest.mark.parametrize("metric", ON_BOXES, ids=lambda one: one.__name__)
def test_bad_input_is_named(metric):
    broken = UNIFORM.clone()
    broken[0, 3, 3] = NAN
    for maps, boxes, message in [
        (broken, [box(0, 0, 4, 4)], "contain NaN"),
        (UNIFORM, [box(0, 0, 4, 4)] * 2, "2 of them for 1 maps"),
        (UNIFORM, [torch.tensor([0, 0, 4, 4])], "int tensor .n 4., found torch.int64 .4,."),
        (UNIFORM, [box(0.0, 0.0, 4.0, 4.0)], "found torch.float32"),
        (UNIFORM, [box(4, 0, 0, 4)], "ends before it starts"),
    ]:
        with pytest.raises(ValueError, match=message):
            metric(maps, boxes)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.localization_error(UNIFORM, ROWS, iou_mode="soft"), "iou_mode must be"),
        (lambda: metrics.pixel_f1(UNIFORM, ROWS, f1_mode="box"), "f1_mode must be"),
        (lambda: metrics.pointing_game(UNIFORM, ROWS, ties="last"), "ties must be"),
        (lambda: metrics.box_accuracy(UNIFORM, ROWS, boxacc="v3"), "boxacc must be"),
        (lambda: metrics.pixel_f1(UNIFORM, ROWS, preset="old"), "preset must be 'clean' or 'thesis_legacy'"),
        (lambda: metrics.pixel_f1(2 * UNIFORM, ROWS), "maps must lie in"),
        (lambda: metrics.energy_pointing_game(UNIFORM - 2, ROWS), "maps must lie in"),
        (lambda: metrics.official_metric(UNIFORM, ROWS, torch.tensor([1, 2]), torch.tensor([1])), "one class per map"),
        (
            lambda: metrics.saliency_metric(Sure([0.0, 0.0]), torch.rand(1, 3, 10, 10), torch.tensor([0]), UNIFORM),
            "training mode",
        ),
    ],
)
def test_bad_options_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- for any map and boxes --------------------------------------------------------------------------------------------

edges = st.tuples(st.integers(-4, 9), st.integers(-4, 9), st.integers(1, 8), st.integers(1, 8))


@st.composite
def scenes(draw):
    """Maps of quarters in [0, 1], with ties, and one to three boxes each, some beyond the border."""
    b, height, width = draw(st.integers(1, 3)), draw(st.integers(1, 8)), draw(st.integers(1, 8))
    levels = draw(st.lists(st.integers(0, 4), min_size=b * height * width, max_size=b * height * width))
    boxes = [draw(st.lists(edges, min_size=1, max_size=3)) for _ in range(b)]
    boxes = [torch.tensor([(x, y, x + w, y + h) for x, y, w, h in one]) for one in boxes]
    return torch.tensor(levels).view(b, height, width) / 4, boxes


def accuracy(maps, boxes, preset="clean"):
    """Box accuracy at the only thresholds that tell maps of quarters apart."""
    return metrics.best_accuracy(metrics.box_hits(maps, boxes, thresholds=[0, 0.25, 0.5, 0.75]))


ANY_SCENE = [*ON_BOXES[:-1], accuracy]


def same(found, expected):
    torch.testing.assert_close(found, expected, equal_nan=True)


@settings(deadline=None, max_examples=40)
@given(scenes(), st.sampled_from(["clean", "thesis_legacy"]))
def test_every_percentage_is_one(scene, preset):
    for metric in ANY_SCENE:
        found = metric(*scene, preset=preset)
        assert (found.isnan() | (found >= 0) & (found <= 100 + 1e-4)).all()


@settings(deadline=None, max_examples=40)
@given(scenes(), st.randoms())
def test_images_and_boxes_may_come_in_any_order(scene, random):
    maps, boxes = scene
    order = random.sample(range(len(maps)), len(maps))
    shuffled = [boxes[i][torch.randperm(len(boxes[i]), generator=torch.Generator().manual_seed(i))] for i in order]
    for metric in ANY_SCENE:
        same(metric(maps[order], shuffled), metric(maps, boxes)[order])


@settings(deadline=None, max_examples=40)
@given(scenes())
def test_only_ratios_of_the_map_count(scene):
    maps, boxes = scene
    assert metrics.predicted_box(4 * maps + 1).equal(metrics.predicted_box(maps))
    same(metrics.localization_error(4 * maps + 1, boxes), metrics.localization_error(maps, boxes))
    same(metrics.pointing_game(4 * maps + 1, boxes), metrics.pointing_game(maps, boxes))
    same(metrics.energy_pointing_game(maps / 4, boxes), metrics.energy_pointing_game(maps, boxes))


@settings(deadline=None, max_examples=40)
@given(scenes())
def test_a_mirrored_scene_has_the_same_values(scene):
    maps, boxes = scene
    width = maps.shape[2]
    mirrored = [torch.stack([width - one[:, 2], one[:, 1], width - one[:, 0], one[:, 3]], 1) for one in boxes]
    for metric in (metrics.pixel_f1, metrics.energy_pointing_game, metrics.pointing_game):
        same(metric(maps.flip(2), mirrored), metric(maps, boxes))


@settings(deadline=None, max_examples=40)
@given(scenes())
def test_thesis_accuracy_lies_between_v2_and_nothing(scene):
    best, first = (metrics.box_hits(*scene, boxacc=boxacc, thresholds=[0, 0.5]) for boxacc in ("v2", "thesis"))
    assert (best.isnan() | (best >= first)).all()


# --- planted evidence -------------------------------------------------------------------------------------------------


class BrightnessDetector(nn.Module):
    """Class 1 is a bright image, so a crop is recognised better the more it is filled by the bright object."""

    def forward(self, x):
        brightness = x.mean((1, 2, 3))
        return torch.stack([0 * brightness, 8 * (brightness - 0.5)], 1)


def planted(b=10, size=32, seed=0):
    """Bright discs of 8 to 14 pixels at random places, their tight boxes, the true map, and a random smooth one."""
    generator = torch.Generator().manual_seed(seed)
    radius = torch.randint(4, 8, (b, 1, 1), generator=generator)
    x, y = (torch.randint(8, size - 8, (b, 1, 1), generator=generator) for _ in range(2))
    rows, columns = torch.arange(size)[:, None], torch.arange(size)
    discs = ((columns - x) ** 2 + (rows - y) ** 2 <= radius**2).float()
    boxes = [
        box(*edge) for edge in torch.cat([x - radius, y - radius, x + radius + 1, y + radius + 1], 1)[..., 0].tolist()
    ]
    noise = heatmap.normalize(heatmap.resize(torch.rand(b, 7, 7, generator=generator), (size, size)))
    return (0.1 + 0.8 * discs)[:, None].expand(-1, 3, -1, -1), boxes, discs, noise


def test_true_evidence_beats_random_everywhere():
    images, boxes, truth, noise = planted()
    targets = torch.ones(len(images), dtype=torch.long)
    values = {
        "SM": lambda maps: -metrics.saliency_metric(BrightnessDetector().eval(), images, targets, maps),
        "LE": lambda maps: -metrics.localization_error(maps, boxes),
        "OM": lambda maps: -metrics.official_metric(maps, boxes, targets, targets),
        **{metric.__name__: lambda maps, metric=metric: metric(maps, boxes) for metric in ON_BOXES[1:]},
    }
    for name, value in values.items():
        assert value(truth).mean() > value(noise).mean(), name
    assert metrics.localization_error(truth, boxes).sum() == 0
    assert metrics.box_accuracy(truth, boxes).mean() == metrics.energy_pointing_game(truth, boxes).mean() == 100


# --- differential -----------------------------------------------------------------------------------------------------


@pytest.mark.reference
def test_pointing_and_relevance_mass_agree_with_quantus():
    quantus = pytest.importorskip("quantus")
    _, boxes, truth, noise = planted()
    for maps in (noise, heatmap.normalize(truth + noise)):
        arguments = {
            "model": None,
            "x_batch": maps[:, None].numpy(),
            "y_batch": torch.zeros(len(maps), dtype=torch.long).numpy(),
            "a_batch": maps[:, None].numpy(),
            "s_batch": metrics.box_masks(boxes, maps)[:, None].numpy(),
        }
        options = {"disable_warnings": True, "normalise": False, "abs": False}
        pointing = quantus.PointingGame(**options)(**arguments)
        assert [100 * float(one) for one in pointing] == metrics.pointing_game(maps, boxes).tolist()
        mass = quantus.AttributionLocalisation(positive_attributions=True, **options)(**arguments)
        expected = metrics.energy_pointing_game(maps, boxes).tolist()
        assert [100 * float(one) for one in mass] == pytest.approx(expected, abs=1e-3)
