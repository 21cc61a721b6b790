# %% [markdown]
# # Which pixels would change the answer?
#
# | | |
# |---|---|
# | You will | make maps of gradients by hand in four ways, see why they look like noise, and catch the prettiest of them giving the same answer to every question |
# | You need | lesson 00, and the chain rule |
# | Minutes | 75 |
# | Run time | quick 45 s · laptop 2 min · full 5 min |
# | Memory | 4 GB |
# | Data | photographs that come with scikit-image and scikit-learn; one generated scene |
# | Network | no |
#
# Lesson 00 asked *where* a network looked. Here we ask a sharper question: if I change this pixel a little, how does
# the answer change? That number is a derivative, and one backward pass gives it for all pixels at once. Predict
# before each figure.

# %%
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from xailib import models, plot
from xailib.course import choose
from xailib.data import photos


@dataclass(frozen=True)
class Config:
    copies: int = choose(quick=8, laptop=48, full=192)  # noisy copies for each of two SmoothGrads
    steps: tuple = choose(quick=(8, 24), laptop=(8, 32, 128), full=(8, 32, 128, 512))
    photographs: int = choose(quick=1, laptop=3, full=3)  # of three, for the sanity check


config = Config()

# %%
model = models.load("efficientnet_lite0")
class_names = models.class_names()
x = photos.load("coffee").image[None]  # [1, 3, 224, 224]
espresso = torch.tensor([class_names.index("espresso")])


def logit(x):
    return model(x)[:, espresso].sum()


@torch.no_grad()
def probability(x):
    return model(x).softmax(1)[:, espresso].squeeze(1)


print(
    f"logit {logit(x).item():.2f}, probability {probability(x).item():.2f}, {x.numel()} numbers in x"
)

# %% [markdown]
# ## A slope for every number
#
# The logit $y_c$ of the class $c$ is a function of all the numbers $x_i$ of the picture, three for each pixel. Its
# **gradient** $g$ holds one slope for each of them, and promises what a small change $d$ will do:
#
# $$g_i = \frac{\partial y_c}{\partial x_i}, \qquad y_c(x + d) \approx y_c(x) + \sum_i g_i d_i .$$
#
# Baehrens et al. (JMLR 2010) took this vector as the explanation of a single decision of any classifier, Simonyan et
# al. (ICLR workshop 2014) drew it for networks and photographs.


# %%
def slope(score, x):
    x = x.detach().requires_grad_()
    return torch.autograd.grad(score(x), x)[0]


g = slope(logit, x)  # [1, 3, 224, 224]

# %% [markdown]
# Does it keep its promise? Go a step of length $s$ straight up the slope, $d = s\, g / |g|$. **Predict**: up to which
# length will promise and truth agree? The third column says how far the step moves a number on average, in grey
# levels of 1/255.

# %%
promises = []
for s in (0.001, 0.01, 0.1, 1.0):
    d = s * g / g.norm()
    promises.append((s, (g * d).sum().item(), (logit(x + d) - logit(x)).item()))
    levels = 255 * d.square().mean().sqrt()
    print(
        f"s = {s:5}: promised {promises[-1][1]:7.3f}, found {promises[-1][2]:6.3f}; {levels:.4f} levels"
    )

# %% [markdown]
# The promise holds for the shortest step. At $s = 0.1$, which moves a number by less than a tenth of a grey level,
# half of it is already broken. A gradient is a fact about the network *at this very picture*, and about an extremely
# small neighbourhood of it.

# %% tags=["test", "remove-cell"]
assert abs(promises[0][2] / promises[0][1] - 1) < 0.05
assert promises[2][2] < 0.6 * promises[2][1]

# %% [markdown]
# A map needs one number per pixel, so the three colours must be joined. There are two habits: the **sum**, which
# keeps the sign (brighter is better, or worse), and the **largest magnitude**, which is what Simonyan et al. call the
# **saliency map**. In [the library](../xailib/explain/gradients.py) they are `input_gradient` and `saliency`.

# %%
from xailib.explain import input_gradient, saliency

torch.testing.assert_close(input_gradient(model, x, espresso), g.sum(1))
torch.testing.assert_close(saliency(model, x, espresso), g.abs().amax(1))

# %% [markdown]
# A few pixels have far larger slopes than all others and would leave the rest of a picture dark. So this lesson draws
# magnitudes, and cuts them at the value that one pixel in a hundred exceeds. **Predict**: will you recognise the cup?


# %%
def strong(maps):
    maps = maps.detach().abs()
    return maps.minimum(maps.flatten(1).quantile(0.99, 1)[:, None, None])


plot.gallery(
    x.expand(3, -1, -1, -1),
    [None, g.sum(1)[0].clamp(-0.5, 0.5), strong(saliency(model, x, espresso))[0]],
    titles=["the photograph", "sum of colours, signed", "saliency"],
    opacity=1,
    alt="A cup of espresso; its signed gradient, red and blue specks; its saliency, bright specks.",
)

