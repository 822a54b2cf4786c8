"""Runs side by side as a page, as Markdown and in the terminal, all three from the same tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from loracle.comparison.side_by_side import SideBySide
from loracle.files import write_text
from loracle.reporting import classes, figures
from loracle.reporting.markdown import escape, render_table
from loracle.reporting.pages import check_output, render_page
from loracle.reporting.run_findings import caveat, classes_finding, facts, headline, measures_key, pairs_key
from loracle.reporting.run_tables import (
    circumstances_table,
    class_table,
    deciding_metric,
    measures_table,
    options_table,
    pairs_table,
    seeds_table,
)
from loracle.reporting.tables import Table

if TYPE_CHECKING:
    from rich.table import Table as TerminalTable

_MARK = "loracle compare-runs"
_MARKS = {".html": f'content="{_MARK}"', ".md": f"<!-- {_MARK} -->"}
_GAP = 3  # between two columns in the terminal


def side_by_side_files(path: Path) -> tuple[Path, Path]:
    """Return the page and the Markdown that `path` stands for; ConfigError where either would overwrite another file.

    FileError where nothing can be written there.
    """
    check_output(path, suffixes=tuple(_MARKS), mark=_MARKS.get(path.suffix.lower(), ""))
    page, document = path.with_suffix(".html"), path.with_suffix(".md")
    for place in (page, document):
        check_output(place, suffixes=tuple(_MARKS), mark=_MARKS[place.suffix])
    return page, document


def write_side_by_side(side: SideBySide, path: str | Path) -> tuple[Path, Path]:
    """Write the page and, beside it, the same as Markdown; return both. Raises what `side_by_side_files` raises."""
    page, document = side_by_side_files(Path(path))
    html, text = render_side_by_side(side), render_side_by_side_markdown(side)
    write_text(page, html)
    write_text(document, text)
    return page, document


def render_side_by_side(side: SideBySide) -> str:
    """Return the page, which asks no server for anything."""
    return render_page(
        "side_by_side.html.j2",
        styles=("report.css", "side_by_side.css"),
        scripts=("report.js",),
        mark=_MARK,
        name=side.name,
        eyebrow="Runs side by side",
        headline=headline(side),
        caveat=caveat(side),
        facts=facts(side),
        measures={"table": _unbroken(measures_table(side)), "key": measures_key(side)},
        pairs={"table": pairs_table(side), "key": pairs_key(side)},
        seeds=seeds_table(side),
        options=options_table(side),
        circumstances=circumstances_table(side),
        classes={"finding": classes_finding(side), "tables": _class_tables(side)},
        confusions=_confusions(side),
        footer="Every figure was measured in the run that it stands for.",
    )


def render_side_by_side_markdown(side: SideBySide) -> str:
    """Return the same as GitHub-flavoured Markdown."""
    return "\n\n".join(block for block in _blocks(side) if block) + "\n"


def terminal_tables(side: SideBySide, *, width: int) -> list[TerminalTable]:
    """Return measures, pairs and differing options for `rich`; runs that do not fit into `width` stand below."""
    tables = [*_split(measures_table(side), width), pairs_table(side, (deciding_metric(side),))]
    for found in (options_table(side), circumstances_table(side)):
        tables += _split(found, width) if found else []
    return [_terminal_table(table) for table in tables]


def _unbroken(table: Table) -> Table:
    """Return the table with intervals that stay on one line where a narrow page folds its cells."""
    rows = tuple(
        replace(row, cells=tuple(replace(c, text=_joined(c.text), note=_joined(c.note)) for c in row.cells))
        for row in table.rows
    )
    return replace(table, rows=rows)


def _joined(text: str) -> str:
    return text.replace(", ", ",\N{NO-BREAK SPACE}") if "[" in text else text


def _class_tables(side: SideBySide) -> dict[str, Table]:
    titles = {"f1": "F1, %", "precision": "Precision, %", "recall": "Recall, %"}
    return {title: class_table(side, key) for key, title in titles.items()}


def _confusions(side: SideBySide) -> dict[str, Table]:
    """Return the confusion matrix of each run, or its most frequent mistakes where there are many classes."""
    found = {}
    for entry in side.entries:
        comparison, summary = entry.run.comparison, entry.summary
        table = classes.confusion_table(comparison, summary) or classes.mistakes_table(comparison, summary)
        if table is not None:
            found[entry.title] = table
    return found


def _blocks(side: SideBySide) -> Iterator[str]:
    yield _MARKS[".md"]
    yield f"# {escape(headline(side))}"
    yield escape(caveat(side))
    yield escape(" · ".join(facts(side)))
    yield render_table(measures_table(side))
    yield escape(measures_key(side))
    yield from ("## Paired tests", render_table(pairs_table(side)), escape(pairs_key(side)))
    for title, table in (
        ("Seeds", seeds_table(side)),
        ("Options that differ", options_table(side)),
        ("Circumstances that differ", circumstances_table(side)),
    ):
        if table is not None:
            yield from (f"## {title}", render_table(table))
    yield from ("## By class", escape(classes_finding(side)))
    for title, table in _class_tables(side).items():
        yield from (f"### {title}", render_table(table))
    yield "## Confusions, best seed on validation"
    for title, table in _confusions(side).items():
        yield from (f"### {escape(title)}", render_table(table))


def _split(table: Table, width: int) -> list[Table]:
    """Return the table in as many parts as its columns need, the first column in each."""
    widths = [_width(table, place) for place in range(len(table.columns))]
    parts: list[list[int]] = []
    for place in range(1, len(widths)):
        taken = widths[0] + sum(widths[other] for other in parts[-1]) if parts else width
        if taken + widths[place] > width:
            parts.append([])
        parts[-1].append(place)
    return [_part(table, [0, *places]) for places in parts]


def _width(table: Table, place: int) -> int:
    cells = [row.cells[place] for row in table.rows]
    return _GAP + max(len(text) for text in (table.columns[place].title, *(t for c in cells for t in (c.text, c.note))))


def _part(table: Table, places: list[int]) -> Table:
    rows = tuple(type(row)(cells=tuple(row.cells[place] for place in places)) for row in table.rows)
    return Table(columns=tuple(table.columns[place] for place in places), rows=rows)


def _terminal_table(table: Table) -> TerminalTable:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as TerminalTable
    from rich.text import Text

    made = TerminalTable(box=SIMPLE_HEAD, padding=(0, _GAP - 1, 0, 0), pad_edge=False, show_edge=False)
    for column in table.columns:
        made.add_column(Text(figures.plain(column.title)), justify="right" if column.numeric else "left")
    for row in table.rows:
        cells = (figures.plain(f"{cell.text}\n{cell.note}".strip()) for cell in row.cells)
        made.add_row(*map(Text, cells))
    return made
