# %% [markdown]
# # What did the network look at?
#
# | | |
# |---|---|
# | You will | explain a real photograph with a real network: first by hand, then in one line; put the explanation to a test; and see it fail |
# | You need | Python, and to have met a tensor and a gradient in PyTorch |
# | Minutes | 45 |
# | Run time | quick 40 s · laptop 40 s · full 40 s |
# | Memory | 2 GB |
# | Data | photographs that come with scikit-image and scikit-learn |
# | Network | no |
#
# Run the cells from top to bottom with Shift + Enter. **Before each figure, say what you expect to see.** A picture that
# you predicted wrongly teaches more than ten that you only looked at.

# %% [markdown]
# ## Ask the network
#
# `models.load` returns a convolutional network that was trained on the 1.2 million photographs of ImageNet to tell 1000
# classes apart. It takes images with pixels in [0, 1] and returns one number per class, the **logits**; the softmax
# turns them into probabilities. As far as we know, this photograph was not among those it learned from.

# %%
import torch
import torch.nn.functional as F

from xailib import models, plot
from xailib.data import photos

model = models.load("efficientnet_lite0")
class_names = models.class_names()
photo = photos.load("coffee")
images = photo.image[None]  # a batch of one: [1, 3, 224, 224]
plot.gallery(images, alt=photo.alt)

# %%
probabilities = model(images).softmax(1)[0].detach()
best = probabilities.topk(5)
guesses = {class_names[i]: p for i, p in zip(best.indices, best.values, strict=True)}
plot.bars(
    guesses,
    alt=f"Five bars; the first, {next(iter(guesses))}, reaches {best.values[0]:.2f}, each other less than 0.05.",
    xlabel="probability",
    title="The network's five best guesses",
)

# %% [markdown]
# The network is sure. But of what? The liquid, the cup, the saucer, the spoon and the wood of the table are all common
# in pictures of espresso, and any of them may have decided.
#
# **Predict.** Put a box around the part that you would need to see to say *espresso*: left, top, right and bottom edge
# in pixels. The picture is 224 pixels wide and high, and (0, 0) is its upper left corner. Do not run on with our numbers;
# make them yours.

# %%
my_box = (60, 40, 160, 130)
box = torch.tensor([my_box])
plot.gallery(images, boxes=[box], titles=["your box"], alt="The cup of coffee with your box on it.")

# %% [markdown]
# ## Ten lines from photograph to heat map
#
# A convolutional network works in two halves. The first turns the photograph into **activations** $A$: here 1280 small
# pictures of 7 x 7 cells, called channels, each of which lights up where it finds its own pattern. The second half
# averages every channel over its cells and adds the averages up to one logit $y_c$ for each class $c$.
#
# So ask each channel two things: *where* are you active, and *how much do you matter to the class*? The first is $A_k$
# itself. The second is a slope: how fast $y_c$ grows when channel $k$ does, averaged over the cells $(i, j)$,
#
# $$w_k = \frac{1}{hw} \sum_{ij} \frac{\partial y_c}{\partial A_{k,ij}} .$$
#
# The channels, weighted and added up, are **Grad-CAM** (Selvaraju et al., ICCV 2017). Its ReLU drops what speaks against
# the class:
#
# $$S = \mathrm{ReLU}\Big(\sum_k w_k A_k\Big) .$$

# %%
target = probabilities.argmax()
inputs = (images - model.mean) / model.std  # as the network was trained
A = model.net.forward_features(inputs).detach().requires_grad_()  # [1, 1280, 7, 7]
logits = model.net.forward_head(A)  # [1, 1000]
(G,) = torch.autograd.grad(logits[0, target], A)  # dy_c / dA
w = G.mean((2, 3), keepdim=True)  # [1, 1280, 1, 1]
S = (w * A).sum(1).relu().detach()  # [1, 7, 7]
by_hand = F.interpolate(S[None], (224, 224), mode="bilinear")[0]

# %% [markdown]
# That is all. Left, $S$ as the network has it: 49 cells, and no finer detail exists. Right, the same after bilinear
# interpolation, which adds beauty but no knowledge. Look for what is bright, and also for what is *not*.

# %%
label = class_names[target]
plot.gallery(
    [photo.image] * 2,
    [S[0], by_hand[0]],
    titles=["7 x 7 cells", "interpolated"],
    alt=f"Grad-CAM for {label}, as 49 cells and smooth: the rim and inside of the cup are bright, the table is dark.",
)