# %% [markdown]
# You see speckle, densest on the liquid and on a patch of the saucer below the cup. Red and blue stand side by side:
# to raise *espresso*, one pixel should become brighter and its neighbour darker.
#
# ## Take the question literally
#
# Which pixels would change the answer? Move *every* number by two grey levels in the direction that the sign of its
# slope says is bad for *espresso*. This is the fast gradient sign method (Goodfellow et al., ICLR 2015). As a
# control, move every number by as much in a random direction. **Predict** both probabilities.

# %%
generator = torch.Generator().manual_seed(0)
direction = {
    "against the gradient": -g.sign(),
    "at random": torch.randn(x.shape, generator=generator).sign(),
}
moved = {how: (x + 2 / 255 * d).clamp(0, 1) for how, d in direction.items()}
after = {"untouched": probability(x).item()} | {
    how: probability(m).item() for how, m in moved.items()
}
plot.gallery(
    torch.cat([x, *moved.values()]),
    titles=[f"{how}: {p:.2f}" for how, p in after.items()],
    alt="Three pictures of a cup that look the same; "
    + "; ".join(f"{how} {p:.2f}" for how, p in after.items()),
)

# %% [markdown]
# The three pictures look alike, yet one of them has lost most of its *espresso*. So the literal answer to the title
# is: all pixels, together, by amounts that nobody sees. A gradient says what the network is **sensitive** to. That is
# less than what it **relied on**, and the rest of this lesson is about the gap between the two.

# %% tags=["test", "remove-cell"]
assert after["against the gradient"] < 0.5 < 0.9 < after["at random"]

# %% [markdown]
# ## Why it looks like noise
#
# Add a little Gaussian noise to the photograph and compare the gradient there with the gradient of the photograph
# itself, by the cosine of the angle between them: 1 is the same direction, 0 nothing in common. **Predict** both
# lines below: how the probability falls, and how the cosine falls, as the noise grows.

# %%
sigmas = [0.0005, 0.001, 0.003, 0.01, 0.03, 0.1]
noise = torch.randn(x.shape, generator=generator)
nearby = [x + sigma * noise for sigma in sigmas]
cosines = [F.cosine_similarity(g.flatten(), slope(logit, near).flatten(), 0) for near in nearby]
sure = [probability(near).item() for near in nearby]
figure = plot.curve(
    sigmas,
    {"probability of espresso": sure, "cosine to the photograph's gradient": torch.stack(cosines)},
    alt=f"With noise the probability stays; the cosine falls from {cosines[0]:.2f} to {cosines[-1]:.2f}.",
    xlabel="standard deviation of the noise (white is 1)",
    ylabel="probability, cosine",
)
figure.axes[0].set_xscale("log")
figure

# %% [markdown]
# The answer does not move. The gradient turns away at noise of a grey level or two (0.01 is 2.5 levels), until it has
# nothing in common with what it was.
#
# The reason is in the building material. Convolutions, normalisation with fixed statistics and ReLU6 make a function
# that is linear in pieces, like a cut gem: inside a facet the gradient is constant, and at its edge it jumps. A deep
# network has so many facets that a tiny step may cross very many edges. Balduzzi et al. (*The shattered gradients
# problem*, ICML 2017) showed that in plain deep networks gradients of neighbouring inputs resemble white noise, and
# that residual connections slow this down. The speckle on your map is no flaw of the drawing. It is what the
# network's slope is, at this point.

# %% tags=["test", "remove-cell"]
assert min(sure) > 0.9 and cosines[0] > 0.8 and cosines[3] < 0.3 and abs(cosines[-1]) < 0.1

# %% [markdown]
# ## First cure: average it
#
# **SmoothGrad** (Smilkov et al., *SmoothGrad: removing noise by adding noise*, 2017) makes $n$ noisy copies of the
# picture and averages their gradients. The noise has a standard deviation of $\sigma$ times the range of the
# picture's values.

# %%
from xailib.explain import smoothgrad

generator = torch.Generator().manual_seed(0)
sigma = 0.15 * (x.max() - x.min())
copies = [x + sigma * torch.randn(x.shape[1:], generator=generator) for _ in range(4)]
by_hand = sum(slope(logit, copy) for copy in copies).sum(1) / 4
maps = smoothgrad(model, x, espresso, n=4, sigma=0.15)  # its own generator starts at seed 0, too
torch.testing.assert_close(maps, by_hand, rtol=1e-3, atol=1e-4)

# %% [markdown]
# How many copies does it take? The paper shows maps of up to 50, captum's default is 5, the thesis (section 4.4) also
# speaks of five passes by default, and `xailib` takes 25. Ask the data: let two people with different random numbers
# make the same map. When their maps agree, the map is a fact; before, it is a matter of luck. **Predict** the cosine
# between the two for eight copies each.


