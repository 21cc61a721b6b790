"""What the CAM family costs, in plain forward passes, beside the public libraries.

    python benchmarks/cam.py                               both networks, all entries (an hour)
    python benchmarks/cam.py --model efficientnet_lite0    one network
    python benchmarks/cam.py --quick                       without the methods that take hundreds of forward passes

Each entry runs in a process of its own, where plain forward passes without gradients and the entry take turns; its
cost is the median of the ratios. Peak memory is how far the process's largest resident set grew beyond what plain
forward passes had needed. Libraries come with `pip install -e ".[reference]"`; one that is missing is listed as such.
`correlation` is that of a library's map with ours, left out where a map is blank: ResNet-50 has random weights here.
The table goes to results/benchmark_cam.csv, and machine, versions and date to the .json beside it.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from ratios import MODELS, PHOTOGRAPHS, Case, Entry, main

from xailib import explain, heatmap, network
from xailib.explain import combine

FIVE = [explain.gradcam, explain.gradcam_pp, explain.xgradcam, explain.layercam, explain.hirescam]

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


@torch.no_grad()
def faithfulness(case: Case, maps: torch.Tensor) -> dict:
    """Average drop and average gain, in percent."""
    p, o = (
        case.model(images).softmax(1).gather(1, case.targets[:, None])
        for images in (case.images, case.images * maps[:, None])
    )
    drop, gain = 100 * ((p - o).relu() / p).mean(), 100 * ((o - p).relu() / (1 - p)).mean()
    return {"AD": drop.item(), "AG": gain.item()}


SLOW = {"repeats": 1, "units": 25}
SIX = SLOW | {"images": 6, "score": faithfulness}
ENTRIES = {
    **{f"{weights.__name__}": Entry(ours(weights), limit=1.15) for weights in FIVE},
    "all five together": Entry(ours(*FIVE), limit=1.4),
    "Grad-CAM, pytorch-grad-cam": Entry(pytorch_grad_cam("GradCAM"), "grad-cam", same="gradcam"),
    "Grad-CAM, torchcam": Entry(torchcam("GradCAM"), "torchcam", same="gradcam"),
    "Grad-CAM, captum": Entry(captum_gradcam, "captum", same="gradcam"),
    "ablationcam": Entry(ours(explain.ablationcam), repeats=11, units=2, limit=3.0),
    "Ablation-CAM, pytorch-grad-cam": Entry(pytorch_grad_cam("AblationCAM"), "grad-cam", same="ablationcam", **SLOW),
    "scorecam": Entry(ours(explain.scorecam), **SLOW),
    "Score-CAM, torchcam": Entry(torchcam("ScoreCAM"), "torchcam", same="scorecam", **SLOW),
    "Score-CAM, pytorch-grad-cam": Entry(pytorch_grad_cam("ScoreCAM"), "grad-cam", same="scorecam", **SLOW),
    "opticam": Entry(opticam, **SIX),
    "Opti-CAM, published loop": Entry(published_opticam, same="opticam", **SIX),
    "Opti-CAM, its lean form": Entry(lambda case: published_opticam(case, lean=True), same="opticam", **SIX),
}


if __name__ == "__main__":
    main(ENTRIES, __doc__, "benchmark_cam", layers=MODELS, images=PHOTOGRAPHS)
