"""HOG by hand, and the two classical pipelines on data they can and cannot learn."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from xailib import data
from xailib.data import datasets
from xailib.models.classical import hog, hog_svm, nearest_neighbours, pixels


def gratings(count, size=32, seed=0):
    """Stripes at one of four angles, at a random phase: classes that differ in nothing but orientation."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    angle, phase = labels * torch.pi / 4, 6.28 * torch.rand(count, generator=generator)
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    along = x * angle.cos()[:, None, None] + y * angle.sin()[:, None, None]
    waves = 0.5 + 0.4 * torch.sin(0.8 * along + phase[:, None, None])
    return waves[:, None].expand(-1, 3, -1, -1).clone(), labels


def test_hog_of_a_slope_by_hand():
    """A constant gradient along x, from 0 degrees on: only the first of the nine orientations, in every cell alike."""
    slope = torch.linspace(0, 1, 32).expand(1, 3, 32, 32)
    features = hog(slope).reshape(3, 3, 2, 2, 9)  # blocks, cells of a block, orientations
    assert (features[..., 1:] == 0).all()
    # the four cells of the middle block are equal: clipped from 1/2 to 0.2, and 1/2 again
    np.testing.assert_allclose(features[1, 1, ..., 0], 0.5, atol=1e-4)
    turned = hog(slope.mT).reshape(3, 3, 2, 2, 9)
    assert turned[..., 4].min() > 0.4 and np.delete(turned, 4, axis=-1).max() == 0  # 90 degrees lie in the fifth


def test_hog_sees_shape_and_not_brightness():
    images, _ = gratings(4)
    assert hog(images).shape == (4, 3 * 3 * 2 * 2 * 9)
    np.testing.assert_allclose(hog(0.5 * images + 0.2), hog(images), atol=1e-3)
    np.testing.assert_allclose(hog(1 - images), hog(images), atol=1e-6)
    assert abs(hog(images.mT.contiguous()) - hog(images)).max() > 0.2
    assert hog(images, cell=16, orientations=6, block=1).shape == (4, 2 * 2 * 6)


def test_hog_svm_learns_orientations():
    model = hog_svm().fit(*gratings(80))
    images, labels = gratings(40, seed=1)
    assert model.score(images, labels) == 1
    assert model.decision_function(images).shape == (40, 4)
    assert hog_svm().fit(*gratings(80)).decision_function(images).tolist() == model.decision_function(images).tolist()


def test_nearest_neighbours_by_hand():
    images = torch.tensor([0.0, 0.1, 0.2, 0.8, 0.9])[:, None, None, None].expand(-1, 3, 4, 4)
    labels = torch.tensor([0, 1, 1, 2, 2])

    def at(value):
        return torch.full((1, 3, 4, 4), value)

    model = nearest_neighbours(1).fit(images, labels)
    assert [model.predict(at(value)).item() for value in (0.01, 0.17, 0.7)] == [0, 1, 2]
    assert nearest_neighbours(3).fit(images, labels).predict(at(0.01)).item() == 1  # two of the three nearest
    assert pixels(images).shape == (5, 48)


def test_neighbours_are_sought_by_orientation_or_by_pixel():
    """A grating at another phase has other pixels, but the same gradients."""
    train, test = gratings(4), gratings(40, seed=1)
    assert nearest_neighbours(1, features="hog").fit(*train).score(*test) == 1
    assert nearest_neighbours(1).fit(*train).score(*test) < 0.9


@pytest.mark.skipif(not datasets.DEBIAN.exists(), reason="the Debian package dataset-fashion-mnist is not installed")
def test_on_fashion_mnist():
    train, test = (
        next(iter(DataLoader(data.fashion_mnist(split=split), count)))
        for split, count in (("train", 1000), ("test", 300))
    )
    svm = hog_svm(cell=4).fit(train.images, train.labels).score(test.images, test.labels)
    knn = nearest_neighbours(5).fit(train.images, train.labels).score(test.images, test.labels)
    assert svm > 0.77 and knn > 0.68


def test_small_images_are_refused():
    with pytest.raises(ValueError, match=r"images of \(15, 20\) have no block of 2 x 2 cells of 8 pixels"):
        hog(torch.rand(1, 3, 15, 20))
