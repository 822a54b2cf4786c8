"""Runs side by side as a page, as Markdown and in the terminal: the same figures, hostile names as text."""

from __future__ import annotations

import csv
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from loracle.cli import main
from loracle.comparison.side_by_side import Entry, SideBySide, compare_runs
from loracle.errors import ConfigError
from loracle.evaluation.uncertainty import Interval
from loracle.reporting import figures, render_side_by_side, render_side_by_side_markdown, write_side_by_side
from loracle.reporting.run_findings import caveat, classes_finding, headline
from loracle.reporting.run_tables import class_table, measures_table, options_table
from loracle.reporting.side_by_side import terminal_tables

LABELS = ("<script>alert(1)</script>", "a | b", "größe 日本")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three finished runs with hostile labels and names; the last is a run of its own under another margin."""
    place = tmp_path_factory.mktemp("runs")
    with (place / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        for row in range(120):
            code = row % 3
            writer.writerow((f"{('red', 'green', 'blue')[(row // 7) % 3 if row % 5 else code]} {row}", LABELS[code]))
    for name, margin in (("a<b>", "0.01"), ("c|d", "0.02")):
        tokens = ["compare", str(place / "texts.csv"), "--methods", "majority,tfidf", "--margin", margin]
        assert main([*tokens, "--out", str(place / name)]) == 0
    shutil.copytree(place / "c|d", place / "[red] third")
    return [place / name for name in ("a<b>", "c|d", "[red] third")]


@pytest.fixture(scope="module")
def side(runs: list[Path]) -> SideBySide:
    return compare_runs(runs, methods=["tfidf", "majority", "tfidf"])


class Balance(HTMLParser):
    """Collects what is shown, and the tags that close another than the last one opened."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "input"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text += data


def test_the_page_is_well_formed_and_asks_no_server(side: SideBySide) -> None:
    page = render_side_by_side(side)
    balance = Balance(page)
    assert (balance.open, balance.faults) == ([], [])
    assert not re.search(r"https?:|@import|url\((?!#)| src=|<link", page)
    assert page.count("<script>") == 1


def test_hostile_names_stand_as_text(side: SideBySide) -> None:
    page, document = render_side_by_side(side), render_side_by_side_markdown(side)
    assert "<script>alert(1)" not in page
    assert "<b>" not in page
    for name in (*LABELS, "a<b> (tfidf)", "[red] third (tfidf)"):
        assert name in Balance(page).text
    assert "a \\| b" in document
    assert "<script>" not in document


def test_page_markdown_and_terminal_hold_the_same_figures(side: SideBySide) -> None:
    console = Console(width=200)
    with console.capture() as capture:
        for table in terminal_tables(side, width=200):
            console.print(table)
    shown = Balance(render_side_by_side(side)).text.replace("\N{NO-BREAK SPACE}", " ")
    texts = [shown, render_side_by_side_markdown(side), capture.get()]
    for entry, gap in zip(side.entries, side.differences["accuracy"], strict=True):
        assert gap is not None
        told = [figures.metric_interval("accuracy", entry.metrics["accuracy"]), entry.title]
        told += [figures.count(entry.summary.counts.head)]
        if entry is not side.entries[0]:
            told.append(figures.difference_interval("accuracy", gap))
        for text in texts:
            assert all(item in text.replace("\\", "").replace("&lt;", "<").replace("&gt;", ">") for item in told)


def test_markdown_tables_have_as_many_cells_in_each_row(side: SideBySide) -> None:
    blocks = [block for block in render_side_by_side_markdown(side).split("\n\n") if block.startswith("|")]
    assert len(blocks) > 6
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_measures_fit_the_terminal_whatever_its_width(side: SideBySide, width: int) -> None:
    console = Console(width=1000)
    with console.capture() as capture:
        for table in terminal_tables(side, width=width):
            if str(table.columns[0].header) == "":  # the pairs are one table, whose cells fold
                console.print(table)
    assert "log-loss" in capture.get()
    assert max(map(len, capture.get().splitlines())) <= width


def test_only_options_that_differ_are_in_the_table(side: SideBySide) -> None:
    table = options_table(side)
    assert table is not None
    assert [[cell.text for cell in row.cells] for row in table.rows] == [["margin", "0.01", "0.02", "0.02"]]


def test_the_headline_says_which_pairs_differ_and_who_is_highest(side: SideBySide) -> None:
    apart = sum(pair.p_holm < 0.05 for pair in side.pairs["accuracy"])
    said = headline(side)
    assert said.startswith(f"{apart or 'None'} of 3 pairs of runs differ")
    assert "a<b> (tfidf) is highest" in said


def test_the_headline_of_two_runs_is_their_difference(runs: list[Path]) -> None:
    side = compare_runs(runs[:2], methods=["majority", "tfidf"])
    gap = side.pairs["accuracy"][0].difference
    bounds = figures.difference_interval("accuracy", gap).partition(" ")[2]
    assert headline(side).startswith(
        f"c|d (tfidf) is {figures.distance('accuracy', gap.value)} above a<b> (majority) in accuracy {bounds}"
    )
    same = compare_runs(runs[1:], methods=["tfidf"])
    assert headline(same).startswith("[red] third (tfidf) is level with c|d (tfidf) in accuracy [")
    assert headline(same).endswith("(p = 1.00).")


