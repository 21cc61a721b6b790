# %% [markdown]
# # Which pixels would change the answer? Exercise
#
# | | |
# |---|---|
# | Minutes | 45 |
# | Run time | quick 30 s · laptop 30 s · full 30 s |
# | Memory | 3 GB |
# | Network | no |
#
# Write your answer where it says `your code here`, run the cell, and run the check below it. Stuck?
# `check.hint("saliency_map")` helps a little, called again a little more.

# %%
import torch

from xailib import models, plot
from xailib.checks.lesson_06 import METHODS, check
from xailib.data import photos
from xailib.explain import completeness_error, integrated_gradients
from xailib.metrics import average_ranks, correlation

# %% [markdown]
# ## 1. Three colours, one number
#
# *3 minutes, one line.* Given the gradient of one image, `[3 h w]`, return its saliency map `[h w]`: for each pixel
# the largest magnitude among its three slopes.


# %%
def saliency_map(g: torch.Tensor) -> torch.Tensor:
    """The largest magnitude among the colours."""
    ### BEGIN SOLUTION
    return g.abs().amax(0)
    ### END SOLUTION


check.saliency_map(saliency_map)


# %% tags=["wrong"]
def sign_still_there(g):
    return g.amax(0)


check.saliency_map(sign_still_there)


# %% tags=["wrong"]
def added_up(g):
    return g.sum(0).abs()


check.saliency_map(added_up)


# %% tags=["wrong"]
def over_rows(g):
    return g.abs().amax(1)


check.saliency_map(over_rows)

# %% [markdown]
# ## 2. Guide a rectifier
#
# *7 minutes, one or two lines.* A rectifier $\min(\max(z, 0), u)$ has the ceiling $u$: 6 for ReLU6, infinity for
# ReLU. Given its inputs `z`, the signal `R` from above and the ceiling, return what guided backpropagation hands
# down. On paper first: $z = (-2, 3, 3, 8)$, $R = (1, 2, -3, 4)$, for both ceilings.


# %%
def guided(z: torch.Tensor, R: torch.Tensor, ceiling: float) -> torch.Tensor:
    """The signal below the rectifier, by guided backpropagation."""
    ### BEGIN SOLUTION
    passes = (z > 0) & (z < ceiling) & (R > 0)
    return R.where(passes, 0)
    ### END SOLUTION


check.guided(guided)


# %% tags=["wrong"]
def chain_rule_only(z, R, ceiling):
    return R.where((z > 0) & (z < ceiling), 0)


check.guided(chain_rule_only)


# %% tags=["wrong"]
def signal_only(z, R, ceiling):
    return R.clamp(min=0)


check.guided(signal_only)


# %% tags=["wrong"]
def without_ceiling(z, R, ceiling):
    return R.where((z > 0) & (R > 0), 0)


check.guided(without_ceiling)

# %% [markdown]
# ## 3. Integrate
#
# *10 minutes, three or four lines.* Write integrated gradients for any function. You get `slope`, which returns the
# gradient at a point, the point `x`, the `baseline` and the number of `steps`; use the middles of equal parts of the
# way. The check tries a sum of squares, for which the midpoint rule is exact: each number's part is $x_i^2 - x_i'^2$.
# It also tries $x_1 x_2$ from 0. How should two factors share their product?


# %%
def integrated(slope, x: torch.Tensor, baseline: torch.Tensor, steps: int) -> torch.Tensor:
    """(x - baseline) times the mean slope on the straight way from the baseline to x."""
    ### BEGIN SOLUTION
    way = x - baseline
    alphas = (torch.arange(steps) + 0.5) / steps
    mean = sum(slope(baseline + alpha * way) for alpha in alphas) / steps
    return way * mean
    ### END SOLUTION


check.integrated(integrated)


# %% tags=["wrong"]
def gradient_times_input(slope, x, baseline, steps):
    return (x - baseline) * slope(x)


check.integrated(gradient_times_input)


# %% tags=["wrong"]
def left_ends(slope, x, baseline, steps):
    points = [baseline + k / steps * (x - baseline) for k in range(steps)]
    return (x - baseline) * sum(slope(point) for point in points) / steps


check.integrated(left_ends)


# %% tags=["wrong"]
def only_the_mean(slope, x, baseline, steps):
    alphas = (torch.arange(steps) + 0.5) / steps
    return sum(slope(baseline + alpha * (x - baseline)) for alpha in alphas) / steps


check.integrated(only_the_mean)


# %% tags=["wrong"]
def from_zero(slope, x, baseline, steps):
    alphas = (torch.arange(steps) + 0.5) / steps
    return x * sum(slope(alpha * x) for alpha in alphas) / steps


check.integrated(from_zero)

# %% [markdown]
# ## 4. Four methods without names
#
# *10 minutes, five lines.* `METHODS` holds four methods, A to D, called as all methods of the course are: with
# `(model, images, targets)`. Here are their maps. Which of them are **blind to the class**? Looking will not tell
# you. Take another class for each photograph, for example the first guess of another photograph, and compare ranks as
# in the lesson.

