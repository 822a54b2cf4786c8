"""What was found in the data, in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loracle.inspection.description import ClassCount, Description
from loracle.inspection.findings import write_share
from loracle.reporting import description, figures
from loracle.wording import write_count

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

_SHOWN_CLASSES = 10
_LETTERS = 28  # of a label, so that the table fits into 80 columns


def terminal_description(found: Description) -> Group:
    """Return classes, lengths, duplicates, characters, and at the end what to do, for `rich`."""
    from rich.console import Group
    from rich.text import Text

    findings = [Text(f"- {figures.plain(finding)}") for finding in found.findings]
    last = [Text("What to do", style="bold"), *findings] if findings else [Text("Nothing stands out.", style="bold")]
    return Group(Text(), _classes_table(found), Text(), _facts_table(found), Text(), *last)


def _classes_table(found: Description) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("class", no_wrap=True)
    for title in (*found.sizes, "of all", "median tokens"):
        table.add_column(title, justify="right", no_wrap=True, min_width=len(title))
    ranked = sorted(found.classes, key=lambda entry: -sum(entry.texts.values()))
    for entry in ranked[:_SHOWN_CLASSES]:
        table.add_row(*_class_cells(entry, found.texts))
    if len(ranked) > _SHOWN_CLASSES:
        table.caption = f"and {write_count(len(ranked) - _SHOWN_CLASSES, 'smaller class', 'smaller classes')}"
        table.caption_justify = "left"
    return table


def _class_cells(entry: ClassCount, texts: int) -> list[Text]:
    from rich.text import Text

    counts = [figures.count(number) for number in entry.texts.values()]
    share = write_share(sum(entry.texts.values()) / texts)
    cells = [figures.shorten_middle(entry.label, _LETTERS), *counts, share, figures.count(entry.median_tokens)]
    return [Text(cell) for cell in cells]


def _facts_table(found: Description) -> Table:
    from rich.table import Table
    from rich.text import Text

    cuts = ", ".join(f"{write_share(cut.share)} at {cut.max_length:,}" for cut in found.cuts)
    facts = {
        "classes": description.classes_finding(found),
        "words": description.words_finding(found.words),
        "tokens": f"{description.tokens_finding(found)} Texts cut: {cuts}.",
        "duplicates": description.copies_finding(found),
        "near": description.near_finding(found),
        "characters": description.characters_finding(found),
    }
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for name, sentence in facts.items():
        table.add_row(Text(name), Text(figures.plain(sentence)))
    return table
