"""The upper layers of the base model fine-tuned, with a new head; all below them stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loracle.methods.finetune import finetuning

if TYPE_CHECKING:
    from loracle.methods.method import Setup
    from loracle.models.loading import Base


def prepare_partial(base: Base, setup: Setup) -> None:
    """Freeze the first layers, two thirds of them unless the setup says how many."""
    from loracle.models.freezing import train_upper_layers

    train_upper_layers(base, setup.networks.frozen_layers, train_embeddings=setup.networks.train_embeddings)


def save_trained(base: Base, folder: Path) -> None:
    """Write what was trained; the frozen rest is that of the base model."""
    from loracle.models import loading

    loading.save_trained(base, folder)


def load_trained(folder: Path, model: str, label_names: Sequence[str]) -> Base:
    """Load the base model with what was trained."""
    from loracle.models import loading

    return loading.load_trained(folder, model, label_names)


PARTIAL = finetuning(
    "partial",
    "the upper layers fine-tuned, the lower ones frozen",
    (1e-4, 3e-4, 3e-5, 1e-3, 1e-5),
    prepare_partial,
    save_trained,
    load_trained,
    options=("frozen_layers", "train_embeddings"),
)
