"""Scenes whose evidence is known: is the evidence where the mask says, and nowhere else?"""

import pytest
import torch
from torch import Generator
from torch.utils.data import DataLoader

from xailib.data import PlantedScenes, stickers
from xailib.data.scene_plan import CUES, OBJECT_CUES, VALUES


def planted(count=40, seed=0, **options) -> PlantedScenes:
    return PlantedScenes(count, generator=Generator().manual_seed(seed), **{"size": 48} | options)


def same(one, other) -> bool:
    pairs = [(getattr(one, name), getattr(other, name)) for name in ("images", "labels", "evidence", "context")]
    return all(a.equal(b) for a, b in [*pairs, *zip(one.boxes, other.boxes, strict=True)])


# --- the evidence -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("evidence", CUES)
def test_with_another_label_only_the_evidence_changes(evidence):
    scenes = planted(evidence=evidence)
    one = scenes.batch(range(40))
    labels = (one.labels + torch.arange(40) % 4 + 1) % 5
    other = scenes.batch(range(40), labels)
    assert other.labels.equal(labels) and (labels != one.labels).all()
    changed = (one.images != other.images).any(1)
    reach = one.evidence | other.evidence
    assert not changed[~reach].any()  # so whoever pastes the evidence of another scene gets that scene's label
    assert (changed.sum((1, 2)) > 0.1 * reach.sum((1, 2))).all()
    assert same(scenes.batch(range(40), one.labels), one)


@pytest.mark.parametrize("evidence", OBJECT_CUES)
def test_distractors_have_no_class_value(evidence):
    scenes = planted(200, evidence=evidence)
    assert scenes._plan.others[evidence].min() >= VALUES
    free = next(cue for cue in OBJECT_CUES if cue != evidence)
    assert scenes._plan.others[free].unique().tolist() == list(range(len(CUES[free])))


def test_values_are_what_is_drawn():
    scenes = planted(100, evidence="colour", size=64)
    batch = scenes.batch(range(100))
    near = (batch.images - stickers.colours()[0][:, None, None]).abs().amax(
        1
    ) < 0.12  # red comes nowhere else, apart from the glow of lava
    share = (near & batch.evidence).flatten(1).sum(1) / batch.evidence.flatten(1).sum(1)
    assert share[batch.labels == 0].min() > 0.05 and share[batch.labels != 0].max() == 0


def test_context_is_the_ground_and_shows_its_material():
    scenes = planted(200, evidence="context", size=64)
    batch = scenes.batch(range(200))
    assert batch.evidence.equal(batch.context) and not batch.context[:, 0].any()  # the top row is sky
    bottom = [batch.images[i, :, -12:][:, batch.context[i, -12:]].mean(1) for i in range(200)]
    means = torch.stack([torch.stack([bottom[i] for i in (batch.labels == c).nonzero()]).mean(0) for c in range(5)])
    assert (torch.cdist(torch.stack(bottom), means).argmin(1) == batch.labels).float().mean() > 0.95


def test_labels_of_all_classes():
    assert planted(500, classes=3).values["shape"].bincount().min() > 130
    assert planted(classes=3, evidence="colour").class_names == ["red", "blue", "yellow"]


# --- correlation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cue", ["context", "marker", "colour"])
@pytest.mark.parametrize("asked", [0, 0.3, 0.9, 1.0])
def test_correlation_is_as_asked(cue, asked):
    n = 4000
    values = planted(n, correlation={cue: asked}, classes=4).values
    for c in range(4):
        pair = torch.stack([values["shape"] == c, values[cue] == c]).float()
        assert torch.corrcoef(pair)[0, 1].item() == pytest.approx(asked, abs=4 * n**-0.5)
    assert (values["shape"] == values[cue]).float().mean().item() == pytest.approx(asked + (1 - asked) / 4, abs=0.03)


def test_cues_that_are_not_named_follow_nothing():
    values = planted(4000).values
    assert set(values) == {"shape", "colour", "texture", "context"}  # no tag
    for cue in ("colour", "texture", "context"):
        assert values[cue].unique().tolist() == list(range(len(CUES[cue])))
        agree = (values[cue] == values["shape"]).float().mean().item()
        assert agree == pytest.approx(1 / len(CUES[cue]), abs=0.03)


def test_tags_are_shown_where_they_are_asked_for():
    without, with_tag = planted(seed=4), planted(seed=4, correlation={"marker": 0.5})
    assert without._plan.shown.shape[1] == 5 and with_tag._plan.shown[:, 5].all()
    assert all(len(boxes) == 1 for boxes in planted(evidence="marker").batch(range(40)).boxes)


# --- masks and boxes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("evidence", CUES)
def test_boxes_are_tight_around_the_mask(evidence):
    batch = planted(200, evidence=evidence).batch(range(200))
    counts = {len(boxes) for boxes in batch.boxes}
    assert counts == ({1, 2} if evidence in OBJECT_CUES else {1})
    for mask, boxes in zip(batch.evidence, batch.boxes, strict=True):
        covered = torch.zeros_like(mask)
        for x0, y0, x1, y1 in boxes.tolist():
            covered[y0:y1, x0:x1] = True
            inside = mask[y0:y1, x0:x1]
            assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()
        assert not (mask & ~covered).any()


