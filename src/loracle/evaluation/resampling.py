"""Metrics of many runs under many resamples of the same texts, without a Python loop over resamples.

A resample of the texts is a vector of how often each text was drawn (multinomial weights; Efron 1979). Every run
sees the same resamples, so that what is hard about a text cancels in a difference of runs. Labels are (texts,), or
0 and 1 in (texts, classes) where a text may have several; predictions have the runs before that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loracle.evaluation.metrics import CALIBRATION_BINS, are_answers, confidence_bins, predicted_classes
from loracle.evaluation.multilabel import cell_bins, cell_losses

Floats = NDArray[np.float64]
Array = NDArray[Any]
Statistic = Callable[[Array, Array], float]

CHUNK_CELLS = 4_000_000  # numbers held at once in one array: 32 MB


def resampled_f1(metric: str, labels: Array, predicted: Array, *, resamples: int, seed: int) -> Floats:
    """Return "macro_f1" or "micro_f1" (resamples, runs) of `predicted` (runs, texts) or (runs, texts, classes).

    Of macro-F1 classes that are absent from a resample drop out.
    """
    counts = _count(labels, predicted)
    drawn = draw(len(labels), resamples, seed, counts.width)
    return np.concatenate([_F1[metric](*counts(weights)) for weights in drawn])


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
    counts = _count(labels, predicted)
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


def resampled_set_measures(
    labels: Array, probabilities: Array, predicted: Array, *, resamples: int, seed: int
) -> dict[str, Floats]:
    """Return the metrics of `measure_label_sets` but accuracy, each (resamples, runs).

    `labels` are (texts, classes), `probabilities` and `predicted` (runs, texts, classes).
    """
    counts, texts = _count(labels, predicted), len(labels)
    losses = cell_losses(labels, probabilities).mean(axis=2)
    runs, cells = len(predicted), labels.size
    gaps = _stacked(
        cell_bins(probabilities, CALIBRATION_BINS).reshape(runs, cells),
        CALIBRATION_BINS,
        (probabilities - labels).reshape(runs, cells),
        np.repeat(np.arange(texts), labels.shape[1]),
    )
    parts: dict[str, list[Floats]] = {"micro_f1": [], "macro_f1": [], "log_loss": [], "ece": []}
    for weights in draw(texts, resamples, seed, counts.width):
        counted = counts(weights)
        for name, compute in _F1.items():
            parts[name].append(compute(*counted))
        parts["log_loss"].append((losses @ weights).T / texts)
        binned = (gaps @ weights).reshape(runs, CALIBRATION_BINS, -1)
        parts["ece"].append(np.abs(binned).sum(axis=1).T / cells)
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


def f1_of(metric: str, labels: Array, predicted: Array) -> Floats:
    """Return "macro_f1" or "micro_f1" (runs,) of `predicted`, as `metrics.measure` defines it."""
    values: Floats = _F1[metric](*_count(labels, predicted)(np.ones((len(labels), 1))))[0]
    return values


def _count(labels: Array, predicted: Array) -> _Counts:
    return _Counts.of_sets(labels, predicted) if labels.ndim == 2 else _Counts.of_classes(labels, predicted)


@dataclass(frozen=True)
class _Counts:
    """Called with weights (texts, chunk): true (1, k, chunk), predicted and right (runs, k, chunk)."""

    true: Any  # sparse (k, texts)
    predicted: Any  # sparse (runs * k, texts)
    right: Any
    runs: int

    @classmethod
    def of_classes(cls, labels: Array, predicted: Array) -> _Counts:
        """Count one label a text: `labels` (texts,), `predicted` (runs, texts)."""
        classes = np.unique(np.concatenate([labels, predicted.ravel()]))
        codes = np.searchsorted(classes, predicted)
        ones = np.ones(predicted.shape)
        return cls(
            true=_stacked(np.searchsorted(classes, labels)[None], len(classes), ones[:1]),
            predicted=_stacked(codes, len(classes), ones),
            right=_stacked(codes, len(classes), (predicted == labels).astype(np.float64)),
            runs=len(predicted),
        )

    @classmethod
    def of_sets(cls, labels: Array, predicted: Array) -> _Counts:
        """Count each label of a text: `labels` (texts, k), `predicted` (runs, texts, k), both 0 or 1."""
        from scipy.sparse import csr_array

        sets = (labels[None], predicted, predicted * labels)
        true, marked, right = (csr_array(item.transpose(0, 2, 1).reshape(-1, len(labels)) * 1.0) for item in sets)
        return cls(true, marked, right, len(predicted))

    @property
    def width(self) -> int:
        """Counts held for one resample."""
        return int(self.predicted.shape[0])

    def __call__(self, weights: Floats) -> tuple[Floats, Floats, Floats]:
        shape = (self.runs, self.true.shape[0], -1)
        true: Floats = self.true @ weights
        predicted: Floats = self.predicted @ weights
        right: Floats = self.right @ weights
        return true[None], predicted.reshape(shape), right.reshape(shape)


def _stacked(codes: Array, size: int, values: Array, text_of: Array | None = None) -> Any:
    """Return sparse (runs * size, texts): row run * size + code of a text holds the sum of the text's values.

    `codes` and `values` are (runs, texts), or (runs, cells) with the text of each cell in `text_of`.
    """
    from scipy.sparse import csr_array

    runs, cells = codes.shape
    rows = (codes + size * np.arange(runs)[:, None]).ravel()
    columns = np.arange(cells) if text_of is None else text_of
    shape = (runs * size, int(columns[-1]) + 1)
    return csr_array((values.ravel(), (rows, np.tile(columns, runs))), shape=shape)


def _macro_f1(true: Floats, predicted: Floats, right: Floats) -> Floats:
    f1 = 2 * right / np.maximum(true + predicted, 1.0)
    mean: Floats = (f1 * (true > 0)).sum(axis=1) / np.maximum((true > 0).sum(axis=1), 1)
    return mean.T


def _micro_f1(true: Floats, predicted: Floats, right: Floats) -> Floats:
    share: Floats = 2 * right.sum(axis=1) / np.maximum(true.sum(axis=1) + predicted.sum(axis=1), 1.0)
    return share.T


def _mcc(true: Floats, predicted: Floats, right: Floats) -> Floats:
    texts = true.sum(axis=1)
    over = right.sum(axis=1) * texts - (true * predicted).sum(axis=1)
    under = np.sqrt((texts**2 - (predicted**2).sum(axis=1)) * (texts**2 - (true**2).sum(axis=1)))
    correlation: Floats = np.where(under > 0, over / np.where(under > 0, under, 1.0), 0.0)
    return correlation.T


_F1: dict[str, Callable[[Floats, Floats, Floats], Floats]] = {"micro_f1": _micro_f1, "macro_f1": _macro_f1}
