# %% [markdown]
# # What do the channel weights decide?
#
# | | |
# |---|---|
# | You will | write eight class activation maps as one formula; prove when they are the same map, and measure where they part; invent one of your own; and catch an inverted and a blank map |
# | You need | lesson 00, and the gradient of a logit with respect to a layer |
# | Minutes | 90 |
# | Run time | quick 40 s · laptop 90 s · full 90 s |
# | Memory | 2 GB |
# | Data | photographs that come with scikit-image, scikit-learn and matplotlib |
# | Network | no |
#
# Run the cells from top to bottom with Shift + Enter, and answer each **Predict** before you run the cell below it.

# %% [markdown]
# ## One formula
#
# A layer of a convolutional network shows $K$ **channels**: small pictures $A_k$ of $h \times w$ cells, each bright where
# its own pattern is. A **class activation map** (CAM) for the class $c$ adds them up,
#
# $$S = \mathrm{ReLU}\Big(\sum_k w_k A_k\Big) ,$$
#
# and all methods of the family agree up to here. They differ in the weights $w$ only. So the question of this lesson is
# what the weights can decide, and what they cannot.
#
# Take the smallest case that has something to decide: two channels of 2 x 2 cells. Above them, the network averages each
# channel (**global average pooling**, GAP) and one linear layer with weights $W = (2, -1)$ and bias 0.5 makes the logit:
# channel 1 speaks for the class, channel 2 against it.

# %%
import torch
import torch.nn.functional as F
from pandas import DataFrame

from xailib import heatmap, models, plot
from xailib.data import photos

A = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [1.0, 0.0]]]])  # [1, 2, 2, 2]
W, b = torch.tensor([2.0, -1.0]), 0.5


def logit(A):
    return A.mean((2, 3)) @ W + b


y = logit(A)
print(f"y = {y.item()}")

# %% [markdown]
# **Predict**, with a pencil: the gradient $G = \partial y / \partial A$ has eight numbers. How many different ones?
#
# The first six methods need nothing but $A$, $G$ and $W$. Each is one line: the head's weights; the mean of the gradient;
# its mean weighted by the activations; the gradient at every place; the same if positive; and, for Grad-CAM++, a sum of
# positive gradients that counts each the less, the more the channel shows.

# %%
(G,) = torch.autograd.grad(logit(A.requires_grad_()), A)
A = A.detach()
total = A.sum((2, 3), keepdim=True)

by_hand = {
    "classic_cam": W[None, :, None, None],  # Zhou et al. 2016
    "gradcam": G.mean((2, 3), keepdim=True),  # Selvaraju et al. 2017
    "xgradcam": (A * G).sum((2, 3), keepdim=True) / total,  # Fu et al. 2020
    "hirescam": G,  # Draelos and Carin 2020
    "layercam": G.relu(),  # Jiang et al. 2021
    "gradcam_pp": (G.relu() / (2 + total * G)).sum((2, 3), keepdim=True),  # Chattopadhay 2018
}
print(G)

# %% [markdown]
# Two different numbers, one for each channel: the average does not care at which cell a channel grows, so all its cells get
# the same gradient $W_k / hw$. Remember this; the next section lives on it.
#
# The other two ask the network and need no gradient. **Ablation-CAM** (Desai and Ramaswamy 2020) takes a channel away and
# looks how far the logit falls, as a share of its size. **Score-CAM** (Wang et al. 2020) shows the network the *image*
# through each channel, scaled to [0, 1] and used as a mask, and gives the channels the softmax of the logits. In our small
# case the activations are four times the pixels, so masking the pixels is masking the activations.

# %%
one_missing = 1 - torch.eye(2)[:, :, None, None]  # two copies of A, each without one channel
drops = (y - logit(A * one_missing)) / y.abs()
by_hand["ablationcam"] = drops.detach()[None, :, None, None]

masks = heatmap.normalize(A[0])  # each channel from 0 to 1
by_hand["scorecam"] = logit(A * masks[:, None]).softmax(0).detach()[None, :, None, None]

# %%
maps_by_hand = {name: (w * A).sum(1) for name, w in by_hand.items()}
rows = {
    name: [*w[0, :, 0, 0].tolist(), *heatmap.normalize(maps_by_hand[name]).flatten().tolist()]
    for name, w in by_hand.items()
}
cells = ["upper left", "upper right", "lower left", "lower right"]
DataFrame.from_dict(rows, "index", columns=["weight 1", "weight 2", *cells]).round(3)

# %% [markdown]
# Left the weights, right the map, scaled to [0, 1]. The weights of the first four look different, for CAM does not divide by the
# number of cells; the *maps* are the same. Layer-CAM and Grad-CAM++ are a second group: the voice
# against the class is gone. Ablation-CAM weighs it less than the others do, because channel 2 is faint: taking away a
# channel that hardly speaks changes little. Score-CAM cannot be negative at all.
#
# Look at the maps below: only two cells change, those where channel 2 is active. The weights decide how much of it to take
# away. Nothing else was there to decide.