# %%
def running_means(seed):
    generator = torch.Generator().manual_seed(seed)
    copies = (x + sigma * torch.randn(x.shape, generator=generator) for _ in range(config.copies))
    sums = torch.stack([slope(logit, copy)[0] for copy in copies]).cumsum(0)
    return sums / torch.arange(1, config.copies + 1)[:, None, None, None]


mine, yours = running_means(1), running_means(2)  # [copies, 3, 224, 224]
agreement = F.cosine_similarity(mine.flatten(1), yours.flatten(1))
for n in (n for n in (1, 2, 4, 8, 16, 32, 48, 192) if n <= config.copies):
    print(f"{n:3} copies each: cosine {agreement[n - 1]:.2f}")

# %% [markdown]
# If any two single gradients have the cosine $r$ on average, two means of $n$ have about $c_n = n r / (1 + (n - 1)
# r)$: the shared part stays, the private parts shrink. Turn this round, and you know from $c_n$ how many copies would
# reach 0.9.

# %%
n, c = config.copies, agreement[-1]
r = c / (n - (n - 1) * c)
needed = 9 * (1 - r) / r
print(f"r = {r:.3f}: two people agree to 0.9 with about {needed:.0f} copies each")

# %%
plot.gallery(
    x.expand(3, -1, -1, -1),
    strong(torch.stack([g[0], mine[-1], yours[-1]]).sum(1)),
    titles=["plain gradient", f"SmoothGrad, n = {n}: mine", f"SmoothGrad, n = {n}: yours"],
    opacity=1,
    alt="Specks; two SmoothGrads, whose specks lie in clouds on cup and saucer, alike at large only.",
)

# %% [markdown]
# With any of the usual numbers of copies, a good part of the fine grain on a SmoothGrad map is still chance. Read its
# coarse shape, on which mine and yours agree, and not its single pixels. And note what the average is: exchanging
# mean and derivative,
#
# $$\mathbb{E}\big[\nabla y_c(x + \varepsilon)\big] = \nabla\, \mathbb{E}\big[y_c(x + \varepsilon)\big] ,$$
#
# so SmoothGrad is the exact gradient of *another* function, the network averaged over noisy pictures. The cure
# replaces the patient.

# %% tags=["test", "remove-cell"]
assert needed > 50  # also with the paper's 50 copies two maps would agree to less than 0.9
assert agreement[-1] > 2 * agreement[0]

# %% [markdown]
# ## Second cure: let only good news pass
#
# A backward pass hands a signal $R$ from the output to the input. At a rectifier with input $z$ and signal
# $R_\mathrm{out}$ from above, the chain rule lets $R$ pass where the rectifier was open. **Guided backpropagation**
# (Springenberg et al., arXiv 2014, ICLR workshop 2015) wants $R$ to be positive, too:
#
# $$R_\mathrm{in} = [\text{open}]\; R_\mathrm{out}, \qquad R^G_\mathrm{in} = [\text{open}]\; [R_\mathrm{out} > 0]\; R_\mathrm{out} .$$
#
# ReLU is open for $z > 0$. ReLU6, $\min(\max(z, 0), 6)$, is open for $0 < z < 6$. Work out both rows on paper first.

# %%
z = torch.tensor([-2.0, 3.0, 3.0, 8.0], requires_grad=True)
R_out = torch.tensor([1.0, 2.0, -3.0, 1.0])
is_open = (z > 0) & (z < 6)
plain = R_out.where(is_open, 0)
guided = R_out.where(is_open & (R_out > 0), 0)
print("plain ", plain.tolist(), "\nguided", guided.tolist())

# %%
from xailib.rectifier import guided_relu

with guided_relu(torch.nn.ReLU6()) as gate:  # a forward pass with rectifiers that can be switched
    y = (R_out * F.relu6(z)).sum()
torch.testing.assert_close(torch.autograd.grad(y, z, retain_graph=True)[0], plain)
gate.on = True
torch.testing.assert_close(torch.autograd.grad(y, z, retain_graph=True)[0], guided)
print("guided, of -y:", torch.autograd.grad(-y, z)[0].tolist())

# %% [markdown]
# The gradient of $-y$ is minus the gradient of $y$. The guided one of $-y$ is not: it is $(0, 0, 3, 0)$, where the
# other was $(0, 2, 0, 0)$. Whatever this is, it is no derivative of anything, so nothing promises that it says how
# the score changes.
#
# Our network is made of ReLU6. A tool that looks for `nn.ReLU` only would find nothing to guide here, return the
# plain gradient, and call it guided; `xailib` catches all spellings, and raises an error where a network has no
# rectifier.
#
# Guided gradients are usually drawn as a picture: grey is 0, and each colour's slope brightens or darkens its own
# colour. Three photographs, with the plain gradient and the guided one for the network's first guess. **Predict**
# what the last row shows.

