"""The mistakes of a run as a page that filters without a server, as CSV, and in the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from loracle.comparison.mistakes import Answers, Listing, Mistakes
from loracle.errors import ConfigError
from loracle.evaluation.metrics import NO_ANSWER
from loracle.files import whole_file
from loracle.reporting import figures
from loracle.reporting.excerpts import cut_middle
from loracle.reporting.pages import check_output, render_page
from loracle.reporting.tables import Cell, Column, Row, Table
from loracle.wording import write_count

if TYPE_CHECKING:
    from rich.table import Table as TerminalTable

ROWS = 300
"""Texts of each list that the page holds, if nobody says."""
TOP = 10
_MARKS = {".html": 'content="loracle errors"', ".csv": "kind,methods,confidence,id,label,"}
_AT_ONCE = 1024  # texts in memory


def check_mistakes_output(path: Path, rows: int = ROWS) -> None:
    """Raise ConfigError where `path` is no .html or .csv file, or one that was not written here, or `rows` is below 1.

    FileError where nothing can be written there.
    """
    if rows < 1:
        raise ConfigError(f"rows is {rows}; allowed: 1 or more texts of each list")
    check_output(path, suffixes=tuple(_MARKS), mark=_MARKS.get(path.suffix.lower(), ""))


def write_mistakes(mistakes: Mistakes, path: str | Path, *, rows: int = ROWS) -> None:
    """Write a page (.html, with up to `rows` texts of each list) or all texts of the lists asked for (.csv).

    The file is there whole or not at all. Raises what `check_mistakes_output` raises.
    """
    path = Path(path)
    check_mistakes_output(path, rows)
    with whole_file(path) as file:
        if path.suffix.lower() == ".html":
            file.write(render_mistakes(mistakes, rows=rows).encode("utf-8"))
            return
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_csv_columns(mistakes))
        for listing in mistakes.listings:
            writer.writerows(_csv_rows(mistakes, listing))
        text.detach()  # flushes, and leaves the file open


def render_mistakes(mistakes: Mistakes, *, rows: int = ROWS) -> str:
    """Return the page: every method's mistakes, the disagreements, and what all get wrong, `rows` of each."""
    shared = [item for item in (mistakes.disagree, mistakes.all_wrong) if item is not None]
    lists = [*mistakes.wrong, *shared]
    places = {listing.kind: len(mistakes.wrong) + place for place, listing in enumerate(shared)}
    return render_page(
        "mistakes.html.j2",
        styles=("report.css", "mistakes.css"),
        scripts=("report.js", "mistakes.js"),
        mark="loracle errors",
        name=mistakes.name,
        eyebrow="Where it goes wrong",
        headline=headline(mistakes),
        caveat=suspects_finding(mistakes),
        facts=_facts(mistakes),
        counts={"table": _counts_table(mistakes), "key": _counts_key(mistakes)},
        chosen=mistakes.place(mistakes.method),
        methods=[item.method for item in mistakes.answers],
        labels=mistakes.label_names,
        kinds=[("", "the method is wrong"), *((places[item.kind], _title(item)) for item in shared)],
        lists=[f"{list_finding(mistakes, item)}{_limit_words(item, rows)}" for item in lists],
        entries=list(_entries(mistakes, lists, rows)),
        unanswered=_is_unanswered(mistakes),
        footer="Every prediction was made in this run. The search looks at what is shown of a text.",
    )


def headline(mistakes: Mistakes) -> str:
    """Return how many texts the method gets wrong."""
    own, texts = mistakes.wrong[mistakes.place(mistakes.method)], len(mistakes.test)
    name = figures.shorten(mistakes.method, 60)
    if not len(own.rows):
        return f"{name} gets all {figures.count(texts)} test texts right."
    wrong = figures.count(len(own.rows))
    return f"{name} gets {wrong} of {figures.count(texts)} test texts wrong ({_share(len(own.rows), texts)})."


def suspects_finding(mistakes: Mistakes) -> str:
    """Return how many texts all methods get wrong, and why that matters; or why there is no such list."""
    if mistakes.all_wrong is None:
        return "What all methods get wrong is not listed: fewer than two methods here can be asked."
    return list_finding(mistakes, mistakes.all_wrong)


