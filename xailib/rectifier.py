"""Guided ReLU: while a network runs forward, its rectifiers get a backward pass that a gate can switch.

Guided backpropagation (Springenberg et al., ICLR workshop 2015) differs from the gradient at each ReLU only,

    R_in = 1[x > 0] R_out               plain
    R_in = 1[x > 0] 1[R_out > 0] R_out  guided        (ReLU6: 1[0 < x < 6])

so nothing on the network needs to change. The calls are caught instead, where all spellings of a rectifier meet:
modules, functions and methods, in place or not.
"""

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# Every spelling of a rectifier, read as clamp(x, low, high); a name ending in "_" is the same in place.
_RECTIFIERS = {
    "relu": lambda input, inplace=False: (input, 0, None, inplace),
    "relu6": lambda input, inplace=False: (input, 0, 6, inplace),
    "hardtanh": lambda input, min_val=-1, max_val=1, inplace=False: (input, min_val, max_val, inplace),
    "clamp": lambda input, min=None, max=None: (input, min, max, False),
    "clip": lambda input, min=None, max=None: (input, min, max, False),
    "clamp_min": lambda input, min: (input, min, None, False),
}
_UNGUIDED = set("leaky_relu prelu rrelu elu selu celu gelu silu mish hardswish softplus threshold".split())


class guided_relu(TorchFunctionMode):  # lower case, as torch.no_grad: it is there to be used in a `with`
    """A context in which the forward pass of `model` gets switchable rectifiers; the context is their switch.

    >>> with guided_relu(model) as gate:
    ...     scores = model(images).gather(1, targets[:, None])
    >>> plain, = torch.autograd.grad(scores.sum(), images, retain_graph=True)
    >>> gate.on = True
    >>> guided, = torch.autograd.grad(scores.sum(), images)

    The plain gradient can be differentiated again (`create_graph=True`). `count` tells how many rectifiers were met.
    Raises ValueError for what it cannot guide: TorchScript inside the model, an activation that is like a rectifier but
    is not one (leaky ReLU, GELU, SiLU, ...), and, when switched on, a network in which no ReLU was met. A rectifier
    written out of other operations (`torch.where`, `torch.maximum`), or in a scripted function, is not recognised.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        for name, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                raise ValueError(f"{name or 'the model'} is TorchScript, whose ReLUs cannot be guided; use Python")
        self.count = 0
        self._on = False

    @property
    def on(self) -> bool:
        return self._on

    @on.setter
    def on(self, on: bool) -> None:
        if on and self.count == 0:
            raise ValueError("no ReLU was met in the forward pass: guided would be the plain gradient; use that one")
        self._on = on

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        spelling = getattr(func, "__name__", "").split(".")[0]  # operators of torch.ops are called "relu.default"
        name = spelling.strip("_")
        if name in _UNGUIDED:
            raise ValueError(
                f"the network uses {name}, but guided backpropagation is defined for ReLU and ReLU6 only; "
                "use another method, such as input_gradient or smoothgrad"
            )
        if name in _RECTIFIERS:
            x, low, high, inplace = _RECTIFIERS[name](*args, **kwargs)
            if x.is_floating_point() and not isinstance(low, Tensor) and low == 0 and not isinstance(high, Tensor):
                self.count += 1
                return _Rectifier.apply(x, high, self, inplace or spelling.endswith("_"))
        return func(*args, **kwargs)


class _Rectifier(torch.autograd.Function):
    """clamp(x, 0, high), with the gradient that its gate chooses at the time of the backward pass."""

    @staticmethod
    def forward(ctx, x: Tensor, high: int | float | None, gate: guided_relu, inplace: bool) -> Tensor:
        ctx.high, ctx.gate = high, gate
        y = x.clamp_(0, high) if inplace else x.clamp(0, high)
        if inplace:
            ctx.mark_dirty(x)
        ctx.save_for_backward(y)  # 0 < y < high where 0 < x < high, and the layer above keeps y anyway
        return y

    @staticmethod
    def backward(ctx, R: Tensor):
        y = ctx.saved_tensors[0].detach()  # where R passes is a constant, for the second derivative too
        if ctx.gate.on:
            R = R.clamp(min=0)
        if ctx.high is None:
            return torch.ops.aten.threshold_backward(R, y, 0), None, None, None
        return torch.ops.aten.hardtanh_backward(R, y, 0, ctx.high), None, None, None
