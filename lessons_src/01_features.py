# %% [markdown]
# # Why let a network find its own features?
#
# | | |
# |---|---|
# | You will | recognise pictures without a network: from pixels, then from HOG, built by hand; measure where that stops getting better; build a case that HOG cannot see; and find out what a picture of features does not tell |
# | You need | lesson 00; what a derivative and a histogram are |
# | Minutes | 75 |
# | Run time | quick 40 s · laptop 5 min · full 40 min |
# | Memory | 3 GB |
# | Data | Fashion-MNIST where it is installed, else planted scenes; photographs of the course |
# | Network | no |
#
# Before 2012, recognising a picture took two steps made by two kinds of people: experts wrote down what to measure in a
# picture, its **features**, and a learning machine found out how to tell classes apart by them. Today one network does
# both. This lesson goes the old way first. It is the best way to see what the new one gains, and what it costs you:
# features that somebody wrote down need no explanation.

# %% [markdown]
# ## What a classifier sees
#
# A classifier sees numbers. The simplest one learns nothing at all: it keeps the training images, and gives a new
# image the class that most of its **k nearest neighbours** have (k-NN; Cover and Hart, 1967). "Near" is the Euclidean
# distance between all pixels.

# %%
from dataclasses import dataclass

import pandas as pd
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from xailib import data, models, plot
from xailib.course import choose, device, save_results
from xailib.data import PlantedScenes, photos


# %%
@dataclass(frozen=True)
class Config:
    counts: tuple = choose(
        quick=(100, 300, 1000),
        laptop=(100, 300, 1000, 3000, 10_000),
        full=(100, 300, 1000, 3000, 10_000, 30_000, 60_000),
    )
    passes: int = choose(quick=5, laptop=12, full=20)  # of the network over the training images
    test: int = choose(quick=300, laptop=1000, full=10_000)
    scenes: int = choose(quick=512, laptop=2000, full=8000)


config = Config()

# %% [markdown]
# Fashion-MNIST (Xiao et al., 2017) has grey pictures of clothes, 28 pixels wide, in ten classes. Where its files are not
# on your computer, planted scenes with stickers of five textures take their place. The cell says which; what the text says
# of clothes need not hold for your figures then.


# %%
def fashion(split, count):
    return next(iter(DataLoader(data.fashion_mnist(split=split), count)))


def scenes(split, count, evidence="texture", **options):
    generator = torch.Generator().manual_seed(["train", "test"].index(split))
    options = {"size": 40, "generator": generator} | options
    return PlantedScenes(count, evidence=evidence, **options).batch(torch.arange(count))


# %%
try:
    class_names = data.fashion_mnist(split="test").class_names
    load, source = fashion, "Fashion-MNIST"
except FileNotFoundError:
    class_names = ["stripes", "dots", "checks", "waves", "rings"]
    load, source = scenes, "planted scenes"
train, test = load("train", max(config.counts)), load("test", config.test)
print(f"{source}: {len(train.labels)} images to learn from, {len(test.labels)} to test")

# %% [markdown]
# By hand, with the first 500 training images: all distances, the five nearest, one vote each.

# %%
images, labels = train.images[:500], train.labels[:500]
distances = torch.cdist(test.images.flatten(1), images.flatten(1))  # [test 500]
nearest = distances.topk(5, largest=False).indices  # [test 5]
votes = F.one_hot(labels[nearest], len(class_names)).sum(1)  # [test classes]
by_hand = votes.argmax(1)
print(f"right: {(by_hand == test.labels).float().mean():.1%}")

# %% [markdown]
# **Predict**: among the pictures that are taken for another class, will the neighbours look absurd, or will you
# understand the mistake?

