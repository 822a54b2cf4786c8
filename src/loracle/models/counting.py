"""How many parameters a network has, the adapter, the head and the base told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Parameters of one model; `trainable` is what the optimiser saw."""

    adapter: int = 0
    head: int = 0
    base: int = 0
    trainable: int = 0

    @property
    def total(self) -> int:
        """All parameters: adapter, head and base."""
        return self.adapter + self.head + self.base


def count_parameters(network: nn.Module, head: Sequence[str]) -> Counts:
    """Count each parameter once; `head` names the modules that the checkpoint did not contain.

    Works on the meta device too, where nothing is allocated.
    """
    from loracle.lora.injection import is_inside, lora_state_dict

    factors = lora_state_dict(network)
    sizes = {name: parameter.numel() for name, parameter in network.named_parameters()}
    adapter = sum(sizes[name] for name in factors)
    in_head = sum(size for name, size in sizes.items() if is_inside(name, head))
    return Counts(
        adapter=adapter,
        head=in_head,
        base=sum(sizes.values()) - adapter - in_head,
        trainable=sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad),
    )
