from pathlib import Path

import numpy as np
import pytest

from loracle.data.cleaning import CleanTable
from loracle.data.labels import unify_labels
from loracle.errors import DataError


def table(labels) -> CleanTable:
    names = tuple(dict.fromkeys(labels))
    codes = np.array([names.index(label) for label in labels])
    empty = np.arange(len(labels))
    return CleanTable("reviews.csv", Path(), empty, empty.astype(np.uint64), codes, names, ())


def unify(**splits):
    return unify_labels({name: table(labels) for name, labels in splits.items()}, "label")


def test_words_are_sorted_as_words_and_integers_as_numbers():
    assert unify(train=["b", "a", "b"])[0] == ("a", "b")
    assert unify(train=["10", "9", "-1"] * 5)[0] == ("-1", "9", "10")


def test_codes_point_at_the_same_names_in_every_split():
    names, tables, _ = unify(train=["b", "a", "c"], test=["c", "a"])
    assert [names[code] for code in tables["train"].codes] == ["b", "a", "c"]
    assert [names[code] for code in tables["test"].codes] == ["c", "a"]


def test_labels_that_differ_in_case_or_blanks_are_kept_and_named():
    names, _, notes = unify(train=["Good", "good ", "bad", "go od"])
    assert len(names) == 4
    assert len(notes) == 1
    assert all(name in notes[0] for name in ("'Good'", "'good '", "'go od'"))
    assert "bad" not in notes[0]


def test_whole_floats_are_read_as_integers():
    names, tables, notes = unify(train=["1.0", "0", "0.0", "1"])
    assert names == ("0", "1")
    assert tables["train"].codes.tolist() == [1, 0, 0, 1]
    assert len(notes) == 1


def test_fractions_look_like_regression():
    with pytest.raises(DataError, match="regression"):
        unify(train=["0.5", "1.5", "0.5", "1"])


def test_a_label_that_is_new_in_nearly_every_row_is_no_label():
    with pytest.raises(DataError, match=r"'label' of reviews.csv has 40 different values in 40 rows"):
        unify(train=[f"name {row}" for row in range(40)])


def test_one_label_only_is_refused():
    with pytest.raises(DataError, match="only one label, 'good'"):
        unify(train=["good"] * 9)


def test_unknown_labels_of_the_test_rows_are_named():
    with pytest.raises(DataError, match=r"test rows .* lack: 'ugly'; known: 'bad', 'good'"):
        unify(train=["good", "bad"], test=["good", "ugly"])
