"""The report as GitHub-flavoured Markdown, with the tables of the page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from loracle.comparison.result import Comparison, Summary
from loracle.reporting import classes, figures, findings, ledger, selection, tables
from loracle.reporting.tables import Cell, Row, Table

_SPECIAL = re.compile(r"([\\`*_#|~$@]|\](?=[(\[:]))")  # a bracket alone starts no link


def render_markdown(comparison: Comparison) -> str:
    """Return the report as GitHub-flavoured Markdown."""
    return "\n\n".join(block for block in _blocks(comparison) if block) + "\n"


def escape(text: object) -> str:
    """Return text as one line of Markdown that shows it as it is.

    >>> escape("a|b <script>")
    'a\\\\|b &lt;script&gt;'
    """
    line = " ".join(figures.plain(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", line)


def render_table(table: Table | None) -> str:
    """Return one table; every line has as many cells as the heading."""
    if table is None:
        return ""
    titles = [escape(column.title) for column in table.columns]
    rules = ["---:" if column.numeric else "---" for column in table.columns]
    lines = [titles, rules, *(_row_cells(row) for row in table.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _blocks(comparison: Comparison) -> Iterator[str]:
    yield f"# {escape(findings.headline(comparison))}"
    yield escape(findings.caveat(comparison))
    yield escape(" · ".join(findings.facts(comparison)))
    yield escape(findings.cost_finding(comparison))
    yield "## What each method reaches and costs"
    yield escape(findings.methods_finding(comparison))
    yield render_table(tables.methods_table(comparison))
    yield f"Cost is {escape(findings.cost_words(comparison))}. Brackets: 95 % interval; after a fit, its whole search."
    yield escape(" ".join(ledger.told_passes(comparison)))
    yield render_table(tables.metrics_table(comparison))
    yield render_table(tables.answers_table(comparison))
    yield from _reasons(comparison)
    yield from _failures(comparison)
    yield "## Notes on the data"
    yield "\n".join(_tree(ledger.data_notes(comparison)))
    yield render_table(classes.counts_table(comparison))
    yield "\n".join(_tree(ledger.data_entries(comparison)))


def _reasons(comparison: Comparison) -> Iterator[str]:
    yield "## Why to believe it"
    yield escape(findings.decision_finding(comparison))
    yield escape(findings.detection_finding(comparison))
    parts = (
        ("Pairwise tests", findings.pairs_finding, tables.pairs_table),
        ("Seeds", findings.seeds_finding, tables.seeds_table),
        ("Search for the setting", findings.search_finding, tables.search_table),
        ("Learning curves, mean over seeds", findings.curves_finding, tables.history_table),
    )
    for title, finding, build in parts:
        table = build(comparison)
        if table:
            yield from (f"### {title}", escape(finding(comparison)), render_table(table))
    yield "### Ledger"
    yield "\n".join(_tree(ledger.ledger_entries(comparison)))


def _failures(comparison: Comparison) -> Iterator[str]:
    summaries = selection.finished(comparison)
    if not summaries:
        return
    yield "## Where each method fails"
    yield escape(findings.overview_finding(comparison))
    yield render_table(classes.overview_table(comparison))
    for summary in summaries:
        yield from _one_failure(comparison, summary)


def _one_failure(comparison: Comparison, summary: Summary) -> Iterator[str]:
    yield f"### {escape(summary.method)}"
    yield escape(findings.class_finding(comparison, summary))
    yield render_table(classes.per_class_table(summary))
    confusion = classes.confusion_table(comparison, summary) or classes.mistakes_table(comparison, summary)
    if confusion:
        yield "Confusions of the seed that is best on validation:"
        yield render_table(confusion)


def _row_cells(row: Row) -> list[str]:
    cells: list[str] = []
    for cell in row.cells:
        cells += [_cell_text(cell, bold=row.shipped and not cells), *[""] * (cell.span - 1)]
    return cells


def _cell_text(cell: Cell, *, bold: bool) -> str:
    text = escape(cell.text)
    text = f"**{text}**" if (bold or cell.strong) and text else text
    return f"{text} ({escape(cell.note.strip('()'))})" if cell.note else text


def _tree(value: Any, depth: int = 0) -> Iterator[str]:
    pairs = value.items() if isinstance(value, Mapping) else (("", item) for item in value)
    for key, item in pairs:
        name = f"{escape(ledger.heading(key))}:" if key else ""
        if ledger.is_nested(item) and not ledger.is_flat(item):
            yield f"{'  ' * depth}- {name}".rstrip()
            yield from _tree(item, depth + 1)
        else:
            yield f"{'  ' * depth}- {f'{name} {escape(ledger.line(item, key))}'.strip()}"
