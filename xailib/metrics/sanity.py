"""Does the map depend on what the network has learned? (Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018)

The weights are randomised, and the maps compared before and after by rank correlation. A map that stays as it was
shows the image, at best, and not the network: an edge detector passes for a fine explanation in the eye of the reader.
"""

import copy
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from xailib import network
from xailib.inputs import check_maps, checked
from xailib.metrics.faithfulness import correlation
from xailib.network import Layer


@checked
def weight_randomization(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    explain: Callable[[nn.Module, Tensor, Tensor], Tensor],
    *,
    layers: Sequence[Layer] = ("",),
    generator: Generator | None = None,
) -> Float[Tensor, "stages b"]:
    """Spearman's rank correlation of each map with that of a network whose weights are random, in [-1, 1].

    Near 0 is what one hopes for; near 1 says that the map is blind to the weights. 0, too, where either map is constant.
    The default randomises the whole network at once. Names of layers, the topmost first, make a cascade, one stage per
    name, in which all named so far are random, with what is inside them. `explain` is any method of the course,
    `(model, images, targets) -> maps`; it gets a copy of the model, so let it name its layer. Random numbers come from
    `generator` (default: one of seed 0). Raises ValueError for bad input, unknown layers and maps that are not finite.
    """
    generator = generator if generator is not None else Generator().manual_seed(0)
    learned = average_ranks(explain(model, images, targets))
    randomised, stages = copy.deepcopy(model), []
    for layer in layers:
        shuffle_weights(network.find_layer(randomised, network.layer_name(model, layer)), generator)
        stages.append(correlation(learned, average_ranks(explain(randomised, images, targets))))
    return torch.stack(stages)


@torch.no_grad()
def shuffle_weights(module: nn.Module, generator: Generator) -> None:
    """Puts the entries of each parameter into random order, in place.

    The network forgets what it knew, and keeps the scale of its weights, so that its outputs neither vanish nor
    explode. A parameter whose entries are all equal stays.
    """
    for parameter in module.parameters():
        order = torch.randperm(parameter.numel(), generator=generator, device=generator.device)
        parameter.copy_(parameter.flatten()[order.to(parameter.device)].view_as(parameter))


def average_ranks(maps: Float[Tensor, "b H W"]) -> Float[Tensor, "b H W"]:
    """The rank of each pixel in its map, from the least salient; equals share the mean of their ranks.

    Raises ValueError for maps that are not finite.
    """
    check_maps(maps)
    ranks = []
    for values in maps.detach():
        _, which, counts = values.unique(return_inverse=True, return_counts=True)
        ranks.append((counts.cumsum(0) - (counts - 1) / 2)[which])
    return torch.stack(ranks)
