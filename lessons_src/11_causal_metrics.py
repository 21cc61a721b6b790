# %% [markdown]
# # Why does the score fall when pixels go?
#
# | | |
# |---|---|
# | You will | take a photograph apart in the order of a map and put it together again; prove what the two curves have in common; see settings that papers leave out decide who wins; and learn to tell missing evidence from a broken picture |
# | You need | lesson 00; lesson 07 for substrates and pictures out of distribution |
# | Minutes | 90 |
# | Run time | quick 45 s · laptop 3 min · full 10 min |
# | Memory | 2 GB |
# | Data | photographs that come with scikit-image and scikit-learn; planted scenes |
# | Network | no |
#
# Lesson 00 hid the hottest quarter of a photograph and asked again. Hide it little by little instead, and there is a
# curve; take the area under it, and there is a number that ranks methods. It is called **causal**, since something is
# done to the picture and the answer changes. But *what* was done? Predict before each figure.

# %%
from dataclasses import dataclass

import pandas as pd
import torch
import torch.nn.functional as F

from xailib import heatmap, metrics, models, plot
from xailib.course import choose
from xailib.data import PlantedScenes, photos
from xailib.explain import cam, centre_map, edge_map, fakecam, gradcam, random_map, saliency


@dataclass(frozen=True)
class Config:
    photographs: int = choose(quick=2, laptop=4, full=9)
    step: int = choose(quick=224 * 28, laptop=224 * 14, full=224 * 4)  # 8, 16, 56 steps
    scenes: int = choose(quick=16, laptop=192, full=1000)


config = Config()

# %% [markdown]
# ## Take it away, put it back
#
# A map orders the pixels, the most salient first. **Deletion** takes them away in this order: each becomes grey.
# **Insertion** starts with a blurred picture and makes its pixels sharp in the same order. Both are one walk from a
# picture `before` to a picture `after`, and the network is asked at every step (Petsiuk, Das and Saenko, BMVC 2018).

# %%
model = models.load("efficientnet_lite0")
class_names = models.class_names()
x = photos.load("coffee").image[None]  # [1, 3, 224, 224]
c = class_names.index("espresso")
target = torch.tensor([c])
counts = torch.arange(0, 224**2 + 1, 224 * 14)  # of moved pixels: 16 steps, 17 points


@torch.no_grad()
def ask(pictures):
    return torch.cat([model(part) for part in pictures.split(4)])  # logits


def places(heat):
    return heat.flatten().argsort(descending=True, stable=True).argsort().view(heat.shape)


def walk(before, after, place, counts=counts):
    return torch.where((place < counts[:, None, None])[:, None], after, before)


# %%
maps = cam(model, x, target, layer="bn2", weights=gradcam)
place = places(maps[0])  # 0 for the most salient pixel, 50175 for the least
grey = model.mean[None].expand_as(x)  # what the network's first layer turns into zero
blurry = metrics.blurred(model, x)
deleted, inserted = walk(x, grey, place), walk(blurry, x, place)
out, back = ask(deleted), ask(inserted)
falling, rising = out.softmax(1)[:, c], back.softmax(1)[:, c]

# %%
seen = [0, 1, 2, 4, 8]
plot.gallery(
    torch.cat([deleted[seen], inserted[seen]]),
    columns=5,
    titles=[f"{k / 16:.0%} moved: {p[k]:.2f}" for p in (falling, rising) for k in seen],
    row_titles=["deletion", "insertion"],
    alt="Above, the cup goes grey from its middle. Below, a blurred picture grows sharp from there.",
)

# %% [markdown]
# The number over each picture is the probability of *espresso*. **Predict** the shape of both curves, and which of
# the two ends they share.

# %%
plot.curve(
    counts / 224**2,
    {"deletion": falling, "insertion": rising},
    xlabel="share of the pixels moved, most salient first",
    ylabel="probability of espresso",
    alt=f"Deletion falls from {falling[0]:.2f} to {falling[4]:.2f} at a quarter; "
    f"insertion rises from {rising[0]:.2f} to {rising[4]:.2f} at a quarter and {rising[-1]:.2f}.",
)

# %% [markdown]
# Insertion ends where deletion begins, at the whole photograph. The other ends differ: one is grey, the other
# blurred.
#
# The score is the **area under the curve** by the trapezoidal rule, the mean probability along the way: each point
# counts once, the two ends half. If the map is good, deletion should fall at once, so *less is better*, and insertion
# should rise at once, so *more is better*. Papers print both in percent.


# %%
def area(p):
    return (p.sum(-1) - (p[..., 0] + p[..., -1]) / 2) / (p.shape[-1] - 1)


deletion = metrics.deletion_curve(model, x, target, maps, step=224 * 14)
insertion = metrics.insertion_curve(model, x, target, maps, step=224 * 14)
torch.testing.assert_close(deletion[0], falling, rtol=1e-3, atol=1e-4)
torch.testing.assert_close(insertion[0], rising, rtol=1e-3, atol=1e-4)
torch.testing.assert_close(metrics.auc(deletion), area(deletion))
print(f"deletion {100 * area(falling):.1f}, insertion {100 * area(rising):.1f}")

# %% tags=["test", "remove-cell"]
assert area(falling) < 0.3 < 0.7 < area(rising)

# %% [markdown]
# [The library](../xailib/metrics/causal.py) agrees with the hand. Nothing but the **order** of the pixels went in.
# How large the map's values are does not matter, and a map that is the same everywhere has no order: its pixels then
# go row by row. This is the row of **Fake-CAM** (1 everywhere but 0 in the first pixel; lesson 10) in such tables.
#
# ## A world where both are one
#
# When is *the score fell* the same as *the evidence went*? Surely in a world of four cells that **add up**: $f(x) =
# \sum_j a_j x_j$, each $x_j$ 1 (there) or 0 (gone). **Predict** both areas for the order by $a$, and for the reverse.

