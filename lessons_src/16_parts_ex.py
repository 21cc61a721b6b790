# %% [markdown]
# # Which parts did the network count? Exercise
#
# | | |
# |---|---|
# | Minutes | 45 |
# | Run time | quick 30 s · laptop 40 s · full 60 s |
# | Memory | 2 GB |
# | Network | no |
#
# Write your answer where it says `your code here`, run the cell, and run the check below it. A check says *not attempted*,
# *not yet* with what it expected, or *correct*. Stuck? `check.hint("contributions")` helps a little, called again a little more.

# %%
import torch
import torch.nn.functional as F

from xailib import models, plot
from xailib.checks.lesson_16 import check
from xailib.data import PlantedScenes

# %% [markdown]
# ## 1. Who decided?
#
# *4 minutes, one line.* Given the votes $V$ `[classes parts]`, the bag of parts $b$ `[parts]` of one image and a class,
# return what each part adds to the logit of that class, `[parts]`.


# %%
def contributions(V: torch.Tensor, bag: torch.Tensor, target: int) -> torch.Tensor:
    """V_cp b_p for the class c."""
    ### BEGIN SOLUTION
    return V[target] * bag
    ### END SOLUTION


check.contributions(contributions)


# %% tags=["wrong"]
def votes_only(V, bag, target):
    return V[target]


check.contributions(votes_only)


# %% tags=["wrong"]
def the_whole_logit(V, bag, target):
    return V[target] @ bag


check.contributions(the_whole_logit)


# %% tags=["wrong"]
def column_of_a_part(V, bag, target):
    return V[:, target] * bag[: len(V)]


check.contributions(column_of_a_part)

# %% [markdown]
# ## 2. Parts that differ
#
# *8 minutes, two lines.* Return $L_\perp = \frac{1}{P^2} \sum_{i \ne j} (u_i^\top u_j)^2$ of part vectors `[P d]` of *any*
# length: what counts is their direction. Two orthogonal parts have 0, two parallel ones 1/2, and two at 45 degrees 1/4.


# %%
def overlap(U: torch.Tensor) -> torch.Tensor:
    """How much parts point the same way; 0 if all are orthogonal."""
    ### BEGIN SOLUTION
    cosines = F.normalize(U, dim=1) @ F.normalize(U, dim=1).T
    return (cosines.fill_diagonal_(0) ** 2).sum() / len(U) ** 2
    ### END SOLUTION


check.overlap(overlap)


# %% tags=["wrong"]
def minus_as_on_the_slides(U):
    cosines = F.normalize(U, dim=1) @ F.normalize(U, dim=1).T
    return -(cosines.fill_diagonal_(0) ** 2).sum() / len(U) ** 2


check.overlap(minus_as_on_the_slides)


# %% tags=["wrong"]
def with_the_diagonal(U):
    return ((F.normalize(U, dim=1) @ F.normalize(U, dim=1).T) ** 2).sum() / len(U) ** 2


check.overlap(with_the_diagonal)


# %% tags=["wrong"]
def lengths_count(U):
    return ((U @ U.T).fill_diagonal_(0) ** 2).sum() / len(U) ** 2


check.overlap(lengths_count)

# %% [markdown]
# ## 3. This looks like that
#
# *13 minutes, two or three lines.* Features $z$ `[places d]` of one image and prototypes `[P d]`. For each prototype, find the squared
# distance $d_p$ to its *nearest* place, and return the similarity $\log \frac{d_p + 1}{d_p + 10^{-4}}$, `[P]`.


# %%
def similarities(z: torch.Tensor, prototypes: torch.Tensor) -> torch.Tensor:
    """How much the nearest place looks like each prototype."""
    ### BEGIN SOLUTION
    d = (torch.cdist(prototypes, z) ** 2).amin(1)
    return ((d + 1) / (d + 1e-4)).log()
    ### END SOLUTION


check.similarities(similarities)


# %% tags=["wrong"]
def not_squared(z, prototypes):
    d = torch.cdist(prototypes, z).amin(1)
    return ((d + 1) / (d + 1e-4)).log()


check.similarities(not_squared)


# %% tags=["wrong"]
def mean_over_places(z, prototypes):
    d = (torch.cdist(prototypes, z) ** 2).mean(1)
    return ((d + 1) / (d + 1e-4)).log()


check.similarities(mean_over_places)


# %% tags=["wrong"]
def for_each_place(z, prototypes):
    d = (torch.cdist(z, prototypes) ** 2).amin(1)
    return ((d + 1) / (d + 1e-4)).log()


check.similarities(for_each_place)

# %% [markdown]
# ## 4. Would you sign this explanation?
#
# *20 minutes, open.* The shipped DP-Net classifies these scenes. Under each you see its strongest part with its best box and its
# share of the logit. Your `contributions` is used where it is right.

# %%
model = models.load("dpnet_shape")
data = PlantedScenes(400, generator=torch.Generator().manual_seed(13))
scenes = data.batch(range(400))
with torch.no_grad():
    logits, S = model(scenes.images, similarities=True)
guesses, bags = logits.argmax(1), S.amax(2)
wrong = (guesses != scenes.labels).nonzero()[:2, 0].tolist()
right = (guesses == scenes.labels).nonzero()[:4, 0].tolist()
solved = check.contributions(contributions).status == "correct"
shown = [*right, *wrong] if solved else []

# %%
parts = [contributions(model.V.weight.detach(), bags[i], guesses[i].item()) for i in shown]
top = [part.argmax().item() for part in parts]
figure = shown and plot.gallery(
    scenes.images[shown],
    columns=3,
    titles=[
        f"{data.class_names[guesses[i]]} ({logits[i].softmax(0).max():.2f}): part {p} adds {part[p]:.1f}"
        for i, p, part in zip(shown, top, parts, strict=True)
    ],
    boxes=[
        model.best_boxes(scenes.images[[i]])[0][p][None] for i, p in zip(shown, top, strict=True)
    ],
    alt="Scenes that the model classifies, the last ones wrongly, each with the best box of its strongest part.",
)
figure or None

# %% tags=["test", "remove-cell"]
assert len(wrong) == 2 and len(right) == 4

# %% [markdown]
# The maker of this model writes in its manual: *"Every decision can be read off: the box shows the part that was found."* In at most
# 200 words: what in this sentence is true, what is not, and which experiment would show a doctor or a judge the difference?

# %% [markdown] tags=["solution"]
# **Rubric**, one point each:
#
# - *What is true.* The logit is exactly the sum of contributions (question 1); no other layer or gradient is involved. This holds for wrong
#   answers as well: they too have a sum, a strongest part and a box.
# - *What is not.* The box is one place of the feature maps; its value depends on 32 x 32 pixels around it, so the box does not show what was
#   found. Nor does it say *what about* the pixels mattered: outline, colour or texture.
# - *The number belongs to the box.* The maximum finds a place in every image, also where the part is absent; without its value and the
#   contributions to the other classes, a box claims too much.
# - *An experiment that can fail.* For example: show the model only the box, and all but the box, and compare $b_p$; or draw the same scene with
#   another colour and with another shape, and see which changes $b_p$. "Show the box larger" is not an experiment.
