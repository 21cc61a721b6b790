"""How far may a mean over images be off? Other images would have given another one."""

import torch
from jaxtyping import Float
from torch import Generator, Tensor


def bootstrap_interval(
    values: Float[Tensor, " n"],
    *,
    confidence: float = 0.95,
    samples: int = 10_000,
    generator: Generator | None = None,
) -> tuple[float, float]:
    """The two ends of the interval that holds the middle `confidence` of the means of resampled values (the percentile
    bootstrap; Efron, 1979).

    `values` is one number per image, in any unit; each of the `samples` resamples draws n of them, with replacement,
    from `generator` (default: one of seed 0). To compare two methods, give the differences of their values image by
    image: an interval without 0 tells them apart. It cannot know of images unlike all of these, and is too short for
    fewer than about 20. Raises ValueError for fewer than two values, for NaN, and for bad options.
    """
    if len(values) < 2 or not values.isfinite().all():
        raise ValueError("values must be two finite numbers or more; leave out images without one, and count them")
    if samples < 1 or not 0 < confidence < 1:
        raise ValueError(f"need samples >= 1 and confidence between 0 and 1, found {samples=}, {confidence=}")
    generator = generator if generator is not None else Generator().manual_seed(0)
    means, values = [], values.detach().to(generator.device)
    for part in torch.arange(samples).split(max(1, 2**22 // len(values))):  # bounded memory, for any number of images
        drawn = torch.randint(len(values), (len(part), len(values)), generator=generator, device=generator.device)
        means.append(values[drawn].mean(1))
    ends = torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2]).to(values)
    low, high = torch.cat(means).quantile(ends).tolist()
    return low, high