# %%
a = torch.tensor([0.4, 0.3, 0.2, 0.1])
moved = torch.ones(5, 4).tril(-1)  # row i: the first i cells of the order
for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
    ins, dele = moved @ a[order], (1 - moved) @ a[order]
    print(f"order {order}: insertion {area(ins):.3f}, deletion {area(dele):.3f}")

# %% [markdown]
# The right order has the largest insertion and the smallest deletion, and each pair adds up to 1. That is a theorem.
# At each step the picture $x^-$ of deletion and the picture $x^+$ of insertion have every pixel between them exactly
# once from $x$ and once from the substrate $b$, so that $x^+ + x^- = x + b$. If $f$ is additive up to a constant,
# then
#
# $$f(x^+) + f(x^-) = f(x) + f(b)$$
#
# at every step, whatever the map. For such a network the two metrics are **one**: insertion is $f(x) + f(b)$ minus
# deletion, and both rank methods alike. As code, with a network that adds up pixels and three maps made by dice:


# %%
class Additive(torch.nn.Module):
    """P(class 0) = 0.2 + 0.7 sum_j a_j x_j, with weights that sum to 1."""

    a = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)).flatten().softmax(0)

    def forward(self, x):
        f = 0.2 + 0.7 * x.flatten(1) @ self.a
        return torch.stack([f, 1 - f], 1).log()  # logits whose softmax is f


dice = torch.Generator().manual_seed(1)
pictures, heat = torch.rand(3, 3, 16, 16, generator=dice), torch.rand(3, 16, 16, generator=dice)
black, zeros = torch.zeros_like(pictures), torch.zeros(3).long()
additive = Additive().eval()
ins = metrics.replacement_curve(additive, black, pictures, zeros, heat)
dele = metrics.replacement_curve(additive, pictures, black, zeros, heat)
torch.testing.assert_close(ins + dele, (ins[:, -1:] + dele[:, -1:]).expand_as(ins))
print("insertion + deletion:", (metrics.auc(ins) + metrics.auc(dele)).tolist())

# %% [markdown]
# So the *sum* of the two areas tells how far a network is from adding up, provided that both walks use the **same
# substrate**. Two cells, and no sum: in *either*, one of them suffices; in *both*, neither is enough alone.

# %%
both_cells = torch.ones(3, 2).tril(-1)
for name, f in {"either": torch.amax, "both": torch.amin}.items():
    ins, dele = (area(f(shown, 1)).item() for shown in (both_cells, 1 - both_cells))
    print(f"{name:7} insertion {ins:.2f} + deletion {dele:.2f} = {ins + dele:.2f}")

# %% [markdown]
# With spare evidence the sum is above $f(x) + f(b) = 1$, and even the best map has a bad deletion. Where parts need
# each other it is below, and even a bad map has a good one. Now the real network, between photograph and grey, in the
# order of Grad-CAM and in an order **drawn by dice**, pixel by pixel. **Predict**: which of the two has the smaller
# deletion? And if dice decide, what should the two areas add up to?

# %%
by_dice = random_map(model, x, target, cells=None)
pair, lines = {}, {}
for name, heat in {"Grad-CAM": maps, "dice, pixels": by_dice}.items():
    ways = (x, grey), (grey, x)
    p = [ask(walk(*way, places(heat[0]))).softmax(1)[:, c] for way in ways]
    lines[name], pair[name] = p[0], [area(one).item() for one in p]
ends = (p[0][0] + p[0][-1]).item()
sums = pd.DataFrame(pair, ["deletion", "insertion"]).T
sums["sum"] = sums.sum(axis=1)
print(f"f(x) + f(b) = {ends:.3f}")
sums.round(3)

# %% [markdown]
# Dice know nothing of espresso, and their deletion is about half as large as Grad-CAM's: by this metric the far
# better map. If the network added up, each of their areas would be about half of the sum, since dice prefer no pixel.
# Both are far smaller: this network makes nothing of the cup's pixels when they are scattered over grey. **Insertion
# with the same substrate** exposes the dice: what they took away first does not, put back first, bring the answer
# back. More of this below.

# %% tags=["test", "remove-cell"]
assert sums.loc["dice, pixels", "deletion"] < 0.6 * sums.loc["Grad-CAM", "deletion"]
assert sums.loc["dice, pixels", "sum"] < 0.4 * ends

# %% [markdown]
# ## The judge has settings
#
# "Insertion 66.3": of what, from what, in which steps? The text of the thesis (algorithms 1 and 2), the code that
# RISE's authors published, and the code that belongs to the thesis' chapter 3 do not say the same:
#
# | | thesis, text | RISE, code | CA-Stream, code | this course |
# |---|---|---|---|---|
# | pixels per step, of 224 x 224 | 224 | 224; 1792 for many images | 1792 | 224, `step=` |
# | insertion starts from | "Blur(x)" | a "Gaussian" in a window of 11 x 11 | the same in 5 x 5 | RISE's, `blur=` |
# | deletion ends at | black | zero *after* normalisation, so the mean colour | the same | RISE's, `substrate=` |
# | class | true | predicted | true | yours, `targets` |
#
# (The algorithms in the thesis also have slips: the first point of insertion must be $f(\text{Blur}(x))$, and a loop
# "while $x$ has non-zero pixels" stops early in a picture with black ones.)
#
# The quotation marks are deserved. RISE's kernel has a $\sigma$ of 5 pixels in a window that ends after 5, and what
# lies outside is folded back in. What comes out is all but flat, so that its blur is a plain **mean over 11 x 11
# pixels**:

# %%
kernel = metrics.causal.folded_gaussian(11)
print(f"the kernel runs from {kernel.min():.5f} to {kernel.max():.5f}; flat is {1 / 121:.5f}")
box = 0.5 + F.avg_pool2d(x - 0.5, 11, stride=1, padding=5)
print(f"largest difference to a box filter: {(blurry - box).abs().max():.3f}")