def list_finding(mistakes: Mistakes, listing: Listing) -> str:
    """Return what a list holds, in one sentence, and in which order."""
    amount, names = len(listing.rows), figures.names(listing.methods)
    if listing.kind == "wrong":
        order = " The surest mistake comes first." if amount else ""
        return f"{names} gets {_counted(amount)} wrong.{order}"
    if listing.kind == "disagree":
        first, second = (mistakes.answers[mistakes.place(name)] for name in listing.methods)
        return f"{names} disagree on {_counted(amount)}: {_who_is_right(mistakes, listing, first, second)}."
    who = "both" if len(listing.methods) == 2 else "all"
    tail = ": these are the first to look at for wrong labels" if amount else ""
    return f"{names} {who} get {_counted(amount)} wrong{tail}."


def kinds_table(mistakes: Mistakes) -> TerminalTable:
    """Return for `rich` how many texts each list has."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as TerminalTable

    table = TerminalTable(box=SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("list")
    for title in ("texts", "of all"):
        table.add_column(title, justify="right", no_wrap=True)
    for item in mistakes.listings:
        title = f"{item.methods[0]} is wrong" if item.kind == "wrong" else _title(item)
        amount = len(item.rows)
        table.add_row(*map(_plain, (title, figures.count(amount), _share(amount, len(mistakes.test)))))
    return table


def top_lines(mistakes: Mistakes, *, width: int, rows: int = TOP) -> list[str]:
    """Return the method's most confident mistakes for the terminal: two lines each, of up to `width` characters."""
    place = mistakes.place(mistakes.method)
    lines = []
    for row, text in _texts(mistakes, mistakes.wrong[place].rows[:rows].tolist()):
        label = mistakes.label_names[mistakes.test.labels[row]]
        read_as, sure = _answer_words(mistakes, mistakes.answers[place], row)
        said = f"row {mistakes.test.ids[row]}: {label} read as {read_as}{f', {sure}' if sure else ''}"
        lines += [figures.shorten(said, width), f"  {figures.shorten_middle(text, max(width - 2, 20))}"]
    return lines


def _counts_table(mistakes: Mistakes) -> Table:
    titles = ["seed", "wrong", "of all, %", "wrong alone"]
    if _is_unanswered(mistakes):
        titles.append("no answer")
    rows = []
    for place, answers in enumerate(mistakes.answers):
        share = 100 * len(mistakes.wrong[place].rows) / len(mistakes.test)
        cells = (
            Cell(text=answers.method),
            _count_cell(answers.seed),
            _count_cell(len(mistakes.wrong[place].rows)),
            Cell(text=f"{share:.1f}", sort=share),
            _alone_cell(mistakes, place),
            _count_cell(int((answers.predicted == NO_ANSWER).sum())),
        )
        rows.append(Row(cells=cells[: len(titles) + 1], shipped=answers.method == mistakes.method))
    columns = (Column(title="method", numeric=False), *(Column(title=title) for title in titles))
    return Table(columns=columns, rows=tuple(rows))


def _alone_cell(mistakes: Mistakes, place: int) -> Cell:
    """Return how many texts this method alone gets wrong of those that tell texts apart."""
    telling = [other for other, item in enumerate(mistakes.answers) if item.method not in mistakes.left_out]
    if place not in telling or len(telling) < 2:
        return Cell(text=figures.MISSING)
    others = np.concatenate([mistakes.wrong[other].rows for other in telling if other != place])
    return _count_cell(len(np.setdiff1d(mistakes.wrong[place].rows, others)))


def _count_cell(number: int) -> Cell:
    return Cell(text=figures.count(number), sort=number)


def _counts_key(mistakes: Mistakes) -> str:
    text = "Wrong alone: the other methods get these right. Of several seeds, the one named is looked at."
    if not mistakes.left_out:
        return text
    names = figures.names([f"{method} ({why})" for method, why in mistakes.left_out.items()])
    return f"{text} Neither there nor in what all get wrong is counted: {names}."


def _is_unanswered(mistakes: Mistakes) -> bool:
    return any((item.predicted == NO_ANSWER).any() for item in mistakes.answers)


def _facts(mistakes: Mistakes) -> list[str]:
    seed = mistakes.answers[mistakes.place(mistakes.method)].seed
    run = f"run {figures.shorten_middle(str(mistakes.folder), 60)}"
    return [figures.shorten(mistakes.name, 60), run, f"seed {seed} of {figures.shorten(mistakes.method, 60)}"]


