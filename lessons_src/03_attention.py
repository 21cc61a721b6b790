# %% [markdown]
# # Can a network see without convolutions?
#
# | | |
# |---|---|
# | You will | build a vision transformer by hand, from patches to logits; see what it does not know about a picture unless it is told; count what it costs; and find out what its attention maps say, and what they do not |
# | You need | lesson 02 (convolutional networks); a softmax and a matrix product |
# | Minutes | 90 |
# | Run time | quick 45 s · laptop 4 min · full 10 min |
# | Memory | 3 GB |
# | Data | planted scenes, drawn here; a network that comes with the course |
# | Network | no |
#
# A convolution knows two things before it has seen a single image: near pixels belong together, and a pattern
# means the same at every place. This lesson builds a network that knows neither. Every part of the picture may ask every
# other, from the first layer on. Predict before each figure.

# %%
import time
from copy import deepcopy
from dataclasses import dataclass

import pandas as pd
import torch
import torch.nn.functional as F
from pandas import DataFrame
from torch import nn

from xailib import models, plot
from xailib.course import ROOT, choose, device
from xailib.data import PlantedScenes
from xailib.data.stickers import COLOURS


@dataclass(frozen=True)
class Config:
    scenes: int = choose(quick=192, laptop=512, full=1024)  # that findings are averaged over
    timings: int = choose(quick=1, laptop=5, full=10)  # runs of each network that is timed
    learn: int = choose(quick=64, laptop=1024, full=2048)  # scenes to learn from, at the end
    epochs: int = choose(quick=2, laptop=8, full=40)


config = Config()

# %% [markdown]
# ## The network and its task
#
# The course comes with a small **vision transformer**, a ViT (Dosovitskiy et al., ICLR 2021). It was trained on
# **planted scenes**: landscapes with stickers, where the *colour* of one or two stickers is the class. The other stickers have
# colours that no class has, and shapes, textures and the ground say nothing. So we know which pixels tell the class: the
# **evidence**. How the network came about stands on its card:

# %%
from xailib.models import shipped

model = models.load("vit_colour")
card = shipped.card("vit_colour")
print(card["data"], "|", card["parameters"], "parameters |", card["recipe"]["epochs"], "epochs")
print(f"{card['accuracy']['test']:.1%} right on 2048 new scenes; trained in {card['seconds']} s")

# %%


def planted(count, evidence, seed):  # scenes, with their labels and the truth about them
    seed = torch.Generator().manual_seed(seed)  # the same first scenes, however many
    return PlantedScenes(2048, evidence=evidence, generator=seed).batch(range(count))


@torch.no_grad()
def right(net, images, labels):  # in percent
    guesses = torch.cat([net(some).argmax(1) for some in images.split(128)])
    return 100 * (guesses == labels).float().mean().item()


scenes = planted(config.scenes, "colour", seed=9)
images, labels, evidence = scenes.images, scenes.labels, scenes.evidence
with torch.no_grad():
    probabilities = model(images).softmax(1)
print(f"{right(model, images, labels):.1f} % right on {len(images)} scenes of our own")

# %%
first = list(range(4))
names = [COLOURS[labels[i]] for i in first]
plot.gallery(
    images[first],
    titles=names,
    boxes=[scenes.boxes[i] for i in first],
    alt=f"Four landscapes with stickers; boxes around those whose colour is the class: {names}.",
)

# %% [markdown]
# ## From an image to tokens
#
# Cut the image into **patches** of 8 x 8 pixels: 64 of them. Write the 3 x 8 x 8 = 192 numbers of a patch into one line and
# send it through one linear layer, the same for all patches. What comes out, 96 numbers here, is the patch's **token**.

# %%
image = images[:1]
x = (image - model.mean) / model.std  # as the network was trained
patches = F.unfold(x, kernel_size=8, stride=8).mT  # [1, 64, 192]: cut, row by row
W, b = model.patch_embed.proj.weight, model.patch_embed.proj.bias  # [96, 3, 8, 8], [96]
tokens = patches @ W.flatten(1).T + b  # [1, 64, 96]
torch.testing.assert_close(tokens, model.patch_embed(x))

# %% [markdown]
# The library's [`PatchEmbed`](../xailib/models/vit.py) does the same with a convolution whose stride is as large as its
# kernel, so that no two patches overlap. It is the only convolution in the network, and a degenerate one: no pixel
# meets a pixel of the next patch. From here on, a picture of 64 x 64 pixels is a list of 64 vectors.
#
# A list can be put in another order. Here is the scene, its patches, and the same patches shuffled. **Predict**: will *you*
# still be able to tell the colours of the stickers, and their shapes?


# %%
def rearranged(images, order):  # the patches of each image, in another order
    return F.fold(F.unfold(images, 8, stride=8)[..., order], images.shape[2:], 8, stride=8)


order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
shuffled = rearranged(image, order)
corners = torch.cartesian_prod(torch.arange(0, 64, 8), torch.arange(0, 64, 8)).flip(1)
cells = torch.cat([corners, corners + 8], 1)  # x0 y0 x1 y1 of each patch
plot.gallery(
    torch.cat([image, image, shuffled]),
    titles=[names[0], "64 patches", "shuffled"],
    boxes=[None, cells, cells],
    alt="A scene, the same cut into 8 x 8 patches, and the patches in another order.",
)

# %% [markdown]
# ## Who listens to whom
#
# Now the tokens must talk, or each would stay a patch of 8 x 8 pixels forever. **Self-attention** (Vaswani et al., NeurIPS
# 2017) is a lookup. Each token sends out a **query** $q$, what it would like to know; a **key** $k$, what it can be asked
# for; and a **value** $v$, what it then tells. All three are linear functions of the token. How well query and key fit is
# their dot product. The softmax turns a query's fits into weights that sum to 1, and the answer is the weighted mean of
# the values. With one query, key and value in each row of $Q$, $K$ and $V$, and $d$ the length of a query,
#
# $$\mathrm{attention}(Q, K, V) = A V , \qquad A = \mathrm{softmax}\big(Q K^\top / \sqrt{d}\big) .$$
#
# Four tokens by hand. Their keys say "star" or "no star", their values are 1, 2, 3 and 4. The query asks for stars, more and
# more loudly. **Predict** the answer in the first and in the last row.


