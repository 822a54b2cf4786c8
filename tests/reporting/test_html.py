from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

from loracle.comparison.result import Comparison
from loracle.reporting import findings, render_html

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Reader(HTMLParser):
    """Collects texts and attributes, and what opens without closing."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data: str) -> None:
        if "script" not in self.open and "style" not in self.open:
            self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def test_page_is_well_formed(pages: dict[str, str], shape: str) -> None:
    reader = read(pages[shape])
    assert (reader.open, reader.faults) == ([], [])
    assert len(reader.ids) == len(set(reader.ids))


def test_page_is_small_and_asks_no_server(pages: dict[str, str], shape: str) -> None:
    page = pages[shape]
    assert len(page.encode()) < 1_000_000
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\((?!#)", page)
    loading = {"link", "img", "iframe", "object", "embed", "base", "form"}
    assert not [tag for tag, attrs in read(page).tags if tag in loading or "src" in attrs]


def test_page_runs_its_own_script_alone(pages: dict[str, str], shape: str) -> None:
    reader = read(pages[shape])
    assert sum(tag == "script" for tag, _ in reader.tags) == 1
    assert not [name for _, attrs in reader.tags for name in attrs if name.startswith("on")]
    policy = next(attrs["content"] for _, attrs in reader.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy


def test_hostile_names_show_as_text(pages: dict[str, str], comparisons: dict[str, Comparison]) -> None:
    reader = read(pages["hostile"])
    shown = comparisons["hostile"].name.replace("\x00", "\ufffd").replace("\u202e", "\ufffd")
    assert shown in reader.text
    assert "\x00" not in pages["hostile"]
    assert "<b>(GPU 0)</b>" in read(pages["plain"]).text


def test_verdict_comes_first_and_every_section_follows_in_order(
    pages: dict[str, str], comparisons: dict[str, Comparison]
) -> None:
    text = read(pages["plain"]).text
    verdict = comparisons["plain"].verdict
    assert verdict is not None
    parts = [
        verdict.sentence,
        "complaints.csv",
        "What each method reaches and costs",
        "OutOfMemoryError",
        "Why to believe it",
        "Pairwise tests",
        "Seeds",
        "Search for the setting",
        "Learning curves",
        "Ledger",
        "Where each method fails",
        "Confusion matrix",
        "Notes on the data",
        "12 exact duplicates",
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)


def test_every_plot_is_there_for_wide_and_narrow_pages(pages: dict[str, str]) -> None:
    tags = [tag for tag, _ in read(pages["plain"]).tags]
    assert tags.count("svg") == 6
    assert "font-family: 'DejaVu" not in pages["plain"]
    assert "#010101" not in pages["plain"]


def test_page_without_a_finished_method_says_so(pages: dict[str, str]) -> None:
    text = read(pages["none"]).text
    assert "No method finished: both failed." in text
    assert text.count("OutOfMemoryError") == 2
    assert "Where each method fails" not in text


def test_many_classes_show_the_worst_alone(pages: dict[str, str]) -> None:
    text = read(pages["many"]).text
    assert "The 15 hardest of 150 classes" in text
    assert "Confusion matrix" not in text
    assert "Most frequent mistakes" in text


def test_unmeasured_figures_show_as_dashes(pages: dict[str, str]) -> None:
    assert not re.search(r"\b(nan|None|undefined)\b", read(pages["gaps"]).text, re.IGNORECASE)


def test_captions_state_findings(comparisons: dict[str, Comparison]) -> None:
    plain = comparisons["plain"]
    assert findings.cost_finding(plain) == "lora is 3.7 points above probe and costs 7.8 times as much."
    assert "chose a setting on the edge of the grid" in findings.search_finding(plain)
    assert "5,300 test texts would settle it" in findings.detection_finding(comparisons["undecided"])
    assert findings.cost_finding(comparisons["one"]) == "lora is the only method that finished."
    assert findings.cost_finding(comparisons["none"]) == ""


def test_a_method_that_was_still_improving_is_named_beside_the_verdict(comparisons: dict[str, Comparison]) -> None:
    plain = comparisons["plain"]
    assert plain.verdict is not None
    rising = ({"epoch": 1, "accuracy": 0.5, "best": False}, {"epoch": 2, "accuracy": 0.7, "best": True})
    summaries = tuple(
        replace(summary, histories={"0": rising} if summary.method in {"probe", plain.verdict.method} else {})
        for summary in plain.summaries
    )
    changed = replace(plain, summaries=summaries)
    sentence = "probe was still improving in the last epoch: more epochs might change this."
    assert findings.caveat(changed) == sentence
    assert sentence in render_html(changed)
    assert findings.caveat(replace(plain, summaries=())) == ""


def test_settings_that_a_user_made_for_matplotlib_do_not_reach_the_pictures(comparisons: dict[str, Comparison]) -> None:
    from matplotlib import rc_context

    first = next(iter(comparisons.values()))
    with rc_context({"figure.constrained_layout.use": True, "figure.facecolor": "red"}):
        assert "<svg" in render_html(first)


def test_a_trained_method_that_gives_one_label_alone_is_named_beside_the_verdict(
    comparisons: dict[str, Comparison],
) -> None:
    plain = comparisons["plain"]
    blind = tuple(
        replace(s, histories={}, confusion=tuple((sum(row), *(0 for _ in row[1:])) for row in s.confusion))
        if s.method in {"probe", "majority"}
        else replace(s, histories={})
        for s in plain.summaries
    )
    sentence = "probe gave every test text the same label, and learned nothing else."
    assert findings.caveat(replace(plain, summaries=blind)) == sentence
