# %% [markdown]
# # What does one cell of a convolutional network see? Exercise
#
# | | |
# |---|---|
# | Minutes | 50 |
# | Run time | quick 20 s · laptop 20 s · full 20 s |
# | Memory | 2 GB |
# | Network | no |
#
# Write your answer where it says `your code here`, run the cell, and run the check below it. Stuck?
# `check.hint("cells")` helps a little, called again a little more.

# %%
from copy import deepcopy

import torch
from pandas import DataFrame

from xailib import models, plot
from xailib.checks.lesson_02 import check
from xailib.data import photos

# %% [markdown]
# ## 1. How many cells?
#
# *3 minutes, one line.* A line of $n$ pixels meets a layer of kernel $k$, stride $s$ and padding $p$ on both sides. How many
# cells come out?


# %%
def cells(n: int, k: int, s: int, p: int) -> int:
    """The number of places where the kernel lies on the padded line wholly."""
    ### BEGIN SOLUTION
    return (n + 2 * p - k) // s + 1
    ### END SOLUTION


check.cells(cells)


# %% tags=["wrong"]
def padded_on_one_side(n, k, s, p):
    return (n + p - k) // s + 1


check.cells(padded_on_one_side)


# %% tags=["wrong"]
def rounded_up(n, k, s, p):
    return -(-(n + 2 * p - k) // s) + 1


check.cells(rounded_up)


# %% tags=["wrong"]
def fences_without_the_last_post(n, k, s, p):
    return (n + 2 * p - k) // s


check.cells(fences_without_the_last_post)

# %% [markdown]
# ## 2. How far does it see?
#
# *8 minutes, four lines.* `layers` lists kernel and stride of each layer, from the image upwards; pooling is a layer
# like the others. Return the receptive field $r$ of a cell of the last layer and the step $j$ between neighbouring cells, both in
# pixels. Work out two 3 x 3 convolutions, the first of stride 2, on paper before: a cell of the second reads three
# cells of the first.


# %%
def receptive_field(layers: list[tuple[int, int]]) -> tuple[int, int]:
    """Size of the receptive field, and distance between neighbouring cells."""
    ### BEGIN SOLUTION
    r, j = 1, 1
    for k, s in layers:
        r, j = r + (k - 1) * j, j * s
    return r, j
    ### END SOLUTION


check.receptive_field(receptive_field)


# %% tags=["wrong"]
def own_stride_first(layers):
    r, j = 1, 1
    for k, s in layers:
        j *= s
        r += (k - 1) * j
    return r, j


check.receptive_field(own_stride_first)


# %% tags=["wrong"]
def strides_forgotten(layers):
    return 1 + sum(k - 1 for k, _ in layers), 1


check.receptive_field(strides_forgotten)


# %% tags=["wrong"]
def whole_kernels(layers):
    r, j = 0, 1
    for k, s in layers:
        r, j = r + k * j, j * s
    return r, j


check.receptive_field(whole_kernels)


# %% tags=["wrong"]
def downwards(layers):
    r, j = 1, 1
    for k, s in reversed(layers):
        r, j = r + (k - 1) * j, j * s
    return r, j


check.receptive_field(downwards)

# %% [markdown]
# ## 3. What does it cost?
#
# *7 minutes, two lines.* A convolution of kernel $k$ x $k$ has $C_\text{in}$ channels below and $C_\text{out}$ above, both cut into
# `groups` of equal size; a channel above reads only the channels of its own group. Its output has `h` x `w` cells. Return
# the number of its weights (no bias) and of its multiplications for one image.


# %%
def cost(k: int, c_in: int, c_out: int, groups: int, h: int, w: int) -> tuple[int, int]:
    """Weights, and multiplications with an addition (MACs)."""
    ### BEGIN SOLUTION
    weights = k * k * c_in // groups * c_out
    return weights, weights * h * w
    ### END SOLUTION


check.cost(cost)


# %% tags=["wrong"]
def without_groups(k, c_in, c_out, groups, h, w):
    weights = k * k * c_in * c_out
    return weights, weights * h * w


check.cost(without_groups)


# %% tags=["wrong"]
def groups_on_both_sides(k, c_in, c_out, groups, h, w):
    weights = k * k * (c_in // groups) * (c_out // groups)
    return weights, weights * h * w


check.cost(groups_on_both_sides)


# %% tags=["wrong"]
def additions_too(k, c_in, c_out, groups, h, w):
    weights = k * k * c_in // groups * c_out
    return weights, 2 * weights * h * w


check.cost(additions_too)

# %% [markdown]
# ConvNeXt replaces a convolution 3 x 3 over 96 channels by a 7 x 7 for each channel by itself and two layers of 1 x 1, from
# 96 to 384 channels and back. Which of the two costs more? Your function knows.

# %%
if check.cost(cost).status == "correct":
    dense = cost(3, 96, 96, 1, 56, 56)
    parts = [
        cost(7, 96, 96, 96, 56, 56),
        cost(1, 96, 384, 1, 56, 56),
        cost(1, 384, 96, 1, 56, 56),
    ]
    print(f"3 x 3:    {dense[0]:7,} weights, {dense[1] / 1e6:.0f} M multiplications")
    print(
        f"ConvNeXt: {sum(p[0] for p in parts):7,} weights, {sum(p[1] for p in parts) / 1e6:.0f} M"
    )

# %% [markdown]
# ## 4. Does it look at its neighbours?
#
# *12 minutes, three lines.* Someone hands you a network. Before you explain it, you want to know whether its answer for an
# image depends on the other images of the batch. Write the test: run the network, and return True if it does. Allow for rounding (1e-4).
# And **leave the network as it was**, its buffers included: it is not yours.


# %%
def depends_on_company(model: torch.nn.Module, images: torch.Tensor) -> bool:
    """Whether the first image's logits change when the others are taken away."""
    ### BEGIN SOLUTION
    copy = deepcopy(model)  # in training mode, running it changes its running means
    together, alone = copy(images)[0], copy(images[:1])[0]
    return not torch.allclose(together, alone, atol=1e-4)
    ### END SOLUTION


check.depends_on_company(depends_on_company)


# %% tags=["wrong"]
def mode_of_the_whole(model, images):
    return model.training


check.depends_on_company(mode_of_the_whole)


# %% tags=["wrong"]
def any_part_in_training_mode(model, images):
    return any(module.training for module in model.modules())


check.depends_on_company(any_part_in_training_mode)


# %% tags=["wrong"]
def leaves_traces(model, images):
    return not torch.allclose(model(images)[0], model(images[:1])[0], atol=1e-4)


check.depends_on_company(leaves_traces)


# %% tags=["wrong"]
def same_company_twice(model, images):
    copy = deepcopy(model)
    return not torch.allclose(copy(images)[0], copy(images)[0], atol=1e-4)


check.depends_on_company(same_company_twice)

# %% [markdown]
# ## 5. The report
#
# *20 minutes, open.* A report shows Grad-CAM in its 7 x 7 cells and says: *"On all four photographs the network needs
# only a detail: the marked tile of 32 x 32 pixels, which is the brightest cell, decides. It could be cut out and shown to
# the customer as the reason."* Below are the four maps, and what becomes of the logit when the tile is hidden, when the
# tile is all that is left, and when as large a tile is hidden in the darkest cell.

# %%
model = models.load("efficientnet_lite0")
class_names = models.class_names()
names = ["coffee", "camera", "clock", "grace_hopper"]
images = torch.stack([photos.load(name).image for name in names])
guesses = model(images).argmax(1)
with torch.no_grad():
    A = model.net.forward_features((images - model.mean) / model.std)
    maps = torch.einsum("bk,bkhw->bhw", model.net.classifier.weight[guesses], A).relu()


def tile(cell):  # as a box, x0 y0 x1 y1
    row, column = divmod(cell.item(), 7)
    return torch.tensor([[column, row, column + 1, row + 1]]) * 32


brightest = [tile(heat.argmax()) for heat in maps]

# %%
plot.gallery(
    images,
    maps,
    boxes=brightest,
    titles=[class_names[c] for c in guesses],
    alt="Four photographs under maps of 7 x 7 cells; a box marks the brightest cell: on the coffee, "
    "a leg of the tripod, the rim of the clock, the edge of a cap.",
)


# %%
@torch.no_grad()
def logits_of(image, guess, heat):
    def inside(box):
        mask = torch.zeros(224, 224, dtype=torch.bool)
        x0, y0, x1, y1 = box[0].tolist()
        mask[y0:y1, x0:x1] = True
        return mask

    grey = image.mean((1, 2), keepdim=True).expand_as(image)
    bright, dark = inside(tile(heat.argmax())), inside(tile(heat.argmin()))
    pictures = [image, grey.where(bright, image), image.where(bright, grey)]
    return model(torch.stack([*pictures, grey.where(dark, image)]))[:, guess].tolist()


rows = {
    f"{name}: {class_names[c]}": logits_of(image, c, heat)
    for name, image, c, heat in zip(names, images, guesses, maps, strict=True)
}
columns = ["whole", "tile hidden", "only the tile", "dark tile hidden"]
DataFrame.from_dict(rows, "index", columns=columns).round(1)

# %% [markdown]
# Judge the report's two sentences in at most 150 words. Use at least two numbers of the table and one of the lesson's; say
# what the bright cell *does* tell; and propose one better test of "needs only a detail", with the outcome that would
# convince you.

# %% [markdown] tags=["solution"]
# **Rubric**, one point each:
#
# - *Needed?* The tile is hidden and the logit hardly falls: from 11.0 to 10.8 for the espresso, from 9.3 to 7.7 for the clock,
#   the most of the four, and for the uniform it even rises a little. "Decides" is refuted four times.
# - *Enough?* Of the tile alone, the tripod's logit comes back to 2.8 of 11.3, the others to almost nothing or below. Cut out
#   and shown to a customer, it would be a picture from which the network itself recognises nothing.
# - *The reason is named.* A cell of the 7 x 7 map can depend on the whole picture; in the lesson, half of the gradient of a
#   middle cell took a square of more than 100 pixels, and cells kept most of their evidence without their own pixels. The tile
#   is how we draw the cell.
# - *What the cell does tell.* Around there the evidence was collected: hiding it costs more than hiding the darkest tile, for
#   three of the four (a control that answers without it do not have). Which pixels around there, it does not tell: the
#   uniform's tile lies on the edge between cap and flag.
# - *A test that could come out either way.* For instance: show squares of growing size around the tile on grey, and find the
#   smallest that brings back nine tenths of the logit; the same around the darkest cell as a control. "Needs only a detail"
#   is convincing if a few tiles do it there and not elsewhere, with more than one filling for what is hidden.
#
# A good answer: *Neither sentence follows. Without its brightest tile the espresso keeps 10.8 of 11.0, and the tile alone
# gives 0.4: it is neither needed nor enough. A cell sees far more than the 32 pixels it is drawn on; in the lesson half
# of its gradient needed a square of more than 100. What the map says is that the evidence was found around the coffee, not
# which pixels it is. I would show growing squares around the brightest cell and around the darkest one. If a square of two tiles
# brings back the logit at the bright cell only, I believe "a detail"; if it takes half of the picture, I do not.*