# %%
model = models.load("efficientnet_lite0")
class_names = models.class_names()
images = torch.stack([photos.load(name).image for name in ("chelsea", "coffee", "rocket")])
first = model(images).argmax(1)
plot.gallery(
    images.repeat(4, 1, 1, 1),
    torch.cat([method(model, images, first) for method in METHODS.values()]),
    columns=3,
    row_titles=list(METHODS),
    titles=[class_names[c] for c in first] * 4,
    alt="Four rows of smooth heat maps on cat, cup and rocket; all rows have bright spots on the objects.",
)

# %%
blind = ...  # the letters, such as {"A", "C"}
### BEGIN SOLUTION
other = first.roll(1)
likeness = {
    letter: correlation(*(average_ranks(method(model, images, c)) for c in (first, other)))
    for letter, method in METHODS.items()
}
print({letter: [round(r, 3) for r in values.tolist()] for letter, values in likeness.items()})
blind = {letter for letter, values in likeness.items() if values.min() > 0.95}
### END SOLUTION
check.blind(blind)

# %% tags=["wrong"]
check.blind({"B"})

# %% tags=["wrong"]
check.blind({"A", "B", "D"})

# %% tags=["wrong"]
check.blind({"C"})

# %% [markdown] tags=["solution"]
# A is saliency, B guided backpropagation, D an edge detector that never asks the network, all blurred with the same
# Gaussian; C is Grad-CAM. Only the numbers tell A from B: a blurred map looks like a class activation map, and the
# blur has taken the last chance to see fine lines.

# %% [markdown]
# ## 5. The report
#
# *15 minutes, open.* A report on the network says: *"The network recognises the tripod and ignores the photographer:
# integrated gradients is nearly empty on his black coat."* Below is the report's figure, from a black baseline with
# 16 steps, and the same from a white one.

# %%
man = photos.load("camera").image[None]
tripod = model(man).argmax(1)
dark = man.mean(1) < 0.15
ends = {"black": torch.zeros_like(man), "white": torch.ones_like(man)}
maps = [integrated_gradients(model, man, tripod, steps=16, baseline=end) for end in ends.values()]
for (name, end), heat in zip(ends.items(), maps, strict=True):
    error = completeness_error(model, man, tripod, heat, baseline=end).item()
    inside = ((heat.abs() * dark).sum() / heat.abs().sum()).item()
    print(f"from {name}: {inside:.0%} of the map on dark pixels, completeness error {error:.0%}")
print(f"dark pixels: {dark.float().mean():.0%} of the picture")

# %%
heats = [heat[0].abs().clamp(max=heat.abs().quantile(0.99)) for heat in maps]
plot.gallery(
    man.expand(3, -1, -1, -1),
    [None, *heats],
    titles=[class_names[tripod], "from black", "from white"],
    opacity=1,
    alt="A man in a black coat at a tripod; from black the coat is empty, from white it is full of specks.",
)

# %% [markdown]
# Judge the sentence in at most 150 words. Use at least two of the printed numbers; say what the left map does show,
# and what it cannot; and propose **one experiment, without any heat map,** whose outcome could speak for the report
# or against it. Say beforehand which outcome would do which. Then run it.

# %% tags=["solution"]
grey, covered, hidden = man.where(~dark[:, None], 0.5), man.clone(), man.clone()
covered[..., 60:224, 0:110] = 0.6  # a plain rectangle over the man
hidden[..., 112:224, 110:190] = 0.6  # and one over the legs of the tripod
pictures = torch.cat([man, grey, covered, hidden])
p = model(pictures).softmax(1)[:, tripod[0]].tolist()
names = ["untouched", "coat in grey", "man covered", "tripod covered"]
titles = [f"{name}: {value:.2f}" for name, value in zip(names, p, strict=True)]
plot.gallery(
    pictures, titles=titles, alt=f"The photograph four times, with tripod's probability: {titles}."
)

# %% [markdown] tags=["solution"]
# **Rubric**, one point each:
#
# - *The baseline is named as the reason.* Black pixels equal the black baseline, so integrated gradients gives them
#   nearly nothing whatever the network does. That the map is empty on the coat follows from its definition. From
#   white, the same coat gets about half of the map on about a quarter of the picture.
# - *A number is read critically.* The completeness errors of both maps are printed; where one is above 5 %, its sum
#   of 16 steps has not arrived, and no share computed from it deserves more than one digit.
# - *What the map does show.* Compared with a black picture, the *bright* surroundings of the tripod made the logit.
#   This is a true sentence about a difference, and no sentence about the coat.
# - *An experiment that could fail, with the outcome said before.* "Paint the coat grey: if the network ignores it,
#   the probability stays"; "cover the man: if he is needed, it falls". Another heat map is no such experiment, and
#   one that covers half of the picture needs a control of the same size.
#
# A good answer: *The sentence does not follow from the figure. From black, 6 % of the map lie on the dark 26 % of the
# picture (completeness error 90 %, so roughly), but a pixel that equals the baseline gets 0 by definition; from white
# it is about half (error 28 %). The map shows which
# bright pixels raise "tripod" above a black picture. I cover the man with a plain rectangle. If the probability
# stays, the report is right for the wrong reason; if it falls, it is wrong. It stays; covering the tripod's legs
# instead makes it collapse.* So the claim may well be true, and the evidence offered for it was still none. (A doubt
# remains: a picture with a plain rectangle is none that the network was trained on. Lesson 11 comes back to it.)
