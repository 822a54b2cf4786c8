"""Logistic regression on given features, its C chosen on the validation split: what `tfidf` and `probe` share.

Where a text may have several labels there is one regression a label, all with the same C.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from loracle.errors import ModelError
from loracle.evaluation.metrics import choose_thresholds, choosing_metrics, measure, preference
from loracle.files import write_bytes

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

    from loracle.training.budget import Budget

C_GRID = (0.1, 1.0, 10.0, 100.0)
_WEIGHTS_FILE = "linear.safetensors"


class Regression(Protocol):
    """A fitted regression of scikit-learn, or `LabelRegressions`; `coef_` (rows, width), `intercept_` (rows,)."""

    coef_: np.ndarray
    intercept_: np.ndarray

    def predict_proba(self, features: Any) -> np.ndarray:
        """Return probabilities (texts, classes)."""
        ...


class LabelRegressions:
    """One regression a label: `coef_` (labels, width), `intercept_` (labels,)."""

    def __init__(self, coef: np.ndarray, intercept: np.ndarray) -> None:
        self.coef_, self.intercept_ = coef, intercept

    def predict_proba(self, features: Any) -> np.ndarray:
        """Return the probability of each label on its own, (texts, labels)."""
        from scipy.special import expit

        return np.asarray(expit(features @ self.coef_.T + self.intercept_))


@dataclass(frozen=True)
class Trial:
    """What one C brought on the validation split; `thresholds` where a text may have several labels."""

    c: float
    metrics: Mapping[str, float]
    thresholds: tuple[float, ...] | None


def fit_regression(
    train: tuple[Any, np.ndarray], validation: tuple[Any, np.ndarray], budget: Budget, *, seed: int
) -> tuple[Regression, Trial, tuple[Mapping[str, Any], ...]]:
    """Fit one regression per C; return the best on validation, what it brought there, and all that were tried.

    Features are (texts, width), dense or sparse; equal scores are told apart by the lower log-loss. Of the budget its
    metric and its class weights are read, which are scikit-learn's.
    """
    tried: list[tuple[Regression, Trial]] = []
    for c in C_GRID:
        regression = _fit(*train, c, None if budget.class_weights == "none" else budget.class_weights, seed)
        probabilities = regression.predict_proba(validation[0])
        thresholds = choose_thresholds(validation[1], probabilities)
        tried.append((regression, Trial(c, measure(validation[1], probabilities, thresholds), thresholds)))
    best, trial = max(tried, key=lambda item: preference(item[1].metrics, budget.metric))
    search = tuple(
        {"setting": "C", "value": found.c, **choosing_metrics(found.metrics), "chosen": found is trial}
        for _, found in tried
    )
    return best, trial, search


def save_regression(regression: Regression, folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the regression and further arrays as one safetensors file."""
    from safetensors.numpy import save

    classes = getattr(regression, "classes_", np.empty(0, np.int64))
    weights = {"coef": regression.coef_, "intercept": regression.intercept_, "classes": classes}
    write_bytes(
        folder / _WEIGHTS_FILE,
        save({name: np.ascontiguousarray(item) for name, item in {**weights, **arrays}.items()}),
    )


def load_regression(folder: Path) -> tuple[Regression, dict[str, np.ndarray]]:
    """Read what `save_regression` wrote; raises ModelError where it is missing or broken."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file
    from sklearn.linear_model import LogisticRegression

    try:
        arrays = load_file(folder / _WEIGHTS_FILE)
        coef, intercept, classes = arrays.pop("coef"), arrays.pop("intercept"), arrays.pop("classes")
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(f"{folder / _WEIGHTS_FILE} cannot be read: {error}") from error
    if not len(classes):  # they are told by their place alone
        return LabelRegressions(coef, intercept), arrays
    regression = LogisticRegression()
    regression.coef_, regression.intercept_, regression.classes_ = coef, intercept, classes
    return regression, arrays


def _fit(features: Any, labels: np.ndarray, c: float, class_weight: str | None, seed: int) -> Regression:
    if labels.ndim == 1:
        regression: Regression = _fit_one(features, labels, c, class_weight, seed)
        return regression
    rows = [_fit_label(features, column, c, class_weight, seed) for column in labels.T]
    return LabelRegressions(np.stack([coef for coef, _ in rows]), np.array([intercept for _, intercept in rows]))


def _fit_label(
    features: Any, labels: np.ndarray, c: float, class_weight: str | None, seed: int
) -> tuple[np.ndarray, float]:
    """Return the weights and the intercept of one label; what all or no texts have tells nothing but its share."""
    if labels.min() == labels.max():
        share = (labels.sum() + 1) / (len(labels) + 2)  # Laplace's, since 0 and 1 have no intercept
        return np.zeros(features.shape[1]), float(np.log(share / (1 - share)))
    regression = _fit_one(features, labels, c, class_weight, seed)
    return regression.coef_[0], float(regression.intercept_[0])


def _fit_one(features: Any, labels: np.ndarray, c: float, class_weight: str | None, seed: int) -> LogisticRegression:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    regression = LogisticRegression(C=c, max_iter=1000, random_state=seed, class_weight=class_weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the validation split judges where it stopped
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)  # so be it
        regression.fit(features, labels)
    return regression
