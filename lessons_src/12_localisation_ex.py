# %% [markdown]
# # Is the evidence where the object is? Exercise
#
# | | |
# |---|---|
# | Minutes | 50 |
# | Run time | quick 30 s · laptop 30 s · full 30 s |
# | Memory | 2 GB |
# | Network | no |
#
# Write your answer where it says `your code here`, run the cell, and run the check below it. Stuck? `check.hint("iou")` helps a
# little, called again a little more.

# %%
from xailib import heatmap, metrics, models, plot
from xailib.checks.lesson_12 import check
from xailib.data import photos
from xailib.explain import cam, centre_map, edge_map, fakecam, gradcam

# %% [markdown]
# ## 1. Intersection over union
#
# *8 minutes, four lines.* Two boxes `(x0, y0, x1, y1)`, where `x1` and `y1` are the first column and row outside. Return their IoU,
# between 0 and 1. Take boxes that do not touch into account.


# %%
def iou(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Pixels in both boxes as a share of the pixels in at least one."""
    ### BEGIN SOLUTION
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (a, b)]
    return width * height / (sum(areas) - width * height)
    ### END SOLUTION


check.iou(iou)


# %% tags=["wrong"]
def never_clamped(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (a, b)]
    return width * height / (sum(areas) - width * height)


check.iou(never_clamped)


# %% tags=["wrong"]
def ends_included(a, b):
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]) + 1)
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]) + 1)
    areas = [(x1 - x0 + 1) * (y1 - y0 + 1) for x0, y0, x1, y1 in (a, b)]
    return width * height / (sum(areas) - width * height)


check.iou(ends_included)


# %% tags=["wrong"]
def shared_pixels_counted_twice(a, b):
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (a, b)]
    return width * height / sum(areas)


check.iou(shared_pixels_counted_twice)

# %% [markdown]
# ## 2. What does a map of nothing score?
#
# *8 minutes, pencil and one line.* A map has the same value $v$ ($0 < v \le 1$) everywhere, and the box covers the share $s$ of the
# picture. Work out precision $P = \sum S B / \sum S$, recall $R = \sum S B / |B|$ and $F_1 = 2PR/(P + R)$, and return $F_1$ between 0 and 1.


# %%
def f1_of_constant(v: float, s: float) -> float:
    """Pixel F1 of a map that is v everywhere, where the box covers the share s."""
    ### BEGIN SOLUTION
    return 2 * v * s / (v + s)  # P = s, R = v
    ### END SOLUTION


check.f1_of_constant(f1_of_constant)


# %% tags=["wrong"]
def full_recall(v, s):
    return 2 * s / (1 + s)


check.f1_of_constant(full_recall)


# %% tags=["wrong"]
def precision_only(v, s):
    return s


check.f1_of_constant(precision_only)


# %% tags=["wrong"]
def arithmetic_mean(v, s):
    return (v + s) / 2


check.f1_of_constant(arithmetic_mean)

# %% [markdown]
# ## 3. Second clue: how large are the boxes?
#
# *10 minutes, pencil and one line.* For Fake-CAM ($v = 1$, nearly) your formula gives $F_1 = 2s / (1 + s)$ for an image. This curve bends
# downwards, so the mean of $F_1$ over many images is *at most* the value at the mean share (Jensen's inequality). Turn it round: given
# the mean $F_1$ of Fake-CAM, return the **smallest** mean share of the picture that the boxes can cover.


# %%
def least_mean_share(f1: float) -> float:
    """The mean share that boxes must cover at least, if Fake-CAM's mean F1 is this."""
    ### BEGIN SOLUTION
    return f1 / (2 - f1)
    ### END SOLUTION


check.least_mean_share(least_mean_share)


# %% tags=["wrong"]
def forwards(f1):
    return 2 * f1 / (1 + f1)


check.least_mean_share(forwards)


# %% tags=["wrong"]
def same_number(f1):
    return f1


check.least_mean_share(same_number)

# %% [markdown]
# The thesis prints F1 57.7 and EP 28.5 for Fake-CAM. Fake-CAM's EP *is* the mean share that the boxes cover. Can both come from one set of boxes?

# %%
if check.least_mean_share(least_mean_share).status == "correct":
    least = 100 * least_mean_share(0.577)
    print(f"F1 57.7 needs boxes that cover at least {least:.1f} % on average; EP says 28.5 %.")

# %% [markdown]
# ## 4. Third clue: how many masks were empty?
#
# *12 minutes, pencil and one line.* Average increase AI counts an image where the masked picture is *more* probable
# than the whole, strictly. In table 2.5, AI of Fake-CAM is 42.0, of the context $I \setminus B$ 16.3, of Fake-CAM outside the box 18.9. The last
# two masks differ in one pixel. Yet AI differs by 2.6. Suppose a share $e$ of the images has an *empty* mask of the box, through the defect
# of negative edges. What are the two masks there, and what does AI count? Assume that one pixel does not matter where the mask is not empty, and that images with an empty mask are like all others.
# Return $e$ between 0 and 1.


# %%
def share_of_empty(ai_context: float, ai_outside: float, ai_fakecam: float) -> float:
    """The share of images whose box mask was empty, from three AI in percent."""
    ### BEGIN SOLUTION
    # Where B is empty, the context is the whole picture, where o = p counts 0; outside is Fake-CAM.
    return (ai_outside - ai_context) / ai_fakecam
    ### END SOLUTION


check.share_of_empty(share_of_empty)


# %% tags=["wrong"]
def plain_difference(ai_context, ai_outside, ai_fakecam):
    return (ai_outside - ai_context) / 100


check.share_of_empty(plain_difference)


# %% tags=["wrong"]
def relative_increase(ai_context, ai_outside, ai_fakecam):
    return (ai_outside - ai_context) / ai_context


check.share_of_empty(relative_increase)

# %%
if check.share_of_empty(share_of_empty).status == "correct":
    share = share_of_empty(16.3, 18.9, 42.0)
    print(f"About {share:.1%} of the images had an empty mask.")

# %% [markdown]
# ## 5. A reviewer writes
#
# *12 minutes, open.* "On ImageNet, your map has an energy pointing game of 30 %, Grad-CAM has 33 %. Your explanations are worse. Reject." Below
# are the energy pointing game and the hottest pixel of Grad-CAM and of three maps that know nothing of the network, on the course's photographs.

# %%
model = models.load("efficientnet_lite0")
images, targets, boxes = photos.batch()
maps = {
    "Grad-CAM": cam(model, images, targets, layer="bn2", weights=gradcam),
    "edges": edge_map(model, images, targets),
    "centre": centre_map(model, images, targets),
    "Fake-CAM": fakecam(model, images, targets),
}
maps = {name: heatmap.normalize(S) for name, S in maps.items()}
energy = {name: metrics.energy_pointing_game(S, boxes).mean() for name, S in maps.items()}
plot.bars(
    energy,
    alt="; ".join(f"{name}: {value:.0f} %" for name, value in energy.items()),
    xlabel="energy pointing game (%)",
    title="The share of the heat in the box, nine photographs",
)

# %% tags=["test", "remove-cell"]
assert energy["centre"] > energy["Grad-CAM"] > energy["Fake-CAM"]

# %% [markdown]
# Answer the reviewer in at most 150 words. Use one number from the figure, say what the score measures and what it does not, and propose
# **one experiment** that could show the reviewer to be right.

# %% [markdown] tags=["solution"]
# **Rubric**, one point each:
#
# - *What the score measures.* The share of the heat in a box that a person drew. It is a property of map and box; the network
#   is not asked.
# - *A number, read rightly.* The centre map knows nothing of network or picture and has a higher score than Grad-CAM; so a
#   higher score is no proof of a better explanation. Or: Fake-CAM's score is the mean share of the boxes, and
#   33 and 30 mean little until one knows it.
# - *The assumption is named.* A low score is bad only if the network's evidence lies in the box. Where context is evidence, the right map scores low,
#   as in the planted scenes.
# - *The experiment could fail.* For example: plant the evidence in the object, or use a network of which an intervention shows that it uses the object,
#   and compare the two maps there; or compare drop and insertion of both maps. If ours loses there, the reviewer is right. "Measure EP on
#   another data set" is not such an experiment, for it has the same assumption.
# - *Bonus.* A difference of 3 points needs an interval over images, and the table needs box code that was checked with a constant map.
#
# A good answer: *EP is the share of heat in a box drawn by a person; it never asks the network. On nine photographs a blind hill in
# the centre scores above Grad-CAM, so EP ranks photographers' habits too. It judges explanations only if the evidence is in the box. We will
# test this: on planted scenes, where changing the object alone changes the network's answer, our map must have at least
# Grad-CAM's EP. If it does not, it misses evidence that is known to be there, and the reviewer is right.*

# %% [markdown]
# ## 6. Boxes of your own
#
# *Extra, for a class: 5 minutes, squared paper.* The cell prints two boxes, and in a class each student gets others. Draw them on squared paper, count, and
# write their IoU as a fraction, such as `5 / 21`, or as a number with four digits behind the point.

# %%
a, b = check.numbers("own_iou")
print(f"a = {a}, b = {b}")

# %%
### BEGIN SOLUTION
own_iou = iou(a, b)
### END SOLUTION
check.own_iou(own_iou)

# %% tags=["wrong"]
both = (min(a[2], b[2]) - max(a[0], b[0])) * (min(a[3], b[3]) - max(a[1], b[1]))
check.own_iou(
    both / sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (a, b))
)  # the common part counted twice

# %% tags=["wrong"]
check.own_iou(iou(*[(x0, y0, x1 + 1, y1 + 1) for x0, y0, x1, y1 in (a, b)]))  # ends included

# %% tags=["wrong"]
check.own_iou(100 * iou(a, b))  # in percent
