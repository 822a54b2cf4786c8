"""How far a mean over seeds and texts may lie from the truth.

Every seed of a method scores the same texts, so scores are crossed: a text is hard for all, a seed is lucky on
all texts, and a seed is lucky on one text. The truth is the mean over all texts and all seeds. Its estimate has

    variance = text variance                     what resampling the texts moves, seeds as they are
             + sum over methods of (mean square between seeds - noise) / seeds

where noise is what the texts alone make seeds differ (else it would count twice). This is the variance of the
multi-reader, multi-case design of radiology with seeds as readers (Obuchowski and Rockette 1995; Gallas 2006).
Three seeds are too few to resample: a bootstrap of 3 shows two thirds of their variance.

The interval is Howe's (1974): half width squared = z^2 text variance + t^2 seed variance, t with the degrees of
freedom of Welch (1947) over the methods' mean squares. The text variance has the two pseudo-texts of Bonett and Price
(2012), one for either side, so that methods that agree on all of 20 texts are not called equal.

What holds, by simulation with known truth (3 seeds; tests/evaluation/test_statistics.py): 95 % intervals of an
accuracy difference cover 95 to 97 % without seed variance and where it is a third of the text variance, and 94 to
97 % where it is as large, whether one of the methods has seeds or both. What does not hold exactly: on 150 texts or
fewer, and for macro-F1 over seeds, they are wide (97 to 98 %); where seeds decide nearly all, one of the methods has
none and seeds also disagree on single texts, they cover 93 %, and with two seeds less. One seed says nothing about
other seeds: the claim is then about that one model, as it is for a method without chance in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from loracle.errors import unknown
from loracle.evaluation.resampling import Statistic, f1_of, resampled_f1, resampled_statistic

Floats = NDArray[np.float64]
MetricName = Literal["accuracy", "micro_f1", "macro_f1"]
Metric = MetricName | Statistic
RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Runs:
    """One metric of many runs on the same texts; a run is one method with one seed.

    `values` are (runs,); `covariance` (runs, runs) is how the values move together when the texts are drawn again;
    `pseudo` is the squared weight of one text in the metric, in units of 1 / texts (1 for accuracy).
    """

    values: Floats
    covariance: Floats
    texts: int
    pseudo: float = 1.0

    @classmethod
    def of(
        cls,
        labels: NDArray[Any],
        predicted: NDArray[Any],
        metric: Metric = "accuracy",
        *,
        resamples: int = RESAMPLES,
        seed: int = 0,
    ) -> Runs:
        """Measure `predicted` (runs, texts) against `labels` (texts,); ConfigError for an unknown metric.

        Where a text may have several labels both have the classes as a last axis, and accuracy asks that all be right.
        For accuracy the covariance over resampled texts is known in closed form, so nothing is drawn. A function
        (labels, predicted) -> float on a scale of about 0 to 1 works too, at one call a run and resample.
        """
        if metric == "accuracy":
            return _accuracy_runs(labels, predicted)
        if metric in _WEIGHT_OF_A_TEXT:
            drawn = resampled_f1(metric, labels, predicted, resamples=resamples, seed=seed)
            pseudo = f1_pseudo(metric, labels)
            return cls.resampled(f1_of(metric, labels, predicted), drawn, len(labels), pseudo)
        if isinstance(metric, str):
            raise unknown("metric", metric, ["accuracy", *_WEIGHT_OF_A_TEXT])
        values = np.array([metric(labels, run) for run in predicted])
        drawn = resampled_statistic(metric, labels, predicted, resamples=resamples, seed=seed)
        return cls.resampled(values, drawn, len(labels))

    @classmethod
    def resampled(cls, values: Floats, drawn: Floats, texts: int, pseudo: float = 1.0) -> Runs:
        """Make Runs from values (runs,) and the same under resampled texts, (resamples, runs)."""
        covariance = np.atleast_2d(np.cov(drawn, rowvar=False))
        return cls(values=values, covariance=covariance, texts=texts, pseudo=pseudo)

    def contrast(self, first: Sequence[int], second: Sequence[int] = ()) -> Contrast:
        """Return the mean of the runs `first`, minus that of the runs `second` where there are any."""
        weights = np.zeros(len(self.values))
        weights[list(first)] = 1 / len(first)
        if second:
            weights[list(second)] = -1 / len(second)
        value = float(weights @ self.values)
        spread = max(0.0, float(weights @ self.covariance @ weights))
        squares = [self._seed_square(list(rows)) for rows in (first, second) if len(rows) > 1]
        grown = self.texts + 2
        difference = value if second else 0.0
        pseudo = 2 * self.pseudo + 2 * difference**2 * self.texts / grown
        return Contrast(
            value=value,
            center=difference * self.texts / grown if second else value,
            text_variance=(self.texts**2 * spread + pseudo) / grown**2,
            seed_variance=sum(max(0.0, square - noise) for square, noise, _ in squares),
            seed_freedom=_welch([(square, freedom) for square, _, freedom in squares]),
            texts=self.texts,
            grain=1 / max(len(first), len(second)),
        )

    def _seed_square(self, rows: list[int]) -> tuple[float, float, int]:
        """Return of the mean over these seeds: its mean square, the part that texts make, the freedom."""
        block, seeds = self.covariance[np.ix_(rows, rows)], len(rows)
        noise = (np.trace(block) - block.sum() / seeds) / (seeds - 1)
        return float(np.var(self.values[rows], ddof=1)) / seeds, float(noise) / seeds, seeds - 1


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A mean over seeds, or the difference of two, with the two parts of its variance."""

    value: float  # as observed
    center: float  # as observed, with the pseudo-texts
    text_variance: float  # shrinks with more texts
    seed_variance: float  # shrinks with more seeds only
    seed_freedom: float
    texts: int
    grain: float  # the least that one text can add to the sum of differences, but nothing

    @property
    def variance(self) -> float:
        """Both parts."""
        return self.text_variance + self.seed_variance

    def interval(self, level: float = 0.05) -> Interval:
        """Return the two-sided interval that misses the truth in a share `level` of the draws."""
        half = self._half_width(level, self.text_variance)
        low, high = self.center - half, self.center + half
        return Interval(value=self.value, low=min(low, self.value), high=max(high, self.value))

    def above(self, bound: float, level: float) -> bool:
        """Whether the truth is shown to lie above `bound` <= 0, in a test of two-sided `level`.

        Stricter than the interval where methods agree on nearly all texts: were the truth `bound`, single texts
        would have to make it up, and so differ. That variance is the least that is believed, as in the score test
        (Nam 1997, Tango 1998); without it two errors in 300 texts would rule out a true difference of 2 points.
        """
        needed = max(0.0, -bound * self.grain - bound**2) / self.texts
        return self.center - self._half_width(level, max(self.text_variance, needed)) > bound

    def p(self) -> float:
        """Return the two-sided p-value of no difference: the level at which the interval ends at zero."""
        from scipy.optimize import brentq

        def surplus(log_level: float) -> float:
            return self._half_width(float(np.exp(log_level)), self.text_variance) - abs(self.center)

        least = float(np.log(1e-12))
        if surplus(0.0) >= 0 or surplus(least) <= 0:
            return 1.0 if surplus(0.0) >= 0 else 1e-12
        return float(np.exp(brentq(surplus, least, 0.0)))

    def _half_width(self, level: float, text_variance: float) -> float:
        from scipy.special import ndtri, stdtrit

        z, t = ndtri(level / 2), stdtrit(self.seed_freedom, level / 2)
        return float(np.sqrt(z**2 * text_variance + t**2 * self.seed_variance))


