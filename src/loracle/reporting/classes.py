"""Where each method fails: its classes and its confusions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loracle.comparison.result import Comparison, Summary
from loracle.reporting import figures, selection
from loracle.reporting.tables import Cell, Column, Row, Table

MANY = 20  # classes: above it only the worst ones are shown
WORST = 15
_MEANS = {"mean over classes": False, "mean, weighted by test texts": True}
_SHADE = 0.55  # the darkest cell; text stays readable on it


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """Texts of one class that were read as another."""

    label: str
    read_as: str
    texts: int
    of: int  # texts of the class


def overview_table(comparison: Comparison) -> Table | None:
    """Return each class's F1 by method, the hardest class first; above MANY classes the hardest ones alone."""
    summaries = [summary for summary in selection.finished(comparison) if summary.per_class]
    scores = {summary.method: {str(e.get("label")): e for e in summary.per_class} for summary in summaries}
    telling = {s.method: scores[s.method] for s in selection.on_scale(comparison, summaries)} or scores
    ranked = sorted(labels(comparison), key=lambda label: _class_median(label, telling))
    shown = ranked[:WORST] if len(ranked) > MANY else ranked
    rows = [
        Row(cells=(Cell(text=label), *(_f1_cell(scores[summary.method].get(label, {})) for summary in summaries)))
        for label in shown
    ]
    columns = (Column(title="class", numeric=False), *(Column(title=summary.method) for summary in summaries))
    return Table(columns=columns, rows=tuple(rows), kind="heat") if rows and summaries else None


def per_class_table(summary: Summary) -> Table | None:
    """Return precision, recall, F1 and support of each class; above MANY classes the lowest in F1 alone.

    Where a text may have several labels each label's threshold stands beside them, the mean over seeds.
    """
    entries = list(summary.per_class)
    thresholds = any("threshold" in entry for entry in entries)
    if len(entries) > MANY:
        entries = sorted(entries, key=lambda entry: _ascending(entry.get("f1")))[:WORST]
    rows = []
    for entry in entries:
        shares = [_share_cell(entry, key) for key in ("precision", "recall", "f1")]
        cells = (Cell(text=str(entry.get("label"))), *shares, _count_cell(entry.get("support")))
        rows.append(Row(cells=(*cells, _threshold_cell(entry)) if thresholds else cells))
    rows += [_mean_row(summary, title, weighted=weighted) for title, weighted in _MEANS.items()] if rows else []
    titles = ("precision, %", "recall, %", "F1, %", "test texts", *(["threshold"] if thresholds else []))
    columns = (Column(title="class", numeric=False), *(Column(title=title) for title in titles))
    return Table(columns=columns, rows=tuple(rows), kind="classes") if rows else None


def confusion_table(comparison: Comparison, summary: Summary) -> Table | None:
    """Return the confusion matrix, a row a true label; None where it is missing or has more than MANY classes."""
    names = labels(comparison)
    if not _is_square(summary, names) or len(names) > MANY:
        return None
    rows = []
    for position, (name, line) in enumerate(zip(names, summary.confusion, strict=True)):
        cells = (_confusion_cell(texts, sum(line), right=column == position) for column, texts in enumerate(line))
        rows.append(Row(cells=(Cell(text=name), *cells)))
    columns = (Column(title="true label", numeric=False), *(Column(title=name) for name in names))
    return Table(columns=columns, rows=tuple(rows), kind="confusion", sortable=False)


def mistakes_table(comparison: Comparison, summary: Summary) -> Table | None:
    """Return the most frequent confusions as a list, for tasks with more than MANY classes."""
    if len(labels(comparison)) <= MANY:
        return None
    rows = [
        Row(
            cells=(
                Cell(text=mistake.label),
                Cell(text=mistake.read_as),
                Cell(text=figures.count(mistake.texts), sort=mistake.texts),
                Cell(text=figures.count(mistake.of), sort=mistake.of),
            )
        )
        for mistake in _repeated(mistakes(comparison, summary))[:WORST]
    ]
    named = (Column(title="true label", numeric=False), Column(title="read as", numeric=False))
    columns = (*named, Column(title="test texts"), Column(title="of"))
    return Table(columns=columns, rows=tuple(rows), kind="classes") if rows else None


def gives_one_label(summary: Summary) -> bool:
    """Say whether all test texts got the same label, from the seed that is best on validation."""
    return sum(any(column) for column in zip(*summary.confusion, strict=True)) == 1


