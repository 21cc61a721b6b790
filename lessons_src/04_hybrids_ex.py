# %% [markdown]
# # What can convolution and attention do for each other? Exercise
#
# | | |
# |---|---|
# | Minutes | 50 |
# | Run time | quick 30 s · laptop 1 min · full 1 min |
# | Memory | 2 GB |
# | Network | no |
#
# Write your answer where it says `your code here`, run the cell, and run the check below it. Stuck?
# `check.hint("attention_pool")` helps a little, called again a little more.

# %%
import torch
from torch.nn.functional import avg_pool2d, cross_entropy, max_pool2d

from xailib import models, plot
from xailib.checks.lesson_04 import check
from xailib.course import choose
from xailib.data import PlantedScenes

# %% [markdown]
# ## 1. One query over all places
#
# *4 minutes, two lines.* The last maps of an image are `F` `[p d]`, one row for each place, and `q` `[d]` is the query. Return
# the attention `[p]` and the pooled features `[d]`. Do it with a pencil first, for two places with $F = (0; \ln 3)$,
# $d = 1$ and $q = 1$.


# %%
def attention_pool(F: torch.Tensor, q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The attention of one query, and the average of the places that it weighs."""
    ### BEGIN SOLUTION
    a = (F @ q / F.shape[1] ** 0.5).softmax(0)
    return a, F.mT @ a
    ### END SOLUTION


check.attention_pool(attention_pool)


# %% tags=["wrong"]
def without_root(F, q):
    a = (F @ q).softmax(0)
    return a, F.mT @ a


check.attention_pool(without_root)


# %% tags=["wrong"]
def without_softmax(F, q):
    a = F @ q / F.shape[1] ** 0.5
    return a, F.mT @ a


check.attention_pool(without_softmax)


# %% tags=["wrong"]
def averaged_again(F, q):
    a = (F @ q / F.shape[1] ** 0.5).softmax(0)
    return a, (F * a[:, None]).mean(0)


check.attention_pool(averaged_again)

# %% [markdown]
# ## 2. How many pairs?
#
# *8 minutes, five lines.* A LeViT-like network starts with `side` x `side` tokens and has stages of `layers[0]`, `layers[1]`, ...
# attention layers. Between two stages one more layer shrinks: every second token in each direction asks (the first,
# third, fifth, ...), and all tokens are asked. How many pairs of a query and a key does the network compare in all? In
# LeViT-128S, 14 x 14 tokens become 7 x 7, and these 4 x 4.


# %%
def pairs(side: int, layers: tuple[int, ...]) -> int:
    """All pairs of a query and a key, in all layers, the shrinking ones too."""
    ### BEGIN SOLUTION
    total = layers[0] * side**4
    for number in layers[1:]:
        before, side = side, (side + 1) // 2
        total += side**2 * before**2 + number * side**4
    return total
    ### END SOLUTION


check.pairs(pairs)


# %% tags=["wrong"]
def rounded_down(side, layers):
    total = layers[0] * side**4
    for number in layers[1:]:
        before, side = side, side // 2
        total += side**2 * before**2 + number * side**4
    return total


check.pairs(rounded_down)


# %% tags=["wrong"]
def shrunk_for_free(side, layers):
    total = 0
    for number in layers:
        total += number * side**4
        side = (side + 1) // 2
    return total


check.pairs(shrunk_for_free)


# %% tags=["wrong"]
def side_squared(side, layers):
    total = layers[0] * side**2
    for number in layers[1:]:
        before, side = side, (side + 1) // 2
        total += side * before + number * side**2
    return total


check.pairs(side_squared)

# %% [markdown]
# ## 3. Who adds what?
#
# *6 minutes, two lines.* Behind the pooling is a linear layer with weights `W` `[c d]`. Return what each place adds to the logit of
# each class, `[p c]`, such that the sum over the places is the logit without its bias.


# %%
def contributions(F: torch.Tensor, q: torch.Tensor, W: torch.Tensor) -> torch.Tensor:
    """What place p adds to the logit of class c."""
    ### BEGIN SOLUTION
    a = (F @ q / F.shape[1] ** 0.5).softmax(0)
    return a[:, None] * (F @ W.mT)
    ### END SOLUTION


check.contributions(contributions)


# %% tags=["wrong"]
def values_only(F, q, W):
    return F @ W.mT


check.contributions(values_only)


# %% tags=["wrong"]
def attention_only(F, q, W):
    a = (F @ q / F.shape[1] ** 0.5).softmax(0)
    return a[:, None].expand(-1, len(W))


check.contributions(attention_only)


# %% tags=["wrong"]
def positive_values(F, q, W):
    a = (F @ q / F.shape[1] ** 0.5).softmax(0)
    return a[:, None] * (F @ W.mT).relu()


check.contributions(positive_values)

# %% [markdown]
# ## 4. A query for each class
#
# *12 minutes, three lines.* PatchConvNet's paper also tries one query per class, so that each class has a map of its own: `Q` is
# `[c d]`. Class $c$ pools with *its* attention, and only its logit is read from what it pooled:
#
# $$y_c = b_c + w_c \cdot F^\top a_c .$$
#
# Return the logits `[c]`.


# %%
def class_query_logits(
    F: torch.Tensor, Q: torch.Tensor, W: torch.Tensor, b: torch.Tensor
) -> torch.Tensor:
    """The logits, where each class pools by its own query."""
    ### BEGIN SOLUTION
    A = (F @ Q.mT / F.shape[1] ** 0.5).softmax(0)  # [p c]: each column sums to 1
    pooled = A.mT @ F  # [c d]
    return (pooled * W).sum(1) + b
    ### END SOLUTION


check.class_query_logits(class_query_logits)


# %% tags=["wrong"]
def softmax_over_classes(F, Q, W, b):
    A = (F @ Q.mT / F.shape[1] ** 0.5).softmax(1)
    return ((A.mT @ F) * W).sum(1) + b


check.class_query_logits(softmax_over_classes)


# %% tags=["wrong"]
def one_query_in_the_end(F, Q, W, b):
    a = (F @ Q.mean(0) / F.shape[1] ** 0.5).softmax(0)
    return W @ (F.mT @ a) + b


check.class_query_logits(one_query_in_the_end)


# %% tags=["wrong"]
def best_query(F, Q, W, b):
    A = (F @ Q.mT / F.shape[1] ** 0.5).softmax(0)
    return ((A.mT @ F) @ W.mT).amax(0) + b


check.class_query_logits(best_query)

# %% [markdown]
# ## 5. What may the caption say?
#
# *20 minutes, open.* This network learned on planted scenes in which a small tag in a corner gives the shape away: in 95 of 100
# scenes it is the tag that belongs to the class. Below, a query is learned on its frozen features, on scenes of the same kind. Then
# come new scenes, in which the tag tells nothing about the shape.

# %%
network = models.load("smallcnn_shortcut")
head = network.net.fc


def planted(count, seed, evidence, **correlation):
    chance = torch.Generator().manual_seed(seed)
    data = PlantedScenes(count, generator=chance, evidence=evidence, correlation=correlation)
    return data, data.batch(range(count))


@torch.no_grad()
def features(images):  # [b 256 64]: 16 x 16 places
    pieces = ((images - network.mean) / network.std).split(64)
    return torch.cat([network.net.stages(piece) for piece in pieces]).flatten(2).mT


told_by_shape, known = planted(choose(quick=512, laptop=2048, full=8192), 0, "shape", marker=0.95)
data, scenes = planted(256, 1, "marker", shape=0.0)  # what is marked as evidence is the tag
names = told_by_shape.class_names
train_F, F, shapes = features(known.images), features(scenes.images), data.values["shape"]

# %%
query = torch.zeros(64, requires_grad=True)
optimizer = torch.optim.Adam([query], lr=0.01)
chance = torch.Generator().manual_seed(0)
for some in torch.randint(len(train_F), (150, 128), generator=chance):
    a = (train_F[some] @ query / 8).softmax(1)
    loss = cross_entropy(head((train_F[some].mT @ a[..., None])[..., 0]), known.labels[some])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
query = query.detach()

# %%
a = (F @ query / 8).softmax(1)
answers = head((F.mT @ a[..., None])[..., 0]).argmax(1).detach()
tag = scenes.evidence.float()[:, None]
near_tag = avg_pool2d(max_pool2d(tag, 17, 1, 8), 4).flatten(1)  # within 8 pixels
print(f"answers with the shape's class: {(answers == shapes).float().mean():.0%}")
print(f"answers with the tag's class:   {(answers == scenes.labels).float().mean():.0%}")
for place, area in {"on the tag": avg_pool2d(tag, 4).flatten(1), "near the tag": near_tag}.items():
    share = (a * area).sum(1).mean()
    print(f"{place}: {share:.0%} of the attention on {area.mean():.0%} of the picture")

# %% [markdown]
# A colleague stops here and writes: *The network pays hardly more attention to the tag than its area would explain. The
# attention is part of the network, so this is not a guess: the network does not rely on the tag.*
#
# You look at scenes whose shape and tag disagree and whose answer is the tag's class, with your own `contributions`. The
# box marks the tag.

# %%
solved = check.contributions(contributions).status == "correct"  # the figure needs question 3
taken_in = ((answers == scenes.labels) & (answers != shapes)).nonzero()[:, 0].tolist()
maps, titles, rest = [], [], []
for n in taken_in if solved else ():
    added = contributions(F[n], query, head.weight.detach())
    for_tag = added[:, scenes.labels[n]] - added[:, shapes[n]]  # rather than for the shape
    maps += [a[n].view(16, 16), for_tag.view(16, 16)]
    titles += [
        f"attention; answer: {names[answers[n]]}",
        f"{names[answers[n]]} rather than {names[shapes[n]]}",
    ]
    rest.append([(for_tag * near_tag[n]).sum(), (for_tag * (1 - near_tag[n])).sum()])

# %%
if solved:
    near, far = torch.tensor(rest).mean(0)
    print(f"{len(rest)} scenes; logit of the tag's class less that of the shape's class:")
    print(f"{near:+.1f} from within 8 pixels of the tag, {far:+.1f} from everywhere else")
twice = [n for n in taken_in[:2] for _ in range(2)]
plot.gallery(
    scenes.images[twice],
    maps[:4],
    titles=titles[:4],
    boxes=[scenes.boxes[n] for n in twice],
    alt="Two scenes with the tag boxed. Attention: bright on the tag and on the sticker that tells "
    "the shape. Contributions to the answer rather than to the shape's class: red at the tag, blue "
    "at the sticker.",
) if solved else "Solve question 3 first."

# %% [markdown]
# Is the colleague right? Write a caption for these figures, at most 150 words: what the attention does show, what it does
# not, and what the network relies on. Use at least two numbers, and propose one experiment that could prove you wrong.

# %% [markdown] tags=["solution"]
# **Rubric**, one point each:
#
# - *What the attention shows is said, and no more.* It shows how much each place weighs in the average, for all classes alike:
#   near the tag hardly more than with GAP. In the two scenes the tag is bright, but each map has its own scale, and the largest weight is
#   about twice GAP's 1/256. And the sticker is bright, too: the map cannot tell which of the two spoke for the answer.
# - *The colleague is wrong, with numbers.* The answer agrees with the tag's class in about half of the scenes, where the tag
#   tells nothing, and by chance it would be about a fifth. Where it follows the tag against the shape, the places near the tag
#   speak for the tag's class, and all others together against it. A place of average weight decides if its values are large.
# - *Numbers are read with care.* The places near the tag have seen 32 x 32 pixels, so some of what they add may come from
#   stickers beside it. And the scenes were chosen by their answer, so the sum had to favour the tag's class; that it comes
#   from near the tag had not.
# - *The experiment could fail.* "Paint the tag over, or put another tag there, and see whether the answers that followed it
#   change; do the same to a patch of ground of the same size" is such a one.
#
# A good answer: *The maps show the weights of an average. Near the tag lie about 14 % of the weight on 12 % of the picture:
# hardly more than with GAP. What is read there, they do not show. The answer follows the tag in about 55 % of the scenes;
# chance would be 20 %. Where it does so against the shape, the places near the tag add about +3 to the difference of the two
# logits, and all others together take away from it. So the network relies on the tag, with little attention. I would be
# wrong if painting the tag over left these answers as they are.* (The numbers are those of a quick run; yours may differ.)