# %%
shown = {
    "channel 1, a quarter of it": A[0, 0] / 4,
    "channel 2": A[0, 1],
    "CAM, Grad-CAM, XGrad-CAM, HiRes-CAM": heatmap.normalize(maps_by_hand["gradcam"])[0],
    "Ablation-CAM": heatmap.normalize(maps_by_hand["ablationcam"])[0],
    "Layer-CAM and Grad-CAM++": heatmap.normalize(maps_by_hand["layercam"])[0],
}
alt = "Five squares of 2 x 2 cells. All three maps look like channel 1; the two cells where channel 2 is active "
alt += "are darkest in the first map and brightest in the last."
plot.gallery(
    torch.full((5, 3, 2, 2), 0.5),
    list(shown.values()),
    titles=list(shown),
    columns=5,
    limits=(0, 1),
    opacity=0.9,
    alt=alt,
)

# %% [markdown]
# In the library a method is [a function of two to six lines](../xailib/explain/cam.py) that returns the weights, and
# `WEIGHTS` lists them all. The same two channels as a network of PyTorch must give the same maps.

# %%
from torch import nn

from xailib.explain import WEIGHTS, cam

net = nn.Sequential(
    nn.Conv2d(2, 2, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 1)
)
net[0].weight.data = 4 * torch.eye(2)[..., None, None]  # activations are 4 times the pixels
net[3].weight.data, net[3].bias.data = W[None], torch.tensor([b])

first = torch.tensor([0])
for name, expected in maps_by_hand.items():
    found = cam(net.eval(), A / 4, first, layer="0", weights=WEIGHTS[name], relu=False)
    torch.testing.assert_close(found, expected)

# %% [markdown]
# ## Why most of them are one map
#
# Let the network above the layer be GAP and one linear layer, $y_c = \sum_k W_{ck} \bar A_k + b_c$ with the mean
# $\bar A_k$ of channel $k$. Then every cell of channel $k$ has the gradient $W_{ck}/hw$, whatever the image. Put it in:
#
# | method | weight $w_k$ in general | above GAP + linear |
# |---|---|---|
# | CAM | $W_{ck}$ | $W_{ck}$ |
# | Grad-CAM | $\frac{1}{hw} \sum_{ij} G_{k,ij}$ | $W_{ck} / hw$ |
# | XGrad-CAM, also called Axiom-CAM | $\sum_{ij} A_{k,ij} G_{k,ij} / \sum_{ij} A_{k,ij}$ | $W_{ck} / hw$ |
# | HiRes-CAM | $G_{k,ij}$ | $W_{ck} / hw$ |
# | Layer-CAM | $\mathrm{ReLU}(G_{k,ij})$ | $\mathrm{ReLU}(W_{ck}) / hw$ |
# | Grad-CAM++ | $\sum_{ij} \alpha_{k,ij} \mathrm{ReLU}(G_{k,ij})$, $\ \alpha = G^2 / (2 G^2 + \sum_{ab} A_{k,ab}\, G^3)$ | $\mathrm{ReLU}(W_{ck}) / (2 + W_{ck} \bar A_k)$ |
# | Ablation-CAM | $(y_c - y_c \text{ without channel } k) / \lvert y_c \rvert$ | $W_{ck} \bar A_k / \lvert y_c \rvert$ |
# | Score-CAM | $\mathrm{softmax}_k\, y_c(\text{image through } A_k)$ | no shorter |
#
# A factor that all channels share vanishes when the map is scaled. So four of the eight are one map, by proof and for every
# image, and their names cannot be told apart there. Grad-CAM++ is all but Layer-CAM, as long as $W_{ck} \bar A_k$ is
# small beside 2. And the map of CAM has a meaning that can be checked: **its mean is the logit without its bias**.
#
# Most networks since ResNet end in this way, and so does ours. `collect` runs it once and keeps what it saw; `combine`
# makes a map of that. **Predict**: which of the seven maps will you be able to tell apart by eye?

# %%
from xailib.explain import collect, combine

model = models.load("efficientnet_lite0")
class_names = models.class_names()
photo = photos.load("coffee")
images = photo.image[None]
target = torch.tensor([class_names.index("espresso")])

seen = collect(model, images, target, layer="bn2")  # 1280 channels of 7 x 7 cells, below the GAP
last = {name: combine(seen, w) for name, w in WEIGHTS.items() if name != "scorecam"}

# %%
spelled = dict(classic_cam="CAM", gradcam="Grad-CAM", gradcam_pp="Grad-CAM++", xgradcam="XGrad-CAM")
spelled |= dict(layercam="Layer-CAM", hirescam="HiRes-CAM", scorecam="Score-CAM")
spelled["ablationcam"] = "Ablation-CAM"
plot.gallery(
    images.expand(8, -1, -1, -1),
    [None, *(heat[0] for heat in last.values())],
    titles=["espresso", *map(spelled.get, last)],
    alt="A cup of coffee and seven maps of it that can hardly be told apart: all bright on the coffee, dark on the table.",
)

# %% [markdown]
# Seven names, and one picture; even the two groups differ too little to see. (Score-CAM is missing because
# it would have to run the network 1280 times here. It comes at a layer with fewer channels.)
# The numbers below the maps tell what the colours hide: the scales differ fifty-fold. Now the proof, on the real network:

# %%
from xailib.metrics import correlation

for name in ("gradcam", "xgradcam", "hirescam"):
    torch.testing.assert_close(last[name], last["classic_cam"] / 49)