# %%
def attend(q, k, v):
    A = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)  # row i: whom token i listens to
    return A @ v, A


no_star, star = [1.0, 0.0], [0.0, 1.0]
k = torch.tensor([no_star, star, no_star, star])
v = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
loudness = torch.tensor([0.0, 1.0, 2.0, 4.0, 8.0])
q = loudness[:, None] * torch.tensor(star)
answer, A = attend(q, k, v)
table = DataFrame(A.numpy(), index=loudness.tolist(), columns=[f"token {i}" for i in range(1, 5)])
table.assign(answer=answer).rename_axis("loudness").round(2)

# %% [markdown]
# A silent query gets the mean of all values, 2.5. A loud one gets the mean of the two stars, 3. So attention can do what
# **pooling** does, and what a **lookup** does, and anything between, and the tokens themselves decide which.
#
# Now the real thing. The network's first block holds the linear layers as one matrix, `qkv`. It has three sets of them,
# **heads** of $d = 32$; take the first head for now.

# %%
weights = model.blocks[0].attn.qkv.weight.unflatten(0, (3, 3, 32))[:, 0]  # [3, 32, 96]
biases = model.blocks[0].attn.qkv.bias.unflatten(0, (3, 3, 32))[:, 0]
q, k, v = (tokens @ W.T + b for W, b in zip(weights, biases, strict=True))  # [1, 64, 32] each
heard, A = attend(q, k, v)
torch.testing.assert_close(heard, F.scaled_dot_product_attention(q, k, v))
print(f"A is {list(A[0].shape)}; its rows sum to {A.sum(-1).min():.4f} to {A.sum(-1).max():.4f}")

# %% [markdown]
# PyTorch's `scaled_dot_product_attention` is the same formula, faster, and never builds $A$. (What this means for whoever
# wants to *see* $A$ is a story for lesson 09.)

# %% tags=["test", "remove-cell"]
assert abs(answer[0].item() - 2.5) < 1e-6 and abs(answer[-1].item() - 3) < 0.01

# %% [markdown]
# ## Why divide by the root of d?
#
# A dot product adds $d$ terms. If the numbers in $q$ and $k$ are independent, with mean 0 and variance 1, each term has
# variance 1, their sum has variance $d$, and the fits spread like $\sqrt d$. So in a wide head *any* query would be loud, by no
# merit of its own. Take 64 random keys for 256 random queries, and measure two things, with the division and without: to
# how many tokens a query **effectively listens** ($e^H$, where $H = -\sum_j A_j \ln A_j$ is the entropy of its row; 64 if it listens to all alike,
# 1 if to a single one); and the **slope** through which it can learn, $\sum_j \partial A_j / \partial s_j = \sum_j A_j (1 - A_j)$
# for its fits $s_j$. **Predict** the four lines.


# %%
def listens_to(A):  # effectively so many tokens
    return torch.special.entr(A).sum(-1).exp()


chance = torch.Generator().manual_seed(0)
widths = [4, 16, 64, 256, 1024]
spread, tokens_heard, slope = {}, {"divided": [], "not divided": []}, {}
for d in widths:
    q = torch.randn(256, 1, d, generator=chance)
    fits = q @ torch.randn(256, 64, d, generator=chance).mT  # [256, 1, 64]
    spread[d] = fits.std().item()
    rows = {"divided": (fits / d**0.5).softmax(-1), "not divided": fits.softmax(-1)}
    for name, A in rows.items():
        tokens_heard[name].append(listens_to(A).mean().item())
    slope[d] = [(A * (1 - A)).sum(-1).mean().item() for A in rows.values()]

# %%
figure = plot.curve(
    widths,
    tokens_heard,
    alt="; ".join(
        f"{name}: {line[0]:.0f} tokens at d = 4, {line[-1]:.1f} at 1024"
        for name, line in tokens_heard.items()
    ),
    xlabel="d, the length of queries and keys",
    ylabel="tokens listened to, of 64",
)
figure.axes[0].set_xscale("log", base=2)
figure

# %%
table = DataFrame.from_dict(slope, "index", columns=["slope, divided", "slope, not divided"])
table.insert(0, "spread of the fits", list(spread.values()))
table.rename_axis("d").round(3)

# %% [markdown]
# Divided, hardly anything depends on $d$. Not divided, a query of 1024 numbers listens to about one token, which chance has chosen, and the slope is nearly gone: where the
# softmax is saturated, the network cannot learn to listen to someone else. This is the reason that the paper gives, and the
# thesis (section 1.2.3). Mind what it does *not* say: the division makes a *fresh* network start softly. A trained one may
# become as loud as it likes, by longer queries.

# %% tags=["test", "remove-cell"]
assert max(tokens_heard["divided"]) < 1.2 * min(tokens_heard["divided"])
assert tokens_heard["not divided"][-1] < 1.5 and slope[1024][1] < 0.1 < 0.8 < slope[1024][0]
assert all(abs(s / d**0.5 - 1) < 0.1 for d, s in spread.items())

# %% [markdown]
# ## Attention knows no places
#
# Nothing in the formula says where a token lies. Put the tokens in another order, and the answers come out in that order, and
# are otherwise the same: attention is **equivariant to permutations**. A convolution, remember lesson 02, is
# equivariant to shifts; here not only a shift but *any* order is as good as any other.

# %%
attn = model.blocks[0].attn
torch.testing.assert_close(attn(tokens[:, order]), attn(tokens)[:, order])

# %% [markdown]
# Layers that work on each token by itself do not change this. So a ViT of patches alone must give the same logits for a scene
# and for its shuffled patches. It is told the places instead: to each token a learned vector is added, the **position
# embedding** of its place. **Predict**: the network as it is, and a copy whose position embeddings are set to 0; each sees the scene
# and the shuffled scene. Which logits agree?

