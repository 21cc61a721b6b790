"""What one forward pass shows of a layer: the evidence that a class activation map weighs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from xailib import heatmap, network, rerun
from xailib.explain.perturbation import chunk_size
from xailib.grid import Grid, read_grid
from xailib.inputs import check_targets, checked
from xailib.network import Layer


@dataclass(frozen=True)
class Evidence:
    """What one forward pass shows of one layer, for images and their target classes."""

    model: nn.Module
    layer: Layer
    images: Float[Tensor, "b c H W"]
    targets: Int[Tensor, " b"]
    logits: Float[Tensor, "b classes"] = field(repr=False)
    scores: Float[Tensor, " b"]  # the target's logit, y_c
    output: Tensor = field(repr=False)  # the layer's, in the network's own layout
    grid: Grid
    gradient: Callable[[Tensor], Tensor | None] = field(repr=False)

    @cached_property
    def A(self) -> Float[Tensor, "b k h w"]:
        """Activations of the layer."""
        return self.grid.maps(self.output.detach())

    @cached_property
    def G(self) -> Float[Tensor, "b k h w"]:
        """Gradient dy_c/dA. Raises ValueError if the score does not depend on the layer, or on its places."""
        gradient = self.gradient(self.scores)
        if gradient is None:
            raise ValueError(
                f"the score has no gradient at layer {self._name!r}; choose a layer on the way to the logits"
            )
        G = self.grid.maps(gradient)
        if self.grid.prefix and gradient.any() and not G.any():
            raise ValueError(
                f"the score has no gradient at the patch tokens of {self._name!r}: above it only the class token is "
                "read; choose an earlier layer, such as 'blocks.11.norm1' in a 12-block ViT"
            )
        return G

    @property
    def _name(self) -> str:
        return network.layer_name(self.model, self.layer)

    def masked_logits(
        self, maps: Float[Tensor, "b n h w"], *, order: str = "up_then_norm", chunk: int | None = None
    ) -> Float[Tensor, "b n classes"]:
        """The logits of each image seen through masks: of x * n(up(S)), for its n maps S, with n to the range [0, 1].

        `order="norm_then_up"` sees it through up(n(S)), whose maximum is a little below 1.
        `chunk` masked images run at a time (default: 4 on a CPU, 128 on a GPU), so memory does not grow with the
        number of maps. Constant maps hide the whole image, and share one run.
        Raises ValueError for another `order` and a chunk below 1.
        """
        if order not in ("up_then_norm", "norm_then_up"):
            raise ValueError(f"order must be 'up_then_norm' or 'norm_then_up', found {order!r}")
        enlarged = masks if order == "up_then_norm" else _normalized_first
        chunk = chunk_size(chunk, self.images)
        with torch.no_grad():
            images = network.channels_last(self.model, self.images)
            pairs = zip(images.split(1), maps, strict=True)
            return torch.stack([_masked_logits(self.model, image, S, enlarged, chunk) for image, S in pairs])

    def above(self, image: int) -> Callable[[Float[Tensor, "n k h w"]], Float[Tensor, " n"]]:
        """A function from changed activations [n k h w] of one image to its scores [n], had the layer returned these.

        Only the part of the network above the layer runs, without gradients.
        """
        one = slice(image, image + 1)
        like, target = self.output.detach()[one], int(self.targets[image])
        scores = rerun.above(self.model, self.layer, self.images[one], target, like, self.logits[one])
        return lambda A: scores(self.grid.output(A, like))

    def towards(self, targets: Int[Tensor, " b"]) -> "Evidence":
        """The same forward pass, seen from other target classes."""
        check_targets(targets, self.images)
        return replace(self, targets=targets, scores=network.class_scores(self.logits, targets))


def _masked_logits(
    model: nn.Module, image: Tensor, maps: Float[Tensor, "n h w"], enlarged: Callable, chunk: int
) -> Float[Tensor, "n classes"]:
    constant = heatmap.degenerate(maps)
    runs = torch.cat([maps[~constant], maps[constant][:1]])
    logits = torch.cat([model(image * enlarged(S, image.shape[2:])[:, None].to(image)) for S in runs.split(chunk)])
    which = torch.where(constant, len(runs) - 1, (~constant).cumsum(0) - 1)
    return logits[which]


def masks(maps: Float[Tensor, "n h w"], size: heatmap.Size, to: str = "range") -> Float[Tensor, "n H W"]:
    """n(up(S)): the maps resized to `size`, then normalised.

    By range a map that is constant up to rounding becomes zeros; resized first, its rounding would be blown up to 1.
    """
    enlarged = heatmap.normalize(heatmap.resize(maps, size), to)  # type: ignore[arg-type]  # any other is refused there
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    rounding = 8 * torch.finfo(maps.dtype).eps * torch.maximum(high.abs(), low.abs())
    return enlarged if to != "range" else enlarged.where(high - low > rounding, 0)


def _normalized_first(maps: Float[Tensor, "n h w"], size: heatmap.Size) -> Float[Tensor, "n H W"]:
    return heatmap.resize(heatmap.normalize(maps), size)


@checked
def collect_layers(
    model: nn.Module,
    images: Float[Tensor, "b c H W"],
    targets: Int[Tensor, " b"],
    *,
    layers: Sequence[Layer],
    grid: tuple[int, int] | None = None,
) -> list[Evidence]:
    """The evidence of several layers from one forward pass, and, once gradients are asked for, one backward pass.

    Raises ValueError as `cam` does.
    """
    outputs, logits = network.cut(model, images, layers)
    scores = network.class_scores(logits, targets)
    backward = lru_cache(maxsize=1)(partial(network.gradients, outputs=outputs))

    def gradient(position: int, scores: Tensor) -> Tensor | None:
        return backward(scores)[position]

    return [
        Evidence(
            model, layer, images, targets, logits, scores, output,
            read_grid(model, network.find_layer(model, layer), output, images, grid),
            partial(gradient, position),
        )
        for position, (layer, output) in enumerate(zip(layers, outputs, strict=True))
    ]  # fmt: skip


def collect(model, images, targets, *, layer: Layer, grid: tuple[int, int] | None = None) -> Evidence:
    """The evidence of one layer: one forward pass that can serve many maps.

    >>> seen = collect(model, images, targets, layer="layer4")
    >>> maps = {name: combine(seen, weights) for name, weights in WEIGHTS.items()}
    >>> other = combine(seen.towards(other_targets), gradcam)

    Raises ValueError as `cam` does.
    """
    return collect_layers(model, images, targets, layers=[layer], grid=grid)[0]
