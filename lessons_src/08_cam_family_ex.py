# %% [markdown]
# # What do the channel weights decide? Exercise
#
# | | |
# |---|---|
# | Minutes | 50 |
# | Run time | quick 30 s · laptop 30 s · full 30 s |
# | Memory | 2 GB |
# | Network | no |
#
# Write your answer where it says `your code here`, run the cell, and run the check below it. Stuck?
# `check.hint("head_weights")` helps a little, called again a little more.

# %%
import torch
import torch.nn.functional as F
from pandas import DataFrame

from xailib import heatmap, models, plot
from xailib.checks.lesson_08 import check
from xailib.data import photos
from xailib.explain import WEIGHTS, Evidence, collect_layers, combine, occlusion
from xailib.metrics import correlation, energy_pointing_game

# %% [markdown]
# ## 1. Grad-CAM without a gradient
#
# *3 minutes, one line.* Above the layer are global average pooling and one linear layer, whose weights for the class are
# `row`, one number per channel. The layer has h x w cells. Return the weights of Grad-CAM. No image and no backward pass is
# needed.


# %%
def head_weights(row: torch.Tensor, h: int, w: int) -> torch.Tensor:
    """Grad-CAM's weight of each channel, below GAP and a linear layer."""
    ### BEGIN SOLUTION
    return row / (h * w)
    ### END SOLUTION


check.head_weights(head_weights)


# %% tags=["wrong"]
def the_head_itself(row, h, w):
    return row


check.head_weights(the_head_itself)


# %% tags=["wrong"]
def by_one_side(row, h, w):
    return row / h


check.head_weights(by_one_side)


# %% tags=["wrong"]
def positive_only(row, h, w):
    return row.relu() / (h * w)


check.head_weights(positive_only)

# %% [markdown]
# ## 2. Take a channel away
#
# *10 minutes, five lines.* `A` holds the activations `[k h w]` of one image, and `score(A)` returns the logit that the
# network would give for them, a plain float. Return the weights of Ablation-CAM, one per channel:
#
# $$w_k = \frac{y - y_{\text{without } k}}{\lvert y \rvert} , \qquad w_k = y - y_{\text{without } k} \text{ where } y = 0 .$$
#
# The check uses the two channels of the lesson, with three different biases. Do it with a pencil for the bias -6 first.


# %%
def ablation_weights(A: torch.Tensor, score) -> torch.Tensor:
    """How far the logit falls without each channel, as a share of its size."""
    ### BEGIN SOLUTION
    y, drops = score(A), []
    for k in range(len(A)):
        copy = A.clone()
        copy[k] = 0
        drops.append(y - score(copy))
    return torch.tensor(drops) / (abs(y) or 1)
    ### END SOLUTION


check.ablation_weights(ablation_weights)


# %% tags=["wrong"]
def signed(A, score):
    y, eye = score(A), torch.eye(len(A))[..., None, None]
    return torch.tensor([(y - score(A * (1 - one))) / (y or 1) for one in eye])


check.ablation_weights(signed)


# %% tags=["wrong"]
def channel_alone(A, score):
    y, eye = score(A), torch.eye(len(A))[..., None, None]
    return torch.tensor([(y - score(A * one)) / (abs(y) or 1) for one in eye])


check.ablation_weights(channel_alone)


# %% tags=["wrong"]
def left_without(A, score):
    y, eye = score(A), torch.eye(len(A))[..., None, None]
    return torch.tensor([score(A * (1 - one)) / (abs(y) or 1) for one in eye])


check.ablation_weights(left_without)


# %% tags=["wrong"]
def in_place(A, score):
    y, drops = score(A), []
    for k in range(len(A)):
        A[k] = 0
        drops.append(y - score(A))
    return torch.tensor(drops) / (abs(y) or 1)


check.ablation_weights(in_place)

# %% [markdown]
# ## 3. A method of your own
#
# *10 minutes, two lines.* Write weights for the engine: each channel gets the gradient at *the place where it is strongest*, for
# there its pattern is most clearly present. `e.A` and `e.G` are `[b k h w]`; return `[b k 1 1]`.


# %%
def peak_weights(e: Evidence) -> torch.Tensor:
    """The gradient of each channel at its largest activation."""
    ### BEGIN SOLUTION
    place = e.A.flatten(2).argmax(2, keepdim=True)
    return e.G.flatten(2).gather(2, place)[..., None]
    ### END SOLUTION


