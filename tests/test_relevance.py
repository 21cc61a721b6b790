"""Relevance propagation: each rule by hand, conservation, and a whole transformer against its layers one by one."""

import cases
import pytest
import torch
from torch import nn

from xailib import network
from xailib.attention import recorded_attention
from xailib.explain import relevance as lrp
from xailib.explain import tibav
from xailib.explain.relevance import relevance_rules

TARGETS = torch.tensor([0, 3])


def images_of(b: int = 2, size: int = 16) -> torch.Tensor:
    return torch.rand(b, 3, size, size, generator=torch.Generator().manual_seed(0)).double()


def same(found, *expected):
    torch.testing.assert_close(tuple(found), tuple(torch.tensor(one) for one in expected))


# --- the rules by hand ------------------------------------------------------------------------------------------------


def test_linear_follows_positive_contributions():
    # contributions to output 0: 2 * 1, -1 * 1, (-3) * (-2): positive are 2 and 6 of 8; to output 1 only 2 * 3
    x, weight = torch.tensor([[1.0, 1.0, -2.0]]), torch.tensor([[2.0, -1.0, -3.0], [3.0, -5.0, 4.0]])
    same(lrp.linear(torch.tensor([[8.0, 5.0]]), x, weight), [[2.0 + 5.0, 0.0, 6.0]])
    same(lrp.linear(torch.tensor([[8.0, 5.0]]), x, weight, torch.tensor([9.0, 9.0])), [[7.0, 0.0, 6.0]])


def test_linear_drops_relevance_that_nothing_explains():
    same(lrp.linear(torch.tensor([[1.0]]), torch.tensor([[1.0, 2.0]]), torch.tensor([[-1.0, 0.0]])), [[0.0, 0.0]])


def test_product_halves_and_shares():
    # z = 1 * 3 + 2 * 0.5 = 4: shares 3/4 and 1/4, for each factor half of R
    a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [0.5]])
    same(lrp.product(torch.tensor([[8.0]]), a, b), [[3.0, 1.0]], [[3.0], [1.0]])
    same(lrp.product(torch.tensor([[8.0]]), a, 0 * b), [[0.0, 0.0]], [[0.0], [0.0]])


def test_addition_shares_and_balances():
    # shares of R = (3, 2): a = (3/4 * 3, -1 * 2), b = (1/4 * 3, 2 * 2); their sums 1/4 and 19/4 of 5 stay as they are
    a, b, R = torch.tensor([[3.0, -1.0]]), torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 2.0]])
    same(lrp.addition(R, a, b), [[2.25, -2.0]], [[0.75, 4.0]])
    # opposite signs: sums -10 and 15 of 5 become 2 and 3, so the first is scaled by -1/5 and the second by 1/5
    a, b, R = torch.tensor([[-2.0]]), torch.tensor([[3.0]]), torch.tensor([[5.0]])
    same(lrp.addition(R, a, b), [[2.0]], [[3.0]])


def test_addition_balances_each_image_alone_and_sums_where_it_broadcast():
    a, b, R = torch.tensor([[[-2.0]], [[1.0]]]), torch.tensor([[[3.0]]]), torch.tensor([[[5.0]], [[8.0]]])
    same(lrp.addition(R, a, b), [[[2.0]], [[2.0]]], [[[3.0 + 6.0]]])


def test_mean_shares():
    x = torch.tensor([[[1.0, 2.0], [3.0, -2.0]]])  # means 2 and 0 over the tokens
    same(lrp.mean(torch.tensor([[4.0, 7.0]]), x, 1), [[[1.0, 0.0], [3.0, 0.0]]])
    same(lrp.mean(torch.tensor([[[4.0, 7.0]]]), x, dim=(1,), keepdim=True), [[[1.0, 0.0], [3.0, 0.0]]])


def test_the_rest_passes_to_the_operand_of_the_outputs_shape():
    R, x, constant = torch.ones(2, 3), torch.zeros(2, 3), torch.zeros(3)
    assert lrp.through(R, x, constant) == (R, None) and lrp.through(R, constant, x) == (None, R)


# --- networks under the rules -----------------------------------------------------------------------------------------


def relevance_at(net: nn.Module, images, targets, layers):
    with relevance_rules(), recorded_attention(net):
        outputs, logits = network.cut(net, images, layers)
    return network.gradients(network.class_scores(logits, targets), outputs)


def attention_relevance(net: nn.Module, images, targets):
    with relevance_rules(), recorded_attention(net, differentiable=True) as attention:
        logits = net(images)
    return network.gradients(network.class_scores(logits, targets), attention)


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_relevance_is_conserved(pool):
    net, images = cases.tiny_vit(pool=pool).double(), images_of()
    for layer in ("blocks.0", "blocks.1", "blocks.2", "norm"):
        total = relevance_at(net, images, TARGETS, [layer])[0].sum((1, 2))
        torch.testing.assert_close(total, torch.ones(2, dtype=torch.float64))
    for i, A in enumerate(attention_relevance(net, images, TARGETS)):
        before, after = relevance_at(net, images, TARGETS, [f"blocks.{i}.norm1", f"blocks.{i}.attn"])
        torch.testing.assert_close(before.sum((1, 2)), after.sum((1, 2)))
        torch.testing.assert_close(A.sum((1, 2, 3)), after.sum((1, 2)) / 2)  # the values have the other half


