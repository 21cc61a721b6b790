# %% [markdown]
# # Whom does the class token listen to?
#
# | | |
# |---|---|
# | You will | see class activation maps go blank in a vision transformer, and prove why; read attention that hooks cannot see; follow it as raw attention, rollout and TIBAV, by hand; and find out which of these answer for a class |
# | You need | lesson 08 (class activation maps); to have met self-attention |
# | Minutes | 90 |
# | Run time | quick 40 s · laptop 2 min · full 3 min |
# | Memory | 3 GB |
# | Data | planted scenes, drawn here; one photograph that comes with scikit-image |
# | Network | no |
#
# Run the cells from top to bottom with Shift + Enter, and answer each **Predict** before you run the cell below it.

# %% [markdown]
# ## A small transformer whose task is known
#
# A **vision transformer** (ViT; Dosovitskiy et al., ICLR 2021) in three lines. The image is cut into patches, and each
# patch becomes a vector, its **token**; a **class token** that belongs to no patch goes in front of them. In each of a
# row of **blocks** every token asks all others (query $Q$, key $K$) and adds up what it hears (value $V$),
#
# $$A = \mathrm{softmax}\big(Q K^\top / \sqrt{d}\big) , \qquad x \leftarrow x + A V W , \qquad x \leftarrow x + \mathrm{MLP}(x) ,$$
#
# where row $i$ of the **attention** $A$ says how much token $i$ listens to each token. At the end, the class token
# alone is read by a linear layer.
#
# Our network is a small one: 4 blocks of 3 heads (3 attentions side by side), and 64 patches of 8 x 8 pixels. It was
# trained on **planted scenes**: landscapes with stickers, where the *colour* of one or two of them is the class, and other stickers
# have colours that no class has. Shapes, textures and the ground have nothing to do with it. So we know what nobody knows
# of a photograph: which pixels tell the class. They are the **evidence**, and each picture comes with their mask and
# their boxes.

# %%
from dataclasses import dataclass

import torch
from pandas import DataFrame

from xailib import heatmap, models, plot
from xailib.course import choose
from xailib.data import PlantedScenes


@dataclass(frozen=True)
class Config:
    scenes: int = choose(quick=64, laptop=128, full=128)  # that maps are averaged over
    optimised: int = choose(quick=48, laptop=96, full=128)  # that Opti-CAM is run on
    iterations: int = choose(quick=30, laptop=100, full=100)


config = Config()

model = models.load("vit_colour")

# %%
generator = torch.Generator().manual_seed(909)
data = PlantedScenes(256, generator=generator, evidence="colour")
scenes = data.batch(torch.arange(len(data)))
with torch.no_grad():
    guesses = model(scenes.images).argmax(1)
right = (guesses == scenes.labels).nonzero()[:, 0]
area = 100 * scenes.evidence.float().mean().item()
print(f"{len(right) / len(data):.0%} of {len(data)} scenes are named rightly")
print(f"the evidence covers {area:.0f} % of a scene")

# %%
shown = right[:4]
names = [data.class_names[label] for label in scenes.labels[shown]]
plot.gallery(
    scenes.images[shown],
    boxes=[scenes.boxes[i] for i in shown],
    titles=names,
    alt=f"Four landscapes with stickers; boxes around those whose colour is the class: {names}.",
)

# %% [markdown]
# Now all of the network by hand, on the third of these scenes. Nothing is hidden in the library: these lines are the whole
# computation, and they keep what we shall need, the attention of each block and the tokens on their way.

# %%
image, target = scenes.images[shown[2:3]], scenes.labels[shown[2:3]]
box, truth = scenes.boxes[shown[2]], names[2]
patches = model.patch_embed((image - model.mean) / model.std)  # [1, 64, 96]
x = torch.cat([model.cls_token, patches], 1) + model.pos_embed  # [1, 65, 96]
attention, normed, outputs = [], [], []
for block in model.blocks:
    z = block.norm1(x)
    q, k, v = block.attn.qkv(z).unflatten(-1, (3, 3, -1)).permute(2, 0, 3, 1, 4)
    A = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)  # [1, 3 heads, 65, 65]
    x = x + block.attn.proj((A @ v).transpose(1, 2).flatten(2))
    x = x + block.mlp(block.norm2(x))
    attention, normed, outputs = [*attention, A], [*normed, z], [*outputs, x]
logits = model.head(model.norm(x)[:, 0])  # token 0 is the class token
torch.testing.assert_close(logits, model(image))

# %% [markdown]
# ## The blank map
#
# In a convolutional network one asks the last layer first, and lesson 08 did. So take Grad-CAM at the output of the
# last block: 64 patch tokens of 96 channels, a grid of 8 x 8 cells. **Predict**: how large is the gradient of the
# logit there, at the class token and at the patch tokens?

