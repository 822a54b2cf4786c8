"""How many parameters a network has, the adapter, the head and the base told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Parameters of one model; `trainable` is what the optimiser saw, `base_bytes` the memory that the base takes."""

    adapter: int = 0
    head: int = 0
    base: int = 0
    trainable: int = 0
    base_bytes: int = 0

    @property
    def total(self) -> int:
        """All parameters: adapter, head and base."""
        return self.adapter + self.head + self.base


def count_parameters(network: nn.Module, head: Sequence[str]) -> Counts:
    """Count each parameter once; `head` names the modules that the checkpoint did not contain.

    Works on the meta device too, where nothing is allocated.
    """
    from loracle.lora.injection import is_inside, lora_state_dict
    from loracle.models.quantising import quantised_layers

    factors = lora_state_dict(network)
    parameters = dict(network.named_parameters())
    in_base = [item for name, item in parameters.items() if name not in factors and not is_inside(name, head)]
    quantised = [layer for _, layer in quantised_layers(network)]
    return Counts(
        adapter=sum(parameters[name].numel() for name in factors),
        head=sum(item.numel() for name, item in parameters.items() if is_inside(name, head)),
        base=sum(item.numel() for item in in_base) + sum(layer.weight_parameters for layer in quantised),
        trainable=sum(item.numel() for item in parameters.values() if item.requires_grad),
        base_bytes=sum(item.nbytes for item in in_base) + sum(layer.weight_bytes for layer in quantised),
    )