contributions = (WEIGHTS["gradcam"](seen) * seen.A).sum(1)  # [1, 7, 7], signed
bias = model.net.classifier.bias[target]
torch.testing.assert_close(contributions.sum()[None], seen.scores - bias)

agreement_last = {name: correlation(heat, last["gradcam"]).item() for name, heat in last.items()}
DataFrame({"correlation with Grad-CAM": agreement_last}).round(4)

# %% tags=["test", "remove-cell"]
assert min(agreement_last.values()) > 0.98
assert max(heat.max() for heat in last.values()) > 30 * last["gradcam"].max()

# %% [markdown]
# This is why two rows of the thesis must be equal. Its table 2.1 measures ResNet-50, which ends in GAP and a linear
# layer, and VGG-16, which ends in three fully connected layers (AD is a drop of probability, less is better; AI an
# increase, more is better; lesson 10 explains them):
#
# | the thesis reports, table 2.1 | ResNet-50 AD | AI | VGG-16 AD | AI |
# |---|---|---|---|---|
# | Grad-CAM | 12.2 | 44.4 | 14.2 | 40.6 |
# | XGrad-CAM | 12.2 | 44.4 | 13.8 | 41.2 |
# | Grad-CAM++ | 12.9 | 42.1 | 17.1 | 33.4 |
# | Layer-CAM | 15.6 | 38.8 | 48.9 | 13.5 |
#
# The first two rows agree where the theorem holds, and only there. In table 4.1 the method is called Axiom-CAM: on ResNet-18 it
# has AD 30.16, AG 15.23, AI 29.98, and Grad-CAM 30.16, 15.23, 29.99; the last digit is rounding. On MobileNet-V2 they agree
# as well, but for one number: deletion is 14.34 for the one and 15.27 for the other. Equal maps cannot be deleted with different
# results, so one of the two is probably a misprint, and you see it without having run anything. Layer-CAM, on the other hand, should come close to Grad-CAM++ on
# ResNet-50, and its row does not; the thesis describes it as an average over several layers, which would explain this, but
# the table alone cannot prove it.

# %% [markdown]
# ## Many classes from one look
#
# `towards` looks at the same forward pass from other classes; `gradient` runs backward once for each class, and only
# through what lies above the layer. Count the forward passes for five methods and five classes:

# %%
calls = []
counter = model.register_forward_hook(lambda *_: calls.append(1))
asked = ["espresso", "coffee mug", "golden retriever", "daisy", "palace"]
gradient_methods = ["gradcam", "xgradcam", "hirescam", "layercam", "gradcam_pp"]
one_look = collect(model, images, target, layer="bn2")
views = [one_look.towards(torch.tensor([class_names.index(name)])) for name in asked]
answers = {m: torch.cat([combine(view, WEIGHTS[m]) for view in views]) for m in gradient_methods}
counter.remove()
print(f"{len(answers) * len(asked)} maps from {len(calls)} forward pass")

# %% tags=["test", "remove-cell"]
assert len(calls) == 1

# %% [markdown]
# ## Where it misleads: weights without a voice against
#
# The seven maps for *espresso* were one picture. **Predict**: will Grad-CAM and Layer-CAM also agree on where the *golden
# retriever* is, which this photograph does not show?

# %%
pair = torch.cat([answers["gradcam"][[0, 2]], answers["layercam"][[0, 2]]])
plot.gallery(
    images.expand(4, -1, -1, -1),
    pair,
    titles=["Grad-CAM: espresso", "golden retriever", "Layer-CAM: espresso", "golden retriever"],
    alt="Grad-CAM moves from the coffee to two spots by the table's edge; Layer-CAM shows the coffee for both classes.",
)

# %%
similar = {
    name: [correlation(heat[:1], heat[i : i + 1]).item() for i in range(1, len(asked))]
    for name, heat in answers.items()
}
DataFrame.from_dict(similar, "index", columns=asked[1:]).round(2)

# %% [markdown]
# Correlation of each class's map with that of *espresso*. Grad-CAM, XGrad-CAM and HiRes-CAM turn against it for the
# retriever. Layer-CAM and Grad-CAM++ do not: the cup is their answer to every question. Is it by the choice of questions?
# Here the closed forms let us ask all 1000 classes at once:

# %%
head = model.net.classifier.weight.detach()  # [1000, 1280]
alike = {}
for name, W_all in {"Grad-CAM": head, "Layer-CAM": head.relu()}.items():
    every = torch.einsum("ck,khw->chw", W_all, seen.A[0]).relu()
    alike[name] = correlation(every, every[target].expand_as(every))
    low, middle = alike[name].min(), alike[name].median()
    print(f"{name:9} correlation with espresso: median {middle:.2f}, lowest {low:.2f}")

# %% [markdown]
# Without the negative weights, what remains is a sum of all channels with *some* positive weight, and that shows mostly
# where the network is active at all. What told the classes apart was the balance between for and against.
#
# **How to tell**: ask for a class that is not there. A map that stays the same explains the photograph, and not the
# answer. (Layer-CAM was made for earlier layers, where the sign of the gradient changes from place to place; there it is
# another method, as you will see.)

