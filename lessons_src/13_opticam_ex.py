# %% [markdown]
# # Is the best mask the best explanation? Exercise
#
# | | |
# |---|---|
# | Minutes | 60 |
# | Run time | quick 30 s · laptop 30 s · full 30 s |
# | Memory | 2 GB |
# | Network | no |
#
# Write your answer where it says `your code here`, run the cell, and run the check below it. Stuck?
# `check.hint("differences")` helps a little, called again a little more.

# %%
from collections.abc import Callable

import torch

from xailib import metrics, models, plot
from xailib.checks.lesson_13 import check
from xailib.data import PlantedScenes
from xailib.explain import opticam

# %% [markdown]
# ## 1. One step along each axis
#
# *5 minutes, one line.* `F` takes channel weights `[K]` and returns the score through their mask, a number. Return
# Score-CAM's finite differences $F(e_k) - F(0)$ for all $K$ channels, as a tensor `[K]`. ($e_k$ is row $k$ of
# `torch.eye(K)`.)


# %%
def differences(F: Callable[[torch.Tensor], torch.Tensor], K: int) -> torch.Tensor:
    """F(e_k) - F(0) for each channel k."""
    ### BEGIN SOLUTION
    return torch.stack([F(e) - F(torch.zeros(K)) for e in torch.eye(K)])
    ### END SOLUTION


check.differences(differences)


# %% tags=["wrong"]
def without_the_start(F, K):
    return torch.stack([F(e) for e in torch.eye(K)])


check.differences(without_the_start)


# %% tags=["wrong"]
def from_equal_weights(F, K):
    start = torch.ones(K) / K
    return torch.stack([F(start + e) - F(start) for e in torch.eye(K)])


check.differences(from_equal_weights)


# %% tags=["wrong"]
def true_gradient(F, K):
    w = torch.zeros(K, requires_grad=True)
    return torch.autograd.grad(F(w), w)[0]


check.differences(true_gradient)

# %% [markdown]
# ## 2. The score that Opti-CAM climbs
#
# *10 minutes, four lines.* A picture of $n$ pixels, all 1, and a network whose logit is $v \cdot \tilde x$ for the
# masked picture $\tilde x$. The layer shows $K$ channels on the same $n$ pixels, `A` is `[K n]`, not negative. Return
# $F(u)$: softmax of `u`, weighted sum, normalised by its **range**, seen through it by the network. (No sum is
# constant here.)