# %%
from xailib.explain import gradient

kinds = [type(module).__name__ for module in model.modules()]
print(f"{kinds.count('ReLU6')} ReLU6, {kinds.count('ReLU')} ReLU")
names = ["chelsea", "coffee", "rocket"]
three = torch.stack([photos.load(name).image for name in names])
first = model(three).argmax(1)


def as_picture(slopes):
    return (0.5 + slopes / (6 * slopes.std((1, 2, 3), keepdim=True))).clamp(0, 1)


# %%
pictures = [as_picture(gradient(model, three, first, guided=on)) for on in (False, True)]
plot.gallery(
    torch.cat([three, *pictures]),
    columns=3,
    titles=[class_names[c] for c in first] + [""] * 6,
    row_titles=["photograph", "gradient", "guided"],
    alt="Cat, cup, rocket; their gradients, coloured noise; guided, fine lines of eyes, rim, masts.",
)

# %% [markdown]
# What a difference. Eyes and nose of the cat, rim of the cup, rocket: drawn in fine lines, and most of the rest is
# grey. If you had to choose one of these rows for a paper or a medical report, which would it be? Decide before you
# run on.
#
# ## Misreading: sharp, so it must be true
#
# A map for a class must depend on the class. The test costs one more backward pass: ask for a class that is not in
# the picture. **Predict** what guided backpropagation shows on the cat for *espresso* and for *golden retriever*, and
# what Grad-CAM (lesson 00) does.

# %%
from xailib.explain import cam, gradcam, guided_backprop


def grad_cam(model, images, targets):
    return cam(model, images, targets, layer="bn2", weights=gradcam)


asked = torch.stack([first[0], espresso[0], torch.tensor(class_names.index("golden retriever"))])
cats = three[:1].expand(3, -1, -1, -1)
guided = as_picture(gradient(model, cats, asked, guided=True))
plot.gallery(
    torch.cat([guided, cats]),
    [None, None, None, *grad_cam(model, cats, asked)],
    columns=3,
    titles=[class_names[c] for c in asked] * 2,
    row_titles=["guided", "Grad-CAM"],
    alt="Guided maps of a cat for three classes, all the same; three different Grad-CAMs.",
)

# %% [markdown]
# Believe this map, and the network sees an espresso in the cat's eyes, line for line where it sees the cat. Put a
# number to it. **Spearman's rank correlation** is the correlation of the pixels' ranks: 1 is the same order of
# pixels, 0 an unrelated one. Take it between the map for the first guess and the map for *golden retriever*, which is
# in none of the three photographs.

# %%
from xailib.metrics import average_ranks, correlation

absent = asked[2].expand(3)
methods = {
    "guided": guided_backprop,
    "gradient": input_gradient,
    "saliency": saliency,
    "Grad-CAM": grad_cam,
}
same = {}
for method, explain in methods.items():
    pair = (average_ranks(explain(model, three, c)) for c in (first, absent))
    same[method] = correlation(*pair)
    print(f"{method:9}", *(f"{name} {r:6.3f}" for name, r in zip(names, same[method], strict=True)))

# %% [markdown]
# To guided backpropagation, cat, espresso and retriever are one and the same question. Its map shows the photograph
# as the network's early layers see it, and says nothing about the class. The other maps change with it. (That the
# saliencies stay somewhat alike has a reason: they have lost their sign, and where the network is deaf, in the dark
# or the plain, it is deaf for every class.)

# %% tags=["test", "remove-cell"]
assert same["guided"].min() > 0.99
assert max(same[method].max() for method in ("gradient", "saliency", "Grad-CAM")) < 0.7

# %% [markdown]
# ### The same sickness, seen from the weights
#
# Adebayo et al. (*Sanity checks for saliency maps*, NeurIPS 2018) destroy the network instead: they randomise the
# weights of the topmost layer, then also of the one below, and so on. Such a network knows nothing of espressos, so
# its map ought to lose all likeness to the old one at once. `weight_randomization` puts a layer's weights into random
# order, which keeps their scale, and returns the rank correlation after each stage. **Predict** a line for each method.

# %%
from xailib.metrics import weight_randomization

layers = ["classifier", "conv_head", *(f"blocks.{i}" for i in range(6, -1, -1)), "conv_stem"]
tested, targets = three[: config.photographs], first[: config.photographs]
cascade = {
    method: weight_randomization(model, tested, targets, explain, layers=layers).mean(1)
    for method, explain in methods.items()
    if method != "gradient"
}