# %% [markdown]
# **Predict** the probability of *espresso* for each start, before a single pixel has come back.

# %%
starts = {name: metrics.blurred(model, x, name) for name in ("ca5", "rise11", "gaussian")}
starts |= {"mean": grey, "black": torch.zeros_like(x)}
p = ask(torch.cat(list(starts.values()))).softmax(1)[:, c]
titles = [f"{name}: {value:.2f}" for name, value in zip(starts, p, strict=True)]
plot.gallery(
    torch.cat(list(starts.values())),
    titles=titles,
    columns=5,
    alt=f"The cup under three blurs, each stronger than the last; grey; black. {'; '.join(titles)}.",
)

# %% [markdown]
# A 5 x 5 blur takes little away: the network still knows its espresso, and insertion has not far to rise. Under the
# true Gaussian it starts near zero. The three numbers that come out are all called insertion.
#
# Do the settings change who *wins*? Five cheap maps on some photographs: two that ask the network (Grad-CAM;
# saliency, the size of the gradient, pixel by pixel) and three that do not (edges, random blobs as coarse as
# Grad-CAM, and a hill in the centre).

# %%
names = ["coffee", "camera", "motorcycle", "flower", "rocket", "chelsea"]
names += [name for name in photos.names() if photos.load(name).label and name not in names]
names = names[: config.photographs]
images = torch.stack([photos.load(name).image for name in names])
targets = torch.tensor([photos.load(name).label for name in names])
heats = {
    "Grad-CAM": cam(model, images, targets, layer="bn2", weights=gradcam),
    "saliency": saliency(model, images, targets),
    "edges": edge_map(model, images, targets),
    "blobs": random_map(model, images, targets),
    "centre": centre_map(model, images, targets),
}
print(*names)


# %%
def curves_of(heat, step=config.step):
    ask_for = (model, images, targets, heat)
    ways = {
        f"I {b}": metrics.insertion_curve(*ask_for, step=step, blur=b) for b in metrics.causal.BLURS
    }
    for substrate in ("mean", "black"):
        ways[f"D {substrate}"] = metrics.deletion_curve(*ask_for, step=step, substrate=substrate)
    return ways


curves = {name: curves_of(heat) for name, heat in heats.items()}
table = pd.DataFrame(
    {
        name: {way: 100 * area(p).mean().item() for way, p in ways.items()}
        for name, ways in curves.items()
    }
).T
table.round(1)

# %%
more = [way.startswith("I") for way in table]  # insertion: more is better
ranks = pd.DataFrame(
    {way: table[way].rank(ascending=not up) for way, up in zip(table, more, strict=True)}
).astype(int)
ranks

# %% [markdown]
# Read the table by columns. With the 5 x 5 blur the five maps lie close together, and the random blobs are within a
# few points of Grad-CAM; under the other two blurs they lie far apart. And the *same* blobs move up in deletion when
# black replaces grey, past maps that beat them before. Grad-CAM is good enough to lead most columns; among the others
# the judge's settings decide.

# %% tags=["test", "remove-cell"]
spread = table.max() - table.min()
assert spread["I ca5"] < 0.6 * min(spread["I rise11"], spread["I gaussian"])
assert ranks.loc["blobs", "D black"] < ranks.loc["blobs", "D mean"]
assert table.loc["blobs", "I ca5"] > table.loc["Grad-CAM", "I ca5"] - 5

# %% [markdown]
# And the step? A coarse walk is the fine one with points left out, so no new question is needed:

# %%
coarser = {}
for way in ("I rise11", "D mean"):
    for k in (1, 2, 4):
        steps = (curves["Grad-CAM"][way].shape[1] - 1) // k
        column = {
            name: 100 * area(ways[way][:, ::k]).mean().item() for name, ways in curves.items()
        }
        coarser[f"{way}, {steps} steps"] = column
pd.DataFrame(coarser).round(1)

# %% [markdown]
# Long steps change deletion most, and not for every map alike: where a curve falls fast, a long step cuts across the
# fall. (RISE's code also counts a last, shorter step as a full one; `metrics.replaced_fractions` gives the true
# widths.)
#
# The thesis prints Grad-CAM on ResNet-50 and ImageNet twice:
#
# | | insertion | deletion |
# |---|---|---|
# | table 2.4 | 66.3 | 14.7 |
# | table 3.1, the network as it is (GAP) | 72.57 | 13.24 |
# | table 3.1, the thesis' own pooling (CA) | 75.53 | 13.50 |
#
# The first two rows are one method on one network. They differ by 6.3 points of insertion, twice as much as the gain
# that table 3.1 reports, and the thesis does not say why. The code of chapter 3 blurs with 5 x 5, which leaves the
# picture nearly as it is; that, the step and the images used may all have a part. **Published values can be compared
# within one table, and not from table to table.** When you print yours, print blur, substrate, step and class.
#
# ## Where it misleads: a picture as nobody ever saw one
#
# Back to the dice. They know nothing of espresso, so what fell when their pixels went? Look at the photograph with as
# many pixels gone in three ways: the most salient ones of Grad-CAM, pixels drawn by dice, and whole patches of 14 x
# 14 drawn by dice. **Predict**: which pictures can *you* still read, and which can the network?


# %%
def patchwise(heat, side=14):
    coarse = F.avg_pool2d(heat[:, None], side)
    return F.interpolate(coarse, scale_factor=side, mode="nearest")[:, 0]


