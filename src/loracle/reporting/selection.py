"""What a report picks out of a comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from loracle.comparison.result import Comparison, Pair, Result, Summary
from loracle.evaluation.uncertainty import Interval
from loracle.reporting import figures

_FAR = 0.5  # of the whole range, and
_LEAST_FAR = 0.15  # at least so much: a gap wider than both puts what lies below it off the scale


def finished(comparison: Comparison) -> list[Summary]:
    """Return the methods that finished, best first."""
    return [summary for summary in comparison.summaries if summary.error is None]


def ranked(comparison: Comparison) -> list[Summary]:
    """Return the methods that finished and take part in the verdict, best first."""
    return [summary for summary in finished(comparison) if summary.unranked is None]


def failed(comparison: Comparison) -> list[Summary]:
    """Return the methods that did not finish."""
    return [summary for summary in comparison.summaries if summary.error is not None]


def deciding_metric(comparison: Comparison) -> str:
    """Return the name of the metric that decided."""
    if comparison.verdict:
        return comparison.verdict.metric
    budget = comparison.ledger.get("budget")
    return str(budget.get("metric", "accuracy")) if isinstance(budget, Mapping) else "accuracy"


def multi_label(comparison: Comparison) -> bool:
    """Return whether a text may have several labels."""
    return bool(comparison.task.get("multi_label", False))


def metric_name(comparison: Comparison, metric: str) -> str:
    """Return the name of a metric in this comparison; with several labels a text accuracy asks that all be right."""
    label = figures.metric_label(metric)
    return f"subset {label}" if metric == "accuracy" and multi_label(comparison) else label


def shown_metrics(comparison: Comparison) -> list[str]:
    """Return the metrics of the first table, the one that decided among them."""
    shown = ["micro_f1", "macro_f1", "accuracy"] if multi_label(comparison) else ["accuracy", "macro_f1"]
    metric = deciding_metric(comparison)
    return shown if metric in shown else [metric, *shown]


def epoch_metric(comparison: Comparison) -> str:
    """Return the metric that learning curves and the spread over seeds show."""
    return "micro_f1" if multi_label(comparison) else "accuracy"


def quality(comparison: Comparison, summary: Summary) -> Interval | None:
    """Return the deciding metric of one method; None where it is not a finite number."""
    found = summary.metrics.get(deciding_metric(comparison))
    return found if found is not None and math.isfinite(found.value) else None


def shipped(comparison: Comparison) -> str | None:
    """Return the name of the method to ship."""
    return comparison.verdict.method if comparison.verdict else None


def best(comparison: Comparison) -> str | None:
    """Return the name of the method that is highest on the deciding metric."""
    return comparison.verdict.best if comparison.verdict else None


def seeds(comparison: Comparison) -> list[int]:
    """Return the seeds that ran, in order."""
    return sorted({result.seed for result in comparison.results})


def results_of(comparison: Comparison, method: str) -> list[Result]:
    """Return the runs of one method by seed."""
    return sorted((r for r in comparison.results if r.method == method), key=lambda result: result.seed)


def differences_from(pairs: tuple[Pair, ...], reference: str) -> list[tuple[str, Interval, float]]:
    """Return (other, other minus reference, Holm-corrected p) for every pair that holds `reference`."""
    rows = []
    for pair in pairs:
        gap = pair.difference
        if pair.second == reference:
            rows.append((pair.first, gap, pair.p_holm))
        elif pair.first == reference:
            rows.append((pair.second, Interval(value=-gap.value, low=-gap.high, high=-gap.low), pair.p_holm))
    return sorted(rows, key=lambda row: -row[1].value if math.isfinite(row[1].value) else math.inf)


def tries(comparison: Comparison, method: str) -> tuple[Mapping[str, Any], ...]:
    """Return the settings that were tried for one method; they were tried with the first seed."""
    return next((result.search for result in results_of(comparison, method) if result.search), ())


def chosen_try(comparison: Comparison, method: str) -> int | None:
    """Return the position of the setting that was chosen; None where the run did not say."""
    tried = tries(comparison, method)
    return next((position for position, entry in enumerate(tried) if entry.get("chosen")), None)


def improving(comparison: Comparison) -> tuple[list[str], list[str]]:
    """Return the methods whose kept epoch was the last with most seeds, and those where it was an earlier one."""
    still: list[str] = []
    peaked: list[str] = []
    for summary in finished(comparison):
        told = [history for history in summary.histories.values() if any(epoch.get("best") for epoch in history)]
        ends = [bool(history[-1].get("best")) for history in told if len(history) > 1]
        if ends:
            (still if 2 * sum(ends) > len(ends) else peaked).append(summary.method)
    return still, peaked


def validation_score(comparison: Comparison, entry: Mapping[str, Any]) -> float:
    """Return the deciding metric on the validation split of one setting or epoch; NaN where it was not measured."""
    return figures.number(entry.get(deciding_metric(comparison)))


def split_sizes(comparison: Comparison) -> dict[str, float]:
    """Return how many texts each split has."""
    splits = comparison.task.get("splits")
    if not isinstance(splits, Mapping):
        return {}
    return {
        str(name): figures.number(split.get("rows")) for name, split in splits.items() if isinstance(split, Mapping)
    }


def on_scale(comparison: Comparison, summaries: list[Summary]) -> list[Summary]:
    """Return the methods that are not far below the others, as a majority vote is."""
    known = [(s, found.value) for s in summaries if (found := quality(comparison, s)) is not None]
    floor = lowest_on_scale([value for _, value in known]) if known else 0.0
    return [summary for summary, value in known if value >= floor]


def lowest_on_scale(values: list[float]) -> float:
    """Return the lowest value that a picture shows to scale, so that one poor method does not flatten the rest.

    >>> lowest_on_scale([0.87, 0.85, 0.84, 0.11]), lowest_on_scale([0.9, 0.5])
    (0.84, 0.5)
    """
    ordered = sorted(values, reverse=True)
    for position in range(len(ordered) - 1, 1, -1):
        above, below = ordered[position - 1], ordered[position]
        if above - below > max(_FAR * (ordered[0] - ordered[-1]), _LEAST_FAR):
            return above
    return ordered[-1]