# %%
figure = plot.curve(
    range(len(layers)),
    cascade,
    alt="Rank correlation by stage: guided stays near 1 for four stages; the others fall at once.",
    xlabel="randomised down to this layer",
    ylabel="rank correlation with the true map",
)
figure.axes[0].set_xticks(range(len(layers)), layers, rotation=40, ha="right")
figure

# %% [markdown]
# With its classifier and its last convolutions random, the network cannot tell a cup from a dog, and the guided map
# does not notice. Only when the early layers go does it change.

# %% tags=["test", "remove-cell"]
assert cascade["guided"][:3].min() > 0.9  # classifier, conv_head and blocks.6 are random
assert max(cascade["saliency"][0], cascade["Grad-CAM"][0]) < 0.85
assert cascade["guided"][-1] < 0.5

# %% [markdown]
# ### Why it forgets the class
#
# Follow the two backward signals, for *espresso* and for *golden retriever* on the cup, down through the network, and
# compare them at each stage by their cosine. The forward pass is written out so that we can keep what each stage
# returns.

# %%
net = model.net
with guided_relu(model) as gate:
    stages = [((x - model.mean) / model.std).requires_grad_()]
    stages.append(net.bn1(net.conv_stem(stages[-1])))
    for block in net.blocks:
        stages.append(block(stages[-1]))
    stages.append(net.bn2(net.conv_head(stages[-1])))
    pair = net.forward_head(stages[-1])[0, [espresso, asked[2]]]

# %%
places = ["pixels", "stem", *(f"blocks.{i}" for i in range(7)), "bn2"]
alike = {}
for name in ("plain", "guided"):
    gate.on = name == "guided"
    signals = [torch.autograd.grad(y, stages, retain_graph=True) for y in pair]
    flat = [[R.flatten() for R in signal] for signal in signals]
    cosines = [F.cosine_similarity(a, b, 0) for a, b in zip(*flat, strict=True)]
    alike[name] = torch.stack(cosines[::-1])

figure = plot.curve(
    range(len(places)),
    alike,
    alt="Plain signals: cosine near or below 0 all the way; guided ones: 1 after three stages.",
    xlabel="backwards, from the last layer (left) to the pixels",
    ylabel="cosine of the two classes' signals",
)
figure.axes[0].set_xticks(range(len(places)), places[::-1], rotation=40, ha="right")
figure

# %% [markdown]
# At the top the two signals have nothing in common. After three stages of dropping everything negative they are one
# signal: the class is lost. The intuition: vectors with only positive entries all lie in one narrow corner of space,
# and each layer's positive paths squeeze them further, towards the *same* direction: that of what was active at all.
# Nie et al. (*A theoretical explanation for perplexing behaviors of backpropagation-based visualizations*, ICML 2018)
# prove for random networks that guided backpropagation recovers the image rather than explaining the decision.
#
# It still has honest uses: to see which *image details* a network's early layers respond to, or multiplied with a map
# that knows the class (Guided Grad-CAM, in the Grad-CAM paper).

# %% tags=["test", "remove-cell"]
assert abs(alike["guided"][0]) < 0.2 and alike["guided"][3] > 0.95 and alike["guided"][-1] > 0.99
assert alike["plain"].abs().max() < 0.4

# %% [markdown]
# ### What the thesis does with both gradients
#
# The thesis (chapter 4) starts from your two pictures, the noisy gradient and the clean guided one, and trains
# networks so that the first becomes more like the second: it adds minus their cosine to the loss. Lesson 15 does
# this. Here is where our network, trained without it, stands, beside what the thesis reports for CIFAR-100 (table
# 4.1, Grad-CAM's average drop and average gain in percent; lesson 10 defines them).

# %%
both = [gradient(model, x, espresso, guided=on).flatten() for on in (False, True)]
print(f"our network: cosine of plain and guided gradient {F.cosine_similarity(*both, 0):.3f}\n")
print("the thesis reports         accuracy   average drop (less is better)   average gain (more)")
print("ResNet-18                   73.42         30.16                          15.23")
print("ResNet-18, aligned          72.86         28.09                          16.19")

# %% [markdown]
# The aligned network's maps score a little better and its accuracy a little worse, from one training run each;
# whether that is more than chance, the table cannot say. Two things to keep in mind until lesson 15. The thesis says
# of the guided gradient that it is sharp and almost free of noise, which you saw, and does not discuss that it is
# blind to the class. And it guides the gradient of the *loss*; as guiding is not symmetric in the sign (your $(0, 0,
# 3, 0)$ above), that is another map than the guided gradient of the logit.
#
# ## The other trouble: a full glass
#
# A slope can also be *zero* where the evidence is strongest. Take $f(x) = 1 - \mathrm{ReLU}(1 - x)$, which rises from
# 0 to 1 and then stays there, at $x = 2$. **Predict** its gradient.


# %%
def f(x):
    return 1 - (1 - x).relu().sum()


