"""What is to be measured, checked before anything runs."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from xailib import network
from xailib.benchmark.case import METHOD_OFFERS, METRIC_OFFERS, PROTOCOL
from xailib.benchmark.functions import Functions, check_wants, chosen, described, fill, wants
from xailib.benchmark.methods import METHODS, methods_of
from xailib.benchmark.metrics import METRICS
from xailib.benchmark.sources import Source
from xailib.benchmark.table import Key
from xailib.inputs import check_model
from xailib.models import default_layer, load

Models = str | nn.Module | Sequence[str] | Mapping[str, nn.Module]
Settings = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True)
class Plan:
    """Networks, images, methods (for each network), metrics, and what the numbers depend on besides."""

    networks: dict[str, nn.Module]
    source: Source
    methods: dict[str, dict[str, Callable]]
    metrics: dict[str, Callable]
    layers: dict[str, str | None]
    targets: str
    seed: int

    def keys(self) -> Iterator[Key]:
        """All model, image, method in the order of the table."""
        for net in self.networks:
            for image in self.source.names:
                yield from ((net, image, method) for method in self.methods[net])

    def options(self) -> dict[str, object]:
        """All that the numbers depend on, in JSON's types."""
        return {
            "models": {n: {"weights": _fingerprint(net), "layer": self.layers[n]} for n, net in self.networks.items()},
            **self.source.facts(),
            "methods": {f"{net}: {n}": described(m) for net, ms in self.methods.items() for n, m in ms.items()},
            "metrics": {name: described(metric) for name, metric in self.metrics.items()},
            "targets": self.targets,
            "seed": self.seed,
        }


def planned(
    model: Models,
    data: Source,
    methods: Functions,
    metrics: Functions,
    settings: Settings,
    *,
    layer: str | None,
    targets: str,
    seed: int,
    device: torch.device,
) -> Plan:
    """The plan of a `run`. Raises ValueError for all that can be known to be wrong before anything runs."""
    networks = _networks(model, device)

    def filled(functions: dict[str, Callable]) -> dict[str, Callable]:
        return {name: fill(name, function, settings.get(name, {})) for name, function in functions.items()}

    every = {n: filled(chosen("method", methods, METHODS, methods_of(net))) for n, net in networks.items()}
    judges = filled(chosen("metric", metrics, METRICS, METRICS))
    _check_functions(every, judges)
    known = {*METHODS, *METRICS, *judges}.union(*every.values())
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise ValueError(f"settings for {unknown[0]!r}, which is neither a method nor a metric")
    layers = {name: _layer(net, every[name], layer) for name, net in networks.items()}
    plan = Plan(networks, data, every, judges, layers, targets, seed)
    _check_images(plan)
    return plan


def _networks(model: Models, device: torch.device) -> dict[str, nn.Module]:
    if isinstance(model, nn.Module):
        networks = {network.uncompiled(model)._get_name(): model}
    elif isinstance(model, Mapping):
        networks = dict(model)
    else:
        networks = {name: load(name).to(device) for name in ([model] if isinstance(model, str) else model)}
    for net in networks.values():
        check_model(net)
    return networks


def _layer(net: nn.Module, methods: Mapping[str, Callable], layer: str | None) -> str | None:
    """The layer to explain, if any method asks for one."""
    if not any("layer" in wants(method, METHOD_OFFERS) for method in methods.values()):
        return None
    network.find_layer(net, layer := layer or default_layer(net))
    return layer


def _check_functions(methods: Mapping[str, Mapping[str, Callable]], metrics: Mapping[str, Callable]) -> None:
    for name, method in chain.from_iterable(some.items() for some in methods.values()):
        check_wants(f"method {name!r}", method, (*PROTOCOL, *METHOD_OFFERS))
    for name, metric in metrics.items():
        check_wants(f"metric {name!r}", metric, METRIC_OFFERS)


def _check_images(plan: Plan) -> None:
    source = plan.source
    if plan.targets not in ("label", "predicted"):
        raise ValueError(f"targets must be 'label' or 'predicted', found {plan.targets!r}")
    if not source.names or len(set(source.names)) < len(source.names):
        raise ValueError(f"the {len(source.names)} images of {source.title} need one name each, all different")
    if plan.targets == "predicted" or source.classes is None:
        return
    image = next((sample.image for sample in source.readable()), None)
    for name, net in plan.networks.items() if image is not None else ():
        found = logits(net, image[None]).shape[1]
        if found != source.classes:
            raise ValueError(
                f"the labels of {source.title} count {source.classes} classes, {name} knows {found}: they do not mean "
                "the same; explain what the network sees, with targets='predicted' (--targets predicted)"
            )


@torch.no_grad()
def logits(net: nn.Module, images: Tensor) -> Tensor:
    """What the network says of the images, wherever it is."""
    return net(images.to(next((one.device for one in chain(net.parameters(), net.buffers())), images.device)))


def _fingerprint(net: nn.Module) -> str:
    """Tells networks apart by their weights."""
    digest = hashlib.sha256()
    for name, tensor in net.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
