# %% [markdown]
# # Is a network that pools by attention easier to explain? Exercise
#
# | | |
# |---|---|
# | Minutes | 50 |
# | Run time | quick 30 s · laptop 30 s · full 30 s |
# | Memory | 2 GB |
# | Network | no |
#
# Write your answer where it says `your code here`, run the cell, and run the check below it. Stuck?
# `check.hint("next_query")` helps a little, called again a little more.

# %%
import torch

from xailib import heatmap, metrics, models
from xailib.checks.lesson_14 import check
from xailib.data import PlantedScenes
from xailib.explain import cam, gradcam
from xailib.models import CAStream

# %% [markdown]
# ## 1. One block of the stream
#
# *6 minutes, three lines.* `F` `[p d]` holds the features of one image, a row for each place, and `q` `[d]` is the
# query that enters this stage. Return the next query, $W\, F^\top \mathrm{softmax}(F q / \sqrt d) + b$, with `W` `[e
# d]` and `b` `[e]`.


# %%
def next_query(F: torch.Tensor, q: torch.Tensor, W: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """What the query sees at this stage, as the query of the next one: [e]."""
    ### BEGIN SOLUTION
    a = (F @ q / F.shape[1] ** 0.5).softmax(0)
    return W @ (F.T @ a) + b
    ### END SOLUTION


check.next_query(next_query)


# %% tags=["wrong"]
def without_the_root(F, q, W, b):
    return W @ (F.T @ (F @ q).softmax(0)) + b


check.next_query(without_the_root)


# %% tags=["wrong"]
def root_of_the_places(F, q, W, b):
    return W @ (F.T @ (F @ q / F.shape[0] ** 0.5).softmax(0)) + b


check.next_query(root_of_the_places)


# %% tags=["wrong"]
def with_residual(F, q, W, b):
    a = (F @ q / F.shape[1] ** 0.5).softmax(0)
    return W @ (F.T @ a + q) + b


check.next_query(with_residual)


# %% tags=["wrong"]
def average_pooling(F, q, W, b):
    return W @ F.mean(0) + b


check.next_query(average_pooling)

# %% [markdown]
# ## 2. What does a stream cost?
#
# *10 minutes, two or three lines.* The lesson counted parameters. Now count the operations of one image: a
# multiplication and an addition are two. `widths` are the channels $d_\ell$ of the stages that the stream reads,
# `places` their numbers of places $p_\ell$. The scores $F q$ take $p\,d$ multiplications with an addition, and so
# does the weighted sum $F^\top a$; then comes the linear map to the next stage's width, the last one to its own.
# Leave out the softmax, the root and the biases. Which term surprises you for ResNet-50?


# %%
def stream_flops(widths: list[int], places: list[int]) -> int:
    """Multiplications and additions of the stream for one image."""
    ### BEGIN SOLUTION
    linear = sum(d * e for d, e in zip(widths, [*widths[1:], widths[-1]], strict=True))
    looking = sum(2 * p * d for p, d in zip(places, widths, strict=True))
    return 2 * (linear + looking)
    ### END SOLUTION


check.stream_flops(stream_flops)


# %% tags=["wrong"]
def pairs_counted_once(widths, places):
    linear = sum(d * e for d, e in zip(widths, [*widths[1:], widths[-1]], strict=True))
    return linear + sum(2 * p * d for p, d in zip(places, widths, strict=True))


check.stream_flops(pairs_counted_once)


# %% tags=["wrong"]
def scores_only(widths, places):
    linear = sum(d * e for d, e in zip(widths, [*widths[1:], widths[-1]], strict=True))
    return 2 * (linear + sum(p * d for p, d in zip(places, widths, strict=True)))


check.stream_flops(scores_only)


# %% tags=["wrong"]
def last_map_forgotten(widths, places):
    linear = sum(d * e for d, e in zip(widths[:-1], widths[1:], strict=True))
    return 2 * (linear + sum(2 * p * d for p, d in zip(places, widths, strict=True)))


check.stream_flops(last_map_forgotten)

# %% [markdown]
# ## 3. Grad-CAM without a gradient
#
# *9 minutes, one line.* A network pools its last stage by attention and ends with $W_L$ and a linear classifier.
# `w_c` `[d]` is the classifier's row of the class, `W` `[d d]` is $W_L$, and the last stage has `places` places.
# Return Grad-CAM's weights at this stage, one per channel: the mean of the gradient over the places. The check makes
# such a network, with any attention it likes, and asks autograd.


# %%
def gradcam_weights(w_c: torch.Tensor, W: torch.Tensor, places: int) -> torch.Tensor:
    """The mean over the places of the gradient of y_c, per channel: [d]."""
    ### BEGIN SOLUTION
    return W.T @ w_c / places
    ### END SOLUTION


check.gradcam_weights(gradcam_weights)


# %% tags=["wrong"]
def not_transposed(w_c, W, places):
    return W @ w_c / places


check.gradcam_weights(not_transposed)


# %% tags=["wrong"]
def summed(w_c, W, places):
    return W.T @ w_c


check.gradcam_weights(summed)


# %% tags=["wrong"]
def classifier_only(w_c, W, places):
    return w_c / places


check.gradcam_weights(classifier_only)

# %% [markdown]
# ## 4. Is it frozen?
#
# *10 minutes, one or two lines.* `before` and `after` are state dicts of a network: names and tensors, parameters and
# buffers. Return the names of all entries that changed, in their order; a change of the last bit counts.


# %%
def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> list[str]:
    """Names of the entries that are not the same bit by bit."""
    ### BEGIN SOLUTION
    return [name for name, value in before.items() if not torch.equal(value, after[name])]
    ### END SOLUTION


check.changed(changed)


# %% tags=["wrong"]
def weights_and_biases(before, after):
    names = [name for name in before if name.endswith(("weight", "bias"))]
    return [name for name in names if not torch.equal(before[name], after[name])]


check.changed(weights_and_biases)


# %% tags=["wrong"]
def about_the_same(before, after):
    return [name for name, value in before.items() if not torch.allclose(value, after[name])]


check.changed(about_the_same)


# %% tags=["wrong"]
def by_their_sums(before, after):
    return [name for name, value in before.items() if value.sum() != after[name].sum()]


check.changed(by_their_sums)

# %% [markdown]
# Put it to use. A colleague trained a stream, with the two lines below instead of `fit`. What happened to the
# backbone?

# %%
stream = CAStream(models.load("smallcnn_shape"))
chance = torch.Generator().manual_seed(1)
lesson = PlantedScenes(32, evidence="shape", generator=chance).batch(range(32))
state = {name: value.clone() for name, value in stream.backbone.state_dict().items()}
for module in stream.modules():
    module.training = True
_ = stream(lesson.images)  # a forward pass, as in each step of training

# %%
if check.changed(changed).status == "correct":  # needs your function
    names = changed(state, stream.backbone.state_dict())
    print(len(names), "of", len(state), "changed:", ", ".join(names[:3]), "...")

# %% [markdown]
# ## 5. Is it explained better?
#
# *15 minutes, open.* The thesis, table 3.2: ResNet-50 on birds (CUB-200-2011), Grad-CAM, one run each.
#
# | | accuracy | AD ↓ | AG ↑ | AI ↑ | I ↑ | D ↓ |
# |---|---|---|---|---|---|---|
# | GAP | 76.96 | 10.87 | 10.29 | 45.81 | 65.71 | 6.17 |
# | CA | 75.90 | 10.44 | 17.61 | 53.54 | 74.60 | 6.56 |
#
# It concludes that CA-Stream "consistently provides improvements" on this smaller data set.
#
# Judge this in at most 150 words. Use at least two of the numbers; name what the table does not report and why you
# would need it; and propose **one experiment that could speak for CA-Stream and that mere confidence cannot fake**.
# Say beforehand which outcome would do so. Then run it on planted scenes; the cell below gets you started.

# %%
gap, ca = models.load("smallcnn_shape"), models.load("ca_stream_shape")
scenes = PlantedScenes(64, evidence="shape", generator=chance).batch(range(64))
images, labels = scenes.images, scenes.labels
with torch.no_grad():
    for name, network in (("GAP", gap), ("CA", ca)):
        y = network(images)
        right = (y.argmax(1) == labels).float().mean()
        print(f"{name:4} accuracy {right:.2f}, mean confidence {metrics.confidence(y).mean():.2f}")

# %% tags=["solution"]
maps = {
    "Grad-CAM of GAP": cam(gap, images, labels, layer="stages.2", weights=gradcam),
    "Grad-CAM of CA": cam(ca, images, labels, layer="stages.2", weights=gradcam),
    "attention of CA": heatmap.resize(ca.attention(images).detach(), (64, 64)),
}
for name, heat in maps.items():  # one judge for all maps, and the planted truth
    p, o = metrics.masked_probabilities(gap, images, labels, heatmap.normalize(heat))
    energy = metrics.energy_pointing_game(heat, scenes.boxes).mean()
    drop = metrics.average_drop(p, o).mean()
    print(f"{name:16} AD {drop:.1f}, judged by GAP; energy in the boxes {energy:.1f} %")

# %% [markdown] tags=["solution"]
# **Rubric**, one point each:
#
# - *Numbers, read with their neighbours.* AG, AI and I rise, but D rises as well (worse), AD moves by 0.43 only, and
#   accuracy *falls* by 1.06 points. "Consistently" leaves out two columns. AG and I are the two that confidence moves
#   most.
# - *What is missing is named.* The mean probability of both networks on clean images; a second run, so that 0.43 can
#   be told from chance; a control with uniform attention and $W_L$ trained, since Grad-CAM sees of the stream only
#   $W_L$.
# - *The experiment cannot be faked by confidence.* One judge for both maps; or both networks at one
#   temperature-matched confidence; or a truth that asks no network, such as planted evidence. "Repeat the table on
#   another data set" repeats the confound.
# - *It could fail, and the outcome is said before.* "If CA explains better, its Grad-CAM has the smaller AD also when
#   GAP's network judges, and more of its energy in the boxes."
#
# A good answer: *AG rises from 10.29 to 17.61 and I from 65.71 to 74.60, but D gets worse, AD moves by 0.43, and
# accuracy falls by 1.06 points, so "consistently" is too much. AG and I also rise when logits are multiplied by a
# constant, which explains nothing, and the mean probability of the two networks is not reported. My experiment: let
# GAP's network judge both Grad-CAMs on planted scenes, and count the energy in the boxes, for which no network is
# asked. If CA explains better, its map has the smaller drop and more energy inside. Neither happens: the two
# Grad-CAMs are as good as each other.* (The attention itself has much more energy in the boxes, and a *larger* drop
# when the same judge sees only what it keeps: it is the smaller mask. Two measures, two winners; say which of them
# you promised to go by.)
