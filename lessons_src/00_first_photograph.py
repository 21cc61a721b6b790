# %% [markdown]
# # What did the network look at?
#
# | | |
# |---|---|
# | You will | explain a real photograph with a real network, and meet a first doubt |
# | You need | Python, and to have seen a PyTorch tensor |
# | Minutes | 30 |
# | Run time | quick 40 s · laptop 40 s · full 40 s |
# | Memory | 2 GB |
# | Data | photographs that come with scikit-image |
# | Network | no |

# %% [markdown]
# A network trained on ImageNet says *espresso*. Is that because of the coffee, the cup, or the table? **Predict** before
# you run on: where would you look, and where do you think the network looks?

# %%
from xailib import models, plot
from xailib.data import photos
from xailib.explain import cam, gradcam

model = models.load("efficientnet_lite0")
images, targets, _ = photos.batch(["coffee"])
probabilities = model(images).detach().softmax(1)[0]
best = probabilities.topk(5)
names = [models.class_names()[index] for index in best.indices]
plot.bars(
    dict(zip(names, best.values.tolist(), strict=True)),
    alt=f"The five likeliest classes of the coffee photograph; first comes {names[0]} at {best.values[0]:.2f}.",
    xlabel="probability",
)

# %% [markdown]
# Grad-CAM (Selvaraju et al., ICCV 2017) adds up the channels of a late layer, each weighted by how much the class's
# logit grows with it. Bright places raised the logit of *espresso*. Look for what is bright, and for what is not.

# %%
maps = cam(model, images, targets, layer="bn2", weights=gradcam)
plot.overlay(images[0], maps[0], alt="Grad-CAM for espresso over the photograph of a cup of coffee.", title="espresso")

# %% tags=["test", "remove-cell"]
assert maps.shape == (1, 224, 224) and maps.min() >= 0
assert maps.std() > 0, "the map is blank"

# %% [markdown]
# Now try other photographs, layers and classes yourself. A map exists for **every** class, also for one that is not in
# the picture: each map is scaled by itself, so a bright spot alone does not say that the network believes in the class.

# %%
from xailib.widgets import Explorer, choice, slider


def compute(name, rank, layer):
    image = photos.load(name).image[None]
    scores = model(image).detach().softmax(1)[0]
    target = scores.argsort(descending=True)[rank - 1 : rank]
    heat = cam(model, image, target, layer=layer, weights=gradcam)[0]
    return image[0], heat, models.class_names()[target], scores[target].item()


def draw(result, opacity):
    image, heat, label, probability = result
    alt = f"Grad-CAM for {label}, which the network gives probability {probability:.2f}."
    return plot.overlay(image, heat, alt=alt, title=f"{label} ({probability:.2f})", opacity=opacity)


Explorer(
    compute,
    draw,
    name=choice(photos.names(), "photograph"),
    rank=slider(1, 20, 1, 1, "class by rank"),
    layer=choice(["bn2", "blocks.6", "blocks.4"], "layer"),
    opacity=slider(0.0, 1.0, 0.5, 0.1, "opacity"),
)

# %% [markdown]
# **To remember.** A class activation map is a weighted sum of a layer's channels. It answers for one class and one
# layer. Its brightness is relative: read the probability beside it.
