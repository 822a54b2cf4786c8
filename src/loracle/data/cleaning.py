"""Rows that can be used: text and label present, valid, and each text's key for telling copies apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from loracle.data.storage import write_batches
from loracle.errors import DataError

_LONG_BYTES = 1_000_000
_TEXTS = pa.schema([("text", pa.string())])


@dataclass(frozen=True)
class CleanTable:
    """The usable rows of one table: texts in an Arrow file, everything else in arrays of one value a row.

    `keys` are 64-bit hashes of the texts without blanks around them: equal texts have equal keys. `codes` are
    indices into `label_names`, which stand here in the order of their first row.
    """

    source: str
    path: Path
    ids: npt.NDArray[np.int64]
    keys: npt.NDArray[np.uint64]
    codes: npt.NDArray[np.int64]
    label_names: tuple[str, ...]
    notes: tuple[str, ...]


def clean(
    batches: Iterable[pa.RecordBatch], text: str, label: str, *, source: str, strict: bool, path: Path
) -> CleanTable:
    """Write the texts of all usable rows to `path` and return the table over them.

    Rows without text or label are dropped and counted in the notes, or refused if `strict`. Raises DataError for
    bytes that are no text, for labels that are lists, and where no row is left.
    """
    draft = _Draft(source, strict)
    write_batches(path, _TEXTS, draft.add_all(batches, text, label))
    if not draft.rows:
        raise DataError(f"{source} has no rows below its column names; it needs a text and a label on every row")
    if not draft.names:
        raise DataError(f"no row of {source} has both a text in {text!r} and a label in {label!r}")
    return CleanTable(
        source=source,
        path=path,
        ids=np.concatenate(draft.ids),
        keys=np.concatenate(draft.keys),
        codes=np.concatenate(draft.codes),
        label_names=tuple(draft.names),
        notes=tuple(draft.notes(text, label)),
    )


def text_array(column: pa.Array, name: str, source: str, first_row: int) -> pa.StringArray:
    """Return a column as valid UTF-8 strings without zero bytes; raises DataError that names the row."""
    if not _is_texts(column.type):
        raise DataError(f"column {name!r} of {source} holds {column.type}, not text; name another with --text-column")
    return _strings(column, name, source, first_row)


@dataclass
class _Draft:
    """The arrays of a table while its batches come in."""

    source: str
    strict: bool
    rows: int = 0
    without_text: int = 0
    without_label: int = 0
    long: int = 0
    names: dict[str, int] = field(default_factory=dict)
    ids: list[npt.NDArray[np.int64]] = field(default_factory=list)
    keys: list[npt.NDArray[np.uint64]] = field(default_factory=list)
    codes: list[npt.NDArray[np.int64]] = field(default_factory=list)

    def add_all(self, batches: Iterable[pa.RecordBatch], text: str, label: str) -> Iterator[pa.RecordBatch]:
        """Take in every batch and yield the texts of its usable rows."""
        for batch in batches:
            first_row = self.rows + 1
            texts = text_array(batch.column(text), text, self.source, first_row)
            labels = _label_array(batch, label, self.source, first_row)
            usable = self._usable(texts, labels)
            self.rows += len(texts)
            yield self._add(texts.filter(usable), labels.filter(usable), np.flatnonzero(usable) + first_row - 1)

    def notes(self, text: str, label: str) -> Iterator[str]:
        """Yield a sentence for what was dropped and for texts of a megabyte."""
        if self.without_text:
            yield f"{_count(self.without_text, 'row')} of {self.source} without text in {text!r} dropped."
        if self.without_label:
            yield f"{_count(self.without_label, 'row')} of {self.source} without label in {label!r} dropped."
        if self.long:
            yield (
                f"{_count(self.long, 'text')} of {self.source} longer than a megabyte kept; "
                "only the part that fits the maximum length is read."
            )

    def _usable(self, texts: pa.StringArray, labels: pa.StringArray) -> pa.BooleanArray:
        no_text, no_label = _blank(texts), _blank(labels)
        missing = pc.or_(no_text, no_label)
        if self.strict and pc.any(missing).as_py():
            rows = ", ".join(str(self.rows + 1 + row) for row in np.flatnonzero(missing)[:5])
            raise DataError(
                f"rows without text or label in {self.source} (counted from 1, below the header): {rows}; "
                "fill them, or leave out --strict to drop them"
            )
        self.without_text += pc.sum(no_text).as_py() or 0
        self.without_label += pc.sum(pc.and_not(no_label, no_text)).as_py() or 0
        return pc.invert(missing)

    def _add(self, texts: pa.StringArray, labels: pa.StringArray, ids: npt.NDArray[np.int64]) -> pa.RecordBatch:
        encoded = labels.dictionary_encode()
        codes = [self.names.setdefault(name, len(self.names)) for name in encoded.dictionary.to_pylist()]
        self.codes.append(np.array(codes, np.int64)[encoded.indices.to_numpy()])
        self.keys.append(np.fromiter(map(_key, texts.to_pylist()), np.uint64, len(texts)))
        self.ids.append(ids)
        self.long += pc.sum(pc.greater_equal(pc.binary_length(texts), _LONG_BYTES)).as_py() or 0
        return pa.RecordBatch.from_arrays([texts], schema=_TEXTS)


def _label_array(batch: pa.RecordBatch, name: str, source: str, first_row: int) -> pa.StringArray:
    column = batch.column(name)
    class_names = _class_names(batch.schema, name)
    if class_names and pa.types.is_integer(column.type):
        return _named(column, class_names, name, source)
    if pa.types.is_nested(column.type):
        raise DataError(f"column {name!r} of {source} holds {column.type}; one label a row is needed")
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    return _strings(column, name, source, first_row)


def _class_names(schema: pa.Schema, name: str) -> list[str] | None:
    """Return the names that `datasets` stores beside a ClassLabel column."""
    stored = (schema.metadata or {}).get(b"huggingface")
    if stored is None:
        return None
    feature = json.loads(stored).get("info", {}).get("features", {}).get(name, {})
    return feature.get("names") if isinstance(feature, dict) else None


def _named(column: pa.Array, class_names: list[str], name: str, source: str) -> pa.StringArray:
    column = pc.if_else(pc.equal(column, -1), None, column)
    highest = pc.max(column).as_py()
    if highest is not None and not 0 <= highest < len(class_names):
        raise DataError(f"column {name!r} of {source} holds {highest}, but it names only {len(class_names)} classes")
    return pa.array(class_names, pa.string()).take(column)


def _is_texts(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    names = ("string", "large_string", "string_view", "binary", "large_binary", "binary_view", "null")
    return str(kind) in names


def _strings(column: pa.Array, name: str, source: str, first_row: int) -> pa.StringArray:
    try:
        strings = column.cast(pa.string())
        strings.validate(full=True)
    except pa.ArrowNotImplementedError as error:
        raise DataError(f"column {name!r} of {source} holds {column.type}, which is neither text nor label") from error
    except pa.ArrowInvalid as error:
        row = first_row + next(row for row, value in enumerate(column.cast(pa.binary())) if not _is_utf8(value))
        raise DataError(f"row {row} of {source} holds binary bytes in {name!r}, not UTF-8; mend or drop it") from error
    _check_zeros(strings, name, source, first_row)
    return strings


def _check_zeros(strings: pa.StringArray, name: str, source: str, first_row: int) -> None:
    zeros = pc.fill_null(pc.greater_equal(pc.find_substring(strings, "\0"), 0), False)
    if pc.any(zeros).as_py():
        row = first_row + int(np.flatnonzero(zeros)[0])
        raise DataError(f"row {row} of {source} holds binary bytes (a zero byte) in {name!r}; mend or drop that row")


def _is_utf8(value: pa.BinaryScalar) -> bool:
    try:
        (value.as_py() or b"").decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _blank(values: pa.StringArray) -> pa.BooleanArray:
    return pc.fill_null(pc.equal(pc.utf8_trim_whitespace(values), ""), True)


def _key(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.strip().encode("utf-8"), digest_size=8).digest(), "little")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