# %%
right = by_hand == test.labels
queries = torch.cat([right.nonzero()[:2, 0], (~right).nonzero()[:2, 0]]).tolist()
plot.gallery(
    torch.cat([torch.cat([test.images[[i]], images[nearest[i]]]) for i in queries]),
    columns=6,
    titles=[
        title
        for i in queries
        for title in (
            f"? {class_names[test.labels[i]]}",
            *(class_names[c] for c in labels[nearest[i]]),
        )
    ],
    row_titles=["right", "right", "wrong", "wrong"],
    alt="Four rows: a test image, marked with a question mark, and its five nearest training images. "
    "The neighbours have much the same outline and brightness, in the lower two rows of other classes too.",
)

# %% [markdown]
# The mistakes are sensible: where a shirt and a coat fill the same pixels, they *are* near. And every decision comes with
# the best explanation one could wish for: these five pictures, nothing else. The library's `nearest_neighbours` is
# scikit-learn's; both agree.

# %%
from xailib.models.classical import hog, hog_svm, nearest_neighbours

knn = nearest_neighbours(5).fit(images, labels)
agree = (torch.tensor(knn.predict(test.images)) == by_hand).float().mean()
means = torch.stack([images[labels == c].mean(0) for c in range(len(class_names))])
centroid = torch.cdist(test.images.flatten(1), means.flatten(1)).argmin(1)
print(f"library and hand agree on {agree:.1%} of the test images")
print(f"5 nearest images: {right.float().mean():.1%}")
print(f"nearest mean of a class: {(centroid == test.labels).float().mean():.1%}")

# %% tags=["test", "remove-cell"]
assert agree > 0.995  # two neighbours can be equally far

# %% [markdown]
# The last line is another method, because the thesis (section 1.2.1) describes k-NN as choosing the nearest *centroid*
# of a class. That is the nearest-mean classifier. It keeps one average picture per class, and is a different one: the k
# of k-NN counts neighbours, not classes.
#
# What is wrong with pixels? Move a boot by two pixels and you see the same boot, but nearly every one of its numbers is
# another. We shall measure how much that costs, as soon as we have something to compare it with.

# %% [markdown]
# ## HOG by hand
#
# **Histograms of oriented gradients** (Dalal and Triggs, CVPR 2005) were made to find pedestrians, and were for years what one
# put in front of a classifier. They write down four beliefs about what matters in a picture.
#
# 1. *Edges matter, brightness does not.* Take the difference of a pixel's two neighbours along x and along y: the
#    **gradient**. Of the three colours, keep the one where it is longest.
# 2. *The direction of an edge matters, which side is light does not.* Angles run from 0 to 180 degrees: opposite
#    gradients count as one.


# %%
def gradient(image):
    dx = F.pad(image[:, :, 2:] - image[:, :, :-2], (1, 1))
    dy = F.pad(image[:, 2:] - image[:, :-2], (0, 0, 1, 1))
    length, colour = dx.hypot(dy).max(0)
    angle = torch.rad2deg(torch.atan2(dy, dx)) % 180
    return length, angle.gather(0, colour[None])[0]


photo = photos.load("coffee")
length, angle = gradient(photo.image)

# %% [markdown]
# 3. *Where exactly does not matter.* Cut the picture into **cells** of 8 x 8 pixels. In each, add up the lengths of the
#    gradients in a histogram of nine orientations, 20 degrees each.


# %%
def histograms(image, cell=8, orientations=9):
    length, angle = gradient(image)
    place = (angle * orientations / 180).long().clamp(max=orientations - 1)
    votes = F.one_hot(place, orientations) * length[..., None]
    return F.avg_pool2d(votes.movedim(2, 0), cell).movedim(0, 2)


cells = histograms(photo.image.double())  # [28 28 9]

# %% [markdown]
# 4. *Contrast does not matter.* Join 2 x 2 cells to a **block** of 36 numbers and bring it to length 1; cut what exceeds
#    0.2, so that no single edge decides; and bring it to length 1 again. Blocks overlap, so each cell is counted up to four
#    times, each time against other neighbours.


# %%
def unit(blocks):
    return blocks / (blocks.square().sum(-1, keepdim=True) + 1e-10).sqrt()


def normalized(cells, block=2):
    blocks = cells.unfold(0, block, 1).unfold(1, block, 1).movedim(2, 4)
    return unit(unit(blocks.flatten(2)).clamp(max=0.2)).view(blocks.shape)


