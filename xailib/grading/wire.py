"""What travels between a judge and a student's process, over a pair of sockets.

To the student go pickles, for the judge is to be trusted. Back comes JSON, so that reading an answer runs nothing.
"""

import base64
import importlib
import io
import json
import marshal
import pickle
import socket
import struct
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import CellType, CodeType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

LARGEST = 64 * 2**20  # bytes of one reply
DTYPES = {
    str(dtype): dtype
    for dtype in (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
    + (torch.float16, torch.bfloat16, torch.float32, torch.float64)
}
HEADER = struct.Struct("!Q")


class Gone(BaseException):
    """The other process ended or broke the rules; no check may take this for a wrong answer."""


class TooSlow(BaseException):
    """A cell or an answer took longer than it may; no `except Exception` stops this."""


class Channel:
    """Messages of bytes over a socket; `watch` is called twice a second while waiting, and may raise Gone."""

    def __init__(
        self, connection: socket.socket, *, deadline: float | int = float("inf"), watch: Callable = lambda: None
    ):
        self.connection, self.deadline, self.watch = connection, deadline, watch
        connection.settimeout(0.5)

    def send(self, message: bytes) -> None:
        rest = memoryview(HEADER.pack(len(message)) + message)
        while rest:
            rest = rest[self._try(partial(self.connection.send, rest)) :]

    def receive(self) -> bytes:
        (length,) = HEADER.unpack(self._read(HEADER.size))
        if length > LARGEST:
            raise Gone(f"an answer of more than {LARGEST // 2**20} MB")
        return self._read(length)

    def _read(self, length: int) -> bytes:
        found = bytearray()
        while len(found) < length:
            part = self._try(partial(self.connection.recv, min(length - len(found), 2**20)))
            if not part:
                raise Gone("its process ended")
            found += part
        return bytes(found)

    def _try(self, operation: Callable):
        while True:
            self.watch()
            if time.monotonic() > self.deadline:
                raise Gone("the notebook's time was over")
            try:
                return operation()
            except TimeoutError:
                continue
            except OSError as error:
                raise Gone("its process ended") from error


# --- to the student ---------------------------------------------------------------------------------------------------


class _Pickler(pickle.Pickler):
    """Functions without a name at the top of a module go as code; a record of a forward pass is made again there."""

    def reducer_override(self, thing):
        from xailib.explain import Evidence, collect

        if isinstance(thing, Evidence):
            return partial(collect, layer=thing.layer), (thing.model, thing.images, thing.targets)
        if isinstance(thing, FunctionType) and "<" in thing.__qualname__:
            cells = tuple(cell.cell_contents for cell in thing.__closure__ or ())
            return _function, (marshal.dumps(thing.__code__), thing.__module__, thing.__defaults__, cells)
        return NotImplemented


def _function(code: bytes, module: str, defaults: tuple | None, cells: tuple) -> FunctionType:
    body: CodeType = marshal.loads(code)
    names = importlib.import_module(module).__dict__
    return FunctionType(body, names, body.co_name, defaults, tuple(map(CellType, cells)))


def pack(message: object) -> bytes:
    file = io.BytesIO()
    _Pickler(file).dump(message)
    return file.getvalue()


def unpack(message: bytes) -> Any:
    """Only for what a judge sent: a pickle can run anything."""
    return pickle.loads(message)


# --- from the student -------------------------------------------------------------------------------------------------


class Unknown:
    """Stands for an answer of a kind that does not travel; equal to nothing but itself."""

    def __init__(self, kind: str):
        self.kind = kind

    def __repr__(self) -> str:
        return f"<{self.kind}>"


def encode(value: object) -> object:
    """A value as JSON holds it: numbers, texts, tensors, arrays, and collections of these."""
    import numpy

    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, numpy.generic):
        return encode(value.item())
    if isinstance(value, int | float):
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, Tensor | numpy.ndarray):
        return _encode_array(value)
    for kind in (list, tuple, set, frozenset):
        if isinstance(value, kind):
            return {kind.__name__: [encode(part) for part in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(part)] for key, part in value.items()]}
    return {"ellipsis": True} if value is Ellipsis else {"unknown": type(value).__name__}


def _encode_array(value) -> dict:
    tensor = torch.as_tensor(value).detach().cpu().resolve_conj().contiguous()
    data = base64.b64encode(tensor.reshape(-1).view(torch.uint8).numpy().tobytes()).decode("ascii")
    kind = "tensor" if isinstance(value, Tensor) else "array"
    return {kind: data, "dtype": str(tensor.dtype), "shape": list(tensor.shape)}


def decode(tree: object, function: Callable[[int], object] | None = None) -> object:
    """The value of what `encode` wrote, where `function` gives what stands for a numbered function.

    Raises ValueError for anything else. The tree was written by a student's process.
    """
    if not isinstance(tree, dict):
        return tree
    kind, content = next(iter(tree.items()), (None, None))
    if kind in ("list", "tuple", "set", "frozenset"):
        parts = [decode(part) for part in content]
        return {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[kind](parts)
    if kind == "dict":
        return {decode(key): decode(part) for key, part in content}
    if kind in ("tensor", "array"):
        return _decode_array(kind, content, tree)
    if kind == "function" and function:
        return function(int(content))
    if kind == "ellipsis":
        return Ellipsis
    if kind == "unknown":
        return Unknown(str(content)[:80])
    raise ValueError(f"an answer of an unknown form, {str(kind)[:80]!r}")


def _decode_array(kind: str, content: str, tree: dict):
    dtype, shape, data = DTYPES[tree["dtype"]], [int(side) for side in tree["shape"]], base64.b64decode(content)
    if any(side < 0 for side in shape) or len(shape) > 16:
        raise ValueError(f"an answer of a shape that cannot be, {str(shape)[:80]}")
    flat = torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)
    tensor = flat.reshape(shape)
    return tensor if kind == "tensor" else tensor.numpy()


def reply(message: bytes) -> dict:
    """A student's reply. Raises Gone for what is none."""
    try:
        found = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise Gone("its process sent no reply that can be read") from error
    if not isinstance(found, dict):
        raise Gone("its process sent no reply that can be read")
    return found


def leaves(arguments: tuple) -> Iterator[Tensor]:
    """The tensors among arguments, and in networks among them, through which a gradient can go back."""
    for argument in arguments:
        if isinstance(argument, nn.Module):
            yield from argument.parameters()
        elif isinstance(argument, Tensor) and argument.requires_grad:
            yield argument