def _title(listing: Listing) -> str:
    if listing.kind == "disagree":
        return f"{figures.names(listing.methods)} disagree"
    return f"{figures.names(listing.methods)} {'both' if len(listing.methods) == 2 else 'all'} wrong"


def _who_is_right(mistakes: Mistakes, listing: Listing, first: Answers, second: Answers) -> str:
    labels = mistakes.test.labels[listing.rows]
    right = [int((item.predicted[listing.rows] == labels).sum()) for item in (first, second)]
    neither = len(listing.rows) - sum(right)
    counts = [figures.count(number) for number in (*right, neither)]
    return f"{first.method} is right on {counts[0]}, {second.method} on {counts[1]}, neither on {counts[2]}"


def _limit_words(listing: Listing, rows: int) -> str:
    if len(listing.rows) <= rows:
        return ""
    return f" This page holds the first {figures.count(rows)} of them (--rows changes that)."


def _entries(mistakes: Mistakes, lists: Sequence[Listing], limit: int) -> Iterator[dict[str, Any]]:
    """Yield each text once, those of the method asked for first; `ranks` says where it stands in which lists."""
    chosen, ranks = mistakes.place(mistakes.method), dict[int, dict[int, int]]()
    for place in sorted(range(len(lists)), key=lambda place: place != chosen):
        for rank, row in enumerate(lists[place].rows[:limit].tolist()):
            ranks.setdefault(row, {})[place] = rank
    for row, text in _texts(mistakes, list(ranks)):
        own = ranks[row]
        yield {
            "id": int(mistakes.test.ids[row]),
            "label": int(mistakes.test.labels[row]),
            "read": " ".join(str(item.predicted[row]) for item in mistakes.answers),
            "ranks": " ".join(f"{place}:{rank}" for place, rank in own.items()),
            "shown": chosen in own,
            "text": cut_middle(text),
            "answers": [_answer(mistakes, item, row) for item in mistakes.answers],
        }


def _answer(mistakes: Mistakes, answers: Answers, row: int) -> dict[str, Any]:
    name, sure = _answer_words(mistakes, answers, row)
    right = answers.predicted[row] == mistakes.test.labels[row]
    return {"method": answers.method, "label": name, "sure": sure, "right": bool(right)}


def _answer_words(mistakes: Mistakes, answers: Answers, row: int) -> tuple[str, str]:
    """Return the predicted label and its probability, in words."""
    if answers.predicted[row] == NO_ANSWER:
        return "no answer", ""
    return mistakes.label_names[answers.predicted[row]], f"{100 * answers.confidence[row]:.0f} %"


def _csv_columns(mistakes: Mistakes) -> list[str]:
    said = [f"{column}_{item.method}" for item in mistakes.answers for column in ("predicted", "probability")]
    return ["kind", "methods", "confidence", "id", "label", *said, "excerpt", "text"]


def _csv_rows(mistakes: Mistakes, listing: Listing) -> Iterator[list[object]]:
    methods, test = ", ".join(listing.methods), mistakes.test
    texts = _texts(mistakes, listing.rows.tolist())
    for (row, text), confidence in zip(texts, listing.confidence, strict=True):
        said: list[object] = []
        for item in mistakes.answers:
            answered = item.predicted[row] != NO_ANSWER
            said.append(mistakes.label_names[item.predicted[row]] if answered else "")
            said.append(round(float(item.confidence[row]), 6) if answered else "")
        label = mistakes.label_names[test.labels[row]]
        known = [listing.kind, methods, round(float(confidence), 6), int(test.ids[row]), label]
        yield [*known, *said, str(cut_middle(text)), text]


def _texts(mistakes: Mistakes, rows: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Yield each of these rows with its text, a batch at a time."""
    for start in range(0, len(rows), _AT_ONCE):
        batch = rows[start : start + _AT_ONCE]
        yield from zip(batch, mistakes.test.select(batch).texts, strict=True)


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(figures.plain(text))


def _counted(texts: int) -> str:
    return write_count(texts, "text") if texts else "no text"


def _share(part: int, of: int) -> str:
    return f"{100 * part / of:.1f} %"
