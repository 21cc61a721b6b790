"""Recognition before learned features: a description chosen by hand, then a simple classifier, as scikit-learn pipelines.

    model = hog_svm().fit(images, labels)
    accuracy = model.score(test_images, test_labels)

They take the tensors that a network takes: images [b 3 h w] in [0, 1] and labels [b].
"""

from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def hog(
    images: Float[Tensor, "b 3 h w"], *, cell: int = 8, orientations: int = 9, block: int = 2
) -> Float[np.ndarray, "b d"]:
    """Histograms of oriented gradients of each image (Dalal and Triggs, CVPR 2005).

    In each cell of `cell` x `cell` pixels, how much of the gradient points each way, without its sign, in `orientations`
    steps from 0 to 180 degrees; then normalised over each `block` x `block` cells (L2, clipped at 0.2, L2 again).
    d = blocks * block**2 * orientations. Raises ValueError for images too small for one block.
    """
    from skimage.feature import hog as describe

    if min(images.shape[2:]) < cell * block:
        raise ValueError(
            f"images of {tuple(images.shape[2:])} have no block of {block} x {block} cells of {cell} pixels"
        )
    options = dict(orientations=orientations, pixels_per_cell=(cell, cell), cells_per_block=(block, block))
    pixels = images.permute(0, 2, 3, 1).cpu().numpy()
    return np.stack([describe(image, **options, block_norm="L2-Hys", channel_axis=-1) for image in pixels])


def pixels(images: Float[Tensor, "b c h w"]) -> Float[np.ndarray, "b d"]:
    """Each image's pixels in one row, d = c * h * w: the description that describes nothing."""
    return images.flatten(1).cpu().numpy()


def hog_svm(*, C: float | int = 0.01, cell: int = 8) -> "Pipeline":
    """HOG, each feature brought to mean 0 and deviation 1, and a linear support vector machine, one class against the
    rest (Cortes and Vapnik, 1995); a small `C` prefers a wide margin to few errors."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler
    from sklearn.svm import LinearSVC

    return make_pipeline(
        FunctionTransformer(partial(hog, cell=cell)), StandardScaler(), LinearSVC(C=C, dual=True, random_state=0)
    )


def nearest_neighbours(k: int = 5, *, features: Literal["pixels", "hog"] = "pixels", cell: int = 8) -> "Pipeline":
    """The class that most of the `k` nearest training images have (Cover and Hart, 1967), by Euclidean distance."""
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    describe = pixels if features == "pixels" else partial(hog, cell=cell)
    return make_pipeline(FunctionTransformer(describe), KNeighborsClassifier(k))
