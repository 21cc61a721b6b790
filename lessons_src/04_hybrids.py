# %% [markdown]
# # What can convolution and attention do for each other?
#
# | | |
# |---|---|
# | You will | count what convolution and attention cost; give a transformer a convolutional stem, fewer tokens, and a convolutional partner; replace global average pooling by attention; and find out what its map does not say |
# | You need | lesson 02 (convolution, GAP, MACs) and lesson 03 (self-attention, vision transformers) |
# | Minutes | 90 |
# | Run time | quick 45 s · laptop 5 min · full 10 min |
# | Memory | 3 GB |
# | Data | planted scenes, drawn here; photographs that come with scikit-image |
# | Network | no |
#
# A 3 x 3 convolution looks at nine places, with the same weights everywhere. Self-attention looks at all places, with
# weights that depend on what is there. **Hybrid** networks use both. This lesson builds the ideas of three of them in small:
# LeViT, which begins with convolutions and goes on with attention, Conformer, which runs both side by side, and
# PatchConvNet, which ends with attention where others average. The last one comes with a heat map, and we shall ask what
# this map says.

# %%
import time
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise

import torch
from pandas import DataFrame
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import avg_pool2d, cross_entropy, interpolate, max_pool2d
from torch.utils.data import TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from xailib import heatmap, models, plot
from xailib.course import choose, device
from xailib.data import PlantedScenes, photos
from xailib.models.convnets import conv_bn
from xailib.models.vit import Attention, Block
from xailib.training import Recipe, fit


# %%
@dataclass(frozen=True)
class Config:
    scenes: int = choose(quick=512, laptop=2048, full=8192)  # to learn from
    test_scenes: int = choose(quick=256, laptop=512, full=2048)
    epochs: int = choose(quick=3, laptop=6, full=20)  # of the transformers
    steps: int = choose(quick=100, laptop=300, full=2000)  # of the query
    seeds: tuple = choose(quick=(0, 1), laptop=(0, 1, 2), full=(0, 1, 2, 3, 4))
    timings: int = choose(quick=5, laptop=10, full=20)  # runs of each network of the table


config = Config()

# %% [markdown]
# ## Near is cheap, far is dear
#
# A map of $n$ places with $d$ channels each. What does one layer cost, in **MACs** (multiplications with an addition)? A
# 3 x 3 convolution takes, for each place and each output channel, 9 neighbours times $d$ channels. Self-attention makes
# query, key, value and output by four linear maps; it compares every place with every place, and adds up over every
# place:
#
# $$\text{convolution: } 9\, n d^2 , \qquad \text{attention: } 4\, n d^2 + 2\, n^2 d .$$
#
# The convolution cannot see beyond its neighbours; attention sees everything at once and pays with $n^2$. **Predict**: for
# $d = 64$, which of the two is cheaper on a map of 7 x 7 places, and which on one of 56 x 56?

# %%
d = 64


def convolution(n):
    return 9 * n * d**2


def attention(n):
    return 4 * n * d**2 + 2 * n**2 * d


# %% [markdown]
# PyTorch can count for us. The two formulas should agree with it:


# %%
@torch.no_grad()
def macs(net, *inputs):
    plain = sdpa_kernel(SDPBackend.MATH)  # attention as products, which every PyTorch can count
    with plain, FlopCounterMode(display=False) as counter:
        net(*inputs)
    return counter.get_total_flops() / 2  # it counts multiplications and additions


with torch.device("meta"):  # shapes only: nothing is computed
    assert macs(nn.Conv2d(d, d, 3, padding=1), torch.empty(1, d, 14, 14)) == convolution(14**2)
    assert macs(Attention(d, heads=2), torch.empty(1, 14**2, d)) == attention(14**2)

# %%
sides = [4, 7, 14, 28, 56, 112]
lines = {
    "3 x 3 convolution": [convolution(side**2) / 1e6 for side in sides],
    "self-attention": [attention(side**2) / 1e6 for side in sides],
}
ratios = {side: attention(side**2) / convolution(side**2) for side in sides}
print("attention / convolution:", {side: round(ratio, 2) for side, ratio in ratios.items()})
figure = plot.curve(
    sides,
    lines,
    alt="Two rising lines on logarithmic scales. Self-attention starts below the convolution, "
    "crosses it between 7 and 14 places on a side, and is far above it at 112.",
    xlabel="places on a side of the map",
    ylabel="million MACs",
    title="One layer of 64 channels",
)
figure.axes[0].set_xscale("log")
figure.axes[0].set_xticks(sides, sides, minor=False)
figure.axes[0].minorticks_off()
figure.axes[0].set_yscale("log")
figure

# %% [markdown]
# The lines cross where $4 n d^2 + 2 n^2 d = 9 n d^2$, so at $n = 2.5\, d$: here 160 places, between 12 x 12 and 13 x 13. The
# first maps of a network are large and its last ones small. So the price list alone suggests the recipe of nearly all
# hybrids: **look near early, look far late**. There is a second reason. Neighbouring pixels belong together more often than
# distant ones, and a convolution need not learn this. A transformer must, from data.

# %% tags=["test", "remove-cell"]
assert convolution(160) == attention(160) and ratios[7] < 1 < ratios[14] and ratios[112] > 30

# %% [markdown]
# ## A stem of convolutions
#
# A ViT cuts the image into patches and makes a token of each by one linear map, the **patchifier**: a convolution whose
# stride is as large as its kernel. Nothing in it knows that patches have neighbours. LeViT (Graham et al., ICCV 2021) puts
# a **convolutional stem** there: 3 x 3 convolutions of stride 2, each with batch norm and an activation. Each halves the
# sides; for patches of 8 pixels it takes three. Ours ends with a 1 x 1 convolution, as in Xiao et al. (*Early convolutions help
# transformers see better*, NeurIPS 2021). (The thesis, section 1.2.4, says that LeViT uses LeNet here. The name alludes to
# LeNet, but the stem of the paper is of this kind, with four convolutions, for patches of 16.)


