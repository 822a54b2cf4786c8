"""Sizes of the networks that Loracle builds itself, and what `partial` and `untrained` do with the base model.

Importing this does not import torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from loracle.errors import ConfigError, unknown

UNTRAINED = ("auto", "sign", "names")
BASE_PRECISIONS = ("full", "int8", "nf4")


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """What `partial`, `scratch`, `lstm` and `untrained` are made of."""

    frozen_layers: float = 2 / 3
    """Layers that the method partial freezes, from the first: how many, or a share below 1."""
    train_embeddings: bool = False
    """Let the method partial train the embeddings too."""
    scratch_hidden: int = 256
    """Hidden units of the method scratch."""
    scratch_layers: int = 4
    """Layers of the method scratch."""
    scratch_heads: int = 4
    """Attention heads of the method scratch."""
    scratch_intermediate: int = 512
    """Feed-forward units of the method scratch."""
    scratch_dropout: float = 0.1
    """Dropout of the method scratch."""
    lstm_words: int = 30_000
    """Words that the method lstm knows, the commonest of the training split."""
    lstm_embedding: int = 128
    """Units of a word's vector in the method lstm."""
    lstm_hidden: int = 128
    """Units of each direction of the method lstm."""
    lstm_dropout: float = 0.3
    """Dropout of the method lstm, on vectors and on the text's summary."""
    untrained: str = "auto"
    """How the method untrained decides: sign (of the summed first vector, two labels only), names (closest label
    name), or auto (sign for two labels)."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = 0 if name in ("frozen_layers", "scratch_dropout", "lstm_dropout") else 1
            if isinstance(value, int | float) and not isinstance(value, bool) and not least <= value < math.inf:
                raise ConfigError(f"{name} is {value}; allowed: {least} or more")
        if self.scratch_hidden % self.scratch_heads:
            raise ConfigError(
                f"scratch_hidden is {self.scratch_hidden}, which {self.scratch_heads} scratch_heads do not divide"
            )
        if self.frozen_layers >= 1 and self.frozen_layers != int(self.frozen_layers):
            raise ConfigError(f"frozen_layers is {self.frozen_layers}; allowed: a whole number, or a share below 1")
        for name in ("scratch_dropout", "lstm_dropout"):
            if getattr(self, name) >= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; allowed: a share from 0 to below 1")
        if self.untrained not in UNTRAINED:
            raise unknown("untrained", self.untrained, UNTRAINED)


def check_base_precision(given: str) -> None:
    """Raise ConfigError for what is no precision that a frozen base can be held in."""
    if given not in BASE_PRECISIONS:
        raise unknown("base_precision", given, BASE_PRECISIONS)