# %%
y = logits[0, target.item()]
gradients = torch.autograd.grad(y, outputs, retain_graph=True)
largest = {
    f"output of blocks.{i}": [G[0, 0].abs().max().item(), G[0, 1:].abs().max().item()]
    for i, G in enumerate(gradients)
}
columns = ["largest gradient at the class token", "at the patch tokens"]
DataFrame.from_dict(largest, "index", columns=columns).map("{:.2g}".format)

# %% [markdown]
# Not small: **exactly zero**. Above the last block there are only a normalisation and a linear layer, which work on each
# token by itself, and then token 0 is read. What the other 64 tokens hold at this place goes nowhere. If this
# is true, we may overwrite them with noise, and the network must not notice:

# %%
last = len(model.blocks) - 1


def overwrite(module, inputs, output):
    return torch.cat([output[:, :1], torch.randn_like(output[:, 1:])], 1)


handle = model.blocks[last].register_forward_hook(overwrite)
some = scenes.images[:64]
with_noise = model(some)
handle.remove()
assert torch.equal(with_noise, model(some))
print(f"{len(some)} scenes, and not one logit has changed")

# %% [markdown]
# So Grad-CAM there is $\sum_k 0 \cdot A_k = 0$, whatever the picture and whatever the class: a **blank map**. A
# program that scales it to [0, 1] divides 0 by 0. Some then draw nothing, some stop, and some draw whatever is left of
# rounding. `xailib` refuses, and says what to do:

# %%
from xailib.explain import cam, gradcam, hirescam, scorecam

try:
    cam(model, image, target, layer=f"blocks.{last}", weights=gradcam)
except ValueError as error:
    print(error)

# %% [markdown]
# The last place where patches still matter is the *input* of the last attention, `blocks.3.norm1`: there the class
# token listens to them one more time. This is the layer that the thesis chose for its transformers. By hand, and by
# the library:

# %%
(G,) = torch.autograd.grad(y, normed[-1:], retain_graph=True)
tokens, G = normed[-1][0, 1:].detach(), G[0, 1:]  # patches only: [64, 96] each
w = G.mean(0)  # Grad-CAM: a weight for each channel
S = (tokens @ w).relu().unflatten(0, (8, 8))
by_hand = heatmap.resize(S[None], (64, 64))

layer = models.default_layer(model)
maps = cam(model, image, target, layer=layer, weights=gradcam)
torch.testing.assert_close(maps, by_hand)
print(layer)

# %%
w = gradients[-1][0, 1:].mean(0)  # the same at the output of the last block
blank = (outputs[-1][0, 1:].detach() @ w).relu().unflatten(0, (8, 8))
places = cam(model, image, target, layer=layer, weights=hirescam)
plot.gallery(
    image.expand(4, -1, -1, -1),
    [None, blank, maps[0], places[0]],
    titles=[
        truth,
        "Grad-CAM, blocks.3",
        "Grad-CAM, blocks.3.norm1",
        "HiRes-CAM, blocks.3.norm1",
    ],
    boxes=[box] * 4,
    alt="A scene with two red stickers in boxes, and three maps: Grad-CAM at blocks.3 is zero everywhere; "
    "the two at norm1 are bright on a grey cross outside the boxes.",
)

# %% [markdown]
# The first map is blank. The other two are not, but they light up a grey cross that has nothing to do with *red*. Keep
# this in mind: a layer that *can* be explained need not be one where places still mean what they show.
#
# **How to tell.** A blank map is no finding about the picture. Ask first whether the layer is read at all: overwrite it
# and look at the logits. (Where the network reads the *mean* of its patches, as some ViTs do, the last block is a fine
# layer.) And a method without gradients does not save you: Score-CAM at `blocks.3` draws a picture of activations that
# no one reads.

# %% tags=["test", "remove-cell"]
assert gradients[-1][0, 1:].abs().max() == 0 < min(G.abs().max() for G in gradients)
assert gradients[-2][0, 1:].abs().max() > 0 and blank.abs().max() == 0 < maps.max()
assert layer == f"blocks.{last}.norm1"
unread = cam(model, image, target, layer=f"blocks.{last}", weights=scorecam)
assert not heatmap.degenerate(unread).item()

# %% [markdown]
# ## Attention that hooks cannot see
#
# Above we had the attention $A$ because we wrote the network out. In a network of somebody else one would hang a
# **hook** on the place where $A$ passes: in timm, the dropout right behind the softmax, called `attn_drop`. **Predict**
# how many maps the hooks collect in a ViT of 12 blocks. (Its weights are random: only the wiring matters here.)

# %%
from xailib.data import photos

vit = models.load("vit_tiny_patch16_224", pretrained=False)
photo = photos.load("coffee").image[None]
caught = []
drops = [block.attn.attn_drop for block in vit.blocks]
handles = [d.register_forward_hook(lambda m, i, output: caught.append(output)) for d in drops]
with torch.no_grad():
    vit(photo)
    print(len(caught), "maps, as the network is")
    for block in vit.blocks:
        block.attn.fused_attn = False
    vit(photo)
    print(len(caught), "maps, with fused attention switched off")

