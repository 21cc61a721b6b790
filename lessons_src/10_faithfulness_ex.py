# %% [markdown]
# # Is a better number a better explanation? Exercise
#
# | | |
# |---|---|
# | Minutes | 50 |
# | Run time | quick 40 s · laptop 40 s · full 40 s |
# | Memory | 2 GB |
# | Network | no |
#
# Write your answer where it says `your code here`, run the cell, and run the check below it. Stuck? `check.hint("cheat")` helps a
# little, called again a little more.

# %%
import torch

from xailib import benchmark, heatmap, models, plot
from xailib.benchmark.table import read
from xailib.checks.lesson_10 import check
from xailib.course import ROOT
from xailib.data import photos
from xailib.explain import cam, edge_map, gradcam, input_gradient

# %% [markdown]
# ## 1. Drop, increase, gain
#
# *8 minutes, three lines.* `p` and `o` hold the probabilities of the class for the images and for the masked images, `[b]`. Return AD, AI
# and AG over these images, in percent. Work it out on paper first for $p = (0.8, 0.5, 0.2, 0.9)$ and $o = (0.4, 0.75, 0.2, 0.99)$.


# %%
def drop_increase_gain(p: torch.Tensor, o: torch.Tensor) -> tuple[float, float, float]:
    """Average drop, average increase and average gain in percent."""
    ### BEGIN SOLUTION
    AD = 100 * ((p - o).relu() / p).mean().item()
    AG = 100 * ((o - p).relu() / (1 - p)).mean().item()
    return AD, 100 * (o > p).float().mean().item(), AG
    ### END SOLUTION


check.drop_increase_gain(drop_increase_gain)


# %% tags=["wrong"]
def gain_over_p(p, o):
    AD = 100 * ((p - o).relu() / p).mean()
    return AD, 100 * (o > p).float().mean(), 100 * ((o - p).relu() / p).mean()


check.drop_increase_gain(gain_over_p)


# %% tags=["wrong"]
def drop_without_relu(p, o):
    AG = 100 * ((o - p).relu() / (1 - p)).mean()
    return 100 * ((p - o) / p).mean(), 100 * (o > p).float().mean(), AG


check.drop_increase_gain(drop_without_relu)


# %% tags=["wrong"]
def ratio_of_means(p, o):
    AD = 100 * (p - o).relu().mean() / p.mean()
    return AD, 100 * (o > p).float().mean(), 100 * (o - p).relu().mean() / (1 - p).mean()


check.drop_increase_gain(ratio_of_means)


# %% tags=["wrong"]
def draws_count(p, o):
    AD = 100 * ((p - o).relu() / p).mean()
    return AD, 100 * (o >= p).float().mean(), 100 * ((o - p).relu() / (1 - p)).mean()


check.drop_increase_gain(draws_count)

# %% [markdown]
# ## 2. ADCC of a map that never looks
#
# *8 minutes, pencil and one line.* A method returns one and the same map for every picture, not a constant one (a
# constant map has no correlation; the library sets $r = 0$, so its coherency is 1/2). The mean of the map
# is $m$, and the class loses the share $d$ of its probability under it (so AD is $100\, d$ percent). Return its ADCC, between 0 and 1, for $m < 1$ and $d < 1$.


# %%
def adcc_of_fixed_map(m: float, d: float) -> float:
    """ADCC of a map that is the same for every picture, with mean m, under which the share d is lost."""
    ### BEGIN SOLUTION
    return 3 / (1 + 1 / (1 - m) + 1 / (1 - d))
    ### END SOLUTION


check.adcc_of_fixed_map(adcc_of_fixed_map)


# %% tags=["wrong"]
def arithmetic_mean(m, d):
    return (1 + (1 - m) + (1 - d)) / 3


check.adcc_of_fixed_map(arithmetic_mean)


# %% tags=["wrong"]
def coherency_of_one_half(m, d):
    return 3 / (2 + 1 / (1 - m) + 1 / (1 - d))


check.adcc_of_fixed_map(coherency_of_one_half)


# %% tags=["wrong"]
def of_complexity_itself(m, d):
    return 3 / (1 + 1 / max(m, 1e-9) + 1 / (1 - d))


