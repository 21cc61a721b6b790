# %% [markdown]
# # What counts as an explanation?
#
# | | |
# |---|---|
# | You will | take one decision of a network apart exactly, ask it why not something else, sort explanations by kind, and measure three properties that a good one has |
# | You need | lesson 00; what a logit and a linear layer are |
# | Minutes | 60 |
# | Run time | quick 40 s · laptop 40 s · full 40 s |
# | Memory | 3 GB |
# | Data | photographs that come with scikit-image and scikit-learn |
# | Network | no |

# %% [markdown]
# ## Three maps, one question
#
# A network says *bell cote*, an open little tower with a bell, of the photograph below. Below are three maps for its answer. At least one of them never asked the network.
# **Predict**: which one would you show to a customer, and which one is no explanation at all?

# %%
from functools import partial

import torch

from xailib import heatmap, metrics, models, plot
from xailib.data import photos
from xailib.explain import (
    cam,
    centre_map,
    classic_cam,
    edge_map,
    gradcam,
    guided_backprop,
    saliency,
)

# %%
model = models.load("efficientnet_lite0")
class_names = models.class_names()
image = photos.load("china").image[None]
target = model(image).argmax(1)
grad_cam = partial(cam, layer="bn2", weights=gradcam)
a, b, c = (method(model, image, target)[0] for method in (edge_map, grad_cam, saliency))
clipped = [heat.clamp(max=heat.quantile(0.99)) for heat in (a, b, c)]  # single pixels outshine all
plot.gallery(
    [image[0]] * 3,
    clipped,
    titles=["A", "B", "C"],
    columns=3,
    alt="Map A traces roofs, windows and trees; B is one soft hill on the tower; C is a cloud of dots, more of them in the sky beside the tower than on it.",
)

# %% [markdown]
# A is a Sobel filter: it finds edges and knows nothing of networks. Many people choose it, for it is crisp and lies on what
# they would have pointed at. It is **plausible**, and it explains nothing. B is Grad-CAM (lesson 00), C the **saliency**, how
# fast the logit changes with each pixel (lesson 06). Both are computed from the network, yet show different things. So "it looks right" cannot be what makes an explanation. What can?
#
# ## An explanation with nothing left out
#
# Where a model is simple, one can say exactly how an answer came about. The top of this network is simple: the activations
# $A$ of its last layer are averaged over the cells, and the averages go through one linear layer with weights $W$ and
# biases $b$. Both steps are sums, so every one of the 49 cells makes its own **contribution** to the logit of class $c$:
#
# $$y_c = b_c + \sum_{ij} \underbrace{\tfrac{1}{hw} \sum_k W_{ck} A_{k,ij}}_{\text{contribution of cell } ij} .$$

# %%
A = model.net.forward_features((image - model.mean) / model.std).detach()  # [1, 1280, 7, 7]
W, bias = model.net.classifier.weight.detach(), model.net.classifier.bias.detach()
logits = model(image)[0].detach()
contributions = torch.einsum("k,khw->hw", W[target[0]], A[0]) / 49
print(f"logit of {class_names[target]}: {logits[target].item():.4f}")
print(f"bias + 49 contributions:  {(bias[target] + contributions.sum()).item():.4f}")
torch.testing.assert_close(bias[target] + contributions.sum(), logits[target])

# %% [markdown]
# Nothing is missing and nothing is estimated. This property, that the parts add up to the whole, is called **completeness**,
# and we meet it again with integrated gradients (lesson 06) and parts (lesson 16). Times 49, that is, without the
# division of the mean, these cells are the original class activation map (Zhou et al., CVPR 2016), which the library
# knows as `classic_cam`:

# %%
maps = cam(model, image, target, layer="bn2", weights=classic_cam)
torch.testing.assert_close(maps, heatmap.resize(49 * contributions[None], (224, 224)))

# %% [markdown]
# ## Why this, and not that?
#
# People rarely ask "why bell cote?". They ask why *bell cote* rather than *palace*: an explanation is **contrastive** (Miller,
# Artificial Intelligence 2019). Here the contrast is exact as well: subtract one sum from the other, and each cell's
# difference speaks for one class or for the other.
#
# **Predict.** The network takes Chelsea for an Egyptian cat, by a hair; its second guess is tiger cat, which is our label.
# Which part of the face makes the difference?

# %%
cat = photos.load("chelsea").image[None]
cat_A = model.net.forward_features((cat - model.mean) / model.std).detach()[0]
cat_logits = model(cat)[0].detach()
first, second = cat_logits.topk(2).indices
contrast = torch.einsum("k,khw->hw", W[first] - W[second], cat_A) / 49
gap = cat_logits[first] - cat_logits[second]
torch.testing.assert_close(contrast.sum() + bias[first] - bias[second], gap)

