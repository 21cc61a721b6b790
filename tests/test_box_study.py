"""The masks of the bounding-box study, and what they tell about a network that is known."""

import pytest
import torch
from torch import nn

from xailib import explain, metrics


def test_masks_by_hand():
    maps = torch.tensor([[[0.2, 0.4, 0.6], [0.8, 1.0, 0.0]]])
    found = metrics.box_study(maps, [torch.tensor([[1, 0, 3, 1], [1, 0, 2, 9]])])
    expected = {
        "map": [[0.2, 0.4, 0.6], [0.8, 1.0, 0.0]],
        "box": [[0, 1, 1], [0, 1, 0]],
        "context": [[1, 0, 0], [1, 0, 1]],
        "inside": [[0, 0.4, 0.6], [0, 1.0, 0]],  # not normalised again
        "outside": [[0.2, 0, 0], [0.8, 0, 0.0]],
    }
    assert found.keys() == expected.keys()
    for name, mask in expected.items():
        torch.testing.assert_close(found[name], torch.tensor([mask], dtype=torch.float32), msg=name)


class Brightness(nn.Module):
    """Class 1 is an image whose `part` [H W] is bright."""

    def __init__(self, part):
        super().__init__()
        self.part = part

    def forward(self, x):
        brightness = (x.mean(1) * self.part).sum((1, 2)) / self.part.sum()
        return torch.stack([0 * brightness, 10 * brightness - 5], 1)


@pytest.mark.parametrize(("part", "better", "worse"), [("box", "box", "context"), ("context", "context", "box")])
def test_the_study_tells_what_the_network_looks_at(part, better, worse):
    maps, boxes = torch.full((1, 8, 8), 0.9), [torch.tensor([[2, 1, 6, 7]])]
    study = metrics.box_study(maps, boxes)
    model, images, targets = Brightness(study[part][0]).eval(), torch.ones(1, 3, 8, 8), torch.tensor([1])
    drop = {
        name: metrics.average_drop(*metrics.masked_probabilities(model, images, targets, mask))
        for name, mask in study.items()
    }
    assert drop[better] == 0 and drop[worse] > 90
    shares = ("inside", "outside") if part == "box" else ("outside", "inside")
    assert drop[shares[0]] == pytest.approx(drop["map"].item()) and drop[shares[1]] > 90


def test_the_thesis_code_loses_boxes_over_the_border():
    """The trace of it in table 2.5: without a box, S \\ B is Fake-CAM itself, which wins AI, while I \\ B is the image."""
    model, images, targets = Brightness(torch.ones(10, 10)).eval(), torch.rand(1, 3, 10, 10), torch.tensor([0])
    fake = explain.fakecam(model, images, targets)
    study = metrics.box_study(fake, [torch.tensor([[-3, 2, 6, 8]])], preset="thesis_legacy")
    assert not study["box"].any() and study["outside"].equal(fake)
    increase = {
        name: metrics.average_increase(*metrics.masked_probabilities(model, images, targets, study[name])).item()
        for name in study
    }
    assert increase["outside"] == increase["map"] == 100 and increase["context"] == 0
    assert metrics.box_study(fake, [torch.tensor([[-3, 2, 6, 8]])])["box"].sum() == 36


@pytest.mark.parametrize(
    ("maps", "boxes", "message"),
    [
        (torch.ones(2, 4, 4), [torch.tensor([[0, 0, 2, 2]]), torch.tensor([[4, 0, 9, 2]])], r"no box lies in images \[1\]"),
        (2 * torch.ones(1, 4, 4), [torch.tensor([[0, 0, 2, 2]])], "maps must lie in"),
        (torch.full((1, 4, 4), float("nan")), [torch.tensor([[0, 0, 2, 2]])], "contain NaN"),
        (torch.ones(1, 4, 4), [], "0 of them for 1 maps"),
    ],
)  # fmt: skip
def test_bad_input_is_named(maps, boxes, message):
    with pytest.raises(ValueError, match=message):
        metrics.box_study(maps, boxes)
