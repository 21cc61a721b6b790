"""How sure is the network, and would AG say the same of one as sure as another?"""

from jaxtyping import Float
from torch import Tensor


def confidence(logits: Float[Tensor, "b classes"]) -> Float[Tensor, " b"]:
    """The largest class probability of each image. Beside AD, AI and AG: how sure is the network of masked images?"""
    return logits.softmax(1).amax(1)


def matched_temperature(logits: Float[Tensor, "b classes"], mean_confidence: float) -> float:
    """The temperature T at which the mean confidence of softmax(logits / T) equals `mean_confidence`.

    AG rewards a network whose probabilities merely move further. To compare two networks, give one of them the
    confidence of the other on the unmasked images, and ask for p and o at this temperature:

    >>> clean, _ = masked_logits(model, images, maps)
    >>> reference, _ = masked_logits(other, images, other_maps)
    >>> T = matched_temperature(clean, confidence(reference).mean().item())
    >>> p, o = masked_probabilities(model, images, targets, maps, temperature=T)

    T does not change which class is the most probable. Raises ValueError if no T from 0.0001 to 10000 does it.
    """
    low, high = -4.0, 4.0  # powers of ten; the mean confidence falls as T grows
    reached = [confidence(logits / 10**power).mean().item() for power in (high, low)]
    if not reached[0] <= mean_confidence <= reached[1]:
        raise ValueError(
            f"mean_confidence must be between {reached[0]:.4f} and {reached[1]:.4f}, found {mean_confidence}"
        )
    for _ in range(60):
        middle = (low + high) / 2
        surer = confidence(logits / 10**middle).mean() > mean_confidence
        low, high = (middle, high) if surer else (low, middle)
    return 10 ** ((low + high) / 2)
