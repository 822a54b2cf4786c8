"""A small transformer from random weights, all of it trained: what pretraining is worth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loracle.methods.finetune import training

if TYPE_CHECKING:
    from loracle.data.task import Task
    from loracle.methods.method import Setup
    from loracle.models.loading import Base


def _build(task: Task, setup: Setup) -> Base:
    from loracle.models.scratch import build_scratch

    return build_scratch(
        setup.model,
        task.label_names,
        setup.networks,
        max_length=setup.budget.max_length,
    )


def _save(base: Base, folder: Path) -> None:
    from loracle.models.loading import save_whole

    save_whole(base, folder)


def _load(folder: Path, model: str, label_names: Sequence[str]) -> Base:
    from loracle.models.loading import load_finetuned

    return load_finetuned(folder, model, label_names)


SCRATCH = training(
    "scratch",
    "a small transformer from random weights",
    (1e-3, 3e-4, 3e-3, 1e-4, 3e-5),
    _build,
    _save,
    _load,
    options=("scratch_hidden", "scratch_layers", "scratch_heads", "scratch_intermediate", "scratch_dropout"),
)
