# %% [markdown]
# # What did the network look at? Exercise
#
# | | |
# |---|---|
# | Minutes | 30 |
# | Run time | quick 30 s · laptop 30 s · full 30 s |
# | Memory | 2 GB |
# | Network | no |
#
# Write your answer where it says `your code here`, run the cell, and run the check below it. A check says *not attempted*,
# *not yet* with what it expected, or *correct*. Stuck? `check.hint("hottest")` helps a little, called again a little more.

# %%
import torch

from xailib import models, plot
from xailib.checks.lesson_00 import check
from xailib.data import photos
from xailib.explain import cam, gradcam

# %% [markdown]
# ## 1. Where is it hottest?
#
# *2 minutes, one line.* Return row and column of the largest value of a heat map `[H W]`, as two whole numbers.


# %%
def hottest(heat: torch.Tensor) -> tuple[int, int]:
    """Row and column of the largest value."""
    ### BEGIN SOLUTION
    return divmod(heat.argmax().item(), heat.shape[1])
    ### END SOLUTION


check.hottest(hottest)


# %% tags=["wrong"]
def flat_position(heat):
    return heat.argmax().item()


check.hottest(flat_position)


# %% tags=["wrong"]
def column_first(heat):
    row, column = divmod(heat.argmax().item(), heat.shape[1])
    return column, row


check.hottest(column_first)


# %% tags=["wrong"]
def divided_by_rows(heat):
    return divmod(heat.argmax().item(), heat.shape[0])


check.hottest(divided_by_rows)

# %% [markdown]
# ## 2. Grad-CAM from activations and gradients
#
# *8 minutes, two lines.* Given the activations $A$ and the gradients $G = \partial y_c / \partial A$ of one image, both
# `[k h w]`, return its Grad-CAM `[h w]`. The check gives your function four small numbers per channel for which the answer can be
# found with pencil and paper. Do that for $A_1 = (1, 2; 3, 4)$ and $A_2 = (0, 1; 1, 0)$ with $w = (0.5, -0.25)$.


# %%
def grad_cam(A: torch.Tensor, G: torch.Tensor) -> torch.Tensor:
    """ReLU(sum_k w_k A_k), where w_k is the mean of G_k."""
    ### BEGIN SOLUTION
    w = G.mean((1, 2), keepdim=True)
    return (w * A).sum(0).relu()
    ### END SOLUTION


check.grad_cam(grad_cam)


# %% tags=["wrong"]
def without_relu(A, G):
    return (G.mean((1, 2), keepdim=True) * A).sum(0)


check.grad_cam(without_relu)


# %% tags=["wrong"]
def cell_by_cell(A, G):
    return (G * A).sum(0).relu()


check.grad_cam(cell_by_cell)


# %% tags=["wrong"]
def sum_of_gradients(A, G):
    return (G.sum((1, 2), keepdim=True) * A).sum(0).relu()


check.grad_cam(sum_of_gradients)


# %% tags=["wrong"]
def relu_before_sum(A, G):
    return (G.mean((1, 2), keepdim=True) * A).relu().sum(0)


check.grad_cam(relu_before_sum)

# %% [markdown]
# ## 3. How much of the heat lies in a box?
#
# *5 minutes, two lines.* A box is `(x0, y0, x1, y1)`: left, top, right and bottom edge in pixels, where the right and bottom edges
# are the first pixels that no longer belong to it. Return the share of the heat inside, between 0 and 1.


# %%
def share_inside(heat: torch.Tensor, box: tuple[int, int, int, int]) -> float:
    """The heat inside the box as a share of all heat."""
    ### BEGIN SOLUTION
    x0, y0, x1, y1 = box
    return (heat[y0:y1, x0:x1].sum() / heat.sum()).item()
    ### END SOLUTION


check.share_inside(share_inside)


# %% tags=["wrong"]
def columns_as_rows(heat, box):
    x0, y0, x1, y1 = box
    return (heat[x0:x1, y0:y1].sum() / heat.sum()).item()


check.share_inside(columns_as_rows)


# %% tags=["wrong"]
def one_too_far(heat, box):
    x0, y0, x1, y1 = box
    return (heat[y0 : y1 + 1, x0 : x1 + 1].sum() / heat.sum()).item()


check.share_inside(one_too_far)


# %% tags=["wrong"]
def mean_in_box(heat, box):
    x0, y0, x1, y1 = box
    return heat[y0:y1, x0:x1].mean().item()


check.share_inside(mean_in_box)

# %% [markdown]
# ## 4. Which of these would you trust?
#
# *15 minutes, open.* Below are all photographs with the network's first guess, its probability, Grad-CAM, and the box that
# was drawn around the object by hand. Your `share_inside` is printed beside the share of the picture that the box covers.

# %%
model = models.load("efficientnet_lite0")
shown = [photos.load(name) for name in photos.names()]
images = torch.stack([photo.image for photo in shown])
confidence, guesses = model(images).softmax(1).detach().max(1)
maps = cam(model, images, guesses, layer="bn2", weights=gradcam)
labels = [f"{models.class_names()[c]} ({p:.2f})" for c, p in zip(guesses, confidence, strict=True)]
plot.gallery(
    images,
    maps,
    columns=5,
    titles=labels,
    boxes=[photo.boxes for photo in shown],
    alt=f"Grad-CAM and boxes on ten photographs, each for the first guess: {', '.join(labels)}.",
)

# %%
solved = check.share_inside(share_inside).status == "correct"  # the table needs question 3
for photo, label, heat in zip(shown, labels, maps, strict=True) if solved else ():
    box = photo.boxes[0].tolist()
    area = (box[2] - box[0]) * (box[3] - box[1]) / heat.numel()
    inside = share_inside(heat, box)
    print(
        f"{photo.name:13} {label:26} the box: {area:4.0%} of the picture, {inside:4.0%} of the heat"
    )

# %% [markdown]
# Choose one photograph whose explanation you would trust and one whose explanation you would not, and say why in at most
# 150 words. Use at least one number from the table, name one thing that the map *cannot* tell, and propose one experiment
# that could prove you wrong.

# %% [markdown] tags=["solution"]
# **Rubric**, one point each:
#
# - *A number, read rightly.* The heat in a box is compared with the area of the box. For a cat that fills the picture, 100 % of the
#   heat inside means nothing; for the tripod, half of the heat on a fifth of the picture means a good deal.
# - *The guess and its probability are read beside the map.* The dahlia's map lies on the flower, yet the network gives
#   *daisy* only 0.2; a well-placed map does not make an answer right, and all answers for the astronaut are wrong.
# - *A limit is named.* For example: a cell is 32 pixels wide, so the rocket's map cannot separate rocket from tower; the map is
#   scaled by itself; it shows where, but neither what (colour, shape, texture) nor why; it answers for one class only.
# - *The experiment could fail.* "Hide the box, and the probability should fall; hide as large an area elsewhere, and it should
#   not" is such a one. "Look at the map again" is not.
#
# A good answer: *I trust the tripod: its box covers 22 % of the picture and holds about half of the heat, and most of the rest lies on the
# legs just outside. I do not trust the bubble: the heat is on the round thing, but so it is for "wall clock", so the map cannot
# tell why the network prefers one word to the other. Experiment: sharpen the hands of the clock with a clear photograph of the
# same clock. If "bubble" stays, my story of the missing hands is wrong.*
