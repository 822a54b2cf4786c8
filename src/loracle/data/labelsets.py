"""Several labels in one cell: how they are written, and what they are read as.

A cell is a list (Parquet, JSON lines), a JSON list in a string, or words with a separator between them. Whatever it
was, it is read as one string: the JSON list of its labels, sorted, each once, so that equal sets are equal strings.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from loracle.errors import ConfigError, DataError

_EXAMPLE = '["late", "rude"]'
_BITS = frozenset({"0", "1", "0.0", "1.0", "False", "True"})


def holds_label_sets(column: pa.Array, separator: str | None) -> bool:
    """Say from the first rows of a label column whether it holds several labels a text: on request, or by itself.

    Raises ConfigError for a separator that is empty, or where there are lists already.
    """
    if separator == "":
        raise ConfigError("label_separator is empty; give the sign between two labels, for example ';'")
    lists = is_list(column.type) or _are_json_lists(column)
    if lists and separator is not None:
        raise ConfigError(f"label_separator is {separator!r}, but the labels are lists already; leave it out")
    return lists or separator is not None


def check_names_labels(column: pa.Array, separator: str | None, name: str, source: str) -> None:
    """Raise DataError where the first rows of a label column hold one 0 or 1 a label instead of names."""
    rows = [_spell(cell, separator) for cell in column.to_pylist() if cell is not None and str(cell).strip()]
    sizes = {len(row) for row in rows}
    if len(sizes) == 1 and max(sizes) > 1 and all(_BITS.issuperset(row) for row in rows):
        raise DataError(
            f"column {name!r} of {source} looks like one 0 or 1 a label; write the names of the labels that a text "
            f"has, such as {_EXAMPLE}"
        )


def is_list(kind: pa.DataType) -> bool:
    """Say whether a column's type is a list of values."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def write_label_set(names: Sequence[str]) -> str:
    """Return a set of labels as the string that it is read as.

    >>> write_label_set(["rude", "late", "rude"])
    '["late", "rude"]'
    """
    return json.dumps(sorted(set(names)), ensure_ascii=False)


def read_label_sets(
    column: pa.Array, separator: str | None, class_names: Sequence[str] | None, name: str, source: str, first_row: int
) -> pa.StringArray:
    """Return each cell as the string of its set; null stays null, and "" is an empty set where there is a separator.

    Raises DataError that names the row for a cell that is no list of words or whole numbers.
    """
    cells = enumerate(column.to_pylist(), first_row)
    return pa.array((_read(cell, separator, class_names, name, source, row) for row, cell in cells), pa.string())


def spread_label_sets(sets: Sequence[str], codes: npt.NDArray[np.int64]) -> tuple[tuple[str, ...], npt.NDArray[Any]]:
    """Return the labels of all sets, and of each row whose set `codes` tells which of them it has: 0 or 1, uint8.

    >>> names, labels = spread_label_sets(['["late"]', '[]', '["late", "rude"]'], np.array([2, 1, 0]))
    >>> names, labels.tolist()
    (('late', 'rude'), [[1, 1], [0, 0], [1, 0]])
    """
    parsed = [json.loads(item) for item in sets]
    places = {name: place for place, name in enumerate(dict.fromkeys(name for names in parsed for name in names))}
    matrix = np.zeros((len(parsed), len(places)), np.uint8)
    for row, names in enumerate(parsed):
        matrix[row, [places[name] for name in names]] = 1
    return tuple(places), matrix[codes]


def describe_label_sets(labels: Sequence[npt.NDArray[Any]]) -> Iterator[str]:
    """Yield a sentence on how many labels a text has, over the rows of all tables."""
    sizes = np.concatenate([table.sum(axis=1) for table in labels])
    none = int((sizes == 0).sum())
    yield (
        f"A text may have several labels: {sizes.mean():.2f} on average, {sizes.max()} at most; "
        f"{none:,} texts have none."
    )


def _spell(cell: Any, separator: str | None) -> list[str]:
    """Return the items of a cell as strings, whatever they are; none where the cell is no list."""
    if isinstance(cell, str) and separator:
        return [part.strip() for part in cell.split(separator)]
    value = _parse_json(cell) if isinstance(cell, str) else cell
    return list(map(str, value)) if isinstance(value, list) else []


def _are_json_lists(column: pa.Array) -> bool:
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return False
    cells = [cell for cell in column.to_pylist() if cell is not None and cell.strip()]
    return bool(cells) and all(_parse_list(cell) is not None for cell in cells)


def _parse_list(cell: str) -> list[Any] | None:
    """Return the list of names that a string holds, None where it is anything else."""
    value = _parse_json(cell)
    return value if isinstance(value, list) and all(_is_name(item) for item in value) else None


def _parse_json(cell: str) -> Any:
    """Return the list that a string holds, None where it is no JSON list."""
    if not cell.lstrip().startswith("["):
        return None
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return None


def _is_name(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _read(
    cell: Any, separator: str | None, class_names: Sequence[str] | None, name: str, source: str, row: int
) -> str | None:
    if cell is None or (separator is None and isinstance(cell, str) and not cell.strip()):
        return None
    if separator is not None:
        found: list[Any] | None = [part.strip() for part in str(cell).split(separator)]
    elif isinstance(cell, str):
        found = _parse_list(cell)
    else:
        found = cell if isinstance(cell, list) and all(_is_name(item) for item in cell) else None
    if found is None:
        raise DataError(f"row {row} of {source} holds {_cut(cell)} in {name!r}, no list of labels such as {_EXAMPLE}")
    return write_label_set([text for item in found if (text := _name(item, class_names, name, source)).strip()])


def _name(item: str | int, class_names: Sequence[str] | None, name: str, source: str) -> str:
    if class_names is None or isinstance(item, str):
        return str(item)
    if not 0 <= item < len(class_names):
        raise DataError(f"column {name!r} of {source} holds {item}, but it names only {len(class_names)} classes")
    return class_names[item]


def _cut(cell: Any) -> str:
    shown = repr(cell)
    return shown if len(shown) <= 60 else f"{shown[:60]}…"
