"""Word 1- and 2-grams, weighted by TF-IDF, into a logistic regression: the rung that others must beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from loracle.files import load_json, save_json
from loracle.methods.linear import Regression, fit_regression, load_regression, save_regression
from loracle.methods.method import Classifier, Fitted, Method, Setup
from loracle.models.counting import Counts

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

    from loracle.data.task import Task
    from loracle.training.fitting import OnStep

_TERMS_FILE = "terms.json"
_FEW_TEXTS = 1000


@dataclass(frozen=True)
class TfidfScorer:
    """A vocabulary with its weights, and a regression over it."""

    vectorizer: TfidfVectorizer
    regression: Regression

    def predict_proba(self, texts: Sequence[str], on_step: OnStep | None = None) -> np.ndarray:
        """Return class probabilities, float32 (texts, classes)."""
        probabilities = self.regression.predict_proba(self.vectorizer.transform(texts))
        if on_step:
            on_step(len(texts), None)
        return np.asarray(probabilities, np.float32)

    def save(self, folder: Path) -> None:
        """Write the terms, their weights and the regression."""
        save_json(folder / _TERMS_FILE, self.vectorizer.get_feature_names_out().tolist())
        save_regression(self.regression, folder, {"idf": self.vectorizer.idf_})


def fit_tfidf(
    task: Task,
    setup: Setup,
    *,
    seed: int,
    learning_rate: float | None = None,  # noqa: ARG001
    on_step: OnStep | None = None,  # noqa: ARG001
) -> Fitted:
    """Weigh the terms of the training split; choose C on the validation split.

    A term must stand in two texts, unless there are fewer than 1,000 texts.
    """
    vectorizer = _vectorizer(min_df=1 if len(task.train) < _FEW_TEXTS else 2)
    train = vectorizer.fit_transform(task.train.texts), task.train.labels
    validation = vectorizer.transform(task.validation.texts), task.validation.labels
    regression, best, search = fit_regression(train, validation, setup.budget, seed=seed)
    weights = regression.coef_.size + regression.intercept_.size
    classifier = Classifier(
        method="tfidf",
        label_names=task.label_names,
        scorer=TfidfScorer(vectorizer, regression),
        counts=Counts(head=weights, trainable=weights),
        thresholds=best.thresholds,
    )
    return Fitted(classifier=classifier, validation_metrics=best.metrics, search=search)


def _vectorizer(**options: object) -> TfidfVectorizer:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, **options)


def _load(folder: Path) -> TfidfScorer:
    regression, arrays = load_regression(folder)
    vectorizer = _vectorizer(vocabulary=load_json(folder / _TERMS_FILE))
    vectorizer.idf_ = arrays["idf"]
    return TfidfScorer(vectorizer, regression)


TFIDF = Method(name="tfidf", summary="TF-IDF of word 1-2-grams, logistic regression", fit=fit_tfidf, load=_load)