check.adcc_of_fixed_map(of_complexity_itself)

# %% [markdown]
# Put numbers in. With $d = 0$, the ADCC grows to 1 as $m$ falls to 0: the best that a map can do, says ADCC, is to be nearly black,
# never to look, and to lose nothing. The first two are easy.
#
# ## 3. Build a cheat
#
# *10 minutes, two or three lines.* Return maps `[b H W]` in [0, 1] for a batch of images `[b 3 H W]`: **one map for all images, made
# without looking at their pixels or at any network**. On the photographs of the course it must have a larger AG than Grad-CAM, and an ADCC above
# 0.6, where occlusion, LIME and all gradients stay below in the course's table. (The check takes a few seconds: it asks the network.)


# %%
def cheat(images: torch.Tensor) -> torch.Tensor:
    """A map that explains nothing, with a larger AG than Grad-CAM and an ADCC above 0.6."""
    ### BEGIN SOLUTION
    maps = torch.full_like(images[:, 0], 0.5)  # a veil, which the network bears
    maps[:, 0, 0] = 0  # not constant any more, so that its coherency is 1
    return maps
    ### END SOLUTION


check.cheat(cheat)


# %% tags=["wrong"]
def fake_cam(images):
    maps = torch.ones_like(images[:, 0])
    maps[:, 0, 0] = 0
    return maps


check.cheat(fake_cam)


# %% tags=["wrong"]
def constant_veil(images):
    return torch.full_like(images[:, 0], 0.5)


check.cheat(constant_veil)


# %% tags=["wrong"]
def dark_where_dark(images):
    return images.mean(1)


check.cheat(dark_where_dark)

# %% [markdown]
# ## 4. Catch it
#
# *10 minutes, two lines.* An explanation says *where*. So move the map by half of the picture's height and width (with `roll`, so that what
# leaves on one side returns on the other), and see how much probability its place was worth: the probability through the map, less that
# through the moved map, one number per image. `probability` is a function that takes images `[b 3 H W]` and returns the class's probability for each, `[b]`.


