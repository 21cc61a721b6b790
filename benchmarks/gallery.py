"""One picture of all methods: three photographs, as 21 methods explain them to EfficientNet-Lite0.

    python benchmarks/gallery.py       about ten minutes on two CPU cores

The picture goes to results/gallery.png, with its description inside it; seconds and settings go to gallery.csv and
gallery.json beside it. Methods run as they are by default, but for those that take thousands of forward passes: see
METHODS. Raw attention, rollout and TIBAV need a transformer. None with trained weights comes with the installation,
and of an untrained one a picture would show nothing, so they are left out.

Each map is scaled by itself. Where it has two signs, it is divided by its largest magnitude, and blue speaks against
the class; otherwise it goes from its least value (dark) to its greatest (bright). The half percent of its pixels with
the largest magnitude is clipped first, or gradients would show a few dots on black.
"""

import time
from functools import partial

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
    "Fake-CAM (a control)": explain.fakecam,
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
    most = maps.abs().flatten(1).quantile(0.995, dim=1)[:, None, None]
    clipped = maps.clamp(-most, most)
    signed = heatmap.normalize(clipped.abs(), "max") * clipped.sign()
    return torch.where((maps < 0).any(), signed, heatmap.normalize(clipped))


def strip(pictures: torch.Tensor) -> torch.Tensor:
    """A batch [b ... H W] as one picture, one above the other."""
    return torch.cat(list(pictures), dim=-2)


def picture(images: torch.Tensor, maps: dict[str, torch.Tensor], alt: str) -> plot.Figure:
    """Strips of the photographs and, beside them, of the maps; photographs lead each row."""
    panels: list[tuple[str, torch.Tensor | None]] = []
    for name, one in maps.items():
        if len(panels) % COLUMNS == 0:
            panels.append(("", None))
        panels.append((name, strip(shown(one))))
    titles, strips = zip(*panels, strict=True)
    figure = plot.gallery([strip(images)] * len(panels), strips, alt=alt, titles=titles, columns=COLUMNS, opacity=0.6)
    for axes in figure.axes:
        for border in range(1, len(images)):
            axes.axhline(border * images.shape[2], color="white", linewidth=3)
    return figure


def save(figure: plot.Figure, path) -> None:
    """A PNG of 256 colours, which is a third of the size, with the figure's text inside."""
    figure.savefig(path, dpi=140)
    text = PngImagePlugin.PngInfo()
    text.add_itxt("Description", figure.alt)
    Image.open(path).convert("RGB").quantize(256).save(path, pnginfo=text, optimize=True)


def main() -> None:
    model, (images, targets, _) = models.load(), photos.batch(PHOTOGRAPHS)
    maps, rows = {}, []
    for name, method in METHODS.items():
        start = time.perf_counter()
        maps[name] = method(model, images, targets)
        rows.append({"method": name, "seconds_per_image": round((time.perf_counter() - start) / len(images), 2)})
        print(f"{name:25}{rows[-1]['seconds_per_image']:8} s per image", flush=True)
    classes = [models.class_names()[target] for target in targets]
    alt = f"Heat maps of {len(maps)} methods for the classes {', '.join(classes)} over a photograph of each."
    settings = {name: str(dict(method.keywords)) for name, method in METHODS.items() if isinstance(method, partial)}
    table = save_results("gallery", pd.DataFrame(rows), seed=0, photographs=PHOTOGRAPHS, settings=settings)
    save(picture(images, maps, alt), table.with_suffix(".png"))
    print(table.with_suffix(".png"))


if __name__ == "__main__":
    main()
