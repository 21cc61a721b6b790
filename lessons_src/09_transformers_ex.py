# %% [markdown]
# # Whom does the class token listen to? Exercise
#
# | | |
# |---|---|
# | Minutes | 50 |
# | Run time | quick 25 s · laptop 25 s · full 25 s |
# | Memory | 2 GB |
# | Network | no |
#
# Write your answer where it says `your code here`, run the cell, and run the check below it. Stuck?
# `check.hint("patch_map")` helps a little, called again a little more.

# %%
import torch
from pandas import DataFrame

from xailib import models, plot
from xailib.checks.lesson_09 import check
from xailib.data import PlantedScenes
from xailib.explain import cam, hirescam, rollout, tibav
from xailib.metrics import correlation

# %% [markdown]
# ## 1. From tokens to a map
#
# *5 minutes, one line.* `row` holds what the class token listens to, one number per token: first `prefix` tokens that belong to
# no patch (the class token, and in some networks others), then the patches, row by row from the upper left. Return the map
# `[h w]` of the patches, where `grid` is `(h, w)`.


# %%
def patch_map(row: torch.Tensor, prefix: int, grid: tuple[int, int]) -> torch.Tensor:
    """The attention to the patches, where they lie in the image."""
    ### BEGIN SOLUTION
    return row[prefix:].unflatten(0, grid)
    ### END SOLUTION


check.patch_map(patch_map)


# %% tags=["wrong"]
def class_token_kept(row, prefix, grid):
    return row[: grid[0] * grid[1]].unflatten(0, grid)


check.patch_map(class_token_kept)


# %% tags=["wrong"]
def always_one(row, prefix, grid):
    return row[1 : 1 + grid[0] * grid[1]].unflatten(0, grid)


check.patch_map(always_one)


# %% tags=["wrong"]
def columns_first(row, prefix, grid):
    return row[prefix:].unflatten(0, (grid[1], grid[0])).T


check.patch_map(columns_first)


# %% tags=["wrong"]
def a_square(row, prefix, grid):
    side = int((len(row) - prefix) ** 0.5)
    return row[prefix:].reshape(side, side)


check.patch_map(a_square)

# %% [markdown]
# ## 2. Rollout
#
# *8 minutes, four lines.* `attention` is a list with one tensor `[heads n n]` per block, the first block first. Return
# $R = A'_L \cdots A'_1$ `[n n]`, where $A'_l$ is the mean over the heads, plus the identity, each row divided by its sum. With a
# pencil: two blocks of one head, $A_1 = (0.5, 0.5; 0, 1)$ and $A_2 = (1, 0; 0.5, 0.5)$.


# %%
def attention_rollout(attention: list[torch.Tensor]) -> torch.Tensor:
    """How much of each token at the bottom is in each token at the top."""
    ### BEGIN SOLUTION
    eye = torch.eye(attention[0].shape[-1])
    R = eye
    for A in attention:
        R = (A.mean(0) + eye) / 2 @ R
    return R
    ### END SOLUTION


check.attention_rollout(attention_rollout)


# %% tags=["wrong"]
def without_residual(attention):
    R = torch.eye(attention[0].shape[-1])
    for A in attention:
        R = A.mean(0) @ R
    return R


check.attention_rollout(without_residual)


# %% tags=["wrong"]
def from_the_right(attention):
    eye = torch.eye(attention[0].shape[-1])
    R = eye
    for A in attention:
        R = R @ (A.mean(0) + eye) / 2
    return R


check.attention_rollout(from_the_right)


# %% tags=["wrong"]
def rows_not_divided(attention):
    eye = torch.eye(attention[0].shape[-1])
    R = eye
    for A in attention:
        R = (A.mean(0) + eye) @ R
    return R


check.attention_rollout(rows_not_divided)


# %% tags=["wrong"]
def strongest_head(attention):
    eye = torch.eye(attention[0].shape[-1])
    R = eye
    for A in attention:
        R = (A[0] + eye) / 2 @ R
    return R


check.attention_rollout(strongest_head)

# %% [markdown]
# ## 3. Attention that mattered
#
# *10 minutes, four lines.* `attention` as before, and `gradients` the same list of $\partial y_c / \partial A_l$. Return TIBAV in the
# variant with attention: $C = C_L \cdots C_1$, $C_l = I + \frac{1}{H} \sum_h \mathrm{ReLU}(G_l \odot A_l)_h$. No row is
# divided by anything. Mind what comes first, the mean or the ReLU.