# %% tags=["test", "remove-cell"]
assert min(similar["layercam"] + similar["gradcam_pp"]) > 0.9 and similar["gradcam"][1] < 0
assert alike["Layer-CAM"].median() > 0.9 and alike["Grad-CAM"].median() < 0.5

# %% [markdown]
# ## One layer of the network further down
#
# The proof needed GAP and a linear layer right above. Take `blocks.4`, some layers earlier, with 112 channels of 14 x 14
# cells. A cell now matters by where it lies and what is around it, so $G$ varies over a channel, and every method
# does something else with that. By hand, for one channel:

# %%
A1 = torch.tensor([[1.0, 0.5], [0.0, 1.0]]).double()
G1 = torch.tensor([[4.0, -2.0], [1.0, 1.0]]).double()
print("Grad-CAM     ", (G1.mean() * A1).tolist())
print("XGrad-CAM    ", ((A1 * G1).sum() / A1.sum() * A1).tolist())
print("HiRes-CAM    ", (G1 * A1).tolist())

# %% [markdown]
# The mean gradient 1 hides a 4 and a -2. Grad-CAM lets the channel speak *for* the class at the upper right, where the
# gradient says *against*; HiRes-CAM does not. On the photograph, with Ablation-CAM and Score-CAM, which runs the network
# once per channel, 112 times, and takes some seconds:

# %%
lower = collect(model, images, target, layer="blocks.4")
earlier = {name: combine(lower, w) for name, w in WEIGHTS.items() if name != "classic_cam"}

# %%
plot.gallery(
    images.expand(8, -1, -1, -1),
    [None, *(heat[0] for heat in earlier.values())],
    titles=["espresso, 14 x 14 cells", *map(spelled.get, earlier)],
    alt="Seven maps that disagree: Grad-CAM has the corners of the table, HiRes-CAM and Layer-CAM the coffee, Score-CAM "
    "and Ablation-CAM the cup and its rim.",
)

# %%
agreement = {name: correlation(heat, earlier["gradcam"]).item() for name, heat in earlier.items()}
table = DataFrame({"bn2": agreement_last, "blocks.4": agreement})
print(f"of the activations of blocks.4, {(lower.A < 0).float().mean():.0%} are negative")
for name in ("gradcam", "xgradcam"):
    w = WEIGHTS[name](lower).abs()
    print(
        f"{spelled[name]:9} at blocks.4: the largest weight is {w.max() / w.median():.0f} medians"
    )
table.round(2)

# %% [markdown]
# The correlation with Grad-CAM at both layers: the family has fallen apart. Grad-CAM names the corners of the
# table, HiRes-CAM and Layer-CAM the coffee. They cannot all be right.
#
# Look at the lines above the table, too. XGrad-CAM divides by the sum of a channel, and Grad-CAM++ by $2 + \sum A \cdot G$.
# Both were thought of for activations behind a ReLU, whose sums are positive. This network's blocks end without one: a
# sum may come close to zero or below, and then a single channel gets a huge weight by accident.

# %% tags=["test", "remove-cell"]
assert max(agreement[name] for name in ("xgradcam", "hirescam", "layercam", "ablationcam")) < 0.3
assert (lower.A < 0).float().mean() > 0.3 and not (seen.A < 0).any()

# %% [markdown]
# ## Several objects, and a disputed denominator
#
# Grad-CAM++ was made for pictures with several objects of a class: a small one should not fade beside a large
# one. By hand: a large object lights up three cells of channel 1, a small one a single cell of channel 2, and only active
# cells have a gradient.

