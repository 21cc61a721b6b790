"""A training run on disk: tensors as safetensors, everything else as plain JSON, and no moment at which it is broken.

    state.json                    recipe, history and the like: this file says what the run is
    weights-0012.safetensors      the network after epoch 12, for the last epoch and the best
    optimizer-0012.safetensors    the optimizer's tensors, for the last epoch

An epoch counts once state.json has been replaced, in one step of the file system; a process that is killed before loses
that epoch and nothing else. Nothing is ever unpickled.
"""

import json
import os
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

STATE = "state.json"
Parts = tuple[nn.Module, torch.optim.Optimizer, torch.amp.GradScaler]  # what changes from step to step


def save(folder: Path | str, facts: dict, history: list[dict], parts: Parts) -> None:
    """Writes the run as it is after the last epoch of its history, and drops files no longer needed.

    `facts` say what kind of run it is, in JSON's types.
    """
    folder, (model, optimizer, scaler) = Path(folder), parts
    last, best = len(history), best_epoch(history)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / _weights(last), _bytes(model.state_dict()))
    _write(folder / _optimizer(last), _bytes(_flat(optimizer)))
    state = {"facts": facts, "scaler": scaler.state_dict(), "history": history}
    _write(folder / STATE, json.dumps(state, indent=1).encode())
    for file in [*folder.glob("weights-*"), *folder.glob("optimizer-*")]:
        if file.name not in (_weights(last), _weights(best), _optimizer(last)):
            file.unlink()


def resume(folder: Path | str, facts: dict, parts: Parts) -> list[dict]:
    """The history of the run in the folder, whose parts are put back as they were; empty if there is no run.

    Raises ValueError if the run's facts are others, or a file of it is damaged; the parts then are as they were.
    """
    folder, (model, optimizer, scaler) = Path(folder), parts
    if not (folder / STATE).exists():
        return []
    state = _state(folder)
    if state["facts"] != json.loads(json.dumps(facts)):
        raise ValueError(f"{folder} holds another run, {state['facts']}, not {facts}; choose another folder")
    last = len(state["history"])
    weights, moments = _tensors(folder / _weights(last)), _tensors(folder / _optimizer(last))
    model.load_state_dict(weights)
    tensors: dict[int, dict[str, Tensor]] = {}
    for name, tensor in moments.items():
        index, key = name.split(".")
        tensors.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict(optimizer.state_dict() | {"state": tensors})
    scaler.load_state_dict(state["scaler"])
    return state["history"]


def load_weights(model: nn.Module, folder: Path | str, epoch: str = "best") -> nn.Module:
    """The model with the weights that `fit` left in `folder`: of its `"best"` epoch (most accurate on the validation
    images, the first of equals) or its `"last"`.

    Raises FileNotFoundError if the folder holds no run, ValueError for another `epoch` or a damaged file.
    """
    if epoch not in ("best", "last"):
        raise ValueError(f"epoch must be 'best' or 'last', found {epoch!r}")
    if not (Path(folder) / STATE).exists():
        raise FileNotFoundError(f"{Path(folder) / STATE} is missing: no training run was saved there")
    history = _state(Path(folder))["history"]
    number = best_epoch(history) if epoch == "best" else len(history)
    model.load_state_dict(_tensors(Path(folder) / _weights(number)))
    return model


def best_epoch(history: list[dict]) -> int:
    """The number, from 1, of the first epoch with the highest validation accuracy."""
    return max(history, key=lambda row: row["validation_accuracy"])["epoch"]


def _state(folder: Path) -> dict:
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        best_epoch(state["history"]), state["facts"], state["scaler"]
        return state
    except (ValueError, TypeError, LookupError):
        raise _damaged(folder / STATE) from None


def _tensors(file: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(file)
    except (OSError, safetensors.SafetensorError):
        raise _damaged(file) from None


def _damaged(file: Path) -> ValueError:
    return ValueError(f"{file} is missing, damaged, or not what `fit` wrote; delete {file.parent} to train anew")


def _weights(epoch: int) -> str:
    return f"weights-{epoch:04}.safetensors"


def _optimizer(epoch: int) -> str:
    return f"optimizer-{epoch:04}.safetensors"


def _flat(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's tensors, named "parameter number.what it is"."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{key}": value for index, entry in state.items() for key, value in entry.items() if value is not None
    }


def _bytes(tensors: dict[str, Tensor]) -> bytes:
    """The tensors as a file; each as a copy of its own, which shares no memory and lies in the usual order."""
    return safetensors.torch.save(
        {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    )


def _write(file: Path, content: bytes) -> None:
    """The whole file or, if interrupted, none of it."""
    part = file.with_name(f"{file.name}.part")
    with part.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, file)