ways = {"Grad-CAM": maps, "dice, pixels": by_dice, "dice, patches": patchwise(by_dice)}
some = (torch.tensor([0.05, 0.1, 0.2]) * 224**2).long()
holes = torch.cat([walk(x, grey, places(heat[0]), some) for heat in ways.values()])
p, guess = ask(holes).softmax(1).max(1)
labels = [f"{class_names[g]} {value:.2f}" for g, value in zip(guess, p, strict=True)]
plot.gallery(
    holes,
    titles=labels,
    columns=3,
    row_titles=list(ways),
    alt=f"The cup with 5, 10 and 20 % of its pixels grey, in three ways. {'; '.join(labels)}.",
)

# %%
by_patch = walk(x, grey, places(ways["dice, patches"][0]))
lines["dice, patches"] = ask(by_patch).softmax(1)[:, c]
plot.curve(
    counts / 224**2,
    lines,
    xlabel="share of the pixels gone",
    ylabel="probability of espresso",
    alt="; ".join(
        f"{name}: {p[1]:.2f} after the first step, {p[4]:.2f} at a quarter"
        for name, p in lines.items()
    ),
)

# %% [markdown]
# The rows end in pictures that you still read as a cup, but for the first: there, a fifth of the pixels hide most of
# the coffee, and the network holds on to its espresso longest. With the pixels of dice the network sees a *caldron*,
# with patches a *consomme* or a *toilet seat*. By the deletion score both dice beat Grad-CAM. Two stories explain
# this:
#
# 1. the dice have taken away evidence that Grad-CAM missed;
# 2. the dice have taken away little, and what they **put in**, thousands of grey specks with sharp edges, is read.
#
# An experiment can decide. Leave the same pixels away, but put no specks in: fill each hole with the mean of the
# pixels that are left *around* it, near ones where there are any (a Gaussian of 2 pixels), else from further away (8,
# then 32). Not one pixel of evidence comes back. **Predict** both stories' outcome.


# %%
def filled(heat, counts):
    kept = (places(heat) >= counts[:, None, None])[:, None]
    picture, hole = x * kept, ~kept
    for sigma in (2, 8, 32):
        share = heatmap.blur(kept.float(), sigma)  # of pixels left around here
        now = hole & (share > 0.05)
        around = heatmap.blur(x * kept, sigma) / share.clamp(min=1e-6)
        picture, hole = torch.where(now, around, picture), hole & ~now
    return torch.where(hole, grey, picture).clamp(0, 1)


mended = torch.cat([filled(heat[0], some[2:]) for heat in ways.values()])
p_mended = ask(mended).softmax(1)[:, c]
titles = [f"{name}: espresso {value:.2f}" for name, value in zip(ways, p_mended, strict=True)]
plot.gallery(
    mended,
    titles=titles,
    alt=f"The cup without 20 % of its pixels, holes filled from around. {'; '.join(titles)}.",
)

# %%
every = counts[::2]  # 8 steps
grey_area = {name: 100 * area(p[::2]).item() for name, p in lines.items()}
fill_area = {
    name: 100 * area(ask(filled(heat[0], every)).softmax(1)[:, c]).item()
    for name, heat in ways.items()
}
pd.DataFrame({"deletion, grey": grey_area, "deletion, filled": fill_area}).round(1)

# %% [markdown]
# A fifth of the pixels drawn by dice is *still gone*, and the network is as sure as on the whole photograph. So it
# was the second story: the specks, not the loss. And look at Grad-CAM. Without a sharp grey disc in its place, the
# coffee is missed *more*. Over the whole curve, painted grey, Grad-CAM comes last of the three, and with filled holes
# first by far, then the patches, then the pixels. The map was good; the judge was looking at the paint.
#
# This repair is the idea of ROAD (Rong et al., ICML 2022). Another, ROAR (Hooker et al., NeurIPS 2019), trains the
# network anew on pictures with holes, and so asks about another network.
#
# **The misreading.** *A low deletion score means that the evidence was found.* It means that the score fell, and it
# falls when evidence goes **or** when the picture breaks. **How to tell**: put the dice's row into your table.
# Measure insertion on the same substrate. Fill the holes instead of painting them.

# %% tags=["test", "remove-cell"]
of_espresso = ask(holes).softmax(1)[:, c]
assert of_espresso[2] > 0.2 > 0.05 > max(of_espresso[5], of_espresso[8])
assert (guess[:3] == c).all() and guess[5] != c and guess[8] != c
assert p_mended[1] > 0.9 and p_mended[0] < of_espresso[2] - 0.1
assert grey_area["Grad-CAM"] > max(grey_area["dice, pixels"], grey_area["dice, patches"]) + 3
assert 1.5 * fill_area["Grad-CAM"] < fill_area["dice, patches"] < fill_area["dice, pixels"]

# %% [markdown]
# ### Which maps does this reward?
#
# If that is so, a map's deletion can be improved by scattering it. Take the same evidence, Grad-CAM scaled to [0, 1], and mix
# it with noise drawn for each pixel by itself, $(1 - w)\,S + w\,u$. **Predict** insertion and deletion over $w$, from
# Grad-CAM at the left to pure noise at the right.

# %%
smooth = heatmap.normalize(heats["Grad-CAM"])
u = random_map(model, images, targets, cells=None)
shares = torch.linspace(0, 1, 5)
scores = {"insertion": [], "deletion": []}
for w in shares.tolist():
    heat = (1 - w) * smooth + w * u
    for name, curve in (
        ("insertion", metrics.insertion_curve),
        ("deletion", metrics.deletion_curve),
    ):
        p = curve(model, images, targets, heat, step=config.step)
        scores[name].append(100 * area(p).mean().item())

# %%
plot.curve(
    shares,
    scores,
    xlabel="share w of noise in the map",
    ylabel="score (%)",
    alt="Over the share of noise: "
    + "; ".join(f"{name} {', '.join(f'{v:.1f}' for v in row)}" for name, row in scores.items()),
)

