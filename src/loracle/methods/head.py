"""A new head trained by gradient on the frozen base model: what `probe` does with a regression."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loracle.methods.finetune import BASE_PRECISION, finetuning
from loracle.methods.partial import load_trained, save_trained

if TYPE_CHECKING:
    from loracle.methods.method import Setup
    from loracle.models.loading import Base


def prepare_head(base: Base, setup: Setup) -> None:  # noqa: ARG001
    """Leave the head alone trainable."""
    from loracle.models.freezing import train_head

    train_head(base)


HEAD = finetuning(
    "head",
    "frozen base model, the head trained by gradient",
    (3e-3, 1e-2, 1e-3, 3e-2, 3e-4),
    prepare_head,
    save_trained,
    load_trained,
    options=(BASE_PRECISION,),
)
