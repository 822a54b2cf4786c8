"""The frozen base model as a feature extractor: mean-pooled last layer, computed once, into a logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from loracle.files import load_json, save_json
from loracle.methods.extraction import Extractor, load_extractor, load_saved_extractor
from loracle.methods.finetune import BASE_PRECISION, check_base
from loracle.methods.linear import Regression, fit_regression, load_regression, save_regression
from loracle.methods.method import Classifier, Fitted, Method, Setup

if TYPE_CHECKING:
    from loracle.data.task import Task
    from loracle.training.fitting import OnStep

_FILE = "probe.json"


@dataclass(frozen=True)
class ProbeScorer:
    """An extractor with a regression over its vectors."""

    extractor: Extractor
    regression: Regression

    def predict_proba(self, texts: Sequence[str], on_step: OnStep | None = None) -> np.ndarray:
        """Return class probabilities, float32 (texts, classes)."""
        features = self.extractor.features(texts, on_step)
        return np.asarray(self.regression.predict_proba(features), np.float32)

    def save(self, folder: Path) -> None:
        """Write the regression and the name of the base model; the base itself is not copied."""
        save_json(folder / _FILE, self.extractor.to_json())
        save_regression(self.regression, folder, {})


def fit_probe(
    task: Task,
    setup: Setup,
    *,
    seed: int,
    learning_rate: float | None = None,  # noqa: ARG001
    on_step: OnStep | None = None,
) -> Fitted:
    """Compute the features of the training and the validation split once; choose C on the validation split."""
    extractor = load_extractor(setup.model, setup.budget, setup.base_precision)
    train, validation = (
        (extractor.features(split.texts, on_step), split.labels) for split in (task.train, task.validation)
    )
    regression, best, search = fit_regression(train, validation, setup.budget, seed=seed)
    base, weights = extractor.count_parameters(), regression.coef_.size + regression.intercept_.size
    classifier = Classifier(
        method="probe",
        label_names=task.label_names,
        scorer=ProbeScorer(extractor, regression),
        counts=replace(base, head=weights, trainable=weights),
        thresholds=best.thresholds,
    )
    return Fitted(classifier=classifier, validation_metrics=best.metrics, search=search)


def _load(folder: Path) -> ProbeScorer:
    saved = load_json(folder / _FILE, keys=("model", "max_length", "precision"))
    regression, _ = load_regression(folder)
    return ProbeScorer(load_saved_extractor(saved), regression)


PROBE = Method(
    name="probe",
    summary="frozen base model, logistic regression on its vectors",
    fit=fit_probe,
    load=_load,
    cuts_texts=True,
    options=(BASE_PRECISION,),
    check=check_base,
)