two = torch.tensor([2.0])
print(
    f"f(0) = {f(0 * two).item():.0f}, f(2) = {f(two).item():.0f}, slope at 2: {int(slope(f, two))}"
)

# %% [markdown]
# All that $f$ has, it got from $x$, and the gradient says that $x$ does not matter. This is **saturation**. The way
# out is to look not only at the end but at the whole way that led there. **Integrated gradients** (Sundararajan et
# al., ICML 2017) starts at a **baseline** $x'$ that stands for *nothing there*, goes straight to $x$, and collects
# the slopes met on the way:
#
# $$\mathrm{IG}_i = (x_i - x'_i) \int_0^1 \frac{\partial y_c}{\partial x_i}\big(x' + \alpha (x - x')\big)\, d\alpha .$$
#
# On paper, for $f$ from 0 to 2: the slope is 1 on the first half of the way and 0 on the second, so its mean is 1/2,
# and IG = 2 · 1/2 = 1, which is all of $f(2) - f(0)$. That is no accident. By the fundamental theorem of calculus the
# parts always add up to the whole, $\sum_i \mathrm{IG}_i = y_c(x) - y_c(x')$, an axiom called **completeness**.

# %%
alphas = (torch.arange(4) + 0.5) / 4  # the middles of four equal parts of the way
found = two * torch.stack([slope(f, alpha * two) for alpha in alphas]).mean(0)
torch.testing.assert_close(found.sum(), f(two) - f(0 * two))

# %% [markdown]
# ### A glass that we filled ourselves
#
# On photographs nobody knows the right map. So write a network whose evidence is known: its only logit measures how
# much of the picture is red, and is full at 1/300 of it. The scene comes from
# [`xailib.data.planted`](../xailib/data/planted.py); its red stickers are the planted evidence. **Predict** both
# maps: the gradient's, and that of integrated gradients from black.

# %%
from xailib.data.planted import PlantedScenes
from xailib.explain import completeness_error, integrated_gradients


class RedDetector(torch.nn.Module):
    def forward(self, x):
        red = (x[:, 0] - x[:, 1] - x[:, 2]).relu().mean((1, 2), keepdim=True)
        return (1 - (1 - 300 * red).relu())[:, 0]  # [b, 1]


seed = torch.Generator().manual_seed(3)
scene = PlantedScenes(1, evidence="colour", classes=2, size=96, generator=seed).batch([0])
detector, only = RedDetector().eval(), torch.tensor([0])

# %%
flat = input_gradient(detector, scene.images, only)
whole = integrated_gradients(detector, scene.images, only, steps=1000)
inside = (whole * scene.evidence).sum() / whole.sum()
print(f"logit {detector(scene.images).item():.0f}; the gradient adds up to {flat.abs().sum():.0f}")
print(f"integrated gradients add up to {whole.sum():.3f}, {inside:.0%} of it on the stickers")
plot.gallery(
    scene.images.expand(3, -1, -1, -1),
    [None, flat[0], whole[0]],
    titles=["a scene with red stickers", "gradient", "integrated gradients"],
    opacity=1,
    alt="Stickers; a gradient of zeros; integrated gradients, only on the red of two stickers.",
)

# %% [markdown]
# The glass is full, so no pixel matters any more, says the gradient. Integrated gradients finds the red on both
# stickers and nothing else.

# %% tags=["test", "remove-cell"]
assert flat.abs().max() == 0 and inside > 0.999 and abs(whole.sum() - 1) < 0.01

# %% [markdown]
# ### How full is the real network?
#
# Walk from black to the cup of espresso. **Predict** at which share $\alpha$ of the way, that is at which brightness,
# the network first says *espresso*.

# %%
black = torch.zeros_like(x)
alphas = torch.linspace(0, 1, 21)
with torch.no_grad():
    y = model(black + alphas[:, None, None, None] * (x - black))
risen = (y - y[0])[:, espresso[0]] / (y[-1] - y[0])[espresso[0]]
plot.curve(
    alphas,
    {"logit, share of its rise": risen, "probability": y.softmax(1)[:, espresso[0]]},
    alt=f"The logit has made {risen[4]:.0%} of its rise at a fifth of the way; p is 0.9 half-way.",
    xlabel="share of the way from black to the photograph",
    ylabel="share of the rise, probability",
)

# %% [markdown]
# At a tenth of the way it already says *espresso*, and more than three quarters of the rise lie in the first fifth,
# where you would call the picture nearly black. The gradient at the
# photograph, at the right end, sees nothing of it.
#
# The probability saturates once more than the logit: its slope is $\partial p_c/\partial x = p_c\,\big(g_c - \sum_k
# p_k g_k\big)$, and vanishes when $p_c$ comes near 0 or 1. This is why the course explains **logits** unless it says
# otherwise. The price: a logit may rise because *every* class rises, which a probability would not.

