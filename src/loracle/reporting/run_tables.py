"""Runs side by side as tables: a column a run, a row a measure, an option or a class."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from loracle.comparison.side_by_side import METRICS, TESTED, Entry, SideBySide
from loracle.evaluation.statistics import McNemar
from loracle.evaluation.uncertainty import Interval
from loracle.reporting import figures, ledger
from loracle.reporting.classes import MANY, WORST
from loracle.reporting.tables import Cell, Column, Row, Table

SIGNIFICANT = 0.05
_SHADE = 0.55  # the darkest cell; text stays readable on it
_SHOWN = 60  # characters of an option's value

_COSTS: Mapping[str, tuple[Callable[[Entry], float], Callable[[float], str]]] = {
    "adapter parameters": (lambda entry: entry.summary.counts.adapter, figures.count),
    "head parameters": (lambda entry: entry.summary.counts.head, figures.count),
    "base parameters": (lambda entry: entry.summary.counts.base, figures.count),
    "trained parameters": (lambda entry: entry.summary.counts.trainable, figures.count),
    "training, one fit": (lambda entry: entry.summary.training_seconds, figures.seconds),
    "training, whole search": (lambda entry: entry.summary.search_seconds, figures.seconds),
    "scoring 1,000 texts": (lambda entry: entry.summary.scoring_seconds_per_1000, figures.seconds),
    "peak memory": (lambda entry: entry.summary.peak_memory_bytes, figures.size),
    "peak memory of the GPU": (lambda entry: entry.summary.peak_gpu_memory_bytes, figures.size),
    "base's weights in memory": (lambda entry: entry.summary.counts.base_bytes, figures.size),
    "on disk": (lambda entry: entry.summary.bytes_on_disk, figures.size),
}
_ONLY_IF_ANY = ("peak memory of the GPU", "base's weights in memory")


def deciding_metric(side: SideBySide) -> str:
    """Return the metric that all these runs decide by; accuracy where they decide by different ones."""
    found = {str(entry.run.comparison.ledger["budget"]["metric"]) for entry in side.entries}
    return found.pop() if len(found) == 1 and found <= set(TESTED) else "accuracy"


def measures_table(side: SideBySide) -> Table:
    """Return quality, with differences to the first run, and cost, with how many times that of the first run."""
    rows = [_row("method", [Cell(text=entry.method) for entry in side.entries])]
    rows.append(_row("seeds", [Cell(text=", ".join(map(str, entry.seeds))) for entry in side.entries]))
    rates = [entry.results[0].learning_rate for entry in side.entries]
    if any(rate is not None for rate in rates):
        texts = [figures.MISSING if rate is None else figures.setting(rate) for rate in rates]
        rows.append(_row("learning rate", [Cell(text=text) for text in texts]))
    if any(entry.summary.answers is not None for entry in side.entries):
        rows.append(_row("cost of the answers", [_paid_cell(entry) for entry in side.entries]))
    measured = (*(_metric_row(side, metric) for metric in METRICS), *(_cost_row(side, title) for title in _COSTS))
    return _table("", side, [*rows, *(row for row in measured if row is not None)])


def pairs_table(side: SideBySide, metrics: Sequence[str] = TESTED) -> Table:
    """Return the paired tests of every run with every earlier one."""
    columns = [Column(title="run", numeric=False), Column(title="minus", numeric=False)]
    for metric in metrics:
        unit = ", points" if figures.is_share(metric) else ""
        columns += [Column(title=title) for title in (f"{figures.metric_label(metric)}{unit}", "p", "p, Holm")]
    single = any(test is not None for test in side.alone)
    if single:
        columns.append(Column(title="right alone"))
    rows = []
    for place, pair in enumerate(side.pairs[metrics[0]]):
        cells = [Cell(text=pair.first), Cell(text=pair.second)]
        for metric in metrics:
            tested = side.pairs[metric][place]
            cells += [
                Cell(text=figures.difference_interval(metric, tested.difference), sort=tested.difference.value),
                Cell(text=figures.probability(tested.p), sort=tested.p),
                Cell(text=figures.probability(tested.p_holm), sort=tested.p_holm, strong=tested.p_holm < SIGNIFICANT),
            ]
        if single:
            cells.append(_alone_cell(side.alone[place]))
        rows.append(Row(cells=tuple(cells)))
    return Table(columns=tuple(columns), rows=tuple(rows))


def seeds_table(side: SideBySide) -> Table | None:
    """Return the deciding metric seed by seed; None where every run has one."""
    if all(len(entry.seeds) == 1 for entry in side.entries):
        return None
    metric = deciding_metric(side)
    rows = []
    for seed in sorted({seed for entry in side.entries if len(entry.seeds) > 1 for seed in entry.seeds}):
        values = [_seed_value(entry, seed, metric) for entry in side.entries]
        gaps = [""] + [figures.metric_difference(metric, value - values[0]) for value in values[1:]]
        cells = [
            Cell(text=figures.metric_value(metric, value), note="" if gap == figures.MISSING else gap)
            for value, gap in zip(values, gaps, strict=True)
        ]
        rows.append(_row(f"seed {seed}", cells))
    unit = ", %" if figures.is_share(metric) else ""
    return _table(f"{figures.metric_label(metric)}{unit}", side, rows)


def class_table(side: SideBySide, key: str) -> Table:
    """Return precision, recall or f1 of each class, those first in which the runs' F1 lie furthest apart."""
    rows = []
    for place in telling_classes(side):
        values = [figures.number(entry.per_class[place][key]) for entry in side.entries]
        shades = [_SHADE * min(max(1 - value, 0.0), 1.0) if key == "f1" else None for value in values]
        cells = [
            Cell(text=figures.metric_value(key, value), sort=value, heat=shade)
            for value, shade in zip(values, shades, strict=True)
        ]
        support = int(side.entries[0].per_class[place]["support"])
        counted = Cell(text=figures.count(support), sort=support)
        rows.append(_row(side.label_names[place], [*cells, counted]))
    columns = (*_columns("class", side), Column(title="test texts"))
    return Table(columns=columns, rows=tuple(rows), kind="heat" if key == "f1" else "classes")


