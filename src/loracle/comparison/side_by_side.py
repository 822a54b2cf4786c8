"""Finished runs over the same test split, laid side by side: one method of each, with paired tests between them.

Where runs have several seeds of the method, the seeds that all of them have are compared; a run with one seed stands
with that one.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loracle.comparison.finished import (
    FinishedRun,
    check_one_label,
    choose_method,
    load_labels,
    load_probabilities,
    load_run,
)
from loracle.comparison.result import Pair, Result, Summary
from loracle.comparison.summarising import mean_per_class
from loracle.errors import ConfigError, RunError
from loracle.evaluation.metrics import are_answers, checked, predicted_classes
from loracle.evaluation.statistics import McNemar, holm, mcnemar, metric_intervals
from loracle.evaluation.uncertainty import Contrast, Interval, Runs
from loracle.methods.naming import read_options

METRICS = ("accuracy", "macro_f1", "precision", "recall", "log_loss")
"""What is laid side by side; precision and recall are means over the classes that occur, as macro-F1 is."""
TESTED = ("accuracy", "macro_f1")
"""What has a p-value for each pair, corrected by Holm over all pairs."""

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One run's method, over the seeds that are compared."""

    name: str  # of the run, unlike those of the others
    run: FinishedRun
    method: str
    seeds: tuple[int, ...]
    metrics: Mapping[str, Interval]  # METRICS; no log_loss where there are no probabilities
    per_class: tuple[Mapping[str, Any], ...]  # label, precision, recall, f1, support; mean over seeds

    @property
    def title(self) -> str:
        """The run and the method."""
        return f"{self.name} ({self.method})"

    @property
    def summary(self) -> Summary:
        """What the run measured of the method: parameters, seconds, memory, disk, confusions."""
        return self.run.summary(self.method)

    @property
    def results(self) -> tuple[Result, ...]:
        """The results of the seeds that are compared."""
        return tuple(item for item in self.run.results(self.method) if item.seed in self.seeds)


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """Several runs, what their methods differ by, and in what they differ; all by run is in the order of `entries`."""

    name: str  # of the data
    label_names: tuple[str, ...]
    texts: int  # in the test split
    entries: tuple[Entry, ...]
    differences: Mapping[str, tuple[Interval | None, ...]]  # by metric: each run minus the first; None where unknown
    pairs: Mapping[str, tuple[Pair, ...]]  # by tested metric: each run minus every earlier one, known by their titles
    alone: tuple[McNemar | None, ...]  # of each pair; None where one of the two has several seeds
    options: Mapping[str, tuple[Any, ...]]  # of run.toml, those that differ; None where a run lacks one
    circumstances: Mapping[str, tuple[Any, ...]]  # training data, machine and versions: what differs


def compare_runs(folders: Sequence[str | Path], *, methods: Sequence[str] = ()) -> SideBySide:
    """Lay finished runs side by side, and test their differences on the test split that they share.

    Each run contributes the method that its verdict names; `methods` names another, one for all runs or one for each.
    Raises ConfigError for fewer than two runs, one run twice, or names that do not fit, and RunError for a folder that
    is no finished run, a method that failed or has no rank there, and runs whose test splits or label names differ.
    """
    places = [Path(folder) for folder in folders]
    _check_folders(places)
    runs = [load_run(place) for place in places]
    for run in runs:
        check_one_label(run, "`loracle compare-runs`")
    chosen = [choose_method(run, name) for run, name in zip(runs, _spread(methods, runs), strict=True)]
    _check_ranked(runs, chosen)
    _check_same_test(runs)
    labels = load_labels(runs[0], chosen[0], runs[0].results(chosen[0])[0].seed)
    seeds = _shared_seeds([run.results(method) for run, method in zip(runs, chosen, strict=True)])
    probabilities = [
        np.stack([load_probabilities(run, method, seed, texts=len(labels)) for seed in own])
        for run, method, own in zip(runs, chosen, seeds, strict=True)
    ]
    field = _Field(labels, [predicted_classes(item) for item in probabilities])
    entries = tuple(
        Entry(
            name=name,
            run=run,
            method=chosen[place],
            seeds=seeds[place],
            metrics=_metrics(run, chosen[place], labels, probabilities[place], field, place),
            per_class=mean_per_class(labels, probabilities[place], run.label_names),
        )
        for place, (name, run) in enumerate(zip(_short_names(places), runs, strict=True))
    )
    return SideBySide(
        name=runs[0].comparison.name,
        label_names=runs[0].label_names,
        texts=len(labels),
        entries=entries,
        differences={
            **{metric: field.differences(metric) for metric in METRICS if metric != "log_loss"},
            "log_loss": tuple(_loss_difference(labels, item, probabilities[0]) for item in probabilities),
        },
        pairs={metric: _pairs(field, metric, [entry.title for entry in entries]) for metric in TESTED},
        alone=tuple(field.mcnemar(*pair) for pair in field.places),
        options=_differing([{**run.options, **read_options(name)} for run, name in zip(runs, chosen, strict=True)]),
        circumstances=_differing([_circumstances(run) for run in runs]),
    )


