"""The methods of the table, by name.

A method is any function `(model, images, targets) -> maps [b H W]`. It also gets the `layer` to explain and a seeded
`generator` where it has parameters of these names that nobody has filled: see `case`.
"""

from collections.abc import Callable
from functools import partial

from torch import nn

from xailib import explain

METHODS: dict[str, Callable] = {
    name: partial(explain.cam, weights=weights) for name, weights in explain.WEIGHTS.items()
}
METHODS |= {
    method.__name__: method
    for method in (
        explain.opticam,
        explain.input_gradient,
        explain.saliency,
        explain.guided_backprop,
        explain.smoothgrad,
        explain.integrated_gradients,
        explain.occlusion,
        explain.rise,
        explain.lime,
        explain.meaningful_perturbation,
        explain.extremal_perturbation,
    )
}
CONTROLS = {one.__name__: one for one in (explain.fakecam, explain.random_map, explain.centre_map, explain.edge_map)}
ATTENTION = {one.__name__: one for one in (explain.raw_attention, explain.rollout, explain.tibav)}
METHODS |= CONTROLS | ATTENTION


def methods_of(model: nn.Module) -> dict[str, Callable]:
    """All methods that suit a network: those that read attention only if it has any."""
    attends = any(type(module).__name__.endswith("Attention") for module in model.modules())
    return {name: method for name, method in METHODS.items() if attends or name not in ATTENTION}
