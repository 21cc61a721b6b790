"""Checks of lesson 01: votes and angles that can be counted on fingers, and pictures that HOG cannot tell apart."""

import torch

from xailib.checks import Checks, NotYet

check = Checks()


@check(
    hints=[
        "Find the positions of the k smallest distances, look up their labels, and count.",
        "`distances.topk(k, largest=False).indices` gives the positions; without `largest=False` you get the farthest.",
        "`labels[nearest].bincount().argmax()` is the label that occurs most often.",
    ]
)
def vote(answer):
    for distances, labels, k, expected, hint in (
        ([0.1, 0.5, 0.2, 0.3, 0.9], [2, 0, 1, 1, 0], 3, 1, "The three nearest have labels 2, 1 and 1."),
        ([0.1, 0.5, 0.2, 0.3, 0.9], [2, 0, 1, 1, 0], 1, 2, "With k = 1 only the image at distance 0.1 votes."),
        ([0.4, 0.1, 0.2, 0.3, 0.05], [5, 0, 5, 0, 5], 3, 5, "Labels are names: count them, do not average them."),
    ):
        found = int(answer(torch.tensor(distances), torch.tensor(labels), k))
        if found != expected:
            where = f"distances {distances}, labels {labels}, k = {k}"
            raise NotYet(f"expected class {expected} for {where}, found {found}.", hint=hint)


@check(
    hints=[
        "`math.atan2(dy, dx)` gives the angle in radians, from -pi to pi; y comes first.",
        "Opposite gradients count as one: take the angle in degrees `% 180`.",
        "Nine bins of 20 degrees: the number of the bin is how often 20 fits in, `int(angle // 20)`.",
    ]
)
def orientation(answer):
    for (dx, dy), expected, hint in (
        ((1, 0), 0, "A gradient along x has the angle 0. Is dy the first argument of atan2?"),
        ((0, 1), 4, "90 degrees lie in the fifth bin, from 80 to 100 degrees, whose number is 4."),
        ((-1, 1), 6, "135 degrees: 20 fits in 6 times. Round down, not to the nearest."),
        ((1, -1), 6, "-45 degrees points opposite to 135 degrees, and so counts as the same."),
        ((-1, 0), 0, "180 degrees points opposite to 0 degrees, and so counts as the same."),
        ((-1, -1), 2, "225 degrees points opposite to 45 degrees, and so counts as the same."),
    ):
        found = int(answer(float(dx), float(dy)))
        if found != expected:
            raise NotYet(f"expected bin {expected} for dx = {dx}, dy = {dy}, found {found}.", hint=hint)


@check(
    hints=[
        "Three steps, in this order: to length 1, cut at 0.2, to length 1 again.",
        "The length is `v.norm()`, the root of the sum of squares; `v.clamp(max=0.2)` cuts.",
        "A block of zeros has no length: add something tiny, such as 1e-5, before you divide.",
    ]
)
def block(answer):
    tall = torch.tensor([5.0] + [1.0] * 24)  # of length 7; after the cut 0.2 and 24 times 1/7
    for v, expected, hint in (
        (
            torch.tensor([3.0, 4.0]),
            torch.tensor([0.7071, 0.7071]),
            "(0.6, 0.8), cut to (0.2, 0.2), and back to length 1.",
        ),
        (tall, torch.tensor([0.2748] + [0.1963] * 24), "Only the 5, which becomes 5/7, is cut; 1/7 is below 0.2."),
        (
            100 * tall,
            torch.tensor([0.2748] + [0.1963] * 24),
            "The cut comes after the first normalisation, not before.",
        ),
        (torch.zeros(4), torch.zeros(4), "A block without edges stays zero; 0 / 0 is not a number."),
    ):
        found = answer(v.clone())
        if not isinstance(found, torch.Tensor) or found.shape != v.shape:
            raise NotYet(f"expected a tensor of {len(v)} numbers, found {found!r}.", hint="Return the block itself.")
        if not torch.allclose(found, expected, atol=1e-3):
            first, wanted = ([round(x, 3) for x in values[:3].tolist()] for values in (found, expected))
            raise NotYet(f"expected {wanted} as the first numbers for {v[:3].tolist()}, found {first}.", hint=hint)


@check(
    hints=[
        "What does HOG not look at? Go through its four beliefs; two or three of them offer a way.",
        "Exchange light and dark, exchange colours, or change the contrast. Each is one line.",
        "Pixels must stay in [0, 1]: the negative of x is 1 - x.",
    ]
)
def twin(answer):
    from xailib.models.classical import hog

    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 257, (3, 32, 32), generator=generator) / 256  # the negative has no rounding error
    found = answer(image.clone())
    if not isinstance(found, torch.Tensor) or found.shape != image.shape:
        raise NotYet(f"expected an image [3 32 32], found {getattr(found, 'shape', found)!r}.", hint="Keep the shape.")
    if not (found.min() >= 0 and found.max() <= 1):
        raise NotYet(f"pixels go from {found.min():.2f} to {found.max():.2f}.", hint="They must stay in [0, 1].")
    different = (found - image).abs().mean().item()
    if different < 0.1:
        raise NotYet(
            f"the two pictures differ by {different:.2f} on average, and should by 0.1.", hint="Change more than that."
        )
    described = abs(hog(found[None]) - hog(image[None])).max()
    if not described <= 1e-2:
        raise NotYet(
            f"HOG notices: one of its features changes by {described:.2f}.",
            hint="Edges must stay where they are, with their angle; clipping at 0 or 1 destroys some.",
        )
