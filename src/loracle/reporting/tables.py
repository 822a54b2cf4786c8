"""The report's tables, as rows of cells that the page, Markdown and the terminal write each in their own way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loracle.comparison.result import Comparison, Summary
from loracle.reporting import figures, selection

ERROR_LIMIT = 400
EPOCHS_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell: its text, a second line in small print, and what a page may make of it."""

    text: str
    note: str = ""
    sort: float | str | None = None  # what a sortable table compares
    heat: float | None = None  # 0 to 1: how dark the cell is shaded
    right: bool = False  # a count on a confusion matrix's diagonal
    strong: bool = False
    span: int = 1


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column's heading."""

    title: str
    numeric: bool = True


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row; the first cell is its heading."""

    cells: tuple[Cell, ...]
    shipped: bool = False
    failed: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns and rows; `kind` names the look on the page."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    kind: str = ""
    sortable: bool = True


def methods_table(comparison: Comparison) -> Table:
    """Return quality and cost of every method; one that failed is a row with its error."""
    metrics = selection.shown_metrics(comparison)
    titles = [f"{selection.metric_name(comparison, name)}{', %' if figures.is_share(name) else ''}" for name in metrics]
    costs = ("trained: adapter + head", "training: one fit (search)", "peak memory", "per 1,000 texts", "on disk")
    rows = [_method_row(comparison, summary, metrics) for summary in selection.finished(comparison)]
    rows += [_failed_row(summary, len(metrics) + len(costs)) for summary in selection.failed(comparison)]
    return Table(columns=_columns("method", *titles, *costs), rows=tuple(rows), kind="methods")


def metrics_table(comparison: Comparison) -> Table | None:
    """Return what else was measured on the test split, with intervals; None where there is nothing else."""
    summaries = selection.finished(comparison)
    shown = set(selection.shown_metrics(comparison))
    others = list(dict.fromkeys(name for s in summaries for name in s.metrics if name not in shown))
    if not others:
        return None
    rows = [
        Row(
            cells=(Cell(text=s.method), *(_metric_cell(s, name) for name in others)), shipped=_is_shipped(comparison, s)
        )
        for s in summaries
    ]
    return Table(columns=_columns("method", *map(figures.metric_label, others)), rows=tuple(rows))


def answers_table(comparison: Comparison) -> Table | None:
    """Return what became of the texts that language models were asked about, and what it cost; None without any."""
    asked = [(s.method, s.answers) for s in selection.finished(comparison) if s.answers is not None]
    if not asked:
        return None
    outcomes = list(asked[0][1]["outcomes"])
    titles = [*(name.replace("_", " ") for name in outcomes), "tokens in", "tokens out", "cost", "from earlier runs"]
    return Table(columns=_columns("method", *titles), rows=tuple(_answers_row(*item, outcomes) for item in asked))


def pairs_table(comparison: Comparison) -> Table | None:
    """Return the paired tests, those that hold the best method first."""
    metric = selection.deciding_metric(comparison)
    best = selection.best(comparison)
    ordered = sorted(comparison.pairs, key=lambda pair: best not in (pair.first, pair.second))
    rows = [
        Row(
            cells=(
                Cell(text=pair.first),
                Cell(text=pair.second),
                _cell(figures.difference_interval(metric, pair.difference), pair.difference.value),
                _cell(figures.probability(pair.p), pair.p),
                _cell(figures.probability(pair.p_holm), pair.p_holm, strong=pair.p_holm < 0.05),
            )
        )
        for pair in ordered
    ]
    unit = ", points" if figures.is_share(metric) else ""
    columns = (
        Column(title="method", numeric=False),
        Column(title="minus", numeric=False),
        *(
            Column(title=title)
            for title in (f"difference in {selection.metric_name(comparison, metric)}{unit}", "p", "p, Holm")
        ),
    )
    return Table(columns=columns, rows=tuple(rows)) if rows else None


def seeds_table(comparison: Comparison) -> Table | None:
    """Return the deciding metric of every seed and the spread; None where there is nothing to spread."""
    metric, seeds = selection.deciding_metric(comparison), selection.seeds(comparison)
    if len(seeds) < 2 or not selection.finished(comparison):
        return None
    rows = []
    for summary in comparison.summaries:
        runs = {result.seed: result for result in selection.results_of(comparison, summary.method)}
        cells = [_seed_cell(runs.get(seed), metric) for seed in seeds]
        values = [number for cell in cells if math.isfinite(number := figures.number(cell.sort))]
        spread = max(values) - min(values) if len(values) > 1 else math.nan
        last = _cell(figures.metric_value(metric, spread), spread)
        rows.append(Row(cells=(Cell(text=summary.method), *cells, last), shipped=_is_shipped(comparison, summary)))
    spread_title = "spread, points" if figures.is_share(metric) else "spread"
    return Table(columns=_columns("method", *(f"seed {seed}" for seed in seeds), spread_title), rows=tuple(rows))


def search_table(comparison: Comparison) -> Table | None:
    """Return each setting that was tried and its score on validation; the chosen one is marked."""
    rows = []
    for summary in comparison.summaries:
        tried = selection.tries(comparison, summary.method)
        chosen = selection.chosen_try(comparison, summary.method)
        for position, entry in enumerate(tried):
            rows.append(_try_row(comparison, summary.method, entry, chosen=position == chosen))
    title = f"validation {selection.metric_name(comparison, selection.deciding_metric(comparison))}, %"
    columns = (
        Column(title="method", numeric=False),
        Column(title="setting", numeric=False),
        *(Column(title="value"), Column(title=title)),
        Column(title="choice", numeric=False),
    )
    return Table(columns=columns, rows=tuple(rows)) if rows else None


def history_table(comparison: Comparison) -> Table | None:
    """Return losses and the validation score by epoch, the mean over seeds; of long trainings every k-th epoch."""
    rows, metric = [], selection.epoch_metric(comparison)
    for summary in selection.finished(comparison):
        epochs = mean_history(summary, metric)
        step = math.ceil(len(epochs) / EPOCHS_SHOWN) or 1
        shown = [entry for position, entry in enumerate(epochs, 1) if position % step == 0 or position == len(epochs)]
        rows += [_epoch_row(summary.method, entry, metric) for entry in shown]
    columns = _columns(
        "method", "epoch", "train loss", "validation loss", f"validation {figures.metric_label(metric)}, %"
    )
    return Table(columns=columns, rows=tuple(rows)) if rows else None


def mean_history(summary: Summary, metric: str = "accuracy") -> list[dict[str, float]]:
    """Return one {epoch, train_loss, validation_loss, the metric} per epoch, the mean over seeds."""
    by_epoch: dict[float, list[Mapping[str, float]]] = {}
    for history in summary.histories.values():
        for position, entry in enumerate(history, 1):
            by_epoch.setdefault(figures.number(entry.get("epoch", position)), []).append(entry)
    keys = ("train_loss", "validation_loss", metric)
    return [
        {"epoch": epoch, **{key: _mean([figures.number(entry.get(key)) for entry in entries]) for key in keys}}
        for epoch, entries in sorted(by_epoch.items())
    ]


def _method_row(comparison: Comparison, summary: Summary, metrics: Sequence[str]) -> Row:
    total = summary.counts.total
    fit, search = figures.seconds(summary.training_seconds), figures.seconds(summary.search_seconds)
    predicted = summary.predicted_peak_memory_bytes
    trained = _cell(figures.parameters(summary.counts), summary.counts.trainable)
    memory = figures.memory(summary.peak_memory_bytes, summary.peak_gpu_memory_bytes)
    base = f"base {figures.size(summary.counts.base_bytes)}" if summary.counts.base_bytes else ""
    planned = f"planned {figures.size(predicted)}" if predicted else ""
    return Row(
        cells=(
            Cell(text=summary.method, note=_standing(comparison, summary)),
            *(_metric_cell(summary, name) for name in metrics),
            _with_note(trained, f"of {figures.count(total)}" if total else ""),
            _with_note(_cell(fit, summary.training_seconds), f"({search})" if summary.search_seconds else ""),
            _with_note(_cell(memory, summary.peak_memory_bytes), ", ".join(filter(None, [base, planned]))),
            _cell(figures.seconds(summary.scoring_seconds_per_1000), summary.scoring_seconds_per_1000),
            _cell(figures.size(summary.bytes_on_disk), summary.bytes_on_disk),
        ),
        shipped=_is_shipped(comparison, summary),
    )


def _answers_row(method: str, answers: Mapping[str, Any], outcomes: Sequence[str]) -> Row:
    cost, date = answers["cost"], answers["price_date"]
    money = _cell(figures.MISSING, math.nan) if cost is None else _cell(f"{cost:.4f} {answers['currency']}", cost)
    counts = [answers["outcomes"][name] for name in outcomes]
    counts += [answers["prompt_tokens"], answers["completion_tokens"]]
    cells = [_cell(figures.MISSING if n is None else figures.count(n), math.nan if n is None else n) for n in counts]
    money = _with_note(money, f"prices of {date}" if date else "no price known")
    saved = _cell(figures.count(answers["saved"]), answers["saved"])
    return Row(cells=(Cell(text=method), *cells, money, saved))


def _failed_row(summary: Summary, span: int) -> Row:
    error = figures.shorten(summary.error or "", ERROR_LIMIT)
    return Row(cells=(Cell(text=summary.method, note="failed"), Cell(text=error, span=span)), failed=True)


def _standing(comparison: Comparison, summary: Summary) -> str:
    verdict, method = comparison.verdict, summary.method
    if summary.unranked:
        return f"no rank: {summary.unranked}"
    if verdict is None:
        return ""
    if method == verdict.method:
        return "cheapest not told apart" if verdict.kind == "undecided" else "ship this"
    notes = ["best"] if method == verdict.best else []
    if method in verdict.among:
        notes.append("not told apart" if verdict.kind == "undecided" else "not worse")
    return ", ".join(notes)


def _metric_cell(summary: Summary, metric: str) -> Cell:
    interval = summary.metrics.get(metric)
    return _cell(figures.metric_interval(metric, interval), interval.value if interval else math.nan)


def _seed_cell(result: Any, metric: str) -> Cell:
    if result is None:
        return _cell(figures.MISSING, math.nan)
    if result.failed:
        return _cell("failed", math.nan)
    value = figures.number(result.metrics.get(metric))
    return _cell(figures.metric_value(metric, value), value)


def _try_row(comparison: Comparison, method: str, entry: Mapping[str, Any], *, chosen: bool) -> Row:
    metric, score = selection.deciding_metric(comparison), selection.validation_score(comparison, entry)
    failed = entry.get("error")
    choice = figures.shorten(f"failed: {failed}", 120) if failed else "chosen" if chosen else ""
    name, value = str(entry.get("setting", "")).replace("_", " "), entry.get("value")
    cells = (
        Cell(text=method),
        Cell(text=name),
        _cell(figures.setting(value), figures.number(value)),
        _cell(figures.metric_value(metric, score), score, strong=chosen),
        Cell(text=choice),
    )
    return Row(cells=cells)


def _epoch_row(method: str, entry: Mapping[str, float], metric: str) -> Row:
    losses = [_cell(figures.metric_value("loss", entry[key]), entry[key]) for key in ("train_loss", "validation_loss")]
    last = _cell(figures.metric_value(metric, entry[metric]), entry[metric])
    return Row(cells=(Cell(text=method), _cell(f"{entry['epoch']:g}", entry["epoch"]), *losses, last))


def _columns(first: str, *others: str) -> tuple[Column, ...]:
    return (Column(title=first, numeric=False), *(Column(title=title) for title in others))


def _cell(text: str, sort: float, *, strong: bool = False) -> Cell:
    return Cell(text=text, sort=_sortable(sort), strong=strong)


def _with_note(cell: Cell, note: str) -> Cell:
    return Cell(text=cell.text, sort=cell.sort, note=note)


def _sortable(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _is_shipped(comparison: Comparison, summary: Summary) -> bool:
    return summary.method == selection.shipped(comparison)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
