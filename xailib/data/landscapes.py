"""The backgrounds of planted scenes: a ground of one of five materials below a wavy horizon, and a sky that means nothing.

Each material is one sheet of filtered noise, made once per image size, from which every scene cuts its own piece.
Cutting and mixing take only sums and products, so a scene is the same to the last bit in whatever batch it is drawn.
"""

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

CONTEXTS = ("meadow", "sea", "desert", "snow", "lava")


@cache
def sheets(size: int) -> Float[Tensor, "contexts 3 side side"]:
    """The material of each of `CONTEXTS` in [0, 1], twice the image's side; opposite edges fit together."""
    made = torch.stack([_MATERIALS[name](_Noise(size, seed)) for seed, name in enumerate(CONTEXTS)])
    return made.clamp(0, 1).movedim(-1, 1).contiguous()


@cache
def clouds(size: int) -> Float[Tensor, "side side"]:
    """How white the sky is, in [0, 1), twice the image's side; opposite edges fit together."""
    noise = _Noise(size, 100)
    return ((noise(1, 3, stretch=2.5) + 0.3 * noise(3, 9, stretch=2)) * 0.38 - 0.08).clamp(0, 0.85)


@cache
def hills(size: int) -> Float[Tensor, " side"]:
    """The height of the horizon along x, about -1 to 1, twice the image's side."""
    return _Noise(size, 200)(0.3, 1.6)[0] / 2


class _Noise:
    """Noise with mean 0 and deviation 1, between two frequencies in waves per image side.

    `stretch` above 1 draws it out along x, below 1 along y.
    """

    def __init__(self, size: int, seed: int):
        self.side, self.generator = 2 * size, torch.Generator().manual_seed(seed)
        self.frequencies = torch.fft.fftfreq(self.side, 1 / size)

    def __call__(self, low: float | int, high: float | int, stretch: float | int = 1) -> Float[Tensor, "side side"]:
        x, y = self.frequencies * stretch**0.5, self.frequencies[:, None] / stretch**0.5
        wave = x.hypot(y)
        band = torch.exp(-((wave / high) ** 2)) - torch.exp(-((wave / low) ** 2))
        white = torch.randn(self.side, self.side, generator=self.generator)
        noise = torch.fft.ifft2(torch.fft.fft2(white) * band).real
        return noise / noise.std()


def _ramp(height: Tensor, *stops: str) -> Float[Tensor, "side side 3"]:
    """Colours between the stops, which lie evenly from height 0 to height 1."""
    rgb = torch.tensor([[int(stop[i : i + 2], 16) / 255 for i in (1, 3, 5)] for stop in stops])
    place = height.clamp(0, 1) * (len(stops) - 1)
    below = place.floor().long().clamp(max=len(stops) - 2)
    part = (place - below)[..., None]
    return rgb[below] * (1 - part) + rgb[below + 1] * part


def _over(ground: Tensor, amount: Tensor, colour: str) -> Tensor:
    amount = amount.clamp(0, 1)[..., None]
    return ground * (1 - amount) + _ramp(torch.zeros(1, 1), colour, colour) * amount


def _meadow(noise: _Noise) -> Tensor:
    blades = noise(5, 16, stretch=0.25)
    grass = _ramp(0.5 + 0.2 * blades + 0.12 * noise(1, 4), "#2c5a1e", "#4f8a2c", "#7fb53f", "#b5d565")
    blossoms = noise(6, 13)
    return _over(_over(grass, 4 * (blossoms - 2.4), "#fff6d8"), 4 * (-blossoms - 2.5), "#f4c430")


def _sea(noise: _Noise) -> Tensor:
    swell = noise(2, 8, stretch=6)
    water = _ramp(0.45 + 0.2 * swell + 0.1 * noise(6, 16, stretch=4), "#083a5e", "#12648c", "#2b8fb0", "#8fd0d8")
    return _over(water, 1.6 * (swell + 0.4 * noise(5, 14, stretch=3) - 1.7), "#f2fbfb")


def _desert(noise: _Noise) -> Tensor:
    ripples = 1 - noise(2.5, 7, stretch=5).abs()
    return _ramp(0.45 + 0.3 * ripples + 0.06 * noise(9, 20), "#b07a3e", "#cf9a55", "#e4ba78", "#f5dba5")


def _snow(noise: _Noise) -> Tensor:
    drifts = _ramp(
        0.6 + 0.28 * noise(1, 4, stretch=3) + 0.05 * noise(8, 20), "#a9bfd6", "#d3dfec", "#eef3f9", "#ffffff"
    )
    return _over(drifts, 3 * (noise(8, 18) - 2.6), "#9db9d8")


def _lava(noise: _Noise) -> Tensor:
    rock = _ramp(0.4 + 0.2 * noise(4, 14), "#17110f", "#2c211d", "#473630", "#5c4841")
    crack = 1 - (noise(1.5, 4, stretch=1.6) + 0.25 * noise(4, 10)).abs() * 3.2
    return _over(_over(rock, 1.5 * crack, "#d6380d"), 2.2 * crack - 0.9, "#ffc04a")


_MATERIALS = {"meadow": _meadow, "sea": _sea, "desert": _desert, "snow": _snow, "lava": _lava}