# %% [markdown]
# The dropout is there, but nothing runs through it. For speed, PyTorch computes $AV$ in one **fused** step,
# `scaled_dot_product_attention`, that never builds $A$. No error is raised; the list just stays empty. Worse is a hook on
# `attn` itself: it fires, and hands you tokens.
#
# A switch like `fused_attn` exists in one library and is missing in the next, so
# [`recorded_attention`](../xailib/attention.py) works one floor below: as long as its `with` lasts, PyTorch's own attention
# functions compute the textbook form and keep $A$. The model is not touched.

# %%
from xailib.attention import recorded_attention

for handle, block in zip(handles, vit.blocks, strict=True):
    handle.remove()
    block.attn.fused_attn = True
with torch.no_grad(), recorded_attention(vit) as recorded:
    vit(photo)
for one, other in zip(recorded, caught, strict=True):
    torch.testing.assert_close(one, other)
with recorded_attention(model) as ours:
    model(image)
for one, other in zip(ours, attention, strict=True):
    torch.testing.assert_close(one, other)
print(
    len(recorded), "maps of", list(recorded[0].shape), "and", len(ours), "of", list(ours[0].shape)
)

# %% [markdown]
# ## Raw attention
#
# Whom does the class token listen to, in the last block? Row 0 of $A$, mean over the heads. It has 65 numbers that sum to
# 1, one of them for the class token itself; the 64 others lie on the grid of patches. That is **raw attention**.

# %%
from xailib.explain import raw_attention, rollout, tibav

row = attention[-1].mean(1)[:, 0].detach()  # [1, 65]
S = row[:, 1:].unflatten(1, (8, 8))
torch.testing.assert_close(heatmap.resize(S, (64, 64)), raw_attention(model, image, target))
print(f"the row sums to {row.sum():.2f}; the class token keeps {row[0, 0]:.2f} for itself")

# %% [markdown]
# One index decides whether this map is true. Someone who forgets that the class token comes first, and cuts the first 64
# of the 65 numbers, gets a map, too. **Predict** how it differs.

# %%
shifted = row[:, :-1].unflatten(1, (8, 8))  # wrong: token 0 is no patch
plot.gallery(
    image.expand(3, -1, -1, -1),
    [None, S[0], shifted[0]],
    titles=[truth, "raw attention", "class token not dropped"],
    boxes=[box] * 3,
    limits=(0, S.max().item()),
    opacity=0.6,
    alt="A scene, its raw attention in 8 x 8 cells with bright ones on both evidence stickers and beside them, "
    "and the same shifted by one cell to the right, with a bright cell in the upper left corner.",
)

# %% [markdown]
# Everything has moved one cell to the right, the last cell of a row is the first of the next, and the class token's
# attention to itself sits in the upper left corner. On a grid of 14 x 14 the eye hardly notices. And with more such tokens
# the shift grows: DeiT's distilled networks have 2, DINOv2 with registers has 5. Never write the number down, read it
# from the model (`num_prefix_tokens`). **How to tell**: paint over one patch, here in row 2, column 5, and look which token
# changes. **Predict** its number.

# %%
painted = image.clone()
painted[..., 16:24, 40:48] = 0
before, after = (
    torch.cat([model.cls_token, model.patch_embed((pixels - model.mean) / model.std)], 1)
    for pixels in (image, painted)
)
changed = (before != after).any(2)[0].nonzero()[:, 0]
print(f"token {changed.tolist()} of 0 to 64; 1 + 8 * 2 + 5 = {1 + 8 * 2 + 5}")

# %% tags=["test", "remove-cell"]
assert changed.tolist() == [22] and model.num_prefix_tokens == 1
torch.testing.assert_close(shifted.flatten()[1:], S.flatten()[:-1])

# %% [markdown]
# ## Three heads, four blocks
#
# The mean over heads is a convention and no law. Here is row 0 of every head in every block, for the same scene. **Predict**:
# in which block do you expect the evidence to stand out?

# %%
every = torch.stack(attention)[:, 0, :, 0, 1:].detach().unflatten(-1, (8, 8))  # [4, 3, 8, 8]
plot.gallery(
    image.expand(12, -1, -1, -1),
    every.flatten(0, 1),
    columns=6,
    titles=[f"blocks.{i}, head {h}" for i in range(4) for h in range(3)],
    boxes=[box] * 12,
    opacity=0.6,
    alt="Twelve attention maps of the class token. Some have one or two bright cells, on the boxed stickers, "
    "most of these in blocks 0 and 1; others light up over sky or sea.",
)

# %% [markdown]
# One scene is no finding. Over many: which part of the class token's attention to the patches lies on the evidence?


# %%
def inside(maps, where):
    """The share of the heat on these pixels, in percent; 0 for a map without heat."""
    return (100 * (maps * where).sum((1, 2)) / maps.sum((1, 2))).nan_to_num(0)


chosen = right[: config.scenes]
images, labels, evidence = (
    part[chosen] for part in (scenes.images, scenes.labels, scenes.evidence)
)
with torch.no_grad(), recorded_attention(model) as recorded:
    model(images)