# %%
blind = deepcopy(model)
nn.init.zeros_(blind.pos_embed)
pair = torch.cat([image, shuffled])
with torch.no_grad():
    torch.testing.assert_close(blind(pair)[0], blind(pair)[1], atol=1e-4, rtol=1e-4)
    change = (model(pair)[0] - model(pair)[1]).abs().max()
    placed = tokens + model.pos_embed[:, 1:]  # the first one belongs to no patch, see below
    moved = (attn(placed)[:, order] - attn(tokens[:, order] + model.pos_embed[:, 1:])).abs().max()
assert change > 0.1 and moved > 0.01
print(f"largest change of a logit, without positions: none; with positions: {change:.1f}")

# %% [markdown]
# Without positions a picture is a **bag of patches**. How much does the trained network need to know more than the bag? Shuffle all
# scenes and see. To compare, the small convolutional network that comes with the course, for the task that *it* learned: the *shape* of
# the stickers, which are about three patches wide. **Predict** the five accuracies; guessing gives 20 %.


# %%
cnn, shapes = models.load("smallcnn_shape"), planted(config.scenes, "shape", seed=9)
accuracy = {
    "colour, ViT": right(model, images, labels),
    "colour, ViT, patches shuffled": right(model, rearranged(images, order), labels),
    "colour, ViT, positions set to 0": right(blind, images, labels),
    "shape, CNN": right(cnn, shapes.images, shapes.labels),
    "shape, CNN, patches shuffled": right(cnn, rearranged(shapes.images, order), shapes.labels),
}
plot.bars(
    accuracy,
    alt="; ".join(f"{name}: {value:.0f} %" for name, value in accuracy.items()),
    xlabel="scenes named rightly (%)",
)

# %% [markdown]
# The colour survives: a patch shows it by itself, so a bag of patches is nearly as good as a picture, and the network hardly
# misses its places. The shape does not: it is *in* the places. So what a network needs to know of places is a matter of the
# task, and a figure like this tells which task it solves.
#
# What did the network make of its places? It started with 64 random vectors. Compare the vector of one place with those of
# all places, by the cosine of their angle. **Predict**: nobody told it that places 0 and 8 are neighbours, one above the other. Has it found
# out?

# %%
P = F.normalize(model.pos_embed[0, 1:].detach(), dim=1)
likeness = (P @ P.T).unflatten(1, (8, 8))  # [64, 8, 8]
looked_at = [9, 14, 36, 58]
plot.gallery(
    torch.full((4, 3, 64, 64), 0.5),
    likeness[looked_at],
    titles=[f"row {i // 8}, column {i % 8}" for i in looked_at],
    boxes=[cells[[i]] for i in looked_at],
    limits=(-1, 1),
    opacity=1,
    alt="Four grids of 8 x 8 cells, red where the position embedding is like that of the marked cell.",
)

# %% [markdown]
# In part. Places of the same height are alike, above all the rows of the sky at the top, and neighbours in the middle are a little. It has found the order that
# landscapes have: sky above, ground below. Networks that need the plane find the plane; figure 7 of Dosovitskiy et al. shows it for a large
# one.

# %% tags=["test", "remove-cell"]
assert (
    accuracy["colour, ViT, patches shuffled"] > 80 and accuracy["shape, CNN, patches shuffled"] < 50
)
assert accuracy["colour, ViT, positions set to 0"] > 85 and accuracy["shape, CNN"] > 90
off_diagonal = likeness.clone().flatten(1).fill_diagonal_(0).unflatten(1, (8, 8))
assert off_diagonal[8:16, 1].mean() > 0.3 > off_diagonal[8:16, 2:].mean()

# %% [markdown]
# ## Several heads
#
# A softmax answers with one weighted mean. A token that wants to know two things, what lies left of me *and* what is striped
# like me, needs two. So the 96 numbers of a token are cut into three parts of 32; each **head** runs
# its own attention on its part, the answers are put side by side again, and one linear layer, `proj`, mixes them. That is all of
# the library's [`Attention`](../xailib/models/vit.py):

# %%
q, k, v = attn.qkv(tokens).unflatten(-1, (3, 3, 32)).permute(2, 0, 3, 1, 4)  # [1, 3, 64, 32]
heads, A = attend(q, k, v)  # A: [1, 3 heads, 64, 64]
side_by_side = heads.transpose(1, 2).flatten(2)  # [1, 64, 96]
torch.testing.assert_close(attn.proj(side_by_side), attn(tokens))
torch.testing.assert_close(heads[:, 0], heard)  # the head from above

# %% [markdown]
# Heads are free. However many there are, `qkv` and `proj` keep their $3 \cdot 96^2 + 96^2$ weights; only how the 96 numbers are
# grouped changes. More heads means more opinions, each formed from fewer numbers.
#
# The thesis says that self-attention has no parameters whatsoever. Of the formula above this is true: $AV$ has nothing to learn. But
# $Q$, $K$ and $V$ come from linear layers, and there the learning happens.

# %%
for count in (1, 3, 12):
    layer = models.vit.Attention(96, count)
    print(f"{count:2} heads: {sum(p.numel() for p in layer.parameters()):,} parameters")

# %% [markdown]
# ## The block, and the stream
#
# Attention moves information *between* tokens. A small two-layer network, the **MLP**, then works on each token *alone*. Both only
# **add** to what is there, as in a residual network, and both read a normalised copy:
#
# $$x \leftarrow x + \mathrm{attention}(\mathrm{norm}(x)) , \qquad x \leftarrow x + \mathrm{MLP}(\mathrm{norm}(x)) .$$
#
# What runs from the bottom to the top, only ever added to, is called the **residual stream**. The norm is
# **LayerNorm** (Ba et al., 2016): each token, by itself, is brought to mean 0 and variance 1 over its own 96 numbers. It has only one face:
# no batch, no running mean, no difference between training and evaluation. Lesson 02 shows what batch norm's second face can do.

