"""What the CAM family costs, in plain forward passes, beside the public libraries.

    python benchmarks/cam.py                               both networks, all entries (most of an hour on two CPU cores)
    python benchmarks/cam.py --model efficientnet_lite0    one network
    python benchmarks/cam.py --quick                       without the methods that take hundreds of forward passes

Each entry runs in a process of its own, where plain forward passes without gradients and the entry take turns; its
cost is the median of the ratios. Peak memory is how far the process's largest resident set grew beyond what plain
forward passes had needed. Libraries come with `pip install -e ".[reference]"`; one that is missing is listed as such.
`correlation` is that of a library's map with ours, left out where a map is blank: ResNet-50 has random weights here.
The table goes to results/benchmark_cam.csv, and machine, versions and date to the .json beside it.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from xailib import explain, heatmap, models, network
from xailib.course import save_results
from xailib.data import photos
from xailib.explain import combine

MODELS = {"efficientnet_lite0": "bn2", "resnet50": "layer4"}  # the last stage
FIVE = [explain.gradcam, explain.gradcam_pp, explain.xgradcam, explain.layercam, explain.hirescam]
PHOTOGRAPHS = [
    "chelsea",
    "coffee",
    "motorcycle",
    "rocket",
    "clock",
    "flower",
]  # one for the fast entries, all for Opti-CAM


@dataclass(frozen=True)
class Case:
    """What an entry gets: a network, one of its layers, images and their classes."""

    model: nn.Module
    layer: str
    images: torch.Tensor
    targets: torch.Tensor

    @property
    def module(self) -> nn.Module:
        return network.find_layer(self.model, self.layer)


@dataclass(frozen=True)
class Entry:
    """A function of the case that returns maps; how often it is timed, on how many images, and what it may cost."""

    run: Callable[[Case], torch.Tensor]
    package: str = "xailib"
    repeats: int = 25
    images: int = 1
    limit: float | None = None


# --- entries ----------------------------------------------------------------------------------------------------------


def ours(*weights: Callable) -> Callable[[Case], torch.Tensor]:
    def maps(case: Case) -> torch.Tensor:
        seen = explain.collect(case.model, case.images, case.targets, layer=case.layer)
        return [combine(seen, one) for one in weights][-1]

    return maps


def pytorch_grad_cam(method: str) -> Callable[[Case], torch.Tensor]:
    def maps(case: Case) -> torch.Tensor:
        import pytorch_grad_cam
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        with getattr(pytorch_grad_cam, method)(case.model, [case.module]) as extractor:
            return torch.from_numpy(extractor(case.images, [ClassifierOutputTarget(int(t)) for t in case.targets]))

    return maps


def torchcam(method: str) -> Callable[[Case], torch.Tensor]:
    def maps(case: Case) -> torch.Tensor:
        import torchcam.methods

        with getattr(torchcam.methods, method)(case.model, case.module) as extractor:
            found = extractor(case.targets.tolist(), case.model(case.images), normalized=False)
        return heatmap.resize(found[0], case.images.shape[2:])

    return maps


def captum_gradcam(case: Case) -> torch.Tensor:
    from captum.attr import LayerGradCam

    found = LayerGradCam(case.model, case.module).attribute(case.images, case.targets, relu_attributions=True)
    return heatmap.resize(found[:, 0], case.images.shape[2:])


def opticam(case: Case) -> torch.Tensor:
    return explain.opticam(case.model, case.images, case.targets, layer=case.layer)


def published_opticam(case: Case, *, lean: bool = False, iterations: int = 100, lr: float = 0.1) -> torch.Tensor:
    """Opti-CAM as its authors' loop has it, in our words: a backward pass that also computes the gradients of all
    parameters and goes through the kept graph of the clean images, a stop of the whole batch every tenth of the
    iterations, and the map before the last update. `lean` does not keep that graph. It starts from u = 0, as we do: the
    authors' 0.5 is the same point of the simplex, but rounds otherwise, and ends at maps of about that score."""
    seen: list[torch.Tensor] = []
    with network.hooked([(case.module, lambda _, __, output: seen.append(output.detach()))]):
        clean = case.model(case.images).gather(1, case.targets[:, None])
    A, clean = seen[0].relu(), clean.detach() if lean else clean
    u = torch.zeros(A.shape[:2], requires_grad=True)
    adam, earlier = torch.optim.Adam([u], lr=lr), torch.inf
    for step in range(iterations):
        S = (u.softmax(1)[..., None, None] * A).sum(1, keepdim=True)
        S = F.interpolate(S, case.images.shape[2:], mode="bilinear", align_corners=False)
        low, high = S.amin((2, 3), keepdim=True), S.amax((2, 3), keepdim=True)
        maps = (S - low) / (high - low)
        loss = (clean - case.model(case.images * maps).gather(1, case.targets[:, None])).sum()
        if step % (iterations // 10) == 0:
            if loss > earlier:
                break
            earlier = loss.item()
        adam.zero_grad()
        loss.backward(retain_graph=not lean)
        adam.step()
    case.model.zero_grad()
    return maps.detach()[:, 0]


ENTRIES = {
    **{f"{weights.__name__}": Entry(ours(weights), limit=1.15) for weights in FIVE},
    "all five together": Entry(ours(*FIVE), limit=1.4),
    "Grad-CAM, pytorch-grad-cam": Entry(pytorch_grad_cam("GradCAM"), "grad-cam"),
    "Grad-CAM, torchcam": Entry(torchcam("GradCAM"), "torchcam"),
    "Grad-CAM, captum": Entry(captum_gradcam, "captum"),
    "ablationcam": Entry(ours(explain.ablationcam), repeats=11, limit=3.0),
    "Ablation-CAM, pytorch-grad-cam": Entry(pytorch_grad_cam("AblationCAM"), "grad-cam", repeats=1),
    "scorecam": Entry(ours(explain.scorecam), repeats=1),
    "Score-CAM, torchcam": Entry(torchcam("ScoreCAM"), "torchcam", repeats=1),
    "Score-CAM, pytorch-grad-cam": Entry(pytorch_grad_cam("ScoreCAM"), "grad-cam", repeats=1),
    "opticam": Entry(opticam, repeats=1, images=6),
    "Opti-CAM, published loop": Entry(published_opticam, repeats=1, images=6),
    "Opti-CAM, its lean form": Entry(lambda case: published_opticam(case, lean=True), repeats=1, images=6),
}
IMPORTS = {
    "xailib": "xailib.explain",
    "grad-cam": "pytorch_grad_cam",
    "torchcam": "torchcam.methods",
    "captum": "captum.attr",
}
SAME_METHOD = {"Grad-CAM": "gradcam", "Ablation-CAM": "ablationcam", "Score-CAM": "scorecam", "Opti-CAM": "opticam"}


# --- one entry, in its own process ------------------------------------------------------------------------------------


def measure(model_name: str, name: str, folder: Path) -> dict:
    """Cost, memory and, for Opti-CAM, the faithfulness of one entry; its maps go to `folder`."""
    entry, case = ENTRIES[name], _case(model_name, ENTRIES[name].images)
    with torch.no_grad():
        forward = [_seconds(lambda: case.model(case.images[:1]))[0] for _ in range(5)][2:]  # the first ones warm up
    import_module(IMPORTS[entry.package])  # a library's import is not part of its method's cost
    before = _peak_mib()
    ratios, seconds = [], []
    for _ in range(entry.repeats):
        with torch.no_grad():
            forward += [_seconds(lambda: case.model(case.images[:1]))[0] for _ in range(25 // entry.repeats)]
        took, maps = _seconds(lambda: entry.run(case))
        seconds.append(took / entry.images)
        ratios.append(seconds[-1] / statistics.median(forward[-25 // entry.repeats :]))
    grown = _peak_mib() - before
    torch.save(heatmap.normalize(maps.detach().float()), folder / f"{model_name}-{name}.pt")
    found = {"forwards": statistics.median(ratios), "seconds": statistics.median(seconds)}
    found |= {"forward_seconds": statistics.median(forward), "peak_mib": grown}
    return found | (_faithfulness(case, heatmap.normalize(maps)) if entry.images > 1 else {})


def _case(model_name: str, count: int) -> Case:
    pretrained = model_name == models.zoo.OFFLINE  # the other networks' weights would have to be downloaded
    torch.manual_seed(0)
    model = models.load(model_name, pretrained=pretrained)
    images, targets, _ = photos.batch(PHOTOGRAPHS[:count])
    return Case(model, MODELS[model_name], images, targets)


def _seconds(run: Callable) -> tuple[float, torch.Tensor]:
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def _peak_mib() -> float:
    """The largest resident set of this process so far; Linux counts it in KiB, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


@torch.no_grad()
def _faithfulness(case: Case, maps: torch.Tensor) -> dict:
    """Average drop and average gain, in percent."""
    p, o = (
        case.model(images).softmax(1).gather(1, case.targets[:, None])
        for images in (case.images, case.images * maps[:, None])
    )
    drop, gain = 100 * ((p - o).relu() / p).mean(), 100 * ((o - p).relu() / (1 - p)).mean()
    return {"AD": drop.item(), "AG": gain.item()}


# --- all entries ------------------------------------------------------------------------------------------------------


def row(model_name: str, name: str, folder: Path) -> dict:
    """One line of the table, from a process of its own."""
    entry = ENTRIES[name]
    line = {"model": model_name, "entry": name, "version": _version(entry.package), "limit": entry.limit}
    if line["version"] is None:
        return line | {"note": f"{entry.package} is not installed"}
    command = [sys.executable, __file__, "--entry", name, "--model", model_name, "--folder", str(folder)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "TQDM_DISABLE": "1"})
    if ran.returncode:
        return line | {"note": f"failed with exit status {ran.returncode}"}
    line |= json.loads(ran.stdout.splitlines()[-1])
    if entry.limit:
        line["note"] = "holds" if line["forwards"] <= entry.limit else "too slow"
    return line | {"correlation": _correlation(model_name, name, folder)}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _correlation(model_name: str, name: str, folder: Path) -> float | None:
    """Of a library's maps with ours, by pixel; the least of the images."""
    same = SAME_METHOD.get(name.split(",")[0])
    if same is None:
        return None
    maps = [torch.load(folder / f"{model_name}-{one}.pt", weights_only=True).flatten(1) for one in (name, same)]
    return min(torch.corrcoef(torch.stack(pair))[0, 1].item() for pair in zip(*maps, strict=True))


def main() -> None:
    import pandas as pd

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--quick", action="store_true", help="leave out what takes hundreds of forward passes")
    parser.add_argument("--name", default="benchmark_cam", help="of the files in results/")
    parser.add_argument("--entry", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.entry:
        print(json.dumps(measure(arguments.model[0], arguments.entry, arguments.folder)))
        return
    names = [name for name, entry in ENTRIES.items() if entry.repeats > 1 or not arguments.quick]
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for model_name in arguments.model:
            for name in names:
                lines.append(row(model_name, name, Path(folder)))
                print(pd.DataFrame(lines[-1:]).drop(columns="model").to_string(header=False, index=False), flush=True)
    table = pd.DataFrame(lines)
    print(table.round(3).to_string(index=False, na_rep=""))
    threads = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")}
    context = {"layers": MODELS, "random weights": ["resnet50"], "images": PHOTOGRAPHS, "threads": threads}
    print(save_results(arguments.name, table.round(4), seed=0, **context, load=os.getloadavg()))


if __name__ == "__main__":
    main()
