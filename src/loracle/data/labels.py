"""The names of the labels: one list for all splits, in order, and whether it can be one at all."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from loracle.data.cleaning import CleanTable
from loracle.errors import DataError

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_INTEGER = re.compile(r"[+-]?\d{1,18}")
_MOST_FLOATS = 20  # different whole numbers with a point, as 3.0, that are still believed to be classes


def unify_labels(
    tables: Mapping[str, CleanTable], column: str
) -> tuple[tuple[str, ...], dict[str, CleanTable], tuple[str, ...]]:
    """Return the sorted label names of the train table, all tables with codes into them, and warnings.

    Raises DataError for labels that are numbers with fractions, or many with a point, a column that is different in
    nearly every row, one label only, and a label that only validation or test have.
    """
    shown, notes = _without_zero_fractions(tables, column)
    train = tables["train"]
    names = sort_labels({shown[name] for name in train.label_names})
    _check_names(names, sum(len(table.codes) for table in tables.values()), train.source, column)
    _check_known(tables, names, shown)
    place = {name: code for code, name in enumerate(names)}
    coded = {
        split: _recode(table, [place[shown[name]] for name in table.label_names], len(names))
        for split, table in tables.items()
    }
    return names, coded, notes + _alike(names)


def sort_labels(names: set[str]) -> tuple[str, ...]:
    """Return the names in order: as numbers if all are integers, else as text.

    >>> sort_labels({"10", "9", "-1"})
    ('-1', '9', '10')
    """
    if all(_INTEGER.fullmatch(name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _without_zero_fractions(tables: Mapping[str, CleanTable], column: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return how each label is shown: "1.0" as "1" where all labels are whole numbers, else unchanged."""
    names = sorted({name for table in tables.values() for name in table.label_names})
    numbers = all(_NUMBER.fullmatch(name) for name in names)
    if not numbers or all(_INTEGER.fullmatch(name) for name in names):
        return {name: name for name in names}, ()
    broken = [name for name in names if not float(name).is_integer()]
    if broken:
        raise DataError(
            f"the label column {column!r} holds numbers with fractions ({', '.join(broken[:3])}), which looks like "
            "regression; give classes as words or integers, or name another column with --label-column"
        )
    if len(names) > _MOST_FLOATS:
        low, *_, high = sorted(map(float, names))
        raise DataError(
            f"the label column {column!r} holds {len(names):,} different numbers from {low:g} to {high:g} written with "
            "a point, which looks like regression; give classes as words or integers, or name another column with "
            "--label-column"
        )
    return {name: str(int(float(name))) for name in names}, (f"Labels such as {names[0]} were read as whole numbers.",)


def _check_names(names: Sequence[str], rows: int, source: str, column: str) -> None:
    if not names:
        raise DataError(f"no row of {source} has a label in {column!r}; at least two different ones are needed")
    if len(names) == 1:
        raise DataError(f"{source} has only one label, {names[0]!r}, in {column!r}; at least two are needed")
    if len(names) > max(10, rows // 2):
        numbers = " (numbers, which looks like regression)" if all(map(_NUMBER.fullmatch, names)) else ""
        raise DataError(
            f"{column!r} of {source} has {len(names):,} different values in {rows:,} rows{numbers}, too many for "
            "labels; name another column with --label-column"
        )


def _check_known(tables: Mapping[str, CleanTable], names: Sequence[str], shown: Mapping[str, str]) -> None:
    for split, table in tables.items():
        strange = sorted({shown[name] for name in table.label_names} - set(names))
        if strange:
            raise DataError(
                f"the {split} rows ({table.source}) have labels that the train rows lack: {list_labels(strange)}; "
                f"known: {list_labels(names)}; rename or drop them"
            )


def list_labels(names: Sequence[str]) -> str:
    """Return up to ten names in quotes for a message."""
    shown = ", ".join(repr(name) for name in names[:10])
    return f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown


def _recode(table: CleanTable, places: list[int], labels: int) -> CleanTable:
    return replace(table, codes=move_labels(table.codes, places, labels))


def move_labels(labels: npt.NDArray[Any], places: Sequence[int], size: int) -> npt.NDArray[Any]:
    """Return labels with label i at `places[i]`: codes (rows,), or of several a text 0 and 1, (rows, size).

    >>> move_labels(np.array([0, 1, 2]), [1, 0, 1], 2).tolist()
    [1, 0, 1]
    """
    if labels.ndim == 1:
        codes: npt.NDArray[np.int64] = np.array(places, np.int64)[labels]
        return codes
    moved = np.zeros((len(labels), size), np.uint8)
    for place, column in zip(places, labels.T, strict=True):
        moved[:, place] |= column
    return moved


def _alike(names: Sequence[str]) -> tuple[str, ...]:
    folded: dict[str, list[str]] = {}
    for name in names:
        folded.setdefault("".join(name.casefold().split()), []).append(name)
    groups = ["/".join(map(repr, alike)) for alike in folded.values() if len(alike) > 1]
    if not groups:
        return ()
    return (f"Labels that differ only in case or blanks were kept apart: {', '.join(groups)}.",)
