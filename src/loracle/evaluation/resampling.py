"""Metrics of many runs under many resamples of the same texts, without a Python loop over resamples.

A resample of the texts is a vector of how often each text was drawn (multinomial weights; Efron 1979). Every run
sees the same resamples, so that what is hard about a text cancels in a difference of runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loracle.evaluation.metrics import CALIBRATION_BINS, are_answers, confidence_bins, predicted_classes

Floats = NDArray[np.float64]
Array = NDArray[Any]
Statistic = Callable[[Array, Array], float]

CHUNK_CELLS = 4_000_000  # numbers held at once in one array: 32 MB


def resampled_macro_f1(labels: Array, predicted: Array, *, resamples: int, seed: int) -> Floats:
    """Return macro-F1 (resamples, runs) of `predicted` (runs, texts); classes absent from a resample drop out."""
    counts = _Counts(labels, predicted)
    drawn = draw(len(labels), resamples, seed, counts.width)
    return np.concatenate([_macro_f1(*counts(weights)) for weights in drawn])


def resampled_statistic(statistic: Statistic, labels: Array, predicted: Array, *, resamples: int, seed: int) -> Floats:
    """Return any statistic of (labels, predictions) as (resamples, runs): one Python call for each cell."""
    rng = np.random.default_rng(seed)
    drawn = (rng.integers(0, len(labels), len(labels)) for _ in range(resamples))
    return np.array([[statistic(labels[rows], run[rows]) for run in predicted] for rows in drawn])


def resampled_measures(labels: Array, probabilities: Array, *, resamples: int, seed: int) -> dict[str, Floats]:
    """Return the metrics of `metrics.measure` but accuracy, each (resamples, runs).

    `probabilities` are (runs, texts, classes), finite, rows summing to 1, or to 0 for no answer.
    """
    predicted, top = predicted_classes(probabilities), probabilities.max(axis=2)
    counts = _Counts(labels, predicted)
    truth = probabilities[:, np.arange(len(labels)), labels]
    losses = -np.log(np.clip(truth, np.finfo(np.float64).eps, 1.0))
    gaps = _stacked(confidence_bins(probabilities), CALIBRATION_BINS, top - (predicted == labels))
    parts: dict[str, list[Floats]] = {"macro_f1": [], "mcc": [], "log_loss": [], "ece": []}
    if are_answers(probabilities):
        parts = {"macro_f1": [], "mcc": []}
    for weights in draw(len(labels), resamples, seed, counts.width):
        counted = counts(weights)
        parts["macro_f1"].append(_macro_f1(*counted))
        parts["mcc"].append(_mcc(*counted))
        if "ece" not in parts:
            continue
        binned = (gaps @ weights).reshape(len(predicted), CALIBRATION_BINS, -1)
        parts["log_loss"].append((losses @ weights).T / len(labels))
        parts["ece"].append(np.abs(binned).sum(axis=1).T / len(labels))
    return {name: np.concatenate(chunks) for name, chunks in parts.items()}


def draw(texts: int, resamples: int, seed: int, width: int = 1) -> Iterator[Floats]:
    """Yield weights (texts, chunk): how often each text was drawn; each column sums to `texts`.

    `width` is how many numbers the caller holds for one resample; chunks are small enough for both.
    """
    rng = np.random.default_rng(seed)
    size = max(1, min(resamples, CHUNK_CELLS // max(texts, width)))
    for start in range(0, resamples, size):
        chunk = min(size, resamples - start)
        cells = rng.integers(0, texts, (texts, chunk)) * chunk + np.arange(chunk)
        weights: Floats = np.bincount(cells.ravel(), minlength=cells.size).reshape(cells.shape).astype(float)
        yield weights


def macro_f1_of(labels: Array, predicted: Array) -> Floats:
    """Return macro-F1 (runs,) of `predicted` (runs, texts), as `metrics.macro_f1` defines it."""
    values: Floats = _macro_f1(*_Counts(labels, predicted)(np.ones((len(labels), 1))))[0]
    return values


class _Counts:
    """Called with weights (texts, chunk): true (1, k, chunk), predicted and right (runs, k, chunk)."""

    def __init__(self, labels: Array, predicted: Array) -> None:
        classes = np.unique(np.concatenate([labels, predicted.ravel()]))
        self.shape = (len(predicted), len(classes), -1)
        codes = np.searchsorted(classes, predicted)
        ones = np.ones(predicted.shape)
        self.true = _stacked(np.searchsorted(classes, labels)[None], len(classes), ones[:1])
        self.predicted = _stacked(codes, len(classes), ones)
        self.right = _stacked(codes, len(classes), (predicted == labels).astype(np.float64))

    @property
    def width(self) -> int:
        """Counts held for one resample."""
        return self.shape[0] * self.shape[1]

    def __call__(self, weights: Floats) -> tuple[Floats, Floats, Floats]:
        true: Floats = self.true @ weights
        predicted: Floats = self.predicted @ weights
        right: Floats = self.right @ weights
        return true[None], predicted.reshape(self.shape), right.reshape(self.shape)


def _stacked(codes: Array, size: int, values: Array) -> Any:
    """Return sparse (runs * size, texts): row run * size + code of a text holds the text's value."""
    from scipy.sparse import csr_array

    runs, texts = codes.shape
    rows = (codes + size * np.arange(runs)[:, None]).ravel()
    columns = np.tile(np.arange(texts), runs)
    return csr_array((values.ravel(), (rows, columns)), shape=(runs * size, texts))


def _macro_f1(true: Floats, predicted: Floats, right: Floats) -> Floats:
    f1 = 2 * right / np.maximum(true + predicted, 1.0)
    mean: Floats = (f1 * (true > 0)).sum(axis=1) / (true > 0).sum(axis=1)
    return mean.T


def _mcc(true: Floats, predicted: Floats, right: Floats) -> Floats:
    texts = true.sum(axis=1)
    over = right.sum(axis=1) * texts - (true * predicted).sum(axis=1)
    under = np.sqrt((texts**2 - (predicted**2).sum(axis=1)) * (texts**2 - (true**2).sum(axis=1)))
    correlation: Floats = np.where(under > 0, over / np.where(under > 0, under, 1.0), 0.0)
    return correlation.T
