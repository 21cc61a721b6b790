"""Attention recorded and explained: numbers by hand, and the transformers of timm, torchvision and the course."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import cases
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from xailib.attention import recorded_attention
from xailib.explain import cam, gradcam, raw_attention, rollout, tibav
from xailib.explain.attention import chain, with_identity
from xailib.explain.relevance import relevance_rules
from xailib.models import ViT

METHODS = {
    "raw_attention": raw_attention,
    "rollout": rollout,
    "tibav": tibav,
    "tibav, attention": partial(tibav, relevance="attention"),
}
TARGETS = torch.tensor([0, 3])


def timm_model(name: str, **options) -> nn.Module:
    if not timm.is_model(name):
        pytest.skip(f"timm {timm.__version__} has no {name}")
    torch.manual_seed(0)
    small = {"img_size": (32, 64), "patch_size": 16, "depth": 3, "embed_dim": 24, "num_heads": 3, "num_classes": 4}
    return timm.create_model(name, **(small | options)).eval()


def torchvision_model() -> nn.Module:
    torch.manual_seed(0)
    net = torchvision.models.VisionTransformer(32, 8, 3, num_heads=2, hidden_dim=24, mlp_dim=48, num_classes=4)
    nn.init.normal_(net.heads.head.weight)  # zeros as it comes
    return net.eval()


def unfused() -> nn.Module:
    net = timm_model("vit_tiny_patch16_224")
    for block in net.blocks:
        block.attn.fused_attn = False
    return net


class Case(NamedTuple):
    make: Callable[[], nn.Module]
    prefix: int = 1
    grid: tuple[int, int] = (2, 4)
    size: tuple[int, int] = (32, 64)
    layer: str = "blocks.2.norm1"


VITS = {
    "plain": Case(partial(timm_model, "vit_tiny_patch16_224")),
    "scaled": Case(partial(timm_model, "vit_tiny_patch16_224", init_values=0.5, qk_norm=True)),
    "unfused": Case(unfused),
    "distilled": Case(partial(timm_model, "deit_tiny_distilled_patch16_224"), prefix=2),
    "registers": Case(partial(timm_model, "vit_small_patch14_reg4_dinov2", init_values=0.5), prefix=5),
    "registers, mean": Case(partial(timm_model, "vit_medium_patch16_reg4_gap_256", init_values=0.5), 4, layer="norm"),
    "torchvision": Case(torchvision_model, 1, (4, 4), (32, 32), "encoder.layers.encoder_layer_2.ln_1"),
    "own": Case(cases.tiny_vit, 1, (4, 4), (16, 16)),
    "own, mean": Case(partial(cases.tiny_vit, pool="mean"), 0, (4, 4), (16, 16), "norm"),
}
NO_RULE = {
    "eva02": Case(partial(timm_model, "eva02_tiny_patch14_224", init_values=0.5)),
    "dinov3": Case(partial(timm_model, "vit_small_patch16_dinov3", init_values=0.5), prefix=5),
}
READ_MEAN = ("registers, mean", "own, mean", "eva02", "dinov3")


def images_of(size: tuple[int, int], b: int = 2) -> torch.Tensor:
    return torch.rand(b, 3, *size, generator=torch.Generator().manual_seed(0))


def upsampled(rows: torch.Tensor, grid: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(rows.unflatten(1, grid)[:, None], size, mode="bilinear")[:, 0].detach()


# --- the recorder -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*VITS, *NO_RULE])
@torch.no_grad()
def test_recording_changes_no_logit(name):
    make, prefix, (h, w), size, _ = (VITS | NO_RULE)[name]
    net, images = make(), images_of(size)
    with recorded_attention(net) as attention:
        logits = net(images)
    torch.testing.assert_close(logits, net(images))
    assert [(len(A), *A.shape[2:]) for A in attention] == [(2, prefix + h * w, prefix + h * w)] * 3
    for A in attention:
        torch.testing.assert_close(A.sum(-1), torch.ones(A.shape[:-1]))


def by_softmax(query, key):
    return torch.einsum("bhid,bhjd->bhij", query, key).div(query.shape[-1] ** 0.5).softmax(-1)


@torch.no_grad()
def test_recorded_maps_are_those_of_the_blocks_in_order():
    net, images, seen = cases.tiny_vit(), images_of((16, 16)), []
    for block in net.blocks:
        block.norm1.register_forward_hook(lambda module, args, output: seen.append(output))
    with recorded_attention(net) as attention:
        net(images)
    for block, x, A in zip(net.blocks, seen, attention, strict=True):
        query, key, _ = block.attn.qkv(x).reshape(2, 17, 3, 2, 8).permute(2, 0, 3, 1, 4)
        torch.testing.assert_close(A, by_softmax(query, key))


@torch.no_grad()
def test_torchvisions_maps_are_those_that_its_module_returns():
    net, images, seen = torchvision_model(), images_of((32, 32)), []
    for layer in net.encoder.layers:
        layer.ln_1.register_forward_hook(lambda module, args, output: seen.append(output))
    with recorded_attention(net) as attention:
        net(images)
    for layer, x, A in zip(net.encoder.layers, seen, attention, strict=True):
        output, mean = layer.self_attention(x, x, x, need_weights=True)
        torch.testing.assert_close(A.mean(1), mean)
        with recorded_attention(net):  # a layer that asks for the weights gets them
            torch.testing.assert_close(layer.self_attention(x, x, x, need_weights=True), (output, mean))


def test_masks_and_scale_mean_what_they_mean_to_torch():
    q, k, v = torch.randn(3, 2, 1, 4, 3)
    for options in ({"scale": 0.3}, {"attn_mask": torch.randn(4, 4)}, {"attn_mask": torch.ones(4, 4).tril().bool()}):
        with recorded_attention(nn.Identity()) as attention:
            explicit = F.scaled_dot_product_attention(q, k, v, **options)
        torch.testing.assert_close(explicit, F.scaled_dot_product_attention(q, k, v, **options))
        torch.testing.assert_close(attention[0] @ v, explicit)


def test_maps_differentiate_as_the_network_does():
    # d y / d A, and moving A along it by hand: the first-order change of the score when one attention changes
    net, images = cases.tiny_vit().double(), images_of((16, 16)).double()
    with recorded_attention(net) as attention:
        score = net(images)[:, 1].sum()
    G = torch.autograd.grad(score, attention[-1])[0]
    qkv = net.blocks[-1].attn.qkv(net.blocks[-1].norm1(tokens_before_last(net, images)))
    value = qkv[..., -16:].unflatten(-1, (2, 8)).transpose(1, 2)
    step = torch.zeros_like(G)
    step[:, 1, 0, 5] = 1e-6
    moved = logits_from(net, images, attention[-1] + step, value)[:, 1].sum()
    torch.testing.assert_close((moved - score) / 1e-6, G[:, 1, 0, 5].sum(), rtol=1e-4, atol=1e-8)


def tokens_before_last(net, images):
    x = torch.cat([net.cls_token.expand(len(images), -1, -1), net.patch_embed(images)], 1) + net.pos_embed
    return net.blocks[1](net.blocks[0](x))


def logits_from(net, images, A, value):
    x, last = tokens_before_last(net, images), net.blocks[-1]
    x = x + last.attn.proj((A @ value).transpose(1, 2).flatten(2))
    return net.head(net.norm(x + last.mlp(last.norm2(x)))[:, 0])


def test_maps_can_be_differentiated_under_no_grad_and_frozen():
    net, images = cases.tiny_vit().requires_grad_(False), images_of((16, 16))
    with torch.inference_mode(), recorded_attention(net, differentiable=True) as attention:
        logits = net(images)
    assert attention[0].is_leaf and all(A.requires_grad for A in attention)
    assert torch.autograd.grad(logits.sum(), attention[0])[0].any()
    with torch.no_grad(), recorded_attention(net) as attention:
        assert not net(images).requires_grad


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_behind(error):
    net, images = torchvision_model(), images_of((32, 32))
    before = torch.backends.mha.get_fastpath_enabled(), torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    with pytest.raises(error) if error else torch.no_grad(), recorded_attention(net, differentiable=True) as attention:
        net(images)
        if error:
            raise error
    after = torch.backends.mha.get_fastpath_enabled(), torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    net(images)
    assert len(attention) == 3 and after == before


class Windows(nn.Module):
    """Attention within halves of the image, in every block: two maps per image."""

    patch_size = 1

    def forward(self, images):
        x = images.mean(1).flatten(1).unflatten(1, (2, -1)).flatten(0, 1)[:, None, :, None]
        return F.scaled_dot_product_attention(x, x, x).reshape(len(images), -1)


swin = torchvision.models.SwinTransformer
REFUSED = {
    "no attention was seen in ResNet": lambda: timm.create_model("resnet18"),
    "SwinTransformer is not between the same tokens": partial(swin, [4, 4], 12, [1, 1], [1, 1], [4, 4]),
    "found 2 x .1 8., 2 x .8 8.: it is cut into windows or pools": lambda: timm_model("vit_base_patch16_siglip_224"),
    "2 images have 4 attention maps": Windows,
}


@pytest.mark.parametrize("message", REFUSED)
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_networks_without_one_attention_are_named(method, message):
    with pytest.raises(ValueError, match=message):
        method(REFUSED[message]().eval(), images_of((32, 64)), TARGETS)


@pytest.mark.parametrize("method", [raw_attention, rollout, METHODS["tibav, attention"]])
def test_classifiers_that_read_otherwise_are_named(method):
    net = timm_model("vit_tiny_patch16_224", global_pool="max")
    with pytest.raises(ValueError, match="reads neither a class token nor a mean, but global_pool='max'"):
        method(net, images_of((32, 64)), TARGETS)


@pytest.mark.parametrize("options", [{"is_causal": True}, {"enable_gqa": True}])
def test_attention_of_other_kinds_is_named(options):
    q = torch.rand(1, 2, 4, 3)
    with pytest.raises(ValueError, match="causal, grouped, or not over"), recorded_attention(nn.Identity()):
        F.scaled_dot_product_attention(q, q, q, **options)
    with pytest.raises(ValueError, match="plain self-attention"), recorded_attention(nn.Identity()):
        nn.MultiheadAttention(4, 2)(torch.rand(3, 1, 4), torch.rand(5, 1, 4), torch.rand(5, 1, 4))
    x = torch.rand(3, 1, 4)
    with pytest.raises(ValueError, match="plain self-attention"), recorded_attention(nn.Identity()):
        nn.MultiheadAttention(4, 2, add_zero_attn=True)(x, x, x)


# --- the methods by hand ----------------------------------------------------------------------------------------------

A1 = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
A2 = torch.tensor([[1.0, 0.0], [0.5, 0.5]])


class Played(nn.Module):
    """A network whose blocks attend as given; one pixel is one patch."""

    patch_size = 1

    def __init__(self, *layers, prefix: int):
        super().__init__()
        self.layers, self.num_prefix_tokens = layers, prefix

    def forward(self, images):
        x = images.new_ones(len(images), 1, len(self.layers[0]), 3)
        for A in self.layers:
            x = F.scaled_dot_product_attention(0 * x, 0 * x, x, attn_mask=A.log())
        return x[:, 0].mean(1)


def test_products_of_attention_by_hand():
    torch.testing.assert_close(chain([A1, A2]), torch.tensor([[0.5, 0.5], [0.25, 0.75]]))
    torch.testing.assert_close(chain([with_identity(A1), with_identity(A2)]), torch.tensor([[3, 1], [0.75, 3.25]]))


def test_rollout_by_hand():
    # both rows of the normalised product [[.75, .25], [.1875, .8125]]: the class token's, and the mean of two patches
    one, two, target = torch.rand(1, 3, 1, 1), torch.rand(1, 3, 1, 2), torch.tensor([0])
    classes, patches = Played(A1, A2, prefix=1).eval(), Played(A1, A2, prefix=0).eval()
    assert rollout(classes, one, target).item() == pytest.approx(0.25)
    assert rollout(patches, two, target).flatten().tolist() == pytest.approx([0.46875, 0.53125])
    assert rollout(patches, two, target, start_layer=1).flatten().tolist() == pytest.approx([0.625, 0.375])
    assert raw_attention(classes, one, target).item() == 0
    assert raw_attention(classes, one, target, block=0).item() == pytest.approx(0.5)
    assert raw_attention(patches, two, target).flatten().tolist() == pytest.approx([0.75, 0.25])


def test_rollout_shares_out_one():
    layers = torch.rand(4, 12, 12, generator=torch.Generator().manual_seed(0)).softmax(-1)
    maps = rollout(Played(*layers, prefix=0).eval(), torch.rand(2, 3, 3, 4), torch.zeros(2, dtype=torch.int64))
    torch.testing.assert_close(maps.sum((1, 2)), torch.ones(2))


class Even(nn.Module):
    """One block that attends evenly: token 0 is 1/2, the others are the pixels; the logits are +-(x_0 + mean)."""

    patch_size = num_prefix_tokens = 1

    def forward(self, images):
        x = torch.cat([images.new_full((len(images), 1, 1), 0.5), images.flatten(2).mT], 1)[:, None]
        x = x + F.scaled_dot_product_attention(0 * x, 0 * x, x)
        return F.linear(x[:, 0, 0], images.new_tensor([[1.0], [-1.0]]))


def test_tibav_by_hand():
    # A = 1/3 everywhere, G = v = (1/2, 1, 1/2). Relevance: all of it reaches z = 1/2 + 2/3, of which attention is 4/7;
    # A takes half of that, by its shares v_j / 3 of 2/3: R = (1/2, 1, 1/2) / 7. So G R = (1/4, 1, 1/4) / 7.
    net, images, target = Even().eval(), torch.tensor([[[[1.0, 0.5]]]]), torch.tensor([0])
    assert tibav(net, images, target).flatten().tolist() == pytest.approx([1 / 7, 1 / 28])
    assert tibav(net, images, target, relevance="attention").flatten().tolist() == pytest.approx([1 / 3, 1 / 6])
    assert raw_attention(net, images, target).flatten().tolist() == pytest.approx([1 / 3, 1 / 3])  # sees no evidence
    assert rollout(net, images, target).flatten().tolist() == pytest.approx([1 / 6, 1 / 6])


def test_tibav_sees_no_evidence_against():
    images, other = torch.tensor([[[[1.0, 0.5]]]]), torch.tensor([1])
    assert not tibav(Even().eval(), images, other).any()
    assert not tibav(Even().eval(), images, other, relevance="attention").any()


# --- tokens on real networks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*VITS, *NO_RULE])
def test_maps_hold_the_patches_of_what_the_classifier_reads(name):
    make, prefix, grid, size, _ = (VITS | NO_RULE)[name]
    net, images = make(), images_of(size)
    with recorded_attention(net) as attention:
        scores = net(images).gather(1, TARGETS[:, None]).sum()
    G = torch.autograd.grad(scores, attention)
    read = slice(prefix, None) if name in READ_MEAN else slice(0, 1)
    eye = torch.eye(attention[0].shape[-1])
    rolled, weighted = eye, eye
    for A, g in zip(attention, G, strict=True):
        rolled = (A.mean(1) / 2 + eye / 2) @ rolled
        weighted = (eye + (A * g).clamp(min=0).mean(1)) @ weighted
    for method, flow in [("raw_attention", attention[-1].mean(1)), ("rollout", rolled), ("tibav, attention", weighted)]:
        expected = upsampled(flow[:, read].mean(1)[:, prefix:], grid, size)
        torch.testing.assert_close(METHODS[method](net, images, TARGETS), expected)


@pytest.mark.parametrize("name", NO_RULE)
def test_operations_without_a_rule_are_named(name):
    net = NO_RULE[name][0]()
    with pytest.raises(ValueError, match="no rule takes relevance through '(mul|neg)'.*relevance='attention'"):
        tibav(net, images_of((32, 64)), TARGETS)


@pytest.mark.parametrize("name", VITS)
def test_gradcam_reads_the_tokens_of_every_kind(name):
    make, prefix, grid, size, layer = VITS[name]
    net, images, seen = make(), images_of(size), []
    handle = net.get_submodule(layer).register_forward_hook(lambda module, args, output: seen.append(output))
    scores = net(images).gather(1, TARGETS[:, None]).sum()
    handle.remove()
    A = seen[0][:, prefix:]
    weights = torch.autograd.grad(scores, seen[0])[0][:, prefix:].mean(1, keepdim=True)
    maps = cam(net, images, TARGETS, layer=layer, weights=gradcam)
    assert maps.any()
    torch.testing.assert_close(maps, upsampled((A * weights).sum(-1).relu(), grid, size))


def test_last_blocks_output_has_no_gradient_at_the_patches():
    with pytest.raises(ValueError, match="only the class token is read"):
        cam(cases.tiny_vit(), images_of((16, 16)), TARGETS, layer="blocks.2", weights=gradcam)


# --- options and surroundings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (raw_attention, {"block": 3}, "block must lie in 0..2, or count back from -1, found 3"),
        (raw_attention, {"block": -4}, "found -4"),
        (rollout, {"start_layer": 3}, "start_layer must lie in 0..2, found 3"),
        (tibav, {"start_layer": -1}, "start_layer must lie in 0..2, found -1"),
        (tibav, {"relevance": "LRP"}, "relevance must be 'lrp' or 'attention', found 'LRP'"),
        (rollout, {"grid": (5, 5)}, "17 tokens do not fit 5 x 5 places"),
    ],
)
def test_bad_options_are_named(method, options, message):
    with pytest.raises(ValueError, match=message):
        method(cases.tiny_vit(), images_of((16, 16)), TARGETS, **options)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_classes_out_of_range_are_named(method):
    with pytest.raises(ValueError, match="targets must lie in 0..3, found 0 to 4"):
        method(cases.tiny_vit(), images_of((16, 16)), torch.tensor([0, 4]))


def test_start_layer_leaves_out_the_blocks_below():
    net, images = cases.tiny_vit(), images_of((16, 16))
    with recorded_attention(net) as attention:
        scores = net(images).gather(1, TARGETS[:, None]).sum()
    A, G = attention[-1], torch.autograd.grad(scores, attention[-1])[0]
    last = upsampled(A.mean(1)[:, 0, 1:] / 2, (4, 4), (16, 16))  # the identity adds nothing off its diagonal
    torch.testing.assert_close(rollout(net, images, TARGETS, start_layer=2), last)
    last = upsampled((A * G).relu().mean(1)[:, 0, 1:], (4, 4), (16, 16))
    torch.testing.assert_close(tibav(net, images, TARGETS, relevance="attention", start_layer=2), last)
    with relevance_rules(), recorded_attention(net, differentiable=True) as attention:
        scores = net(images).gather(1, TARGETS[:, None])
    R = torch.autograd.grad(scores.sum(), attention[-1])[0]
    last = upsampled((R * G).relu().mean(1)[:, 0, 1:], (4, 4), (16, 16))
    torch.testing.assert_close(tibav(net, images, TARGETS, start_layer=2), last)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_surroundings_do_not_matter(method):
    net, images = cases.tiny_vit(), images_of((16, 16))
    maps = method(net, images, TARGETS)
    assert not maps.requires_grad and all(parameter.grad is None for parameter in net.parameters())
    torch.testing.assert_close(torch.cat([method(net, images[i : i + 1], TARGETS[i : i + 1]) for i in range(2)]), maps)
    with torch.inference_mode():
        torch.testing.assert_close(method(net, images.clone(), TARGETS), maps)
    with torch.no_grad():
        torch.testing.assert_close(method(net.requires_grad_(False), images, TARGETS), maps)
    torch.testing.assert_close(method(net.double(), images.double(), TARGETS), maps.double(), rtol=1e-4, atol=1e-5)


def test_relevance_is_not_a_matter_of_rounding():
    torch.manual_seed(4)  # relevance in float32 would move this map by 13 percent of its maximum
    net, images = ViT(size=32, patch=4, classes=4, dim=24, depth=12, heads=3).eval(), images_of((32, 32))
    maps, exact = tibav(net, images, TARGETS), tibav(net.double(), images.double(), TARGETS)
    assert (maps - exact).abs().max() < 1e-5 * exact.max()


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_reduced_precision_gives_nearby_float32_maps(method):
    net, images = cases.tiny_vit(), images_of((16, 16))
    exact = method(net, images, TARGETS)
    with torch.autocast("cpu", torch.bfloat16):
        maps = method(net, images, TARGETS)
    assert maps.dtype == torch.float32
    assert (maps - exact).abs().max() < 0.02 * exact.abs().max()


# --- planted evidence -------------------------------------------------------------------------------------------------


def scenes(b: int, classes: int, generator: torch.Generator):
    """Grey images of 3 x 3 patches: a white one that means nothing, in class 0 a red one, in class 1 a green one."""
    images, cells = torch.full((b, 3, 9, 9), 0.5), torch.rand(b, 9, generator=generator).argsort(1)
    targets = torch.randint(0, classes, (b,), generator=generator)
    patches = images.unfold(2, 3, 3).unfold(3, 3, 3)
    for i, (place, white) in enumerate(cells[:, :2].tolist()):
        patches[i, :, white // 3, white % 3] = 1
        if targets[i] < 2:
            patches[i, targets[i], place // 3, place % 3] = 1
    return images, targets, cells[:, 0]


def test_tibav_finds_planted_evidence():
    torch.manual_seed(1)
    generator, net = torch.Generator().manual_seed(1), ViT(size=9, patch=3, classes=3, dim=16, depth=2, heads=2)
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    for _ in range(400):  # two seconds; class 2 is "neither", so that red and green must be looked for
        images, targets, _ = scenes(64, 3, generator)
        F.cross_entropy(net(images), targets).backward()
        optimizer.step()
        optimizer.zero_grad()
    images, targets, places = scenes(64, 2, generator)
    assert (net.eval()(images).argmax(1) == targets).float().mean() > 0.95
    for relevance in ("lrp", "attention"):
        maps = tibav(net, images, targets, relevance=relevance)[:, 1::3, 1::3].flatten(1)  # the centre of each patch
        assert (maps.argmax(1) == places).float().mean() > 0.8
