"""CA-Stream: attention in place of global average pooling, learned beside a network that stays as it is (thesis, ch. 3).

At each stage l of the network, with features F_l of p places and d_l channels, a query q_l asks where to look, and what
it sees there, put through a linear map, is the query of the next stage:

    a_l = softmax(F_l q_l / sqrt(d_l)),    CA_l = F_l^T a_l,    q_{l+1} = W_l CA_l + b_l.

The first query is learned; the last one takes the place of the pooled features: logits = g(q_{L+1}). With q_l = 0 the
attention is uniform, and CA_l is global average pooling.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from xailib import network
from xailib.inputs import check_targets
from xailib.models.stages import OnFrozen, bare, known, pooled_classes, widths

# how the authors train on ImageNet (thesis, sec. 3.4), as arguments of `training.Recipe`
IMAGENET_RECIPE = {
    "epochs": 90,
    "batch": 256,
    "optimizer": "sgd",
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "schedule": "milestones",
    "milestones": (30, 60),
    "factor": 0.1,
    "warmup": 0,
    "precision": "fp16",
}


def attend(F: Float[Tensor, "#b p d"], q: Float[Tensor, "#b d"]) -> Float[Tensor, "b p"]:
    """How much the query looks at each place: softmax(F q / sqrt(d)), which sums to 1 (thesis, eq. 3.3)."""
    return (F @ (q / q.shape[-1] ** 0.5)[..., None])[..., 0].softmax(-1)


class CrossAttention(nn.Module):
    """One block of the stream: look at the features, and make the next query of what was seen.

    `"ca"` looks at the features as they are (thesis, eq. 3.3), `"proj"` at two linear maps of them, keys and values
    (thesis, eq. 3.8).
    """

    def __init__(self, width: int, next_width: int, *, block: str, bias: bool):
        super().__init__()
        projected = block == "proj"
        self.key = nn.Linear(width, width, bias=bias) if projected else nn.Identity()
        self.value = nn.Linear(width, width, bias=bias) if projected else nn.Identity()
        self.W = nn.Linear(width, next_width, bias=bias)

    def forward(
        self, F: Float[Tensor, "#b p d"], q: Float[Tensor, "#b d"]
    ) -> tuple[Float[Tensor, "b e"], Float[Tensor, "b p"]]:
        a = attend(self.key(F), q)
        seen = (self.value(F).mT @ a[..., None])[..., 0]
        return self.W(seen), a


class Stream(nn.Module):
    """All that is learned: the first query, or one for each class, and a block for each stage."""

    def __init__(self, widths: Sequence[int], *, queries: int, block: str, bias: bool):
        super().__init__()
        self.query = nn.Parameter(1 + torch.randn(queries, widths[0]))
        pairs = zip(widths, [*widths[1:], widths[-1]], strict=True)
        self.blocks = nn.ModuleList(CrossAttention(*pair, block=block, bias=bias) for pair in pairs)

    def forward(
        self, features: Sequence[Float[Tensor, "#b _ _ _"]], q: Float[Tensor, "#b _"]
    ) -> tuple[Float[Tensor, "b d"], list[Float[Tensor, "b _ _"]]]:
        """The last query, and the attention at each stage."""
        maps = []
        for block, F in zip(self.blocks, features, strict=True):
            q, a = block(F.flatten(2).mT, q)
            maps.append(a.unflatten(1, F.shape[2:]))
        return q, maps


class CAStream(OnFrozen):
    """A classifier that pools by attention: `backbone` as it is, frozen, and beside it the `stream`, which learns.

    - `start`: the first stage that the stream reads, counted in `self.stage_names`
    - `block`: `"ca"`, or `"proj"` with linear keys and values
    - `queries`: `"agnostic"`, one for all classes, or `"class"`, one for each, of which an image sends its class's
    - `bias`: whether the linear maps have one (the authors' code has it, the thesis' eq. 3.7 does not)
    - `stages`: layers of a backbone whose stages are not known; the last one is what its pooling reads
    - `classifier`: then, for class queries, also the layer that reads what was pooled

    Parameters and buffers of the backbone, batch-norm statistics among them, never change, not in training mode either.
    `self.stream.state_dict()` is all that was learned. Raises ValueError for other options, and for stages that do not
    fit the network.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        start: int = 0,
        block: str = "ca",
        queries: str = "agnostic",
        bias: bool = True,
        stages: Sequence[str] | None = None,
        classifier: str | None = None,
    ):
        super().__init__(backbone)
        if stages is None:
            stages, classifier = known(self.backbone)
        _check(stages, start, block, queries, classifier)
        channels = widths(self.backbone, stages)
        classes = pooled_classes(self.backbone, stages[-1])
        self.stage_names, self.start, self.classifier_name, self.queries = tuple(stages), start, classifier, queries
        self.stream = Stream(channels[start:], queries=classes if queries == "class" else 1, block=block, bias=bias)
        _initialise(self.stream, convnext=type(bare(self.backbone)).__name__ == "ConvNeXt")
        self.stream.to(next(self.backbone.parameters()))

    def forward(
        self, images: Float[Tensor, "b c H W"], targets: Int[Tensor, " b"] | None = None
    ) -> Float[Tensor, "b classes"]:
        """The logits.

        Class queries are chosen by `targets`, as in training, or else by what the backbone alone predicts; with one
        query for all classes, targets make no difference. Raises ValueError for targets that name no class.
        """
        return self._run(images, targets)[0]

    def attention(
        self, images: Float[Tensor, "b c H W"], targets: Int[Tensor, " b"] | None = None, *, stage: int = -1
    ) -> Float[Tensor, "b h w"]:
        """The raw attention that each image is pooled with: a_L over the places of the last stage, which sums to 1.

        `stage` asks for an earlier one, counted in `self.stage_names`. Targets as in `forward`; as a map of the image:
        `heatmap.resize(model.attention(images), images.shape[2:])`. Raises ValueError for a stage without attention.
        """
        read = range(len(self.stage_names))[self.start :]
        if stage != -1 and stage not in read:
            raise ValueError(f"the stream reads stages {read[0]} to {read[-1]}, found stage={stage}")
        maps = self._run(images, targets)[1][stage if stage == -1 else stage - self.start]
        return maps.to(torch.promote_types(maps.dtype, torch.float32))

    def _run(self, images: Tensor, targets: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        *below, last = [network.find_layer(self.backbone, name) for name in self.stage_names[self.start :]]
        features, maps = {}, []

        def keep(stage: nn.Module, _, output: Tensor) -> Tensor:
            features[stage] = output
            return output.clone()  # what follows may change it in place

        def pool(_, __, output: Tensor) -> Tensor:
            q, attention = self.stream([*(features[stage] for stage in below), output], self._query(output, targets))
            maps.extend(attention)
            return q[..., None, None]  # one place, which global average pooling leaves as it is

        with network.hooked([*((stage, keep) for stage in below), (last, pool)]):
            logits = self.backbone(images)
        return logits, maps

    def _query(self, last: Float[Tensor, "b d h w"], targets: Tensor | None) -> Float[Tensor, "b e"]:
        if self.queries == "agnostic":
            return self.stream.query.expand(len(last), -1)
        if targets is None:
            targets = self._predicted(last)
        check_targets(targets, last)
        classes = len(self.stream.query)
        if targets.min() < 0 or targets.max() >= classes:
            raise ValueError(f"targets must lie in 0..{classes - 1}, found {targets.tolist()}")
        return self.stream.query[targets]

    @torch.no_grad()
    def _predicted(self, last: Float[Tensor, "b d h w"]) -> Int[Tensor, " b"]:
        classifier, pooled = network.find_layer(self.backbone, self.classifier_name), last.mean((2, 3), keepdim=True)
        logits = classifier(pooled.flatten(1) if isinstance(classifier, nn.Linear) else pooled)
        return logits.flatten(1).argmax(1)


def _initialise(stream: Stream, *, convnext: bool) -> None:
    """As in the authors' code: Xavier's uniform weights, but for ConvNeXt its own, normal with deviation 0.02."""
    for linear in (module for module in stream.modules() if isinstance(module, nn.Linear)):
        if not convnext:
            nn.init.xavier_uniform_(linear.weight)
            continue
        nn.init.trunc_normal_(linear.weight, std=0.02)
        if linear.bias is not None:
            nn.init.zeros_(linear.bias)


def _check(stages: Sequence[str], start: int, block: str, queries: str, classifier: str | None) -> None:
    if not 0 <= start < len(stages):
        raise ValueError(f"start must be one of the stages 0..{len(stages) - 1}, {', '.join(stages)}, found {start}")
    if block not in ("ca", "proj"):
        raise ValueError(f"block must be 'ca' or 'proj', found {block!r}")
    if queries not in ("agnostic", "class"):
        raise ValueError(f"queries must be 'agnostic' or 'class', found {queries!r}")
    if queries == "class" and classifier is None:
        raise ValueError("class queries follow the backbone's own prediction; name its layer with classifier=...")