# %%
class ConvStem(nn.Sequential):
    def __init__(self, dim):
        layers = []
        for inputs, outputs in pairwise([3, dim // 4, dim // 2, dim]):
            layers += [*conv_bn(inputs, outputs, 3, stride=2), nn.ReLU()]
        super().__init__(*layers, nn.Conv2d(dim, dim, 1))

    def forward(self, images):
        return super().forward(images).flatten(2).mT  # maps [b dim h w] to tokens [b n dim]


def transformer(stem, seed=0):
    _ = torch.manual_seed(seed)
    depth = 3 if stem == "patches" else 2  # a block less pays for the stem
    net = models.ViT(size=64, patch=8, classes=3, dim=64, depth=depth, heads=2, mlp_ratio=2)
    if stem == "convolutions":
        net.patch_embed = ConvStem(64)
    return models.Normalized(net, (0.5,) * 3, (0.5,) * 3)


# %% [markdown]
# One line changes the network. The stem costs more than the patchifier, so we take one block away, as Xiao et al. do, to
# compare at equal cost. **Predict**: how many pixels on a side does one token see after the stem? (Lesson 02:
# $r \leftarrow r + (k - 1) j$.)

# %%
rows = {}
image = torch.rand(1, 3, 64, 64)
for stem in ("patches", "convolutions"):
    net = transformer(stem).net.eval()
    parts = [net.patch_embed, net]
    numbers = [sum(p.numel() for p in part.parameters()) for part in parts]
    costs = [macs(part, image) / 1e6 for part in parts]
    rows[stem] = numbers[0], costs[0], numbers[1], costs[1]
columns = ["stem: parameters", "stem: million MACs", "network: parameters", "network: million MACs"]
sizes = DataFrame.from_dict(rows, "index", columns=columns).round(2)
sizes

# %%
pixels = image.clone().requires_grad_()
token = ConvStem(64).eval()(pixels)[0, 8 * 4 + 4]  # row 4, column 4
(gradient,) = torch.autograd.grad(token.sum(), pixels)
rows_seen = gradient[0].abs().sum((0, 2)).nonzero()[:, 0].tolist()
print(
    f"{len(rows_seen)} rows of pixels, from {rows_seen[0]} to {rows_seen[-1]}; its patch: 32 to 39"
)

# %% [markdown]
# 15 pixels on a side instead of 8: what tokens see overlaps, and each is made by four layers instead of one. The stem costs
# about four times as much as the patchifier, and the whole network even a little less, with fewer parameters.
#
# Now train both, on planted scenes ([`xailib.data.planted`](../xailib/data/planted.py)), with the same images in the same
# order. The class, one of three, is the *colour* of one or two stickers; other stickers wear colours of no class. Several
# seeds, because one run is an anecdote. **Predict** the two lines.


# %%
def planted(count, seed, **options):
    chance = torch.Generator().manual_seed(seed)
    return PlantedScenes(count, generator=chance, **options)


colours = {"evidence": "colour", "classes": 3}
drawn = planted(config.scenes, 0, **colours).batch(range(config.scenes))  # once for all epochs
train = TensorDataset(drawn.images, drawn.labels)
unseen = planted(config.test_scenes, 1, **colours)

# %%
stems, start = {"patches": [], "convolutions": []}, time.perf_counter()
for seed in config.seeds:
    recipe = Recipe(config.epochs, 32, "adamw", lr=3e-3, schedule="cosine", seed=seed)
    for stem, histories in stems.items():
        model = transformer(stem, seed).to(device())
        histories.append(fit(model, train, unseen, recipe=recipe, progress=False))
print(f"{2 * len(config.seeds)} networks in {time.perf_counter() - start:.0f} s")

# %%
losses = {
    stem: torch.tensor([h["train_loss"].tolist() for h in all_seeds])
    for stem, all_seeds in stems.items()
}
plot.curve(
    range(1, config.epochs + 1),
    {stem: line.mean(0) for stem, line in losses.items()},
    alt="; ".join(
        f"{stem}: from {line[:, 0].mean():.2f} to {line[:, -1].mean():.2f}"
        for stem, line in losses.items()
    ),
    xlabel="epoch",
    ylabel="training loss, mean of the seeds",
)

# %%
ends = {
    stem: [
        " ".join(f"{loss:.2f}" for loss in losses[stem].mean(1)),
        " ".join(f"{h['validation_accuracy'].iloc[-1]:.0%}" for h in histories),
    ]
    for stem, histories in stems.items()
}
DataFrame.from_dict(ends, "index", columns=["mean of the line, by seed", "accuracy, new scenes"])

# %% [markdown]
# The network with the stem learns faster. With patches, the loss stays longer near $\ln 3 \approx 1.1$, the loss of a guess
# among three. Read the table by seed before you trust the mean: where the runs are long enough, the seeds agree
# on the order; in the short ones of the quick profile they did not. What the runs show is a direction, on easy scenes of 64
# pixels, with one optimizer. Xiao et al. found it on ImageNet, and also that the choice of optimizer matters less with
# the stem; this is what the thesis calls *optimizability* (section 1.2.4).
#
# The thesis also says that LeViT needs no large data set. The stem is only a part of that: like DeiT (Touvron et al., ICML
# 2021), LeViT is trained with strong augmentation and with a convolutional network as teacher.

# %% tags=["test", "remove-cell"]
assert sizes["network: million MACs"]["convolutions"] < sizes["network: million MACs"]["patches"]
assert len(rows_seen) == 15 and rows_seen[0] <= 32 and rows_seen[-1] >= 39 - 1
if config.epochs > 3:  # a quick run ends before they part
    assert (losses["convolutions"].mean(1) < losses["patches"].mean(1)).all()

# %% [markdown]
# ## Fewer tokens on the way
#
# A ViT keeps all its tokens to the end. A convolutional network does not keep its places: each stage has a quarter of those
# before, and more channels. LeViT takes this over, and shrinks *by attention*: only every second token in each direction
# asks (a query), but all are found and tell (keys and values). By hand, with one head, 14 x 14 tokens become 7 x 7.
# **Predict**: what does a kept token lose because the other three no longer ask?

# %%
_ = torch.manual_seed(0)
x = torch.randn(14 * 14, d)
Q, K, V = torch.randn(3, d, d) / d**0.5
kept = torch.arange(14 * 14).view(14, 14)[::2, ::2].flatten()

all_ask = (x @ Q @ (x @ K).mT / d**0.5).softmax(-1)  # [196, 196]
some_ask = (x[kept] @ Q @ (x @ K).mT / d**0.5).softmax(-1)  # [49, 196]
torch.testing.assert_close(some_ask @ x @ V, (all_ask @ x @ V)[kept])
print(f"{all_ask.numel()} pairs, or {some_ask.numel()}")

# %% [markdown]
# Nothing: each row of attention is computed by itself, so the kept tokens hear what they would have heard. What is lost is
# what the others would have heard. And the pairs, the $n^2$ of the price, become a quarter here and a sixteenth in
# every layer after it. This is LeViT-128S in timm, with random weights, as only its shapes matter:

# %%
import timm

levit = timm.create_model("levit_128s", pretrained=False).eval()
photo = photos.load("rocket").image[None]
with torch.no_grad():
    tokens = levit.stem(photo).flatten(2).mT
rows = {"stem": (tokens.shape[1], tokens.shape[2], 0, 0, macs(levit.stem, photo) / 1e6)}
for number, stage in enumerate(levit.stages):
    before, cost = tokens.shape[1], macs(stage, tokens) / 1e6
    with torch.no_grad():
        tokens = stage(tokens)
    n, width = tokens.shape[1:]
    layers = len(stage.blocks)
    shrinking = before * n if n < before else 0
    rows[f"stage {number + 1}"] = n, width, layers, shrinking + layers * n**2, cost
columns = ["tokens", "channels", "layers", "pairs", "million MACs"]
stages = DataFrame.from_dict(rows, "index", columns=columns)
stages.round(1)

# %%
depth = int(stages["layers"].sum())
constant = depth * 196**2
print(f"pairs in LeViT-128S: {stages['pairs'].sum():,}; {depth} layers of 196 tokens: {constant:,}")

# %% [markdown]
# The $n^2$ of the price all but vanishes: the second stage has less than a quarter of the first one's pairs, the third hardly
# any. The MACs do not fall with them. Stage 2, with a quarter of the tokens, even costs more than stage 1: it has twice the
# channels and one layer more, and at these sizes most of the price is $n d^2$, the linear maps. Fewer tokens were exchanged for
# wider and more layers, as in convolutional networks.

# %% tags=["test", "remove-cell"]
assert stages["tokens"].tolist() == [196, 196, 49, 16]
assert stages["million MACs"]["stage 2"] > stages["million MACs"]["stage 1"]
assert stages["pairs"].tolist() == [0, 2 * 196**2, 196 * 49 + 3 * 49**2, 49 * 16 + 4 * 16**2]

# %% [markdown]
# ## Side by side
#
# Conformer (Peng et al., ICCV 2021; a network for speech has the same name) does not put one after the other. A branch of maps
# and a branch of tokens run through the whole network, and in each step a **feature coupling unit** tells each what the other
# has found. Maps become tokens by a 1 x 1 convolution, which sets the channels, and a mean over each patch. Tokens become maps by
# a 1 x 1 convolution, too, and by repeating each token all over its patch. (The paper adds norms, and the bottleneck blocks of
# ResNet.)


# %%
class Coupled(nn.Module):
    def __init__(self, channels, dim, patch):
        super().__init__()
        self.patch, self.block = patch, Block(dim, heads=2, mlp_ratio=2)
        self.convolution = nn.Sequential(*conv_bn(channels, channels, 3), nn.ReLU())
        self.down, self.up = nn.Conv2d(channels, dim, 1), nn.Conv2d(dim, channels, 1)

    def to_tokens(self, maps):
        return avg_pool2d(self.down(maps), self.patch).flatten(2).mT

    def to_maps(self, tokens, size):
        grid = tokens.mT.unflatten(2, [side // self.patch for side in size])
        return interpolate(self.up(grid), size)  # each token, all over its patch

    def forward(self, maps, tokens):
        maps = self.convolution(maps)
        tokens = self.block(tokens + self.to_tokens(maps))
        return maps + self.to_maps(tokens, maps.shape[2:]), tokens


# %% [markdown]
# Do the branches hear each other? A gradient tells. Take one place of the outgoing maps and one outgoing token, and
# ask on which places of the *incoming* maps they depend. **Predict** three pictures: the place without coupling, the
# place with it, and the token.

# %%
_ = torch.manual_seed(0)
coupled = Coupled(channels=16, dim=32, patch=4).eval()
maps, tokens = torch.randn(1, 16, 16, 16), torch.randn(1, 16, 32)
new_maps, new_tokens = coupled(maps, tokens)
assert new_maps.shape == maps.shape and new_tokens.shape == tokens.shape

A, x = maps.clone().requires_grad_(), tokens.clone().requires_grad_()
new_A, new_x = coupled(A, x)
outputs = {
    "a place, without coupling": coupled.convolution(A)[0, :, 6, 9],
    "a place, coupled": new_A[0, :, 6, 9],
    "a token, coupled": new_x[0, 6],
}
reached = {
    name: torch.autograd.grad(output.sum(), A, retain_graph=True)[0][0].abs().sum(0)
    for name, output in outputs.items()
}
(from_tokens,) = torch.autograd.grad(new_A[0, :, 6, 9].sum(), x)
print(f"the place depends on {(from_tokens[0].abs().sum(1) > 0).sum()} of 16 incoming tokens")

# %%
shares = {name: f"{(field > 0).float().mean():.1%}" for name, field in reached.items()}
plot.gallery(
    torch.full((3, 3, 16, 16), 0.5),
    [(field / field.max()).pow(0.25) for field in reached.values()],
    titles=[f"{name}: depends on {share} of the places" for name, share in shares.items()],
    limits=(0, 1),
    opacity=1,
    alt="Three maps of 16 x 16 places. Without coupling nine places in a square; coupled, the "
    "square bright and all others faint; the token, all places, its own patch of 4 x 4 and a rim "
    "brightest.",
)

# %% [markdown]
# (Drawn is the fourth root, which lifts what is faint.) Without coupling, the place has its nine neighbours. Coupled, it hears all
# places, by way of the tokens: its neighbours loudly, the rest of its own patch less, everything else faintly. And the token,
# which began as one of 16 coarse patches, has read the maps at their full resolution. After one block, each branch has
# what only the other could give.
#
# For whoever explains such a network this has a price. A bright cell of the convolutional branch may owe its value to any
# place of the picture, just as in a transformer.

# %% tags=["test", "remove-cell"]
assert (reached["a place, without coupling"] > 0).sum() == 9
assert (reached["a place, coupled"] > 0).all() and (reached["a token, coupled"] > 0).all()
assert (from_tokens[0].abs().sum(1) > 0).all()

# %% [markdown]
# ## What do real ones cost?
#
# Table 1.1 of the thesis lists no hybrids, so here is a table like it. Parameters, MACs and times are measured here, with
# random weights. The accuracies on ImageNet are reported ones: torchvision's for ResNet-18, the DeiT paper's for
# ViT-Tiny, else those of the networks' own papers. ConViT (d'Ascoli et al., ICML 2021) is one more hybrid: its attention *begins*
# as a convolution, by position alone, and may learn to let go. **Predict** which is fastest, and whether it has the fewest
# parameters.

# %%
reported = {
    "resnet18": 69.8,
    "vit_tiny_patch16_224": 72.2,
    "convit_tiny": 73.1,
    "levit_128s": 76.6,
    "levit_256": 81.6,
}


@torch.no_grad()
def weigh(name):
    net, seconds = timm.create_model(name, pretrained=False).eval(), []
    cost = macs(net, photo)
    for _ in range(config.timings):
        start = time.process_time()  # of the processor, so that other programs do not count
        net(photo)
        seconds.append(time.process_time() - start)
    return sum(p.numel() for p in net.parameters()) / 1e6, cost / 1e9, 1000 * min(seconds)


# %%
columns = ["M parameters", "GMACs", "ms per image"]
real = DataFrame.from_dict({name: weigh(name) for name in reported}, "index", columns=columns)
real["reported accuracy"] = reported
real["ms per GMAC"] = real["ms per image"] / real["GMACs"]
print(f"processor time on this machine, {torch.get_num_threads()} thread(s) added up")
real.round(2)

# %% [markdown]
# The fewest parameters are ConViT-Tiny's, and it is not the fastest. LeViT-128S has more than ViT-Tiny, a quarter of its MACs, and is faster. It does not win by fewer parameters but
# by where they stand: most of them in its last stages, where few tokens pass. It does not win four times the time, either:
# small layers keep a processor less busy, as lesson 02 saw in EfficientNet. Compare the last column.
#
# Read the accuracies with care. The networks were trained in different ways: LeViT for 1000 epochs with a teacher, ResNet-18
# by an old recipe of 90 epochs without one. A recipe can be worth more than an architecture (Wightman et al., *ResNet
# strikes back*, 2021, which the thesis cites for this, too). PatchConvNet and Conformer are not in timm; their
# papers report 82.1 % for PatchConvNet-S60 (25 million parameters, 4.0 GFLOPs) and 81.3 % for Conformer-Ti (23.5 million,
# 5.2 GFLOPs), where GFLOPs are our GMACs.

# %% tags=["test", "remove-cell"]
tiny, small_levit = real.loc["vit_tiny_patch16_224"], real.loc["levit_128s"]
assert small_levit["M parameters"] > tiny["M parameters"]
assert small_levit["GMACs"] < 0.26 * tiny["GMACs"]
assert small_levit["ms per image"] < tiny["ms per image"]
assert real["M parameters"].idxmin() == "convit_tiny" != real["ms per image"].idxmin()

# %% [markdown]
# ## Attention in place of the average
#
# So far attention mixed tokens. PatchConvNet (Touvron et al., *Augmenting convolutional networks with attention-based
# aggregation*, 2021) is a convolutional network that uses attention once, at its end. Global average pooling gives all
# places the same weight. In attention pooling a **query** $q$, one learned vector for all images, gives each place a weight
# of its own. Write the last maps as a matrix $F$, with one row $F_p$ of $d$ numbers for each place $p$:
#
# $$a = \mathrm{softmax}\Big(\frac{F q}{\sqrt d}\Big), \qquad \text{pooled} = F^\top a = \sum_p a_p F_p .$$
#
# These are equations 3.1 and 3.3 of the thesis. (PatchConvNet itself adds norms, linear maps for keys and values, and a
# small network behind it. The thesis, section 1.2.4, gives it a *matrix* of queries, one for each class; in the paper
# that is a variant, and one query for all classes is the default.)
#
# By hand, on a photograph and the last maps of the ImageNet network: 7 x 7 places, 1280 channels. First with $q = 0$.
# **Predict** the attention, and the logits.

# %%
from xailib.models.ca_stream import attend

lite = models.load("efficientnet_lite0")
class_names = models.class_names()
with torch.no_grad():
    A = lite.net.forward_features((photo - lite.mean) / lite.std)  # [1, 1280, 7, 7]
    logits = lite(photo)
W, b = lite.net.classifier.weight.detach(), lite.net.classifier.bias.detach()
F = A.flatten(2).mT[0]  # [49, 1280]: one row for each place


def pool(F, q):
    a = (F @ q / F.shape[1] ** 0.5).softmax(0)
    return a, F.mT @ a


# %%
a, pooled = pool(F, torch.zeros(1280))
torch.testing.assert_close(a, torch.full((49,), 1 / 49))
torch.testing.assert_close(pooled, A.mean((2, 3))[0])  # global average pooling
torch.testing.assert_close(W @ pooled + b, logits[0])  # so the network is as it was

q = torch.randn(1280, generator=torch.Generator().manual_seed(0))
a, pooled = pool(F, q)
torch.testing.assert_close(a, attend(F[None], q[None])[0])  # the library's
torch.testing.assert_close(a.sum(), torch.tensor(1.0))

# %% [markdown]
# With $q = 0$ all scores are 0 and all weights $1/49$: GAP is one setting of attention pooling. We shall start learning there.
#
# What does the query know of *where* a place is? Shuffle the places. **Predict** what happens to the attention, and to what
# is pooled.

# %%
order = torch.randperm(49, generator=torch.Generator().manual_seed(1))
a_shuffled, pooled_shuffled = pool(F[order], q)
torch.testing.assert_close(a_shuffled, a[order])
torch.testing.assert_close(pooled_shuffled, pooled)

# %% [markdown]
# The attention moves along, and the result is the same. Like GAP, this pooling knows *what* is at a place, and not where
# the place is, nor what lies beside it.
#
# ### The scores are a class activation map
#
# The scores $F q$ are sums over channels: $\sum_k q_k F^k$, each channel's map times one number. That is a class activation
# map with the query as weights (thesis, equation 3.2). A CAM takes the row $W_c$ of the classifier, and so has one map per class.
# The learned query belongs to no class: its map is **class-agnostic**. To see that both are the same thing, use a row of the
# classifier as query.

# %%
from xailib.explain import cam, classic_cam

c = class_names.index("missile")  # the network's first guess
scores = (F @ W[c]).view(1, 7, 7)
map_of_class = cam(lite, photo, torch.tensor([c]), layer="bn2", weights=classic_cam)
torch.testing.assert_close(heatmap.resize(scores, (224, 224)), map_of_class, rtol=1e-4, atol=1e-3)

# %% [markdown]
# A row of the classifier asks for one class. The photograph shows a rocket between two towers, which ImageNet has no good
# name for. **Predict**: what happens to the network's answer if its last maps are pooled by the query for *missile*? By the
# query for *drilling platform*? (We multiply the row by $0.2 \sqrt d$, so that the scores are 0.2 times the CAM.)

# %%
pictures, titles, answers = [], [], []
for name in (None, "missile", "drilling platform", "golden retriever"):
    q = 0 * W[0] if name is None else 0.2 * 1280**0.5 * W[class_names.index(name)]
    a, pooled = pool(F, q)
    p, guess = (W @ pooled + b).softmax(0).max(0)
    answers.append(class_names[guess])
    pictures.append(a.view(7, 7))
    titles.append(f"query: {name or '0 (GAP)'}. Answer: {answers[-1]}, {p:.2f}")
plot.gallery(
    photo.expand(4, -1, -1, -1),
    pictures,
    titles=titles,
    limits="shared",
    alt="A rocket between two towers, pooled four ways: evenly; around the upper half of the "
    "rocket; wider and lower, from tower to tower; nearly evenly. " + "; ".join(titles),
)

# %% [markdown]
# The query decides. Asked for missiles, the network is far surer of its missile; asked for drilling platforms, it finds one.
# *Who asks for a class tends to find it*, because the query picks the places that speak for the class, and leaves out those that
# speak against it. A query for dogs finds no dog, though: weights choose among places, but cannot put there what is not in the
# features. So whoever uses class queries must say who chooses the class, at test time too. A single learned query spares us
# this choice, at a price: its map answers for no class.

# %% tags=["test", "remove-cell"]
assert answers == ["missile", "missile", "drilling platform", "missile"]
assert float(titles[1][-4:]) > 2 * float(titles[0][-4:])

# %% [markdown]
# ## Learn the query
#
# Now a query that is learned. The network is [a small one](../xailib/models/convnets.py) that comes with the course: it tells
# the *shape* of the stickers in planted scenes and ends with GAP. It stays as it is; we learn only the query and the
# linear layer behind it. Both start where GAP is: $q = 0$, and the network's own classifier. For a fair comparison, GAP
# gets the same steps for its classifier.

# %%
network = models.load("smallcnn_shape")
class_labels = planted(1, 0, evidence="shape").class_names


@torch.no_grad()
def features(images):  # [b 256 64]: 16 x 16 places
    pieces = ((images - network.mean) / network.std).split(64)
    return torch.cat([network.net.stages(piece) for piece in pieces]).flatten(2).mT


def logits_of(F, a, head):  # attention [b p] and features [b p d]
    return head((F.mT @ a[..., None])[..., 0])


known = planted(config.scenes, 2, evidence="shape").batch(range(config.scenes))
data = planted(config.test_scenes, 3, evidence="shape")
scenes = data.batch(range(len(data)))
train_F, test_F = features(known.images), features(scenes.images)
head = network.net.fc
gap = torch.zeros(1, 64)
torch.testing.assert_close(logits_of(test_F, attend(test_F, gap), head), network(scenes.images))


# %%
def learn(pooling, seed):
    query = torch.zeros(1, 64, requires_grad=pooling == "attention")
    head = deepcopy(network.net.fc)
    optimizer = torch.optim.Adam([query, *head.parameters()], lr=0.01)
    chance = torch.Generator().manual_seed(seed)
    for some in torch.randint(len(train_F), (config.steps, 128), generator=chance):
        logits = logits_of(train_F[some], attend(train_F[some], query), head)
        loss = cross_entropy(logits, known.labels[some])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return query.detach(), head.requires_grad_(False)


learned = {
    (pooling, seed): learn(pooling, seed)
    for pooling in ("GAP", "attention")
    for seed in config.seeds
}

# %% [markdown]
# Each scene knows its **evidence**, the pixels of the stickers whose shape is the class. What share of the attention lies
# there? GAP's weights are the same everywhere, so their share is the evidence's share of the picture, its **area**.
# A place of this network has seen 32 x 32 pixels, so count also what lies within 8 pixels of the evidence. **Predict**: more
# than the area, less, or the same? And who is more accurate?

# %%
marked = scenes.evidence.float()[:, None]
on_evidence = avg_pool2d(marked, 4).flatten(1)  # [b 256], in [0, 1]
near_evidence = avg_pool2d(max_pool2d(marked, 17, 1, 8), 4).flatten(1)
rows = {}
for (pooling, seed), (query, head) in learned.items():
    a = attend(test_F, query)
    logits = logits_of(test_F, a, head)
    accuracy = (logits.argmax(1) == scenes.labels).float().mean().item()
    loss = cross_entropy(logits, scenes.labels).item()
    shares = [(a * area).sum(1).mean().item() for area in (on_evidence, near_evidence)]
    rows[f"{pooling}, seed {seed}"] = accuracy, loss, *shares
columns = ["accuracy", "loss", "weight on the evidence", "within 8 pixels"]
pooled_table = DataFrame.from_dict(rows, "index", columns=columns)
pooled_table.round(3)

# %%
query, head = learned["attention", 0]
a = attend(test_F, query)
shown = range(4)
plot.gallery(
    scenes.images[shown],
    a[shown].view(-1, 16, 16),
    boxes=scenes.boxes[:4],
    titles=[class_labels[c] for c in scenes.labels[shown]],
    alt="Four scenes under their attention: bright on and around the boxed stickers, dark on the "
    "others and the ground.",
)

# %% [markdown]
# Nobody told the query where the stickers are; it had labels only. It puts several times the area's share on the right
# stickers, and most of the rest near them. In these four scenes it passes the other stickers by. In accuracy there is nothing to
# see: the network was very good with GAP, and the seeds differ as much as the poolings do. The thesis (table 3.3) reports
# small differences of either sign for its larger version on ImageNet: +0.26 points for ResNet-18, +0.15 for ResNet-50, -0.12
# and -0.21 for ConvNeXt-S and -B. Attention pooling is not the way to a better network here; it is the way to a network with a
# map.
#
# The losses of all rows are far below that of the network as it came. Do not credit the query with it: GAP, whose classifier
# learned as long, gained about as much, and at the same accuracy a lower loss is mostly confidence.

# %% tags=["test", "remove-cell"]
gap_runs, runs = (pooled_table.filter(like=name, axis=0) for name in ("GAP", "attention"))
assert runs["weight on the evidence"].min() > 3 * gap_runs["weight on the evidence"].max()
assert runs["within 8 pixels"].min() > 0.6
assert pooled_table["accuracy"].min() > 0.97
before = cross_entropy(network(scenes.images), scenes.labels).item()
assert pooled_table["loss"].max() < 0.5 * before

# %% [markdown]
# ### How sharp should it be?
#
# Multiply the query by a number, once it is learned: 0 makes it GAP, a large one leaves a single place. **Predict** for growing
# numbers: the share of the attention on the evidence, and the accuracy.

# %%
query, head = learned["attention", 0]
rows = {}
for strength in (0, 0.25, 0.5, 1, 2, 4, 8, 16):
    a = attend(test_F, strength * query)
    logits = logits_of(test_F, a, head)
    share = (a * on_evidence).sum(1).mean().item()
    accuracy = (logits.argmax(1) == scenes.labels).float().mean().item()
    rows[strength] = share, accuracy, cross_entropy(logits, scenes.labels).item()
columns = ["weight on the evidence", "accuracy", "loss"]
sharpness = DataFrame.from_dict(rows, "index", columns=columns).rename_axis("query, times")
sharpness.round(3)

# %% [markdown]
# The sharper the attention, the more of it lies on the evidence: at 16 it would win any contest of localisation (lesson 12).
# The accuracy hardly moves, so it cannot tell the rows apart. The loss can: it is least near 1, where the network was
# trained, and at 16 it is larger than with even weights: with a single place left, nothing tempers a wrong answer. **The
# sharpest map does not belong to the best network.** A temperature is easily
# chosen for the picture's sake; ask whether the network was *run* with it.

# %% tags=["test", "remove-cell"]
assert sharpness["weight on the evidence"].is_monotonic_increasing
assert sharpness["loss"].idxmin() in (0.5, 1, 2)
assert sharpness["accuracy"].max() - sharpness["accuracy"].min() < 0.02
assert sharpness["loss"][16] > sharpness["loss"][0] > sharpness["loss"].min()

# %% [markdown]
# ## Misreading: "the attention is the evidence for the class"
#
# The map lies on the right stickers, it belongs to the network, it costs nothing. It is tempting to write below it: *this
# is why the network said "circle"*. Three experiments against that sentence.
#
# ### Ask for another class
#
# The attention was there before any class was asked for. What a place adds to a *class* needs the classifier, too. Put the
# sums in another order:
#
# $$y_c = b_c + \sum_p a_p\, (w_c \cdot F_p) .$$
#
# The **contribution** of place $p$ to the logit of class $c$ is $a_p\, (w_c \cdot F_p)$: the attention, times the **value**
# of the place for the class. Contributions and bias make up the logit, exactly. **Predict** for one scene: the attention, the
# contributions to the true class, and those to another class.

# %%
a = attend(test_F, query)
values = test_F @ head.weight.T  # [b p c]: w_c . F_p
contributions = a[..., None] * values
logits = logits_of(test_F, a, head)
torch.testing.assert_close(contributions.sum(1) + head.bias, logits)

# %%
true, other = logits[0].argmax(), logits[0].argmin()
titles = ["attention, for any class"]
for c in (true, other):
    titles.append(f"contributions to {class_labels[c]}, logit {logits[0, c]:.1f}")
plot.gallery(
    scenes.images[:1].expand(3, -1, -1, -1),
    [m.view(16, 16) for m in (a[0], contributions[0, :, true], contributions[0, :, other])],
    titles=titles,
    boxes=scenes.boxes[:1] * 3,
    alt="One scene. Attention: bright on the boxed sticker. Contributions to its class: red there. "
    "To another class: blue on the same places.",
)

# %% [markdown]
# One attention, five maps of contributions, one per class. On the very places that the attention points at, the values speak
# for one class and against another. The attention says *where the network reads*; the values are
# *what it reads there*. Turn the sign of the classifier, and the network answers otherwise, under the same map.
#
# So there may be places of high attention that speak *against* the class the network names. To ask a value for its sign,
# compare it with the mean of all classes: one vector added to all $w_c$ changes every value, but no probability. Of
# all places in all scenes, here is the one that takes away most.

# %%
predicted = logits.argmax(1)
relative = values - values.mean(2, keepdim=True)
relative = relative.gather(2, predicted[:, None, None].expand(-1, 256, 1))[..., 0]  # [b p]
against = (a * (relative < 0)).sum(1)
print(f"attention on places that speak against the answer: {against.mean():.0%}")
worst, place = divmod((a * relative).argmin().item(), 256)
times = 256 * a[worst, place].item()
print(f"the place: {times:.1f} times GAP's weight, value {relative[worst, place]:.1f}")

# %%
row, column = divmod(place, 16)
here = torch.tensor([[column, row, column + 1, row + 1]]) * 4
plot.gallery(
    scenes.images[[worst] * 3],
    [None, a[worst].view(16, 16), (a * relative)[worst].view(16, 16)],
    titles=[
        f"a {class_labels[scenes.labels[worst]]}; answer: {class_labels[predicted[worst]]}",
        "attention",
        f"contributions to {class_labels[predicted[worst]]}",
    ],
    boxes=[scenes.boxes[worst], here, here],
    alt="A scene, its attention and its contributions. The marked place is bright in the attention "
    "and blue, against the answer, in the contributions.",
)

# %% [markdown]
# The marked place is among the brightest tenth of its scene, and whoever reads the attention alone will count it as evidence
# for the answer. The network did read there. What it read argues for another class.

# %% tags=["test", "remove-cell"]
assert true == scenes.labels[0] and contributions[0, :, other].sum() < 0
assert relative[worst, place] < 0 and times > 2
assert a[worst, place] >= a[worst].quantile(0.9) and 0.03 < against.mean() < 0.3
flipped = deepcopy(head)
flipped.weight.data *= -1
assert (logits_of(test_F, a, flipped).argmax(1) != predicted).all()

# %% [markdown]
# ### Change the evidence
#
# Planted scenes have **twins**: the same scene, with another shape in the place of the evidence, and so with another label.
# **Predict**: how alike are the attentions of a scene and its twin? And the contributions to the *scene's* class, in both?

# %%
from xailib.metrics import correlation

other_labels = (scenes.labels + 1) % 5
twin_F = features(data.batch(range(len(data)), labels=other_labels).images)
twin_a = attend(twin_F, query)


def for_the_scene(F, a):  # contributions to the class of the scene: [b 16 16]
    by_class = a[..., None] * (F @ head.weight.T)
    at = scenes.labels[:, None, None].expand(-1, 256, 1)
    return by_class.gather(2, at).view(-1, 16, 16)


mine, twins = for_the_scene(test_F, a), for_the_scene(twin_F, twin_a)
alike = correlation(a.view(-1, 16, 16), twin_a.view(-1, 16, 16)).mean().item()
print(f"attention: correlation {alike:.2f}")
print(f"contributions: correlation {correlation(mine, twins).mean():.2f}")
print(f"their sums: {mine.sum((1, 2)).mean():.1f} and {twins.sum((1, 2)).mean():.1f}")

# %% [markdown]
# The evidence for the scene's class is gone, and the attention stays much as it was. The contributions do not: what spoke for
# the class now speaks against it.
#
# ### Swap attention and values
#
# Take the attention of the scene and the features of its twin, and the other way round. **Predict** whom the answer
# follows.

# %%
rows = {}
for attention_of, weights in (("scene", a), ("twin", twin_a)):
    for values_of, F in (("scene", test_F), ("twin", twin_F)):
        guess = logits_of(F, weights, head).argmax(1)
        found = [
            (guess == labels).float().mean().item() for labels in (scenes.labels, other_labels)
        ]
        rows[f"attention of the {attention_of}, values of the {values_of}"] = found
swaps = DataFrame.from_dict(rows, "index", columns=["the scene's class", "the twin's class"])
swaps.round(3)

# %% [markdown]
# The answer follows the values. The attention of a picture of another class does as well, as long as it looks at the same
# places, which a twin's does.
#
# The map is not worthless. It is *exact* about one thing: the weight with which each place enters the sum. What is dark hardly
# enters. And the evidence for a class is one multiplication further on. Only do not call the first the second. (That a place
# stands for its own pixels is one more claim; lesson 02 has shown what is wrong with it.)

# %% tags=["test", "remove-cell"]
assert alike > 0.6 > 0.2 > correlation(mine, twins).mean()
assert mine.sum((1, 2)).mean() > 5 > 0 > twins.sum((1, 2)).mean()
assert swaps.iloc[[0, 2], 0].min() > 0.95 and swaps.iloc[[1, 3], 1].min() > 0.95

# %% [markdown]
# ## Explore: from the average to the maximum
#
# Multiply the learned query by a number. At 0 it is GAP, at 1 what was learned; a large one gives nearly all weight to the
# place with the highest score, which is max-pooling by the query. You see the attention, the contributions to the class you
# ask for, and the probabilities. The first ten scenes are those whose true class loses most when the query is ten times as
# long; the other ten were not chosen. Four things to find out:
#
# 1. At 0 the attention is even. What is the map of contributions then called? (Lesson 00 has it.)
# 2. Go up slowly. Does the probability of the true class always grow?
# 3. Change the class you ask for. Which of the two maps changes?
# 4. At the far end: does the one place that is left lie on the evidence?

# %%
from xailib.widgets import Explorer, choice, slider


def true_probability(strength):
    p = logits_of(test_F, attend(test_F, strength * query), head).softmax(1)
    return p.gather(1, scenes.labels[:, None])[:, 0]


fall = true_probability(1) - true_probability(10)
numbers = [*fall.topk(10).indices.tolist(), *range(10)]


# %%
def compute(scene, strength):
    F = test_F[[numbers[scene]]]
    a = attend(F, strength * query)
    p = logits_of(F, a, head).softmax(1)[0]
    return a, a[0, :, None] * (F[0] @ head.weight.T), p


def draw(result, scene, asked):
    a, added, p = result
    number, c = numbers[scene], class_labels.index(asked)
    share = (a[0] * on_evidence[number]).sum()
    titles = [
        f"attention: {share:.0%} on the evidence",
        f"contributions to {asked}: p = {p[c]:.2f}",
    ]
    said = ", ".join(f"{name} {value:.2f}" for name, value in zip(class_labels, p, strict=True))
    alt = f"A {class_labels[scenes.labels[number]]}: {share:.0%} of the attention on it. {said}."
    maps = [a.view(16, 16), added[:, c].view(16, 16)]
    twice = [number, number]
    boxes = [scenes.boxes[n] for n in twice]
    return plot.gallery(scenes.images[twice], maps, titles=titles, boxes=boxes, alt=alt)


# %%
Explorer(
    compute,
    draw,
    scene=slider(0, 19, 0, 1, "scene"),
    strength=slider(0.0, 10.0, 1.0, 0.25, "query, times"),
    asked=choice(class_labels, "class asked for"),
)

# %% tags=["test", "remove-cell"]
assert fall.max() > 0.3 and fall.median() < 0.01
n = numbers[0]
sharp, soft = ((attend(test_F[[n]], s * query)[0] * on_evidence[n]).sum() for s in (10, 1))
assert sharp > soft

# %% [markdown]
# At 0 the contributions are $\frac{1}{256}\, w_c \cdot F_p$: the class activation map of GAP, up to its scale. Going up, the
# attention draws together, mostly on the evidence. In most scenes the probability of the true class, already high, stays high. In
# the first scene it falls, although *more* of the attention lies on the right sticker than before: a few places must do, and
# they speak for another class. The class asked for
# changes the contributions and the probability above them, never the attention.
#
# ## To remember
#
# 1. Convolution pays **per place**, attention **per pair of places**. So hybrids look near while places are many, and far
#    when few are left.
# 2. Attention pooling is an average with learned weights. With $q = 0$ it **is** GAP, and its scores $F q$ are a CAM that
#    belongs to **no class**.
# 3. The attention says **where** the network reads. **What** a place adds is $a_p\, (w_c \cdot F_p)$, and only that sums to
#    the logit.
#
# **Now you**: [the exercise of this lesson](../exercises/04_hybrids.ipynb), 50 minutes. Lesson 14 comes back to attention
# pooling, with a query that travels through all stages of a network.
#
# ## Further reading
#
# - B. Graham, A. El-Nouby, H. Touvron et al., *LeViT: a vision transformer in ConvNet's clothing for faster inference*,
#   ICCV 2021.
# - Z. Peng, W. Huang, S. Gu et al., *Conformer: local features coupling global representations for visual recognition*,
#   ICCV 2021.
# - S. d'Ascoli, H. Touvron, M. Leavitt, A. Morcos, G. Biroli and L. Sagun, *ConViT: improving vision transformers with soft
#   convolutional inductive biases*, ICML 2021.
# - T. Xiao, M. Singh, E. Mintun, T. Darrell, P. Dollár and R. Girshick, *Early convolutions help transformers see better*,
#   NeurIPS 2021.
# - H. Touvron, M. Cord, A. El-Nouby et al., *Augmenting convolutional networks with attention-based aggregation*, 2021
#   (PatchConvNet).
# - S. Jain and B. C. Wallace, *Attention is not explanation*, NAACL 2019; S. Wiegreffe and Y. Pinter, *Attention is not not
#   explanation*, EMNLP 2019: the same dispute, over text.
# - In the library: [the transformer](../xailib/models/vit.py), [attention pooling](../xailib/models/ca_stream.py).
