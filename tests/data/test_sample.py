"""The embedded data is what its card says."""

from __future__ import annotations

import csv
import re
from collections import Counter

import pytest

from loracle.data.sources import SAMPLE

PER_LABEL = {"train": 42, "validation": 12, "test": 30}
RUN = 8

Rows = list[tuple[str, str]]


@pytest.fixture(scope="module")
def splits() -> dict[str, Rows]:
    """Return (text, label) of every row by split."""
    return {name: read(name) for name in PER_LABEL}


def read(split: str) -> Rows:
    with (SAMPLE / f"{split}.csv").open(newline="", encoding="utf-8") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


def every_text(splits: dict[str, Rows]) -> list[str]:
    return [text for rows in splits.values() for text, _ in rows]


def words(text: str) -> list[str]:
    """Return the words without case and punctuation."""
    return re.findall(r"\w+", text.casefold())


def test_nine_classes_have_at_least_eighty_texts_each(splits: dict[str, Rows]) -> None:
    counts = Counter(label for rows in splits.values() for _, label in rows)
    assert len(counts) == 9
    assert min(counts.values()) >= 80


def test_every_split_has_the_same_number_of_each_class(splits: dict[str, Rows]) -> None:
    for split, rows in splits.items():
        assert set(Counter(label for _, label in rows).values()) == {PER_LABEL[split]}


def test_texts_have_fifteen_to_ninety_words(splits: dict[str, Rows]) -> None:
    lengths = [len(text.split()) for text in every_text(splits)]
    assert min(lengths) >= 15
    assert max(lengths) <= 90


def test_no_two_texts_share_a_run_of_eight_words(splits: dict[str, Rows]) -> None:
    first: dict[tuple[str, ...], int] = {}
    for number, text in enumerate(every_text(splits)):
        for run in runs(words(text)):
            assert first.setdefault(run, number) == number, " ".join(run)


def runs(spoken: list[str]) -> list[tuple[str, ...]]:
    return [tuple(spoken[start : start + RUN]) for start in range(len(spoken) - RUN + 1)]


def test_no_text_stands_in_two_splits_or_twice_in_one(splits: dict[str, Rows]) -> None:
    texts = [" ".join(words(text)) for text in every_text(splits)]
    assert len(set(texts)) == len(texts)


def test_the_card_names_every_class_and_the_number_of_texts(splits: dict[str, Rows]) -> None:
    card = (SAMPLE / "DATACARD.md").read_text(encoding="utf-8")
    assert f"{len(every_text(splits))}" in card
    assert all(label in card for label in {label for _, label in splits["train"]})