def counts_table(comparison: Comparison) -> Table | None:
    """Return how many texts of each class every split has."""
    splits = comparison.task.get("splits")
    if not isinstance(splits, Mapping):
        return None
    counts = {str(name): split["per_label"] for name, split in splits.items() if _has_counts(split)}
    rows = [
        Row(cells=(Cell(text=label), *(_count_cell(per_label.get(label)) for per_label in counts.values())))
        for label in labels(comparison)
    ]
    columns = (Column(title="class", numeric=False), *(Column(title=name) for name in counts))
    return Table(columns=columns, rows=tuple(rows), kind="classes") if rows and counts else None


def mistakes(comparison: Comparison, summary: Summary) -> list[Mistake]:
    """Return every confusion that occurs, the most frequent first."""
    names = labels(comparison)
    if not _is_square(summary, names):
        return []
    found = [
        Mistake(label=names[true], read_as=names[predicted], texts=texts, of=sum(line))
        for true, line in enumerate(summary.confusion)
        for predicted, texts in enumerate(line)
        if texts and true != predicted
    ]
    return sorted(found, key=lambda mistake: -mistake.texts)


def weakest(summary: Summary) -> Mapping[str, Any] | None:
    """Return the class with the lowest F1; None where no class has one."""
    known = [entry for entry in summary.per_class if math.isfinite(figures.number(entry.get("f1")))]
    return min(known, key=lambda entry: figures.number(entry.get("f1")), default=None)


def labels(comparison: Comparison) -> list[str]:
    """Return the label names in the order of the confusion matrices."""
    return [str(name) for name in comparison.task.get("label_names", ())]


def _repeated(found: list[Mistake]) -> list[Mistake]:
    """Return the mistakes that were made more than once; all of them where none was."""
    return [mistake for mistake in found if mistake.texts > 1] or found


def _is_square(summary: Summary, names: list[str]) -> bool:
    size = len(names)
    return size > 0 and len(summary.confusion) == size and all(len(line) == size for line in summary.confusion)


def _class_median(label: str, scores: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> float:
    known = [figures.number(entries.get(label, {}).get("f1")) for entries in scores.values()]
    known = [value for value in known if math.isfinite(value)]
    return statistics.median(known) if known else math.inf


def _f1_cell(entry: Mapping[str, Any]) -> Cell:
    value = figures.number(entry.get("f1"))
    if not math.isfinite(value):
        return Cell(text=figures.MISSING)
    return Cell(text=figures.metric_value("f1", value), sort=value, heat=_SHADE * min(max(1 - value, 0.0), 1.0))


def _mean_row(summary: Summary, title: str, *, weighted: bool) -> Row:
    means = {key: _mean_over_classes(summary, key, weighted=weighted) for key in ("precision", "recall", "f1")}
    texts = sum(figures.number(entry.get("support")) for entry in summary.per_class)
    cells = (Cell(text=title), *(_share_cell(means, key) for key in means))
    several = any("threshold" in entry for entry in summary.per_class)  # a text then counts with each of its labels
    return Row(cells=(*cells, Cell(text=""), Cell(text="")) if several else (*cells, _count_cell(texts)))


def _mean_over_classes(summary: Summary, key: str, *, weighted: bool) -> float:
    entries = [entry for entry in summary.per_class if figures.number(entry.get("support")) > 0]
    weights = [figures.number(entry.get("support")) if weighted else 1.0 for entry in entries]
    return sum(w * figures.number(e.get(key)) for w, e in zip(weights, entries, strict=True)) / (sum(weights) or 1.0)


def _share_cell(entry: Mapping[str, Any], key: str) -> Cell:
    value = figures.number(entry.get(key))
    return Cell(text=figures.metric_value(key, value), sort=value if math.isfinite(value) else None)


def _threshold_cell(entry: Mapping[str, Any]) -> Cell:
    value = figures.number(entry.get("threshold"))
    return Cell(text=figures.metric_value("threshold", value), sort=value if math.isfinite(value) else None)


def _confusion_cell(texts: int, of: int, *, right: bool) -> Cell:
    share = texts / of if of else 0.0
    heat = None if right or not texts else _SHADE * math.sqrt(share)  # the root makes rare mistakes visible
    return Cell(text=figures.count(texts) if texts else "·", heat=heat, right=right)


def _count_cell(value: object) -> Cell:
    known = figures.number(value)
    return Cell(text=figures.count(known), sort=known if math.isfinite(known) else None)


def _has_counts(split: object) -> bool:
    return isinstance(split, Mapping) and isinstance(split.get("per_label"), Mapping)


def _ascending(value: object) -> float:
    known = figures.number(value)
    return known if math.isfinite(known) else math.inf
