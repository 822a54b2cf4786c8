"""Which part of a base model is trained: the upper layers, the biases, or the head alone.

What a layer and what an embedding is, is read from the structure of the network, never from a name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loracle.errors import ConfigError
from loracle.lora.injection import freeze, is_inside

if TYPE_CHECKING:
    from torch import nn

    from loracle.models.loading import Base


def train_upper_layers(base: Base, frozen_layers: float = 2 / 3, *, train_embeddings: bool = False) -> None:
    """Freeze the first layers (how many, or a share below 1), and the embeddings unless asked; train the rest.

    Raises ConfigError where that many layers are not there.
    """
    layers = find_layers(base.network)
    frozen = round(frozen_layers * len(layers)) if frozen_layers < 1 else int(frozen_layers)
    if frozen > len(layers):
        raise ConfigError(f"frozen_layers is {frozen}; this base model has {len(layers)} layers")
    below = [*layers[:frozen], *([] if train_embeddings else [find_embeddings(base.network, layers)])]
    for name, parameter in base.network.named_parameters():
        parameter.requires_grad_(not is_inside(name, below))


def train_biases(base: Base) -> None:
    """Train every bias and the head alone (BitFit; Ben Zaken et al., 2022); ConfigError where nothing has a bias."""
    freeze(base.network, keep=base.head)
    biases = [parameter for name, parameter in base.network.named_parameters() if _is_bias(name, parameter)]
    if not any(not parameter.requires_grad for parameter in biases):
        raise ConfigError(f"the base model {base.name} has no biases outside its head; bitfit has nothing to train")
    for parameter in biases:
        parameter.requires_grad_(True)


def train_head(base: Base) -> None:
    """Train the head alone."""
    freeze(base.network, keep=base.head)


def find_layers(network: nn.Module) -> list[str]:
    """Return the dotted names of the base model's layers, first to last: the longest list of modules of one kind.

    Raises ConfigError where there is none of two or more, as where all layers share their weights.
    """
    layers = find_blocks(network)
    if len(layers) < 2:
        raise ConfigError("this base model has no layers that could be frozen one by one; leave the method partial out")
    return layers


def find_blocks(network: nn.Module) -> list[str]:
    """Return the dotted names of the modules of the longest list of one kind; the outer one of two that are as long.

    These are the layers, or the one block that a network with shared weights runs again and again. Empty where the
    network has no list of modules.
    """
    from torch import nn

    lists = [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, nn.ModuleList) and len({type(item) for item in module}) == 1
    ]
    if not lists:
        return []
    name, module = max(lists, key=lambda item: len(item[1]))
    return [f"{name}.{number}" for number in range(len(module))]


def find_embeddings(network: nn.Module, layers: list[str]) -> str:
    """Return the dotted name of the outermost module that holds the word embedding and none of the layers."""
    words = network.get_input_embeddings()  # type: ignore[operator]
    name: str = next(name for name, module in network.named_modules() if module is words)
    while (parent := name.rpartition(".")[0]) and not any(is_inside(layer, [parent]) for layer in layers):
        name = parent
    return name


def _is_bias(name: str, parameter: nn.Parameter) -> bool:
    """Say whether a parameter is a bias; those of DeBERTa's query and value are called q_bias and v_bias."""
    last = name.rpartition(".")[2]
    return parameter.ndim == 1 and (last == "bias" or last.endswith("_bias"))
