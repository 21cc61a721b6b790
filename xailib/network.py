"""Looking inside a network: the only file that knows hooks.

Every hook lives inside one `with` and is gone when it ends, by success, error or interrupt. Nothing is stored on the
model, and no parameter's `.grad`, `requires_grad`, mode or buffer is touched.
"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

Layer = str | nn.Module


def uncompiled(model: nn.Module) -> nn.Module:
    """The Python model behind `torch.compile`, which ignores hooks that come after compilation; else the model."""
    return getattr(model, "_orig_mod", model)


# --- layers and scores ------------------------------------------------------------------------------------------------


def find_layer(model: nn.Module, layer: Layer) -> nn.Module:
    """The sub-module meant by a dotted name or by itself.

    Raises ValueError, with the nearest names, if the model has no such layer.
    """
    if isinstance(layer, nn.Module):
        layer = uncompiled(layer)
        if not any(module is layer for module in model.modules()):
            raise ValueError(f"the given {type(layer).__name__} is not a layer of this {model._get_name()}")
        return layer
    if not isinstance(layer, str):
        raise ValueError(
            f"layer must be a name or a module, such as 'layer4' or model.layer4, found {type(layer).__name__}"
        )
    try:
        return model.get_submodule(layer) if layer else model
    except AttributeError:
        raise ValueError(f"no layer {layer!r} in {model._get_name()}{_nearest(model, layer)}") from None


def _nearest(model: nn.Module, layer: str) -> str:
    names = [name for name, _ in model.named_modules() if name]
    names += [name.partition(".")[2] for name in names if "." in name]  # a wrapped network answers to inner names too
    near = difflib.get_close_matches(layer, names, n=3, cutoff=0.4)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else "; see model.named_modules()"


def layer_name(model: nn.Module, layer: Layer) -> str:
    """The dotted name of a layer, for messages."""
    if isinstance(layer, str):
        return layer
    wanted = find_layer(model, layer)
    return next(name or "the model" for name, module in model.named_modules() if module is wanted)


def class_scores(logits: Any, targets: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """The logit of each image's target class, in at least float32.

    Raises ValueError if the network's output is not finite logits [b classes], or a class lies outside it.
    """
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(targets):
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"the network must return logits [b classes], found {found}; wrap it so that it does")
    classes = logits.shape[1]
    if targets.min() < 0 or targets.max() >= classes:
        raise ValueError(
            f"targets must lie in 0..{classes - 1}, found {targets.min().item()} to {targets.max().item()}"
        )
    with torch.inference_mode(False), torch.enable_grad():  # also where the caller switched gradients off
        scores = logits.gather(1, targets[:, None].clone())[:, 0]  # of targets that may come from inference mode
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if not scores.isfinite().all():
        raise ValueError("the network's scores contain NaN or infinite values; check its weights and precision")
    return scores


def class_probabilities(
    logits: Any, targets: Int[Tensor, " b"], *, temperature: float | int = 1
) -> Float[Tensor, " b"]:
    """The probability of each image's target class: the softmax of the logits divided by `temperature`.

    Raises ValueError as `class_scores` does, and for a temperature that is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, found {temperature}")
    scores = class_scores(logits, targets) / temperature
    p = (scores - (logits.to(scores.dtype) / temperature).logsumexp(1)).exp().clamp(max=1)  # 1 + rounding is none
    if p.isnan().any():
        raise ValueError("the network's logits contain NaN or infinite values; check its weights and precision")
    return p


def linear_head(model: nn.Module, A: Float[Tensor, "b k h w"], logits: Tensor) -> Float[Tensor, "classes k"]:
    """The weights of the linear layer that turns the mean of A over places into the logits.

    Raises ValueError unless logits = W mean(A) + bias holds on these very activations.
    """
    pooled = A.mean((2, 3))
    for head in reversed([module for module in model.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]):
        if head.weight.flatten(1).shape != (logits.shape[1], A.shape[1]):
            continue
        W = head.weight.detach().flatten(1).to(A.dtype)
        rebuilt = pooled @ W.T + (0 if head.bias is None else head.bias.detach())
        tolerance = (1e-4 if logits.dtype in (torch.float32, torch.float64) else 5e-2) * logits.detach().abs().max()
        if (rebuilt - logits.detach()).abs().max() <= tolerance:
            return W
    raise ValueError(
        "the original CAM needs global average pooling and one linear layer right above the chosen layer, and this "
        "network computes its logits otherwise; choose the last feature layer, or use gradcam"
    )


def channels_last(model: nn.Module, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """The images laid out channels last in memory, where many convolutions run faster, if the network takes them so."""
    laid_out = images.contiguous(memory_format=torch.channels_last)
    try:
        with torch.no_grad():
            model(laid_out[:1])
    except RuntimeError:  # a network that reshapes with .view() needs the order of dimensions in memory
        return images
    return laid_out


def chunk_size(chunk: int | None, images: Tensor) -> int:
    """Images per forward pass: on a CPU few, which fit its caches; on a GPU many, which keep it busy."""
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be at least 1, found {chunk}")
    return chunk or (4 if images.device.type == "cpu" else 128)


# --- cutting a network at its layers ----------------------------------------------------------------------------------


@contextmanager
def hooked(modules_and_hooks: Sequence[tuple[nn.Module, Callable]]) -> Iterator[None]:
    """Forward hooks that live as long as the `with` block."""
    with ExitStack() as stack:
        for module, hook in modules_and_hooks:
            handle = module.register_forward_hook(hook)
            stack.callback(handle.remove)
        yield


def cut(model: nn.Module, images: Tensor, layers: Sequence[Layer]) -> tuple[list[Tensor], Any]:
    """The outputs of `layers` and the logits of one forward pass whose autograd graph begins at the first of them.

    What runs before the first layer runs without a graph, so a backward pass costs only the part above it. Each
    output is a copy of its own, safe from in-place operations above. Raises ValueError for a layer that does not run,
    runs more than once, or returns something else than one tensor.
    """
    modules = [find_layer(model, layer) for layer in layers]
    names = {module: layer_name(model, layer) for module, layer in zip(modules, layers, strict=True)}
    outputs: dict[nn.Module, Tensor] = {}

    def take(module: nn.Module, _, output) -> Tensor:
        if module in outputs:
            raise ValueError(
                f"layer {names[module]!r} runs more than once in a forward pass; choose one that runs once"
            )
        if not isinstance(output, Tensor):
            raise ValueError(
                f"layer {names[module]!r} returns {type(output).__name__}, not a tensor; choose a layer inside it"
            )
        outputs[module] = output if output.requires_grad else output.detach().clone().requires_grad_()
        torch.set_grad_enabled(True)  # ends with the no_grad block below
        return outputs[module].clone()

    with torch.inference_mode(False), torch.no_grad(), hooked([(module, take) for module in modules]):
        logits = model(images.clone() if images.is_inference() else images)  # autograd keeps no inference tensor
    for module in modules:
        if module not in outputs:
            raise ValueError(f"layer {names[module]!r} is not used in the forward pass; choose another")
    return [outputs[module] for module in modules], logits


def gradients(scores: Float[Tensor, " b"], outputs: Sequence[Tensor]) -> list[Tensor | None]:
    """The gradient of each image's score with respect to each layer output (None where no score depends on it)."""
    if not scores.requires_grad:
        return [None] * len(outputs)
    with torch.inference_mode(False), torch.enable_grad():
        return list(torch.autograd.grad(scores.sum(), outputs, retain_graph=True, allow_unused=True))
