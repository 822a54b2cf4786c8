"""Put LoRA layers into a network, find them again, and take them out by merging.

Three free functions over any `torch.nn.Module`; nothing is stored beside the network itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from loracle.errors import ConfigError, ModelError
from loracle.lora.config import ALL_LINEAR, LoRAConfig
from loracle.lora.layer import LoRALinear


def inject(model: nn.Module, config: LoRAConfig, *, head: Sequence[str] = ()) -> list[str]:
    """Replace the targeted linear layers by `LoRALinear` and freeze all else but the head.

    `head` holds dotted names of modules that stay trainable and are never replaced. Returns the dotted names of
    the replaced layers. Raises ConfigError where a target matches no linear layer, ModelError on a second call.

    >>> model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> inject(model, LoRAConfig(targets=("0",)), head=("2",))
    ['0']
    """
    if any(lora_layers(model)):
        raise ModelError("this model has LoRA layers already; merge(model) first, or inject into a fresh one")
    names = match_targets(model, config.targets, head=head)
    for name in names:
        _check_rank(name, _linear(model, name), config)
    freeze(model, keep=head)
    for name in names:
        model.set_submodule(name, LoRALinear(_linear(model, name), config), strict=True)
    return names


def merge(model: nn.Module) -> list[str]:
    """Replace every `LoRALinear` by a plain linear layer of the same output; return their dotted names.

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
        if type(layer.base) is not nn.Linear:
            raise ModelError(
                f"{name}.base is a {type(layer.base).__name__}; merge on the full-precision weights, which "
                "loracle.load_merged(folder) does for a saved classifier"
            )
    for name, layer in layers.items():
        model.set_submodule(name, layer.merged(), strict=True)
    return list(layers)


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoRALinear]]:
    """Yield the dotted name and the layer of every `LoRALinear` in the model."""
    for name, module in model.named_modules():
        if isinstance(module, LoRALinear):
            yield name, module


def lora_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """Return A and B of every LoRA layer by dotted name, detached and sharing memory with the model."""
    return {
        f"{name}.{factor}": getattr(layer, factor).detach()
        for name, layer in lora_layers(model)
        for factor in ("lora_a", "lora_b")
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
    linear = [
        name
        for name, module in model.named_modules()
        if type(module) is nn.Linear and not is_inside(name, head)  # a subclass may be read without its forward
    ]
    if tuple(targets) == (ALL_LINEAR,):
        return linear
    for target in targets:
        if not any(_is_suffix(target, name) for name in linear):
            ends = sorted({name.rpartition(".")[2] for name in linear})
            raise ConfigError(
                f"LoRA target {target!r} matches no linear layer outside the head; "
                f"there are: {', '.join(ends)} (or {ALL_LINEAR})"
            )
    return [name for name in linear if any(_is_suffix(target, name) for target in targets)]


def is_inside(name: str, modules: Sequence[str]) -> bool:
    """Say whether a dotted parameter or module name lies in one of the named modules."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _check_rank(name: str, layer: nn.Linear, config: LoRAConfig) -> None:
    largest = min(layer.in_features, layer.out_features)
    if config.rank > largest:
        raise ConfigError(
            f"rank is {config.rank}; {name} has {largest} at most ({layer.in_features} in, {layer.out_features} out)"
        )


def _linear(model: nn.Module, name: str) -> nn.Linear:
    module = model.get_submodule(name)
    assert isinstance(module, nn.Linear)
    return module


def _is_suffix(target: str, name: str) -> bool:
    return name == target or name.endswith(f".{target}")
