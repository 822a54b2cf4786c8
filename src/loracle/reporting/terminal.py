"""The comparison as a table in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loracle.comparison.result import Comparison, Summary
from loracle.reporting import figures, ledger, selection

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_GAP = 3  # between two columns
_SECOND = {"macro_f1": "macro-F1, %", "micro_f1": "micro-F1, %", "accuracy": "accuracy, %"}
_FIRST_TO_GO = ("disk", "memory", "adapter + head", *_SECOND.values(), "per 1,000 texts")


def terminal_table(comparison: Comparison, *, width: int | None = None) -> Table:
    """Return the table of methods for `rich`; the method to ship is bold, what failed stands below with its error.

    Where it does not fit into `width` characters (by default the terminal's) it leaves columns out and names them.
    """
    from rich import get_console
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    columns = _columns(comparison)
    left_out = _drop_columns(columns, width or get_console().width)
    table = Table(box=SIMPLE_HEAD, padding=(0, _GAP - 1, 0, 0), pad_edge=False, show_edge=False)
    for title in columns:
        table.add_column(title, justify="left" if title == "method" else "right", no_wrap=True)
    for position, summary in enumerate(selection.finished(comparison)):
        style = "bold" if summary.method == selection.shipped(comparison) else None
        table.add_row(*(_plain(texts[position]) for texts in columns.values()), style=style)
    unranked = [summary for summary in selection.finished(comparison) if summary.unranked]
    table.caption = _caption(unranked, selection.failed(comparison), left_out, ledger.told_passes(comparison))
    table.caption_justify = "left"
    return table


def _columns(comparison: Comparison) -> dict[str, list[str]]:
    """Return the texts of every column by its title; the metric that decides has its interval."""
    summaries = selection.finished(comparison)
    metric = selection.deciding_metric(comparison)
    other = selection.epoch_metric(comparison) if metric == "macro_f1" else "macro_f1"
    return {
        "method": [figures.shorten_middle(s.method, 40) for s in summaries],
        f"{selection.metric_name(comparison, metric)}, % (95 %)": [
            figures.metric_interval(metric, s.metrics.get(metric)) for s in summaries
        ],
        _SECOND[other]: [figures.metric_interval(other, s.metrics.get(other)).partition(" ")[0] for s in summaries],
        "adapter + head": [figures.parameters(s.counts) for s in summaries],
        "train": [figures.seconds(s.training_seconds) for s in summaries],
        "memory": [figures.memory(s.peak_memory_bytes, s.peak_gpu_memory_bytes) for s in summaries],
        "per 1,000 texts": [figures.seconds(s.scoring_seconds_per_1000) for s in summaries],
        "disk": [figures.size(s.bytes_on_disk) for s in summaries],
    }


def _drop_columns(columns: dict[str, list[str]], width: int) -> list[str]:
    """Take columns out until the rest fits, and return their titles."""
    left_out: list[str] = []
    for title in filter(columns.__contains__, _FIRST_TO_GO):
        if sum(max(map(len, (name, *texts))) + _GAP for name, texts in columns.items()) - _GAP <= width:
            break
        del columns[title]
        left_out.append(title)
    return left_out


def _caption(
    unranked: list[Summary], failed: list[Summary], left_out: list[str], told_passes: list[str]
) -> Text | None:
    lines = [f"{figures.shorten(s.method, 40)} has no rank: {s.unranked}" for s in unranked]
    lines += [f"{figures.shorten(s.method, 40)} failed: {figures.shorten(s.error or '', 200)}" for s in failed]
    if left_out:
        lines.append(
            f"In the report, for want of width here: {', '.join(title.removesuffix(', %') for title in left_out)}."
        )
    lines += told_passes
    return _plain("\n".join(lines)) if lines else None


def _plain(text: str) -> Text:
    from rich.text import Text

    return Text(figures.plain(text))
