"""A vision transformer written to be read (Dosovitskiy et al., ICLR 2021).

An image is cut into patches, each patch becomes a token, a class token joins them, and blocks let the tokens talk:

    x <- x + attention(norm1(x)),    x <- x + mlp(norm2(x)).

Names follow timm, so whatever explains a timm ViT (`layer="blocks.5.norm1"`, rollout, TIBAV) explains this one.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class PatchEmbed(nn.Module):
    """One token per patch: a convolution whose stride is its size, so that patches do not overlap."""

    def __init__(self, patch: int, channels: int, dim: int):
        super().__init__()
        self.patch_size = (patch, patch)
        self.proj = nn.Conv2d(channels, dim, kernel_size=patch, stride=patch)

    def forward(self, images: Float[Tensor, "b c H W"]) -> Float[Tensor, "b n dim"]:
        return self.proj(images).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Each token asks (query), is found (key) and tells (value); softmax(Q K^T / sqrt(d)) says who listens to whom."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.num_heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Float[Tensor, "b n dim"]) -> Float[Tensor, "b n dim"]:
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each [b heads n d]
        heads = F.scaled_dot_product_attention(query, key, value)
        return self.proj(heads.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention between tokens, then a small network on each token alone; both only add to what is there."""

    def __init__(self, dim: int, heads: int, mlp_ratio: int):
        super().__init__()
        hidden = mlp_ratio * dim
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, x: Float[Tensor, "b n dim"]) -> Float[Tensor, "b n dim"]:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """A vision transformer for square images of `size` pixels in patches of `patch` pixels.

    `pool="cls"` reads the class from a class token, `pool="mean"` from the mean of the patches, without a class token.
    Raises ValueError if the patches do not tile the image, the heads do not divide `dim`, or `pool` is another.
    """

    def __init__(
        self,
        *,
        size: int = 32,
        patch: int = 4,
        classes: int = 10,
        channels: int = 3,
        dim: int = 192,
        depth: int = 6,
        heads: int = 3,
        mlp_ratio: int = 4,
        pool: str = "cls",
    ):
        super().__init__()
        _check(size, patch, dim, heads, pool)
        self.size, self.pool = size, pool
        self.num_prefix_tokens = 1 if pool == "cls" else 0
        self.patch_embed = PatchEmbed(patch, channels, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, self.num_prefix_tokens, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, self.num_prefix_tokens + (size // patch) ** 2, dim))
        self.blocks = nn.ModuleList(Block(dim, heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, classes)
        for token in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(token, std=0.02)

    def forward(self, images: Float[Tensor, "b c H W"]) -> Float[Tensor, "b classes"]:
        """The logits. Raises ValueError for images of another size, for which there are no position embeddings."""
        if images.shape[2:] != (self.size, self.size):
            raise ValueError(f"this ViT takes images of {self.size} x {self.size}, found {tuple(images.shape[2:])}")
        patches = self.patch_embed(images)
        x = torch.cat([self.cls_token.expand(len(images), -1, -1), patches], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return self.head(x[:, 0] if self.pool == "cls" else x.mean(1))


def _check(size: int, patch: int, dim: int, heads: int, pool: str) -> None:
    if size % patch:
        raise ValueError(f"patches of {patch} pixels do not tile an image of {size} pixels; choose a divisor of it")
    if dim % heads:
        raise ValueError(f"{heads} heads do not divide the {dim} dimensions of a token")
    if pool not in ("cls", "mean"):
        raise ValueError(f"pool must be 'cls' or 'mean', found {pool!r}")