# %%
shares = {}
for i, A in enumerate(recorded):
    heads = heatmap.resize(A[:, :, 0, 1:].unflatten(2, (8, 8)).flatten(0, 1), (64, 64))
    means = inside(heads, evidence.repeat_interleave(3, 0)).unflatten(0, (-1, 3)).mean(0)
    itself = 100 * A[:, :, 0, 0].mean().item()
    shares[f"blocks.{i}"] = [*means.tolist(), itself]
heads_table = DataFrame.from_dict(
    shares, "index", columns=["head 0", "head 1", "head 2", "to itself"]
)
heads_table.round(0)

# %% [markdown]
# In percent; the last column is what the class token keeps for itself, mean over heads. Chance is the share of the picture
# that the evidence covers, printed at the beginning. Some heads search for the evidence, with several times chance: most of them in the
# first two blocks. Others look at the sky or the ground. In the last block two of three heads are no better than chance. **Where everyone
# looks, the search is mostly over**, and a mean over heads mixes those that look at the evidence with those that do not.

# %% tags=["test", "remove-cell"]
by_head = heads_table.drop(columns="to itself").to_numpy()
assert by_head[:2].max() > 3 * area and sorted(by_head[3])[1] < 1.3 * area
assert (by_head[:2] > 2 * area).sum() > (by_head[2:] > 2 * area).sum()

# %% [markdown]
# ## Rollout
#
# Why does the last block mostly look elsewhere? By then, token 22 is no longer patch 22: three blocks
# have mixed into it what other tokens told. Follow two tokens through two blocks, the class token $c$ and a patch $p$:
#
# $$A_1 = \begin{pmatrix} 0.5 & 0.5 \\ 0 & 1 \end{pmatrix} , \qquad A_2 = \begin{pmatrix} 1 & 0 \\ 0.5 & 0.5 \end{pmatrix} .$$
#
# Raw attention of the last block: in row 0 of $A_2$ the class token listens to itself alone, so the patch gets 0. But in block 1 it
# had listened to the patch. **Attention rollout** (Abnar and Zuidema, ACL 2020) multiplies. The residual connection
# carries each token past the attention, so a token hears itself as loudly as the rest, $A'_l = (A_l + I)/2$, and later blocks multiply from the left:
#
# $$R = A'_L \cdots A'_2 A'_1 .$$
#
# **Predict**, with a pencil, row 0 of $A'_2 A'_1$.

# %%
A_1, A_2 = torch.tensor([[0.5, 0.5], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.5, 0.5]])
eye = torch.eye(2)
small = (A_2 + eye) / 2 @ (A_1 + eye) / 2
print(small)

# %% [markdown]
# The class token owes a quarter of itself to the patch. Now the network's four blocks:

# %%
eye, R = torch.eye(65), torch.eye(65)
for A in attention:
    R = (A[0].mean(0) + eye) / 2 @ R
S = R[:1, 1:].detach().unflatten(1, (8, 8))
torch.testing.assert_close(heatmap.resize(S, (64, 64)), rollout(model, image, target))
torch.testing.assert_close(R.sum(1), torch.ones(65))  # shares: every row sums to 1

# %% [markdown]
# Two conventions hide here. The paper divides each row by its sum, which for rows that sum to 1 is the 2 above. The code
# of Chefer et al., who compare with rollout, leaves out the first block (`start_layer=1`), and a popular public implementation sets
# the 90 % weakest attentions to zero; the paper does neither, and neither does our default. And one assumption is
# large: that attention says how much *arrives*. A token listened to with weight 0.9 says nothing if its value vector is zero.

# %% tags=["test", "remove-cell"]
torch.testing.assert_close(small, torch.tensor([[0.75, 0.25], [0.1875, 0.8125]]))

# %% [markdown]
# ## TIBAV
#
# Attention says whom a token listens to. Whether this *mattered* for the class is a slope: $\partial y_c / \partial A$.
# **TIBAV**, named after the paper *Transformer interpretability beyond attention visualization* (Chefer et al., CVPR 2021),
# multiplies the two, keeps what is positive, and follows it up like rollout:
#
# $$C_l = I + \frac{1}{H} \sum_h \mathrm{ReLU}\Big( \frac{\partial y_c}{\partial A_l} \odot R_l \Big)_h , \qquad C = C_L \cdots C_1 .$$
#
# In the paper, $R_l$ is the **relevance** of the attention: the logit is handed down, layer by layer, to what it was made of
# (layer-wise relevance propagation, LRP). In the simpler variant of the same authors (ICCV 2021), $R_l$ is the attention
# $A_l$ itself, and that is three lines:

# %%
G = torch.autograd.grad(y, attention, retain_graph=True)
C = torch.eye(65)
for A, g in zip(attention, G, strict=True):
    C = (torch.eye(65) + (g * A)[0].relu().mean(0)) @ C