# %%
this, that = class_names[first], class_names[second]
share = contrast.clamp(min=0).sum(), contrast.clamp(max=0).sum()
print(
    f"for {this}: {share[0]:+.2f}   for {that}: {share[1]:+.2f}   biases: {bias[first] - bias[second]:+.2f}"
)
print(f"sum: {gap:+.2f}, the difference of the logits")
pair = cam(
    model, cat.expand(2, -1, -1, -1), torch.stack([first, second]), layer="bn2", weights=gradcam
)
plot.gallery(
    [cat[0]] * 3,
    [pair[0], pair[1], contrast],
    titles=[f"Grad-CAM, {this}", f"Grad-CAM, {that}", "the difference, cell by cell"],
    columns=3,
    alt=f"Two nearly equal maps for {this} and {that}; their exact difference is red around the eye on the "
    "right and on one cheek, blue around the other eye and below the nose.",
)

# %% [markdown]
# The two maps on the left look alike, since both cats are cats: most of the evidence for one is evidence for the other. The
# difference shows what separates them. What speaks for either side nearly cancels, which is why the network is unsure.
#
# And still: is this an *explanation*? It is exact about the last layer. But each of the 1280 channels that it adds up was
# made by all layers below, and nobody can say in words what they are. Exact is not the same as understood.

# %% tags=["test", "remove-cell"]
assert 0 < gap < 0.5 * share[0] and -share[1] > 0.5 * share[0]
assert metrics.correlation(pair[:1], pair[1:])[0] > 0.8

# %% [markdown]
# ## Words for kinds of explanations
#
# Two papers gave the field most of its words. Lipton (*The mythos of model interpretability*, Queue 2018) asks where
# understanding comes from:
#
# - **transparency**: from the model itself. It may be *simulatable* (a person can go through the whole computation),
#   *decomposable* (every part has a meaning) or have an *algorithm* with known behaviour (as in: the loss has one minimum).
# - **post-hoc interpretability**: from something made afterwards: a text, a visualisation, a *local* account of one
#   decision, or examples ("this looks like that").
#
# Zhang et al. (*A survey on neural network interpretability*, IEEE TETCI 2021) use three questions:
#
# | question | answers |
# |---|---|
# | Is the network changed for it? | **passive**: no, it is explained as it is · **active**: yes, its architecture or training |
# | What is it made of? | examples · **attributions** (numbers for inputs) · hidden semantics (meanings of units) · rules |
# | How much does it cover? | **local**: one decision · semi-local: a group · **global**: the whole network |
#
# And this is where the methods of the course stand:
#
# | lesson | passive or active | made of | covers |
# |---|---|---|---|
# | 06 gradients, 07 masking, 08 CAM, 09 transformers, 13 Opti-CAM | passive | attributions | local |
# | 12 network dissection | passive | hidden semantics | global |
# | 14 CA-Stream | active: attention is added to the frozen network | attributions | local |
# | 15 gradient denoising | active: another training loss | attributions | local |
# | 16 parts and prototypes | active: the network is built from parts | examples | local, and global by class |
#
# Which of these words fits the contributions above? The *head* is transparent and decomposable; the network is not. The map
# is passive, an attribution, and local.

# %% [markdown]
# ## What a good explanation has
#
# Words sort explanations; they do not say which are good. Most lists of **desiderata** contain these three, and all three
# can be measured. Here with Spearman's rank correlation: 1 for the same order of pixels, 0 for unrelated maps.
#
# 1. **It depends on the network.** With random weights the map should change (Adebayo et al., NeurIPS 2018): near 0.
# 2. **It depends on the question.** Asked about a class that is not in the picture, it should change: well below 1.
# 3. **It is stable.** A little noise, invisible to you and of no consequence for the answer, should not change it: near 1.
#
# (Guided backpropagation is the saliency's slope, too, but drops what is negative on its way back; lesson 06 makes both.)
# **Predict** the row of the edge detector before you run the cell.

# %%
methods = {"Grad-CAM": grad_cam, "saliency": saliency, "guided backprop": guided_backprop}
methods |= {"edges": edge_map, "centre": centre_map}
images = torch.stack([photos.load(name).image for name in ("coffee", "china", "camera")])
predicted = model(images).argmax(1)
absent = torch.tensor([class_names.index(name) for name in ("daisy", "golden retriever", "daisy")])
noise = 0.02 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
noisy = (images + noise).clamp(0, 1)
assert model(noisy).argmax(1).equal(predicted)  # of no consequence for the answer

# %%
from xailib.metrics import average_ranks


def alike(maps, others):
    return metrics.correlation(average_ranks(maps), average_ranks(others)).mean().item()


def properties(explain):
    maps = explain(model, images, predicted)
    untrained = metrics.weight_randomization(model, images, predicted, explain).mean().item()
    other_class, with_noise = explain(model, images, absent), explain(model, noisy, predicted)
    return untrained, alike(maps, other_class), alike(maps, with_noise)


# %%
import pandas as pd

columns = ["random weights", "absent class", "a little noise"]
table = pd.DataFrame({name: properties(explain) for name, explain in methods.items()}, columns).T
table.round(2)

