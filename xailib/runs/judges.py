"""How a study judges a network: each function gives the lines that go into its table."""

from collections.abc import Iterable
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from xailib import benchmark
from xailib.models.parts import part_loss
from xailib.training import denoising

FAITHFULNESS = ("average_drop", "average_gain", "average_increase", "insertion", "deletion")
IMAGES = {"quick": 4, "laptop": 100, "full": 2000}  # of the test images, from the first
POINTS = 28  # of insertion and deletion curves, as in the thesis' chapter 3


def accuracy_only(model: nn.Module, test: Dataset, profile: str, folder: Path) -> list[dict]:
    return [{"parameters": sum(parameter.numel() for parameter in model.parameters())}]


def pooling(model: nn.Module, test: Dataset, profile: str, folder: Path) -> list[dict]:
    """Faithfulness and energy in the evidence's boxes, of maps at the last stage; the mean confidence, on which they
    depend; all parameters."""
    metrics = {name: benchmark.METRICS[name] for name in (*FAITHFULNESS, "energy_pointing_game")} | {
        "confidence": confidence
    }
    size = {"parameters": sum(parameter.numel() for parameter in model.parameters())}
    return [size | line for line in _maps(model, test, profile, folder, ("gradcam", "gradcam_pp", "scorecam"), metrics)]


def gradients(model: nn.Module, test: Dataset, profile: str, folder: Path) -> list[dict]:
    """Faithfulness, and how alike standard and guided gradient are."""
    metrics = {name: benchmark.METRICS[name] for name in FAITHFULNESS} | {"alignment": alignment}
    return _maps(model, test, profile, folder, ("gradcam", "gradcam_pp", "saliency"), metrics)


def constraints(model: nn.Module, test: Dataset, profile: str, folder: Path) -> list[dict]:
    """The value of each constraint, not weighted."""
    samples = [test[i] for i in range(IMAGES[profile])]
    images, labels = torch.stack([s.image for s in samples]), torch.tensor([s.label for s in samples])
    with torch.no_grad():
        found = part_loss(model, images, labels)
    return [{name: getattr(found, name).item() for name in ("complementary", "assignment", "specificity")}]


# --- maps -------------------------------------------------------------------------------------------------------------


def _maps(
    model: nn.Module, test: Dataset, profile: str, folder: Path, methods: Iterable[str], metrics: dict
) -> list[dict]:
    """For each method, the mean of each metric over the first test images."""
    images = Subset(test, range(IMAGES[profile]))
    step = test[0].image[0].numel() // POINTS
    settings = {"insertion": {"step": step}, "deletion": {"step": step}}
    options: dict = {"methods": list(methods), "metrics": metrics, "settings": settings}
    table = benchmark.run(model, images, **options, file=folder / "judged.csv", progress=False)
    means = table.pivot_table(values="value", index="method", columns="metric", sort=False)
    return means.reset_index().to_dict("records")


def confidence(p: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """The probability of the explained class, in percent."""
    return 100 * p


def alignment(model: nn.Module, images: Float[Tensor, "b c H W"], targets: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """The cosine between the standard and the guided gradient of the loss at the image."""
    _, standard, guided = denoising.gradients(model, images, targets)
    return -denoising.cosine(standard.detach().flatten(1), guided.flatten(1))