# %% [markdown]
# With a little noise **deletion gets better**, while insertion gets worse from the first step on. No evidence was
# added; the most salient pixels now lie scattered over the place where they lay together. Deletion rewards a map for
# being grainy, which gradients are by nature, and insertion punishes the same map. Pure noise, at the right end, is
# worse again: on other photographs than the cup, dice need longer to break the picture.
#
# The thesis says of these metrics that maps which are *not* spread out do better (section 2.7), and blames deletion's
# loss in table 3.1 on this. For insertion our curve agrees. For deletion it depends on the grain: noise by the pixel
# helped.

# %% tags=["test", "remove-cell"]
i, d = scores.values()
assert d[1] < 0.8 * d[0] and d[-1] > d[0]
assert all(later < earlier for earlier, later in zip(i, i[1:], strict=False))

# %% [markdown]
# ## Patches instead of pixels: AOPC
#
# Samek et al. (TNNLS 2017) take **regions** away. Tile the picture with patches of 14 x 14, order them by their sum
# of the map, remove the ten most salient one after the other, and average what the probability has lost, $d_k = p_0 -
# p_k$:
#
# $$\mathrm{AOPC} = \frac{1}{L + 1} \sum_{k=0}^{L} d_k , \qquad L = 10 .$$

# %%
sums = F.avg_pool2d(maps, 14)[0]  # of each of the 16 x 16 patches, but for a factor
patch_place = places(sums).repeat_interleave(14, 0).repeat_interleave(14, 1)
patches = walk(x, x.min(), patch_place, torch.arange(11))  # the darkest value stands in
p = ask(patches).softmax(1)[:, c]
d = p[0] - p
torch.testing.assert_close(metrics.aopc(model, x, target, maps)[0], d.mean(), rtol=1e-3, atol=1e-4)
print(f"AOPC {100 * d.mean():.1f}; {10 * 14**2 / 224**2:.1%} of the picture is gone")
readings = {
    kind: 100 * metrics.area_over(p[None], aopc=kind).item()
    for kind in ("samek", "quantus_mean", "trapz")
}
print({kind: round(value, 1) for kind, value in readings.items()})

# %%
plot.gallery(
    patches[[0, 1, 2, 5, 10]],
    columns=5,
    titles=[f"{k} patches: {p[k]:.2f}" for k in (0, 1, 2, 5, 10)],
    alt="The cup, and the cup without 1, 2, 5 and 10 dark patches in the coffee.",
)

# %% [markdown]
# Nothing happens: the probability stays where it was, and AOPC is about zero. Is Grad-CAM wrong, then? Look at the
# pictures. The patches take the picture's **darkest** colour, which is the habit of the package Quantus and the
# library's default, and a dark patch in a cup of coffee is coffee. The substrate, again; and dice, against it:

# %%
aopc = {}
for substrate in ("minimum", "mean"):
    options = {"substrate": substrate}
    aopc[substrate] = {
        name: 100 * metrics.aopc(model, x, target, heat, **options).item()
        for name, heat in {"Grad-CAM": maps, "dice": by_dice}.items()
    }
pd.DataFrame(aopc).round(1)

# %% [markdown]
# On this photograph the dice win, with both colours. One photograph proves nothing about the methods; it does show
# that AOPC, too, asks what happens when you paint squares, and that 4 % of the picture is little.
#
# Also note the three readings printed above. With $d_0 = 0$ counted, as in the paper; without it; or as an area
# under $d_1$ to $d_{10}$ with steps of 1, which can reach 9. Table 2.3 of the thesis has values from 6 to 13, so they
# must be percent, of one of the first two most likely; it does not say which.

# %% tags=["test", "remove-cell"]
assert abs(p - p[0]).max() < 0.05 and abs(d.mean()) < 0.02
assert all(row["dice"] > row["Grad-CAM"] + 1 for row in aopc.values())

# %% [markdown]
# ## Ask where the answer is known
#
# Planted scenes show stickers on a landscape. The **shape** of one or two of them tells the class; no other pixel
# does. The mask of these stickers *is* the right map, and a small network that comes with the course has learned to
# read them. **Predict** which row wins which column, and where the dice come in.

# %%
small = models.load("smallcnn_shape")
seed = torch.Generator().manual_seed(7)
scenes = PlantedScenes(config.scenes, evidence="shape", generator=seed).batch(range(config.scenes))
truth = scenes.evidence.float()
asked = (small, scenes.images, scenes.labels)
known = {
    "the truth": truth,
    "Grad-CAM": cam(*asked, layer="stages", weights=gradcam),
    "edges": edge_map(*asked),
    "dice, pixels": random_map(*asked, cells=None),
    "dice, blobs": random_map(*asked),
    "Fake-CAM": fakecam(*asked),
}
right = (small(scenes.images).argmax(1) == scenes.labels).float().mean().item()
print(f"accuracy {right:.1%}; the evidence covers {truth.mean():.1%} of a scene")

# %%
judged = {
    name: {
        "insertion": area(metrics.insertion_curve(*asked, heat, step=512, chunk=32)),
        "deletion": area(metrics.deletion_curve(*asked, heat, step=512, chunk=32)),
        "AOPC": metrics.aopc(*asked, heat, patch=8, chunk=32),
        "heat on the evidence": (heat * truth).sum((1, 2)) / heat.sum((1, 2)),
    }
    for name, heat in known.items()
}
verdict = pd.DataFrame(judged).map(lambda values: 100 * values.mean().item()).T
verdict.round(1)

# %% [markdown]
# Three things to see.
#
# **The truth does not win deletion.** Grad-CAM beats it, with more than half of its heat beside the evidence. The
# mask says *where* the evidence is and nothing about the order in which it goes, so its pixels go row by row;
# Grad-CAM has an order. A lead of a few points is no proof of a better place.
#
# **Dice by the pixel** know nothing, and by deletion they come out far ahead of Fake-CAM and of the blobs, which know
# as little, and close to the edges. Insertion puts them last of all, and AOPC among those that know nothing.
#
# **There is a floor.** Five classes share the probability, so a network that has lost everything still gives about
# 0.2, and no deletion here falls much below 20. With 1000 classes the floor is zero: another reason not to compare
# values between data sets.
#
# Where you can, change the evidence and leave the picture whole, as lesson 12 does with such scenes: then nothing is
# out of distribution.