def all_right(labels: NDArray[Any], predicted: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which texts are right, (..., texts): the label, or with `labels` (texts, classes) every one of them."""
    right: NDArray[np.bool_] = predicted == labels
    return np.asarray(right.all(axis=-1)) if labels.ndim == 2 else right


def f1_pseudo(metric: str, labels: NDArray[Any]) -> float:
    """Return the mean squared weight of one text in an F1, in units of 1 / texts."""
    sets = labels if labels.ndim == 2 else labels[:, None] == np.unique(labels)
    weights = _WEIGHT_OF_A_TEXT[metric](sets)
    return float(len(labels) * (weights**2).sum())


def _accuracy_runs(labels: NDArray[Any], predicted: NDArray[Any]) -> Runs:
    right = all_right(labels, predicted).astype(np.float64)
    values = right.mean(axis=1)
    centred = right - values[:, None]
    return Runs(values=values, covariance=centred @ centred.T / len(labels) ** 2, texts=len(labels))


def _macro_weights(sets: NDArray[Any]) -> Floats:
    """Return 1 / (classes x texts of its class) for each text, summed over its labels."""
    counts = sets.sum(axis=0)
    there = counts > 0
    weights: Floats = sets[:, there] @ (1 / counts[there]) / max(1, there.sum())
    return weights


def _micro_weights(sets: NDArray[Any]) -> Floats:
    """Return each text's share of all labels."""
    weights: Floats = sets.sum(axis=1) / max(1, sets.sum())
    return weights


_WEIGHT_OF_A_TEXT = {"micro_f1": _micro_weights, "macro_f1": _macro_weights}


def _welch(squares: list[tuple[float, int]]) -> float:
    total = sum(square for square, _ in squares)
    if total == 0:
        return 1.0
    return float(total**2 / sum(square**2 / freedom for square, freedom in squares))
