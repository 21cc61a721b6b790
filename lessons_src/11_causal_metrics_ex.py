# %% [markdown]
# # Why does the score fall when pixels go? Exercise
#
# | | |
# |---|---|
# | Minutes | 50 |
# | Run time | quick 30 s · laptop 30 s · full 30 s |
# | Memory | 2 GB |
# | Network | no |
#
# Write your answer where it says `your code here`, run the cell, and run the check below it. Stuck?
# `check.hint("area")` helps a little, called again a little more.

# %%
import pandas as pd
import torch
import torch.nn.functional as F

from xailib import metrics, models
from xailib.checks.lesson_11 import check
from xailib.data import photos
from xailib.explain import cam, gradcam

# %% [markdown]
# ## 1. The area under a curve
#
# *4 minutes, one line.* A curve `[points]` has equally spaced points, joined by straight lines, from 0 to 100 % of
# the pixels. Return the area under it.


# %%
def area(curve: torch.Tensor) -> float:
    """The area by the trapezoidal rule, with a width of 1."""
    ### BEGIN SOLUTION
    return ((curve[1:] + curve[:-1]) / 2).mean().item()
    ### END SOLUTION


check.area(area)


# %% tags=["wrong"]
def plain_mean(curve):
    return curve.mean().item()


check.area(plain_mean)


# %% tags=["wrong"]
def sum_of_trapezoids(curve):
    return torch.trapezoid(curve).item()


check.area(sum_of_trapezoids)


# %% tags=["wrong"]
def left_corners(curve):
    return curve[:-1].mean().item()


check.area(left_corners)

# %% [markdown]
# ## 2. Deletion, cell by cell
#
# *10 minutes, five lines.* A picture `x` and a substrate `b` have n cells, `f` gives one number for a picture, and
# `order` names the cells in the order in which they go. Return the curve of deletion: f of the whole picture, then
# with one cell replaced, with two, and so on to the last. `x` must stay as it was.


# %%
def deletion(f, x: torch.Tensor, b: torch.Tensor, order: torch.Tensor) -> list[float]:
    """f at the n + 1 steps from x to b."""
    ### BEGIN SOLUTION
    left, curve = x.clone(), [float(f(x))]
    for cell in order:
        left[cell] = b[cell]
        curve.append(float(f(left)))
    return curve
    ### END SOLUTION


check.deletion(deletion)


# %% tags=["wrong"]
def one_at_a_time(f, x, b, order):
    cells = torch.arange(len(x))
    return [float(f(x))] + [float(f(torch.where(cells == cell, b, x))) for cell in order]


check.deletion(one_at_a_time)


# %% tags=["wrong"]
def places_for_order(f, x, b, order):
    return [float(f(torch.where(order < i, b, x))) for i in range(len(x) + 1)]


check.deletion(places_for_order)


# %% tags=["wrong"]
def without_the_start(f, x, b, order):
    left, curve = x.clone(), []
    for cell in order:
        left[cell] = b[cell]
        curve.append(float(f(left)))
    return curve


check.deletion(without_the_start)


# %% tags=["wrong"]
def always_black(f, x, b, order):
    left, curve = x.clone(), [float(f(x))]
    for cell in order:
        left[cell] = 0
        curve.append(float(f(left)))
    return curve


check.deletion(always_black)


# %% tags=["wrong"]
def in_place(f, x, b, order):
    curve = [float(f(x))]
    for cell in order:
        x[cell] = b[cell]
        curve.append(float(f(x)))
    return curve


check.deletion(in_place)

# %% [markdown]
# ## 3. Two for the price of one
#
# *6 minutes, pencil and one line.* A network is additive, $f(x) = f_0 + \sum_j a_j x_j$. Someone has measured a map's
# insertion (area, from 0 to 1) with the substrate $b$, and tells you $f(x)$ and $f(b)$. Return the map's deletion
# with the same substrate.


# %%
def other_area(insertion: float, f_x: float, f_b: float) -> float:
    """The area of deletion for an additive network."""
    ### BEGIN SOLUTION
    return f_x + f_b - insertion
    ### END SOLUTION


check.other_area(other_area)


# %% tags=["wrong"]
def to_one(insertion, f_x, f_b):
    return 1 - insertion


check.other_area(to_one)


# %% tags=["wrong"]
def without_substrate(insertion, f_x, f_b):
    return f_x - insertion


check.other_area(without_substrate)

# %% [markdown]
# ## 4. Same evidence, another score
#
# *12 minutes, three lines.* You get a map and some noise, both `[H W]`, where 14 divides H and W. Return a map that
# says the same in every patch of 14 x 14 (its mean there is unchanged), but whose most salient pixels lie scattered:
# of the first tenth of the pixels, most should have no neighbour that goes with them.


