"""Full fine-tuning: every weight of the base and the head is trained, and the whole model is saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loracle.methods.finetune import finetuning

if TYPE_CHECKING:
    from loracle.methods.method import Setup
    from loracle.models.loading import Base


def prepare_full(base: Base, setup: Setup) -> None:  # noqa: ARG001
    """Leave every parameter trainable."""
    base.network.requires_grad_(True)


def _save(base: Base, folder: Path) -> None:
    from loracle.models.loading import save_whole

    save_whole(base, folder)


def _load(folder: Path, model: str, label_names: Sequence[str]) -> Base:
    from loracle.models.loading import load_finetuned

    return load_finetuned(folder, model, label_names)


FULL = finetuning("full", "all weights fine-tuned", (1e-4, 3e-4, 3e-5, 1e-3, 1e-5), prepare_full, _save, _load)
