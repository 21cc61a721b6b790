"""Maps resized by hand."""

import torch

from xailib import heatmap


def test_resize_uses_half_pixel_centres():
    found = heatmap.resize(torch.tensor([[[0.0, 1.0]]]), (1, 4))
    torch.testing.assert_close(found, torch.tensor([[[0, 0.25, 0.75, 1]]]))


def test_constant_maps_become_zeros():
    maps = torch.stack([torch.full((2, 2), 3.0), torch.tensor([[1.0, 2], [3, 5]])])
    torch.testing.assert_close(heatmap.normalize(maps)[1], torch.tensor([[0, 0.25], [0.5, 1]]))
    assert not heatmap.normalize(maps)[0].any() and heatmap.degenerate(maps).tolist() == [True, False]