S = C[:1, 1:].detach().unflatten(1, (8, 8))
by_attention = tibav(model, image, target, relevance="attention")
torch.testing.assert_close(heatmap.resize(S, (64, 64)), by_attention)
by_relevance = tibav(model, image, target)  # the paper's, relevance="lrp"

# %% [markdown]
# No row is divided by its sum here (in the authors' code that line is commented out), so the map has the scale of
# a gradient. The rules of LRP stand, one line each, at the top of
# [relevance.py](../xailib/explain/relevance.py). All four readings of the same attention:

# %%
readings = {
    "raw attention": raw_attention(model, image, target),
    "rollout": rollout(model, image, target),
    "TIBAV, attention": by_attention,
    "TIBAV, LRP": by_relevance,
}
plot.gallery(
    image.expand(4, -1, -1, -1),
    torch.cat([*readings.values()]),
    titles=list(readings),
    boxes=[box] * 4,
    opacity=0.6,
    alt="Four maps of one scene. Raw attention is bright on both boxed stickers and on two others; "
    "rollout and both TIBAV maps on the boxed ones only.",
)

# %% [markdown]
# ## Where it misleads: an explanation of any class
#
# Each of these methods takes `targets`, the class to be explained. **Predict** for which of them the map changes when you ask for
# another class. The formulas above tell you.

# %%
methods = {
    "raw attention": raw_attention,
    "rollout": rollout,
    "TIBAV, attention": lambda *asked: tibav(*asked, relevance="attention"),
    "TIBAV, LRP": tibav,
    "Grad-CAM": lambda *asked: cam(*asked, layer=layer, weights=gradcam),
    "HiRes-CAM": lambda *asked: cam(*asked, layer=layer, weights=hirescam),
}
classes = torch.arange(len(data.class_names))
answers = {
    name: torch.cat([ask(model, image, c[None]) for c in classes]) for name, ask in methods.items()
}
change = {
    name: ((maps - maps[:1]).abs().max() / maps.max()).item() for name, maps in answers.items()
}
DataFrame({"largest change between classes, relative": change}).round(3)

# %%
others = logits[0].argsort(descending=True)[[0, -1]]
two = [data.class_names[c] for c in others]
kept = ["rollout", "TIBAV, LRP", "Grad-CAM", "HiRes-CAM"]
plot.gallery(
    image.expand(8, -1, -1, -1),
    [answers[name][c] for c in others for name in kept],
    titles=kept * 2,
    row_titles=[f"asked: {name}" for name in two],
    limits=None,
    boxes=[box] * 8,
    opacity=0.6,
    alt=f"Maps for {two[0]} above and {two[1]} below. The two of rollout are equal, those of Grad-CAM "
    "and HiRes-CAM differ most; TIBAV moves from one boxed sticker to both.",
)

# %% [markdown]
# Raw attention and rollout never see the target: they are made of attention alone, and the logits come after it. Print
# *red* above a rollout map, and it "explains" red; print *blue*, and the same map "explains" blue. What
# it shows is what the class token listened to, for whatever reason. The thesis says of both that they depend on the
# picture and not on the class, and are therefore not really comparable with the others. **How to tell**: ask twice.

# %% tags=["test", "remove-cell"]
for name in ("raw attention", "rollout"):
    assert all(torch.equal(answers[name][0], maps) for maps in answers[name])
assert min(change[name] for name in list(methods)[2:]) > 0.05

# %% [markdown]
# To *change* with the class is not yet to be *right* about it. So give the network a picture with two answers: the left
# half of one scene and the right half of another, chosen so that each half holds all the evidence of its own class. This is the
# **grid pointing game** (Böhle et al., CVPR 2021) with two cells. Ask for the left class: which part of the heat on
# evidence lies left? Then for the right class.

# %%
E = scenes.evidence
lefts = (~E[..., 32:].flatten(1).any(1)).nonzero()[:, 0]  # no evidence in the right half
rights = (~E[..., :32].flatten(1).any(1)).nonzero()[:, 0]
n = min(len(lefts), len(rights))
differ = scenes.labels[lefts[:n]] != scenes.labels[rights[:n]]
a, b = lefts[:n][differ], rights[:n][differ]
column = torch.arange(64) < 32
both = scenes.images[a].where(column, scenes.images[b])
with torch.no_grad():
    p = model(both).softmax(1)
p_a, p_b = (p[torch.arange(len(p)), scenes.labels[side]] for side in (a, b))
print(f"{len(both)} pictures; mean probability left {p_a.mean():.2f}, right {p_b.mean():.2f}")

# %%
on_own, asked_maps = {}, {}
for name, ask in methods.items():
    for_a, for_b = (ask(model, both, scenes.labels[side]) for side in (a, b))
    own = inside(for_a, E[a]) / (inside(for_a, E[a]) + inside(for_a, E[b]))
    own = own + inside(for_b, E[b]) / (inside(for_b, E[b]) + inside(for_b, E[a]))
    on_own[name], asked_maps[name] = 50 * own.nanmean().item(), (for_a, for_b)

