# %% [markdown]
# # What is lost when you hide a part? Exercise
#
# | | |
# |---|---|
# | Minutes | 45 |
# | Run time | quick 20 s · laptop 20 s · full 20 s |
# | Memory | 2 GB |
# | Network | no |
#
# Write your answer where it says `your code here`, run the cell, and run the check below it. Stuck?
# `check.hint("mean_drop")` helps a little, called again a little more.

# %%
import torch

from xailib import heatmap, models, plot
from xailib.checks.lesson_07 import NETWORKS, SCENE, check
from xailib.data import photos
from xailib.explain import occlusion, rise

# %% [markdown]
# ## 1. From drops to a map
#
# *3 minutes, one line.* `hidden` `[n h w]` is 1 where a window hides a pixel, `drops` `[n]` says how far the logit
# fell for each window. Return the occlusion map `[h w]`: for each pixel the mean drop of the windows that hide it.


# %%
def mean_drop(drops: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """The mean drop over the windows that hide a pixel."""
    ### BEGIN SOLUTION
    return (drops[:, None, None] * hidden).sum(0) / hidden.sum(0)
    ### END SOLUTION


check.mean_drop(mean_drop)


# %% tags=["wrong"]
def added_up(drops, hidden):
    return (drops[:, None, None] * hidden).sum(0)


check.mean_drop(added_up)


# %% tags=["wrong"]
def over_all_windows(drops, hidden):
    return (drops[:, None, None] * hidden).mean(0)


check.mean_drop(over_all_windows)


# %% tags=["wrong"]
def largest_drop(drops, hidden):
    return (drops[:, None, None] * hidden).amax(0)


check.mean_drop(largest_drop)

# %% [markdown]
# ## 2. RISE without its noise
#
# *5 minutes, one line.* Given the `scores` `[n]` of the picture seen through `masks` `[n h w]` in [0, 1], return for
# each pixel the mean score when it is seen. A network that says 0.7 whatever it sees must get a map of 0.7, with any
# masks.


# %%
def seen_mean(scores: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """The mean of the scores, each weighted by how much of the pixel its mask shows."""
    ### BEGIN SOLUTION
    return (scores[:, None, None] * masks).sum(0) / masks.sum(0)
    ### END SOLUTION


check.seen_mean(seen_mean)


# %% tags=["wrong"]
def as_in_the_paper(scores, masks):
    return (scores[:, None, None] * masks).mean(0) / 0.5


check.seen_mean(as_in_the_paper)


# %% tags=["wrong"]
def divided_by_scores(scores, masks):
    return (scores[:, None, None] * masks).sum(0) / scores.sum()


check.seen_mean(divided_by_scores)


# %% tags=["wrong"]
def masks_as_yes_or_no(scores, masks):
    seen = (masks > 0).float()
    return (scores[:, None, None] * seen).sum(0) / seen.sum(0)


check.seen_mean(masks_as_yes_or_no)

# %% [markdown]
# ## 3. A line near the picture
#
# *12 minutes, four lines.* LIME's small model, without ridge: find $w_0$ and $w$ that make $\sum_n \pi_n (f_n - w_0 -
# w \cdot z_n)^2$ smallest, and return $w$ `[superpixels]`. `shown` holds the $z_n$ `[n superpixels]`, `scores` the
# $f_n$, `weights` the $\pi_n$. On paper first, for one superpixel: shown 1, 1, 0, 0; scores 1, 3, 0, 4; weights 3, 1,
# 1, 3.


# %%
def local_line(shown: torch.Tensor, scores: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The coefficients of a weighted least squares line with an intercept."""
    ### BEGIN SOLUTION
    roots = weights.sqrt()[:, None]
    X = torch.cat([shown, torch.ones(len(shown), 1)], 1)
    solution = torch.linalg.lstsq(roots * X, roots * scores[:, None]).solution
    return solution[:-1, 0]
    ### END SOLUTION


check.local_line(local_line)


# %% tags=["wrong"]
def through_zero(shown, scores, weights):
    roots = weights.sqrt()[:, None]
    return torch.linalg.lstsq(roots * shown, roots * scores[:, None]).solution[:, 0]


check.local_line(through_zero)


# %% tags=["wrong"]
def all_samples_alike(shown, scores, weights):
    X = torch.cat([shown, torch.ones(len(shown), 1)], 1)
    return torch.linalg.lstsq(X, scores[:, None]).solution[:-1, 0]


check.local_line(all_samples_alike)


# %% tags=["wrong"]
def with_intercept(shown, scores, weights):
    roots = weights.sqrt()[:, None]
    X = torch.cat([shown, torch.ones(len(shown), 1)], 1)
    return torch.linalg.lstsq(roots * X, roots * scores[:, None]).solution[:, 0]


check.local_line(with_intercept)

# %% [markdown]
# ## 4. Four networks without names
#
# *10 minutes, five lines.* `NETWORKS` holds four networks, A to D. Each returns one logit between 0 and 1, and each
# is sure of this scene with its two red stickers, whose boxes are `SCENE.boxes[0]`. Here is what occlusion says.

# %%
only = torch.tensor([0])
maps = [
    occlusion(network, SCENE.images, only, window=32, stride=8, substrate="black", chunk=81)[0]
    for network in NETWORKS.values()
]
plot.gallery(
    SCENE.images.expand(5, -1, -1, -1),
    [None, *maps],
    boxes=[SCENE.boxes[0]] + [None] * 4,
    titles=["the scene", *NETWORKS],
    columns=5,
    opacity=0.7,
    alt="A scene with two red stickers; occlusion finds them for A and C, and nothing for B and D.",
)

# %% [markdown]
# How does each network read the stickers? Write `"sum"` (each adds its part), `"either"` (one of them suffices),
# `"both"` (both are needed) or `"neither"` (they do not matter). Hide what you need to hide; a box is `x0, y0, x1,
# y1`.

# %%
readings = ...  # such as {"A": "sum", "B": "either", "C": "both", "D": "neither"}
### BEGIN SOLUTION
pictures = SCENE.images.repeat(4, 1, 1, 1)  # whole, without the first, the second, both
for k, (x0, y0, x1, y1) in enumerate(SCENE.boxes[0].tolist()):
    pictures[[k + 1, 3], :, y0:y1, x0:x1] = 0
for name, network in NETWORKS.items():
    print(name, [round(value, 2) for value in network(pictures)[:, 0].tolist()])
readings = {"A": "both", "B": "either", "C": "sum", "D": "neither"}
### END SOLUTION
check.readings(readings)

# %% tags=["wrong"]
check.readings({"A": "sum", "B": "neither", "C": "sum", "D": "neither"})

# %% tags=["wrong"]
check.readings({"A": "both", "B": "neither", "C": "sum", "D": "neither"})

# %% tags=["wrong"]
check.readings({"A": "sum", "B": "either", "C": "both", "D": "neither"})

# %% [markdown]
# ## 5. Three sentences of a report
#
# *15 minutes, open.* A report on the network shows two maps of a cup of espresso and says:
#
# 1. *RISE is above 0.2 in every pixel, so every part of the picture supports "espresso".*
# 2. *Occlusion is near zero in the cup, so the network does not look at the coffee.*
# 3. *Occlusion is negative on the spoon: the network has learned that spoons speak against espresso.*

# %%
model = models.load("efficientnet_lite0")
x = photos.load("coffee").image[None]
espresso = model(x).argmax(1)
heats = [
    rise(model, x, espresso, masks=64)[0],
    occlusion(model, x, espresso, window=56, stride=28, substrate="black")[0],
]
plot.gallery(
    x.expand(3, -1, -1, -1),
    [None, *heats],
    titles=["the photograph", "RISE, 64 masks", "occlusion, on black"],
    opacity=0.7,
    alt="A cup of espresso; RISE, smooth blobs; occlusion on black, pale in the cup, blue on the spoon.",
)

# %%
print(f"RISE: {heats[0].min():.2f} to {heats[0].max():.2f}, mean {heats[0].mean():.2f}")
for name, rows, columns in (("cup", (40, 110), (60, 150)), ("spoon", (145, 180), (125, 165))):
    print(f"occlusion, {name}: {heats[1][slice(*rows), slice(*columns)].mean():.2f}")

# %% [markdown]
# Judge each sentence in at most 50 words: does it follow from the maps? Name for each the property of the method that
# decides. Then choose one of the three and **run one experiment without any map** that could speak for it or against
# it; say beforehand which outcome would do which.

# %% tags=["solution"]
stand_ins = {
    "black": torch.zeros_like(x),
    "image mean": x.mean((2, 3), keepdim=True).expand_as(x),
    "blurred": heatmap.blur(x, 10),
    "white": torch.ones_like(x),
}
pictures = {"whole": x}
for substrate, fill in stand_ins.items():
    for part, rows, columns in (("cup", (30, 110), (50, 160)), ("spoon", (135, 190), (115, 175))):
        picture = x.clone()
        at = (..., slice(*rows), slice(*columns))
        picture[at] = fill[at]
        pictures[f"{part}, {substrate}"] = picture
logits = model(torch.cat(list(pictures.values()))).detach()[:, espresso[0]]
plot.bars(
    dict(zip(pictures, logits, strict=True)),
    xlabel="logit of espresso",
    alt="; ".join(f"{name} {y:.1f}" for name, y in zip(pictures, logits, strict=True)),
)

# %% [markdown] tags=["solution"]
# **Rubric**, one point each:
#
# - *Sentence 1 does not follow.* RISE estimates the mean score when a pixel is seen, which has an offset: a pixel
#   that the network ignores gets the mean score of all masked pictures, about the mean of the map. Only differences
#   within the map can be read, and with 64 masks most of these are noise: the test is another seed.
# - *Sentence 2 does not follow.* It is read from one substrate. "No drop compared with black" may mean that black
#   does the same job, as in a cup of black coffee; and no drop does not mean not used.
# - *Sentence 3 goes too far.* That the logit is higher without this spoon, in this photograph, is a fact about four
#   substrates in the experiment below. What the network has learned of spoons needs many pictures with spoons; it may
#   be the shadow beside it, or that a spoon speaks for other things on a table.
# - *An experiment that could fail, with the outcome said before.* "Cover the cup's inside with white: if the report
#   is right, the logit stays where black left it"; "put the spoon into another picture of an espresso". Not: another
#   map.
#
# A good answer: *(1) No: an ignored pixel gets the map's mean, 0.40 here, not 0; 0.3 may even speak against the
# class. (2) No: only black leaves the logit high. I covered the inside of the cup with four substrates and expected
# them to differ if the report is wrong: from 11.0 the logit falls to 9.5 on black, 8.4 on the mean colour, 8.2 on a
# blur and 7.5 on white. So the coffee is used, and black replaces it best. (3) For this spoon yes, on all four
# substrates the logit rises; for spoons, one picture proves nothing.*