# %%
for alpha in (0.05, 0.1, 0.2, 0.5, 1.0):
    here = black + alpha * (x - black)
    of_logit, of_p = (
        slope(score, here).norm()
        for score in (logit, lambda x: model(x).softmax(1)[:, espresso].sum())
    )
    print(
        f"at {alpha:4}: p = {probability(here).item():.2f}, |dp/dx| = {of_p / of_logit:.3f} |dy/dx|"
    )

# %% tags=["test", "remove-cell"]
assert risen[4] > 0.75
assert of_p < 0.2 * of_logit

# %% [markdown]
# ### The same on the photograph
#
# The integral becomes a sum over the middles of equal parts of the way. By hand, and with the library:

# %%
alphas = (torch.arange(8) + 0.5) / 8
mean_slope = sum(slope(logit, black + alpha * (x - black)) for alpha in alphas) / 8
by_hand = ((x - black) * mean_slope).sum(1)
maps = integrated_gradients(model, x, espresso, steps=8)
torch.testing.assert_close(maps, by_hand, rtol=1e-3, atol=1e-4)

# %% [markdown]
# Completeness is a check that few methods offer: the map must add up to the rise of the logit, and
# `completeness_error` says by what share of the rise it fails. The authors advise 20 to 300 steps, and more where the
# error is above 5 %.

# %%
for steps in config.steps:
    maps = integrated_gradients(model, x, espresso, steps=steps)
    error = completeness_error(model, x, espresso, maps).item()
    print(f"{steps:4} steps: the map adds up to {maps.sum():6.2f}, completeness error {error:.1%}")
print(f"the logit rises by {(y[-1] - y[0])[espresso[0]]:.2f}")

# %% [markdown]
# Where the error is large, the map is not integrated gradients yet, whatever the figure's caption says. Here the
# steep start of the way and the shattered slopes make it large for few steps, and it need not fall with every further
# one. Print this number with every such map. But also see what it does *not* say: a sum can be right while its parts
# are wrong, and one number of the right size at any single pixel would be complete.
#
# ## Where it misleads: what is *nothing*?
#
# Integrated gradients explains a **difference**, between the photograph and the baseline. A pixel that equals the
# baseline gets $(x_i - x'_i) \cdot \ldots = 0$, however important it is. The cameraman wears a black coat, and the
# network says *tripod*. **Predict** how much of each map lies on dark pixels, for a black, a grey and a white
# baseline.

# %%
man = photos.load("camera").image[None]
tripod = model(man).argmax(1)
dark = man.mean(1) < 0.15
print(f"dark pixels are {dark.float().mean():.0%} of the picture")
maps, share = [], {}
for name, value in {"black": 0.0, "grey": 0.5, "white": 1.0}.items():
    start = torch.full_like(man, value)
    heat = integrated_gradients(model, man, tripod, steps=config.steps[-1], baseline=start)
    error = completeness_error(model, man, tripod, heat, baseline=start).item()
    maps.append(heat)
    share[name] = ((heat.abs() * dark).sum() / heat.abs().sum()).item()
    print(f"from {name}: {share[name]:.0%} of the map on them, completeness error {error:.0%}")

# %%
plot.gallery(
    man.expand(4, -1, -1, -1),
    [None, *strong(torch.cat(maps))],
    titles=[class_names[tripod], *(f"from {name}: {s:.0%} on dark" for name, s in share.items())],
    opacity=1,
    alt="A man in a black coat; from black the coat is empty; from grey and white it is full of specks.",
)

# %% [markdown]
# From black the coat does not matter. From grey and from white it holds far more than its share. The network is the
# same, the photograph is the same; the question changed: *compared with what?* (Where a printed error is large, take
# the share beside it as rough; that the coat is empty from black follows from the formula, with any number of steps.)
# Sturmfels, Lundberg and Lee (*Visualizing the impact of feature attribution baselines*, Distill 2020) compare many
# answers. Whoever shows you such a map owes you the name of its baseline.

# %% tags=["test", "remove-cell"]
assert (
    share["black"] < 0.5 * dark.float().mean()
    and min(share["grey"], share["white"]) > 1.5 * dark.float().mean()
)

# %% [markdown]
# ## Explore
#
# Below is the way from a baseline to a photograph. You see the picture at a share $\alpha$ of the way, and the
# gradient of the network's first guess *there*, averaged over four noisy copies where the noise is not 0. Four things
# to find out:
#
# 1. At which $\alpha$ does the probability jump? Do you recognise the picture there?
# 2. Set $\alpha$ to 1 and go one step back. Do the specks stay where they are?
# 3. Set $\alpha$ to 1 and raise the noise. When does the map become calm, and what does it lose?
# 4. The length of the gradient is printed above it. Where on the way is it greatest?