# %%
even = (p_a - p_b).abs().argmin().item()
pair_names = [data.class_names[scenes.labels[side[even]]] for side in (a, b)]
plot.gallery(
    both[[even]].expand(8, -1, -1, -1),
    [asked_maps[name][side][even] for side in (0, 1) for name in kept],
    titles=kept * 2,
    row_titles=[f"asked: {name}" for name in pair_names],
    opacity=0.6,
    alt=f"A picture of two halves, with a {pair_names[0]} moon left and a {pair_names[1]} one right. Rollout "
    "shows both, twice; TIBAV shows the one asked for; the CAMs do not follow the question.",
)

# %% [markdown]
# Asked for either class, rollout shows both stickers. TIBAV moves to the one that was asked for. The CAMs move, too, but not to
# where they should: asked for the right half, they show the sticker in the left. One picture; now all of them.

# %%
plot.bars(
    on_own,
    xlabel="heat on the asked class's evidence, of the heat on both (%)",
    title="Two answers in one picture",
    alt="; ".join(f"{name}: {value:.0f} %" for name, value in on_own.items()),
)

# %% [markdown]
# Raw attention and rollout get 50 %, no matter how good they look: what one answer gains, the other loses. So 50 % is
# the score of a map that does not know the question. TIBAV is above it, and not by far. And a method can *change* with the class and
# still be worse than a coin: look at Grad-CAM.

# %% tags=["test", "remove-cell"]
assert abs(on_own["raw attention"] - 50) < 1e-3 and abs(on_own["rollout"] - 50) < 1e-3
assert 53 < on_own["TIBAV, LRP"] < 80 and on_own["Grad-CAM"] < 48
half = [inside(asked_maps[way][1], (~column).expand_as(both[:, 0]))[even] for way in kept]
assert half[1] > 80 and half[3] < 20 and torch.equal(*asked_maps["rollout"])

# %% [markdown]
# ## Measured on planted evidence
#
# All methods on scenes that the network names rightly. Two scores ask where the heat lies, and need the planted truth:
# the share of it on the **evidence**, and the **pointing game**, how often the hottest pixel is evidence. Two
# ask the network, by showing it the picture through the map: **AD**, the average drop of the class's probability (less is
# better), and **AG**, the average gain (more is better; lesson 10). Beside them are three maps that know nothing of the
# network, and **Opti-CAM** (Zhang et al., CVIU 2024; lesson 13), which searches, at the same layer, for the weights through which
# the network is surest.
#
# **Predict** the best method of each column.

# %%
from xailib.explain import centre_map, fakecam, opticam, random_map

all_methods = {
    "random": random_map,
    "centre": centre_map,
    "Fake-CAM": fakecam,
    **methods,
    "Opti-CAM": lambda *asked: opticam(*asked, layer=layer, iterations=config.iterations, chunk=16),
}
some = slice(config.optimised)  # Opti-CAM is slow: fewer scenes for all
judged, truths, where = images[some], labels[some], evidence[some]
found = {way: ask(model, judged, truths) for way, ask in all_methods.items()}

# %%
from xailib.metrics import average_drop, average_gain, masked_probabilities

table = {}
for way, maps in found.items():
    S = heatmap.normalize(maps)
    hottest = maps.flatten(1).argmax(1, keepdim=True)
    p, o = masked_probabilities(model, judged, truths, S)
    table[way] = {
        "heat on evidence": inside(maps, where).mean().item(),
        "pointing game": 100 * where.flatten(1).gather(1, hottest).float().mean().item(),
        "AD": average_drop(p, o).mean().item(),
        "AG": average_gain(p, o).mean().item(),
    }
measured = DataFrame.from_dict(table, "index")
print(f"the evidence covers {100 * where.float().mean():.1f} % of these scenes")
measured.round(1)

# %%
best = [heatmap.normalize(found[way])[:4] for way in ("rollout", "TIBAV, LRP", "Opti-CAM")]
plot.gallery(
    judged[:4].repeat(3, 1, 1, 1),
    torch.cat(best),
    row_titles=["rollout", "TIBAV, LRP", "Opti-CAM"],
    boxes=[scenes.boxes[i] for i in chosen[:4]] * 3,
    opacity=0.6,
    alt="Four scenes with three maps each. On the second and third all have their bright spots on the boxed "
    "stickers; on the fourth, a blue one, rollout and TIBAV point at the sky; on the first and the fourth "
    "Opti-CAM is bright all over the sky.",
)

# %% [markdown]
# The two kinds of score disagree. **Where is the heat?** TIBAV has several times the share of chance on the evidence, rollout and
# HiRes-CAM more than twice, and Grad-CAM and raw attention of the last block less than a hill in the centre. Rollout's hottest
# *pixel* is evidence most often, although it answers for no class: with one class in the picture, being listened to is nearly
# enough. **What does the network say to it?** Opti-CAM has the lowest AD and the highest AG of all that explain
# anything, and it, too, has less heat on the evidence than the hill. It searched for a mask that the network likes, and was judged
# by how much the network likes it. Fake-CAM, which hides a single pixel, has an AD of 0.

