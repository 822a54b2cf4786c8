"""What was found in the data, as one HTML file that works offline and looks like the report."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loracle.files import write_text
from loracle.inspection.description import (
    ClassCount,
    CopyExample,
    Cut,
    Description,
    Lengths,
)
from loracle.inspection.findings import (
    measure_imbalance,
    write_label,
    write_overlaps,
    write_share,
)
from loracle.reporting import description_pictures, figures
from loracle.reporting.pages import check_output, render_page
from loracle.reporting.tables import Cell, Column, Row, Table
from loracle.wording import write_count

if TYPE_CHECKING:
    from markupsafe import Markup

_MARK = "loracle describe"
_MARKS = {".html": f'content="{_MARK}"', ".json": '{\n "task": {'}  # a comparison.json has its task further down
_BALANCED = 1.5  # times: below it the classes count as equally large


def check_description_output(path: Path) -> None:
    """Raise ConfigError where `path` is no .html or .json file, or one that was not written here.

    FileError where nothing can be written there.
    """
    check_output(path, suffixes=tuple(_MARKS), mark=_MARKS.get(path.suffix.lower(), ""))


def write_description(description: Description, path: str | Path) -> Path:
    """Write the page (.html) or the values (.json), whole or not at all, and return the path.

    Raises what `check_description_output` raises.
    """
    path = Path(path)
    check_description_output(path)
    write_text(path, description.to_json() if path.suffix.lower() == ".json" else render_description(description))
    return path


def render_description(description: Description) -> str:
    """Return the description as one self-contained HTML page: no request to any server, light, dark and for paper."""
    return render_page(
        "description.html.j2",
        styles=("report.css", "description.css"),
        scripts=("report.js",),
        mark=_MARK,
        name=description.task["name"],
        eyebrow="A look at the data before training",
        headline=_marked((description.findings or ("Nothing in this data stands out.",))[0]),
        caveat="",
        facts=_facts(description),
        footer="Every figure was counted in this data; rows are numbered from 0, as in the source.",
        **_contents(description),
    )


def classes_finding(description: Description) -> str:
    """Return how evenly the training texts are spread over the classes."""
    times, largest, smallest = measure_imbalance(description.classes)
    low, high = smallest.texts["train"], largest.texts["train"]
    if low == high:
        return f"Each class has {low:,} training texts."
    if times < _BALANCED:
        return f"The classes are of about one size: {low:,} to {high:,} training texts each."
    return (
        f"From {low:,} training texts ({write_label(smallest.label)}) to {high:,} ({write_label(largest.label)}): "
        f"{figures.ratio(times)} as many."
    )


def tokens_finding(description: Description) -> str:
    """Return what the chosen maximum length cuts."""
    chosen = next(cut for cut in description.cuts if cut.max_length == description.max_length)
    middle = f"Half of the texts have up to {description.tokens.median:,.0f} tokens"
    if not chosen.texts:
        return f"{middle}, and none has more than {chosen.max_length:,}: nothing is cut."
    return (
        f"{middle}; {write_share(chosen.share)} have more than {chosen.max_length:,} and are cut there, which loses "
        f"{write_share(chosen.lost_tokens)} of all tokens."
    )


def words_finding(lengths: Lengths) -> str:
    """Return the middle and the longest length in words."""
    return (
        f"Half of the texts have up to {lengths.median:,.0f} words, 95 of 100 up to {lengths.percentile_95:,.0f}; the "
        f"longest has {lengths.longest:,}."
    )


def copies_finding(description: Description) -> str:
    """Return how many texts stand more than once, and where."""
    copies = description.copies
    if not copies.texts:
        return "No text stands twice."
    across = write_overlaps(copies.overlaps, description.sizes)
    where = f"across splits: {across}" if across else "none across splits"
    torn = f"; {copies.conflicting:,} of them with different labels" if copies.conflicting else ""
    texts = write_count(copies.texts, "text has", "texts have")
    return f"{texts} an exact copy elsewhere ({copies.repeats:,} would go if one of each stayed), {where}{torn}."


def near_finding(description: Description) -> str:
    """Return how many texts have a near duplicate, and where."""
    near = description.near
    if not near.texts:
        return f"No two different texts share {100 * description.near_threshold:g} % of their word triples."
    across = write_overlaps(near.overlaps, description.sizes)
    where = f"across splits: {across}" if across else "none across splits"
    torn = f"; {near.conflicting:,} have one with another label" if near.conflicting else ""
    return f"{write_count(near.texts, 'text has', 'texts have')} a near duplicate, {where}{torn}."


def characters_finding(description: Description) -> str:
    """Return what does not look like text that somebody wrote."""
    names = [f"{oddity.name} ({oddity.texts:,})" for oddity in description.oddities]
    return f"Found, with the number of texts: {', '.join(names)}." if names else "Every text looks like written text."


def cuts_table(description: Description) -> Table:
    """Return what each maximum length leaves out."""
    titles = ("maximum length", "texts cut", "of all texts", "tokens lost")
    rows = tuple(_cut_row(cut, chosen=cut.max_length == description.max_length) for cut in description.cuts)
    return Table(columns=tuple(Column(title=title) for title in titles), rows=rows)


def classes_table(description: Description) -> Table:
    """Return the texts of each class by split, and their usual length."""
    splits = list(description.sizes)
    rows = tuple(_class_row(entry, description.texts) for entry in description.classes)
    titles = (*splits, "of all, %", "median words", "median tokens")
    columns = (Column(title="class", numeric=False), *(Column(title=title) for title in titles))
    return Table(columns=columns, rows=rows, kind="classes")


def _contents(description: Description) -> dict[str, Any]:
    classes, tokens, words = classes_finding(description), tokens_finding(description), words_finding(description.words)
    near = {"finding": near_finding(description), "pairs": description.near.examples}
    return {
        "more": [_marked(finding) for finding in description.findings[1:]],
        "marked": _marked,
        "classes": {
            "finding": classes,
            "picture": description_pictures.classes_picture(description, classes),
            "table": classes_table(description),
        },
        "tokens": _lengths(description.tokens, description.max_length, tokens),
        "words": _lengths(description.words, None, words),
        "cuts": cuts_table(description),
        "model": description.model,
        "copies": {"finding": copies_finding(description), "examples": [_copy(c) for c in description.copies.examples]},
        "near": {**near, "percent": f"{100 * description.near_threshold:g}"},
        "characters": {"finding": characters_finding(description), "oddities": description.oddities},
        "share": lambda texts: write_share(texts / description.texts),
        "notes": description.task["notes"],
        "entries": _entries(description),
    }


def _facts(description: Description) -> list[str]:
    sizes = [f"{name} {texts:,}" for name, texts in description.sizes.items()]
    return [
        f"{description.task['name']}: {write_count(description.texts, 'text')}",
        *sizes,
        write_count(len(description.classes), "class", "classes"),
        f"tokens of {description.model}",
    ]


def _marked(sentence: str) -> Markup:
    """Return a sentence whose options a line break does not tear apart."""
    from markupsafe import Markup, escape

    option, words = (
        Markup("<code>{}</code>"),
        re.split(r"(--[a-z-]+(?: (?:[0-9]+|macro_f1))?)", figures.plain(sentence)),
    )
    return Markup().join(option.format(word) if word.startswith("--") else escape(word) for word in words)


def _lengths(lengths: Lengths, limit: int | None, finding: str) -> dict[str, Any]:
    return {"finding": finding, "picture": description_pictures.lengths_picture(lengths, limit, finding)}


def _copy(example: CopyExample) -> dict[str, Any]:
    where = ", ".join(f"{texts:,} in {split}" for split, texts in example.splits.items())
    labels = ", ".join(f"{label} ({texts:,})" for label, texts in example.labels.items())
    return {"text": example.text, "where": where, "labels": labels, "torn": len(example.labels) > 1}


def _entries(description: Description) -> dict[str, Any]:
    task = description.task
    splits = {name: f"{split['rows']:,} texts, hash {split['hash']}" for name, split in task["splits"].items()}
    return {
        "source": task["source"],
        "text column": task["text_column"],
        "label column": task["label_column"],
        **splits,
    }


def _cut_row(cut: Cut, *, chosen: bool) -> Row:
    cells = (
        Cell(text=f"{cut.max_length:,}", note="chosen" if chosen else "", sort=cut.max_length),
        Cell(text=f"{cut.texts:,}", sort=cut.texts),
        Cell(text=write_share(cut.share), sort=cut.share),
        Cell(text=write_share(cut.lost_tokens), sort=cut.lost_tokens),
    )
    return Row(cells=cells, shipped=chosen)


def _class_row(entry: ClassCount, texts: int) -> Row:
    own = sum(entry.texts.values())
    numbers = [Cell(text=f"{number:,}", sort=number) for number in entry.texts.values()]
    share = Cell(text=f"{100 * own / texts:.1f}", sort=own)
    medians = [Cell(text=f"{value:,.0f}", sort=value) for value in (entry.median_words, entry.median_tokens)]
    return Row(cells=(Cell(text=entry.label), *numbers, share, *medians))
