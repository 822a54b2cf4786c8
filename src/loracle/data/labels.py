"""The names of the labels: one list for all splits, in order, and whether it can be one at all."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from loracle.data.cleaning import CleanTable
from loracle.errors import DataError

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_INTEGER = re.compile(r"[+-]?\d{1,18}")


def unify_labels(
    tables: Mapping[str, CleanTable], column: str
) -> tuple[tuple[str, ...], dict[str, CleanTable], tuple[str, ...]]:
    """Return the sorted label names of the train table, all tables with codes into them, and warnings.

    Raises DataError for labels that are numbers with fractions, a column that is different in nearly every row,
    one label only, and a label that only validation or test have.
    """
    shown, notes = _without_zero_fractions(tables, column)
    train = tables["train"]
    names = sort_labels({shown[name] for name in train.label_names})
    _check_names(names, sum(len(table.codes) for table in tables.values()), train.source, column)
    _check_known(tables, names, shown)
    place = {name: code for code, name in enumerate(names)}
    coded = {
        split: _recode(table, [place[shown[name]] for name in table.label_names]) for split, table in tables.items()
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
    return {name: str(int(float(name))) for name in names}, (f"Labels such as {names[0]} were read as whole numbers.",)


def _check_names(names: Sequence[str], rows: int, source: str, column: str) -> None:
    if len(names) == 1:
        raise DataError(f"{source} has only one label, {names[0]!r}, in {column!r}; at least two are needed")
    if len(names) > max(10, rows // 2):
        raise DataError(
            f"{column!r} of {source} has {len(names):,} different values in {rows:,} rows, too many for labels; "
            "name another column with --label-column"
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


def _recode(table: CleanTable, places: list[int]) -> CleanTable:
    return replace(table, codes=np.array(places, np.int64)[table.codes])


def _alike(names: Sequence[str]) -> tuple[str, ...]:
    folded: dict[str, list[str]] = {}
    for name in names:
        folded.setdefault("".join(name.casefold().split()), []).append(name)
    groups = ["/".join(map(repr, alike)) for alike in folded.values() if len(alike) > 1]
    if not groups:
        return ()
    return (f"Labels that differ only in case or blanks were kept apart: {', '.join(groups)}.",)