# %% tags=["test", "remove-cell"]
chance = 100 * where.float().mean()
heat, drop, gain = (measured[column] for column in ("heat on evidence", "AD", "AG"))
assert heat["TIBAV, LRP"] > 2 * chance and heat["TIBAV, LRP"] > heat["rollout"] > chance
assert heat[["Grad-CAM", "raw attention", "Opti-CAM"]].max() < heat["centre"]
assert heat[["rollout", "HiRes-CAM"]].min() > 2 * chance
assert measured["pointing game"].idxmax() == "rollout"
explaining = measured.drop(["random", "centre", "Fake-CAM"])
assert explaining["AD"].idxmin() == explaining["AG"].idxmax() == "Opti-CAM"
assert drop["Fake-CAM"] < 1

# %% [markdown]
# **Where even TIBAV misses.** In some scenes it points at the ground. Ask the network what it says when there is *no* evidence: paint over
# it with the mean colour of the scene. And look at the classes one by one.

# %%
with torch.no_grad():
    nothing = images.where(~evidence[:, None], images.mean((2, 3), keepdim=True))
    default = model(nothing).argmax(1)
heat = inside(tibav(model, images, labels), evidence)
by_class = {
    label: {
        "said when the evidence is gone (%)": 100 * (default == c).float().mean().item(),
        "TIBAV, heat on evidence (%)": heat[labels == c].mean().item(),
    }
    for c, label in enumerate(data.class_names)
}
by_class = DataFrame.from_dict(by_class, "index").round(0)
by_class

# %% [markdown]
# Without evidence the network does not say all classes equally often: one of them is its **default**. To say it, the
# network needs to see nothing; what it must *not* find are the others. No map of where it looks can lie on evidence that it does not
# need, and for this class TIBAV is at its worst. That is no failure of the map. We planted what tells the class to a
# person; what the network makes of it is another question, and this is the answer.

# %% tags=["test", "remove-cell"]
said, hot = (by_class[column] for column in by_class)
assert said.max() > 60 and said.idxmax() == hot.idxmin()

# %% [markdown]
# ## What the thesis reports
#
# On photographs of ImageNet, for ViT-B (tables 2.2, 2.4 and 2.7; EP is the share of the heat in the box; more is better but for
# AD and deletion):
#
# | ViT-B | AD | AG | insertion | deletion | EP |
# |---|---|---|---|---|---|
# | Fake-CAM | 0.3 | 0.4 | 57.4 | 33.3 | 28.6 |
# | raw attention | 92.6 | 0.2 | 62.2 | 17.9 | 31.6 |
# | rollout | 42.1 | 5.6 | 64.8 | 15.2 | 30.0 |
# | TIBAV | 81.7 | 0.8 | 66.1 | 14.1 | 35.0 |
# | Grad-CAM | 69.4 | 2.5 | 62.9 | 19.8 | 31.0 |
# | Score-CAM | 32.0 | 6.2 | 66.5 | 15.1 | 33.1 |
# | Opti-CAM | 0.6 | 18.0 | 60.5 | 22.0 | 28.7 |
#
# Our network is tiny, and its pictures are drawings with five answers; no number of ours can confirm one of these. But the same
# split runs through both tables: Opti-CAM is far ahead in AD and AG, while its EP is that of Fake-CAM, the box's own
# share of the picture; and TIBAV has the most heat in the box, in the thesis with a ruinous AD. So "which is best?" has no answer before "at what?".
#
# Two things to notice in the original. The text says that TIBAV outperforms the others on both transformers in insertion and
# deletion; for insertion on ViT-B the table has Score-CAM ahead (66.5 to 66.1). And table 2.2 lists *Grad-CAM* twice; its second row (AD 86.3)
# is Grad-CAM++.

# %% [markdown]
# ## On a large network
#
# Nothing above is special to our small network. With an internet connection, the same calls explain timm's and torchvision's
# pretrained transformers; the grid and the number of prefix tokens are read from the model:
#
# ```python
# model = models.load("deit_small_patch16_224")  # 224 x 224 pixels, 14 x 14 patches, 12 blocks of 6 heads
# images, targets, boxes = photos.batch()
# rollout(model, images, targets)
# tibav(model, images, targets, start_layer=1)
# cam(model, images, targets, layer=models.default_layer(model), weights=gradcam)  # blocks.11.norm1
# opticam(model, images, targets, layer="blocks.11.norm1")
# ```
#
# The thesis used `vit_base_patch16_224` and `deit_base_patch16_224`. Networks whose attention is cut into windows
# (Swin) have no attention between all tokens; `recorded_attention` refuses them, and CAMs explain them.
#
# ## Explore
#
# Choose a scene, the class to ask for, and one of three readings; then slide through the blocks and heads. Rollout
# and TIBAV follow the attention up to the chosen block, and with one head, as if only this head were there. Four things to find out:
#
# 1. Raw attention, block by block: when does the class token find the evidence, and when does it look away?
# 2. Is there a head that never looks at it?
# 3. Ask for another class. Which readings move?
# 4. In the last block, compare raw attention with rollout. Which is sharper, and which has more heat on the evidence?