# %% [markdown]
# Read it by columns.
#
# - *Random weights*: the edge detector and the centre do not care which network they explain. That settles what map A was.
# - *Absent class*: guided backpropagation gives almost the same map for a dog as for a tower. Whatever it shows, it is not
#   the reason for *this* answer; lesson 06 finds out why. Grad-CAM and saliency change, though not completely: what is
#   striking is used for many classes.
# - *A little noise*: the single-pixel maps move with noise that you cannot see, while Grad-CAM hardly does. The two baselines
#   that explain nothing do better than both gradients: stability alone proves nothing.
#
# No row is perfect, and no column alone picks the best row. Whether a map is *faithful*, that is, whether what it calls
# important really is, needs more than this, and is the subject of part III.

# %% tags=["test", "remove-cell"]
assert (table.loc[["edges", "centre"], "random weights"] > 0.99).all()
assert (table.loc[["Grad-CAM", "saliency", "guided backprop"], "random weights"].abs() < 0.4).all()
assert table.loc["guided backprop", "absent class"] > 0.99
assert (table.loc[["Grad-CAM", "saliency"], "absent class"] < 0.8).all()
assert table.loc["Grad-CAM", "a little noise"] > 0.9 > table.loc["saliency", "a little noise"]
assert table.loc["centre", "a little noise"] > 0.99

# %% [markdown]
# ## Explore: this rather than that
#
# Choose a photograph and two of the network's guesses. Red cells speak for the first, blue cells for the second; the sums
# below the picture and the biases add up to the difference of the logits.
#
# 1. The clock: what makes the network say *bubble* (guess 1) rather than *wall clock* (guess 3)?
# 2. The tower in `china`: which cells separate *bell cote* (guess 1) from *palace* (guess 2), and which from *lakeside* (3)?
# 3. Compare a guess with itself. What must come out?

# %%
from xailib.widgets import Explorer, choice, slider


def compute(name, this, that):
    image = photos.load(name).image[None]
    A, logits = model.net.forward_features((image - model.mean) / model.std)[0], model(image)[0]
    c, d = logits.argsort(descending=True)[[this - 1, that - 1]]
    cells = torch.einsum("k,khw->hw", W[c] - W[d], A).detach() / 49
    return image[0], cells, (class_names[c], class_names[d]), (logits[c] - logits[d]).item()


def draw(result):
    image, cells, (this, that), gap = result
    plus, minus = cells.clamp(min=0).sum(), cells.clamp(max=0).sum()
    alt = (
        f"For {this}: {plus:+.2f}; for {that}: {minus:+.2f}; biases: {gap - plus - minus:+.2f}; "
        f"difference of the logits: {gap:+.2f}."
    )
    limit = max(cells.abs().max().item(), 1e-6)
    return plot.overlay(
        image, cells, alt=alt, title=f"{this} rather than {that}", limits=(-limit, limit)
    )


# %%
Explorer(
    compute,
    draw,
    name=choice(photos.names(), "photograph", "clock"),
    this=slider(1, 10, 1, 1, "this guess"),
    that=slider(1, 10, 3, 1, "rather than"),
)

# %% [markdown]
# A guess compared with itself gives zero everywhere: there is nothing to explain. Similar classes give small, scattered
# differences, and very different ones a map that looks like Grad-CAM of the first.
#
# ## What the law asks for
#
# The European Union's AI Act (Regulation 2024/1689) sorts systems by risk: forbidden, high, limited, minimal. Image
# recognition is of high risk for instance where it is a safety component, or identifies people by their bodies from afar.
# Two articles concern this course. Article 13 wants high-risk systems transparent enough for those who deploy them to
# *interpret a system's output*. Article 86 gives a person whom a decision based on such a system affects legally, or in a
# similarly serious way, the right to (for most systems that the act's Annex III lists) "clear and meaningful
# explanations of the role of the AI system in the decision-making procedure and the main elements of the decision taken".
# Neither says that a heat map is such an explanation, nor how to tell a true one from map A. That is left to you.
#
# ## To remember
#
# 1. **Plausible** is not **faithful**: an edge detector pleases the eye and knows nothing of the network.
# 2. Even an **exact** explanation covers only the part that it takes apart; ask what lies below, and *why this rather than that*.
# 3. Measure: does the map change with the **weights**, with the **question**, and only little with **noise**?
#
# **Now you**: [the exercise of this lesson](../exercises/05_explanation.ipynb), 40 minutes.
#
# ## Further reading
#
# - Z. C. Lipton, *The mythos of model interpretability*, Queue 16(3), 2018.
# - Y. Zhang, P. Tiňo, A. Leonardis and K. Tang, *A survey on neural network interpretability*, IEEE Transactions on Emerging Topics in
#   Computational Intelligence 5(5), 2021.
# - T. Miller, *Explanation in artificial intelligence: insights from the social sciences*, Artificial Intelligence 267, 2019.
# - J. Adebayo et al., *Sanity checks for saliency maps*, NeurIPS 2018.
# - R. Guidotti et al., *A survey of methods for explaining black box models*, ACM Computing Surveys 51(5), 2018.
# - In the library: [baselines that ask no network](../xailib/explain/baselines.py) and
#   [the randomised-weights check](../xailib/metrics/sanity.py).