def telling_classes(side: SideBySide) -> list[int]:
    """Return the places of the classes by how far the runs' F1 lie apart; above MANY classes the first WORST alone."""
    spreads = []
    for place in range(len(side.label_names)):
        values = [figures.number(entry.per_class[place]["f1"]) for entry in side.entries]
        spreads.append(max(values) - min(values))
    order = sorted(range(len(spreads)), key=lambda place: -spreads[place])
    return order[:WORST] if len(order) > MANY else order


def options_table(side: SideBySide) -> Table | None:
    """Return the options that differ; None where none does."""
    return _differing_table("option", side, side.options)


def circumstances_table(side: SideBySide) -> Table | None:
    """Return what else differs: training data, machine and versions; None where nothing does."""
    return _differing_table("circumstance", side, side.circumstances)


def _differing_table(title: str, side: SideBySide, found: Mapping[str, tuple[Any, ...]]) -> Table | None:
    rows = []
    for key, values in found.items():
        texts = [figures.shorten_middle(ledger.line(value, key), _SHOWN) for value in values]
        rows.append(_row(key, [Cell(text=text) for text in texts]))
    return _table(title, side, rows) if rows else None


def _metric_row(side: SideBySide, metric: str) -> Row | None:
    found = [entry.metrics.get(metric) for entry in side.entries]
    if not any(found):
        return None
    notes = [_difference_note(metric, gap) if place else "" for place, gap in enumerate(side.differences[metric])]
    unit = ", %" if figures.is_share(metric) else ""
    cells = [
        Cell(text=figures.metric_interval(metric, interval), note=note)
        for interval, note in zip(found, notes, strict=True)
    ]
    return _row(f"{figures.metric_label(metric)}{unit}", cells)


def _difference_note(metric: str, gap: Interval | None) -> str:
    return figures.difference_interval(metric, gap) if gap is not None else ""


def _cost_row(side: SideBySide, title: str) -> Row | None:
    read, write = _COSTS[title]
    values = [float(read(entry)) for entry in side.entries]
    if title in _ONLY_IF_ANY and not any(values):
        return None
    notes = ["", *(_times(value, values[0]) for value in values[1:])]
    return _row(title, [Cell(text=write(value), note=note) for value, note in zip(values, notes, strict=True)])


def _paid_cell(entry: Entry) -> Cell:
    """Return what a language model's answers cost; a dash where none was asked or no price is known."""
    answers = entry.summary.answers
    if answers is None or answers["cost"] is None:
        return Cell(text=figures.MISSING)
    return Cell(text=f"{answers['cost']:.4f} {answers['currency']}")


def _times(value: float, first: float) -> str:
    """Return how many times the first run's, nothing where that is no number or the two are equal.

    >>> _times(30.0, 10.0), _times(9.8, 10.0), _times(12_345.0, 10.0), _times(0.3, 10.0), _times(1.0, 0.0)
    ('× 3.0', '× 0.98', '× 1,234', '× 1/33', '')
    """
    if not (math.isfinite(value) and value > 0 and first > 0) or value == first:
        return ""
    ratio = value / first
    if ratio < 0.095:
        return f"× 1/{1 / ratio:,.0f}"
    digits = 0 if ratio >= 10 else 1 if ratio >= 1.1 else 2
    return f"× {ratio:,.{digits}f}"


def _alone_cell(test: McNemar | None) -> Cell:
    """Return how many texts only one of two models gets right, the first's before the second's."""
    return Cell(text=figures.MISSING if test is None else f"{test.only_first} : {test.only_second}")


def _seed_value(entry: Entry, seed: int, metric: str) -> float:
    """Return a seed's metric; that of the only seed for a run that has one, NaN where it was not measured."""
    results = [result for result in entry.results if result.seed == seed or len(entry.seeds) == 1]
    return figures.number(results[0].metrics.get(metric)) if results else math.nan


def _row(title: str, cells: Sequence[Cell]) -> Row:
    return Row(cells=(Cell(text=title), *cells))


def _columns(title: str, side: SideBySide) -> tuple[Column, ...]:
    same = len({entry.method for entry in side.entries}) == 1
    names = [entry.name if same else entry.title for entry in side.entries]
    return (Column(title=title, numeric=False), *(Column(title=name) for name in names))


def _table(title: str, side: SideBySide, rows: Sequence[Row]) -> Table:
    return Table(columns=_columns(title, side), rows=tuple(rows), sortable=False)
