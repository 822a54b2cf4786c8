from __future__ import annotations

import numpy as np

from loracle.inspection.copies import group_copies, summarise_copies
from loracle.inspection.corpus import Corpus
from loracle.inspection.description import Overlap

from .conftest import MakeTask


def keys(*codes: int) -> np.ndarray:
    return np.array(codes, np.uint64) * np.uint64(0x9E3779B97F4A7C15)


def test_copies_are_counted_by_row_and_by_what_would_go(make_task: MakeTask) -> None:
    train = [("a", "x"), ("a", "x"), ("b", "y"), ("c", "y"), ("a", "x")]
    copies = summarise_copies(group_copies(Corpus(make_task(train)), keys(1, 1, 2, 3, 1)))
    assert (copies.texts, copies.repeats, copies.conflicting) == (3, 2, 0)
    assert copies.overlaps == ()
    assert [(example.text, example.splits, example.labels) for example in copies.examples] == [
        ("a", {"train": 3}, {"x": 3})
    ]


def test_copies_across_splits_count_for_the_later_split(make_task: MakeTask) -> None:
    task = make_task([("a", "x"), ("b", "y")], [("a", "x")], [("a", "x"), ("a", "x"), ("c", "y")])
    copies = summarise_copies(group_copies(Corpus(task), keys(1, 2, 1, 1, 1, 3)))
    assert copies.overlaps == (
        Overlap(split="validation", other="train", texts=1),
        Overlap(split="test", other="train", texts=2),
        Overlap(split="test", other="validation", texts=2),
    )


def test_equal_texts_with_other_labels_bound_the_accuracy(make_task: MakeTask) -> None:
    test = [("a", "x"), ("a", "x"), ("a", "y"), ("b", "x"), ("b", "y"), ("c", "x"), ("c", "x"), ("d", "y")]
    task = make_task([("e", "x"), ("f", "y")], [], test)
    copies = summarise_copies(group_copies(Corpus(task), keys(5, 6, 1, 1, 1, 2, 2, 3, 3, 4)))
    assert copies.conflicting == 5
    assert copies.best_accuracy == 6 / 8
    assert [example.text for example in copies.examples] == ["a", "b", "c"]


def test_another_label_in_train_does_not_bound_the_accuracy_on_test(make_task: MakeTask) -> None:
    task = make_task([("a", "x")], [], [("a", "y"), ("b", "x")])
    copies = summarise_copies(group_copies(Corpus(task), keys(1, 1, 2)))
    assert copies.conflicting == 2
    assert copies.best_accuracy == 1


def test_a_long_copy_is_shown_in_short(make_task: MakeTask) -> None:
    task = make_task([("word " * 10_000, "x"), ("word " * 10_000, "x"), ("b", "y")])
    copies = summarise_copies(group_copies(Corpus(task), keys(1, 1, 2)))
    assert len(copies.examples[0].text) == 401
    assert copies.examples[0].text.endswith("…")