# %%
objects = torch.tensor([[[1.0, 1.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]])
g = objects / 4
size = objects.sum((1, 2), keepdim=True)
brightness = {
    "Grad-CAM": g.mean((1, 2)),
    "Grad-CAM++": (g.relu() / (2 + size * g)).sum((1, 2)),
    "XGrad-CAM, HiRes-CAM": (objects * g).sum((1, 2)) / size.flatten(),
}
for name, (large, small) in brightness.items():
    print(f"{name:21} large {large:.3f}, small {small:.3f}: {large / small:.2f} times brighter")

# %% [markdown]
# Grad-CAM makes the small object three times fainter, Grad-CAM++ a little less so, XGrad-CAM and HiRes-CAM not at all.
# And where GAP and a linear layer are above, $G$ is *not* zero at inactive cells, all give
# both the same brightness if $W$ does, and there is nothing to repair.
#
# Which Grad-CAM++ this is must be said, for there are two. The paper (eq. 19) multiplies $G^3_{ij}$ at each place with the *sum of
# the activations*; some public code sums $A \cdot G^3$ over the places instead. For constant $G$ that is the same. For the
# one channel from above it is not:

# %%
sum_of_A = G1**2 / (2 * G1**2 + A1.sum() * G1**3)
sum_of_products = G1**2 / (2 * G1**2 + (A1 * G1**3).sum())
for name, alpha in {"paper": sum_of_A, "some code": sum_of_products}.items():
    print(f"{name:10} w = {(alpha * G1.relu()).sum():.4f}")

# %% [markdown]
# It is not the only place where paper, code and thesis part. What `xailib` does is in the last column:
#
# | method | who disagrees | here |
# |---|---|---|
# | Grad-CAM++ | the thesis' eq. 1.5 puts the product with ReLU(G) outside the sum over places, so that $w_k$ would be a map, and a mean where the paper has a sum | the paper's eq. 19 |
# | Layer-CAM | thesis: the average of maps of several layers; paper: one layer, and for several their maximum | one layer; `layercam_fusion` for several |
# | Ablation-CAM | thesis, in words: all *other* channels are set to zero; its eq. 1.9 and the paper: channel $k$ is | channel $k$ is |
# | Ablation-CAM | paper and thesis divide by $y_c$, which turns the map over where the logit is negative | divided by $\lvert y_c \rvert$ |
# | Score-CAM | the logit of a baseline image is subtracted, or another one, or none | none: the softmax over $k$ drops what all channels share |
# | Score-CAM | paper: softmax of logits; its authors' code: probabilities as they are | the paper's; `score_cam="prob_nosoftmax"` |

# %% tags=["test", "remove-cell"]
large, small = brightness["Grad-CAM++"]
assert 1 < large / small < 3
u = torch.tensor([2.5, -1.25])
torch.testing.assert_close((u - 7).softmax(0), u.softmax(0))

# %% [markdown]
# ## Sharper, but does it mean less?
#
# Lesson 00 said of earlier layers that their maps are sharper and mean less. That needs a referee who does not know the
# maps: hide a square of 32 x 32 pixels in the picture's mean colour, note how far the logit falls, and so on for all 49 squares (occlusion;
# Zeiler and Fergus 2014, lesson 07). A map that says where the evidence is should be bright where hiding hurts. Its
# average in the 49 squares, correlated with the fall, gives one number per photograph, at every layer on the same grid.
#
# The referee is a measurement with faults of its own, as lesson 00 saw with the cat: a square of one colour is an odd
# thing to meet. Read differences between maps, and not the numbers as such.

# %%
from dataclasses import dataclass

from xailib.course import choose
from xailib.explain import centre_map, collect_layers, edge_map, occlusion


@dataclass(frozen=True)
class Config:
    names: tuple | None = choose(quick=("coffee", "rocket", "motorcycle"), laptop=None, full=None)


some = list(Config().names) if Config().names else None  # None: all with a label
batch, labels, boxes = photos.batch(some)
falls = occlusion(model, batch, labels, window=32, stride=32)
referee = F.avg_pool2d(falls, 32).relu()  # [b, 7, 7]: where hiding hurts
print(f"{len(batch)} photographs")

# %% [markdown]
# **Predict** three curves from the first block (left) to the last layer (right): Grad-CAM, Layer-CAM and HiRes-CAM. The
# dotted line is a hill in the middle of the picture, which has never seen a network.

# %%
layers = [f"blocks.{i}" for i in range(7)] + ["bn2"]
evidence = collect_layers(model, batch, labels, layers=layers)  # one forward, one backward pass


def verdict(maps):
    return correlation(F.avg_pool2d(maps, 32), referee)  # one number per photograph


verdicts = {m: [verdict(combine(e, WEIGHTS[m])) for e in evidence] for m in gradient_methods}
means = {m: [v.mean().item() for v in found] for m, found in verdicts.items()}
centre = verdict(centre_map(model, batch, labels)).mean().item()

# %%
plot.curve(
    range(len(layers)),
    {
        "Grad-CAM": means["gradcam"],
        "Layer-CAM": means["layercam"],
        "HiRes-CAM": means["hirescam"],
        "a hill in the centre": [centre] * len(layers),
    },
    xlabel="layer: 0 to 6 are blocks (cells of 2, 4, 8, 16, 16, 32, 32 pixels), 7 is bn2",
    ylabel="correlation with hiding",
    alt="Three curves that meet at the last layer. Grad-CAM lies far below the others over blocks 2, 3 and 4, and below "
    "the line of the hill; HiRes-CAM at block 2 is as high as at the end.",
)

# %%
shape = [
    f"{layer}, {e.A.shape[2]} x {e.A.shape[3]}" for layer, e in zip(layers, evidence, strict=True)
]
DataFrame(means, index=shape).round(2)

# %% [markdown]
# So lesson 00's sentence was half of the truth. With **one weight for each channel** (Grad-CAM, XGrad-CAM, Grad-CAM++) a map
# means less as soon as it leaves the last layers, down to nothing that a hill in the centre could not do better. With **one
# weight for each place** (HiRes-CAM, Layer-CAM) most of the meaning is kept, though not at every layer. What the step down costs
# depends on the weights: an early channel is an edge or a texture that speaks for the class here and against it there,
# and one number cannot say both.
#
# How sure is that? Count photographs, not decimals:

# %%
at = layers.index("blocks.4")
wins = (verdicts["hirescam"][at] > verdicts["gradcam"][at]).sum().item()
print(f"blocks.4: HiRes-CAM agrees more with hiding on {wins} of {len(batch)} photographs")

# %% tags=["test", "remove-cell"]
grad, hires = means["gradcam"], means["hirescam"]
assert grad[7] - grad[4] > 0.2 and hires[4] - grad[4] > 0.2
assert hires[2] > grad[2] + 0.2 and hires[2] > hires[7] - 0.05
assert max(grad[2:5]) < centre and wins > len(batch) / 2
assert abs(grad[7] - hires[7]) < 1e-3

# %% [markdown]
# The boxes drawn by hand are the other referee that lesson 00 used: what share of the heat lies in them?

# %%
from xailib.metrics import box_masks, energy_pointing_game


def inside(maps):
    return energy_pointing_game(heatmap.normalize(maps, "max"), boxes).mean().item()


in_boxes = {
    f"{spelled[m]} at {layers[i]}": inside(combine(evidence[i], WEIGHTS[m]))
    for m in ("gradcam", "hirescam")
    for i in (2, 4, 7)
}
in_boxes["the hill in the centre"] = inside(centre_map(model, batch, labels))
in_boxes["edges of the photograph"] = inside(edge_map(model, batch, labels))
area = 100 * box_masks(boxes, batch[:, 0]).float().mean().item()
plot.bars(
    in_boxes,
    xlabel="heat inside the boxes, in percent",
    title=f"The boxes cover {area:.0f} % of the pictures",
    alt="Bars of heat in the boxes; the longest belongs to the hill in the centre, which knows no network: "
    + ", ".join(f"{name} {value:.0f} %" for name, value in in_boxes.items()),
)

# %% [markdown]
# The hill wins, and it knows nothing about the network: photographers put things in the middle. A box says where a person
# sees the object. It cannot tell whether a map tells the truth about the network, and lesson 12 returns to this.

# %% tags=["test", "remove-cell"]
assert max(in_boxes, key=in_boxes.get) == "the hill in the centre"

# %% [markdown]
# What finer cells are good for shows the rocket, which at 7 x 7 was thinner than a cell. **Predict** which of these six has the
# most heat inside the box.

# %%
rocket = photos.load("rocket")
missile = torch.tensor([rocket.label])
shown = ["blocks.2", "blocks.4", "bn2"]
looks = collect_layers(model, rocket.image[None], missile, layers=shown)
heats = [combine(look, WEIGHTS[m])[0] for m in ("gradcam", "hirescam") for look in looks]
shares = [
    energy_pointing_game(heatmap.normalize(h[None], "max"), [rocket.boxes]).item() for h in heats
]

# %%
titles = [
    f"{layer}: {share:.0f} % in the box" for layer, share in zip(shown * 2, shares, strict=True)
]
plot.gallery(
    [rocket.image] * 6,
    heats,
    columns=3,
    titles=titles,
    row_titles=["Grad-CAM", "HiRes-CAM"],
    boxes=[rocket.boxes] * 6,
    alt=f"A thin rocket in a box; {'; '.join(titles)}. At bn2 a wide blob; HiRes-CAM at blocks.2 marks its tip.",
)

# %% [markdown]
# At 28 x 28 cells HiRes-CAM can say *the tip of the rocket*; at 7 x 7 no weights can, for the activations do not hold it.
# **Weights choose among what a layer shows; they cannot show more.**
#
# **Layer-CAM fusion** (Jiang et al., TIP 2021) therefore puts layers together: the maximum of the maps, each scaled to 1, the
# early ones through a tanh that lifts faint cells. The thesis describes a mean instead:

# %%
from xailib.explain import layercam_fusion

rocket_batch = rocket.image[None]
fused = [
    layercam_fusion(model, rocket_batch, missile, layers=shown, fusion=how)[0]
    for how in ("max", "mean")
]
plot.gallery(
    [rocket.image] * 5,
    [*(combine(look, WEIGHTS["layercam"])[0] for look in looks), *fused],
    columns=5,
    titles=[*shown, "their maximum", "their mean"],
    boxes=[rocket.boxes] * 5,
    alt="Layer-CAM at three layers, and fused: the maximum looks like the wide blob of bn2, the mean shows the rocket's tip.",
)

# %% [markdown]
# The maximum is hardly more than the blob of the last layer; the mean keeps the tip. A choice that two texts make differently
# without a word changes the picture more than the choice between four of the methods.

# %% tags=["test", "remove-cell"]
assert shares[3] > max(shares[2], shares[5]) + 5
blob = combine(looks[2], WEIGHTS["layercam"])[0][None]
assert correlation(fused[0][None], blob) > 0.9 > correlation(fused[1][None], blob)

# %% [markdown]
# ## What they cost
#
# With one forward and one backward pass above the layer, gradient methods are almost free. The benchmark of this
# repository compared them with public libraries, on the same network, layer and image; one unit is one forward pass:

# %%
import json

from pandas import read_csv

from xailib import course

benchmark = read_csv(course.ROOT / "results" / "benchmark_cam.csv")
print(json.loads((course.ROOT / "results" / "benchmark_cam.json").read_text())["machine"])
costs = benchmark[
    benchmark.model.eq("efficientnet_lite0") & ~benchmark.entry.str.contains("Opti|opti")
]
costs = costs.set_index("entry")[["forwards", "seconds"]].sort_values("forwards").round(2)
costs

# %% [markdown]
# Score-CAM has to run the network for every channel. Ablation-CAM only seems to: without a channel, the layers *below* do
# not change, so their part of the run can be kept, and only the head is run 1280 times. A library that runs all of
# the network pays more than a thousand times as much for the same map. The thesis' table 2.1 reports the same order of magnitude:
# 0.03 s for Grad-CAM, 15.22 s for Score-CAM and 18.26 s for Ablation-CAM on ResNet-50.

# %% tags=["test", "remove-cell"]
forwards = costs.forwards
assert forwards["all five together"] < 1.5 and forwards["ablationcam"] < 3
assert forwards["scorecam"] > 300
assert forwards["Ablation-CAM, pytorch-grad-cam"] > 1000 * forwards["ablationcam"]

# %% [markdown]
# ## Invent your own
#
# Weights are a function of what was seen, so a new method is one lambda. Take the table of closed forms: Ablation-CAM above
# GAP and a linear layer is $W_{ck} \bar A_k$ over something that all channels share. The mean of $A \cdot G$ is that, too:

# %%
invented = {
    "mean of A times G": lambda e: (e.A * e.G).mean((2, 3), keepdim=True),
    "yours": lambda e: e.G.sign(),
    "to beat: HiRes-CAM": WEIGHTS["hirescam"],
}
mine = cam(model, images, target, layer="bn2", weights=invented["mean of A times G"])
same_as = heatmap.normalize(last["ablationcam"])
torch.testing.assert_close(heatmap.normalize(mine), same_as, atol=1e-3, rtol=0)

judged = {
    name: {layers[i]: verdict(combine(evidence[i], w)).mean().item() for i in (7, 4, 2)}
    for name, w in invented.items()
}
DataFrame.from_dict(judged, "index").round(2)  # agreement with hiding

# %% [markdown]
# Ablation-CAM's map, from one backward pass and without a single ablation. A new name for it would be easy to publish;
# the table of closed forms says that it is an old one, and the referee says what it is worth at other layers. **Change
# the row "yours"**: the largest gradient of a channel, `e.G.amax((2, 3), keepdim=True)`, or no weights at all,
# `torch.ones_like(e.A)`. Can you beat HiRes-CAM at `blocks.2`?

# %% [markdown]
# ## Misread: the inverted map and the blank one
#
# Two mistakes are made again and again. Someone asks the *loss* for its gradient, as in training, and not the logit: the loss
# falls when the logit grows, so every sign turns. And someone leaves out the ReLU and scales the map to [0, 1], after which
# *least against* looks like *most for*. **Predict** how the three maps on the right will look, for *espresso* and then for
# *shower curtain*, which is not in the picture.


# %%
def loss_gradient(e):
    return e.gradient(F.cross_entropy(e.logits, e.targets, reduction="none"))


curtain = seen.towards(torch.tensor([class_names.index("shower curtain")]))
gradcam = WEIGHTS["gradcam"]
signed = {
    "espresso, as it should be": (gradcam(seen) * seen.A).sum(1),
    "gradient of the loss": (loss_gradient(seen) * seen.A).sum(1),
    "the same, with ReLU": (loss_gradient(seen) * seen.A).sum(1).relu(),
    "shower curtain, no ReLU": (gradcam(curtain) * curtain.A).sum(1),
}

# %%
scaled = [heatmap.normalize(raw)[0] for raw in signed.values()]
titles = [*signed, *(f"{raw.min():.2g} to {raw.max():.2g}" for raw in signed.values())]
plot.gallery(
    images.expand(8, -1, -1, -1),
    [*scaled, *(raw[0] for raw in signed.values())],
    titles=titles,
    row_titles=["each scaled to [0, 1]", "as they are"],
    alt="Above, scaled maps: coffee bright; everything but the coffee bright; dark; table bright. Below, the raw values: "
    "positive, negative, zero, negative everywhere.",
)

# %% [markdown]
# Above they are as one would print them: the second and the fourth are fine-looking maps, with a warm table and a cold
# cup. Below, as they are, both are negative everywhere: no cell speaks for the class. The ReLU would have made them blank, and
# scaling brought them back. Nothing in the upper row tells an inverted map from a map that is right about a
# class that is not there. Three tests do:

# %%
hot = {}
for name, raw in signed.items():
    heat = heatmap.resize(raw, (224, 224))
    hidden = images.where(~(heat >= heat.quantile(0.75)), images.mean())
    label = curtain.targets if name.startswith("shower") else target
    view = seen.towards(label)
    hot[name] = {
        "sum of the map": raw.sum().item(),
        "logit without bias": (view.scores - model.net.classifier.bias[label]).item(),
        "logit": view.scores.item(),
        "logit, hottest quarter hidden": model(hidden)[0, label].item(),
        "blank after ReLU": heatmap.degenerate(raw.relu()).item(),
    }
DataFrame.from_dict(hot, "index").round(2)

# %% [markdown]
# 1. **Add up.** At this layer the map must sum to the logit without its bias. The loss's map has the wrong sum and the
#    wrong sign; the curtain's is right, and rightly negative.
# 2. **Hide.** Without the hottest quarter the logit of *espresso* must fall, and far. For the map of the loss it falls only
#    a little. (In a map that is zero everywhere all pixels are the hottest quarter; `heatmap.degenerate` finds it.)
# 3. **Look at the values**, with zero in the middle of the colours, before you scale. A map with nothing above zero is a
#    finding: *no evidence for this class at this layer*. Scaling deletes the finding.
#
# For the *espresso* map with its ReLU, the loss's mistake would have been harmless: all dark, and seen at once. It is
# the two mistakes together that make a picture to be believed.

# %% tags=["test", "remove-cell"]
right, wrong, cut, absent = hot.values()
assert abs(right["sum of the map"] - right["logit without bias"]) < 1e-3
assert (
    abs(absent["sum of the map"] - absent["logit without bias"]) < 1e-3 > absent["sum of the map"]
)
assert wrong["sum of the map"] < 0 and cut["blank after ReLU"] and absent["blank after ReLU"]
whole = seen.scores.item()
assert right["logit, hottest quarter hidden"] < whole - 2 < wrong["logit, hottest quarter hidden"]

# %% [markdown]
# ## Explore
#
# Left the network's first guess, right the class that you choose, by its place among the guesses; each map on its own
# scale, with its values below. Four things to find out:
#
# 1. At 7 x 7, go through Grad-CAM, XGrad-CAM and HiRes-CAM. Does anything move? And at 14 x 14?
# 2. At 7 x 7, choose Layer-CAM and go through the classes. Then the same with Grad-CAM.
# 3. The rocket at 28 x 28: which method finds it?
# 4. Chelsea, Grad-CAM at 7 x 7, and the last of the 1000 guesses. Then untick ReLU. What do you see, and is it evidence?

# %%
from xailib.widgets import Explorer, choice, toggle


def compute(name, rank, layer, method, relu):
    image = photos.load(name).image[None]
    look = collect(model, image, torch.tensor([0]), layer=layer)
    ranked = look.logits[0].argsort(descending=True)
    views = [look.towards(ranked[[place - 1]]) for place in (1, rank)]
    maps = torch.cat([combine(view, WEIGHTS[method], relu=relu) for view in views])
    p = look.logits[0].softmax(0).detach()
    labels = [f"{class_names[view.targets]} ({p[view.targets].item():.2g})" for view in views]
    return image, maps, labels


def draw(result, name, layer, method):
    image, maps, labels = result
    same = correlation(maps[:1], maps[1:]).item()
    alt = f"{spelled[method]} at {layer} on {name}: {labels[0]} and {labels[1]}; the maps correlate by {same:.2f}."
    return plot.gallery(image.expand(2, -1, -1, -1), maps, titles=labels, opacity=0.6, alt=alt)


# %%
Explorer(
    compute,
    draw,
    name=choice(photos.names(), "photograph", value="coffee"),
    rank=choice([1, 2, 3, 5, 10, 100, 1000], "class, by guess", value=5),
    layer=choice({"7 x 7": "bn2", "14 x 14": "blocks.4", "28 x 28": "blocks.2"}, "layer"),
    method=choice({spelled[m]: m for m in gradient_methods}, "method"),
    relu=toggle(True, "ReLU"),
)

# %% [markdown]
# At 7 x 7 the three are one map, by proof; at 14 x 14 they are three. Layer-CAM at 7 x 7 hardly moves between classes (its sentence
# gives the correlation), Grad-CAM does. On the rocket at 28 x 28, Grad-CAM has the lamps at the bottom, HiRes-CAM the
# tip. Chelsea's last guess has a blank map; without ReLU a picture appears, and the numbers under it
# are negative: evidence against, which the colours show as blue.
#
# ## To remember
#
# 1. All CAMs are $\sum_k w_k A_k$. Below **GAP and a linear layer** CAM, Grad-CAM, XGrad-CAM and HiRes-CAM are **one map**; a
#    comparison between them there compares nothing.
# 2. Lower down, **one weight per channel** loses its meaning and one per place keeps more of it. No weights show what the layer
#    does not hold.
# 3. Look at **signs and sums** before you scale: scaling turns blank and inverted maps into good-looking ones.
#
# **Now you**: [the exercise of this lesson](../exercises/08_cam_family.ipynb), 50 minutes.
#
# ## Further reading
#
# - B. Zhou et al., *Learning deep features for discriminative localization*, CVPR 2016 (CAM).
# - R. R. Selvaraju et al., *Grad-CAM: visual explanations from deep networks via gradient-based localization*, ICCV 2017.
# - A. Chattopadhay et al., *Grad-CAM++: generalized gradient-based visual explanations for deep convolutional networks*,
#   WACV 2018.
# - H. Wang et al., *Score-CAM: score-weighted visual explanations for convolutional neural networks*, CVPR workshops 2020.
# - S. Desai and H. G. Ramaswamy, *Ablation-CAM: visual explanations for deep convolutional network via gradient-free
#   localization*, WACV 2020.
# - R. Fu et al., *Axiom-based Grad-CAM: towards accurate visualization and explanation of CNNs*, BMVC 2020 (XGrad-CAM).
# - R. L. Draelos and L. Carin, *Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural
#   networks*, arXiv 2011.08891, 2020.
# - P.-T. Jiang et al., *LayerCAM: exploring hierarchical class activation maps for localization*, TIP 2021.
# - M. D. Zeiler and R. Fergus, *Visualizing and understanding convolutional networks*, ECCV 2014 (occlusion).
# - In the library: [the engine and the gradient methods](../xailib/explain/cam.py), [Score-CAM and
#   Ablation-CAM](../xailib/explain/masked_cam.py), [one look at a layer](../xailib/explain/evidence.py),
#   [fusion](../xailib/explain/fusion.py).
