"""Convolutional networks for small images, written to be read and to be explained: images in, logits out.

All end alike: feature maps A, global average pooling, one linear layer `fc`, so that the logit of class c is

    y_c = b_c + sum_k W_ck mean(A_k).

Every activation is a module of its own, not in-place, and used once: so hooks and guided backpropagation see each.
The two CIFAR networks have the channels, strides and parameters of weiaicunzai/pytorch-cifar100, the training code that
the thesis' chapter 4 builds on. Put `Normalized` around a network to train it on normalised pixels.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn


def conv_bn(inputs: int, outputs: int, kernel: int, *, bias: bool = False, **options) -> list[nn.Module]:
    """A convolution and the batch norm of its output; with stride 1 the size stays as it is."""
    options = {"padding": kernel // 2} | options
    return [nn.Conv2d(inputs, outputs, kernel, bias=bias, **options), nn.BatchNorm2d(outputs)]


class SmallCNN(nn.Module):
    """A network for lessons: stages of two 3x3 convolutions, each stage at half the size of the one before.

    The last feature maps are at a quarter of the image's size (for three `widths`), and each of their cells has seen
    32 x 32 pixels. Raises ValueError without `widths`.
    """

    def __init__(self, classes: int, *, channels: int = 3, widths: Sequence[int] = (32, 64, 128)):
        super().__init__()
        if not widths:
            raise ValueError("widths is empty; name the channels of at least one stage")
        self.stages = nn.Sequential()
        for number, (inputs, outputs) in enumerate(zip((channels, *widths), widths, strict=False)):
            shrink = [nn.MaxPool2d(2)] if number else []
            first = [*conv_bn(inputs, outputs, 3), nn.ReLU()]
            second = [*conv_bn(outputs, outputs, 3), nn.ReLU()]
            self.stages.append(nn.Sequential(*shrink, *first, *second))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[-1], classes)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        return self.fc(self.pool(self.stages(images)).flatten(1))


# --- ResNet (He et al., CVPR 2016) ------------------------------------------------------------------------------------


class BasicBlock(nn.Module):
    """x <- relu(residual(x) + shortcut(x)): two convolutions learn what to add to what is there."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.residual = nn.Sequential(
            *conv_bn(inputs, outputs, 3, stride=stride),
            nn.ReLU(),
            *conv_bn(outputs, outputs, 3),
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Sequential(*conv_bn(inputs, outputs, 1, stride=stride))
        self.relu = nn.ReLU()

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k H W"]:
        return self.relu(self.residual(x) + self.shortcut(x))


class ResNet(nn.Module):
    """A residual network for images of about 32 x 32 pixels: a 3x3 stem at full size, without max-pooling."""

    def __init__(self, classes: int, *, depths: Sequence[int] = (2, 2, 2, 2)):
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(3, 64, 3), nn.ReLU())
        self.layer1 = self._layer(64, 64, depths[0], stride=1)
        self.layer2 = self._layer(64, 128, depths[1], stride=2)
        self.layer3 = self._layer(128, 256, depths[2], stride=2)
        self.layer4 = self._layer(256, 512, depths[3], stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, classes)

    @staticmethod
    def _layer(inputs: int, outputs: int, depth: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            BasicBlock(inputs, outputs, stride), *(BasicBlock(outputs, outputs) for _ in range(depth - 1))
        )

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(images)))))
        return self.fc(self.pool(x).flatten(1))


def resnet18_cifar(classes: int) -> ResNet:
    """ResNet-18 for CIFAR: feature maps of 512 x 4 x 4 for images of 32 x 32; 11,220,132 parameters for 100 classes."""
    return ResNet(classes)


# --- MobileNet-V2 (Sandler et al., CVPR 2018) -------------------------------------------------------------------------


class InvertedResidual(nn.Module):
    """Widen by `ratio`, filter each channel by itself, narrow again without an activation; add x where it fits."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, ratio: int = 6):
        super().__init__()
        wide = inputs * ratio
        self.residual = nn.Sequential(
            *conv_bn(inputs, wide, 1, bias=True),
            nn.ReLU6(),
            *conv_bn(wide, wide, 3, bias=True, stride=stride, groups=wide),
            nn.ReLU6(),
            *conv_bn(wide, outputs, 1, bias=True),
        )
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k H W"]:
        return self.residual(x) + x if self.adds else self.residual(x)


class MobileNetV2(nn.Module):
    """MobileNet-V2 for images of about 32 x 32 pixels. The stem's 1x1 convolution is padded, as in the code it follows,
    so the maps are of 34 x 34 at first, and of 5 x 5 in the end."""

    def __init__(self, classes: int):
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(3, 32, 1, bias=True, padding=1), nn.ReLU6())
        self.stage1 = InvertedResidual(32, 16, ratio=1)
        self.stage2 = self._stage(16, 24, depth=2, stride=2)
        self.stage3 = self._stage(24, 32, depth=3, stride=2)
        self.stage4 = self._stage(32, 64, depth=4, stride=2)
        self.stage5 = self._stage(64, 96, depth=3, stride=1)
        self.stage6 = self._stage(96, 160, depth=3, stride=1)
        self.stage7 = InvertedResidual(160, 320)
        self.conv_head = nn.Sequential(*conv_bn(320, 1280, 1, bias=True), nn.ReLU6())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(1280, classes)

    @staticmethod
    def _stage(inputs: int, outputs: int, depth: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            InvertedResidual(inputs, outputs, stride), *(InvertedResidual(outputs, outputs) for _ in range(depth - 1))
        )

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b classes"]:
        x = self.stage4(self.stage3(self.stage2(self.stage1(self.stem(images)))))
        x = self.conv_head(self.stage7(self.stage6(self.stage5(x))))
        return self.fc(self.pool(x).flatten(1))


def mobilenet_v2_cifar(classes: int) -> MobileNetV2:
    """MobileNet-V2 for CIFAR: feature maps of 1280 x 5 x 5 for images of 32 x 32."""
    return MobileNetV2(classes)
