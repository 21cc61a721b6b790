# %% [markdown]
# # Can a network see without convolutions? Exercise
#
# | | |
# |---|---|
# | Minutes | 50 |
# | Run time | quick 30 s · laptop 30 s · full 30 s |
# | Memory | 2 GB |
# | Network | no |
#
# Write your answer where it says `your code here`, run the cell, and run the check below it. Stuck? `check.hint("attend")` helps a
# little, called again a little more.

# %%
from functools import partial

import torch
import torch.nn.functional as F
from pandas import DataFrame

from xailib import models
from xailib.attention import recorded_attention
from xailib.checks.lesson_03 import check
from xailib.data import PlantedScenes

# %% [markdown]
# ## 1. Which token is this pixel?
#
# *5 minutes, one line.* An image is cut into square patches, row by row; `prefix` tokens that belong to no patch (such as the class
# token) come first. Return the number of the token that pixel `x`, `y` (column, row; from 0) goes into.


# %%
def token_of(x: int, y: int, width: int, patch: int, prefix: int) -> int:
    """The number of the pixel's token, counted from 0."""
    ### BEGIN SOLUTION
    return prefix + (y // patch) * (width // patch) + x // patch
    ### END SOLUTION


check.token_of(token_of)


# %% tags=["wrong"]
def prefix_forgotten(x, y, width, patch, prefix):
    return (y // patch) * (width // patch) + x // patch


check.token_of(prefix_forgotten)


# %% tags=["wrong"]
def column_by_column(x, y, width, patch, prefix):
    return prefix + (x // patch) * (width // patch) + y // patch


check.token_of(column_by_column)


# %% tags=["wrong"]
def rows_of_pixels(x, y, width, patch, prefix):
    return prefix + (y // patch) * width + x // patch


check.token_of(rows_of_pixels)

# %% [markdown]
# ## 2. Attention
#
# *8 minutes, two lines.* From `Q [m d]`, `K [n d]` and `V [n e]` return $\mathrm{softmax}(Q K^\top / \sqrt d)\, V$, `[m e]`, without
# `scaled_dot_product_attention`. The check's first example can be done with a pencil: with $d = 4$, a query $(1, 0, 0, 0)$ and keys
# $(0, 0, 0, 0)$ and $(2 \ln 3, 0, 0, 0)$, what are the two weights?


# %%
def attend(Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor) -> torch.Tensor:
    """For each query the mean of the values, weighted by how well their keys fit."""
    ### BEGIN SOLUTION
    A = (Q @ K.mT / Q.shape[-1] ** 0.5).softmax(-1)
    return A @ V
    ### END SOLUTION


check.attend(attend)


# %% tags=["wrong"]
def not_divided(Q, K, V):
    return (Q @ K.mT).softmax(-1) @ V


check.attend(not_divided)


# %% tags=["wrong"]
def divided_by_d(Q, K, V):
    return (Q @ K.mT / Q.shape[-1]).softmax(-1) @ V


check.attend(divided_by_d)


# %% tags=["wrong"]
def softmax_over_queries(Q, K, V):
    return (Q @ K.mT / Q.shape[-1] ** 0.5).softmax(0) @ V


check.attend(softmax_over_queries)


# %% tags=["wrong"]
def divided_after_softmax(Q, K, V):
    return (Q @ K.mT).softmax(-1) / Q.shape[-1] ** 0.5 @ V


check.attend(divided_after_softmax)

# %% [markdown]
# ## 3. Several heads
#
# *10 minutes, two to four lines.* `Q`, `K` and `V` are `[n D]`. Head number 1 is made of the first `D / heads` columns of each, head 2 of the next,
# and so on. Return the heads' answers side by side, `[n D]`.


# %%
def multi_head(Q: torch.Tensor, K: torch.Tensor, V: torch.Tensor, heads: int) -> torch.Tensor:
    """The answers of all heads, side by side."""
    ### BEGIN SOLUTION
    parts = zip(*(part.chunk(heads, -1) for part in (Q, K, V)), strict=True)
    return torch.cat([attend(q, k, v) for q, k, v in parts], -1)
    ### END SOLUTION


check.multi_head(multi_head)


# %% tags=["wrong"]
def one_head(Q, K, V, heads):
    return F.scaled_dot_product_attention(Q[None], K[None], V[None])[0]


check.multi_head(one_head)


# %% tags=["wrong"]
def cut_through_the_tokens(Q, K, V, heads):
    q, k, v = (part.reshape(heads, len(part), -1) for part in (Q, K, V))
    return F.scaled_dot_product_attention(q, k, v).reshape(Q.shape)


check.multi_head(cut_through_the_tokens)


# %% tags=["wrong"]
def root_of_the_whole_width(Q, K, V, heads):
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(0, 1) for part in (Q, K, V))
    A = (q @ k.mT / Q.shape[-1] ** 0.5).softmax(-1)
    return (A @ v).transpose(0, 1).flatten(1)


check.multi_head(root_of_the_whole_width)

# %% [markdown]
# ## 4. What a block costs
#
# *7 minutes, two lines.* For `n` tokens of width `D` and an MLP that is `r` times as wide inside, return the multiplications of one block:
# those that work on each token alone, and those between tokens. No norms, no biases.


# %%
def block_macs(n: int, D: int, r: int) -> tuple[int, int]:
    """Multiplications of the linear layers, and of Q K^T and A V."""
    ### BEGIN SOLUTION
    return (4 + 2 * r) * n * D**2, 2 * n**2 * D
    ### END SOLUTION


check.block_macs(block_macs)


# %% tags=["wrong"]
def output_layer_forgotten(n, D, r):
    return (3 + 2 * r) * n * D**2, 2 * n**2 * D


check.block_macs(output_layer_forgotten)


# %% tags=["wrong"]
def pairs_counted_once(n, D, r):
    return (4 + 2 * r) * n * D**2, n**2 * D


check.block_macs(pairs_counted_once)


# %% tags=["wrong"]
def mlp_counted_once(n, D, r):
    return (4 + r) * n * D**2, 2 * n**2 * D


check.block_macs(mlp_counted_once)

# %% [markdown]
# From how many tokens on, then, is most of a block's work quadratic? Your function knows. Patches of 16 pixels, a square picture:

# %%
if check.block_macs(block_macs).status == "correct":
    for name, D in {"ViT-Tiny": 192, "ViT-Base": 768, "ViT-Large": 1024}.items():
        n = next(n for n in range(1, 100_000) if block_macs(n, D, 4)[1] > block_macs(n, D, 4)[0])
        print(f"{name:9} from {n} tokens on: a picture of {16 * n**0.5:.0f} pixels")

# %% [markdown]
# ## 5. The report
#
# *20 minutes, open.* A report about the network of the lesson says: *"We looked at the class token's attention in all twelve heads.
# Some heads look at the stickers that decide: each of them does a part of the work. Others look at the background. They are
# useless, as their attention shows, and can be removed to save time."* Below are, for 256 scenes, how much more of the attention falls on the
# evidence than the evidence's share of the picture ("on evidence", 1 if the head does not care), and the accuracy after this one
# head was **switched off**: its part of the answer is set to 0 before `proj` mixes the heads.

# %%
model = models.load("vit_colour")
chance = torch.Generator().manual_seed(5)
scenes = PlantedScenes(256, evidence="colour", generator=chance).batch(range(256))
covered = F.avg_pool2d(scenes.evidence.float()[:, None], 8).flatten(1)  # [256, 64]
with torch.no_grad(), recorded_attention(model) as attention:
    model(scenes.images)


def on_evidence(A):  # [256, 65, 65]
    to_patches = A[:, 0, 1:] / A[:, 0, 1:].sum(1, keepdim=True)
    return ((to_patches * covered).sum(1) / covered.mean(1)).mean().item()


# %%
@torch.no_grad()
def right_without(*heads):  # in percent; each head is a pair (block, head)
    def switch_off(head, proj, inputs):
        answers = inputs[0].clone()
        answers[..., 32 * head : 32 * head + 32] = 0
        return answers

    projs = [model.blocks[block].attn.proj for block, _ in heads]
    switches = [partial(switch_off, head) for _, head in heads]
    hooks = [p.register_forward_pre_hook(s) for p, s in zip(projs, switches, strict=True)]
    guesses = model(scenes.images).argmax(1)
    for hook in hooks:
        hook.remove()
    return 100 * (guesses == scenes.labels).float().mean().item()


# %%
rows = {
    f"block {i}, head {h}": [on_evidence(attention[i][:, h]), right_without((i, h))]
    for i in range(4)
    for h in range(3)
}
print(f"all heads on: {right_without():.1f} % right")
DataFrame.from_dict(rows, "index", columns=["on evidence", "right without it (%)"]).round(1)

# %% [markdown]
# And some groups of heads, switched off together. Try groups of your own.

# %%
groups = [
    [(0, 0), (0, 1)],
    [(0, 0), (1, 1)],
    [(0, 0), (0, 1), (1, 1)],
    [(2, 0), (3, 0), (3, 1)],
    [(2, 0), (2, 1), (2, 2)],
]
for group in groups:
    print(f"without {group}: {right_without(*group):.1f} %")

# %% [markdown]
# Judge the report in at most 150 words: which of its claims do the tables support, which not? Use at least two single heads and one group. Say
# what a head that looks at the background could be good for. And propose one better test of "can be removed", with the outcome that would
# convince you.

# %% [markdown] tags=["solution"]
# **Rubric**, one point each:
#
# - *"Does a part of the work" is not what one head shows.* Heads 0 and 1 of block 0 both put nearly six times the even share on the evidence, and without
#   either one the network still gets 95.7 and 91.0 % (97.3 % with all). Without both, 51.2 %: they search for the same two
#   colours (the lesson's second table) and stand in for each other. A head that can be spared may work all
#   the same, and switching off one at a time hides this.
# - *"Can be removed" holds here, "as their attention shows" does not.* Without the three heads that look at the background (block 2 head
#   0, block 3 heads 0 and 1) 96.5 % remain. But without all of block 2, of which one head leans to the evidence (2.3), it is 97.7 %; attention does
#   not tell the useful from the useless. It took the experiment.
# - *What looking at the background may be good for.* In upper blocks the tokens of the background carry the class (the lesson reads it there in most
#   of the cases), so a head can collect it there, for example where the stickers' own patches are unclear.
# - *A limit is named.* For example: accuracy on 256 scenes like the training scenes; 1 % is less than three scenes; 0 is a value that
#   the later layers have never seen from a head; scenes with hidden or shuffled stickers might need the spare heads.
# - *A test that could fail.* For example: remove the heads, measure on new scenes *and* on harder ones (patches hidden, stickers smaller), with the loss as
#   well as the accuracy, beside three heads removed at random, and give the number of scenes that change. Convincing: no more changes than from one
#   random head, on all kinds of scenes.
#
# A good answer: *The first claim fails: without head 0 or head 1 of block 0, each with almost six times its share on the evidence, 95.7 and 91.0 % remain of 97.3. It fails
# in an interesting way: without heads 0 and 1 together only 51.2 %. They replace each other, and single switches miss that. The second
# claim comes out right for a wrong reason: the three background heads can go (96.5 %), but so can all of block 2, and nothing in the attention
# tells which. Late background patches carry the class, so such a head may serve as a second reading. I would remove the three heads and
# test on scenes with eight patches painted grey, beside three random heads. If not more answers change than with the random ones, I believe "can be
# removed"; that it is because of where they look, I would still not believe.*