# %%
from xailib.explain.attention import chain, with_identity
from xailib.widgets import Explorer, choice, slider

follow = {  # A and G of the chosen blocks and heads, [blocks heads 65 65]
    "raw attention": lambda A, G: A[-1].mean(0),
    "rollout": lambda A, G: chain(list(with_identity(A.mean(1)) / 2)),
    "TIBAV, attention": lambda A, G: chain(list(with_identity((G * A).relu().mean(1)))),
}


# %%
def compute(scene, asked):
    i = chosen[scene].item()
    with recorded_attention(model) as A:
        p = model(scenes.images[[i]])
    G = torch.autograd.grad(p[0, asked], A)
    return i, p.softmax(1)[0, asked].item(), *(torch.cat([*part]).detach() for part in (A, G))


def draw(result, method, asked, block, head):
    i, p, A, G = result
    some = slice(0, 3) if head == "all" else slice(head, head + 1)
    flow = follow[method](A[: block + 1, some], G[: block + 1, some])
    heat = flow[0, 1:].unflatten(0, (8, 8))
    share = inside(heatmap.resize(heat[None], (64, 64)), scenes.evidence[[i]]).item()
    titles = [f"{data.class_names[asked]}: {p:.2f}", f"{share:.0f} % on the evidence"]
    alt = f"{method} up to blocks.{block}, heads: {head}, for {titles[0]}. {titles[1]}."
    two, boxes = scenes.images[[i, i]], [scenes.boxes[i]] * 2
    return plot.gallery(two, [None, heat], titles=titles, boxes=boxes, opacity=0.6, alt=alt)


# %%
explorer = Explorer(
    compute,
    draw,
    scene=slider(0, 19, 2, 1, "scene"),
    asked=choice({name: c for c, name in enumerate(data.class_names)}, "class", target.item()),
    method=choice(list(follow), "reading"),
    block=slider(0, 3, 3, 1, "up to block"),
    head=choice(["all", 0, 1, 2], "heads"),
)
explorer

# %% tags=["test", "remove-cell"]
red = explorer.status
explorer.set(asked=1)
assert explorer.status.split(". ")[1] == red.split(". ")[1]  # raw attention: the same for any class
explorer.set(method="TIBAV, attention", asked=0, head=1, block=1)
assert "TIBAV" in explorer.status and explorer.updates == 3
explorer.set(method="raw attention", asked=target.item(), head="all", block=3)
assert explorer.status == red

# %% [markdown]
# The class token finds the evidence in blocks 0 and 1, in some heads; head 2 of block 0 and head 0 of block 1 do so
# hardly more than by chance.
# Only TIBAV moves with the class. In the last block, raw attention is spread over the scene, while rollout still shows what was heard
# in the first blocks: its hottest spot is on the evidence more often than that of any other map in the table above.
#
# ## To remember
#
# 1. Above the last block of a ViT **only the class token is read**: patches there have gradient zero, and a CAM is blank. Take
#    `blocks[-1].norm1`, read the number of prefix tokens from the model, and record attention below the fused function.
# 2. **Raw attention and rollout answer for no class.** They show what was listened to. TIBAV and CAMs multiply by a gradient
#    of the class.
# 3. A map that changes with the class may still be wrong about it, and a good AD says nothing about where the evidence is.
#    **Plant evidence, and measure.**
#
# **Now you**: [the exercise of this lesson](../exercises/09_transformers.ipynb), 50 minutes.
#
# ## Further reading
#
# - A. Dosovitskiy et al., *An image is worth 16x16 words: transformers for image recognition at scale*, ICLR 2021 (ViT).
# - S. Abnar and W. Zuidema, *Quantifying attention flow in transformers*, ACL 2020 (rollout).
# - H. Chefer, S. Gur and L. Wolf, *Transformer interpretability beyond attention visualization*, CVPR 2021 (TIBAV), and *Generic
#   attention-model explainability for interpreting bi-modal and encoder-decoder transformers*, ICCV 2021 (the variant with
#   attention).
# - S. Jain and B. C. Wallace, *Attention is not explanation*, NAACL 2019; S. Wiegreffe and Y. Pinter, *Attention is not not
#   explanation*, EMNLP 2019.
# - M. Böhle, M. Fritz and B. Schiele, *Convolutional dynamic alignment networks for interpretable classifications*, CVPR 2021
#   (the grid pointing game).
# - T. Darcet, M. Oquab, J. Mairal and P. Bojanowski, *Vision transformers need registers*, ICLR 2024: why attention maps of large
#   ViTs have bright spots on empty ground.
# - In the library: [the attention methods](../xailib/explain/attention.py), [relevance](../xailib/explain/relevance.py),
#   [recording attention](../xailib/attention.py), [where tokens lie](../xailib/grid.py), [the network](../xailib/models/vit.py).
