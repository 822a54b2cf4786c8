"""From finished runs to one summary a method, the paired tests and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from loracle.comparison.deciding import Candidate, decide
from loracle.comparison.result import Comparison, Pair, Result, Summary, Verdict
from loracle.evaluation.metrics import confusion, per_class, predicted_labels, preference, resolve_metric
from loracle.evaluation.statistics import metric_intervals

if TYPE_CHECKING:
    from loracle.comparison.folder import RunFolder
    from loracle.data.task import Task


def summarise(task: Task, results: Sequence[Result], ledger: Mapping[str, Any], place: RunFolder) -> Comparison:
    """Read the stored predictions of all finished runs and return the comparison; nothing is fitted or predicted."""
    metric = ledger["budget"]["metric"]
    by_method: dict[str, list[Result]] = {}
    for result in results:
        by_method.setdefault(result.method, []).append(result)
    probabilities = {
        method: np.stack([place.load_predictions(method, run.seed) for run in runs])
        for method, runs in by_method.items()
        if not any(run.failed for run in runs)
    }
    labels = task.test.labels
    thresholds = {method: _thresholds(by_method[method]) for method in probabilities}
    summaries = [
        _summary(runs, labels, probabilities[method], thresholds[method], task.label_names, ledger)
        if method in probabilities
        else Summary(method=method, seeds=len(runs), error=runs[-1].error)
        for method, runs in by_method.items()
    ]
    summaries.sort(key=lambda summary: _place(summary, metric), reverse=True)
    candidates = _candidates(summaries, probabilities, thresholds)
    pairs: tuple[Pair, ...] = ()
    verdict: Verdict | None = None
    if candidates:
        pairs, verdict = decide(labels, candidates, margin=ledger["margin"], metric=metric)
    return Comparison(
        name=task.name,
        task=task.describe(),
        ledger=ledger,
        results=tuple(results),
        summaries=tuple(summaries),
        pairs=pairs,
        verdict=verdict,
    )


def mean_per_class(
    labels: np.ndarray, probabilities: np.ndarray, label_names: Sequence[str], thresholds: np.ndarray | None = None
) -> tuple[Mapping[str, Any], ...]:
    """Return label, precision, recall, f1 and support of each class: means over seeds (seeds, texts, classes).

    With `thresholds` (seeds, classes) of several labels a text the mean threshold too.
    """
    limits = [None] * len(probabilities) if thresholds is None else list(thresholds)
    tables = [per_class(labels, run, limit) for run, limit in zip(probabilities, limits, strict=True)]
    return tuple(
        {
            "label": name,
            **{key: float(np.mean([table[index][key] for table in tables])) for key in tables[0][index]},
        }
        for index, name in enumerate(label_names)
    )


def _thresholds(runs: Sequence[Result]) -> np.ndarray | None:
    """Return each seed's own thresholds, (seeds, classes); None where a text has one label."""
    found = [run.thresholds for run in runs if run.thresholds is not None]
    return np.array(found) if found else None


def _place(summary: Summary, metric: str) -> tuple[int, float]:
    """Order what has a rank before what has none, and that before what failed."""
    standing = 0 if summary.error else 1 if summary.unranked else 2
    return standing, 0.0 if summary.error else summary.metrics[metric].value


def _summary(
    runs: Sequence[Result],
    labels: np.ndarray,
    probabilities: np.ndarray,
    thresholds: np.ndarray | None,
    label_names: Sequence[str],
    ledger: Mapping[str, Any],
) -> Summary:
    scores = [run.metrics[resolve_metric("auto", multi_label=thresholds is not None)] for run in runs]
    metric = ledger["budget"]["metric"]
    kept = max(range(len(runs)), key=lambda index: _preference(runs[index], metric))
    scoring = float(np.median([run.scoring_seconds_per_1000 for run in runs]))
    search = runs[0].search_seconds
    return Summary(
        method=runs[0].method,
        seeds=len(runs),
        metrics=metric_intervals(labels, probabilities, thresholds),
        seed_spread=max(scores) - min(scores),
        counts=runs[0].counts,
        training_seconds=float(np.median([run.training_seconds for run in runs])),
        search_seconds=search,
        scoring_seconds_per_1000=scoring,
        peak_memory_bytes=max(run.peak_memory_bytes for run in runs),
        peak_gpu_memory_bytes=max(run.peak_gpu_memory_bytes for run in runs),
        predicted_peak_memory_bytes=runs[0].predicted_peak_memory_bytes,
        bytes_on_disk=runs[0].bytes_on_disk,
        cost_seconds=search + scoring * ledger["cost_texts"] / 1000,
        per_class=mean_per_class(labels, probabilities, label_names, thresholds),
        confusion=() if thresholds is not None else _confusion(labels, probabilities[kept]),
        answers=runs[0].answers,
        unranked=runs[0].unranked,
        histories={str(run.seed): run.history for run in runs if run.history},
    )


def _confusion(labels: np.ndarray, probabilities: np.ndarray) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(map(int, row)) for row in confusion(labels, probabilities))


def _preference(run: Result, metric: str) -> tuple[float, float]:
    return preference(run.validation_metrics, metric) if run.validation_metrics else (0.0, 0.0)


def _candidates(
    summaries: Sequence[Summary], probabilities: Mapping[str, np.ndarray], thresholds: Mapping[str, np.ndarray | None]
) -> list[Candidate]:
    return [
        Candidate(
            method=summary.method,
            predicted=predicted_labels(probabilities[summary.method], thresholds[summary.method]),
            cost_seconds=summary.cost_seconds,
        )
        for summary in summaries
        if summary.error is None and summary.unranked is None
    ]
