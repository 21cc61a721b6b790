"""Convolutions that are cheap to differentiate twice.

For y = w * x, the gradient at the input, R_in = w^T * R_out, is linear in w and in R_out. Its own derivatives along v are

    dR_out = w * v        dw = the gradient at the weights, of the input v and the output gradient R_out

The second is one call of the kernel for weight gradients. PyTorch builds it from convolutions whose kernels are as large
as images, one for each group: thousands of calls where convolutions are depthwise.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode


class twice_differentiable(TorchFunctionMode):  # lower case, as torch.no_grad: it is there to be used in a `with`
    """A context in which the convolutions of a forward pass are of this kind.

    As long as `at_images` is set, backward passes stop at the image and can be differentiated again; they leave the
    weights out. Once it is cleared, the next one computes the gradients of the weights as well, and is the last.
    """

    def __init__(self):
        super().__init__()
        self.at_images = True

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is not torch.conv2d:
            return func(*args, **(kwargs or {}))
        return self._conv2d(*args, **(kwargs or {}))

    def _conv2d(self, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        if isinstance(padding, str) or input.ndim != 4:
            return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)
        if torch.is_autocast_enabled(input.device.type):
            dtype = torch.get_autocast_dtype(input.device.type)
            input, weight, bias = (t if t is None else t.to(dtype) for t in (input, weight, bias))
        pairs = [[n, n] if isinstance(n, int) else [*n] for n in (stride, padding, dilation)]
        return _Convolution.apply(input, weight, bias, (*pairs, False, [0, 0], groups), self)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, w: Tensor, bias: Tensor | None, options: tuple, context: twice_differentiable):
        ctx.save_for_backward(x, w)
        ctx.options, ctx.context = options, context
        return torch.convolution(x, w, bias, *options)

    @staticmethod
    def backward(ctx, R: Tensor):
        x, w = ctx.saved_tensors
        if ctx.context.at_images:
            return _InputGradient.apply(R, w, x.detach(), ctx.options), None, None, None, None
        found = torch.ops.aten.convolution_backward(R, x, w, w.shape[:1], *ctx.options, ctx.needs_input_grad[:3])
        return *found, None, None


class _InputGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, R: Tensor, w: Tensor, x: Tensor, options: tuple) -> Tensor:
        ctx.save_for_backward(R, w)
        ctx.options = options
        return torch.ops.aten.convolution_backward(R, x, w, None, *options, [True, False, False])[0]

    @staticmethod
    @once_differentiable
    def backward(ctx, v: Tensor):
        R, w = ctx.saved_tensors
        dR = torch.convolution(v, w, None, *ctx.options) if ctx.needs_input_grad[0] else None
        dw = None
        if ctx.needs_input_grad[1]:
            dw = torch.ops.aten.convolution_backward(R, v, w, None, *ctx.options, [False, True, False])[1]
        return dR, dw, None, None
