"""BitFit: the biases of the base model and a new head are trained, all else stays (Ben Zaken et al., 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loracle.methods.finetune import finetuning
from loracle.methods.partial import load_trained, save_trained

if TYPE_CHECKING:
    from loracle.methods.method import Setup
    from loracle.models.loading import Base


def prepare_bitfit(base: Base, setup: Setup) -> None:  # noqa: ARG001
    """Leave the biases and the head trainable."""
    from loracle.models.freezing import train_biases

    train_biases(base)


BITFIT = finetuning(
    "bitfit",
    "the biases fine-tuned, and the head",
    (1e-3, 3e-3, 3e-4, 1e-2, 1e-4),
    prepare_bitfit,
    save_trained,
    load_trained,
)