def test_networks_compute_the_same_under_the_rules():
    net, images = cases.tiny_vit().double(), images_of()
    with relevance_rules(), recorded_attention(net, differentiable=True):
        logits = net(images)
    torch.testing.assert_close(logits, net(images))
    grad = torch.autograd.grad(net(images).sum(), net.head.bias)[0]  # afterwards, derivatives are derivatives
    torch.testing.assert_close(grad, torch.full_like(grad, 2))


class Above(nn.Module):
    """An operation above attention that leads to the logits."""

    patch_size = num_prefix_tokens = 1

    def __init__(self, operation):
        super().__init__()
        self.operation, self.gamma = operation, nn.Parameter(torch.tensor([3.0, 3.0]))

    def forward(self, images):
        x = torch.cat([images.flatten(2).mT[:, :1], images.flatten(2).mT], 1)[:, None, :, :2]
        return self.operation(torch.nn.functional.scaled_dot_product_attention(x, x, x)[:, 0, 0], self.gamma)


COVERED = {
    "scale": lambda x, gamma: 0.5 * x,
    "gamma": lambda x, gamma: gamma * x / 2,
    "relu": lambda x, gamma: nn.ReLU(inplace=True)(x),
    "silu": lambda x, gamma: nn.functional.silu(x),
    "moves": lambda x, gamma: torch.cat(x[:, None].expand(-1, 2, -1).unbind(1), 1)[:, 1:3].contiguous(),
}
REFUSED = {
    "mul": lambda x, gamma: x * x[:, :1],
    "sigmoid": lambda x, gamma: x.sigmoid(),
    "div": lambda x, gamma: x / x[:, :1],
    "add": lambda x, gamma: x + 1,
    "add_": lambda x, gamma: x.add_(x.detach()),
}


@pytest.mark.parametrize("operation", COVERED)
def test_covered_operations_pass_all_relevance(operation):
    net, images = Above(COVERED[operation]).eval(), torch.rand(2, 3, 1, 2)
    torch.testing.assert_close(
        [R.sum((1, 2, 3)) for R in attention_relevance(net, images, torch.tensor([0, 1]))], [torch.full((2,), 0.5)]
    )


@pytest.mark.parametrize("operation", REFUSED)
def test_other_operations_are_named(operation):
    with pytest.raises(ValueError, match=f"no rule takes relevance through '{operation}' in this network"):
        tibav(Above(REFUSED[operation]).eval(), torch.rand(2, 3, 1, 2), torch.tensor([0, 1]))


# --- layer by layer ---------------------------------------------------------------------------------------------------


def shared(R, function, *operands):
    """x * d(z)/dx (R / z): the share of each operand's entries in the output, by autograd."""
    operands = [x.detach().requires_grad_() for x in operands]
    z = function(*operands)
    return [x.detach() * g for x, g in zip(operands, torch.autograd.grad(z, operands, R / z.detach()), strict=True)]


def through_linear(R, layer, x):
    W = layer.weight.detach()
    return sum(shared(R, lambda up, down: up @ W.relu().T + down @ (-W).relu().T, x.relu(), (-x).relu()))


def through_sum(R, a, b):
    Ra, Rb = shared(R, torch.add, a, b)
    part = Ra.sum().abs() / (Ra.sum().abs() + Rb.sum().abs())
    return Ra * part * R.sum() / Ra.sum(), Rb * (1 - part) * R.sum() / Rb.sum()


def through_attention(R, attn, h):
    heads = attn.num_heads
    query, key, value = attn.qkv(h).unflatten(-1, (3, heads, -1)).permute(1, 2, 0, 3).detach()
    A = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1)
    merged = (A @ value).transpose(0, 1).flatten(1)
    R = through_linear(R, attn.proj, merged).unflatten(-1, (heads, -1)).transpose(0, 1)
    RA, Rvalue = (half / 2 for half in shared(R, torch.matmul, A, value))
    Rquery, Rkey = (half / 2 for half in shared(RA, lambda q, k: q @ k.mT, query, key))
    R = torch.stack([Rquery, Rkey, Rvalue]).permute(2, 0, 1, 3).flatten(1)
    return RA, through_linear(R, attn.qkv, h)


def relevance_layer_by_layer(net, image, target):
    """The relevance of every attention map of a `ViT` for one image: each layer's rule, from the head down."""
    x = torch.cat([net.cls_token[0], net.patch_embed(image[None])[0]]) + net.pos_embed[0]
    steps = []
    for block in net.blocks:
        middle = x + (a := block.attn(block.norm1(x)[None])[0])
        hidden = block.mlp[1](block.mlp[0](block.norm2(middle)))
        steps.append((block, x, a, middle, hidden, m := block.mlp[2](hidden)))
        x = middle + m
    R = torch.zeros_like(x)
    R[0] = through_linear(torch.eye(4, dtype=x.dtype)[target], net.head, net.norm(x)[0].detach())
    found = []
    for block, x, a, middle, hidden, m in reversed(steps):
        R, Rm = through_sum(R, middle, m)
        Rm = through_linear(Rm, block.mlp[2], hidden.detach())
        R = R + through_linear(Rm, block.mlp[0], block.norm2(middle).detach())
        R, Ra = through_sum(R, x, a)
        RA, Rh = through_attention(Ra, block.attn, block.norm1(x).detach())
        R, found = R + Rh, [RA, *found]
    return found


def test_whole_transformer_equals_its_layers():
    net, images = cases.tiny_vit().double(), images_of()
    found = attention_relevance(net, images, TARGETS)
    for i in range(2):
        expected = relevance_layer_by_layer(net, images[i], TARGETS[i])
        for R, one in zip(found, expected, strict=True):
            assert one.abs().max() > 1e-4
            torch.testing.assert_close(R[i], one)