def with_history(entry: Entry, seeds: tuple[int, ...]) -> Entry:
    """Return the entry as if its method had been trained by steps."""
    results = tuple(replace(result, history=({"epoch": 1},)) for result in entry.run.comparison.results)
    return replace(
        entry, seeds=seeds, run=replace(entry.run, comparison=replace(entry.run.comparison, results=results))
    )


def test_one_seed_of_a_method_with_chance_in_it_is_told_beside_the_headline(side: SideBySide) -> None:
    assert caveat(side) == ""
    trained = replace(side, entries=(with_history(side.entries[0], (0,)), *side.entries[1:]))
    assert caveat(trained).startswith("a<b> (tfidf) has one seed")
    assert caveat(replace(side, entries=(with_history(side.entries[0], (0, 1)),))) == ""


def test_costs_are_told_as_times_of_the_first(side: SideBySide) -> None:
    rows = {row.cells[0].text: row for row in measures_table(side).rows}
    first, second = side.entries[0].summary.counts.head, side.entries[1].summary.counts.head
    assert rows["head parameters"].cells[2].note == f"× 1/{first / second:,.0f}"
    assert rows["head parameters"].cells[3].note == ""
    assert "peak memory of the GPU" not in rows


def test_a_measure_that_a_run_lacks_is_a_dash(side: SideBySide) -> None:
    last = side.entries[-1]
    bare = replace(last, metrics={name: found for name, found in last.metrics.items() if name != "log_loss"})
    gaps = (*side.differences["log_loss"][:-1], None)
    changed = replace(side, entries=(*side.entries[:-1], bare), differences={**side.differences, "log_loss": gaps})
    row = next(row for row in measures_table(changed).rows if row.cells[0].text == "log-loss")
    assert (row.cells[-1].text, row.cells[-1].note) == (figures.MISSING, "")


def test_what_answers_cost_is_told_where_a_language_model_was_asked(side: SideBySide) -> None:
    first = side.entries[0]
    comparison = first.run.comparison
    told = tuple(replace(item, answers={"cost": 0.1234, "currency": "USD"}) for item in comparison.summaries)
    asked = replace(first, run=replace(first.run, comparison=replace(comparison, summaries=told)))
    table = measures_table(replace(side, entries=(asked, *side.entries[1:])))
    row = next(row for row in table.rows if row.cells[0].text == "cost of the answers")
    assert [cell.text for cell in row.cells[1:]] == ["0.1234 USD", figures.MISSING, figures.MISSING]
    assert "cost of the answers" not in {row.cells[0].text for row in measures_table(side).rows}


def test_the_class_in_which_runs_lie_furthest_apart_comes_first(side: SideBySide) -> None:
    spreads = {
        label: max(scores) - min(scores)
        for label, scores in (
            (side.label_names[place], [entry.per_class[place]["f1"] for entry in side.entries]) for place in range(3)
        )
    }
    assert max(spreads, key=lambda label: spreads[label]) in classes_finding(side)


def test_of_many_classes_those_are_shown_in_which_runs_lie_furthest_apart(side: SideBySide) -> None:
    base = side.entries[0].per_class[0]
    spread = [[{**base, "f1": 0.9} for _ in range(25)], [{**base, "f1": 0.9 - place / 100} for place in range(25)]]
    entries = tuple(replace(entry, per_class=tuple(told)) for entry, told in zip(side.entries[:2], spread, strict=True))
    many = replace(side, label_names=tuple(f"class {place}" for place in range(25)), entries=entries)
    assert "furthest apart on “class 24”" in classes_finding(many)
    assert "The 15 of 25 classes" in classes_finding(many)
    assert [row.cells[0].text for row in class_table(many, "f1").rows] == [f"class {24 - rank}" for rank in range(15)]


def test_both_files_are_written_and_nothing_else_is_written_over(side: SideBySide, tmp_path: Path) -> None:
    written = write_side_by_side(side, tmp_path / "side.md")
    assert [path.name for path in written] == ["side.html", "side.md"]
    first = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in write_side_by_side(side, tmp_path / "side.html")] == first
    (tmp_path / "README.md").write_text("# Years of work with loracle compare-runs", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"README\.md is there and was not written by this command"):
        write_side_by_side(side, tmp_path / "README.html")
    assert not (tmp_path / "README.html").exists()
    with pytest.raises(ConfigError, match=r"ends in \.html or \.md"):
        write_side_by_side(side, tmp_path / "side.pdf")


def test_intervals_of_nothing_are_level(side: SideBySide) -> None:
    nothing = Interval(value=0.0, low=0.0, high=0.0)
    assert all(gaps[0] == nothing for gaps in side.differences.values())