# %% tags=["test", "remove-cell"]
assert right > 0.9 and verdict.loc["Grad-CAM", "heat on the evidence"] < 50
D = verdict["deletion"]
assert D["Grad-CAM"] < D["the truth"] < D["edges"] and D.min() > 18
assert D["dice, pixels"] < D["dice, blobs"] - 5 and D["dice, pixels"] < D["Fake-CAM"] - 15
assert D["dice, pixels"] - D["edges"] < 7
assert verdict["insertion"].idxmin() == "dice, pixels"
assert verdict["AOPC"].drop(["the truth", "Grad-CAM", "edges"]).max() < 20
assert verdict["AOPC"][["the truth", "Grad-CAM", "edges"]].min() > 22

# %% [markdown]
# ## Shake the picture: max-sensitivity
#
# The metrics so far ask whether a map is *true*. **Max-sensitivity** (Yeh et al., NeurIPS 2019) asks whether it is
# *steady*: the largest change of the map when the picture is shaken by some noises $e$ of at most 0.2 in the
# network's normalised input,
#
# $$\max_e \frac{\lVert S(x + e) - S(x) \rVert}{\lVert S(x) \rVert} .$$


# %%
def grad_cam(model, images, targets):
    return cam(model, images, targets, layer="bn2", weights=gradcam)


generator = torch.Generator().manual_seed(0)
S, changes = grad_cam(model, x, target), []
for _ in range(3):
    e = 0.2 * (2 * torch.rand(x.shape[1:], generator=generator) - 1)
    shaken = (x + model.std * e).clamp(0, 1)
    changes.append((grad_cam(model, shaken, target) - S).norm() / S.norm())
library = metrics.max_sensitivity(model, x, target, grad_cam, samples=3)
torch.testing.assert_close(library[0], torch.stack(changes).max(), rtol=1e-3, atol=1e-4)

# %%
methods = {"Grad-CAM": grad_cam, "saliency": saliency, "edges": edge_map}
methods |= {"blobs": random_map, "centre": centre_map, "Fake-CAM": fakecam}
steadiness = {
    name: metrics.max_sensitivity(model, x, target, method, samples=3).item()
    for name, method in methods.items()
}
alt = "; ".join(f"{name} {value:.2f}" for name, value in steadiness.items())
plot.bars(steadiness, xlabel="max-sensitivity, less is better", alt=f"Max-sensitivity: {alt}.")

# %% [markdown]
# Three maps are perfectly steady, for they do not look at the picture. Max-sensitivity cannot tell *steady because
# true* from *steady because blind*; a network whose decision really hangs by a hair deserves an unsteady map. Edges
# are steady, too. Read it only for maps that have passed another test.
#
# Table 2.3 of the thesis has max-sensitivities from 1.03 to 1.25 for *all* of its eight methods. A value of 1 says
# that a map changes by as much as it is large, from noise that one hardly sees; ours for Grad-CAM is far below that.
# A script that the same group published later may explain it: it hands over the finished maps of the CAM, but names
# *saliency* as the method for the shaken pictures, so that two different methods are compared. We do not know that
# the table was made so. What would come out?

# %%
b = heatmap.normalize(saliency(model, shaken, target), "max")
for name in ("Grad-CAM", "blobs", "centre", "Fake-CAM"):
    a = heatmap.normalize(methods[name](model, x, target), "max")
    print(f"{name:9} against the saliency of the shaken picture: {(b - a).norm() / a.norm():.2f}")

# %% [markdown]
# About one, for every map alike, also for those whose true value is 0: the saliency is small nearly everywhere, so
# that the difference of the two is mostly the map itself. The thesis calls Opti-CAM the best in this column, by 1.03
# against 1.04. If this is how the numbers came about, they say nothing about steadiness.

# %% tags=["test", "remove-cell"]
assert [steadiness[name] for name in ("blobs", "centre", "Fake-CAM")] == [0, 0, 0]
assert steadiness["edges"] < 0.5 and steadiness["Grad-CAM"] < 0.5 < steadiness["saliency"]
mixed_up = [heatmap.normalize(m(model, x, target), "max") for m in methods.values()]
assert all(0.8 < (b - a).norm() / a.norm() < 1.2 for a in mixed_up[:1] + mixed_up[3:])

# %% [markdown]
# ## What the thesis reports
#
# Here are tables 2.3 and 2.4 (ResNet-50, ImageNet) beside the course's benchmark (EfficientNet-Lite0, nine
# photographs, made by `python -m xailib benchmark` and kept in `results/`). Do not compare values, for you know
# better; compare the *order*.

# %%
from xailib import course

ours = pd.read_csv(course.ROOT / "results" / "benchmark_photos.csv")
ours = ours.pivot_table("value", "method", "metric")
thesis = {  # insertion, deletion, AOPC, max-sensitivity
    "gradcam": (66.3, 14.7, 11.7, 1.05),
    "scorecam": (65.7, 16.3, 10.2, 1.04),
    "layercam": (67.0, 14.2, 13.0, 1.22),
    "ablationcam": (65.9, 14.6, 11.1, 1.04),
    "extremal_perturbation": (70.7, 15.0, 12.0, 1.07),
    "opticam": (62.0, 19.7, 6.3, 1.03),
    "fakecam": (50.7, 28.1, None, None),
}
columns = ["insertion", "deletion", "aopc", "max_sensitivity"]
theirs = pd.DataFrame(thesis, columns).T
ours = ours.loc[[*thesis, "edge_map", "random_map"], columns].round(2)
pd.concat({"thesis": theirs, "measured": ours}, axis=1)

