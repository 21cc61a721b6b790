"""Checks of lesson 02: sizes, fields and costs that are published or counted on fingers, and networks in two modes."""

import torch
from torch import Tensor, nn

from xailib.checks import Checks, NotYet

check = Checks()


@check(
    hints=[
        "Padding makes the line longer, on both sides. How far can the kernel then move, from its first place to its last?",
        "From its first place it can move by n + 2p - k pixels, in steps of s; a step that does not fit is not made.",
        "`(n + 2 * p - k) // s` steps, and the place where it started: plus 1.",
    ]
)
def cells(answer):
    for (n, k, s, p), expected, hint in (
        ((5, 3, 1, 0), 3, "On five pixels a kernel of three has three places: count them."),
        ((5, 3, 1, 1), 5, "With padding 1 there is one more pixel on the left and one more on the right: seven."),
        (
            (6, 3, 2, 0),
            2,
            "On six pixels, a kernel of three in steps of two starts at 0 and at 2; at 4 it would stick out.",
        ),
        ((224, 7, 2, 3), 112, "This is ResNet's first layer, which halves 224 pixels."),
        ((224, 11, 4, 2), 55, "This is AlexNet's first layer: 217 pixels to move, in steps of 4."),
    ):
        found = answer(n, k, s, p)
        if found != expected:
            raise NotYet(f"n = {n}, k = {k}, s = {s}, p = {p} gives {expected} cells, found {found!r}.", hint=hint)


VGG16 = [(3, 1), (3, 1), (2, 2)] * 2 + [(3, 1), (3, 1), (3, 1), (2, 2)] * 3  # to its last pooling


@check(
    hints=[
        "Start with r = 1 and j = 1: a pixel sees itself, and pixels are one pixel apart.",
        "A kernel of k cells covers k - 1 steps between cells. How long is a step? That is j, of the layer *below*.",
        "In each layer, in this order: `r = r + (k - 1) * j`, then `j = j * s`.",
    ]
)
def receptive_field(answer):
    for layers, expected, hint in (
        ([(3, 1)], (3, 1), "One 3 x 3 convolution sees three pixels; its cells are one pixel apart."),
        ([(3, 1), (3, 1)], (5, 1), "The second convolution adds one pixel on each side, not three."),
        ([(3, 2)], (3, 2), "A stride spreads the cells of *its own* output; its kernel still lies on neighbouring pixels."),
        ([(3, 2), (3, 1)], (7, 2), "Three cells, two pixels apart, of three pixels each: pixels 0 to 2, 2 to 4, 4 to 6."),
        ([(3, 1), (3, 2)], (5, 2), "Now the stride comes last, and spreads nothing that is read. The order matters."),
        ([(5, 1), (2, 2), (5, 1), (2, 2)], (16, 4), "LeNet: 5, then 6, then 6 + 4 * 2 = 14, then 14 + 2."),
        (VGG16, (212, 32), "VGG-16, up to its last pooling: 212 pixels, as published."),
    ):  # fmt: skip
        found = answer(list(layers))
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            raise NotYet(f"expected two numbers, r and j, found {found!r}.", hint="Return them as `r, j`.")
        if tuple(found) != expected:
            what = "VGG-16" if layers is VGG16 else f"layers {layers}"
            raise NotYet(f"{what}: expected r, j = {expected}, found {tuple(found)}.", hint=hint)


@check(
    hints=[
        "Without groups each of the c_out kernels has k * k * c_in weights.",
        "With groups a kernel reads only c_in / groups channels; there are still c_out kernels.",
        "Every weight is used once at each cell of the output: `weights * h * w`.",
    ]
)
def cost(answer):
    for arguments, expected, hint in (
        ((3, 1, 1, 1, 4, 4), (9, 144), "Nine weights, used at each of 16 cells."),
        ((7, 3, 64, 1, 112, 112), (9408, 118_013_952), "ResNet's first layer: 64 kernels of 7 x 7 x 3 weights."),
        ((3, 32, 32, 32, 1, 1), (288, 288), "As many groups as channels: each of the 32 kernels reads one channel."),
        ((1, 8, 4, 2, 1, 1), (16, 16), "Two groups: each of the 4 kernels reads 4 of the 8 channels."),
        ((3, 2, 2, 1, 5, 7), (36, 1260), "36 weights at each of 5 x 7 cells."),
    ):
        found = answer(*arguments)
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            raise NotYet(f"expected two numbers, weights and MACs, found {found!r}.", hint="Return them as a pair.")
        if tuple(found) == (expected[0], 2 * expected[1]):
            raise NotYet(
                f"expected {expected[1]} MACs, found twice as many.",
                hint="A MAC is one multiplication together with its addition.",
            )
        if tuple(found) != expected:
            k, c_in, c_out, groups, h, w = arguments
            what = f"k = {k}, {c_in} to {c_out} channels in {groups} groups, {h} x {w} cells"
            raise NotYet(f"{what}: expected {expected}, found {tuple(found)}.", hint=hint)


@check(
    hints=[
        "Do not ask in which mode the network is; ask it twice for the same image, in company and alone.",
        "`model(images)[0]` against `model(images[:1])[0]`; compare with `torch.allclose(..., atol=1e-4)`.",
        "In training mode, running the network moves its running means. Run a copy: `deepcopy(model)`.",
    ],
    unchanged="In training mode a forward pass moves a batch norm's running mean. Run a copy: `deepcopy(model)`.",
)
def depends_on_company(answer):
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    partly = _network(nn.BatchNorm2d(4)).eval()
    partly[1].train()
    for model, expected, what, hint in (
        (_network(nn.BatchNorm2d(4)).eval(), False, "in evaluation mode", "Its answers differ by rounding at most."),
        (_network(nn.BatchNorm2d(4)).train(), True, "in training mode", "Compare company with solitude."),
        (partly, True, "in evaluation mode but for its batch norm", "`model.training` tells of the whole only."),
        (
            _network(nn.GroupNorm(1, 4)).train(),
            False,
            "in training mode, but without batch norm",
            "Run it and compare.",
        ),
    ):
        found = answer(model, images)
        if isinstance(found, Tensor):
            found = bool(found)
        if found is not expected:
            raise NotYet(f"for a network {what}, expected {expected}, found {found!r}.", hint=hint)


def _network(norm: nn.Module) -> nn.Sequential:
    """A small network with this norm, whose weights are always the same."""
    layers = [nn.Conv2d(3, 4, 3), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)]
    network, generator = nn.Sequential(*layers), torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return network
