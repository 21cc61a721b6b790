"""Does the network still recognise the class when it sees only what the map calls important?

With p the probability of the target for the image x, and o for the masked image x * S, the map S in [0, 1]:

    average drop      AD = 100 [p - o]_+ / p          less is better     Chattopadhay et al., WACV 2018
    average increase  AI = 100 1[o > p]               more is better     Chattopadhay et al., WACV 2018
    average gain      AG = 100 [o - p]_+ / (1 - p)    more is better     Zhang et al., Opti-CAM, CVIU 2024

AD alone is won by hiding nothing (Fake-CAM). ADCC (Poppi et al., CVPR workshops 2021) therefore asks for a small map,
too, and for the same map again when the masked image is explained. Maps are masks here: normalise them first,
`heatmap.normalize(maps)`. Two forward passes per image, one of x and one of x * S, serve all of AD, AI and AG.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from xailib import heatmap, network
from xailib.inputs import check_images, check_maps, check_model
from xailib.metrics.protocol import judged
from xailib.metrics.substrate import normalization

# --- what the network says of masked images ---------------------------------------------------------------------------


@judged
def masked_probabilities(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    maps: Float[Tensor, "b H W"],
    *,
    mask_space: str = "pixel",
    temperature: float | int = 1,
    chunk: int | None = None,
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """p and o: the target's probability for each image and for the image seen through its map, in two forward passes.

    Options as in `masked_images` and `masked_logits`; `temperature` divides the logits (see `matched_temperature`).
    Raises ValueError for bad input and for maps outside [0, 1].
    """
    clean, masked = masked_logits(model, images, maps, mask_space=mask_space, chunk=chunk)
    p = network.class_probabilities(clean, targets, temperature=temperature)
    return p, network.class_probabilities(masked, targets, temperature=temperature)


@torch.no_grad()
def masked_logits(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    maps: Float[Tensor, "b H W"],
    *,
    mask_space: str = "pixel",
    chunk: int | None = None,
) -> tuple[Float[Tensor, "b classes"], Float[Tensor, "b classes"]]:
    """The logits of the images and of the masked images, `chunk` images at a time (default: 4 on a CPU, 128 on a GPU).

    Raises ValueError as `masked_probabilities` does.
    """
    check_model(model)
    seen = torch.cat([images, masked_images(model, images, maps, mask_space=mask_space)])
    clean, masked = torch.cat([model(part) for part in seen.split(network.chunk_size(chunk, images))]).chunk(2)
    return clean, masked


def masked_images(
    model: nn.Module, images: Float[Tensor, "b c H W"], maps: Float[Tensor, "b H W"], *, mask_space: str = "pixel"
) -> Float[Tensor, "b c H W"]:
    """x * S: the images seen through their maps. What is hidden is black, or, with `mask_space="normalized"`, where the
    product is taken after the network's normalisation, the mean colour of its data set.

    Raises ValueError for bad images, maps outside [0, 1], and another `mask_space`.
    """
    check_images(images)
    check_masks(maps, images)
    if mask_space not in ("pixel", "normalized"):
        raise ValueError(f"mask_space must be 'pixel' or 'normalized', found {mask_space!r}")
    hidden = 0 * images if mask_space == "pixel" else normalization(model, images)[0].expand_as(images)
    return torch.lerp(hidden, images, maps[:, None].to(images))


def check_masks(maps: Tensor, images: Tensor | None = None) -> None:
    """Raises ValueError unless `maps` is a finite float tensor [b H W] in [0, 1], as large as the images if given."""
    check_maps(maps, images)
    low, high = (edge.item() for edge in maps.detach().aminmax())
    if low < 0 or high > 1:
        raise ValueError(
            f"maps must lie in [0, 1], found values from {low:.3g} to {high:.3g}; normalise: heatmap.normalize(maps)"
        )


# --- drop, increase, gain ---------------------------------------------------------------------------------------------


def average_drop(p: Float[Tensor, " b"], o: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """The share of its probability that the target loses under the mask, per image, in percent: 100 [p - o]_+ / p, in
    0..100; 0 where p = 0 (thesis, eq. 2.7). Raises ValueError unless p and o are probabilities."""
    _check_probabilities(p, o)
    return 100 * ((p - o).relu() / p).where(p > 0, 0)


def average_increase(p: Float[Tensor, " b"], o: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """100 for each image whose target grows more probable under the mask, else 0, also for a draw (thesis, eq. 2.9).

    Raises ValueError unless p and o are probabilities."""
    _check_probabilities(p, o)
    return 100 * (o > p).to(p)


def average_gain(p: Float[Tensor, " b"], o: Float[Tensor, " b"], *, ag_denominator: str = "1-p") -> Float[Tensor, " b"]:
    """The share of the missing probability that the target gains under the mask, per image, in percent:
    100 [o - p]_+ / (1 - p), in 0..100; 0 where p = 1 (thesis, eq. 2.8).

    `ag_denominator="p"` divides by p instead, as some slides do: without bound, and infinite where p = 0 < o.
    Raises ValueError for another `ag_denominator`, and unless p and o are probabilities.
    """
    _check_probabilities(p, o)
    if ag_denominator not in ("1-p", "p"):
        raise ValueError(f"ag_denominator must be '1-p' or 'p', found {ag_denominator!r}")
    gain = (o - p).relu()
    return 100 * (gain / (1 - p if ag_denominator == "1-p" else p)).where(gain > 0, 0)


def _check_probabilities(p: Tensor, o: Tensor) -> None:
    if p.shape != o.shape:
        raise ValueError(
            f"p and o must hold one probability per image, found shapes {tuple(p.shape)}, {tuple(o.shape)}"
        )
    for name, values in (("p", p), ("o", o)):
        if not ((values >= 0) & (values <= 1)).all():  # also for NaN
            raise ValueError(
                f"{name} must hold probabilities in [0, 1], found {values.min():.4g} to {values.max():.4g}"
            )


# --- coherency, complexity, ADCC --------------------------------------------------------------------------------------


def coherency(
    maps: Float[Tensor, "b H W"], masked_maps: Float[Tensor, "b H W"], *, coherency: str = "rescaled"
) -> Float[Tensor, " b"]:
    """How much the map of the masked image resembles that of the image: (r + 1) / 2, in [0, 1], with Pearson's r over
    the pixels (Poppi et al., 2021, eq. 5; thesis, eq. 1.12).

    Both maps come from one method, for one class: `masked_maps = explain(model, masked_images(...), targets)`. A
    constant map resembles nothing: r = 0. `coherency="raw"` returns r itself, in [-1, 1].
    Raises ValueError for another `coherency`, and for maps that are not finite or differ in shape.
    """
    if coherency not in ("rescaled", "raw"):
        raise ValueError(f"coherency must be 'rescaled' or 'raw', found {coherency!r}")
    r = correlation(maps, masked_maps)
    return r if coherency == "raw" else (r + 1) / 2


def correlation(maps: Float[Tensor, "b H W"], others: Float[Tensor, "b H W"]) -> Float[Tensor, " b"]:
    """Pearson's correlation of each pair of maps over the pixels, in [-1, 1], and 0 where either map is constant.

    Raises ValueError for maps that are not finite or differ in shape.
    """
    check_maps(maps)
    check_maps(others, maps[:, None])
    a, b = (values.flatten(1) - values.flatten(1).mean(1, keepdim=True) for values in (maps, others))
    r = torch.nn.functional.cosine_similarity(a, b, eps=0).clamp(-1, 1)
    return r.where(~(heatmap.degenerate(maps) | heatmap.degenerate(others)), 0)


def complexity(maps: Float[Tensor, "b H W"]) -> Float[Tensor, " b"]:
    """How much of the image the map keeps: the mean of |S|, in [0, 1] (Poppi et al., 2021, eq. 6; thesis, eq. 1.13).

    Raises ValueError for maps outside [0, 1].
    """
    check_masks(maps)
    return maps.mean((1, 2))


def adcc(
    p: Float[Tensor, " b"],
    o: Float[Tensor, " b"],
    coherency: Float[Tensor, " b"],
    complexity: Float[Tensor, " b"],
    *,
    aggregate: str = "per_image",
) -> Float[Tensor, " _"]:
    """The harmonic mean of coherency, 1 - complexity and 1 - AD, per image, in [0, 1]; 0 where one of them is 0 (Poppi
    et al., 2021, eq. 7; thesis, eq. 1.14, where a fraction is misprinted).

    More is better. AD is the average drop of p and o as a fraction. A negative raw coherency counts as 0.
    `aggregate="of_means"` takes the means over images first, and returns one number [1].
    Raises ValueError for another `aggregate`, and unless p and o are probabilities.
    """
    if aggregate not in ("per_image", "of_means"):
        raise ValueError(f"aggregate must be 'per_image' or 'of_means', found {aggregate!r}")
    parts = torch.stack([coherency, 1 - complexity, 1 - average_drop(p, o) / 100])
    if aggregate == "of_means":
        parts = parts.mean(1, keepdim=True)
    return 3 / (1 / parts.clamp(min=0)).sum(0)  # 1 / 0 is infinite, and 3 / infinite is 0