# %% [markdown]
# The liquid and the rim of the cup are bright. The handle, the spoon and the wood are nearly dark: for this network they
# hardly raised the logit.
#
# From here on the course's library does these lines. `cam` runs the network once, and `weights` says which member of
# the family of **class activation maps** to make; [its source](../xailib/explain/cam.py) shows that they all are the sum
# above, with other weights $w$. Both must agree, and the cell below would stop if they did not.

# %%
from xailib.explain import cam, gradcam

maps = cam(model, images, target[None], layer="bn2", weights=gradcam)
torch.testing.assert_close(maps, by_hand)

# %% [markdown]
# ## Were you right?
#
# How much of all heat lies in your box? Compare it with the share of the picture that your box covers: a map that were
# the same everywhere would put just that much into it.

# %%
x0, y0, x1, y1 = my_box
heat = maps[0, y0:y1, x0:x1].sum() / maps.sum()
area = (x1 - x0) * (y1 - y0) / 224**2
print(
    f"Your box: {area:.0%} of the picture, {heat:.0%} of the heat, {heat / area:.1f} times its share"
)

# %% [markdown]
# Far above 1, the network looked where you would. Below 1, it looked elsewhere; this need not be wrong. It is the reason to
# draw such maps: to notice when a network is right for a reason that you would not accept.

# %% [markdown]
# ## A heat map is a claim, so test it
#
# The map claims that bright places made the logit large. A claim can be tested: hide the hottest quarter of the picture
# and ask again, then hide the coldest quarter instead. **Predict** both probabilities first.


# %%
@torch.no_grad()
def probability_without(hidden, images, target):
    grey = images.where(~hidden, images.mean())
    return model(grey).softmax(1)[0, target].item()


hottest = maps >= maps.quantile(0.75)
coldest = maps <= maps.quantile(0.25)
nothing = torch.zeros_like(hottest)
test = {
    "the whole picture": probability_without(nothing, images, target),
    "without the coldest quarter": probability_without(coldest, images, target),
    "without the hottest quarter": probability_without(hottest, images, target),
}

# %%
plot.bars(
    test,
    alt="; ".join(f"{what}: {p:.2f}" for what, p in test.items()),
    xlabel=f"probability of {label}",
)

# %% [markdown]
# The map passes. Both times a quarter of the pixels became grey, yet only the quarter that the map called important was
# needed. Part III of the course turns this idea into numbers, and finds that it has traps of its own.

# %% tags=["test", "remove-cell"]
assert test["without the hottest quarter"] < 0.5 < 0.8 < test["without the coldest quarter"]

# %% [markdown]
# ## Where it misleads: there is a map for everything
#
# Grad-CAM answers for the class that *you* name. The photograph shows no daisy and no dog. **Predict**: what will the
# maps for *daisy* and *golden retriever* look like?

# %%
asked = [label, "coffee mug", "daisy", "golden retriever"]
classes = torch.tensor([class_names.index(name) for name in asked])
four = images.expand(4, -1, -1, -1)
answers = cam(model, four, classes, layer="bn2", weights=gradcam)
titles = [f"{name}: {probabilities[c]:.2g}" for name, c in zip(asked, classes, strict=True)]
alt = "Four maps, all with bright spots: daisy on the rim of the cup, retriever below it."
plot.gallery(four, answers, titles=titles, alt=alt)

# %% [markdown]
# Each has its bright spot, even the dog's. The catch stands below the pictures: the colours of each map run from its *own*
# smallest to its *own* largest value, and the dog's largest value is tiny. On one scale for all four, the picture is honest:

# %%
alt = "The same maps on one scale: daisy and retriever are dark."
plot.gallery(four, answers, titles=titles, limits="shared", alt=alt)

# %% [markdown]
# Most heat maps that you meet in papers and on the web were scaled one by one. Brightness then says *where* in the picture
# the evidence for a class is strongest, and nothing about *whether* there is any. Read the probability beside it.

# %% tags=["test", "remove-cell"]
assert answers[3].max() < 0.05 * answers[0].max() and answers[3].max() > 0

# %% [markdown]
# ## Where it fails the test
#
# Now the same test on a cat. The network takes Chelsea for an Egyptian cat; we labelled her a tiger cat. **Predict**: what happens
# to the probability of *Egyptian cat* when you hide the hottest quarter?

# %%
cat = photos.load("chelsea").image[None]
cat_target = model(cat).argmax()
cat_maps = cam(model, cat, cat_target[None], layer="bn2", weights=gradcam)
hidden = {
    "the whole picture": torch.zeros_like(cat_maps).bool(),
    "without the coldest quarter": cat_maps <= cat_maps.quantile(0.25),
    "without the hottest quarter": cat_maps >= cat_maps.quantile(0.75),
}
cat_test = {what: probability_without(places, cat, cat_target) for what, places in hidden.items()}

