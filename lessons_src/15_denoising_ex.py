# %% [markdown]
# # Is a cleaner gradient a truer one? Exercise
#
# | | |
# |---|---|
# | Minutes | 45 |
# | Run time | quick 30 s · laptop 30 s · full 30 s |
# | Memory | 2 GB |
# | Network | no |
#
# Write your answer where it says `your code here`, run the cell, and run the check below it. Stuck?
# `check.hint("cosine_error")` helps a little, called again a little more.

# %%
import torch
import torch.nn.functional as F
from scipy import stats

from xailib import metrics, models, plot
from xailib.checks.lesson_15 import RUNS, check
from xailib.data import PlantedScenes
from xailib.explain import edge_map, gradient, saliency

# %% [markdown]
# ## 1. The error of a batch
#
# *5 minutes, one or two lines.* Given standard and guided gradients `[b 3 h w]`, return the cosine error of the batch:
# the mean over the images of minus the cosine. On paper first: $\delta = (1, 2)$ and $\delta' = (2, 1)$.


# %%
def cosine_error(delta: torch.Tensor, delta_G: torch.Tensor) -> torch.Tensor:
    """The mean over images of minus the cosine between both gradients."""
    ### BEGIN SOLUTION
    return -F.cosine_similarity(delta.flatten(1), delta_G.flatten(1)).mean()
    ### END SOLUTION


check.cosine_error(cosine_error)


# %% tags=["wrong"]
def as_on_the_slides(delta, delta_G):
    return F.cosine_similarity(delta.flatten(1), delta_G.flatten(1)).mean()


check.cosine_error(as_on_the_slides)


# %% tags=["wrong"]
def one_cosine_for_all(delta, delta_G):
    return -F.cosine_similarity(delta.flatten(), delta_G.flatten(), 0)


check.cosine_error(one_cosine_for_all)


# %% tags=["wrong"]
def not_normalised(delta, delta_G):
    return -(delta * delta_G).flatten(1).sum(1).mean()


check.cosine_error(not_normalised)

# %% [markdown]
# ## 2. A loss that contains a gradient
#
# *12 minutes, four lines.* Given a model, images, labels, a `teacher` gradient of the images' shape and $\lambda$,
# return $L = L_C + \lambda L_R$ with the cosine error. Both parts must be learned from, and the teacher must not. The
# check compares the slopes of your loss at some weights with finite differences.


# %%
def denoising_loss(model, images, labels, teacher, coefficient):
    """The mean cross-entropy plus coefficient times the cosine error of its gradient to the teacher."""
    ### BEGIN SOLUTION
    x = images.detach().requires_grad_()
    L_C = F.cross_entropy(model(x), labels)
    (delta,) = torch.autograd.grad(L_C, x, create_graph=True)
    cosines = F.cosine_similarity(delta.flatten(1), teacher.detach().flatten(1))
    return L_C - coefficient * cosines.mean()
    ### END SOLUTION


check.denoising_loss(denoising_loss)


# %% tags=["wrong"]
def without_a_graph(model, images, labels, teacher, coefficient):
    x = images.detach().requires_grad_()
    L_C = F.cross_entropy(model(x), labels)
    (delta,) = torch.autograd.grad(L_C, x, retain_graph=True)
    return L_C - coefficient * F.cosine_similarity(delta.flatten(1), teacher.flatten(1)).mean()


check.denoising_loss(without_a_graph)


# %% tags=["wrong"]
def teacher_that_learns(model, images, labels, teacher, coefficient):
    x = images.detach().requires_grad_()
    L_C = F.cross_entropy(model(x), labels)
    (delta,) = torch.autograd.grad(L_C, x, create_graph=True)
    return L_C - coefficient * F.cosine_similarity(delta.flatten(1), teacher.flatten(1)).mean()


check.denoising_loss(teacher_that_learns)


# %% tags=["wrong"]
def pushed_apart(model, images, labels, teacher, coefficient):
    x = images.detach().requires_grad_()
    L_C = F.cross_entropy(model(x), labels)
    (delta,) = torch.autograd.grad(L_C, x, create_graph=True)
    return L_C + coefficient * F.cosine_similarity(delta.flatten(1), teacher.flatten(1)).mean()


check.denoising_loss(pushed_apart)

# %% [markdown]
# ## 3. Is it a gain?
#
# *8 minutes, three lines.* Two lists of numbers, one per seed: of networks trained without and with denoising. Return
# the two ends of the 95 % interval of the mean gain, with pairs of the same seed. Use `stats.t.ppf(0.975, n - 1)`.


# %%
def paired_interval(standard: torch.Tensor, denoised: torch.Tensor) -> tuple[float, float]:
    """The ends of the 95 % t interval of the mean of denoised - standard."""
    ### BEGIN SOLUTION
    d = denoised - standard
    half = stats.t.ppf(0.975, len(d) - 1) * d.std() / len(d) ** 0.5
    return (d.mean() - half).item(), (d.mean() + half).item()
    ### END SOLUTION


check.paired_interval(paired_interval)


# %% tags=["wrong"]
def two_standard_errors(standard, denoised):
    d = denoised - standard
    half = 1.96 * d.std() / len(d) ** 0.5
    return d.mean() - half, d.mean() + half


check.paired_interval(two_standard_errors)


# %% tags=["wrong"]
def not_paired(standard, denoised):
    n, gain = len(standard), denoised.mean() - standard.mean()
    half = stats.t.ppf(0.975, n - 1) * ((standard.var() + denoised.var()) / n) ** 0.5
    return gain - half, gain + half