check.peak_weights(peak_weights)


# %% tags=["wrong"]
def largest_gradient(e):
    return e.G.amax((2, 3), keepdim=True)


check.peak_weights(largest_gradient)


# %% tags=["wrong"]
def without_sides(e):
    return e.G.flatten(2).gather(2, e.A.flatten(2).argmax(2, keepdim=True))[..., 0]


check.peak_weights(without_sides)


# %% tags=["wrong"]
def peaks_of_the_first_image(e):
    place = e.A[:1].flatten(2).argmax(2, keepdim=True).expand(len(e.A), -1, -1)
    return e.G.flatten(2).gather(2, place)[..., None]


check.peak_weights(peaks_of_the_first_image)

# %% [markdown]
# ## 4. Fine, inverted, or blank?
#
# *10 minutes, four lines.* At the last layer, below GAP and a linear layer, somebody hands you Grad-CAM **before** its ReLU,
# `raw` `[h w]`, and the logit without its bias, `due`, which the map should sum to. (It is not 0.) Return
#
# - `"inverted"` if the signs have been turned, so that the sum is the opposite of what it should be;
# - `"blank"` if the map is right, but its ReLU leaves nothing;
# - `"fine"` otherwise.


# %%
def diagnose(raw: torch.Tensor, due: float) -> str:
    """What is the matter with a signed map whose sum should be `due`."""
    ### BEGIN SOLUTION
    if raw.sum() * due < 0:
        return "inverted"
    return "blank" if raw.max() <= 0 else "fine"
    ### END SOLUTION


check.diagnose(diagnose)


# %% tags=["wrong"]
def negative_is_inverted(raw, due):
    return "inverted" if raw.sum() < 0 else "fine"


check.diagnose(negative_is_inverted)


# %% tags=["wrong"]
def blank_first(raw, due):
    if raw.max() <= 0:
        return "blank"
    return "inverted" if raw.sum() * due < 0 else "fine"


check.diagnose(blank_first)


# %% tags=["wrong"]
def scaled_first(raw, due):
    scaled = (raw - raw.min()) / (raw.max() - raw.min())
    return "fine" if scaled.max() > 0 else "blank"


check.diagnose(scaled_first)

# %% [markdown]
# ## 5. Which map goes into the report?
#
# *17 minutes, open.* A report on the network has room for one picture of how it recognises the daisy (it is a dahlia, and the
# network gives *daisy* a probability of about 0.2). Here are six candidates, your own among them.

# %%
model = models.load("efficientnet_lite0")
photo = photos.load("flower")
images, target = photo.image[None], torch.tensor([photo.label])
palace = torch.tensor([models.class_names().index("palace")])
layers = ["blocks.2", "blocks.4", "bn2"]
looks = dict(zip(layers, collect_layers(model, images, target, layers=layers), strict=True))
solved = check.peak_weights(peak_weights).status == "correct"
candidates = {
    "Grad-CAM, bn2": ("bn2", WEIGHTS["gradcam"]),
    "Layer-CAM, bn2": ("bn2", WEIGHTS["layercam"]),
    "Grad-CAM, blocks.4": ("blocks.4", WEIGHTS["gradcam"]),
    "HiRes-CAM, blocks.4": ("blocks.4", WEIGHTS["hirescam"]),
    "HiRes-CAM, blocks.2": ("blocks.2", WEIGHTS["hirescam"]),
    "yours, bn2": ("bn2", peak_weights if solved else WEIGHTS["gradcam"]),  # needs question 3
}
maps = {name: combine(looks[layer], w) for name, (layer, w) in candidates.items()}
plot.gallery(
    images.expand(6, -1, -1, -1),
    [heat[0] for heat in maps.values()],
    titles=list(maps),
    columns=3,
    boxes=[photo.boxes] * 6,
    alt=f"A round orange dahlia in its box under six maps: {', '.join(maps)}.",
)

# %% [markdown]
# For each: the share of the heat in the boxes; how well it agrees with hiding squares of 32 pixels; and how much it resembles
# the map for *palace*, by the same method at the same layer.

# %%
falls = F.avg_pool2d(occlusion(model, images, target, window=32, stride=32), 32).relu()
table = {}
for name, (layer, w) in candidates.items():
    heat, other = maps[name], combine(looks[layer].towards(palace), w)
    scaled = heatmap.normalize(heat, "max")
    table[name] = {
        "heat in the boxes, %": energy_pointing_game(scaled, [photo.boxes]).item(),
        "agrees with hiding": correlation(F.avg_pool2d(heat, 32), falls).item(),
        "resembles palace": correlation(heat, other).item(),
    }
