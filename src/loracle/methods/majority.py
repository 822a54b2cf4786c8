"""The floor: every text gets the class shares of the training split, so that the commonest class is predicted.

Where a text may have several labels these are the shares of the texts that have each. The same shares for every text
leave F1 one choice of threshold: every text gets every label that some validation text has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from loracle.data.splitting import count_labels
from loracle.evaluation.metrics import choose_thresholds, measure
from loracle.files import load_json, save_json
from loracle.methods.method import Classifier, Fitted, Method, Setup
from loracle.models.counting import Counts

if TYPE_CHECKING:
    from loracle.data.task import Task
    from loracle.training.fitting import OnStep

_FILE = "shares.json"


@dataclass(frozen=True)
class MajorityScorer:
    """Predict the same shares for every text; float32 (classes,)."""

    shares: np.ndarray

    def predict_proba(self, texts: Sequence[str], on_step: OnStep | None = None) -> np.ndarray:
        """Return the training shares, once a text."""
        if on_step:
            on_step(len(texts), None)
        return np.tile(self.shares, (len(texts), 1))

    def save(self, folder: Path) -> None:
        """Write the shares."""
        save_json(folder / _FILE, self.shares.tolist())


def fit_majority(
    task: Task,
    setup: Setup,  # noqa: ARG001
    *,
    seed: int,  # noqa: ARG001
    learning_rate: float | None = None,  # noqa: ARG001
    on_step: OnStep | None = None,
) -> Fitted:
    """Count the labels of the training split."""
    counts = count_labels(task.train.labels, len(task.label_names))
    scorer = MajorityScorer((counts / len(task.train)).astype(np.float32))
    labels, probabilities = task.validation.labels, scorer.predict_proba(task.validation.texts, on_step)
    thresholds = choose_thresholds(labels, probabilities)
    classifier = Classifier(
        method="majority",
        label_names=task.label_names,
        scorer=scorer,
        counts=Counts(head=len(counts)),
        thresholds=thresholds,
    )
    return Fitted(classifier=classifier, validation_metrics=measure(labels, probabilities, thresholds))


def _load(folder: Path) -> MajorityScorer:
    return MajorityScorer(np.asarray(load_json(folder / _FILE), dtype=np.float32))


MAJORITY = Method(
    name="majority", summary="always the commonest class; of several labels a text, all", fit=fit_majority, load=_load
)
