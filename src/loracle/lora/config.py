"""How large a low-rank update is, how it starts, and which layers get one. Importing this does not import torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from loracle.errors import ConfigError, unknown

ALL_LINEAR = "all-linear"
ATTENTION = "attention"
INITIALISATIONS = ("zero", "pissa", "olora")


@dataclass(frozen=True, kw_only=True)
class LoRAConfig:
    """Say how large the update is, how it starts, and which layers get one.

    >>> LoRAConfig(rank=4, alpha=8).scaling, LoRAConfig(rank=4, alpha=8, rslora=True).scaling
    (2.0, 4.0)
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
    rslora: bool = False
    """Multiply LoRA's update with alpha / sqrt(rank) instead (rsLoRA)."""
    dora: bool = False
    """Train the length of each row of a layer's weight apart from its direction (DoRA)."""
    initialisation: str = "zero"
    """How LoRA's update starts: zero, or from the layer's own weight by pissa or olora."""
    freeze_a: bool = False
    """Train B alone; A stays at its random start (LoRA-FA)."""
    rank_dropout: float = 0.0
    """Share of the ranks that a training step leaves out."""
    b_learning_rate_ratio: float = 1.0
    """Learning rate of B divided by that of A (LoRA+; its authors advise 16)."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"rank is {self.rank}; it must be 1 or more (leave LoRA out to train without it)")
        for name in ("alpha", "b_learning_rate_ratio"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be a finite number above 0")
        for name in ("dropout", "rank_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 0 and below 1")
        if self.initialisation not in INITIALISATIONS:
            raise unknown("initialisation", self.initialisation, INITIALISATIONS)
        if self.initialisation != "zero" and (self.dora or self.freeze_a):
            other = "dora" if self.dora else "freeze_a"
            raise ConfigError(f"initialisation {self.initialisation} and {other} do not go together; choose one")
        given = (self.targets,) if isinstance(self.targets, str) else self.targets
        names = tuple(name.strip() for target in given for name in target.split(","))
        if "" in names:
            raise ConfigError("a LoRA target is empty; name layers (query), or all-linear, or leave targets out")
        object.__setattr__(self, "targets", names)

    @property
    def scaling(self) -> float:
        """What the low-rank product is multiplied with: alpha / rank, or alpha / sqrt(rank)."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)