# %% [markdown]
# What agrees: of the maps that ask the network, Opti-CAM has the worst insertion and the worst deletion in both, and
# Fake-CAM is far behind all. (The thesis' conclusion counts Opti-CAM among the best in causal metrics; its own table
# says otherwise.) What does not: extremal perturbation wins the thesis' insertion, and not ours; and max-sensitivity,
# which calls Opti-CAM the steadiest there, finds it the least steady here. And random blobs (`random_map`) come
# within a few points of the CAMs in insertion. On nine photographs the 95 % intervals, in
# `results/benchmark_photos.md`, are wider than most of these differences.

# %% tags=["test", "remove-cell"]
asking = ours.drop(["fakecam", "edge_map", "random_map"])
assert asking["insertion"].idxmin() == asking["deletion"].idxmax() == "opticam"
assert asking["max_sensitivity"].idxmax() == "opticam" == theirs["max_sensitivity"].idxmin()
assert ours["insertion"].idxmin() == ours["deletion"].idxmax() == "fakecam"
assert theirs["insertion"].idxmax() == "extremal_perturbation" != asking["insertion"].idxmax()
assert (
    theirs["insertion"].drop("fakecam").idxmin()
    == theirs["deletion"].drop("fakecam").idxmax()
    == "opticam"
)
assert asking["insertion"].max() - ours.loc["random_map", "insertion"] < 4

# %% [markdown]
# ### When both get larger
#
# Two chapters change a *network* and keep the map's method. Table 3.1 replaces its pooling (CA, lesson 14), table 4.1
# its training (lesson 15). Here is what the change does to insertion (more is better) and to deletion (less is
# better), in points:

# %%
published = {  # insertion and deletion before, then after the change
    ("3.1", "ResNet-18", "Grad-CAM"): (63.13, 10.66, 65.94, 10.68),
    ("3.1", "ResNet-50", "Grad-CAM"): (72.57, 13.24, 75.53, 13.50),
    ("3.1", "ConvNeXt-S", "Grad-CAM"): (48.42, 30.12, 84.82, 43.02),
    ("3.1", "ConvNeXt-B", "Grad-CAM"): (52.85, 29.57, 86.38, 45.29),
    ("4.1", "ResNet-18", "Grad-CAM"): (58.47, 17.47, 58.76, 17.57),
    ("4.1", "ResNet-18", "Score-CAM"): (58.42, 18.31, 59.11, 18.34),
    ("4.1", "MobileNet-V2", "Grad-CAM"): (44.64, 14.34, 45.57, 15.20),
    ("4.1", "MobileNet-V2", "Axiom-CAM"): (44.64, 15.27, 45.57, 15.20),
}
change = {key: (i1 - i0, d1 - d0) for key, (i0, d0, i1, d1) in published.items()}
pd.DataFrame(change, ["insertion", "deletion"]).T

# %% [markdown]
# In both tables insertion gets better in every row, and deletion worse in all but one. (So it is in the rows left
# out: all twelve of table 3.1, and nine of ten of table 4.1.) The thesis answers that deletion puts black,
# out-of-distribution patches into the picture and favours maps that are not spread out. You have seen that the first
# is a real trouble. Three remarks:
#
# **One number decides.** For MobileNet-V2, Grad-CAM and Axiom-CAM agree to a hundredth in average drop,
# gain, increase and insertion, before and after, and in deletion after. In deletion before, they have 14.34 and
# 15.27. Two names of one map, it seems, so one of the two numbers is wrong, and whether the training made deletion
# worse or better hangs on *which*. The changes in the other rows of 4.1 are at most about two tenths, from one
# training run each.
#
# **By the theorem, the sum tells.** For one additive network and one substrate the two areas add up to a number that
# no map can change, so insertion up means deletion down. Here the network changed and both go up, for ConvNeXt by a
# great deal: the *sum* grew by tens of points, so it was not only the maps. The probability along the whole way has risen. A network that says 0.9 to everything has insertion 90 and deletion 90.
#
# **Being sure is a setting, too.** Multiply all logits by a number. No decision changes, and Grad-CAM orders the
# pixels as before. **Predict** both areas:

# %%
rows = {}
for T in (2.0, 1.0, 0.5):
    p = [(logits / T).softmax(1)[:, c] for logits in (back, out)]
    rows[f"logits times {1 / T:g}"] = [100 * area(one).item() for one in p]
sure = pd.DataFrame(rows, ["insertion", "deletion"]).T
sure["difference"] = sure["insertion"] - sure["deletion"]
sure.round(1)

# %% [markdown]
# On this photograph the surer network has a larger insertion and a larger deletion, with the same map, the same order
# and the same decisions. (Deletion need not rise: lesson 14 has scenes where it falls.) The difference of the two moves as well. So a table that compares *networks*, as these two do, must first
# make them equally sure (`metrics.matched_temperature` finds the factor; lesson 14 comes back to this). For maps of
# one network this trouble does not arise.

# %% tags=["test", "remove-cell"]
assert sure["insertion"].is_monotonic_increasing and sure["deletion"].is_monotonic_increasing

# %% [markdown]
# ## Explore
#
# Take a picture apart yourself. The slider moves in small steps at first, where the curve falls. Things to find out:
#
# 1. Coffee, order *Grad-CAM*: how much must go until the network says something else? And with *dice, pixels*?
# 2. What does the network see instead? Does it fit the picture in front of you?
# 3. Coffee, *dice, pixels*: try the three substrates. Which one breaks the picture least?
# 4. The camera: do dice break this photograph, too?
# 5. Choose *least salient first*. How much of a photograph can go before the answer changes?

# %%
from xailib.widgets import Explorer, choice, slider