class _Field:
    """All runs' predictions (seeds, texts) on the same texts, measured once for each metric."""

    def __init__(self, labels: Array, predicted: Sequence[Array]) -> None:
        self.labels = labels
        self.predicted = [item[:1] if (item == item[0]).all() else item for item in predicted]  # no chance in it
        ends = np.cumsum([len(item) for item in self.predicted])
        self.rows = [range(end - len(item), end) for end, item in zip(ends, self.predicted, strict=True)]
        self.places = [(later, earlier) for earlier, later in itertools.combinations(range(len(ends)), 2)]
        every = np.concatenate(self.predicted)
        self.measured = {
            "accuracy": Runs.of(labels, every, "accuracy"),
            "macro_f1": Runs.of(labels, every, "macro_f1"),
            "precision": Runs.of(labels, every, macro_precision),
            "recall": Runs.of(labels, every, macro_recall),
        }

    def interval(self, metric: str, place: int) -> Interval:
        """Return a metric of one run, which lies between 0 and 1."""
        found = self.measured[metric].contrast(self.rows[place]).interval()
        return Interval(value=found.value, low=max(0.0, found.low), high=min(1.0, found.high))

    def contrast(self, metric: str, first: int, second: int) -> Contrast:
        """Return the difference of two runs."""
        return self.measured[metric].contrast(self.rows[first], self.rows[second])

    def differences(self, metric: str) -> tuple[Interval, ...]:
        """Return each run minus the first."""
        nothing = Interval(value=0.0, low=0.0, high=0.0)
        later = range(1, len(self.rows))
        return (nothing, *(self.contrast(metric, place, 0).interval() for place in later))

    def mcnemar(self, first: int, second: int) -> McNemar | None:
        """Return McNemar's test of two runs that have one model each, else None."""
        if len(self.predicted[first]) > 1 or len(self.predicted[second]) > 1:
            return None
        return mcnemar(self.labels, self.predicted[first][0], self.predicted[second][0])

    def p(self, metric: str, first: int, second: int) -> float:
        """Return McNemar's mid-p for the accuracy of one model each, else that of the difference over all seeds."""
        test = self.mcnemar(first, second) if metric == "accuracy" else None
        return test.p if test is not None else self.contrast(metric, first, second).p()


def macro_precision(labels: Array, predicted: Array) -> float:
    """Return the mean precision over the classes that occur in `labels`; 0 for one that is never predicted.

    >>> macro_precision(np.array([0, 0, 1]), np.array([0, 1, 1]))
    0.75
    """
    return _macro(labels, predicted, predicted)


def macro_recall(labels: Array, predicted: Array) -> float:
    """Return the mean recall over the classes that occur in `labels`.

    >>> macro_recall(np.array([0, 0, 1]), np.array([0, 1, 1]))
    0.75
    """
    return _macro(labels, predicted, labels)


def _macro(labels: Array, predicted: Array, of: Array) -> float:
    """Return the mean over classes of right predictions as a share of how often a class stands in `of`."""
    size = int(max(labels.max(), predicted.max())) + 1
    right = np.bincount(labels[labels == predicted], minlength=size)
    counts = np.bincount(of[of >= 0], minlength=size)
    there = np.bincount(labels, minlength=size) > 0
    return float(np.mean((right / np.maximum(counts, 1))[there]))


