"""A bidirectional LSTM over words, trained from nothing: what was done before transformers."""

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
    from loracle.models.lstm import build_lstm

    return build_lstm(task.train.texts, len(task.label_names), setup.networks)


def _save(base: Base, folder: Path) -> None:
    from loracle.models.lstm import save_lstm

    save_lstm(base, folder)


def _load(folder: Path, model: str, label_names: Sequence[str]) -> Base:  # noqa: ARG001
    from loracle.models.lstm import load_lstm

    return load_lstm(folder)


LSTM = training(
    "lstm",
    "bidirectional LSTM over words, trained from nothing",
    (3e-3, 1e-3, 1e-2, 3e-4, 1e-4),
    _build,
    _save,
    _load,
    options=("lstm_words", "lstm_embedding", "lstm_hidden", "lstm_dropout"),
)