# %%
norm = model.blocks[0].norm1
mean, variance = tokens.mean(-1, keepdim=True), tokens.var(-1, keepdim=True, correction=0)
by_hand = (tokens - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias
torch.testing.assert_close(by_hand, norm(tokens))

# %% [markdown]
# Descriptions differ here. The thesis' text adds first and normalises what comes out, which is how Vaswani et al. built their
# translator (**post-norm**). The ViT of Dosovitskiy et al., and ours, normalise what goes *in* (**pre-norm**), so that nothing stands
# in the stream's way. When you read a figure of a transformer, look where the norm is.
#
# ## Who speaks for the picture?
#
# 64 tokens, but one answer. Two ways are common. Take the **mean** of all patch tokens, like the global average pooling of lesson
# 02. Or add one more token that belongs to no patch, the **class token** (written [CLS]; from BERT, Devlin et al., NAACL 2019). It
# starts as the same learned vector for every picture, listens in each block like all others, and in the end is read alone.
#
# Now we have all parts. The whole network, by hand, for all scenes at once:

# %%
with torch.no_grad():
    x = model.patch_embed((images - model.mean) / model.std)
    x = torch.cat([model.cls_token.expand(len(x), -1, -1), x], 1) + model.pos_embed  # [b, 65, 96]
    attention, stream = [], [x]
    for block in model.blocks:
        z = block.norm1(x)
        heads, A = attend(*block.attn.qkv(z).unflatten(-1, (3, 3, 32)).permute(2, 0, 3, 1, 4))
        x = x + block.attn.proj(heads.transpose(1, 2).flatten(2))
        x = x + block.mlp(block.norm2(x))
        attention, stream = [*attention, A], [*stream, x]
    logits = model.head(model.norm(x)[:, 0])  # token 0 is the class token
torch.testing.assert_close(logits.softmax(1), probabilities, atol=1e-4, rtol=1e-4)

# %% [markdown]
# Twelve lines, and no part of them knows what an image is, but the first.
#
# At the bottom the class token knows nothing: it is the same for all pictures. What it knows at the top, it has *heard*. **Predict**
# after which block it knows the class. To find out, read it early: put the final norm and the head on it after each block. (The head
# learned to read the last block only, so this is a lower bound of what is known.)

# %%
known = {}
for i, x in enumerate(stream):
    with torch.no_grad():
        early = model.head(model.norm(x)[:, 0]).argmax(1)
    differs = x[:, 0].std(0).mean().item()
    known[f"after {i} blocks"] = [differs, 100 * (early == labels).float().mean().item()]
DataFrame.from_dict(known, "index", columns=["differs between scenes", "right (%)"]).round(2)

# %% tags=["test", "remove-cell"]
reads = [row[1] for row in known.values()]
assert known["after 0 blocks"][0] < 1e-6 and reads[0] < 40 and reads[-1] == max(reads)

# %% [markdown]
# After one block it can name more than half of the scenes, after two nearly all. Half of the network is left, and we shall ask what
# the class token still listens to up there.
#
# Class token or mean? For the accuracy it hardly matters; for whoever explains the network it does. With a mean, every patch token is
# read at the end. With a class token none is, and what the patches hold after the last block goes nowhere. Lesson 09 shows what this
# does to class activation maps. `ViT(pool="mean")` is the other kind:

# %%
_ = torch.manual_seed(0)
mean_pooled = models.ViT(size=64, patch=8, classes=5, dim=96, depth=1, heads=3, pool="mean").eval()
with torch.no_grad():
    x = mean_pooled.blocks[0](mean_pooled.patch_embed(image) + mean_pooled.pos_embed)
    by_hand = mean_pooled.head(mean_pooled.norm(x).mean(1))
    torch.testing.assert_close(by_hand, mean_pooled(image))
print("tokens:", x.shape[1], "with the mean,", stream[0].shape[1], "with a class token")

# %% [markdown]
# ## What it costs
#
# Count multiplications with an addition (MACs), as in lesson 02, for $n$ tokens of width $D$ and an MLP that is $r$ times
# as wide inside. The four linear layers of attention make $4 n D^2$, the two of the MLP $2 r n D^2$; $Q K^\top$ and $A V$ make $n^2 D$
# each:
#
# $$\text{MACs per block} = \underbrace{(4 + 2r)\, n D^2}_{\text{each token alone}} + \underbrace{2 n^2 D}_{\text{between tokens}} .$$
#
# The last term is the famous one: **quadratic in the number of tokens**. Halve the patch's side and there are four times as many
# tokens and sixteen times as many pairs. **Predict**, before you run the cell: which share of ViT-Base's cost is quadratic?


# %%
def macs(size, patch, D, depth, r, classes):  # all, and those between tokens
    n = (size // patch) ** 2 + 1
    embedding, head = (n - 1) * 3 * patch**2 * D, D * classes
    alone, between = depth * (4 + 2 * r) * n * D**2, depth * 2 * n**2 * D
    return embedding + alone + between + head, between


everything, between = macs(224, 16, 768, 12, 4, 1000)
print(f"ViT-Base, 224 pixels, patch 16: {everything / 1e9:.2f} G MACs")
print(f"between tokens: {between / everything:.1%}")

# %% [markdown]
# 17.56 is the number of the thesis' table 1.1 (there called GFLOPs), to the last digit. And the quadratic part is a few percent of
# it. It exceeds the linear one only when $n > (2 + r) D$: for ViT-Base that is 4608 tokens, a picture of more than 1000
# pixels. "Transformers are quadratic" is true, and often not what you pay for.
#
# Is the formula right? PyTorch can count. And with our small network ($D = 96$, $r = 2$) we can afford to cross the line, which
# the formula puts at 384 tokens. Here it is with five sizes of patches, counted and timed.

# %%
from torch.utils.flop_counter import FlopCounterMode

from xailib.attention import recorded_attention


@torch.no_grad()
def weigh(patch):
    net = models.ViT(size=64, patch=patch, classes=5, dim=96, depth=4, heads=3, mlp_ratio=2).eval()
    with recorded_attention(net), FlopCounterMode(display=False) as counter:
        net(image)
    seconds = []
    for _ in range(config.timings + 1):
        start = time.process_time()  # of the processor, so that other programs do not count
        net(image.expand(4, -1, -1, -1))
        seconds.append((time.process_time() - start) / 4)
    return counter.get_total_flops() / 2, 1000 * min(seconds)


# %%
costs = {}
for patch in (32, 16, 8, 4, 2):
    everything, between = macs(64, patch, 96, 4, 2, 5)
    counted, milliseconds = weigh(patch)
    assert counted == everything
    share = 100 * between / everything
    costs[patch] = [(64 // patch) ** 2 + 1, everything / 1e6, share, milliseconds]
columns = ["tokens", "M MACs", "between tokens (%)", "ms per image"]
costs = DataFrame.from_dict(costs, "index", columns=columns).rename_axis("patch")
costs.round(1)

# %%
n = 2.0 ** torch.arange(2, 13)
figure = plot.curve(
    n,
    {
        "each token alone: (4 + 2r) n D²": 8 * n * 96**2 / 1e6,
        "between tokens: 2 n² D": 2 * n**2 * 96 / 1e6,
    },
    alt="Two straight lines on logarithmic axes, the second twice as steep; they cross at 384 tokens.",
    xlabel="tokens n",
    ylabel="M MACs per block",
    title="D = 96, r = 2",
)
figure.axes[0].set_xscale("log", base=2)
figure.axes[0].set_yscale("log")
figure

# %% [markdown]
# Formula and count agree exactly. The time follows the count only roughly: with 5 tokens the processor mostly waits for the next
# call.

# %% tags=["test", "remove-cell"]
assert round(macs(224, 16, 768, 12, 4, 1000)[0] / 1e9, 2) == 17.56
assert costs["between tokens (%)"].iloc[-1] > 50 > costs["between tokens (%)"].iloc[-2]
assert costs["ms per image"].iloc[-1] > 5 * costs["ms per image"].iloc[0]

# %% [markdown]
# ## What attention maps show
#
# Row 0 of $A$ says whom the class token listens to. Without the class token itself, the row is a map of 8 x 8 cells. There is one for each
# head of each block. Here they are for one scene with a red sticker. **Predict**: will they look alike?

# %%
shown = (labels == COLOURS.index("red")).nonzero()[0, 0].item()
rows = [A[shown, h, 0, 1:].unflatten(0, (8, 8)) for h in range(3) for A in attention]
plot.gallery(
    images[[shown]].expand(12, -1, -1, -1),
    rows,
    titles=[f"block {i}" for i in range(4)] * 3,
    row_titles=[f"head {h}" for h in range(3)],
    boxes=[scenes.boxes[shown]] * 12,
    opacity=0.6,
    alt="Twelve attention maps of the class token, three heads in four blocks, all different: "
    "one bright patch on the red sticker in some of the lower blocks, most of the background in others.",
)

# %% [markdown]
# Each map has its own scale, so read the numbers below: in one head a single patch gets most of the attention, in another no
# patch gets a tenth. And twelve maps of one scene are twelve anecdotes. Over all scenes, three numbers for each head:
#
# - **on evidence**: the share of the class token's attention to patches that falls on the evidence, divided by the share of the
#   picture that the evidence covers. At 1, the head does not care.
# - **listens to**: to how many of the 65 tokens the class token effectively listens, as above. (The logarithm of this number is the
#   *attention entropy* by which PiT was told from ViT; Heo et al., ICCV 2021, and thesis, section 1.2.3.)
# - **distance**: how far from a patch those lie that it listens to, in pixels, on average over all patches. A head that
#   listened to all tokens alike would have the numbers of the last row.

# %%
covered = F.avg_pool2d(evidence.float()[:, None], 8).flatten(1)  # [b, 64]: share of each patch
far = torch.cdist(corners.float(), corners.float())  # [64, 64], pixels between patches


def on_evidence(row):  # [b, 65], the row of the class token
    to_patches = row[:, 1:] / row[:, 1:].sum(1, keepdim=True)
    return (to_patches * covered).sum(1) / covered.mean(1)


def distance(A):  # [b, 65, 65]
    among = A[:, 1:, 1:] / A[:, 1:, 1:].sum(-1, keepdim=True)
    return (among * far).sum(-1).mean()


# %%
heads = {f"block {i}, head {h}": attention[i][:, h] for i in range(4) for h in range(3)}
alike = {"all alike": torch.full((len(images), 65, 65), 1 / 65)}
facts = {
    name: [on_evidence(A[:, 0]).mean(), listens_to(A[:, 0]).mean(), distance(A)]
    for name, A in (heads | alike).items()
}
columns = ["on evidence", "listens to", "distance"]
facts = DataFrame.from_dict(facts, "index", columns=columns).astype(float)
facts.round(1)

# %% [markdown]
# - Two heads of **block 0** listen to few tokens, and to the evidence far more than its share. They search, and find.
# - In **block 3**, head 0 hardly cares for the evidence, and head 1 listens *away* from it, to the background.
# - All **distances** are near the last row's: no head has become a convolution. This task does not need neighbours. In large
#   ViTs on photographs some heads of the first blocks are local, others global from the start (Dosovitskiy et al.).
#
# What do the searching heads search for? Take "on evidence" apart by the colour of the scene. **Predict**: which colours will a head
# look at that finds the evidence?

# %%
by_colour = {
    name: [on_evidence(A[:, 0])[labels == c].mean().item() for c in range(5)]
    for name, A in heads.items()
}
by_colour = DataFrame.from_dict(by_colour, "index", columns=COLOURS[:5])
by_colour.round(1)

# %% [markdown]
# Each searching head has colours of its own, as a filter of a convolutional network has its pattern: two heads for red and violet in block 0, yellow and
# others in block 1, green in blocks 1 and 3. An average over scenes had hidden that. And look at the column of **blue**. We come back to it.

# %% tags=["test", "remove-cell"]
share, heard_by = facts["on evidence"], facts["listens to"]
assert share[["block 0, head 0", "block 0, head 1"]].min() > 4
assert heard_by[["block 0, head 0", "block 0, head 1"]].max() < 10
assert share["block 3, head 1"] < 0.7 and 0.7 < share["block 3, head 0"] < 1.6
assert (facts["distance"] / facts["distance"]["all alike"] - 1).abs().max() < 0.2
assert by_colour.loc[["block 0, head 0", "block 0, head 1"], ["red", "violet"]].min().min() > 8
assert by_colour.loc[["block 0, head 0", "block 0, head 1"], ["blue", "green"]].max().max() < 2
assert by_colour.loc["block 3, head 2"].idxmax() == "green" and by_colour["yellow"].max() > 8
assert by_colour["blue"].max() < 4 and by_colour.drop(columns="blue").max().min() > 8

# %% [markdown]
# ## Where it misleads: attention is not importance
#
# "The network looked at the sticker, so the sticker is the reason." The map was made inside the network, without gradients, without
# choices of ours. What could be wrong with it?
#
# It is a claim, so test it, as in lesson 00. For each head, take the eight patches that the class token listens to most, paint
# them grey, and ask the network again. Then the eight it listens to least. If attention were importance, the first would ruin the answer and the second
# would not touch it, for *every* head. To compare: eight patches at random, and the eight that hold most of the evidence. **Predict**.


# %%
@torch.no_grad()
def probability_without(ranking):  # [b, 64]; the eight highest patches are painted grey
    hidden = torch.zeros_like(ranking).scatter(1, ranking.topk(8).indices, 1.0)
    hidden = F.interpolate(hidden.unflatten(1, (1, 8, 8)), scale_factor=8)
    p = model(images * (1 - hidden) + 0.5 * hidden).softmax(1)
    return p.gather(1, labels[:, None]).mean().item()


rows = {name: A[:, 0] for name, A in heads.items()}  # [b, 65] each
rows["block 3, mean of heads"] = attention[3].mean(1)[:, 0]
tested = {
    name: [probability_without(sign * row[:, 1:]) for sign in (1, -1)] for name, row in rows.items()
}
chance = torch.rand(covered.shape, generator=torch.Generator().manual_seed(0))
without_random, without_evidence = probability_without(chance), probability_without(covered)

# %%
whole = probabilities.gather(1, labels[:, None]).mean().item()
bars = {"nothing hidden": whole, "eight at random": without_random}
bars |= {name: most for name, (most, _) in sorted(tested.items(), key=lambda t: -t[1][0])}
bars["eight with most evidence"] = without_evidence
plot.bars(
    bars,
    alt="; ".join(f"{name}: {value:.2f}" for name, value in bars.items()),
    xlabel="mean probability of the right class",
    title="Hidden: the 8 patches listened to most",
)

# %%
hidden = DataFrame.from_dict(tested, "index", columns=["most hidden", "least hidden"])
hidden.insert(0, "on evidence", [on_evidence(row).mean().item() for row in rows.values()])
hidden.round(2)

# %% [markdown]
# For some heads the claim holds in part: without what they listen to, the mean probability falls to about a half. For others it is **upside down**. Hiding what they listen to
# most hurts *less than hiding patches at random*, and what they listen to least is needed. Taken as maps of importance, these would be
# worse than no map. And the mean of the last block's heads, the map that is drawn most often, gives the evidence twice its share, and yet hiding
# what it shows and hiding what it does not show hurt about equally. Nothing is wrong with these maps: they are true maps of attention.
#
# How can a network use what it listens to, and not need it? By block 3, patch $j$ is not patch $j$ any more. Each block has mixed into every token what
# it heard from others. Let the head read the *patches of the background* as if they were the class token, those that hold no evidence
# at all. **Predict** how often they name the right colour; guessing gives 20 %.

# %%
background = covered == 0  # [b, 64]
told = {}
with torch.no_grad():
    for i, x in enumerate(stream):
        guesses = model.head(model.norm(x)).argmax(-1)  # [b, 65]: from each token
        agree = (guesses == labels[:, None]).float()
        told[f"after {i} blocks"] = [
            100 * agree[:, 0].mean().item(),
            100 * agree[:, 1:][background].mean().item(),
        ]
columns = ["the class token names the class (%)", "a patch of background (%)"]
DataFrame.from_dict(told, "index", columns=columns).round(0)

# %% [markdown]
# After two blocks most patches of sea and sky name the colour of the sticker: they have been told. So a late head that looks at the background may well be reading the class there,
# and its map says nothing about the *pixels* of the background. Reasons of this kind, all in the formula:
#
# - *A token is not its patch*, as you just saw.
# - *A weight is not a message.* What arrives is $A_{ij} v_j$; a large weight on a value near zero says nothing (Kobayashi et al., EMNLP 2020).
# - *A message is not an effect.* `proj`, the MLPs, later blocks and the head may use it or ignore it. The exercise switches heads off.
# - *A softmax must spend its 1.* A head that has nothing to ask cannot stay silent. In large ViTs much of the attention gathers on a few
#   tokens of plain background, which the network uses to store something else (Darcet et al., ICLR 2024).
#
# And the blue stickers, for which no head searched? The network names their scenes as surely as the others. **Predict** what it
# answers when the evidence of a scene is painted grey, pixel by pixel: nothing of its colour is left.

# %%
without = images.where(~evidence[:, None], 0.5)
with torch.no_grad():
    guesses, blue = model(without).argmax(1), COLOURS.index("blue")
still = {
    "keenest head, on evidence": by_colour.max().tolist(),
    "right, as drawn (%)": [
        right(model, images[labels == c], labels[labels == c]) for c in range(5)
    ],
}
for kind, wanted in {"still right": labels, "called blue": blue}.items():
    agree = 100 * (guesses == wanted).float()
    still[f"{kind}, evidence grey (%)"] = [agree[labels == c].mean().item() for c in range(5)]
still = DataFrame(still, index=COLOURS[:5])
still.round(1)

# %% [markdown]
# Without its evidence no scene is red, yellow or violet any more. But most blue ones are *still blue*. And so are most of the others:
# blue is what the network says when it has found nothing else. It recognises blue mainly by what is **not** there. That has no pixels that a map could
# light up; only the experiment shows it.
#
# Whether attention is an explanation has been fought over in two titles, *Attention is not explanation* (Jain and Wallace, NAACL 2019) and *Attention
# is not not explanation* (Wiegreffe and Pinter, EMNLP 2019). For you it is a **claim**. **How to tell**: hide what it points to, and, as a control,
# as much of something else. (Painting grey is a test with a flaw of its own, for no scene had grey squares: lessons 07 and 11.) Lesson 09
# follows attention down through the blocks, to the pixels.

# %% tags=["test", "remove-cell"]
upside_down = ["block 2, head 0", "block 3, head 0", "block 3, head 1"]
assert hidden.loc[upside_down, "most hidden"].min() > without_random
assert hidden.loc[upside_down, "least hidden"].max() < hidden.loc[upside_down, "most hidden"].min()
finds = hidden.loc[["block 0, head 0", "block 0, head 1", "block 1, head 1"]]
assert finds["most hidden"].max() < 0.65 < finds["least hidden"].min()
gone = still["still right, evidence grey (%)"]
assert gone["blue"] > 50 and gone[["red", "yellow", "violet"]].max() < 15 and gone["green"] < 40
assert (
    still["called blue, evidence grey (%)"].min() > 50 and still["right, as drawn (%)"].min() > 90
)
mean_map = hidden.loc["block 3, mean of heads"]
assert abs(mean_map["most hidden"] - mean_map["least hidden"]) < 0.1 < 1.5 < mean_map["on evidence"]
assert without_evidence < 0.4 and told["after 0 blocks"][1] < 30 and told["after 4 blocks"][1] > 50

# %% [markdown]
# ## Explore: ask any patch
#
# So far only the class token asked. Choose a scene, who asks (the class token, or a patch by row and column), a block and a
# head. The map shows whom it listens to; the box marks the patch that asks. Four things to find out:
#
# 1. Block 1, head 1, a red or a yellow scene: let a patch of the sky ask, then one of the ground. Does the map change?
# 2. The same head: let a patch on that sticker ask. Then try head 0 of block 0, with the class token and with any patch.
# 3. Take a blue scene. Do you find a head that looks at the sticker that decides, and only there?
# 4. Take any scene and the class token. Which of the twelve maps would you put into a paper, and what would it make your readers believe?

# %%
from xailib.widgets import Explorer, choice, slider


def compute(scene, block):
    return images[scene], attention[block][scene]  # [3, 64, 64], [3, 65, 65]


def draw(result, scene, asks, row, column, block, head):
    picture, A = result
    A = A.mean(0) if head == "mean" else A[head]
    query = 0 if asks == "class token" else 1 + 8 * row + column
    heat, box = A[query, 1:].unflatten(0, (8, 8)), None if query == 0 else cells[[query - 1]]
    who = asks if query == 0 else f"patch in row {row}, column {column}"
    alt = f"Block {block}, head {head}, a {COLOURS[labels[scene]]} scene: the {who} listens to "
    alt += f"{listens_to(A[query]):.0f} of 65 tokens; {A[query, query]:.0%} goes to itself."
    titles = [f"{COLOURS[labels[scene]]}; {asks} asks", f"block {block}, head {head}"]
    panels = {"titles": titles, "boxes": [box, box]}
    return plot.gallery([picture, picture], [None, heat], opacity=0.7, alt=alt, **panels)


# %%
Explorer(
    compute,
    draw,
    scene=slider(0, 15, shown, 1, "scene"),
    asks=choice(["class token", "patch"], "who asks"),
    row=slider(0, 7, 3, 1, "row"),
    column=slider(0, 7, 3, 1, "column"),
    block=slider(0, 3, 0, 1, "block"),
    head=choice([0, 1, 2, "mean"], "head"),
)

# %% [markdown]
# The map hardly changes. Sky, ground and class token all listen to the red sticker, which is how the background came to know.
# The sticker's own patches do not: they listen elsewhere. In block 0, head 0, only the class token searches. For blue you search in
# vain. And the map for the paper: with twelve to choose from, one will please you. That is why the choice must be made before you look,
# and stand in the caption.

# %% tags=["test", "remove-cell"]
found = {}
for block, head in ((1, 1), (0, 0)):
    A, truth = attention[block][shown, head], covered[shown]
    askers = {"sky": A[5], "ground": A[60], "class": A[0], "own": A[1 + truth.argmax()]}
    found[block] = {asker: (row[1:] * truth).sum() / truth.max() for asker, row in askers.items()}
assert min(found[1][asker] for asker in ("sky", "ground", "class")) > 0.8 and found[1]["own"] < 0.1
assert found[0]["class"] > 0.8 and max(found[0]["sky"], found[0]["ground"]) < 0.2

# %% [markdown]
# ## Freedom has a price
#
# A convolution is told that near pixels belong together and that places are alike. Such built-in knowledge is called **inductive
# bias**. A transformer is told neither, and has to find out from images. So with few images the convolution should win. Here is what was
# measured for this course: our ViT and a small CNN, on 256, 1024 and 4096 scenes, with three starts each. The class is the **shape**
# of a sticker this time, for which patches must be put together. **Predict** two lines.

# %%
study = pd.read_csv(ROOT / "results" / "study_baselines.csv")
study[["network", "scenes"]] = study["row"].str.extract(r"(\w+), (\d+) images")
study["scenes"] = study["scenes"].astype(int)
found = study.groupby(["network", "scenes"])["accuracy"].agg(["mean", "min", "max"]) * 100
found.round(1)

# %%
ends = {name: found.loc[name, "mean"] for name in ("CNN", "ViT")}
figure = plot.curve(
    ends["CNN"].index.tolist(),
    {name: line.tolist() for name, line in ends.items()},
    alt="; ".join(
        f"{name}: {line.iloc[0]:.0f} % with {line.index[0]} scenes, {line.iloc[-1]:.0f} % with {line.index[-1]}"
        for name, line in ends.items()
    ),
    xlabel="scenes to learn from",
    ylabel="right on new scenes (%)",
)
axes = figure.axes[0]
for line in list(axes.lines):
    band = {"color": line.get_color(), "alpha": 0.2}
    axes.fill_between(
        line.get_xdata(), *found.loc[line.get_label(), ["min", "max"]].T.values, **band
    )
axes.set_xscale("log", base=2)
axes.set_ylim(0, 100)
figure

# %% [markdown]
# The bands go from the worst to the best of three starts. Guessing gives 20 %, and the ViT does not leave it. The CNN does, between 1024 and
# 4096 scenes. This is as much as the figure says. It does *not* say that a ViT cannot learn shapes: each network went through its scenes a few
# times only ([`python -m xailib study baselines`](../xailib/runs/catalogue.py); three epochs for the CNN, eight for the ViT), so that fewer scenes also
# meant fewer steps, and it had no augmentation. And it is no judgement of the kind of network either: *colours* the same ViT learned
# to 99 %, as you have seen.
#
# Try the two tasks side by side: the same two networks, as many steps for each, few scenes. It is a very small experiment, above all in the
# quick profile, where nobody has time to learn anything; read it as a recipe for your own. **Predict** the order of the four.

# %%
from torch.utils.data import TensorDataset

from xailib.training import Recipe, evaluate, fit

how = {"optimizer": "adamw", "schedule": "cosine", "warmup": 0.5, "channels_last": True}
recipe = Recipe(epochs=config.epochs, batch=32, lr=2e-3, **how)
live, start = {}, time.perf_counter()
for cue, new in {"colour": scenes, "shape": shapes}.items():
    few = planted(config.learn, cue, seed=4)
    train, test = (TensorDataset(some.images, some.labels) for some in (few, new))
    for name, build in {"CNN": shipped.small_cnn, "ViT": shipped.small_vit}.items():
        _ = torch.manual_seed(0)
        net = build().to(device())
        fit(net, train, TensorDataset(*train[:32]), recipe=recipe, progress=False)
        live[f"{cue}, {name}"] = [100 * evaluate(net, some).accuracy for some in (train, test)]
print(f"{config.learn} scenes, {config.epochs} epochs each, {time.perf_counter() - start:.0f} s")

# %%
columns = ["right on the scenes it learned from (%)", "on new scenes (%)"]
DataFrame.from_dict(live, "index", columns=columns).round(1)

# %% tags=["test", "remove-cell"]
cnn_line, vit_line = found.loc["CNN"], found.loc["ViT"]
assert vit_line["max"].max() < 30 and cnn_line["mean"].iloc[-1] > 80 > 40 > cnn_line["mean"].iloc[1]
if config.learn == 1024:  # the laptop profile
    new = {name: accuracy for name, (_, accuracy) in live.items()}
    assert min(new["colour, CNN"] - new["colour, ViT"], new["shape, CNN"] - new["shape, ViT"]) > 15
    assert new["colour, CNN"] > new["shape, CNN"] and new["colour, ViT"] > new["shape, ViT"]

# %% [markdown]
# Did you predict the order? In the quick profile all four guess. In the laptop profile the CNN is ahead of the ViT in both tasks, and each network is
# better at colour than at shape. But this is one start of each network and one draw of scenes: change the seeds before you believe a small
# difference, as the study above did.
#
# On photographs the thesis tells the same story (section 1.2.3): trained on ImageNet alone in the usual way, a ViT stays behind a ResNet of
# its time; with much more data, it wins. "Close to 10 times" more, says the thesis. That fits ImageNet-21k (14 million images
# against 1.28 million). The other set of the ViT paper, JFT-300M, is more than 200 times as large.
#
# Its table 1.1 seems to say something else:
#
# | the thesis reports | year | accuracy (%) | parameters | GFLOPs |
# |---|---|---|---|---|
# | ResNet-50 | 2016 | 76.13 | 25.6 M | 4.09 |
# | ResNet-50, newer training | 2021 | 80.86 | 25.6 M | 4.09 |
# | ViT-Base | 2020 | 81.07 | 86.6 M | 17.56 |
#
# 81.07 is *not* the number of 2020. It is what torchvision documents for weights that it trained on ImageNet alone, years later, with the
# augmentation of DeiT (Touvron et al., ICML 2021); for the same training set the ViT paper has 77.91. Three points came from the training,
# as nearly five did for the ResNet. So inductive bias can be bought in three ways: build it in, collect more images, or
# *make* more images by augmentation. And whoever compares two architectures must train them alike. Lesson 04 builds some of the bias
# back in.

# %% [markdown]
# ## To remember
#
# 1. A ViT is a list of patch tokens that ask each other, $\mathrm{softmax}(QK^\top/\sqrt d)\,V$, again and again. It knows **places** only
#    because they are added to the tokens, and locality only if it **learns** it.
# 2. An attention map shows **who listens to whom** in one head of one block. Say which, and for which token.
# 3. Attention is **not importance**. Hide what a map points to, and as much of something else, before you believe it.
#
# **Now you**: [the exercise of this lesson](../exercises/03_attention.ipynb), 50 minutes.
#
# ## Further reading
#
# - A. Vaswani et al., *Attention is all you need*, NeurIPS 2017.
# - A. Dosovitskiy et al., *An image is worth 16x16 words: transformers for image recognition at scale*, ICLR 2021: the ViT; its figure 7
#   shows position embeddings and distances of a large one.
# - H. Touvron et al., *Training data-efficient image transformers and distillation through attention*, ICML 2021 (DeiT).
# - S. Jain and B. C. Wallace, *Attention is not explanation*, NAACL 2019, and S. Wiegreffe and Y. Pinter, *Attention is not not
#   explanation*, EMNLP 2019.
# - G. Kobayashi, T. Kuribayashi, S. Yokoi and K. Inui, *Attention is not only a weight*, EMNLP 2020: weights times the length of values.
# - T. Darcet, M. Oquab, J. Mairal and P. Bojanowski, *Vision transformers need registers*, ICLR 2024.
# - In the library: [the ViT](../xailib/models/vit.py), 110 lines, and [reading attention](../xailib/attention.py) of any
#   transformer.