def test_no_object_touches_another():
    from xailib.data.scene_drawing import draw

    plan = planted(300, size=64, correlation={"marker": 0.0})._plan
    _, touched, _ = draw(plan, 64)
    assert touched.sum(1).max() == 1
    assert touched.any((2, 3)).equal(plan.shown)
    assert plan.shown[:, 0].all() and plan.shown[:, 2:5].sum(1).float().mean() > 2


def test_stickers_lie_in_the_unit_disc():
    side = stickers.shapes().shape[-1]
    line = ((torch.arange(side) + 0.5) / side * 2 - 1) * stickers.REACH
    outside = line[:, None].hypot(line) > 1.06
    assert (stickers.shapes()[:, outside] > 0).all()
    assert ((stickers.shapes() < 0).float().mean((1, 2)) > 0.1).all()


def test_distances_to_a_square_are_those_of_geometry():
    side, reach = stickers.shapes().shape[-1], stickers.REACH
    line = ((torch.arange(side) + 0.5) / side * 2 - 1) * reach
    distance = stickers._distance(torch.tensor([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]))
    x, y = line.abs()[None, :] - 0.5, line.abs()[:, None] - 0.5
    expected = x.clamp(min=0).hypot(y.clamp(min=0)) + torch.maximum(x, y).clamp(max=0)
    torch.testing.assert_close(distance, expected)


# --- one scene, whoever asks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [33, 64])
def test_a_scene_is_the_same_in_any_batch(size):
    scenes = planted(70, size=size, evidence="shape", correlation={"marker": 0.5})
    whole = scenes.batch(range(70))
    for indices in (range(69, -1, -1), [5], [3, 50, 3], range(1, 66)):
        part = scenes.batch(indices)
        for place, i in enumerate(indices):
            assert part.images[place].equal(whole.images[i]) and part.evidence[place].equal(whole.evidence[i])
            assert part.boxes[place].equal(whole.boxes[i]) and part.context[place].equal(whole.context[i])
    assert torch.cat([batch.images for batch in scenes.batches(27)]).equal(whole.images)
    assert scenes[-1].image.equal(whole.images[69]) and scenes[3].label == whole.labels[3]


def test_the_seed_decides():
    one, again, other = (planted(seed=seed).batch(range(20)) for seed in (1, 1, 2))
    assert same(one, again) and not one.images.equal(other.images)
    generator = Generator().manual_seed(1)  # the state moves on: two data sets of one generator differ
    first, second = (PlantedScenes(20, generator=generator, size=48).batch(range(20)) for _ in range(2))
    assert not first.images.equal(second.images)


def test_workers_see_the_same_scenes():
    scenes = planted(24, size=32)
    loader = DataLoader(scenes, 5, num_workers=1, multiprocessing_context="spawn")
    batches = list(loader)
    whole = scenes.batch(range(24))
    assert torch.cat([batch.images for batch in batches]).equal(whole.images)
    assert torch.cat([batch.labels for batch in batches]).equal(whole.labels)
    assert all(a.equal(b) for a, b in zip(sum((batch.boxes for batch in batches), []), whole.boxes, strict=True))


@pytest.mark.parametrize("size", [32, 224])
def test_images_are_in_pixel_space_at_any_size(size):
    batch = planted(8, size=size).batch(range(8))
    assert batch.images.shape == (8, 3, size, size) and batch.images.dtype == torch.float32
    assert 0 <= batch.images.min() < 0.2 and 0.9 < batch.images.max() <= 1


def test_a_size_changes_the_resolution_only():
    small, large = (planted(8, size=size).batch(range(8)) for size in (64, 128))
    assert small.labels.equal(large.labels)
    assert all((2 * a - b).abs().max() <= 3 for a, b in zip(small.boxes, large.boxes, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_draws_the_same_scenes():
    here = planted(64).batch(range(64))
    there = planted(64, device="cuda").batch(range(64))
    assert there.images.is_cuda and (there.images.cpu() - here.images).abs().mean() < 1e-4
    assert (there.evidence.cpu() != here.evidence).float().mean() < 1e-4


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(evidence="color"), "no cue 'color'; did you mean 'colour'"),
        (dict(evidence="size"), "no cue 'size'; choose from .'shape', "),
        (dict(correlation={"ctx": 1.0}), "no cue 'ctx'"),
        (dict(correlation={"shape": 0.5}), "shape is the evidence, so it is the label itself"),
        (dict(correlation={"context": 1.5}), "between 0 and 1, found {'context': 1.5}"),
        (dict(correlation={"context": float("nan")}), "between 0 and 1"),
        (dict(classes=6), "2 to 5 classes, found 6"),
        (dict(size=16), "32 to 224 pixels is needed, found 40 of 16"),
        (dict(count=0), "at least one scene"),
    ],
)
def test_bad_input_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        planted(**options)


def test_labels_that_are_no_classes_are_named():
    with pytest.raises(ValueError, match="3 scenes need 3 labels from 0 to 3"):
        planted(classes=4).batch([0, 1, 2], torch.tensor([0, 4, 1]))
    with pytest.raises(IndexError):
        planted()[40]