# %%
from xailib.widgets import Explorer, choice, slider


def compute(name, baseline, alpha, noise):
    photo, generator = photos.load(name).image[None], torch.Generator().manual_seed(0)
    here = baseline + alpha * (photo - baseline)
    guess = model(photo).argmax()
    copies = 4 if noise else 1
    noisy = here + noise * torch.randn(copies, *here.shape[1:], generator=generator)
    mean = slope(lambda x: model(x)[:, guess].sum(), noisy).mean(0)
    return here[0], mean, class_names[guess], model(here).softmax(1)[0, guess].item()


def draw(result, alpha, noise):
    here, mean, label, p = result
    titles = [f"{alpha:.2f} of the way: {label} {p:.2f}", f"its gradient, length {mean.norm():.2g}"]
    heat = strong(mean.sum(0)[None])[0]
    alt = f"At {alpha:.2f} of the way {label} has {p:.2f}; the gradient's length is {mean.norm():.2g}."
    return plot.gallery([here] * 2, [None, heat], titles=titles, opacity=1, alt=alt)


# %%
Explorer(
    compute,
    draw,
    name=choice(photos.names(), "photograph", "coffee"),
    baseline=choice({"black": 0.0, "grey": 0.5, "white": 1.0}, "baseline"),
    alpha=slider(0.0, 1.0, 0.1, 0.05, "share of the way"),
    noise=slider(0.0, 0.3, 0.0, 0.02, "noise"),
)

# %% [markdown]
# The probability jumps early, on pictures that are nearly black (or grey, or white). There the gradient is longest,
# several times longer than at the photograph, and integrated gradients is mostly made there. A step of 0.05 near 1
# leaves the specks nearly as they were, although it changes most pixels by more than the noise that made another
# gradient above: growing dimmer as a whole crosses few edges of the gem, and noise crosses many. With noise the
# length falls, because what the copies do not share cancels; the specks drift into clouds on the object, and the fine
# shapes go with the noise.
#
# ## Which one, then?
#
# | method | passes | it answers | it misleads when |
# |---|---|---|---|
# | gradient, saliency | 1 | what would a tiny change do? | you read it as what the network relied on; it shatters and saturates |
# | SmoothGrad | $n$ | what would it do, on average over noisy pictures? | $n$ is small, and its grain is read |
# | guided backpropagation | 1 | what do the early layers see? | you read it as an answer about a class |
# | integrated gradients | $n$ | what made the difference to the baseline? | the baseline is not *nothing*, or the sum is not complete |
#
# ## To remember
#
# 1. A gradient is exact and **local**: it holds for changes far smaller than a grey level, it shatters, and it can
#    vanish where the evidence is strongest.
# 2. A map that does not change with the **class** or with the **weights** does not explain the decision, and the more
#    beautiful it is the more this needs checking.
# 3. Integrated gradients adds up to a difference. Ask for its **baseline** and its **completeness error**.
#
# **Now you**: [the exercise of this lesson](../exercises/06_gradients.ipynb), 45 minutes.
#
# ## Further reading
#
# - D. Baehrens, T. Schroeter, S. Harmeling, M. Kawanabe, K. Hansen and K.-R. Müller, *How to explain individual
#   classification decisions*, JMLR 2010.
# - K. Simonyan, A. Vedaldi and A. Zisserman, *Deep inside convolutional networks: visualising image classification
#   models and saliency maps*, ICLR workshop 2014.
# - J. T. Springenberg, A. Dosovitskiy, T. Brox and M. Riedmiller, *Striving for simplicity: the all convolutional
#   net*, ICLR workshop 2015.
# - D. Smilkov, N. Thorat, B. Kim, F. Viégas and M. Wattenberg, *SmoothGrad: removing noise by adding noise*, 2017.
# - M. Sundararajan, A. Taly and Q. Yan, *Axiomatic attribution for deep networks*, ICML 2017.
# - D. Balduzzi, M. Frean, L. Leary, J. P. Lewis, K. W.-D. Ma and B. McWilliams, *The shattered gradients problem: if
#   resnets are the answer, then what is the question?*, ICML 2017.
# - I. Goodfellow, J. Shlens and C. Szegedy, *Explaining and harnessing adversarial examples*, ICLR 2015.
# - J. Adebayo, J. Gilmer, M. Muelly, I. Goodfellow, M. Hardt and B. Kim, *Sanity checks for saliency maps*, NeurIPS
#   2018; W. Nie, Y. Zhang and A. Patel, *A theoretical explanation for perplexing behaviors of backpropagation-based
#   visualizations*, ICML 2018.
# - In the library: [gradients](../xailib/explain/gradients.py), [guided rectifiers](../xailib/rectifier.py), [the
#   sanity check](../xailib/metrics/sanity.py).