# %%
def worth_of_place(probability, images: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """o through the map, less o through the map moved by half of the picture; one number per image."""
    ### BEGIN SOLUTION
    moved = maps.roll((maps.shape[1] // 2, maps.shape[2] // 2), (1, 2))
    return probability(images * maps[:, None]) - probability(images * moved[:, None])
    ### END SOLUTION


check.worth_of_place(worth_of_place)


# %% tags=["wrong"]
def moved_sideways_only(probability, images, maps):
    moved = maps.roll(maps.shape[2] // 2, 2)
    return probability(images * maps[:, None]) - probability(images * moved[:, None])


check.worth_of_place(moved_sideways_only)


# %% tags=["wrong"]
def compared_with_the_whole(probability, images, maps):
    return probability(images * maps[:, None]) - probability(images)


check.worth_of_place(compared_with_the_whole)


# %% tags=["wrong"]
def moved_picture(probability, images, maps):
    seen = images * maps[:, None]
    moved = seen.roll((maps.shape[1] // 2, maps.shape[2] // 2), (1, 2))
    return probability(seen) - probability(moved)


check.worth_of_place(moved_picture)

# %% [markdown]
# And now your cheat against your control, on the photographs. **Predict** the four bars. Above 0, the place was worth something.

# %%
model = models.load("efficientnet_lite0")
images, targets, _ = photos.batch()


@torch.no_grad()
def probability(images):
    return model(images).softmax(1).gather(1, targets[:, None])[:, 0]


methods = {"Grad-CAM": cam(model, images, targets, layer="bn2", weights=gradcam)}
methods |= {"gradient": input_gradient(model, images, targets)}
methods |= {"edges": edge_map(model, images, targets)}
methods = {name: heatmap.normalize(maps) for name, maps in methods.items()}
solved = check.worth_of_place(worth_of_place).status == "correct"
if check.cheat(cheat).status == "correct" and solved:
    methods["your cheat"] = cheat(images)

# %%
if solved:
    worth = {n: worth_of_place(probability, images, S).mean() for n, S in methods.items()}
    alt = "; ".join(f"{name}: {value:.2f}" for name, value in worth.items())
    figure = plot.bars(worth, alt=alt, xlabel="worth of place (probability)")
figure if solved else None

# %% [markdown]
# Your cheat is caught: its place is worth nothing. But the edges pass, and they never asked the network; they lie where objects are. And
# the gradient passes, whose gain does not survive two pixels (see the lesson). A control can refute a map; passing one proves little.

# %% tags=["test", "remove-cell"]
if solved:
    assert worth["Grad-CAM"] > worth["edges"] > 0.05 and worth["gradient"] > 0.05
    assert abs(worth.get("your cheat", torch.zeros(1))) < 0.02

# %% [markdown]
# ## 5. A paper for review
#
# *14 minutes, open.* You are sent a paper: "We propose to explain with the **integrated gradient, scaled to its range**. On photographs it has an
# average gain of 37, Grad-CAM 0.7. It is therefore fifty times more faithful." These are the rows that it rests on, from the course's
# table of all methods. Nobody has run a control of them for you.

# %%
table = read(ROOT / "results" / "benchmark_photos.csv")
rows = table[table.method.isin(["integrated_gradients", "gradcam", "fakecam", "random_map"])]
rows = rows[rows.metric.isin(["average_drop", "average_gain", "complexity", "coherency"])]
benchmark.summary(rows)[["method", "metric", "mean", "low", "high", "median", "n"]].round(2)

# %% [markdown]
# Write a review of at most 150 words: what do the numbers show, what do they not show, which **one control** must the authors add, and which
# result of it would convince you?

# %% [markdown] tags=["solution"]
# **Rubric**, one point each:
#
# - *What AG measures.* The network is surer of the class when it sees the picture through the map. That is a statement about a masked
#   picture; nothing in it says that the map shows what the network used on the whole one.
# - *The hint in the table is read.* A complexity of nearly one half and a coherency of one half, which is a correlation of nearly 0 between
#   the map and the map of the masked picture: a fine pattern on a grey veil, that does not survive its own mask.
# - *The control.* The same maps moved by two pixels, or a constant map of the same mean (which tests the veil only, and will not be
#   enough), or masks applied in another space. It is said in advance what would convince: the gain must survive the small move, image by
#   image, with an interval of the difference.
# - *Spread.* Nine photographs; the interval of the AG is some fifty points wide; one ratio of two means ("fifty times") says little when one of them is near 0.
# - *Bonus.* Scaling a signed map to its range turns zero into grey: this is a choice of the normalisation, not of the method, and another one
#   (the positive part, by its maximum) would have given other numbers.
#
# A good answer: *AG says that the network is surer of pictures seen through these maps. It does not say why. A signed map scaled to its range
# is a fine pattern on a veil of about one half (complexity 0.49), and the map of the masked picture has nothing to do with that of the
# picture (coherency 0.49, a correlation of about 0). The pattern may be a step along the gradient that talks the network into the class, rather than
# a statement about the picture. Please add the same maps moved by two pixels: what they say about the picture is then still right. If the
# gain stays, image by image, on more than nine photographs, I believe that they explain; if it is gone, they were steps. And drop "fifty times": the
# interval of your gain runs from 13 to 63, and Grad-CAM's includes 0.*

# %% [markdown]
# ## 6. Four photographs of your own
#
# *Extra, for a class: 5 minutes, pencil and paper.* The cell prints the probabilities of four photographs without and with a mask, and in a class each student
# gets others. Write down the average drop AD in percent, with two digits behind the point.

# %%
p, o = check.numbers("own_drop")
print(f"p = {p}\no = {o}")

# %%
### BEGIN SOLUTION
own_drop = drop_increase_gain(torch.tensor(p), torch.tensor(o))[0]
### END SOLUTION
check.own_drop(own_drop)

# %% tags=["wrong"]
check.own_drop(100 * sum((x - y) / x for x, y in zip(p, o, strict=True)) / 4)  # without relu

# %% tags=["wrong"]
check.own_drop(
    100 * sum(max(0, x - y) for x, y in zip(p, o, strict=True)) / sum(p)
)  # the ratio of means

# %% tags=["wrong"]
check.own_drop(sum(max(0, x - y) / x for x, y in zip(p, o, strict=True)) / 4)  # no percent
