"""The course's vision transformer: the same function as timm's, and the formulas of attention by hand."""

import pytest
import timm
import torch
from torch import nn

from xailib.explain import collect
from xailib.models import Normalized, ViT, default_layer


def vit(**options) -> ViT:
    torch.manual_seed(0)
    net = ViT(**({"size": 16, "patch": 4, "classes": 5, "dim": 12, "depth": 2, "heads": 3} | options)).eval()
    for parameter in net.parameters():  # a fresh network's norms are all alike
        nn.init.normal_(parameter, std=0.5)
    return net


def as_timm(net: ViT, **options) -> nn.Module:
    twin = timm.create_model(
        "vit_tiny_patch16_224", img_size=16, patch_size=4, embed_dim=12, depth=2, num_heads=3, num_classes=5, **options
    )
    rename = {"mlp.0": "mlp.fc1", "mlp.2": "mlp.fc2", "head": "head"}
    weights = net.state_dict()
    for ours, theirs in rename.items():
        weights = {name.replace(ours, theirs): value for name, value in weights.items()}
    twin.load_state_dict({name: value for name, value in weights.items() if value.numel()})
    return twin.eval()


def test_class_token_model_equals_timms():
    net, images = vit(), torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(net(images), as_timm(net)(images))


def test_mean_pooled_model_equals_timms():
    net, images = vit(pool="mean"), torch.rand(3, 3, 16, 16)
    twin = as_timm(net, global_pool="avg", class_token=False, fc_norm=False)
    torch.testing.assert_close(net(images), twin(images))


def test_attention_by_hand():
    # one head, d = 1, two tokens x = 0 and 1; q = x, k = ln(3) x, v = x: token 1 weighs them 1 : 3, token 0 evenly
    attention = vit(dim=1, heads=1).blocks[0].attn
    with torch.no_grad():
        attention.qkv.weight.copy_(torch.tensor([[1.0], [3.0], [1.0]]).log() + torch.tensor([[1.0], [0.0], [1.0]]))
        attention.qkv.bias.zero_()
        attention.proj.weight.fill_(2.0)
        attention.proj.bias.fill_(1.0)
        torch.testing.assert_close(attention(torch.tensor([[[0.0], [1.0]]])), torch.tensor([[[2.0], [2.5]]]))


def test_only_position_embeddings_tell_patches_apart():
    net, images = vit(), torch.rand(2, 3, 16, 16)
    swapped = torch.cat([images[..., 4:], images[..., :4]], dim=-1)  # the first column of patches becomes the last
    assert (net(images) - net(swapped)).abs().max() > 1e-3 * net(images).abs().max()
    nn.init.zeros_(net.pos_embed)
    torch.testing.assert_close(net(images), net(swapped))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": 5}, "patches of 5 pixels do not tile an image of 16 pixels"),
        ({"dim": 16}, "3 heads do not divide the 16 dimensions"),
        ({"pool": "max"}, "pool must be 'cls' or 'mean', found 'max'"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        vit(**options)


def test_images_of_another_size_are_named():
    with pytest.raises(ValueError, match="takes images of 16 x 16, found .32, 16."):
        vit()(torch.rand(1, 3, 32, 16))


def torchvisions() -> nn.Module:
    from torchvision.models import VisionTransformer

    return VisionTransformer(16, 4, num_layers=3, num_heads=2, hidden_dim=8, mlp_dim=8, num_classes=5)


@pytest.mark.parametrize(
    ("net", "layer"),
    [
        (lambda: vit(depth=11), "blocks.10.norm1"),  # after blocks.9, though letters would sort it otherwise
        (lambda: vit(pool="mean"), "blocks.1.norm1"),
        (lambda: as_timm(vit()), "blocks.1.norm1"),
        (torchvisions, "encoder.layers.encoder_layer_2.ln_1"),
    ],
)
def test_the_default_layer_is_the_last_one_with_a_gradient_at_the_patches(net, layer):
    net = Normalized(net().eval(), (0.5,) * 3, (0.5,) * 3)
    for parameter in net.parameters():  # torchvision's head is zero at first
        nn.init.normal_(parameter, std=0.5)
    assert default_layer(net) == layer
    images, targets = torch.rand(2, 3, 16, 16), torch.tensor([0, 1])
    assert collect(net.eval(), images, targets, layer=layer).G.abs().amax((1, 2, 3)).min() > 0


def test_networks_without_a_default_layer_are_named():
    with pytest.raises(ValueError, match="no default layer for Sequential"):
        default_layer(nn.Sequential(nn.Conv2d(3, 4, 1)))
