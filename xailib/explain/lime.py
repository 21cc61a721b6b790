"""LIME: a linear model of what the network does near one image, in terms of superpixels that are shown or hidden."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor, nn

from xailib import network
from xailib.explain.perturbation import chunk_size, flat_colour, masked_scores
from xailib.inputs import explainer


@explainer
def lime(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    *,
    superpixels: int = 50,
    samples: int = 1000,
    substrate: str = "superpixel",
    score: str = "probability",
    kernel_width: float = 0.25,
    ridge: float = 1.0,
    generator: Generator | None = None,
    chunk: int | None = None,
) -> Float[Tensor, "b H W"]:
    """The weight of each pixel's superpixel in a linear model of the score near the image (Ribeiro et al., KDD 2016).

    The image is cut into about `superpixels` SLIC superpixels. Each of `samples` samples shows a random half of them,
    the first one all; the others take the colour of `substrate`: the mean of the `"superpixel"` itself (as in the
    authors' code), the `"image_mean"`, `"grey"` or `"black"`. A ridge regression explains the scores by what was
    shown, with weights exp(-d^2 / (2 kernel_width^2)) for a sample at cosine distance d from the whole image. The map
    is signed. Coins come from `generator` (default: one of seed 0) and are the same for every image of a batch.
    Raises ValueError for bad options.
    """
    if superpixels < 2 or samples < 2 or kernel_width <= 0 or ridge < 0:
        raise ValueError(
            "need superpixels >= 2, samples >= 2, kernel_width > 0 and ridge >= 0, "
            f"found {superpixels=}, {samples=}, {kernel_width=}, {ridge=}"
        )
    generator = generator if generator is not None else Generator().manual_seed(0)
    seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
    images, maps = network.channels_last(model, images.detach()), []
    for image, target in zip(images.split(1), targets.split(1), strict=True):
        segments = _superpixels(image, superpixels)
        shown = _coins(samples, int(segments.max()) + 1, seed).to(images)
        fill = _own_colour(image, segments) if substrate == "superpixel" else flat_colour(image, substrate)
        masks = (part[:, segments] for part in shown.split(chunk_size(chunk, images)))
        scores = torch.cat([masked_scores(model, image, target, keep, fill, score)[0] for keep in masks])
        weights = _local_linear_model(shown, scores, kernel_width, ridge)
        maps.append(weights[segments])
    return torch.stack(maps)


def _superpixels(image: Float[Tensor, "1 c H W"], count: int) -> Int[Tensor, "H W"]:
    """The number of each pixel's superpixel, counted from 0 without gaps."""
    from skimage.segmentation import slic

    pixels = image[0].permute(1, 2, 0).double().cpu().numpy()
    segments = torch.from_numpy(slic(pixels, n_segments=count, start_label=0, channel_axis=-1))
    return segments.unique(return_inverse=True)[1].to(image.device)


def _own_colour(image: Float[Tensor, "1 c H W"], segments: Int[Tensor, "H W"]) -> Float[Tensor, "1 c H W"]:
    """The image with every superpixel in its mean colour."""
    pixels, segment = image[0].flatten(1), segments.flatten()
    total = pixels.new_zeros(len(pixels), int(segment.max()) + 1).index_add_(1, segment, pixels)
    return (total / segment.bincount())[:, segments][None].to(image.dtype)


def _coins(samples: int, count: int, seed: int) -> Bool[Tensor, "samples count"]:
    shown = torch.rand(samples, count, generator=Generator().manual_seed(seed)) < 0.5
    shown[0] = True
    return shown


def _local_linear_model(
    shown: Float[Tensor, "samples n"], scores: Float[Tensor, " samples"], kernel_width: float, ridge: float
) -> Float[Tensor, " n"]:
    """Coefficients of scores = w shown + w0 by ridge regression, where samples count more the more they show."""
    from sklearn.linear_model import Ridge

    distance = 1 - shown.double().mean(1).sqrt()  # cosine distance of a row of zeros and ones to all ones
    weights = torch.exp(-(distance**2) / (2 * kernel_width**2))
    fitted = Ridge(alpha=ridge).fit(shown.double().cpu(), scores.double().cpu(), sample_weight=weights.cpu())
    return torch.from_numpy(fitted.coef_).to(scores)
