"""How good one set of predicted probabilities is.

`labels` are int (n,), in 0 .. classes - 1; `probabilities` are float (n, classes), rows summing to 1. The predicted
class is the one with the highest probability. A row of zeros is a text without an answer: it has no predicted class,
and is wrong. scikit-learn does the arithmetic where it has it.

Where a text may have several labels, `labels` are 0 or 1, (n, classes), and what can be done is in `multilabel.py`;
`measure`, `predicted_labels`, `per_class` and `choose_thresholds` take both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loracle.evaluation.multilabel import (
    choose_label_thresholds,
    measure_label_sets,
    predict_label_sets,
    score_labels,
)

Array = NDArray[Any]

CALIBRATION_BINS = 15
NO_ANSWER = -1
"""The predicted class of a text without an answer."""
CHOOSING = ("accuracy", "micro_f1", "macro_f1")
"""What choices on the validation split may go by; micro_f1 where a text may have several labels."""


def measure(labels: Array, probabilities: Array, thresholds: ArrayLike | None = None) -> dict[str, float]:
    """Return accuracy, macro_f1, mcc, log_loss and ece; raises ValueError as each of them does.

    The last two are left out where there are answers only, and no probabilities: each cell 0 or 1. Of several labels
    a text what `measure_label_sets` returns, with these thresholds, 0.5 without.
    """
    if np.ndim(labels) == 2:
        return measure_label_sets(labels, probabilities, thresholds, bins=CALIBRATION_BINS)
    measures = {
        "accuracy": accuracy(labels, probabilities),
        "macro_f1": macro_f1(labels, probabilities),
        "mcc": mcc(labels, probabilities),
    }
    if not are_answers(probabilities):
        measures["log_loss"] = log_loss(labels, probabilities)
        measures["ece"] = calibration_error(labels, probabilities)
    return measures


def choose_thresholds(labels: Array, probabilities: Array) -> tuple[float, ...] | None:
    """Return each label's threshold with the best F1 on these validation texts; None where a text has one label."""
    return tuple(choose_label_thresholds(labels, probabilities).tolist()) if np.ndim(labels) == 2 else None


def predicted_labels(probabilities: Array, thresholds: ArrayLike | None) -> NDArray[Any]:
    """Return the predicted classes (..., n), or with thresholds (..., classes) sets of labels (..., n, classes)."""
    return predicted_classes(probabilities) if thresholds is None else predict_label_sets(probabilities, thresholds)


def predicted_classes(probabilities: Array) -> NDArray[np.int64]:
    """Return the most probable class along the last axis, NO_ANSWER where the row is all zeros.

    >>> predicted_classes(np.array([[0.2, 0.8], [0.0, 0.0]])).tolist()
    [1, -1]
    """
    predicted: NDArray[np.int64] = np.where(
        probabilities.any(axis=-1), probabilities.argmax(axis=-1), NO_ANSWER
    ).astype(np.int64)
    return predicted


def are_answers(probabilities: Array) -> bool:
    """Say whether these are bare answers, each cell 0 or 1, which have no log-loss and no calibration."""
    return bool(np.isin(probabilities, (0, 1)).all())


def preference(metrics: Mapping[str, float], metric: str) -> tuple[float, float]:
    """Order epochs, settings and seeds by a metric on the validation split; equal ones by the lower log-loss."""
    return metrics[resolve_metric(metric, multi_label="micro_f1" in metrics)], -metrics.get("log_loss", 0.0)


def resolve_metric(metric: str, *, multi_label: bool) -> str:
    """Return the metric that "auto" stands for: micro-F1 where a text may have several labels, else accuracy.

    >>> resolve_metric("auto", multi_label=True), resolve_metric("macro_f1", multi_label=True)
    ('micro_f1', 'macro_f1')
    """
    if metric != "auto":
        return metric
    return "micro_f1" if multi_label else "accuracy"