blocks = normalized(cells)  # [27 27 2 2 9]

# %% [markdown]
# That is all of HOG: four functions of two to five lines. [The library](../xailib/models/classical.py) calls scikit-image, and both must give
# the same 26 244 numbers.

# %%
features = torch.from_numpy(hog(photo.image[None]))
torch.testing.assert_close(blocks.flatten()[None], features.double(), atol=1e-4, rtol=0)
print(f"{photo.image.numel()} pixel values, {features.numel()} features")

# %% [markdown]
# (Dalal and Triggs share each vote among neighbouring cells and orientations, so that nothing jumps when an edge moves by
# a pixel. scikit-image, and so we, put it into one.)
#
# To draw HOG, let each cell draw a short line for each orientation, *along* the edge, that is across the gradient, as
# bright as its number. **Predict**: would you recognise a cup of coffee in such a drawing?


# %%
def drawing(cells, side=16):
    line = torch.arange(side) - (side - 1) / 2
    angle = (torch.arange(cells.shape[2]) + 0.5) * torch.pi / cells.shape[2]
    away = line * angle.cos()[:, None, None] + line[:, None] * angle.sin()[:, None, None]
    strokes = (1 - away.abs()).clamp(min=0)  # [orientations side side]
    picture = torch.einsum("rco,oyx->rycx", cells.float(), strokes).flatten(2).flatten(0, 1)
    return (picture / picture.quantile(0.995)).clamp(max=1)[None]


# %%
plot.gallery(
    [photo.image, length[None] / length.max(), drawing(cells), drawing(blocks[:, :, 0, 0])],
    titles=["photograph", "length of the gradient", "28 x 28 histograms", "after normalisation"],
    alt="A cup of coffee; bright outlines of cup, saucer and spoon; the same outlines in short strokes; and after "
    "normalisation strokes all over the picture, the grain of the wood as bright as the cup.",
)

# %% [markdown]
# Most people recognise the cup in the third picture, the kind that is usually shown. But no classifier ever gets it.
# What a classifier gets is the fourth: there, contrast is gone, and the grain of the wood is as loud as the rim of the
# cup.

# %% [markdown]
# ## A plane between classes
#
# The second half of the old recipe is a **linear support vector machine** (Cortes and Vapnik, 1995). For each class it
# has weights $w_c$ and a bias $b_c$, and its score is as plain as can be, where $x$ are the features, each brought to mean 0 and
# deviation 1:
#
# $$y_c = b_c + w_c \cdot x .$$
#
# It is trained with the target $t = 1$ for images of the class and $-1$ for all others, to make small
#
# $$\tfrac{1}{2} \lVert w_c \rVert^2 + C \sum_i \max(0, 1 - t_i \, y_{c,i})^2 .$$
#
# Scores should be beyond 1 on the right side, with weights that are short; $C$ says which matters more.

# %%
svm = hog_svm(cell=4).fit(images, labels)
describe, scaler, machine = svm.named_steps.values()
x = torch.from_numpy(scaler.transform(describe.transform(test.images))).double()
W, b = (torch.from_numpy(part).double() for part in (machine.coef_, machine.intercept_))
scores = b + x @ W.T
judged = torch.from_numpy(svm.decision_function(test.images)).double()
torch.testing.assert_close(scores, judged, atol=1e-4, rtol=0)
print(f"HOG and SVM: {(scores.argmax(1) == test.labels).float().mean():.1%} right")

# %% [markdown]
# Now the question from above: the test images, moved to the right by a few pixels. **Predict** both lines.

# %%
steps = [0, 1, 2, 3, 4]
moved = [F.pad(test.images[:300], (step, -step, 0, 0)) for step in steps]
robust = {
    "5-NN on pixels": [100 * knn.score(shifted, test.labels[:300]) for shifted in moved],
    "HOG and SVM": [100 * svm.score(shifted, test.labels[:300]) for shifted in moved],
}
plot.curve(
    steps,
    robust,
    xlabel="moved to the right by (pixels)",
    ylabel="right (%)",
    alt="Accuracy over the shift, for two methods: "
    + "; ".join(f"{name} from {line[0]:.0f} to {line[-1]:.0f} %" for name, line in robust.items()),
)