# %%
def scatter(heat: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """The map, its patches unchanged, its pixels in disorder."""
    ### BEGIN SOLUTION
    mean = F.avg_pool2d(noise[None], 14)[0]
    return heat + 100 * (noise - mean.repeat_interleave(14, 0).repeat_interleave(14, 1))
    ### END SOLUTION


check.scatter(scatter)


# %% tags=["wrong"]
def noise_added(heat, noise):
    return heat + 100 * noise


check.scatter(noise_added)


# %% tags=["wrong"]
def hardly_any(heat, noise):
    mean = F.avg_pool2d(noise[None], 14)[0]
    return heat + 0.001 * (noise - mean.repeat_interleave(14, 0).repeat_interleave(14, 1))


check.scatter(hardly_any)


# %% tags=["wrong"]
def only_noise(heat, noise):
    mean = F.avg_pool2d(noise[None], 14)[0]
    return 100 * (noise - mean.repeat_interleave(14, 0).repeat_interleave(14, 1))


check.scatter(only_noise)


# %% tags=["wrong"]
def centred_as_a_whole(heat, noise):
    return heat + 100 * (noise - noise.mean())


check.scatter(centred_as_a_whole)

# %% [markdown]
# On a photograph, with the network of the lesson. Before you run it, say which of the three scores your map will
# change.

# %%
model = models.load("efficientnet_lite0")
x = photos.load("coffee").image[None]
target = torch.tensor([photos.load("coffee").label])
heat = cam(model, x, target, layer="bn2", weights=gradcam)
noise = torch.rand(224, 224, generator=torch.Generator().manual_seed(0))
solved = check.scatter(scatter).status == "correct"  # the table needs question 4
both = (
    {"Grad-CAM": heat[0], "your map": scatter(heat[0], noise)} if solved else {"Grad-CAM": heat[0]}
)
rows = {}
for name, one in both.items():
    ask_for = (model, x, target, one[None])
    rows[name] = {
        "deletion (less)": metrics.auc(metrics.deletion_curve(*ask_for, step=224 * 14)),
        "insertion (more)": metrics.auc(metrics.insertion_curve(*ask_for, step=224 * 14)),
        "AOPC (more)": metrics.aopc(*ask_for),
    }
pd.DataFrame(rows).T.map(lambda value: round(100 * value.item(), 1))

# %% [markdown]
# By AOPC both maps are one. By deletion yours is the far better, and by insertion the far worse. It shows the same
# places as before, patch by patch; what changed is how the picture breaks.

# %% [markdown]
# ## 5. Is deletion to blame?
#
# *18 minutes, open.* The thesis changes the pooling of four networks (table 3.1, ImageNet) and reports, for Grad-CAM:
#
# | | insertion before | after | deletion before | after |
# |---|---|---|---|---|
# | ResNet-18 | 63.13 | 65.94 | 10.66 | 10.68 |
# | ResNet-50 | 72.57 | 75.53 | 13.24 | 13.50 |
# | ConvNeXt-S | 48.42 | 84.82 | 30.12 | 43.02 |
# | ConvNeXt-B | 52.85 | 86.38 | 29.57 | 45.29 |
#
# It concludes that insertion improves, and that deletion, which gets worse everywhere, is a doubtful metric: its
# black patches are out of distribution. You review this chapter. In at most 200 words: do the two columns show that
# the new pooling makes better explanations? Use at least two numbers from the table, say what else would have moved
# them as they moved, and ask for **one** further measurement that could change your mind, with the result that would
# do so.

# %% [markdown] tags=["solution"]
# **Rubric**, one point each:
#
# - *One standard for both columns.* Half-blurred pictures are out of distribution as well. Whoever dismisses deletion
#   for that reason must say why insertion may stay; to drop the metric that disagrees is no argument.
# - *Both columns are read together.* For ConvNeXt-S insertion rises by 36.40 and deletion by 12.90; for one
#   additive network and one substrate their sum is fixed, and a better map moves them apart. So the level of the
#   curves has moved.
# - *A rival explanation.* The new pooling is trained, and may make the network surer of everything it sees. A surer
#   network has more insertion and can have more deletion, too, with the very same maps.
# - *Not too much.* For the ResNets deletion moves by 0.02 and 0.26, insertion by about 3, so "insertion got better
#   and deletion did not get much worse" is fair for them; the spread over training runs is not known.
# - *The measurement could go either way.* For example: choose a temperature so that both networks are equally sure of
#   the whole photographs, and draw both curves again; or use the old network's maps for the new network: if insertion
#   rises as much with the *old* maps, it was not the maps.
#
# A good answer: *No. The new ConvNeXt-S has 36 points more insertion, but also 13 more deletion. With the same pixels
# gone it is still surer, so much of the gain may be the network's confidence and not its maps. Deletion is out of
# distribution, I grant, but so is the blurred start of insertion. For the ResNets the case is better: insertion +3,
# deletion +0.02 and +0.26. Please evaluate the new networks with the maps of the old ones. If insertion is then again
# at 72.6 for ResNet-50, the maps made the difference, and I take back what I said.*

# %% [markdown]
# ## 6. A curve of your own
#
# *Extra, for a class: 5 minutes, squared paper.* The cell prints the six points of a deletion curve, and in a class each student gets others. Draw it, and write
# down the area under it, between 0 and 1.

# %%
curve = check.numbers("own_area")
print(curve)

# %%
### BEGIN SOLUTION
own_area = area(torch.tensor(curve))
### END SOLUTION
check.own_area(own_area)

# %% tags=["wrong"]
check.own_area(sum(curve) / len(curve))  # the plain mean

# %% tags=["wrong"]
check.own_area(sum(curve[1:]) / 5)  # rectangles with the right corners

# %% tags=["wrong"]
check.own_area(5 * float(area(torch.tensor(curve))))  # a step as wide as 1