# %%
def gradient_attention(
    attention: list[torch.Tensor], gradients: list[torch.Tensor]
) -> torch.Tensor:
    """Attention that speaks for the class, followed up through the blocks."""
    ### BEGIN SOLUTION
    eye = torch.eye(attention[0].shape[-1])
    C = eye
    for A, G in zip(attention, gradients, strict=True):
        C = (eye + (G * A).relu().mean(0)) @ C
    return C
    ### END SOLUTION


check.gradient_attention(gradient_attention)


# %% tags=["wrong"]
def mean_before_relu(attention, gradients):
    eye = torch.eye(attention[0].shape[-1])
    C = eye
    for A, G in zip(attention, gradients, strict=True):
        C = (eye + (G * A).mean(0).relu()) @ C
    return C


check.gradient_attention(mean_before_relu)


# %% tags=["wrong"]
def no_identity(attention, gradients):
    C = torch.eye(attention[0].shape[-1])
    for A, G in zip(attention, gradients, strict=True):
        C = (G * A).relu().mean(0) @ C
    return C


check.gradient_attention(no_identity)


# %% tags=["wrong"]
def rows_divided(attention, gradients):
    eye = torch.eye(attention[0].shape[-1])
    C = eye
    for A, G in zip(attention, gradients, strict=True):
        layer = eye + (G * A).relu().mean(0)
        C = layer / layer.sum(1, keepdim=True) @ C
    return C


check.gradient_attention(rows_divided)


# %% tags=["wrong"]
def first_block_last(attention, gradients):
    eye = torch.eye(attention[0].shape[-1])
    C = eye
    for A, G in zip(attention, gradients, strict=True):
        C = C @ (eye + (G * A).relu().mean(0))
    return C


check.gradient_attention(first_block_last)

# %% [markdown]
# ## 4. Does it answer for a class?
#
# *10 minutes, three lines.* Somebody hands you a method, `explain(model, images, targets) -> maps`, and says that it explains
# *why this class*. Write the test that it should have passed: return True if the map of `image` `[1 3 H W]` is the same
# for **every** one of the classes 0, 1, ..., `classes - 1`. Ask for one class at a time, with `targets` an integer
# tensor of one number. A map that changes only a little has changed.


# %%
def answers_for_no_class(explain, model, image: torch.Tensor, classes: int) -> bool:
    """Whether the map is the same, whatever class is asked for."""
    ### BEGIN SOLUTION
    maps = [explain(model, image, torch.tensor([c])) for c in range(classes)]
    return all(torch.equal(maps[0], other) for other in maps)
    ### END SOLUTION


check.answers_for_no_class(answers_for_no_class)


# %% tags=["wrong"]
def two_classes_are_enough(explain, model, image, classes):
    first, second = (explain(model, image, torch.tensor([c])) for c in (0, 1))
    return torch.equal(first, second)


check.answers_for_no_class(two_classes_are_enough)


# %% tags=["wrong"]
def almost_the_same(explain, model, image, classes):
    maps = [explain(model, image, torch.tensor([c])) for c in range(classes)]
    return all(torch.allclose(maps[0], other, atol=0.01) for other in maps)


check.answers_for_no_class(almost_the_same)


# %% tags=["wrong"]
def same_hottest_pixel(explain, model, image, classes):
    maps = [explain(model, image, torch.tensor([c])) for c in range(classes)]
    return len({heat.argmax().item() for heat in maps}) == 1


check.answers_for_no_class(same_hottest_pixel)


# %% tags=["wrong"]
def the_other_way_round(explain, model, image, classes):
    maps = [explain(model, image, torch.tensor([c])) for c in range(classes)]
    return any(not torch.equal(maps[0], other) for other in maps)


check.answers_for_no_class(the_other_way_round)

# %% [markdown]
# ## 5. Why did it say that?
#
# *17 minutes, open.* Here is a scene that the lesson's network gets wrong: it tells the colour of the boxed stickers. Each
# method is asked twice: for the class that the network named, and for the true one.

# %%
model = models.load("vit_colour")
generator = torch.Generator().manual_seed(910)
data = PlantedScenes(1000, generator=generator, evidence="colour")
scenes = data.batch(torch.arange(len(data)))
with torch.no_grad():
    p = model(scenes.images).softmax(1)
