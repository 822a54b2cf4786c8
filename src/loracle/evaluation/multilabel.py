"""How good predicted probabilities are where a text may have any number of labels, or none.

`labels` are 0 or 1, (n, classes); `probabilities` are (n, classes), each cell between 0 and 1 on its own;
`thresholds` are (classes,): a label is predicted where its probability reaches its threshold.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]

DEFAULT_THRESHOLD = 0.5


def choose_label_thresholds(labels: Array, probabilities: Array) -> NDArray[np.float64]:
    """Return for each label the threshold with the highest F1 on these texts, (classes,).

    Tried is the middle between any two neighbouring probabilities (and 0); of equal ones the nearest to 0.5 is taken.
    A label that no text has keeps 0.5. Meant for the validation split: Lipton, Elkan and Narayanaswamy 2014.
    """
    labels, probabilities = check_label_sets(labels, probabilities)
    return np.array([_choose(*columns) for columns in zip(labels.T, probabilities.T, strict=True)], np.float64)


def predict_label_sets(probabilities: Array, thresholds: ArrayLike | None = None) -> NDArray[np.uint8]:
    """Return 0 or 1 in the shape of `probabilities`, (..., n, classes); `thresholds` (..., classes), 0.5 without.

    >>> predict_label_sets(np.array([[0.2, 0.6]]), np.array([0.1, 0.7])).tolist()
    [[1, 0]]
    """
    least = DEFAULT_THRESHOLD if thresholds is None else np.asarray(thresholds)[..., None, :]
    return np.asarray(probabilities >= least, np.uint8)


def measure_label_sets(
    labels: Array, probabilities: Array, thresholds: ArrayLike | None = None, *, bins: int
) -> dict[str, float]:
    """Return accuracy (all labels of a text right), micro_f1, macro_f1, log_loss and ece; ValueError as `check_...`.

    Macro-F1 is the mean over labels that some text has. Log-loss and ECE are means over all cells: each label of each
    text is one yes-or-no question.
    """
    labels, probabilities = check_label_sets(labels, probabilities)
    predicted = predict_label_sets(probabilities, thresholds)
    true, marked, right = labels.sum(axis=0), predicted.sum(axis=0), (labels * predicted).sum(axis=0)
    occurs = true > 0
    f1 = 2 * right / np.maximum(true + marked, 1)
    return {
        "accuracy": float((labels == predicted).all(axis=1).mean()),
        "micro_f1": float(2 * right.sum() / max(1, true.sum() + marked.sum())),
        "macro_f1": float(f1[occurs].mean()) if occurs.any() else 0.0,
        "log_loss": float(cell_losses(labels, probabilities).mean()),
        "ece": _calibration_error(labels, probabilities, bins),
    }


def score_labels(
    labels: Array, probabilities: Array, thresholds: ArrayLike | None = None
) -> dict[int, dict[str, float]]:
    """Return precision, recall, f1, support and threshold of each label's index; 0 where a ratio is not defined."""
    labels, probabilities = check_label_sets(labels, probabilities)
    predicted = predict_label_sets(probabilities, thresholds)
    limits = np.full(labels.shape[1], DEFAULT_THRESHOLD) if thresholds is None else np.asarray(thresholds)
    true, marked, right = labels.sum(axis=0), predicted.sum(axis=0), (labels * predicted).sum(axis=0)
    return {
        index: {
            "precision": float(right[index] / max(1, marked[index])),
            "recall": float(right[index] / max(1, true[index])),
            "f1": float(2 * right[index] / max(1, true[index] + marked[index])),
            "support": float(true[index]),
            "threshold": float(limits[index]),
        }
        for index in range(labels.shape[1])
    }


def cell_losses(labels: Array, probabilities: Array) -> NDArray[np.float64]:
    """Return the binary log-loss of every cell in nats, in the shape of `probabilities`, which may be (runs, n, k)."""
    least = np.finfo(np.float64).eps
    losses: NDArray[np.float64] = -np.log(np.clip(np.where(labels == 1, probabilities, 1 - probabilities), least, 1.0))
    return losses


def cell_bins(probabilities: Array, bins: int) -> NDArray[np.int64]:
    """Return the bin of every cell's probability; bin b holds (b / bins, (b + 1) / bins], the first 0 too."""
    bin_of: NDArray[np.int64] = (np.ceil(probabilities * bins) - 1).astype(np.int64)
    return bin_of.clip(0, bins - 1)


def check_label_sets(labels: Array, probabilities: Array) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return both as int64 and float64; ValueError says what is wrong with them."""
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if labels.ndim != 2 or labels.shape != probabilities.shape or not labels.size:
        raise ValueError(
            f"labels {labels.shape} and probabilities {probabilities.shape} must both be (n, classes), n > 0"
        )
    if not np.isfinite(probabilities).all():
        raise ValueError("probabilities hold NaN or infinity")
    if probabilities.min() < 0 or probabilities.max() > 1:
        raise ValueError("probabilities must lie between 0 and 1")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("labels of several a text must be 0 or 1")
    return labels.astype(np.int64), probabilities


def _choose(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    positives = labels.sum()
    if not positives:
        return DEFAULT_THRESHOLD
    values, places = np.unique(probabilities, return_inverse=True)
    middles = (values + np.concatenate([[0.0], values[:-1]])) / 2
    right, marked = (
        np.cumsum(np.bincount(places, weights=weights, minlength=len(values))[::-1])[::-1]
        for weights in (labels.astype(np.float64), np.ones(len(labels)))
    )
    f1 = 2 * right / (positives + marked)
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(middles[best[np.argmin(np.abs(middles[best] - DEFAULT_THRESHOLD))]])


def _calibration_error(labels: Array, probabilities: Array, bins: int) -> float:
    gaps = np.bincount(cell_bins(probabilities, bins).ravel(), weights=(probabilities - labels).ravel(), minlength=bins)
    return float(np.abs(gaps).sum() / labels.size)
