"""From a model's sizes to its Forecast: each method prepares the real network, which is counted, and run on fake
tensors."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from loracle.errors import ConfigError, ModelError
from loracle.lora.config import LoRAConfig
from loracle.methods.naming import base_precision_of, plain_name
from loracle.methods.registry import METHODS, find_methods
from loracle.planning.capacity import find_memory, parse_memory
from loracle.planning.configurations import find_configuration, list_configurations
from loracle.planning.forecast import Component, Forecast, Matrix, MethodForecast

if TYPE_CHECKING:
    from torch import nn

    from loracle.methods.method import Method, Setup
    from loracle.models.loading import Base
    from loracle.training.budget import Budget
    from loracle.training.precision import ComputePath

OnMethod = Callable[[str], None]
"""Told the name of each method before it is planned."""

DEFAULT_METHODS = ("head", "bitfit", "lora", "partial", "full")
_FOUR_TIMES = 4  # the second batch size, far enough from the first that scoring takes less than the step


def forecast(
    setup: Setup,
    *,
    labels: int = 2,
    methods: Sequence[str] = (),
    memory: str | None = None,
    probe: bool = False,
    on_method: OnMethod | None = None,
) -> Forecast:
    """Return what training `setup.model` would take; nothing is downloaded but a config.json, at most.

    Without `methods` those of DEFAULT_METHODS that this base model can have. `memory` is written as "24GB", and is that
    of this machine if left out. Raises ConfigError for a method that does
    not begin with the base model, or a value that cannot be; ModelError where the model is unknown or no transformer.
    """
    chosen = find_plannable(methods or DEFAULT_METHODS)
    if labels < 2:
        raise ConfigError(f"labels is {labels}; allowed: 2 or more")
    asked = parse_memory(memory) if memory is not None else None
    from loracle.training.attention import settle_attention
    from loracle.training.precision import path_for

    path = path_for(setup.budget)
    limit, source = (asked, "as asked") if asked is not None else find_memory(path)
    build = Builder(setup, labels)
    base = build()
    _check_length(base, setup.budget)
    path = settle_attention(path, base.config, setup.budget)
    refused: dict[str, str] = {}
    parts: list[MethodForecast] = []
    for method in chosen:
        if on_method:
            on_method(method.name)
        try:
            parts.append(_forecast_method(method, build, setup, path, limit, probe))
        except ConfigError as error:
            if methods or probe or (_is_lora(method) and setup.lora != LoRAConfig()):
                raise
            refused[method.name] = str(error)
    return Forecast(
        model=setup.model,
        architecture=base.config.model_type,
        labels=labels,
        batch_size=setup.budget.batch_size,
        max_length=setup.budget.max_length,
        precision=path.precision,
        device=path.device,
        attention=path.attention,
        memory_bytes=limit,
        memory_source=source,
        components=_list_components(base),
        matrices=_list_matrices(base, _adapted(chosen, refused, build, setup)),
        methods=tuple(parts),
        refused=refused,
    )


def predict_peak(method: Method, setup: Setup, labels: int) -> int:
    """Return the bytes that a fit should take at its peak.

    0 for a method that does not begin with the base model, or holds it in 8 or 4 bits, which is not planned.
    """
    if method.prepare is None or base_precision_of(method, setup) not in (None, "full"):
        return 0
    from loracle.planning.simulation import simulate_fit
    from loracle.training.precision import path_for

    path = path_for(setup.budget)
    base = prepare_network(Builder(setup, labels), setup, method)
    return simulate_fit(base, setup.budget, path).total


def count_sharing(method: Method, setup: Setup, labels: int, memory_bytes: int) -> int:
    """Return how many fits of a method, on one frozen base in one pass, so many bytes hold; 1 at least.

    The base counts once, and all else of a fit's peak as often as there are fits.
    """
    from loracle.planning.simulation import simulate_fit
    from loracle.training.precision import path_for

    base = prepare_network(Builder(setup, labels), setup, method)
    total = simulate_fit(base, setup.budget, path_for(setup.budget)).total
    frozen = sum(item.nbytes for item in base.network.parameters() if not item.requires_grad)
    return max(1, (memory_bytes - frozen) // (total - frozen))


def load_known_sizes(name: str) -> dict[str, Any]:
    """Return the sizes of a shipped model, else those of its config.json."""
    from pathlib import Path

    from loracle.models.blueprint import load_sizes

    shipped = None if Path(name).expanduser().exists() else find_configuration(name)
    if shipped:
        return dict(shipped)
    try:
        return load_sizes(name)
    except ModelError as error:
        close = difflib.get_close_matches(name, [known.rpartition("/")[2] for known in list_configurations()], n=1)
        hint = f"; or, of the shipped sizes, did you mean {close[0]!r}?" if close else ""
        raise ModelError(f"{error}{hint}") from error


class Builder:
    """Builds the same network again, since a simulated one is used up; on another device than "meta" with values."""

    def __init__(self, setup: Setup, labels: int) -> None:
        self._name, self._sizes = setup.model, load_known_sizes(setup.model)
        self._labels = [str(number) for number in range(labels)]

    def __call__(self, device: str = "meta") -> Base:
        """Return a new network on the device."""
        from loracle.models.blueprint import build_blueprint

        return build_blueprint(self._name, self._sizes, self._labels, device=device)


def prepare_network(build: Builder, setup: Setup, method: Method, device: str = "meta") -> Base:
    """Build the network and let the method prepare it; ConfigError where this base model cannot have the method."""
    base = build(device)
    assert method.prepare is not None
    method.prepare(base, setup)
    return base


def find_plannable(names: Sequence[str]) -> tuple[Method, ...]:
    """Return the methods of these names; raises ConfigError for one that does not train the base model."""
    chosen = find_methods(names)
    for method in chosen:
        if method.prepare is None:
            known = ", ".join(name for name, item in METHODS.items() if item.prepare)
            raise ConfigError(f"method {method.name!r} does not train the base model; allowed here: {known}")
    return chosen


def _check_length(base: Base, budget: Budget) -> None:
    from loracle.models.families import count_positions

    positions = count_positions(base.config) or budget.max_length
    if budget.max_length > positions:
        raise ConfigError(f"max_length is {budget.max_length}; this base model reads {positions} tokens at most")


def _forecast_method(
    method: Method, build: Builder, setup: Setup, path: ComputePath, limit: int, probe: bool
) -> MethodForecast:
    from loracle.models.counting import count_parameters
    from loracle.planning.probing import probe_steps
    from loracle.planning.simulation import largest_batch, simulate_fit

    base = prepare_network(build, setup, method)
    counts = count_parameters(base.network, base.head)
    saved = sum(item.numel() * item.element_size() for item in base.network.parameters() if item.requires_grad)
    batch = setup.budget.batch_size
    memory = simulate_fit(base, setup.budget, path)
    largest = None
    if _is_lora(method) or plain_name(method.name) == "full":
        many = _FOUR_TIMES * max(batch, 16)
        larger = simulate_fit(prepare_network(build, setup, method), replace(setup.budget, batch_size=many), path)
        largest = largest_batch((batch, memory), (many, larger), limit)
    tried = None
    if probe:
        tried = probe_steps(lambda: prepare_network(build, setup, method, "cpu"), setup.budget, path, memory, limit)
    return MethodForecast(
        method=method.name, counts=counts, bytes_on_disk=saved, memory=memory, largest_batch=largest, probe=tried
    )


def _adapted(chosen: Sequence[Method], refused: Mapping[str, str], build: Builder, setup: Setup) -> Base:
    """Return the network of the first method with an adapter, or the bare one where there is none."""
    adapting = [method for method in chosen if _is_lora(method) and method.name not in refused]
    return prepare_network(build, setup, adapting[0]) if adapting else build()


def _is_lora(method: Method) -> bool:
    return "rank" in method.options


def _list_components(base: Base) -> tuple[Component, ...]:
    """Return the parts of the network in order: embeddings, each of the equal layers, what else there is, the head."""
    from loracle.models.freezing import find_embeddings, find_layers

    try:
        layers = find_layers(base.network)
    except ConfigError:  # all layers share their weights, as in ALBERT
        layers = []
    groups = [find_embeddings(base.network, layers)] if layers else []
    stack = layers[0].rpartition(".")[0] if layers else ""
    sizes: Counter[str] = Counter()
    for name, parameter in base.network.named_parameters():
        sizes[_component_of(name, [*groups, *base.head], stack)] += parameter.numel()
    return tuple(
        Component(name=name, modules=len(layers) if name == stack else 1, parameters=size)
        for name, size in sizes.items()
    )


def _component_of(name: str, named: Sequence[str], stack: str) -> str:
    from loracle.lora.injection import is_inside

    for known in (*named, stack):
        if known and is_inside(name, [known]):
            return known
    return ".".join(name.split(".")[:2])


def _list_matrices(base: Base, adapted: Base) -> tuple[Matrix, ...]:
    """Return the linear layers of one layer of the network by their names there, and LoRA's share of each."""
    from loracle.lora.injection import is_inside, lora_layers
    from loracle.lora.linear import is_linear, linear_sizes

    adapters: Counter[str] = Counter()
    for name, layer in lora_layers(adapted.network):
        adapters[_without_numbers(name)] += sum(item.numel() for item in layer.parameters(recurse=False))
    found: dict[str, list[nn.Linear]] = {}
    for name, module in base.network.named_modules():
        if is_linear(module) and not is_inside(name, base.head):
            found.setdefault(_without_numbers(name), []).append(module)
    return tuple(
        Matrix(
            name=name,
            out_features=linear_sizes(modules[0])[1],
            in_features=linear_sizes(modules[0])[0],
            layers=len(modules),
            adapter=adapters[name],
        )
        for name, modules in found.items()
    )


def _without_numbers(name: str) -> str:
    """Return what follows the layer's number in a dotted name, or the whole name outside of a layer."""
    parts = name.split(".")
    numbers = [place for place, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[numbers[-1] + 1 :]) if numbers else name
