"""One picture of all methods: three photographs, as 21 methods explain them to EfficientNet-Lite0.

    python benchmarks/gallery.py       about ten minutes on two CPU cores

The picture goes to results/gallery.png, with its description inside it; the range of each raw map goes to gallery.csv,
and settings to gallery.json beside it. Methods run as they are by default, but for those that take thousands of
forward passes: see METHODS. Raw attention, rollout and TIBAV need a transformer. None with trained weights comes with
the installation, and of an untrained one a picture would show nothing, so they are left out.

Each map is scaled by itself. Where it has two signs, it is divided by its largest magnitude, and blue speaks against
the class; otherwise it goes from its least value (dark) to its greatest (bright). The two percent of its pixels with
the largest magnitude are clipped first, or gradients would show a few dots on black.
"""

import time
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from PIL import Image, PngImagePlugin

from xailib import explain, heatmap, models, plot
from xailib.course import save_results
from xailib.data import photos

PHOTOGRAPHS = ["chelsea", "coffee", "rocket"]
LAYER, STAGES = "bn2", ["blocks.2", "blocks.4", "bn2"]

METHODS = {
    "CAM": partial(explain.cam, layer=LAYER, weights=explain.classic_cam),
    "Grad-CAM": partial(explain.cam, layer=LAYER, weights=explain.gradcam),
    "Grad-CAM++": partial(explain.cam, layer=LAYER, weights=explain.gradcam_pp),
    "XGrad-CAM": partial(explain.cam, layer=LAYER, weights=explain.xgradcam),
    "HiRes-CAM": partial(explain.cam, layer=LAYER, weights=explain.hirescam),
    "Layer-CAM": partial(explain.cam, layer=LAYER, weights=explain.layercam),
    "Layer-CAM, three layers": partial(explain.layercam_fusion, layers=STAGES),
    "Score-CAM": partial(explain.cam, layer=LAYER, weights=explain.scorecam),
    "Ablation-CAM": partial(explain.cam, layer=LAYER, weights=explain.ablationcam),
    "Opti-CAM": partial(explain.opticam, layer=LAYER),
    "Fake-CAM (control)": explain.fakecam,
    "Input gradient": explain.input_gradient,
    "Saliency": explain.saliency,
    "Guided backprop": explain.guided_backprop,
    "SmoothGrad": explain.smoothgrad,
    "Integrated gradients": explain.integrated_gradients,
    "Occlusion": partial(explain.occlusion, stride=16),
    "RISE": partial(explain.rise, masks=1000),  # of 4000
    "LIME": partial(explain.lime, samples=500),  # of 1000
    "Meaningful perturbation": explain.meaningful_perturbation,
    "Extremal perturbation": partial(explain.extremal_perturbation, iterations=200),  # of 800
}
COLUMNS = 8  # the photographs, and seven methods


def shown(maps: torch.Tensor) -> torch.Tensor:
    """The maps [b H W] as they are drawn: in [0, 1], or in [-1, 1] where they have two signs."""
    most = maps.abs().flatten(1).quantile(0.98, dim=1)[:, None, None]
    clipped = maps.clamp(-most, most)
    signed = heatmap.normalize(clipped.abs(), "max") * clipped.sign()
    return torch.where((maps < 0).any(), signed, heatmap.normalize(clipped))


def strip(pictures: torch.Tensor) -> torch.Tensor:
    """A batch [b ... H W] as one picture, one above the other."""
    return torch.cat(list(pictures), dim=-2)


def picture(images: torch.Tensor, classes: list[str], maps: dict[str, torch.Tensor], alt: str) -> plot.Figure:
    """Strips of the photographs with their classes' names, at the head of each row, and of the maps."""
    panels: list[tuple[str, torch.Tensor | None]] = []
    for name, one in maps.items():
        if len(panels) % COLUMNS == 0:
            panels.append(("", None))
        panels.append((name, strip(shown(one))))
    titles, strips = zip(*panels, strict=True)
    figure = plot.gallery([strip(images)] * len(panels), strips, alt=alt, titles=titles, columns=COLUMNS, opacity=0.6)
    for number, axes in enumerate(figure.axes):
        for row, name in enumerate(classes, start=1):
            axes.axhline(row * images.shape[2], color="white", linewidth=3)
            if number % COLUMNS == 0:
                box = {"facecolor": "black", "edgecolor": "none", "pad": 2}
                axes.text(8, row * images.shape[2] - 14, name, color="white", fontsize=8, bbox=box)
    return figure


def save(figure: plot.Figure, path: Path) -> None:
    """A PNG of 256 colours, dithered, which is a third of the size, with the figure's text inside."""
    figure.savefig(path, dpi=150)
    picture, text = Image.open(path).convert("RGB"), PngImagePlugin.PngInfo()
    text.add_itxt("Description", figure.alt)
    palette = picture.quantize(256, kmeans=3)
    picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(path, pnginfo=text, optimize=True)


def main() -> None:
    model, (images, targets, _) = models.load(), photos.batch(PHOTOGRAPHS)
    maps = {}
    for name, method in METHODS.items():
        start = time.perf_counter()
        maps[name] = method(model, images, targets)
        print(f"{name:25}{(time.perf_counter() - start) / len(images):8.2f} s per image", flush=True)
    classes = [models.class_names()[target] for target in targets]
    alt = (
        f"A grid of heat maps of {len(maps)} methods for the classes {', '.join(classes)}, each over a photograph of it. "
        "Most are brightest on the object, gradients are fine grain along its edges, and Fake-CAM is bright everywhere."
    )
    keywords = {name: method.keywords for name, method in METHODS.items() if isinstance(method, partial)}
    settings = {name: {key: value for key, value in of.items() if key != "weights"} for name, of in keywords.items()}
    rows = [
        {"method": name, "photograph": photograph, "least": one.min().item(), "greatest": one.max().item()}
        for name in maps
        for photograph, one in zip(PHOTOGRAPHS, maps[name], strict=True)
    ]
    table = save_results("gallery", pd.DataFrame(rows).round(5), seed=0, settings=settings)
    save(picture(images, classes, maps, alt), table.with_suffix(".png"))
    print(table.with_suffix(".png"))


if __name__ == "__main__":
    main()
