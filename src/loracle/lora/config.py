"""How large a low-rank update is, and which layers get one. Importing this does not import torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from loracle.errors import ConfigError

ALL_LINEAR = "all-linear"
ATTENTION = "attention"


@dataclass(frozen=True, kw_only=True)
class LoRAConfig:
    """Say how large the update is and which layers get one.

    >>> LoRAConfig(rank=4, alpha=8).scaling
    2.0
    """

    rank: int = 8
    """Rank of LoRA's update."""
    alpha: float = 16.0
    """LoRA's update is multiplied with alpha / rank."""
    dropout: float = 0.0
    """Dropout of what enters LoRA's update, in training."""
    targets: tuple[str, ...] = ()
    """Layers that LoRA changes, by whole dotted suffix ("query"), or attention (its four projections), or all-linear;
    query and value if left out."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"rank is {self.rank}; it must be 1 or more (leave LoRA out to train without it)")
        if not self.alpha > 0 or math.isinf(self.alpha):
            raise ConfigError(f"alpha is {self.alpha}; it must be a finite number above 0")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout}; it must be at least 0 and below 1")
        given = (self.targets,) if isinstance(self.targets, str) else self.targets
        names = tuple(name.strip() for target in given for name in target.split(","))
        if "" in names:
            raise ConfigError("a LoRA target is empty; name layers (query), or all-linear, or leave targets out")
        object.__setattr__(self, "targets", names)

    @property
    def scaling(self) -> float:
        """What the low-rank product is multiplied with: alpha / rank."""
        return self.alpha / self.rank