# %% [markdown]
# HOG loses less while the clothes move by little compared with its cells, which are 4 pixels wide here: that is its third
# belief at work. Moved by a whole cell, its advantage is gone, for then every weight meets what its neighbour should have met.
#
# ## Where it stops getting better
#
# Both methods, and a small convolutional network that gets nothing but pixels (lesson 02 takes such a network apart),
# with more and more training images. **Predict**: which is best with 100 images? Which line is the first to become flat?

# %%
from xailib.models import SmallCNN
from xailib.training import Recipe, evaluate, fit


def trained_network(images, labels, passes):
    _ = torch.manual_seed(0)
    network, both = SmallCNN(int(labels.max()) + 1, widths=(8, 16, 32)), (images, labels)
    recipe = Recipe(
        epochs=passes, batch=32, optimizer="adamw", lr=1e-2, schedule="cosine", warmup=0.5
    )
    few = TensorDataset(images[:64], labels[:64])  # only to watch; nothing is decided by it
    fit(network.to(device()), TensorDataset(*both), few, recipe=recipe, progress=False)
    return network.cpu()


# %%
curves = {}
for count in config.counts:
    some = train.images[:count], train.labels[:count]
    passes = max(config.passes, 3000 // count)  # enough steps for small sets, too
    network = trained_network(*some, passes)
    curves[count] = {
        "5-NN on pixels": 100 * nearest_neighbours(5).fit(*some).score(test.images, test.labels),
        "HOG and SVM": 100 * hog_svm(cell=4).fit(*some).score(test.images, test.labels),
        "small CNN": 100 * evaluate(network, TensorDataset(test.images, test.labels)).accuracy,
    }
curves = pd.DataFrame(curves).T.rename_axis("training images").round(1)
save_results("learning_curves", curves, seed=0, data=source)
curves

# %%
figure = plot.curve(
    curves.index.to_list(),
    {name: curves[name].to_list() for name in curves},
    title=source,
    xlabel="training images",
    ylabel="right (%)",
    alt="Accuracy over the number of training images, on a logarithmic axis: "
    + "; ".join(
        f"{name} from {curves[name].iloc[0]:.0f} to {curves[name].iloc[-1]:.0f} %"
        for name in curves
    ),
)
figure.axes[0].set_xscale("log")
figure

# %% [markdown]
# With few images HOG is ahead: its four beliefs are knowledge that the network still has to learn. With more images the
# network gains more. This is the whole argument. A fixed description throws the same things away however many images
# you have, so the classifier behind it runs out of things to learn; a network changes the description itself. Where the
# lines cross depends on the data; `laptop` runs to 10 000 images, and
# [its table](../results/learning_curves.csv) is in the repository.
#
# The same was seen on a large scale. In the ImageNet challenge (Russakovsky et al., IJCV 2015), the best entries had
# these errors among their five best guesses:
#
# | year | features | top-5 error |
# |---|---|---|
# | 2010 | made by hand | 28 % |
# | 2011 | made by hand | 26 % |
# | 2012, second place | made by hand | 26.2 % |
# | 2012, winner | learned: AlexNet (Krizhevsky et al., NeurIPS 2012) | 15.3 % |
#
# HOG itself had done nearly perfectly on the first set of pedestrians it was tried on, which made its authors collect a
# harder one; on harder ones it fell behind (Dollár et al., PAMI 2012, whom the thesis cites for it).

# %% tags=["test", "remove-cell"]
first, last = curves.iloc[0], curves.iloc[-1]
gain = last - first
assert gain["small CNN"] > gain["HOG and SVM"] > 0
if source == "Fashion-MNIST":
    assert first["HOG and SVM"] > first[["5-NN on pixels", "small CNN"]].max()
    assert last["HOG and SVM"] > last["5-NN on pixels"]
    assert last["small CNN"] > last["HOG and SVM"] or config.counts[-1] < 10_000
    assert robust["HOG and SVM"][2] - robust["5-NN on pixels"][2] > 2
    assert robust["HOG and SVM"][4] - robust["5-NN on pixels"][4] < 2

# %% [markdown]
# ## What HOG cannot see
#
# "Throws the same things away" can be proved. Turn a photograph into its negative: every gradient points the other way,
# which HOG does not look at. Exchange red and blue: the longest gradient of the three colours stays the longest. **All
# three pictures have the same 26 244 features.** Predict what the ImageNet network makes of each.

# %%
model = models.load("efficientnet_lite0")
imagenet_names = models.class_names()
two = torch.stack([photo.image, photos.load("motorcycle").image])
twins = torch.stack([two, 1 - two, two[:, [2, 1, 0]]], 1).flatten(0, 1)
described = torch.from_numpy(hog(twins)).view(2, 3, -1)
difference = (described - described[:, :1]).abs().max()
print(
    f"largest difference between the features of a picture and those of its twins: {difference:.0e}"
)

# %%
with torch.no_grad():
    probabilities, guesses = model(twins).softmax(1).max(1)
titles = [f"{imagenet_names[c]}: {p:.2f}" for c, p in zip(guesses, probabilities, strict=True)]
plot.gallery(
    twins,
    columns=3,
    titles=titles,
    alt="A cup of coffee and a motorcycle, each as it is, as a negative, and with red and blue "
    f"exchanged. The network says: {'; '.join(titles)}.",
)

# %% [markdown]
# No classifier behind HOG, however clever and however long it is trained, can tell the three apart. The network can. For the
# cup it gives nearly the same answer to all of them; for the motorcycle, red or blue decides the name. Seeing a difference
# and using it are two things, and only an experiment tells which it is.

# %% tags=["test", "remove-cell"]
assert difference < 1e-4
assert len(set(guesses[:3].tolist())) == 1
assert guesses[3] == guesses[4] != guesses[5]

# %% [markdown]
# Is it bad not to see colour? That depends on the task. In planted scenes we choose what the class is: the **colour** of the
# boxed stickers (red or blue) or their **texture** (stripes or dots). Everything else is random. **Predict** the table, in
# which 50 % is chance.

# %%
table = {}
for cue in ("colour", "texture"):
    learn = scenes("train", config.scenes, cue, classes=2)
    judge = scenes("test", 400, cue, classes=2)
    network = trained_network(learn.images, learn.labels, config.passes)
    some = learn.images, learn.labels
    table[cue] = {
        "5-NN on pixels": 100 * nearest_neighbours(5).fit(*some).score(judge.images, judge.labels),
        "HOG and SVM": 100 * hog_svm().fit(*some).score(judge.images, judge.labels),
        "small CNN": 100 * evaluate(network, TensorDataset(judge.images, judge.labels)).accuracy,
    }
pd.DataFrame(table).round(1)

# %%
shown = scenes("test", 4, "colour", classes=2, size=64)
plot.gallery(
    shown.images,
    boxes=shown.boxes,
    titles=[("red", "blue")[c] for c in shown.labels],
    alt="Four landscapes with stickers; boxes mark those whose colour, red or blue, is the class.",
)

# %% [markdown]
# Colour is easy for the network and a coin toss for HOG, and here we know why: the task was built so. Pixels hold the colour,
# but 5-NN can hardly use it: the stickers lie anywhere, and two scenes are near when their *landscapes* are alike. Texture HOG sees in
# part. Its linear machine has weights at each place, and must learn stripes anew wherever they can lie; a convolution
# looks for the same pattern everywhere.
#
# Ignorance has a good side. Of a HOG classifier you know, without any heat map, that it did not decide by colour. Of a network you
# know nothing of the kind beforehand. The exercise makes use of this.

# %% tags=["test", "remove-cell"]
blind = pd.DataFrame(table)
assert 40 < blind.loc["HOG and SVM", "colour"] < 60 and blind.loc["small CNN", "colour"] > 95
assert 55 < blind.loc["HOG and SVM", "texture"] < blind.loc["small CNN", "texture"]
assert blind.loc["5-NN on pixels"].max() < 70

# %% [markdown]
# ## What learned features look like
#
# The first layer of the ImageNet network has 32 filters of 3 x 3 pixels and three colours, which are slid over the picture like
# HOG's differences. Nobody wrote them down. **Predict** what you will see: HOG's filters, or something else?
#
# Sorted by how much of a filter is grey, that is, the same for red, green and blue:

# %%
filters = model.net.conv_stem.weight.detach()  # [32 3 3 3]
grey = filters.mean(1, keepdim=True).expand_as(filters)
share = grey.square().sum((1, 2, 3)) / filters.square().sum((1, 2, 3))
order = share.argsort(descending=True)
shown = 0.5 + filters / (2 * filters.abs().amax((1, 2, 3), keepdim=True))
plot.gallery(
    shown[order],
    columns=8,
    titles=[f"{part:.0%} grey" for part in share[order]],
    alt="32 filters of 3 x 3 pixels: the first are grey edges and spots, the last are patches of "
    f"colour. {(share < 0.5).sum()} of them are less than half grey.",
)

# %% [markdown]
# HOG applies one and the same difference to each colour; it never weighs one colour against another. Only the first rows come close: dark beside light, rough edges and spots. Many
# filters do, and those of the last row just measure a colour, which HOG's designers had
# decided to leave out.
#
# One can look at the first layer, for its filters work on pixels. The features that the classifier gets are 1280 averages, dozens
# of layers further up, and no picture of weights shows what these are. But one can *use* them. If they describe pictures well in
# general, they should serve for a question that the network was never asked: **from which of ten photographs is this piece?**
# The pieces to learn from are all from the left halves, those to test from the right halves: not a pixel in common.


# %%
def pieces(half):
    halves = [photos.load(name).image.chunk(2, 2)[half] for name in photos.names()]
    cut = [part.unfold(1, 80, 36).unfold(2, 80, 16).movedim(0, 2).flatten(0, 1) for part in halves]
    return torch.cat(cut), torch.arange(len(cut)).repeat_interleave(len(cut[0]))


@torch.no_grad()
def learned(images):
    A = model.net.forward_features((images - model.mean) / model.std)
    return model.net.forward_head(A, pre_logits=True).numpy()  # [b 1280]


# %%
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

(left, left_number), (right_pieces, right_number) = pieces(0), pieces(1)
described = {
    "pixels": (left.flatten(1).numpy(), right_pieces.flatten(1).numpy()),
    "HOG": (hog(left), hog(right_pieces)),
    "learned": (learned(left), learned(right_pieces)),
}
probes = {}
for name, (known, asked) in described.items():
    near = KNeighborsClassifier(5).fit(known, left_number)
    linear = make_pipeline(StandardScaler(), RidgeClassifier(100)).fit(known, left_number)
    probes[name] = {
        "5-NN": 100 * near.score(asked, right_number),
        "linear": 100 * linear.score(asked, right_number),
    }
print(f"{len(left)} pieces to learn from, {len(right_pieces)} to test; chance is 10 %")
pd.DataFrame(probes).T.round(1)

# %% [markdown]
# A simple classifier on fixed learned features is called a **linear probe**; it measures how far the features have already
# sorted the pictures. The neighbours of two pieces by each description:

# %%
chosen = [15 * photos.names().index(name) + 7 for name in ("coffee", "chelsea")]  # 15 pieces each
rows = []
for known, asked in described.values():
    far = torch.cdist(torch.from_numpy(asked[chosen]), torch.from_numpy(known))
    rows.append(far.topk(3, largest=False).indices)
plot.gallery(
    torch.cat(
        [
            torch.cat([right_pieces[[i]], left[near[k]]])
            for near in rows
            for k, i in enumerate(chosen)
        ]
    ),
    columns=8,
    row_titles=list(described),
    titles=["? coffee", "", "", "", "? chelsea", "", "", ""] * 3,
    alt="Two pieces, of the cup and of the cat, each with its three nearest pieces by pixels, HOG and learned features.",
)

# %% [markdown]
# Pixels compare average colours. Look at the row of HOG: whatever the piece, its neighbours are the blank wall around the clock. A
# blank piece has a little noise in *all* directions, and after normalisation that is as strong as any edge; so it lies in the
# middle of all descriptions, near to everything. By learned features, the cup's neighbours are cups and the eye's are eyes,
# though the network was trained for neither question.

# %% tags=["test", "remove-cell"]
scored = pd.DataFrame(probes).T
assert (scored.loc["learned"] > scored.drop("learned").max() + 20).all()
number = photos.names().index
assert (left_number[rows[1]] == number("clock")).all()
assert left_number[rows[2]].tolist() == [[number("coffee")] * 3, [number("chelsea")] * 3]

# %% [markdown]
# ## Where it misleads: a picture of the features is an explanation
#
# The drawing of HOG above showed a cup. It is tempting to print it under the title "what the classifier saw". Let us do that for
# an SVM on three classes. Beside the drawing we put what a linear score allows: each feature's **contribution** $w_{ck} x_k$, added
# up over the features of each cell. Together with the bias they *are* the score (lesson 05 does the same with a network's last
# layer). **Predict**: for which of the three classes does the drawing speak?

# %%
i = right.nonzero()[0].item()  # a test image that is recognised
ranked = scores[i].argsort(descending=True)[[0, 1, -1]].tolist()
parts = (W[ranked] * x[i]).view(3, -1, 4, 9).sum(3)  # [classes blocks cells-of-a-block]
side = test.images.shape[2] // 4
cell_sums = F.fold(parts.mT, (side, side), kernel_size=2)[:, 0]  # overlapping blocks added up
torch.testing.assert_close(cell_sums.sum((1, 2)) + b[ranked], scores[i, ranked])

# %%
picture = drawing(histograms(test.images[i], cell=4))
plot.gallery(
    [test.images[i], *[picture] * 3, test.images[i], *[test.images[i]] * 3],
    [None] * 5 + list(cell_sums.float()),
    columns=4,
    limits="shared",
    titles=["the picture", *(f"HOG for {class_names[c]}?" for c in ranked), ""]
    + [f"score {scores[i, c]:.1f}" for c in ranked],
    row_titles=["drawing", "contributions"],
    alt=f"Above, one drawing of HOG, three times the same. Below, contributions by cell for {', '.join(class_names[c] for c in ranked)}: "
    "three different maps of red and blue cells.",
)

# %% [markdown]
# The drawing is the same for the best class and for the worst: it looks like the object because it was drawn from the object,
# and so it looks like a reason for anything. It shows what was on offer, not what was used. The contributions differ from class to
# class, and not only edges count: $x$ is 0 for an average picture, so an empty cell speaks, too, where most pictures are not empty. Three questions take such a picture apart, whether it shows HOG, filters or
# activations:
#
# - **Does it depend on the class?** The drawing does not; the contributions do.
# - **Does it depend on the classifier?** Any other weights behind HOG have the same drawing.
# - **Does it even show what the classifier gets?** The usual drawing shows the histograms before normalisation; and the cup,
#   its negative and the blue cup share one.
#
# Vondrick et al. (ICCV 2013) turned this into a method: they drew photographs that have the same HOG as a false alarm of a
# detector. Through HOG's eyes, many false alarms *were* cars.

# %% tags=["test", "remove-cell"]
assert scores[i, ranked[0]] > scores[i, ranked[1]] > scores[i, ranked[2]]
alike = torch.corrcoef(cell_sums.flatten(1))
assert alike[0, 2] < 0.5

# %% [markdown]
# ## Explore: four beliefs
#
# Change the light of a photograph and see what its HOG makes of it. The number below compares the description with that of the
# unchanged photograph: 0 for the same, 1 for as far away as it is long.
#
# 1. Lower the contrast, without and with normalisation. What does normalisation buy, and what does it drag into the light?
# 2. Make the contrast negative. Who notices?
# 3. Brighten until parts of the picture are white. Why does HOG change now, although it is said not to see brightness?

# %%
from xailib.widgets import Explorer, choice, slider


def described_by(image, cell, orientations, block):
    cells = histograms(image, cell, orientations)
    return normalized(cells, block) if block else cells[:, :, None, None]


def compute(name, contrast, brightness, cell, orientations, block):
    image = photos.load(name).image
    changed = (0.5 + contrast * (image - 0.5) + brightness).clamp(0, 1)
    before, after = (described_by(one, cell, orientations, block) for one in (image, changed))
    return changed, after[:, :, 0, 0], ((after - before).norm() / before.norm()).item()


def draw(result, name):
    changed, cells, change = result
    title = f"HOG, changed by {change:.2f}"
    return plot.gallery(
        [changed, drawing(cells)], titles=[name, title], alt=f"{name} and a drawing of its {title}."
    )


# %%
explorer = Explorer(
    compute,
    draw,
    name=choice(photos.names(), "photograph"),
    contrast=slider(-1.0, 1.5, 1.0, 0.25, "contrast"),
    brightness=slider(-0.5, 0.5, 0.0, 0.1, "brightness"),
    cell=choice([4, 8, 16, 32], "cell, in pixels", 8),
    orientations=choice([4, 6, 9, 18], "orientations", 9),
    block=choice({"none": 0, "each cell": 1, "2 x 2 cells": 2, "3 x 3 cells": 3}, "normalise", 2),
)
explorer

# %% [markdown]
# Without normalisation, half the contrast halves every number, a change of 0.5; with it, nothing happens, except that noise in
# smooth places becomes as bright as edges. A negative contrast of $-1$ changes nothing either way. Brightness alone cancels in
# every difference, until pixels are clipped at white: there the edge itself is gone. No setting is right for all pictures.
# Each is a bet on what will not matter, made before the first picture was seen; a network makes its bets from the pictures.

# %% tags=["test", "remove-cell"]
explorer.set(contrast=0.5, block=0)
assert abs(explorer.result[2] - 0.5) < 1e-3
explorer.set(block=2)
assert explorer.result[2] < 0.02
explorer.set(contrast=-1.0)
assert explorer.result[2] < 1e-3
explorer.set(contrast=1.0, brightness=0.5)
assert explorer.result[2] > 0.1
explorer.set(brightness=0.0)

# %% [markdown]
# ## To remember
#
# 1. Features made by hand are **knowledge**: they win when images are few, and stop getting better when images are many.
# 2. What a description throws away, no classifier behind it can bring back. Sometimes that is a defect, sometimes a
#    **guarantee**.
# 3. A picture of features shows what was **on offer**. Ask whether it changes with the class and with the classifier.
#
# **Now you**: [the exercise of this lesson](../exercises/01_features.ipynb), 45 minutes.
#
# ## Further reading
#
# - N. Dalal and B. Triggs, *Histograms of oriented gradients for human detection*, CVPR 2005.
# - T. Cover and P. Hart, *Nearest neighbor pattern classification*, IEEE Transactions on Information Theory 13(1), 1967.
# - C. Cortes and V. Vapnik, *Support-vector networks*, Machine Learning 20, 1995.
# - P. Dollár, C. Wojek, B. Schiele and P. Perona, *Pedestrian detection: an evaluation of the state of the art*, PAMI 34(4), 2012.
# - A. Krizhevsky, I. Sutskever and G. Hinton, *ImageNet classification with deep convolutional neural networks*, NeurIPS 2012.
# - C. Vondrick, A. Khosla, T. Malisiewicz and A. Torralba, *HOGgles: visualizing object detection features*, ICCV 2013.
# - In the library: [HOG, SVM and neighbours](../xailib/models/classical.py), [the small network](../xailib/models/convnets.py) and
#   [the training loop](../xailib/training/fit.py).