named = p.argmax(1)
mistakes = (named != scenes.labels).nonzero()[:, 0]
i = mistakes[p[mistakes].amax(1).argmax()].item()  # the one it is surest of
asked = {"named": named[[i]], "true": scenes.labels[[i]]}
image, evidence = scenes.images[[i]], scenes.evidence[[i]]
methods = {
    "rollout": rollout,
    "TIBAV": tibav,
    "HiRes-CAM": lambda *given: cam(*given, layer="blocks.3.norm1", weights=hirescam),
}
maps = {
    name: [explain(model, image, target) for target in asked.values()]
    for name, explain in methods.items()
}

# %%
titles = [f"{who}: {data.class_names[c]} ({p[i, c].item():.2f})" for who, c in asked.items()]
plot.gallery(
    image.expand(6, -1, -1, -1),
    [maps[name][turn][0] for turn in (0, 1) for name in methods],
    columns=3,
    titles=list(methods) * 2,
    row_titles=titles,
    boxes=[scenes.boxes[i]] * 6,
    opacity=0.6,
    alt=f"Maps by {', '.join(methods)} of one scene: above for {titles[0]}, below for {titles[1]}.",
)

# %%
table = {}
for name, (for_named, for_true) in maps.items():
    on_evidence = [(100 * (S * evidence).sum() / S.sum()).item() for S in (for_named, for_true)]
    alike = correlation(for_named, for_true).item()
    table[name] = [*on_evidence, alike]
columns = ["on evidence, named (%)", "on evidence, true (%)", "correlation of the two"]
print(f"the evidence covers {100 * evidence.float().mean():.0f} % of the scene")
DataFrame.from_dict(table, "index", columns=columns).round(2)

# %% [markdown]
# A colleague writes: *"The rollout map shows that the network looked at the right sticker and recognised it wrongly."* Judge this
# sentence in at most 150 words. Use at least two numbers of the table; say which of the three maps can speak about the *named*
# class at all, and what even that map leaves open; and propose **one experiment without any heat map** that could show the
# colleague to be wrong. Say beforehand which outcome would do so. Then run it. (`data.batch([i], labels=...)` draws
# the same scene with another colour on the evidence; or paint over something.)

# %% tags=["solution"]
no_evidence = image.where(~evidence, image.mean((2, 3), keepdim=True))
redrawn = data.batch([i] * 5, labels=torch.arange(5))
with torch.no_grad():
    answers = model(torch.cat([image, no_evidence, redrawn.images])).softmax(1)
experiment = ["as it is", "evidence painted over"]
experiment += [f"redrawn as {name}" for name in data.class_names]
DataFrame(answers, index=experiment, columns=data.class_names).round(2)

# %% [markdown] tags=["solution"]
# **Rubric**, one point each:
#
# - *Rollout is ruled out for the right reason.* Its two maps are equal (correlation 1, the same share on the evidence): it is made
#   without the class, so it cannot tell why the network said one name and not the other. "Looked at" may be
#   true; "recognised wrongly" does not follow.
# - *Numbers are compared with something*: the share on the evidence with the share of the picture that the evidence covers, and the map
#   of the named class with that of the true one.
# - *A limit of the class-specific maps is named.* They say where a slope is large, and not whether the colour was misread or
#   another sticker was taken for the answer; and the lesson measured how often each method misses.
# - *An experiment that could fail, with the outcome said before.* "If the network misread the boxed sticker, then its answer must
#   change when the sticker is painted over or redrawn. If it goes on naming the same class, the answer came from elsewhere, and the
#   colleague is wrong." (The lesson found that one answer is the network's default; painting over alone does not tell.)
#
# A good answer: *The sentence claims more than the figure shows. Rollout gives the same map for the named and the true class (correlation 1.00), so it
# cannot explain a choice between them. Only TIBAV and HiRes-CAM can speak about the named class, and they say where, not
# what. I redraw the evidence in each of the five colours and paint it over once. Should the network name the same
# class every time, then the evidence did not decide, and your sentence is wrong; should it follow the redrawn colour, you are
# right that it was this sticker.*
#
# What came out is neither of the two. Painted over, or redrawn in red, the scene stays *blue*; redrawn in green it is named
# rightly, and in yellow it is called green. (Violet is the scene as it is, and blue agrees with the answer anyway.) So the network
# can read this sticker, in some colours. In violet it found nothing that it knew and said its default, as it does with the sticker
# painted over: "recognised wrongly" is too much, for it was not recognised at all.

# %% tags=["solution", "remove-cell"]
best = answers.argmax(1)
assert best[1] == best[0] == named[i] and (best[2:] != named[i]).nonzero()[:, 0].tolist() == [2, 3]
