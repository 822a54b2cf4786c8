"""Sizes of the networks that Loracle builds itself, and how much of the base model `partial` freezes.

Importing this does not import torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from loracle.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """What `partial`, `scratch` and `lstm` are made of."""

    frozen_layers: int | None = None
    """Layers that the method partial freezes, from the first; two thirds of them if left out."""
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
    lstm_words: int = 30_000
    """Words that the method lstm knows, the commonest of the training split."""
    lstm_embedding: int = 128
    """Units of a word's vector in the method lstm."""
    lstm_hidden: int = 128
    """Units of each direction of the method lstm."""
    lstm_dropout: float = 0.3
    """Dropout of the method lstm, on vectors and on the text's summary."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = 0 if name in ("frozen_layers", "train_embeddings", "lstm_dropout") else 1
            if value is not None and value < least:
                raise ConfigError(f"{name} is {value}; allowed: {least} or more")
        if self.scratch_hidden % self.scratch_heads:
            raise ConfigError(
                f"scratch_hidden is {self.scratch_hidden}, which {self.scratch_heads} scratch_heads do not divide"
            )
        if self.lstm_dropout >= 1:
            raise ConfigError(f"lstm_dropout is {self.lstm_dropout}; allowed: a share from 0 to below 1")