# %%
plot.gallery(
    torch.cat([cat, *(cat.where(~places, cat.mean()) for places in hidden.values())]),
    [cat_maps[0], None, None, None],
    titles=[class_names[cat_target], *(f"{what}: {p:.2f}" for what, p in cat_test.items())],
    alt="A cat's face: Grad-CAM is bright around nose and eye; then the face whole, with grey edges, with a grey middle.",
)

# %% [markdown]
# Without the places that the map calls the evidence, the network is *surer* than before. Either the map is wrong here, or
# the test is: a cat with a grey patch for a nose is a picture as the network never saw one, and what it says about it
# need not tell what it does with the whole cat. From this one experiment nobody can know. You need maps made in other
# ways (part II), tests that do not leave the world of photographs (part III), and pictures for which the truth is known
# because we planted it. That is what this course is about.

# %% tags=["test", "remove-cell"]
assert cat_test["without the hottest quarter"] > cat_test["the whole picture"]

# %% [markdown]
# ## Explore
#
# Change the photograph, the class and the layer. By keyboard, Tab leads from one control to the next, arrow keys move a
# slider, and Space opens a list. Three things to find out:
#
# 1. The rocket is thin. Is the heat on the rocket?
# 2. The clock is not recognised. Compare the map of the network's first guess with the third, the right one.
# 3. Go down to earlier layers. The cells become smaller. Do the maps become better?

# %%
from xailib.widgets import Explorer, choice, slider, toggle


def compute(name, rank, layer):
    image = photos.load(name).image[None]
    probabilities = model(image).softmax(1)[0].detach()
    ranked = probabilities.argsort(descending=True)
    pair = ranked[[0, rank - 1]]  # the first guess sets the scale
    heat = cam(model, image.expand(2, -1, -1, -1), pair, layer=layer, weights=gradcam)
    return image[0], heat, class_names[pair[1]], probabilities[pair[1]].item()


def draw(result, name, rank, own_scale, opacity):
    image, (best, heat), label, probability = result
    title = f"guess {rank}: {label} ({probability:.2f})"
    alt = f"Grad-CAM on {name} for guess {rank}: {label}, probability {probability:.3f}."
    limits = None if own_scale else (0, best.max().item())
    return plot.overlay(image, heat, alt=alt, title=title, opacity=opacity, limits=limits)


# %%
Explorer(
    compute,
    draw,
    name=choice(photos.names(), "photograph"),
    rank=slider(1, 20, 1, 1, "class, by guess"),
    layer=choice({"7 x 7": "bn2", "14 x 14": "blocks.4", "28 x 28": "blocks.2"}, "layer"),
    own_scale=toggle(True, "each map on its own scale"),
    opacity=slider(0.0, 1.0, 0.5, 0.1, "opacity"),
)

# %% [markdown]
# The rocket's heat lies beside the rocket as much as on it, and its cells are wider than the rocket: at 7 x 7 the map *cannot*
# say whether rocket or towers decided. Earlier layers have finer cells but hold edges and textures rather than objects,
# so their maps are sharper and mean less. Lesson 08 measures this trade.
#
# ## To remember
#
# 1. A class activation map is a weighted sum of a layer's channels. It answers for **one class** at **one layer**.
# 2. Scaled by itself, every map has a bright spot. Read the **probability** and the **values** beside it.
# 3. A heat map is a **claim** about the network. Test it before you believe it, and doubt the test as well.
#
# **Now you**: [the exercise of this lesson](../exercises/00_first_photograph.ipynb), 30 minutes.
#
# ## Further reading
#
# - B. Zhou, A. Khosla, A. Lapedriza, A. Oliva and A. Torralba, *Learning deep features for discriminative localization*,
#   CVPR 2016: the first class activation map.
# - R. R. Selvaraju, M. Cogswell, A. Das, R. Vedantam, D. Parikh and D. Batra, *Grad-CAM: visual explanations from deep
#   networks via gradient-based localization*, ICCV 2017.
# - J. Adebayo, J. Gilmer, M. Muelly, I. Goodfellow, M. Hardt and B. Kim, *Sanity checks for saliency maps*, NeurIPS 2018: maps
#   that do not depend on what the network learned.
# - In the library: [the CAM family](../xailib/explain/cam.py), [the photographs](../xailib/data/photos.py) with their sources.