def choosing_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return of the metrics those that choices may go by."""
    return {name: metrics[name] for name in CHOOSING if name in metrics}


def accuracy(labels: Array, probabilities: Array) -> float:
    """Return the share of texts whose label is predicted; ValueError for NaN or shapes that do not fit.

    >>> accuracy(np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]))
    0.5
    """
    labels, probabilities = checked(labels, probabilities)
    return float(np.mean(predicted_classes(probabilities) == labels))


def macro_f1(labels: Array, probabilities: Array) -> float:
    """Return the mean F1 over the classes that occur in `labels`; a class never predicted counts as 0.

    A class that no label has cannot be got right or wrong on its own, so it is left out of the mean; predicting
    it still costs the recall of the true class.
    """
    from sklearn.metrics import f1_score

    labels, probabilities = checked(labels, probabilities)
    predicted = predicted_classes(probabilities)
    return float(f1_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0))


def mcc(labels: Array, probabilities: Array) -> float:
    """Return Matthews' correlation for any number of classes (Gorodkin 2004); 0 where it is not defined."""
    from sklearn.metrics import matthews_corrcoef

    labels, probabilities = checked(labels, probabilities)
    predicted = predicted_classes(probabilities)
    if np.ptp(labels) == 0 or np.ptp(predicted) == 0:
        return 0.0  # as scikit-learn, but without its warning
    return float(matthews_corrcoef(labels, predicted))


def log_loss(labels: Array, probabilities: Array) -> float:
    """Return the mean negative log probability of the true label, in nats."""
    from sklearn.metrics import log_loss as sklearn_log_loss

    labels, probabilities = checked(labels, probabilities)
    return float(sklearn_log_loss(labels, probabilities, labels=np.arange(probabilities.shape[1])))


def calibration_error(labels: Array, probabilities: Array, bins: int = CALIBRATION_BINS) -> float:
    """Return the expected calibration error over equal-width bins of the top probability (Guo et al. 2017)."""
    labels, probabilities = checked(labels, probabilities)
    gap = probabilities.max(axis=1) - (predicted_classes(probabilities) == labels)
    sums = np.bincount(confidence_bins(probabilities, bins), weights=gap, minlength=bins)
    return float(np.abs(sums).sum() / len(labels))


def per_class(labels: Array, probabilities: Array, thresholds: ArrayLike | None = None) -> dict[int, dict[str, float]]:
    """Return precision, recall, f1 and support of each class index; 0 where a ratio is not defined.

    Of several labels a text the threshold of each label too.
    """
    if np.ndim(labels) == 2:
        return score_labels(labels, probabilities, thresholds)
    from sklearn.metrics import precision_recall_fscore_support

    labels, probabilities = checked(labels, probabilities)
    classes = np.arange(probabilities.shape[1])
    columns = precision_recall_fscore_support(labels, predicted_classes(probabilities), labels=classes, zero_division=0)
    names = ("precision", "recall", "f1", "support")
    return {
        int(index): dict(zip(names, map(float, row), strict=True))
        for index, row in zip(classes, np.transpose(columns), strict=True)
    }


def confusion(labels: Array, probabilities: Array) -> NDArray[np.int64]:
    """Return counts (classes, classes): rows are true classes, columns predicted ones; no answer is in none."""
    labels, probabilities = checked(labels, probabilities)
    classes, predicted = probabilities.shape[1], predicted_classes(probabilities)
    answered = predicted != NO_ANSWER
    cells = labels[answered] * classes + predicted[answered]
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def confidence_bins(probabilities: Array, bins: int = CALIBRATION_BINS) -> NDArray[np.int64]:
    """Return the bin (n,) of each row's top probability; bin b holds (b / bins, (b + 1) / bins]."""
    bin_of: NDArray[np.int64] = (np.ceil(probabilities.max(axis=-1) * bins) - 1).astype(np.int64)
    return bin_of.clip(0, bins - 1)


def checked(labels: Array, probabilities: Array) -> tuple[Array, Array]:
    """Return both as int64 and float64 with rows summing to 1 (or 0); ValueError says what is wrong with them."""
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
        raise ValueError(
            f"labels {labels.shape} and probabilities {probabilities.shape} must be (n,), (n, classes), n > 0"
        )
    if not np.isfinite(probabilities).all():
        raise ValueError("probabilities hold NaN or infinity")
    sums = probabilities.sum(axis=1, keepdims=True)
    if probabilities.min() < 0 or (np.abs(sums - 1) > 1e-2)[sums != 0].any():
        raise ValueError("probabilities must be at least 0 and each row must sum to 1, or to 0 for no answer")
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise ValueError(f"labels must be whole numbers from 0 to {probabilities.shape[1] - 1}")
    return labels.astype(np.int64), probabilities / np.where(sums == 0, 1, sums)