check.paired_interval(not_paired)


# %% tags=["wrong"]
def divided_by_n(standard, denoised):
    d = denoised - standard
    half = stats.t.ppf(0.975, len(d) - 1) * d.std(correction=0) / len(d) ** 0.5
    return d.mean() - half, d.mean() + half


check.paired_interval(divided_by_n)

# %% [markdown]
# How much does pairing help? The standard values of the check, 70, 72 and 74, differ far more than the gains. The second
# line has the same six numbers with the seeds mixed up: the same mean gain, and an interval many times as wide.

# %%
solved = check.paired_interval(paired_interval).status == "correct"
if solved:
    print(paired_interval(torch.tensor([70.0, 72.0, 74.0]), torch.tensor([71.0, 73.5, 74.5])))
    print(paired_interval(torch.tensor([70.0, 72.0, 74.0]), torch.tensor([73.5, 74.5, 71.0])))

# %% [markdown]
# ## 4. Which run was denoised?
#
# *8 minutes, a few lines.* Four people trained with a regulariser and kept the gradients of sixteen images:
# `RUNS[letter]["before"]` and `["after"]` each hold standard and guided gradients. All report success: A has an
# alignment of 1, B's MAE fell, C's loss fell, and D's too. Which of them have a network whose gradients turned towards
# the guided ones? Write a set of letters.

# %%
for letter, run in RUNS.items():
    for when, (delta, delta_G) in run.items():
        error = (delta - delta_G).abs().mean()
        print(
            f"{letter} {when:6}: MAE {error:.3f}, length {delta.flatten(1).norm(dim=1).mean():.2f}"
        )

# %%
answer = ...
### BEGIN SOLUTION
answer = {
    letter
    for letter, run in RUNS.items()
    if cosine_error(*run["before"]) - cosine_error(*run["after"]) > 0.05
}
### END SOLUTION
check.denoised_run(answer)

# %% tags=["wrong"]
check.denoised_run({"A", "C"})

# %% tags=["wrong"]
check.denoised_run({"B"})

# %% tags=["wrong"]
check.denoised_run({"C", "D"})

# %% [markdown]
# ## 5. A reviewer is impressed
#
# *12 minutes, open.* You send a paper with guided gradients of your classifier. The reviewer writes: "The guided maps
# are so much clearer than the saliency maps, and they hold more of the object. Clearly the guided maps show better what
# the network uses. Accept." Below is what each map holds on the stickers that decide, on planted scenes: asked for the
# right class, and asked for a wrong one.

# %%
network = models.load("smallcnn_shape")
scenes = PlantedScenes(64, generator=torch.Generator().manual_seed(5), evidence="shape")
scenes = scenes.batch(range(64))
wrong_class = (scenes.labels + 1) % 5
METHODS = {
    "saliency": saliency,
    "guided": lambda *asked: gradient(*asked, guided=True).abs().amax(1),
    "edges": edge_map,
}
share, likeness = {}, {}
for name, method in METHODS.items():
    right, wrong = (method(network, scenes.images, c) for c in (scenes.labels, wrong_class))
    inside = (right * scenes.evidence).sum((1, 2)) / right.sum((1, 2))
    share[name] = 100 * inside.mean().item()
    likeness[name] = metrics.correlation(right, wrong).mean().item()

# %%
print({name: f"correlation of right and wrong class {r:.2f}" for name, r in likeness.items()})
plot.bars(
    share,
    alt="; ".join(f"{name}: {value:.0f} %" for name, value in share.items()),
    xlabel="share of the map on the stickers that decide (%)",
)

# %% tags=["test", "remove-cell"]
assert share["guided"] > share["saliency"] + 10
assert likeness["guided"] > likeness["saliency"] and likeness["edges"] > 0.99

# %% [markdown]
# Answer in at most 150 words, to a reviewer who wants to accept your paper. Say what the reviewer's argument shows and
# what it does not, use one number from above, and propose **one experiment** after which the sentence may stay, or must
# go.

# %% [markdown] tags=["solution"]
# **Rubric**, one point each:
#
# - *Clear is not true.* Clarity is a property of the picture. Whether the map shows what the network uses is a question
#   to the network.
# - *A number, read rightly.* The guided map holds more on the stickers than saliency does; but its map for a wrong
#   class is much like the one for the right class, and the edge map, which never saw the network, holds a share too. So
#   a good part of the clarity can be the drawing of objects.
# - *What the argument does show.* Guided maps lie on objects; where the object is the evidence, they lie on the
#   evidence. That is worth saying, and less than was claimed.
# - *The experiment could fail.* For example: take a network that uses a tag in the corner, as changing the tag proves,
#   and see whether the guided map moves to the tag; or randomise the upper layers and see whether it changes. "Show
#   more maps to more people" is not such an experiment.
# - *Bonus.* The answer asks for an interval, or for more than one trained network.
#
# A good answer: *Thank you, but the sentence goes too far. Guided maps lie on the deciding stickers more than saliency
# does, and that is measured. Asked for a wrong class they hardly change, though, so they tell where objects are drawn
# rather than why this class was chosen; an edge map does part of that without any network. We will test it: on the
# network that was trained with a tag, and whose answer changes with the tag, the guided map must put more on the tag
# than the edge map does. If it does not, we write "guided maps outline objects" and nothing more.*
