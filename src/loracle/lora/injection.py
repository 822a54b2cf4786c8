"""Put LoRA layers into a network, find them again, and take them out by merging.

Free functions over any `torch.nn.Module`; nothing is stored beside the network itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor, nn

from loracle.errors import ConfigError, LoracleWarning, ModelError
from loracle.lora.config import ALL_LINEAR, LoRAConfig
from loracle.lora.layer import LoRALinear
from loracle.lora.linear import is_linear, linear_sizes
from loracle.lora.variants import build_layer


def inject(
    model: nn.Module,
    config: LoRAConfig,
    *,
    head: Sequence[str] = (),
    overrides: Mapping[str, LoRAConfig] | None = None,
) -> list[str]:
    """Replace the targeted linear layers by LoRA layers and freeze all else but the head.

    `head` holds dotted names of modules that stay trainable and are never replaced. `overrides` gives single layers a
    configuration of their own, by dotted name. Returns the dotted names of the replaced layers. Warns where a rank is
    larger than its layer. Raises ConfigError where a target matches no linear layer, ModelError on a second call.

    >>> model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> inject(model, LoRAConfig(targets=("0",)), head=("2",))
    ['0']
    """
    if any(lora_layers(model)):
        raise ModelError("this model has LoRA layers already; merge(model) first, or inject into a fresh one")
    names = match_targets(model, config.targets, head=head)
    configs = {name: (overrides or {}).get(name, config) for name in names}
    _check_ranks(model, configs)
    layers = {name: build_layer(model.get_submodule(name), configs[name]) for name in names}
    freeze(model, keep=head)
    for name, layer in layers.items():
        model.set_submodule(name, layer, strict=True)
    return names


def merge(model: nn.Module) -> list[str]:
    """Replace every LoRA layer by a plain linear layer of the same output; return their dotted names.

    The state dict has its original keys again. Raises ModelError where there is nothing to merge, or the base is held
    in 8 or 4 bits, whose weights are not those that the result should have.

    >>> model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> names = inject(model, LoRAConfig(targets=("0",)), head=("2",))
    >>> merge(model), list(model.state_dict())
    (['0'], ['0.weight', '0.bias', '2.weight', '2.bias'])
    """
    layers = dict(lora_layers(model))
    if not layers:
        raise ModelError("this model has no LoRA layers to merge")
    for name, layer in layers.items():
        if not is_linear(layer.base):
            raise ModelError(
                f"{name}.base is a {type(layer.base).__name__}; merge on the full-precision weights, which "
                "loracle.load_merged(folder) does for a saved classifier"
            )
    for name, layer in layers.items():
        model.set_submodule(name, layer.merged(), strict=True)
    return list(layers)


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoRALinear]]:
    """Yield the dotted name and the layer of every LoRA layer in the model."""
    for name, module in model.named_modules():
        if isinstance(module, LoRALinear):
            yield name, module


def lora_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """Return the own parameters of every LoRA layer by dotted name, detached and sharing memory with the model.

    They are `lora_a` and `lora_b`, and with DoRA `magnitude`.
    """
    return {
        f"{name}.{own}": parameter.detach()
        for name, layer in lora_layers(model)
        for own, parameter in layer.named_parameters(recurse=False)
    }


def learning_rate_ratios(model: nn.Module) -> dict[str, float]:
    """Return by dotted name what the learning rate of a parameter is multiplied with, where that is not 1 (LoRA+)."""
    return {
        f"{name}.lora_b": layer.config.b_learning_rate_ratio
        for name, layer in lora_layers(model)
        if layer.config.b_learning_rate_ratio != 1
    }


def freeze(model: nn.Module, *, keep: Sequence[str] = ()) -> None:
    """Stop the gradient of every parameter but those of the modules named in `keep`."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_inside(name, keep))


def match_targets(model: nn.Module, targets: Sequence[str], *, head: Sequence[str] = ()) -> list[str]:
    """Return the dotted names of the linear layers that the targets mean, the head left out.

    A target matches a whole dotted suffix: "value" matches "attention.value" and not "attention.key_value".
    Raises ConfigError where a target matches nothing.
    """
    if not targets:
        raise ConfigError(f'no LoRA targets given; name layers, such as "query", or "{ALL_LINEAR}"')
    outside = {name: module for name, module in model.named_modules() if not is_inside(name, head)}
    linear = [name for name, module in outside.items() if is_linear(module)]
    if tuple(targets) == (ALL_LINEAR,):
        if not linear:
            raise ConfigError("this model has no linear layer outside its head; there is nothing for LoRA to change")
        return linear
    for target in targets:
        if not any(_is_suffix(target, name) for name in linear):
            raise ConfigError(_explain_miss(target, linear, outside))
    return [name for name in linear if any(_is_suffix(target, name) for target in targets)]


def is_inside(name: str, modules: Sequence[str]) -> bool:
    """Say whether a dotted parameter or module name lies in one of the named modules."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _explain_miss(target: str, linear: Sequence[str], outside: Mapping[str, nn.Module]) -> str:
    ends = sorted({name.rpartition(".")[2] for name in linear})
    there = f"there are: {', '.join(ends)} (or {ALL_LINEAR})" if ends else "there is none"
    other = next((type(module).__name__ for name, module in outside.items() if name and _is_suffix(target, name)), None)
    if other:
        return f"LoRA target {target!r} is no linear layer but a module of class {other}; {there}"
    return f"LoRA target {target!r} matches no linear layer outside the head; {there}"


def _check_ranks(model: nn.Module, configs: Mapping[str, LoRAConfig]) -> None:
    """Warn once where ranks are larger than their layers; raise where an update cannot start so large."""
    largest = {name: min(linear_sizes(model.get_submodule(name))) for name in configs}
    beyond = [name for name, config in configs.items() if config.rank > largest[name]]
    for name in beyond:
        rank, start = configs[name].rank, configs[name].initialisation
        if start != "zero":
            raise ConfigError(f"rank is {rank}; {start} can take {largest[name]} from {name} at most")
    if beyond:
        first, others = beyond[0], f" (and {len(beyond) - 1} more layers)" if len(beyond) > 1 else ""
        warnings.warn(
            f"rank is {configs[first].rank}, and an update of {first}{others} has rank {largest[first]} at most: "
            "a smaller one does the same",
            LoracleWarning,
            stacklevel=3,
        )


def _is_suffix(target: str, name: str) -> bool:
    return name == target or name.endswith(f".{target}")