early = (224**2 * (torch.arange(17) / 16) ** 2).long()  # small steps first
makers = {
    "Grad-CAM": grad_cam,
    "Grad-CAM, least salient first": lambda *asked: -grad_cam(*asked),
    "saliency": saliency,
    "edges": edge_map,
    "dice, blobs": random_map,
    "dice, pixels": lambda *asked: random_map(*asked, cells=None),
    "centre": centre_map,
}


# %%
def compute(name, order, substrate):
    photo = photos.load(name).image[None]
    stand_ins = {"mean": model.mean[None], "black": 0 * photo, "blurred": heatmap.blur(photo, 10)}
    first = model(photo).argmax(1)
    place = places(makers[order](model, photo, first)[0])
    steps = walk(photo, stand_ins[substrate], place, early)
    return steps, ask(steps).softmax(1), first.item()


# %%
def draw(result, gone):
    steps, p, c = result
    guess = p[gone].argmax()
    title = f"{early[gone] / 224**2:.0%} gone: {class_names[guess]} {p[gone, guess]:.2f}"
    whole = metrics.auc(p.T[[c]], early / 224**2).item()
    alt = f"{title}. {class_names[c]} has {p[gone, c]:.2f}; the area is {whole:.3f}."
    figure = plot.Figure(figsize=(8.6, 3.4), alt=alt)
    picture, axes = figure.subplots(1, 2)
    picture.imshow(steps[gone].permute(1, 2, 0))
    picture.set_axis_off()
    picture.set_title(title, loc="left", fontsize=10)
    axes.plot(early / 224**2, p[:, c], color="#0072B2")
    axes.plot(early[gone] / 224**2, p[gone, c], "o", color="#D55E00", markersize=9)
    axes.set(
        ylim=(0, 1.02), xlabel="share of the pixels gone", ylabel=f"probability of {class_names[c]}"
    )
    return figure


# %%
explorer = Explorer(
    compute,
    draw,
    name=choice(photos.names(), "photograph", "coffee"),
    order=choice(list(makers), "order"),
    substrate=choice(["mean", "black", "blurred"], "substrate"),
    gone=slider(0, 16, 4, 1, "step"),
)
explorer

# %% tags=["test", "remove-cell"]
explorer.set(order="dice, pixels", gone=7)
assert explorer.figure and "caldron" in explorer.status and explorer.updates == 2
_, p, c_now = explorer.result
assert p[6, c_now] < 0.2 < 0.5 < p[5, c_now]
explorer.set(name="camera", gone=13)
_, p, c_now = explorer.result
assert p[13, c_now] > 0.85
explorer.set(name="coffee", order="Grad-CAM, least salient first", gone=14)
_, p, c_now = explorer.result
assert p[14, c_now] > 0.7
explorer.set(order="Grad-CAM", gone=4)
assert explorer.result[1][9].argmax() == explorer.result[2]

# %% [markdown]
# **1.** In the order of Grad-CAM the cup stays an espresso until far more than a quarter is gone; in the order of
# dice, until a seventh or so. **2.** *Caldron*, *vase*, *necklace*, *coil*: none of them is in the picture, and a
# person still sees the cup. **3.** The blur breaks it least, since it brings the fewest new edges; but it, too, is
# not the photograph. **4.** Hardly: with two thirds of its pixels grey, the cameraman's *tripod* is as sure as
# before. The dice are the same and the network is the same, so how much a broken picture matters depends on the
# photograph, and a mean over photographs mixes both kinds. **5.** Three quarters of the cup's picture can go. What
# Grad-CAM calls least salient is hardly missed; this is insertion on grey, walked backwards, and the most convincing
# thing to be said for the map.
#
# ## To remember
#
# 1. Insertion and deletion are areas under a walk between two pictures. For a network that adds up they are **one**
#    number; for a real one, print both **on the same substrate**, and print blur, substrate, step and class.
# 2. A low deletion score says that the score **fell**. Evidence may have gone, or the picture may have broken: put
#    **dice** into the table and fill the holes.
# 3. Max-sensitivity is 0 for a blind map, and being **surer** moves insertion and deletion without any change of the map.
#
# **Now you**: [the exercise of this lesson](../exercises/11_causal_metrics.ipynb), 50 minutes.
#
# ## Further reading
#
# - V. Petsiuk, A. Das and K. Saenko, *RISE: randomized input sampling for explanation of black-box models*, BMVC
#   2018: insertion and deletion.
# - W. Samek, A. Binder, G. Montavon, S. Lapuschkin and K.-R. Müller, *Evaluating the visualization of what a deep
#   neural network has learned*, TNNLS 2017: AOPC.
# - C.-K. Yeh, C.-Y. Hsieh, A. Suggala, D. I. Inouye and P. Ravikumar, *On the (in)fidelity and sensitivity of
#   explanations*, NeurIPS 2019: max-sensitivity.
# - S. Hooker, D. Erhan, P.-J. Kindermans and B. Kim, *A benchmark for interpretability methods in deep neural
#   networks*, NeurIPS 2019: train again on pictures with holes.
# - P. Hase, H. Xie and M. Bansal, *The out-of-distribution problem in explainability and search methods for feature
#   importance explanations*, NeurIPS 2021.
# - Y. Rong, T. Leemann, V. Borisov, G. Kasneci and E. Kasneci, *A consistent and efficient evaluation strategy for
#   attribution methods*, ICML 2022: fill the holes, and mind what their shape tells.
# - T. Gomez, T. Fréour and H. Mouchère, *Metrics for saliency map evaluation of deep learning explanation methods*,
#   ICPRAI 2022.
# - In the library: [the two curves](../xailib/metrics/causal.py), [AOPC and
#   max-sensitivity](../xailib/metrics/robustness.py), [substrates](../xailib/metrics/substrate.py).
