"""Intervals, paired tests, their correction, and what a test set can tell.

scipy and statsmodels do the arithmetic where they have it; how texts and seeds are taken together is in
`uncertainty.py`. Every function that draws takes a `seed` and returns the same for the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loracle.evaluation import metrics
from loracle.evaluation.resampling import resampled_measures, resampled_set_measures
from loracle.evaluation.uncertainty import RESAMPLES, Contrast, Interval, Metric, Runs, all_right, f1_pseudo

__all__ = [
    "Interval",
    "McNemar",
    "Paired",
    "bootstrap_interval",
    "holm",
    "mcnemar",
    "metric_intervals",
    "paired_bootstrap",
    "simultaneous_level",
    "smallest_detectable_difference",
    "texts_needed",
    "wilson_interval",
]

Floats = NDArray[np.float64]
Array = NDArray[Any]
LIMITS = {
    "accuracy": (0, 1),
    "micro_f1": (0, 1),
    "macro_f1": (0, 1),
    "mcc": (-1, 1),
    "log_loss": (0, np.inf),
    "ece": (0, 1),
}


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """Two methods on the same texts: how many only one of them gets right, and the two-sided p-values."""

    only_first: int
    only_second: int
    p_exact: float
    p: float  # mid-p


@dataclass(frozen=True, kw_only=True)
class Paired:
    """First minus second on the same texts, over texts and seeds: 95 % interval and two-sided p-value."""

    difference: Interval
    p: float


def wilson_interval(right: float, texts: float, *, level: float = 0.05) -> Interval:
    """Return the interval of a share, `right` of `texts` (Wilson 1927); ValueError unless 0 <= right <= texts > 0."""
    from statsmodels.stats.proportion import proportion_confint

    if not 0 <= right <= texts or texts <= 0:
        raise ValueError(f"{right} of {texts} is not a share")
    low, high = proportion_confint(right, texts, alpha=level, method="wilson")
    share = right / texts
    return Interval(value=share, low=min(float(low), share), high=max(float(high), share))


def bootstrap_interval(
    statistic: Callable[..., float], *arrays: Array, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Return the percentile interval of `statistic(*arrays)`, rows drawn together (Efron 1979).

    All arrays have the texts as their first axis. One Python call a resample: for the metrics of this package
    `metric_intervals` is much faster. A statistic that is not finite on every resample is a ValueError.
    """
    from scipy.stats import bootstrap

    rows = np.arange(len(arrays[0]))
    if any(len(array) != len(rows) for array in arrays) or len(rows) < 2:
        raise ValueError(f"arrays of {[len(array) for array in arrays]} rows; they must be equal, and at least 2")

    def drawn_statistic(drawn: Array) -> float:
        value = float(statistic(*(array[drawn] for array in arrays)))
        if not np.isfinite(value):
            raise ValueError(f"the statistic is {value} on a resample; it must be finite on every one")
        return value

    result = bootstrap(
        (rows,),
        drawn_statistic,
        vectorized=False,
        n_resamples=resamples,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return Interval(value=drawn_statistic(rows), low=float(low), high=float(high))


def metric_intervals(
    labels: Array,
    probabilities: Array,
    thresholds: Array | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return the metrics of `metrics.measure`, mean over seeds, with intervals over texts and seeds.

    `labels` are (texts,), `probabilities` (seeds, texts, classes). Of several labels a text `labels` are (texts,
    classes), and `thresholds` (seeds, classes). Accuracy has Wilson's interval: with one seed
    as it stands, with several at the number of independent texts that would be as uncertain. The others are
    bootstrapped over texts and seeds (`uncertainty.py`); the calibration error is biased upwards on few texts,
    which no interval mends. Raises ValueError as `metrics.measure` does.
    """
    limits = [None] * len(probabilities) if thresholds is None else list(thresholds)
    values = [metrics.measure(labels, run, limit) for run, limit in zip(probabilities, limits, strict=True)]
    predicted = metrics.predicted_labels(probabilities, thresholds)
    if (probabilities == probabilities[0]).all() and (predicted == predicted[0]).all():
        probabilities, predicted, values = probabilities[:1], predicted[:1], values[:1]  # no chance in it
    drawn = _resample(labels, probabilities, predicted, resamples, seed)
    every = range(len(probabilities))
    intervals = {"accuracy": _accuracy_interval(Runs.of(labels, predicted).contrast(every), len(probabilities))}
    for name, replicates in drawn.items():
        observed = np.array([value[name] for value in values])
        runs = Runs.resampled(observed, replicates, len(labels), _pseudo(name, labels))
        intervals[name] = _clipped(runs.contrast(every).interval(), *LIMITS[name])
    return intervals


def mcnemar(labels: Array, first: Array, second: Array) -> McNemar:
    """Compare two predictions (texts,) of the same texts by those that only one gets right (McNemar 1947).

    Given their number, each is as likely to fall on either side: an exact binomial test. The mid-p value counts
    the observed split by half, which keeps the level nearly always and loses less power (Fagerland et al. 2013).
    Of several labels a text, (texts, classes), a text is right where all of them are.
    """
    from scipy.stats import binom, binomtest

    labels, first, second = np.asarray(labels), np.asarray(first), np.asarray(second)
    if not labels.shape == first.shape == second.shape or labels.ndim not in (1, 2):
        raise ValueError(f"labels {labels.shape}, first {first.shape} and second {second.shape} must be (texts,)")
    first_right, second_right = all_right(labels, first), all_right(labels, second)
    only_first = int((first_right & ~second_right).sum())
    only_second = int((~first_right & second_right).sum())
    discordant = only_first + only_second
    exact = float(binomtest(only_first, discordant).pvalue) if discordant else 1.0
    half = 2 * float(binom.cdf(min(only_first, only_second), discordant, 0.5))
    middle = half - float(binom.pmf(only_first, discordant, 0.5))
    return McNemar(only_first=only_first, only_second=only_second, p_exact=exact, p=min(1.0, middle))


def paired_bootstrap(
    labels: Array,
    first: Array,
    second: Array,
    *,
    metric: Metric = "accuracy",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Paired:
    """Return the difference of a metric on the same texts, over texts and seeds together.

    `labels` are (texts,), `first` and `second` (seeds, texts); their numbers of seeds may differ, and one row
    is a model without chance in it (or a claim about that one model). `metric` is "accuracy", "micro_f1",
    "macro_f1" or a function (labels, predicted) -> float. The texts are resampled, the seeds enter by their
    variance; what the interval covers is in `uncertainty.py`. Raises ValueError on shapes that do not fit.
    """
    for name, rows in (("first", first), ("second", second)):
        if rows.ndim != labels.ndim + 1 or rows.shape[1:] != labels.shape or not rows.size:
            raise ValueError(f"{name} {rows.shape} must be (seeds, texts) for labels {labels.shape}")
    runs = Runs.of(labels, np.concatenate([first, second]), metric, resamples=resamples, seed=seed)
    contrast = runs.contrast(range(len(first)), range(len(first), len(first) + len(second)))
    return Paired(difference=contrast.interval(), p=contrast.p())


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return the p-values corrected for their number, in the same order (Holm 1979)."""
    # Three lines of numpy: statsmodels' multipletests runs a full garbage collection on each call (50 ms).
    order = np.argsort(p_values)
    stepwise = np.sort(p_values) * np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(stepwise), 1.0)
    return tuple(float(p) for p in corrected)


def simultaneous_level(covariance: Floats, *, level: float = 0.05, draws: int = 10_000, seed: int = 0) -> float:
    """Return the one-sided level at which many differences with one method may each be tested.

    `covariance` (methods, methods) is that of the methods' estimates. Whichever method is the true best, the
    chance that the bound of any other method's difference with it is broken stays under `level`: the least over
    all controls of Dunnett's (1955) level, by draws from the normal distribution, so that what the differences
    have in common is not paid for twice (Hsu 1984). With two methods it is `level`.
    """
    from scipy.special import ndtr

    values, vectors = np.linalg.eigh(covariance)
    noise = np.random.default_rng(seed).standard_normal((draws, len(covariance)))
    errors = noise @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
    own = np.diag(covariance)
    levels = [level]
    for control in range(len(covariance)):
        spread = np.sqrt(np.maximum(own + own[control] - 2 * covariance[control], 0.0))
        others = spread > 1e-9 * np.sqrt(own.max())
        largest = ((errors[:, others] - errors[:, [control]]) / spread[others]).max(axis=1, initial=0.0)
        levels.append(float(ndtr(-np.quantile(largest, 1 - level))))
    return min(levels)


def smallest_detectable_difference(
    discordance: float,
    texts: int,
    *,
    seed_variance: float = 0.0,
    level: float = 0.05,
    power: float = 0.8,
) -> float:
    """Return the smallest true difference found with `power` at a two-sided `level` (Connor 1987).

    `discordance` is the share of texts on which only one method is right (for several seeds: the variance of
    the paired difference of one text); at least the difference itself. `seed_variance` is what texts do not
    shrink. 1.0 where not even that would be found.
    """
    from scipy.optimize import brentq

    def surplus(difference: float) -> float:
        return difference - _needed_gap(discordance, difference, texts, seed_variance, level, power)

    return float(brentq(surplus, 1e-12, 1.0)) if surplus(1.0) > 0 else 1.0


def texts_needed(
    discordance: float,
    difference: float,
    *,
    seed_variance: float = 0.0,
    level: float = 0.05,
    power: float = 0.8,
) -> int | None:
    """Return how many test texts find a true `difference` with `power` at a two-sided `level` (Connor 1987).

    By symmetry so many texts also show, with a margin of that size, that equal methods are not worse. None
    where no number does: a difference of zero, or seeds that differ too much (more seeds are needed, not texts).
    """
    from scipy.optimize import brentq

    def surplus(log_texts: float) -> float:
        texts = float(np.exp(log_texts))
        return difference - _needed_gap(discordance, difference, texts, seed_variance, level, power)

    most = np.log(1e12)
    if difference <= 0 or surplus(most) <= 0:
        return None
    return int(np.ceil(np.exp(brentq(surplus, 0.0, most)))) if surplus(0.0) < 0 else 1


def _needed_gap(
    discordance: float, difference: float, texts: float, seed_variance: float, level: float, power: float
) -> float:
    from scipy.special import ndtri

    discordance = max(discordance, difference)
    under_null = discordance / texts + seed_variance
    under_difference = (discordance - difference**2) / texts + seed_variance
    return float(-ndtri(level / 2) * np.sqrt(under_null) + ndtri(power) * np.sqrt(under_difference))


def _resample(labels: Array, probabilities: Array, predicted: Array, resamples: int, seed: int) -> dict[str, Floats]:
    if labels.ndim == 2:
        return resampled_set_measures(labels, probabilities, predicted, resamples=resamples, seed=seed)
    stacked = np.stack([metrics.checked(labels, run)[1] for run in probabilities])
    return resampled_measures(labels, stacked, resamples=resamples, seed=seed)


def _pseudo(name: str, labels: Array) -> float:
    """Return the squared weight of one text in a metric; for one label a text that of accuracy serves all shares."""
    if name in {"log_loss", "ece"}:
        return 0.0
    return f1_pseudo(name, labels) if labels.ndim == 2 else 1.0


def _accuracy_interval(contrast: Contrast, seeds: int) -> Interval:
    share, texts = contrast.value, float(contrast.texts)
    if seeds > 1 and 0 < share < 1:
        error = (contrast.interval().high - share) / 1.96
        texts = share * (1 - share) / error**2
    return wilson_interval(share * texts, texts)


def _clipped(interval: Interval, least: float, most: float) -> Interval:
    return Interval(value=interval.value, low=max(interval.low, least), high=min(interval.high, most))
