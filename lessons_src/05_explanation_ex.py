# %% [markdown]
# # What counts as an explanation? Exercise
#
# | | |
# |---|---|
# | Minutes | 40 |
# | Run time | quick 20 s · laptop 20 s · full 20 s |
# | Memory | 2 GB |
# | Network | no |
#
# Write your answer where it says `your code here`, run the cell, and run the check below it. Stuck?
# `check.hint("contributions")` helps a little, called again a little more.

# %%
import torch

from xailib.checks.lesson_05 import check

# %% [markdown]
# ## 1. Take a logit apart
#
# *5 minutes, one or two lines.* Given the activations $A$ `[k h w]` of the last layer and the weights $w$ `[k]` of one class,
# return the contribution of each cell `[h w]` to its logit, for a network that averages over cells and then adds up channels.


# %%
def contributions(A: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """The share of the logit that each cell brings; all together they are the logit without its bias."""
    ### BEGIN SOLUTION
    return (w[:, None, None] * A).sum(0) / A[0].numel()
    ### END SOLUTION


check.contributions(contributions)


# %% tags=["wrong"]
def not_averaged(A, w):
    return (w[:, None, None] * A).sum(0)


check.contributions(not_averaged)


# %% tags=["wrong"]
def averaged_over_channels(A, w):
    return (w[:, None, None] * A).mean(0)


check.contributions(averaged_over_channels)


# %% tags=["wrong"]
def with_relu(A, w):
    return (w[:, None, None] * A).sum(0).relu() / A[0].numel()


check.contributions(with_relu)

# %% [markdown]
# ## 2. This rather than that
#
# *5 minutes, one line.* Use your function: return the cells' contributions to the *difference* of two logits, $y_c - y_d$. `W` is
# `[classes k]`.


# %%
def contrast(A: torch.Tensor, W: torch.Tensor, c: int, d: int) -> torch.Tensor:
    """What each cell adds to y_c - y_d."""
    ### BEGIN SOLUTION
    return contributions(A, W[c] - W[d])
    ### END SOLUTION


check.contrast(contrast)


# %% tags=["wrong"]
def other_way_round(A, W, c, d):
    return contributions(A, W[d] - W[c])


check.contrast(other_way_round)


# %% tags=["wrong"]
def only_in_favour(A, W, c, d):
    return contributions(A, W[c] - W[d]).relu()


check.contrast(only_in_favour)

# %% [markdown]
# ## 3. Sort these
#
# *5 minutes.* For each case, write whether the network is changed for it (`"active"`) or not (`"passive"`), and whether it covers one
# decision (`"local"`) or the network (`"global"`): a dictionary with a pair for each case, such as `{"heat map": ("active", "global"), ...}`.
#
# - `"heat map"`: for a photograph, how much the logit falls when each patch is hidden.
# - `"unit labels"`: for every channel of a trained network, the concept that it detects best over a whole data set.
# - `"smoother training"`: a network trained with a loss that makes its input gradients smooth; shown is one gradient.
# - `"tree"`: a decision tree trained together with the network, small enough to be printed, that stands for all its decisions.

# %%
### BEGIN SOLUTION
kinds = {
    "heat map": ("passive", "local"),
    "unit labels": ("passive", "global"),
    "smoother training": ("active", "local"),
    "tree": ("active", "global"),
}
### END SOLUTION
check.kinds(kinds)

# %% tags=["wrong"]
check.kinds(
    {
        "heat map": ("passive", "local"),
        "unit labels": ("active", "global"),
        "smoother training": ("active", "local"),
        "tree": ("active", "global"),
    }
)

# %% tags=["wrong"]
check.kinds({"heat map": ("passive", "local"), "unit labels": ("passive", "global")})

# %% [markdown]
# ## 4. Catch the map that does not listen
#
# *10 minutes, up to four lines.* `explain(image, target)` returns a map `[H W]`. Return `True` if the maps for classes 0 and 1 would
# *look* the same on the page, each drawn on its own scale from its least to its greatest value, as most papers do.


# %%
def does_not_listen(explain, image: torch.Tensor) -> bool:
    """Whether both maps are the same once each is scaled to the range [0, 1]."""

    ### BEGIN SOLUTION
    def scaled(heat):
        return (heat - heat.min()) / (heat.max() - heat.min())

    return torch.allclose(scaled(explain(image, 0)), scaled(explain(image, 1)), atol=1e-5)
    ### END SOLUTION


check.does_not_listen(does_not_listen)


# %% tags=["wrong"]
def equal_values(explain, image):
    return torch.allclose(explain(image, 0), explain(image, 1))


check.does_not_listen(equal_values)


# %% tags=["wrong"]
def same_hottest_pixel(explain, image):
    return explain(image, 0).argmax() == explain(image, 1).argmax()


check.does_not_listen(same_hottest_pixel)


# %% tags=["wrong"]
def divided_by_the_greatest(explain, image):
    zero, one = explain(image, 0), explain(image, 1)
    return torch.allclose(zero / zero.max(), one / one.max(), atol=1e-5)


check.does_not_listen(divided_by_the_greatest)

# %% [markdown]
# ## 5. Is this letter an explanation?
#
# *15 minutes, open.* A hospital's system sorts X-ray images. A patient whose image it put at the end of the queue asks why, and gets:
# *"The system looked at the marked region (heat map enclosed). It is 97 % accurate, so the decision is correct."* In at most 150
# words: what does the letter explain and what not? Name two measurements from the lesson that you would ask for, and rewrite
# the letter in two sentences that are true.

# %% [markdown] tags=["solution"]
# **Rubric**, one point each:
#
# - *Local and global are kept apart.* Accuracy over all patients says nothing about this decision, and does not make it correct.
# - *"Looked at" is questioned.* The map shows where some score changed, not what was seen there, nor that the decision depended on it.
# - *Contrast.* The patient asks why the end of the queue *rather than* the front; a map for one class does not answer that.
# - *Two measurements*, for example: the rank correlation with a randomised network, and with the map for the other answer; the probability
#   with the region hidden; the change under noise that does not change the answer.
# - *The rewritten letter claims only what is known.* For example: *The system gave your image a score of 0.31 for an urgent finding, below the
#   limit of 0.5, so it was queued behind others. When we hid the marked region the score hardly changed, so we cannot tell you what the
#   score rests on, and a physician will look at your image today.*
