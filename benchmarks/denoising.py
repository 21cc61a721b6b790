"""What a training step with gradient denoising costs, beside its five passes and beside two forward passes.

    python benchmarks/denoising.py                 ResNet-18 and MobileNet-V2 for 32 x 32 images, a batch of 8
    python benchmarks/denoising.py --batch 128     with the thesis' batch, on a GPU where there is one

Whole training steps take turns in one process and one thread; `of the five passes` is the median of an entry's ratios to
the five passes of the same turn: forward, gradient at the image, another gradient at the image, and the two that
differentiate the sum, all on the plain network, with neither switches nor a loss around them. Two forward passes come in
two forms: as guided backpropagation is usually run, by `.backward()`, which computes the gradients of the parameters in
passing; and lean. `difference` is the largest difference of a parameter's gradient from ours, relative to the largest
gradient.
The table goes to results/benchmark_denoising.csv, and machine, versions and date to the .json beside it.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xailib import models
from xailib.course import device, save_results
from xailib.training import interpretable_gradient_loss
from xailib.training.denoising import cosine

COEFFICIENT = 7.5e-3
NETWORKS = ("resnet18_cifar", "mobilenet_v2_cifar")


class Guided(torch.autograd.Function):
    """clamp(x, 0, high), guided on the way back."""

    @staticmethod
    def forward(ctx, high: float | None, x: Tensor) -> Tensor:
        y = x.clamp(0, high)
        ctx.save_for_backward((x > 0) & (x < (high or torch.inf)))
        return y

    @staticmethod
    def backward(ctx, R: Tensor):
        return None, R.clamp(min=0) * ctx.saved_tensors[0]


def plain(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(model(images), targets)


def five_passes(model: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    x = images.detach().requires_grad_()
    losses = F.cross_entropy(model(x), targets, reduction="none")
    (standard,) = torch.autograd.grad(losses.sum(), x, create_graph=True)
    (other,) = torch.autograd.grad(losses.sum(), x, retain_graph=True)
    return losses.mean() + COEFFICIENT * (standard * other.flip(0)).sum()


def ours(model: nn.Module, images: Tensor, targets: Tensor, fraction: float = 1.0) -> Tensor:
    return interpretable_gradient_loss(model, images, targets, coefficient=COEFFICIENT, fraction=fraction).total


def two_forwards(model: nn.Module, images: Tensor, targets: Tensor, *, lean: bool = False) -> Tensor:
    x, y = (images.detach().clone().requires_grad_() for _ in range(2))
    losses = F.cross_entropy(model(x), targets, reduction="none")
    (standard,) = torch.autograd.grad(losses.sum(), x, create_graph=True)
    guided_loss = F.cross_entropy(_guided_forward(model, y), targets, reduction="sum")
    if lean:
        (guided,) = torch.autograd.grad(guided_loss, y)
    else:
        guided_loss.backward()
        guided = y.grad
        model.zero_grad()
    return losses.mean() + COEFFICIENT * cosine(standard.flatten(1), guided.flatten(1)).mean()


def _guided_forward(model: nn.Module, y: Tensor) -> Tensor:
    high = {nn.ReLU: None, nn.ReLU6: 6.0}
    rectifiers = [module for module in model.modules() if type(module) in high]
    for module in rectifiers:
        module.forward = partial(Guided.apply, high[type(module)])
    try:
        return model(y)
    finally:
        for module in rectifiers:
            del module.forward


ENTRIES: dict[str, Callable] = {
    "plain training step": plain,
    "five passes": five_passes,
    "interpretable_gradient_loss": ours,
    "on a quarter of the batch": lambda *batch: ours(*batch, fraction=0.25),
    "two forwards": two_forwards,
    "two forwards, lean": lambda *batch: two_forwards(*batch, lean=True),
}


def measure(name: str, batch: int, turns: int) -> list[dict]:
    """The entries' lines for one network."""
    torch.manual_seed(0)
    model = getattr(models, name)(100).to(device()).train()
    case = model, torch.rand(batch, 3, 32, 32, device=device()), torch.randint(100, (batch,), device=device())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9)  # rate 0: every turn starts alike
    gradients, seconds = {}, {entry: [] for entry in ENTRIES}
    for turn in range(turns + 1):  # the first one warms up
        for entry, loss in ENTRIES.items():
            seconds[entry].append(_step(loss, case, optimizer))
            if turn == 0:
                gradients[entry] = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    return [_line(name, entry, seconds, gradients) for entry in ENTRIES]


def _step(loss: Callable, case: tuple, optimizer: torch.optim.Optimizer) -> float:
    """Seconds of one whole training step."""
    _finish()
    start = time.perf_counter()
    optimizer.zero_grad()
    loss(*case).backward()
    optimizer.step()
    _finish()
    return time.perf_counter() - start


def _finish() -> None:
    if device().type == "cuda":
        torch.cuda.synchronize()


def _line(name: str, entry: str, seconds: dict[str, list[float]], gradients: dict[str, Tensor]) -> dict:
    def ratio(one: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(seconds[one][1:], seconds[other][1:], strict=True))

    expected = gradients["interpretable_gradient_loss"]
    line = {"model": name, "entry": entry, "seconds": statistics.median(seconds[entry][1:])}
    line |= {"of the five passes": ratio(entry, "five passes"), "of ours": ratio(entry, "interpretable_gradient_loss")}
    if entry == "interpretable_gradient_loss":
        line["note"] = "holds" if line["of the five passes"] <= 1.15 else "too slow"
    if entry.startswith("two forwards"):
        line["difference"] = ((gradients[entry] - expected).abs().max() / expected.abs().max()).item()
        line["note"] = "holds" if line["of ours"] >= 1.2 and line["difference"] <= 1e-5 else "below 1.2 or differs"
    return line


def main() -> None:
    import pandas as pd

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--name", default="benchmark_denoising", help="of the files in results/")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tables = []
    for name in arguments.model:
        tables.append(pd.DataFrame(measure(name, arguments.batch, arguments.turns)))
        print(tables[-1].round(3).to_string(index=False, na_rep=""), flush=True)
    table = pd.concat(tables, ignore_index=True)
    context = {"batch": arguments.batch, "turns": arguments.turns, "threads": 1, "load": os.getloadavg()}
    print(save_results(arguments.name, table, seed=0, **context))


if __name__ == "__main__":
    main()
