"""The page and the CSV of a run's mistakes: complete, escaped, filtered without a server, with the ends of texts."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from rich.console import Console

from loracle.comparison.mistakes import Answers, Mistakes, list_all_wrong, list_disagreements, list_wrong
from loracle.data.task import Split
from loracle.errors import ConfigError
from loracle.reporting import render_mistakes, write_mistakes
from loracle.reporting.mistakes import headline, kinds_table, list_finding, suspects_finding, top_lines

HOSTILE = "<script>alert('x')</script> & \"q\" ${1} \x00 日本語 \u202e =cmd|'/c calc'!A1"
LONG = "It began so well. " + "And then it went on. " * 80 + "In the end I returned it."
LABELS = ("fine & good", "</option><b>bad</b>", "so-so")
TEXTS = [f"text number {row} with some words" for row in range(40)]
TEXTS[3], TEXTS[6], TEXTS[9] = HOSTILE, LONG, "two\nlines, with a comma"


def mistakes(texts: list[str] = TEXTS) -> Mistakes:
    """Return the mistakes of three methods of which the last gives every text the same label."""
    draw = np.random.default_rng(5)
    rows = datasets.Dataset.from_dict(
        {"id": range(100, 100 + len(texts)), "text": texts, "label": draw.integers(0, 3, len(texts))}
    )
    test = Split("test", rows)
    said = [np.where(draw.random(len(texts)) < 0.5, test.labels, draw.integers(0, 3, len(texts))) for _ in range(2)]
    said[0][3], said[0][6] = (test.labels[3] + 1) % 3, (test.labels[6] + 1) % 3
    said[1][5] = -1
    said.append(np.zeros(len(texts), dtype=np.int64))
    answers = []
    for name, predicted in zip(("tfidf", "llm:<i>", "majority"), said, strict=True):
        sure = np.where(predicted < 0, 0.0, draw.uniform(0.4, 1, len(texts)))
        answers.append(Answers(method=name, seed=0, predicted=predicted, confidence=sure))
    return Mistakes(
        folder=Path("runs/reviews"),
        name="reviews",
        method="tfidf",
        label_names=LABELS,
        test=test,
        answers=tuple(answers),
        wrong=tuple(list_wrong(test.labels, item) for item in answers),
        disagree=list_disagreements(test.labels, answers[0], answers[1]),
        all_wrong=list_all_wrong(test.labels, answers[:2]),
        left_out={"majority": "one label for all texts"},
    )


@pytest.fixture(scope="module")
def found() -> Mistakes:
    return mistakes()


@pytest.fixture(scope="module")
def page(found: Mistakes) -> str:
    return render_mistakes(found)


def entries(page: str) -> list[dict[str, Any]]:
    """Return each text of the page with its place in every list."""
    items = re.findall(
        r'<li data-ranks="([^"]*)" data-label="(\d+)" data-read="([^"]*)"( hidden)?>(.*?)</ul>', page, re.S
    )
    return [
        {
            "ranks": {int(pair.split(":")[0]): int(pair.split(":")[1]) for pair in ranks.split()},
            "label": int(label),
            "read": [int(code) for code in read.split()],
            "hidden": bool(hidden),
            "id": int(re.findall(r"row (\d+)", body)[0]),
            "body": body,
        }
        for ranks, label, read, hidden, body in items
    ]


def test_every_list_is_on_the_page_in_its_order(page: str, found: Mistakes) -> None:
    assert found.disagree is not None
    assert found.all_wrong is not None
    held = entries(page)
    for place, listing in enumerate((*found.wrong, found.disagree, found.all_wrong)):
        inside = sorted((item for item in held if place in item["ranks"]), key=lambda item: item["ranks"][place])
        assert [item["id"] for item in inside] == found.test.ids[listing.rows].tolist()
    assert len(held) == len({item["id"] for item in held})


def test_a_text_shows_its_label_and_what_every_method_read(page: str, found: Mistakes) -> None:
    for item in entries(page):
        row = item["id"] - 100
        assert item["label"] == found.test.labels[row]
        assert item["read"] == [answers.predicted[row] for answers in found.answers]
        said = re.findall(r'<li class="(right|wrong)', item["body"])
        assert said == ["right" if code == item["label"] else "wrong" for code in item["read"]]


def test_without_a_script_the_methods_own_mistakes_are_shown(page: str, found: Mistakes) -> None:
    shown = [item["id"] for item in entries(page) if not item["hidden"]]
    assert shown == found.test.ids[found.wrong[0].rows].tolist()


def test_the_page_holds_no_more_of_each_list_than_it_says(found: Mistakes) -> None:
    page = render_mistakes(found, rows=4)
    held = entries(page)
    for place in range(4):
        assert sorted(item["ranks"][place] for item in held if place in item["ranks"]) == [0, 1, 2, 3]
    assert "This page holds the first 4 of them" in page


def test_beginning_and_end_of_a_long_text_are_on_the_page_and_the_middle_is_not(page: str) -> None:
    text = unescape(page)
    assert "It began so well." in text
    assert "In the end I returned it." in text
    assert LONG not in text


def test_hostile_texts_and_names_stand_on_the_page_as_text(page: str) -> None:
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert "<b>bad" not in page
    assert "<i>" not in page
    assert "\x00" not in page
    assert "\u202e" not in page


def test_the_page_asks_no_server_and_runs_its_own_script_alone(page: str) -> None:
    assert not re.search(r"https?:|@import|url\((?!#)| src=|<link|<form|<iframe", page)
    assert page.count("<script>") == 1
    assert "default-src 'none'" in page


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs a browser")
def test_the_filters_choose_list_method_labels_and_words(page: str, found: Mistakes, tmp_path: Path) -> None:
    asked = [
        {"kind": "", "method": "1"},
        {"kind": "3", "method": "1", "read": "-1"},
        {"kind": "4"},
        {"label": "2", "read": "0"},
        {"search": "NUMBER words 1"},
    ]
    driver = """<script>
    const found = [...document.querySelectorAll("#texts select, #texts input")];
    const fields = Object.fromEntries(found.map((field) => [field.name, field]));
    const start = Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.value]));
    const shown = ASKED.map((wanted) => {
      for (const [name, field] of Object.entries(fields)) {
        field.value = wanted[name] ?? start[name];
        field.dispatchEvent(new Event("input"));
      }
      const items = [...document.querySelectorAll("ol.texts > li:not([hidden])")];
      return items.map((item) => Number(item.querySelector("small").textContent.slice(4)));
    });
    document.body.textContent = JSON.stringify(shown);
    </script></body>""".replace("ASKED", json.dumps(asked))
    free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page).replace("</body>", driver)
    (tmp_path / "page.html").write_text(free, encoding="utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--dump-dom", (tmp_path / "page.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    shown = json.loads(unescape(re.findall(r"<body>(.*?)</body>", done.stdout, re.S)[0]))
    labels, ids, said = found.test.labels, found.test.ids, [item.predicted for item in found.answers]
    assert found.disagree is not None
    assert found.all_wrong is not None
    own = found.wrong[0].rows
    words = [all(word in TEXTS[row] for word in ("number", "words", "1")) for row in own]
    assert shown == [
        ids[found.wrong[1].rows].tolist(),
        [int(ids[row]) for row in found.disagree.rows if said[1][row] == -1],
        ids[found.all_wrong.rows].tolist(),
        [int(ids[row]) for row in own if labels[row] == 2 and said[0][row] == 0],
        [int(ids[row]) for row, kept in zip(own, words, strict=True) if kept],
    ]
    assert all(shown)


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_csv_holds_the_lists_asked_for_with_whole_texts(found: Mistakes, tmp_path: Path) -> None:
    write_mistakes(found, tmp_path / "errors.csv")
    rows = read_csv(tmp_path / "errors.csv")
    for listing in found.listings:
        own = [row for row in rows if row["kind"] == listing.kind]
        assert [int(row["id"]) for row in own] == found.test.ids[listing.rows].tolist()
        assert [row["text"] for row in own] == [TEXTS[place] for place in listing.rows]
        assert {row["methods"] for row in own} == {", ".join(listing.methods)}
        sure = [float(row["confidence"]) for row in own]
        assert sure == sorted(sure, reverse=True)
    assert len(rows) == sum(len(listing.rows) for listing in found.listings)


def test_the_csv_says_what_every_method_predicted_and_how_a_long_text_ends(found: Mistakes, tmp_path: Path) -> None:
    write_mistakes(found, tmp_path / "errors.csv")
    by_id = {int(row["id"]): row for row in read_csv(tmp_path / "errors.csv")}
    assert by_id[106]["excerpt"].startswith("It began so well.")
    assert by_id[106]["excerpt"].endswith("In the end I returned it.")
    assert len(by_id[106]["excerpt"]) < len(LONG)
    for id_, row in by_id.items():
        for answers in found.answers:
            code = answers.predicted[id_ - 100]
            assert row[f"predicted_{answers.method}"] == (LABELS[code] if code >= 0 else "")
    assert by_id[105]["probability_llm:<i>"] == ""


def test_what_was_not_written_here_is_left_alone(found: Mistakes, tmp_path: Path) -> None:
    for name, content in (("notes.csv", "text,label\na,b\n"), ("index.html", "<!doctype html><title>Home</title>")):
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        with pytest.raises(ConfigError, match="was not written by this command"):
            write_mistakes(found, path)
        assert path.read_text(encoding="utf-8") == content


@pytest.mark.parametrize("name", ["errors.csv", "errors.html"])
def test_an_earlier_file_of_its_own_is_replaced_by_the_same_bytes(found: Mistakes, tmp_path: Path, name: str) -> None:
    write_mistakes(found, tmp_path / name)
    first = (tmp_path / name).read_bytes()
    write_mistakes(found, tmp_path / name)
    assert (tmp_path / name).read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_other_suffixes_folders_and_no_rows_are_refused(found: Mistakes, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ends in \.html or \.csv"):
        write_mistakes(found, tmp_path / "errors.json")
    with pytest.raises(ConfigError, match="a folder; give a file"):
        write_mistakes(found, tmp_path)
    with pytest.raises(ConfigError, match="rows is 0"):
        write_mistakes(found, tmp_path / "errors.html", rows=0)
    assert list(tmp_path.iterdir()) == []


def test_sentences_count_what_the_lists_hold(found: Mistakes) -> None:
    assert found.disagree is not None
    assert found.all_wrong is not None
    amount = len(found.wrong[0].rows)
    assert headline(found) == f"tfidf gets {amount} of 40 test texts wrong ({100 * amount / 40:.1f} %)."
    labels = found.test.labels
    right = [sum(item.predicted[row] == labels[row] for row in found.disagree.rows) for item in found.answers[:2]]
    assert f"tfidf is right on {right[0]}, llm:<i> on {right[1]}" in list_finding(found, found.disagree)
    assert f"both get {len(found.all_wrong.rows)} texts wrong" in suspects_finding(found)


def test_a_run_without_a_mistake_says_so(found: Mistakes, tmp_path: Path) -> None:
    own = replace(found.answers[0], predicted=found.test.labels)
    listing = list_wrong(found.test.labels, own)
    perfect = replace(found, answers=(own,), wrong=(listing,), disagree=None, all_wrong=None, left_out={})
    page = render_mistakes(perfect)
    assert "tfidf gets all 40 test texts right." in page
    assert "No text is in these lists." in page
    write_mistakes(perfect, tmp_path / "errors.csv")
    assert read_csv(tmp_path / "errors.csv") == []
    assert top_lines(perfect, width=80) == []


@pytest.mark.parametrize("width", [40, 100])
def test_the_terminal_shows_ends_of_texts_within_its_width(found: Mistakes, width: int) -> None:
    lines = top_lines(found, width=width, rows=100)
    assert len(lines) == 2 * len(found.wrong[0].rows)
    assert max(map(len, lines)) <= width
    assert any(line.endswith("I returned it.") for line in lines)


def test_the_terminal_counts_every_kind(found: Mistakes) -> None:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(kinds_table(found))
    for listing in found.listings:
        assert str(len(listing.rows)) in capture.get()
    assert "tfidf and llm:<i> disagree" in capture.get()
