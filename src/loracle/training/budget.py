"""What every gradient method in a comparison may spend, equal for all. Importing this does not import torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from loracle.errors import ConfigError, unknown

PRECISIONS = ("auto", "fp32", "bf16")
METRICS = ("auto", "accuracy", "micro_f1", "macro_f1")
LOSSES = ("cross-entropy", "focal")
CLASS_WEIGHTS = ("none", "balanced")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The budget of one fit, and by which metric choices are made on the validation split."""

    epochs: int = 3
    """Passes over the training split, at most."""
    batch_size: int = 16
    """Texts a training step."""
    max_length: int = 128
    """Tokens of each text that a base model reads."""
    learning_rates: int = 3
    """How many learning rates of its own grid each gradient method tries."""
    patience: int = 2
    """Epochs without a better validation score that end a fit early."""
    warmup: float = 0.1
    """Share of all steps in which the learning rate rises."""
    weight_decay: float = 0.01
    """AdamW's weight decay; biases and norms have none."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    base_dropout: bool = False
    """Train with the checkpoint's own dropout, which is slower and is off for all methods otherwise."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about half as much time again."""
    precision: str = "auto"
    """auto (bf16 where the hardware has it), fp32 or bf16."""
    deterministic: bool = False
    """Compute by the reference path: float32, plain matrix products, one order of summation; slower."""
    metric: str = "auto"
    """auto (accuracy; with several labels a text micro_f1), accuracy, micro_f1 or macro_f1: what choices on validation,
    and the verdict, go by."""
    loss: str = "cross-entropy"
    """cross-entropy, or focal: what is already sure counts less (Lin et al. 2017)."""
    focal_gamma: float = 2.0
    """How much less: the power of the focal loss."""
    class_weights: str = "none"
    """none, or balanced: a rare class counts as much as a common one, for tfidf and probe too."""
    label_smoothing: float = 0.0
    """Share of the target that is spread over all classes."""

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("max_length", 4), ("patience", 1)):
            _require(getattr(self, name) >= least, name, getattr(self, name), f"{least} or more")
        _require(1 <= self.learning_rates <= 5, "learning_rates", self.learning_rates, "1 to 5 (how many to try)")
        _require(0 <= self.warmup < 1, "warmup", self.warmup, "a share of all steps, at least 0 and below 1")
        _require(0 <= self.weight_decay < math.inf, "weight_decay", self.weight_decay, "a finite number, 0 or more")
        _require(self.clip > 0, "clip", self.clip, "above 0")
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        if self.deterministic and self.precision == "bf16":
            raise ConfigError("precision is bf16 and deterministic is set: that path is float32; leave one of them out")
        if self.metric not in METRICS:
            raise unknown("metric", self.metric, METRICS)
        if self.loss not in LOSSES:
            raise unknown("loss", self.loss, LOSSES)
        if self.class_weights not in CLASS_WEIGHTS:
            raise unknown("class_weights", self.class_weights, CLASS_WEIGHTS)
        _require(0 <= self.focal_gamma < math.inf, "focal_gamma", self.focal_gamma, "a finite number, 0 or more")
        smoothing = self.label_smoothing
        _require(0 <= smoothing < 1, "label_smoothing", smoothing, "a share, at least 0 and below 1")


def _require(holds: bool, name: str, given: object, allowed: str) -> None:
    if not holds:
        raise ConfigError(f"{name} is {given}; allowed: {allowed}")