# %%
def masked_score(u: torch.Tensor, A: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """The logit of the picture seen through the channels weighted by softmax(u)."""
    ### BEGIN SOLUTION
    S = u.softmax(0) @ A
    mask = (S - S.min()) / (S.max() - S.min())
    return v @ mask
    ### END SOLUTION


check.masked_score(masked_score)


# %% tags=["wrong"]
def no_softmax(u, A, v):
    S = u @ A
    return v @ ((S - S.min()) / (S.max() - S.min()))


check.masked_score(no_softmax)


# %% tags=["wrong"]
def not_normalised(u, A, v):
    return v @ (u.softmax(0) @ A)


check.masked_score(not_normalised)


# %% tags=["wrong"]
def by_maximum(u, A, v):
    S = u.softmax(0) @ A
    return v @ (S / S.max())


check.masked_score(by_maximum)

# %% [markdown]
# ## 3. Climb
#
# *15 minutes, six lines.* Maximise a differentiable `F(u)` with `torch.optim.Adam` at rate 0.1, from $u = 0$ with `K`
# numbers: 100 steps. Return the **largest** $F$ met on the way, start and end included, as a number. Before you run
# the check, think of an $F$ for which the last value is not the largest.


# %%
def climb(F: Callable[[torch.Tensor], torch.Tensor], K: int) -> float:
    """The largest F met in 100 steps of Adam from u = 0."""
    ### BEGIN SOLUTION
    u = torch.zeros(K, dtype=torch.float64, requires_grad=True)
    adam, met = torch.optim.Adam([u], lr=0.1), [F(u).item()]
    for _ in range(100):
        adam.zero_grad()
        (-F(u)).backward()
        adam.step()
        met.append(F(u).item())
    return max(met)
    ### END SOLUTION


check.climb(climb)


# %% tags=["wrong"]
def downhill(F, K):
    u = torch.zeros(K, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([u], lr=0.1)
    for _ in range(100):
        adam.zero_grad()
        F(u).backward()
        adam.step()
    return F(u).item()


check.climb(downhill)


# %% tags=["wrong"]
def last_value(F, K):
    u = torch.zeros(K, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([u], lr=0.1, maximize=True)
    for _ in range(100):
        adam.zero_grad()
        F(u).backward()
        adam.step()
    return F(u).item()


check.climb(last_value)


# %% tags=["wrong"]
def plain_gradient_steps(F, K):
    u = torch.zeros(K, dtype=torch.float64, requires_grad=True)
    sgd, met = torch.optim.SGD([u], lr=0.1, maximize=True), [F(u).item()]
    for _ in range(100):
        sgd.zero_grad()
        F(u).backward()
        sgd.step()
        met.append(F(u).item())
    return max(met)


check.climb(plain_gradient_steps)

# %% [markdown]
# ## 4. Other weights, same map
#
# *15 minutes, four lines.* There are more channels than cells: `A` is `[K n]` with $K > n + 1$. Given weights `w`
# `[K]`, positive with sum 1, return **other** weights, also positive with sum 1, that give the same map $\sum_k w_k
# A_k$. At least one of them must differ by 0.001 or more. (`torch.linalg.svd(M).Vh` of a matrix `M` `[n K]` has rows
# of length $K$; those from the $n$-th on are directions $d$ with $Md = 0$.)


# %%
def other_weights(w: torch.Tensor, A: torch.Tensor) -> torch.Tensor:
    """Weights other than w, positive, with sum 1, of the same map."""
    ### BEGIN SOLUTION
    M = torch.cat([A.T, torch.ones(1, len(w))])  # its last row: d must not change the sum
    d = torch.linalg.svd(M).Vh[-1]
    return w + 0.5 * (w / d.abs()).min() * d  # half of the way to the first weight that would be 0
    ### END SOLUTION


check.other_weights(other_weights)


# %% tags=["wrong"]
def the_same_weights(w, A):
    return w.clone()


check.other_weights(the_same_weights)


# %% tags=["wrong"]
def sum_forgotten(w, A):
    d = torch.linalg.svd(A.T).Vh[-1]
    return w + 0.5 * (w / d.abs()).min() * d


check.other_weights(sum_forgotten)


# %% tags=["wrong"]
def too_far(w, A):
    M = torch.cat([A.T, torch.ones(1, len(w))])
    return w + 5 * torch.linalg.svd(M).Vh[-1]


check.other_weights(too_far)


# %% tags=["wrong"]
def some_direction(w, A):
    d = torch.linalg.svd(A.T).Vh[0]
    return w + 0.5 * (w / d.abs()).min() * d


check.other_weights(some_direction)

# %% [markdown]
# ## 5. An expert's report
#
# *15 minutes, open.* A camera sorts stickers by shape. A company explains its answers with Opti-CAM and writes: "Seen
# through our maps, the camera still gives the true class a high probability, so the maps show what it relies on. They
# also show that it relies on the ground, which must be changed." Below are six scenes of the camera with the map for
# the true class, and with the map for a class that the scene does **not** show, made in the same way.

# %%
model = models.load("smallcnn_shape")
data = PlantedScenes(6, generator=torch.Generator().manual_seed(1313), evidence="shape")
scenes = data.batch(torch.arange(6))
asked = {"shown": scenes.labels, "not shown": (scenes.labels + 2) % 5}
options = {"layer": "stages.2", "iterations": 15, "chunk": 6}
maps = {name: opticam(model, scenes.images, c, **options) for name, c in asked.items()}
titles = [data.class_names[c] for classes in asked.values() for c in classes]
plot.gallery(
    [*scenes.images] * 2,
    [heat for S in maps.values() for heat in S],
    columns=6,
    titles=titles,
    row_titles=[f"class {name}" for name in asked],
    boxes=scenes.boxes * 2,
    alt="Opti-CAM on six scenes with the subjects in boxes, above for the class shown, below for another.",
)

# %%
gains = {}
for name, c in asked.items():
    p, o = metrics.masked_probabilities(model, scenes.images, c, maps[name])
    gain = metrics.average_gain(p, o).mean()
    inside = ((maps[name] * scenes.evidence).sum((1, 2)) / maps[name].sum((1, 2))).mean()
    gains[name] = gain.item()
    print(f"class {name:9}: p {p.mean():.2f}, through the mask {o.mean():.2f}; ", end="")
    print(f"AG {gain:.0f}, heat on the subjects {inside:.0%}")
print(f"the subjects cover {scenes.evidence.float().mean():.0%} of the scenes")

# %% tags=["test", "remove-cell"]
assert gains["not shown"] > 5 + gains["shown"]

# %% [markdown]
# Write to the company in at most 150 words. Use one number from the printout; say for each of their two sentences
# whether it follows, and propose one experiment that could show that they are right about the ground.

# %% [markdown] tags=["solution"]
# **Rubric**, one point each:
#
# - *It is a training score.* The maps were searched for by the logit through them; that the class survives says that
#   the search worked. The control is in the printout: for classes that are not shown, the search raises the
#   probability as well, with no evidence to find, to about one fifth: what black gives in five classes.
# - *A number, read rightly.* For example: AG is lower for the class shown than for the class not shown. A class that
#   is sure already cannot gain, and one near 0 can do nothing else; so AG says nothing here about who is right. Or:
#   the heat on the subjects is compared with the share of the scene that they cover, and with the heat for the absent
#   class.
# - *Spreading is free.* The objective charges nothing for bright pixels that neither help nor harm; light on the
#   ground is no claim that the ground matters. Other starts give other maps; only what they share can be reported.
# - *The experiment could fail.* "Put the same subjects on another ground and count how often the answer changes" is
#   one: if it changes, the company is right. Looking at more maps is none.
# - *Bonus.* The maps were shown for scenes of one network; another network that learned the same task, as a judge
#   that was not in the loop, would be a further test.
#
# A good answer: *Your first sentence does not follow. You searched for masks that keep the logit high and then report
# that it is high. The same search raises the probability of shapes that are not in the scene (second line), where no
# map can show what the camera relies on, and puts about as much heat on the subjects there. Nor does the second: your
# objective does not punish light on pixels without effect. Test it: replace the ground under 200 unchanged sets of
# stickers. If more answers change than when you repaint distractors instead, the camera relies on the ground, and you
# are right.*