DataFrame.from_dict(table, "index").round(2)

# %% [markdown]
# Choose one for the report and write its caption, in at most 150 words: what is shown (layer, class, weights), why this
# one and not the one that you like second best, what a reader must not conclude from it, and one more test that you would
# run before you print it. Use at least two numbers of the table.

# %% [markdown] tags=["solution"]
# **Rubric**, one point each:
#
# - *It says what it is*: the class (*daisy*, with its probability), the layer and the number of its cells, the weights. A caption
#   "Grad-CAM of the network" leaves out two of three.
# - *The choice rests on more than one column.* Heat in the boxes is high for any map in the middle of the picture, as
#   the lesson's hill showed, so it cannot decide alone. A map that resembles the one for *palace* closely, as Layer-CAM at the last
#   layer does, shows where the network is active and not why it says *daisy*.
# - *It does not compare what is the same.* A choice between Grad-CAM and HiRes-CAM at `bn2`, or between the peak method
#   there and Grad-CAM, is none: the gradient is the same at every place, so the gradient at the peak is its mean.
# - *A limit is named*: one photograph; the referee hides squares in the mean colour, which makes a strange picture; the map tells where, and not
#   whether shape or colour; the network is not sure, so the map says little about *daisy* in general.
# - *The test could fail*: hide the hottest quarter and an equal area elsewhere; repeat with the second dahlia or other
#   flowers; another class that is also probable.
#
# A good answer: *Evidence for "daisy" (probability 0.2) in the 7 x 7 cells of the network's last layer; the weights are
# Grad-CAM's, which are CAM's there. Hiding squares agrees with it (about 0.65), and it changes when one asks for "palace"
# (about -0.1), unlike Layer-CAM at this layer (1.0). HiRes-CAM at 28 x 28 agrees a little more (about 0.75) and is sharper; on
# a single flower I would not call this a difference. The map does not show that the petals' shape decided: their colour is in the
# same cells. Test before printing: make the flower grey. If the logit falls as far as without the hottest quarter, my
# reader must be told that it was colour.* Choosing HiRes-CAM at `blocks.2` is as good, if the caption says that its cells
# hold edges and textures and that on the lesson's photographs it agreed with hiding as well as the last layer did.

# %% tags=["solution", "remove-cell"]
agrees, palace_too = (
    DataFrame(table).loc["agrees with hiding"],
    DataFrame(table).loc["resembles palace"],
)
assert 0.6 < agrees["Grad-CAM, bn2"] < agrees["HiRes-CAM, blocks.2"] < 0.8
assert palace_too["Layer-CAM, bn2"] > 0.95 and palace_too["Grad-CAM, bn2"] < 0
torch.testing.assert_close(maps["yours, bn2"], maps["Grad-CAM, bn2"])

# %% [markdown]
# ## 6. A map of your own
#
# *Extra, for a class: 5 minutes, pencil and paper.* The cell prints the activations of two channels, 2 x 2 cells each, and the weights that the class has for
# them in the linear layer above global average pooling; in a class each student gets others. Work out Grad-CAM of the class before anything is scaled,
# ReLU included, and write its four cells in a list, row by row.

# %%
A, row = check.numbers("own_map")
print(f"A_1 = {A[0]}\nA_2 = {A[1]}\nweights {row}")

# %%
### BEGIN SOLUTION
own_map = (
    torch.einsum("k,khw->hw", head_weights(torch.tensor(row), 2, 2), torch.tensor(A))
    .relu()
    .flatten()
)
### END SOLUTION
check.own_map(own_map)

# %% tags=["wrong"]
check.own_map(
    [row[0] * x + row[1] * y for x, y in zip(sum(A[0], []), sum(A[1], []), strict=True)]
)  # not divided, no ReLU

# %% tags=["wrong"]
check.own_map(
    [(row[0] * x + row[1] * y) / 4 for x, y in zip(sum(A[0], []), sum(A[1], []), strict=True)]
)  # without ReLU

# %% tags=["wrong"]
check.own_map(
    [
        max(0, row[0] * x) / 4 + max(0, row[1] * y) / 4
        for x, y in zip(sum(A[0], []), sum(A[1], []), strict=True)
    ]
)  # ReLU too early