def _check_folders(folders: Sequence[Path]) -> None:
    if len(folders) < 2:
        given = f"only {folders[0]} is given" if folders else "no run is given"
        raise ConfigError(f"{given}; compare-runs takes the folders of two or more finished runs")
    places = [folder.resolve() for folder in folders]
    twice = next((folder for folder, place in zip(folders, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise ConfigError(f"run {twice} is given twice; give the folders of two or more different runs")


def _spread(methods: Sequence[str], runs: Sequence[FinishedRun]) -> Sequence[str | None]:
    """Return one name a run; None is the method that the run's verdict names."""
    names = [name.strip() for given in methods for name in given.split(",")]
    if len(names) not in {0, 1, len(runs)}:
        raise ConfigError(
            f"{len(names)} methods given ({', '.join(names)}) for {len(runs)} runs; "
            "give one for all runs, or one for each in their order"
        )
    if not names:
        return [None] * len(runs)
    return names if len(names) == len(runs) else names * len(runs)


def _check_ranked(runs: Sequence[FinishedRun], chosen: Sequence[str]) -> None:
    for run, method in zip(runs, chosen, strict=True):
        if why := run.summary(method).unranked:
            raise RunError(
                f"method {method!r} has no rank in {run.folder} ({why}); `loracle compare` again asks for the rest, "
                "or name another method"
            )


def _check_same_test(runs: Sequence[FinishedRun]) -> None:
    if len({run.test_hash for run in runs}) > 1:
        listed = ", ".join(f"{run.folder} {run.test_hash}" for run in runs)
        raise RunError(
            f"the runs have different test splits ({listed}); only runs over the same test texts can be compared"
        )
    other = next((run for run in runs if run.label_names != runs[0].label_names), None)
    if other is not None:
        raise RunError(
            f"the runs name their labels differently: {runs[0].folder} has {', '.join(runs[0].label_names)}, "
            f"{other.folder} has {', '.join(other.label_names)}; run one of them again with the other's labels"
        )


def _shared_seeds(results: Sequence[Sequence[Result]]) -> list[tuple[int, ...]]:
    seeds = [tuple(result.seed for result in own) for own in results]
    several = [set(own) for own in seeds if len(own) > 1]
    shared = set.intersection(*several) if several else set[int]()
    if several and not shared:
        raise RunError(f"the runs have no seed in common ({seeds}); give runs that share one")
    return [tuple(seed for seed in own if seed in shared) if len(own) > 1 else own for own in seeds]


def _short_names(folders: Sequence[Path]) -> list[str]:
    """Return the folders' own names, and their paths where two have the same name."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _metrics(
    run: FinishedRun, method: str, labels: Array, probabilities: Array, field: _Field, place: int
) -> Mapping[str, Interval]:
    summary = run.summary(method)
    whole = len(probabilities) == len(run.results(method))
    known = summary.metrics if whole else metric_intervals(labels, probabilities)
    averages = {metric: field.interval(metric, place) for metric in ("precision", "recall")}
    return {metric: {**known, **averages}[metric] for metric in METRICS if metric in {*known, *averages}}


def _loss_difference(labels: Array, probabilities: Array, first: Array) -> Interval | None:
    """Return the log-loss of (seeds, texts, classes) minus that of `first`; None where one has no probabilities."""
    if are_answers(probabilities) or are_answers(first):
        return None
    if probabilities is first:
        return Interval(value=0.0, low=0.0, high=0.0)
    both = [_losses(labels, item) for item in (probabilities, first)]
    losses = np.concatenate(both)
    centred = losses - losses.mean(axis=1, keepdims=True)
    covariance = centred @ centred.T / len(labels) ** 2  # of means over texts that are drawn again
    runs = Runs(values=losses.mean(axis=1), covariance=covariance, texts=len(labels), pseudo=0.0)
    return runs.contrast(range(len(both[0])), range(len(both[0]), len(losses))).interval()


def _losses(labels: Array, probabilities: Array) -> Array:
    if (probabilities == probabilities[0]).all():
        probabilities = probabilities[:1]
    truth = np.stack([checked(labels, run)[1][np.arange(len(labels)), labels] for run in probabilities])
    losses: Array = -np.log(np.clip(truth, np.finfo(np.float64).eps, 1.0))
    return losses


def _pairs(field: _Field, metric: str, titles: Sequence[str]) -> tuple[Pair, ...]:
    p_values = [field.p(metric, *places) for places in field.places]
    return tuple(
        Pair(
            first=titles[first],
            second=titles[second],
            difference=field.contrast(metric, first, second).interval(),
            p=p,
            p_holm=corrected,
        )
        for (first, second), p, corrected in zip(field.places, p_values, holm(p_values), strict=True)
    )


def _circumstances(run: FinishedRun) -> dict[str, Any]:
    """Return what a run's figures depend on besides its options, each part of the ledger under one key."""
    ledger = run.comparison.ledger
    found = {f"{split} texts, hash": ledger["splits"].get(split) for split in ("train", "validation")}
    for part in ("machine", "path", "versions"):
        found |= {f"{part}: {key}": value for key, value in ledger.get(part, {}).items()}
    return found


def _differing(mappings: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    keys = dict.fromkeys(key for mapping in mappings for key in mapping)
    rows = {key: tuple(mapping.get(key) for mapping in mappings) for key in keys}
    return {key: values for key, values in rows.items() if any(value != values[0] for value in values)}
