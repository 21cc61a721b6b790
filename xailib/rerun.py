"""Running again only what lies above a layer: what would the score be, had the layer returned something else?

Modules beside the layer (children of its ancestors) that are called before it need not run again. For the length of a
call their `forward` hands out something else, the layer hands out the activations asked about, and the rest runs for
real. The image stays a batch of one, which broadcasts against the activations. What stands in for the modules below:

1. NaN: if the logits come out right all the same, nothing above the layer reads what is below it (a chain of stages);
2. what they returned in one recorded pass of the image (a layer inside a residual block);
3. nothing, they run: for a network that bears neither, so that the scores are always right.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import repeat

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from xailib import network
from xailib.network import Layer


@torch.inference_mode(False)
@torch.no_grad()
def above(
    model: nn.Module,
    layer: Layer,
    image: Float[Tensor, "1 c H W"],
    target: int,
    output: Float[Tensor, "1 ..."],
    logits: Float[Tensor, "1 classes"],
) -> Callable[[Float[Tensor, "n ..."]], Float[Tensor, " n"]]:
    """A function from outputs [n ...] of `layer` to the target's logits [n], as if the layer had returned these.

    `output` and `logits` are what layer and network return for the image. Of a linear head only the target's row is
    computed. No gradients; neither the model nor the outputs are changed.
    """
    layer = network.find_layer(model, layer)
    trial = output.detach().repeat(2, *[1] * (output.ndim - 1))
    for below in (_nan, _recorded):
        run = _Rerun(model, layer, image, below(model, layer, image))
        if run.gives(logits, trial.clone()):
            break
    else:
        run = _Rerun(model, layer, image, _nothing(model, layer, image))
    return _unharmed(run.row(target, trial, logits), trial)


def _unharmed(scores: Callable[[Tensor], Tensor], trial: Tensor) -> Callable[[Tensor], Tensor]:
    """The same function, on copies if an in-place operation above the layer would write into the activations."""
    version = trial._version
    scores(trial)
    if trial._version == version:
        return scores

    @torch.inference_mode(False)  # a copy made here may be written into, whatever mode the caller is in
    def on_copies(outputs: Tensor) -> Tensor:
        return scores(outputs.clone())

    return on_copies


@dataclass(frozen=True)
class _Rerun:
    """Forward passes in which the layer returns what it is told, and modules below it what was kept for them."""

    model: nn.Module
    layer: nn.Module
    image: Tensor
    below: Mapping[nn.Module, Iterable]

    def logits(self, outputs: Tensor, head: dict[nn.Module, Callable] | None = None) -> Float[Tensor, "n classes"]:
        reached = []

        def arrive(*_, **__) -> Tensor:
            reached.append(True)
            return outputs

        def replay(forward: Callable, kept: Iterator) -> Callable:
            return lambda *args, **kwargs: forward(*args, **kwargs) if reached else next(kept)

        forwards = {module: replay(module.forward, iter(kept)) for module, kept in self.below.items()}
        image = self.image if self.below else self.image.expand(len(outputs), -1, -1, -1)
        with torch.inference_mode(False), torch.no_grad(), swapped(forwards | {self.layer: arrive} | (head or {})):
            return self.model(image)

    def gives(self, logits: Tensor, outputs: Tensor) -> bool:
        try:
            again = self.logits(outputs)
        except Exception:  # whatever a network raises that does not broadcast: the next stand-in will do
            return False
        return again.shape == (len(outputs), logits.shape[1]) and _close(again, logits)

    def row(self, target: int, trial: Tensor, logits: Tensor) -> Callable[[Tensor], Float[Tensor, " n"]]:
        """The target's logits of outputs; where a linear layer returns the logits, its other rows are not computed."""
        for head in self._returning_logits(trial.clone()):
            row = slice(target, target + 1)
            bias = None if head.bias is None else head.bias.detach()[row]
            only: dict[nn.Module, Callable] = {head: partial(F.linear, weight=head.weight.detach()[row], bias=bias)}
            if _close(self.logits(trial.clone(), only), logits[:, row]):
                return lambda outputs: _float(self.logits(outputs, only)[:, 0])
        return lambda outputs: _float(self.logits(outputs)[:, target])

    def _returning_logits(self, trial: Tensor) -> list[nn.Linear]:
        """The linear layers whose only output is the logits."""
        returned: dict[nn.Linear, list[Tensor]] = {}
        linear = [module for module in self.model.modules() if type(module) is nn.Linear]

        def see(module: nn.Linear, _, output: Tensor):
            returned.setdefault(module, []).append(output)

        with network.hooked([(module, see) for module in linear]):
            logits = self.logits(trial)
        return [module for module, outputs in returned.items() if len(outputs) == 1 and outputs[0] is logits]


def _close(again: Tensor, logits: Tensor) -> bool:
    """Equal up to rounding; NaN is equal to nothing."""
    rounding = 1e-4 if logits.dtype in (torch.float32, torch.float64) else 5e-2
    return bool(((again - logits.detach()).abs() <= rounding * logits.detach().abs().max()).all())


def _float(scores: Tensor) -> Tensor:
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


# --- stand-ins for the modules below the layer ------------------------------------------------------------------------


def _nan(model: nn.Module, layer: nn.Module, image: Tensor) -> Mapping[nn.Module, Iterable]:
    return {module: repeat(image.new_full((1, 1, 1, 1), torch.nan)) for module in _beside(model, layer)}


def _recorded(model: nn.Module, layer: nn.Module, image: Tensor) -> Mapping[nn.Module, Iterable]:
    kept: dict[nn.Module, list] = {module: [] for module in _beside(model, layer)}
    reached = []

    def keep(module: nn.Module, _, output):
        if not reached:
            kept[module].append(output)

    hooks = [(module, keep) for module in kept] + [(layer, lambda *_: reached.append(True))]
    with torch.inference_mode(False), torch.no_grad(), network.hooked(hooks):
        model(image)
    return kept


def _nothing(model: nn.Module, layer: nn.Module, image: Tensor) -> Mapping[nn.Module, Iterable]:
    return {}


def _beside(model: nn.Module, layer: nn.Module) -> list[nn.Module]:
    """The children of the layer's ancestors that are not on the way to the layer themselves."""
    name = next(name for name, module in model.named_modules() if module is layer)
    parts = name.split(".") if name else []
    way = [model.get_submodule(".".join(parts[:depth])) for depth in range(len(parts) + 1)]
    return list({child: None for parent in way[:-1] for child in parent.children() if child not in way})


@contextmanager
def swapped(forwards: Mapping[nn.Module, Callable]) -> Iterator[None]:
    """Modules with another `forward` for as long as the `with` block lives."""
    with ExitStack() as stack:
        for module, forward in forwards.items():
            stack.callback(_restore, module, vars(module).get("forward"))
            vars(module)["forward"] = forward
        yield


def _restore(module: nn.Module, own: Callable | None) -> None:
    if own is None:
        vars(module).pop("forward", None)  # the class's own shows again
    else:
        vars(module)["forward"] = own
