"""Rows that can be used: cells present and valid, texts as asked for, and a key of each to tell copies by."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from loracle.data.columns import Columns
from loracle.data.labelsets import is_list, read_label_sets, spread_label_sets
from loracle.data.preparing import Preparation, Step
from loracle.data.rewriting import rewrite
from loracle.data.storage import write_batches
from loracle.errors import DataError
from loracle.wording import write_count

_LONG_BYTES = 1_000_000
_TEXT, _GROUP = pa.field("text", pa.string()), pa.field("group", pa.string())


@dataclass(frozen=True)
class CleanTable:
    """The usable rows of one table: texts in an Arrow file, everything else in arrays of one value a row.

    `keys` are 64-bit hashes of the texts without blanks around them: equal texts have equal keys. `codes` are
    indices into `label_names`, which stand here in the order of their first row, (rows,); where a text may have
    several labels they are 0 or 1, uint8 (rows, labels). `groups` are hashes of the group
    column, where there is one; its values lie beside the texts.
    """

    source: str
    path: Path
    ids: npt.NDArray[np.int64]
    keys: npt.NDArray[np.uint64]
    codes: npt.NDArray[Any]
    label_names: tuple[str, ...]
    notes: tuple[str, ...]
    groups: npt.NDArray[np.uint64] | None = None
    steps: tuple[Step, ...] = ()


def clean(
    batches: Iterable[pa.RecordBatch],
    columns: Columns,
    *,
    source: str,
    strict: bool,
    path: Path,
    preparation: Preparation | None = None,
) -> CleanTable:
    """Write the texts of all usable rows to `path`, as the preparation wants them, and return the table over them.

    Rows without text, label or group are dropped and counted in the notes, or refused if `strict`; then texts are
    rewritten, and those with too few words dropped. Raises DataError for bytes that are no text, for labels that
    are lists, and where no row is left.
    """
    draft = _Draft(source, columns, strict, preparation or Preparation())
    write_batches(path, pa.schema([_TEXT, _GROUP] if columns.group else [_TEXT]), draft.add_all(batches))
    draft.check()
    names, codes = tuple(draft.names), np.concatenate(draft.codes)
    if columns.multi_label:
        names, codes = spread_label_sets(names, codes)
    return CleanTable(
        source=source,
        path=path,
        ids=np.concatenate(draft.ids),
        keys=np.concatenate(draft.keys),
        codes=codes,
        label_names=names,
        notes=tuple(draft.notes()),
        groups=np.concatenate(draft.groups) if columns.group else None,
        steps=tuple(draft.steps()),
    )


def text_array(column: pa.Array, name: str, source: str, first_row: int) -> pa.StringArray:
    """Return a column as valid UTF-8 strings without zero bytes; raises DataError that names the row."""
    if not _is_texts(column.type):
        raise DataError(f"column {name!r} of {source} holds {column.type}, not text; name another with --text-column")
    return _strings(column, name, source, first_row)


def text_key(text: str) -> int:
    """Return 64 bits by which copies of a text are told, blanks around it aside."""
    return int.from_bytes(hashlib.blake2b(text.strip().encode("utf-8"), digest_size=8).digest(), "little")


@dataclass
class _Draft:
    """The arrays of a table while its batches come in."""

    source: str
    columns: Columns
    strict: bool
    preparation: Preparation
    rows: int = 0
    without: dict[str, int] = field(default_factory=dict)  # rows that lack a text, label or group
    changed: list[int] = field(default_factory=list)  # texts that each rewriting step changed
    short: int = 0
    longest: int = 0  # words of the longest text that was too short
    large: int = 0
    names: dict[str, int] = field(default_factory=dict)
    ids: list[npt.NDArray[np.int64]] = field(default_factory=list)
    keys: list[npt.NDArray[np.uint64]] = field(default_factory=list)
    codes: list[npt.NDArray[np.int64]] = field(default_factory=list)
    groups: list[npt.NDArray[np.uint64]] = field(default_factory=list)

    def add_all(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Take in every batch and yield the texts of its usable rows."""
        self.changed = [0] * len(self.preparation.rewrites)
        for batch in batches:
            cells, first_row = self._cells(batch), self.rows
            usable = self._usable(cells)
            self.rows += batch.num_rows
            kept = [array.filter(usable) for array in cells.values()]
            yield self._add(*self._rewritten(kept, np.flatnonzero(usable) + first_row))

    def check(self) -> None:
        """Raise DataError where no row is left."""
        wanted = " and ".join(f"a {kind} in {name!r}" for kind, name in self.columns.chosen.items())
        if not self.rows:
            raise DataError(
                f"{self.source} has no rows below its column names; it needs a text and a label on every row"
            )
        if not self.names:
            raise DataError(f"no row of {self.source} has both {wanted}")
        if not sum(map(len, self.ids)):
            raise DataError(
                f"no text of {self.source} has {write_count(self.preparation.min_words, 'word')} or more, "
                f"the longest has {self.longest}; give a smaller --min-words, or leave out a step that empties texts"
            )

    def steps(self) -> Iterator[Step]:
        """Yield what was dropped and what was changed, in order; what was not asked for is left out."""
        missing = sum(self.without.values())
        yield Step(name="missing", rows_before=self.rows, rows_removed=missing)
        present = self.rows - missing
        for name, changed in zip(self.preparation.rewrites, self.changed, strict=True):
            yield Step(name=name, rows_before=present, changed=changed)
        if self.preparation.rewrites or self.preparation.min_words > 1:
            yield Step(name="min_words", rows_before=present, rows_removed=self.short)

    def notes(self) -> Iterator[str]:
        """Yield a sentence for what was missing and for texts of a megabyte."""
        for kind, missing in self.without.items():
            if missing:
                name = self.columns.chosen[kind]
                yield f"{write_count(missing, 'row')} of {self.source} without {kind} in {name!r} dropped."
        if self.large:
            yield (
                f"{write_count(self.large, 'text')} of {self.source} longer than a megabyte kept; "
                "only the part that fits the maximum length is read."
            )

    def _cells(self, batch: pa.RecordBatch) -> dict[str, pa.StringArray]:
        """Return the columns as strings: text, label and, where there is one, group."""
        text, first_row = self.columns.text, self.rows + 1
        cells = {"text": text_array(batch.column(text), text, self.source, first_row)}
        for kind, name in self.columns.chosen.items():
            if kind == "label" and self.columns.multi_label:
                cells[kind] = self._label_sets(batch, name, first_row)
            elif kind != "text":
                cells[kind] = _plain_array(batch, name, kind, self.source, first_row)
        return cells

    def _label_sets(self, batch: pa.RecordBatch, name: str, first_row: int) -> pa.StringArray:
        column = batch.column(name)
        if not is_list(column.type):  # then bytes and zeros are to be looked for
            column = _strings(column, name, self.source, first_row)
        names = _class_names(batch.schema, name)
        return read_label_sets(column, self.columns.separator, names, name, self.source, first_row)

    def _usable(self, cells: dict[str, pa.StringArray]) -> pa.BooleanArray:
        """Return which rows lack nothing; what a row lacks first is counted."""
        missing = pa.array(np.zeros(len(cells["text"]), bool))
        for kind, values in cells.items():
            blank = _blank(values)
            self.without[kind] = self.without.get(kind, 0) + (pc.sum(pc.and_not(blank, missing)).as_py() or 0)
            missing = pc.or_(missing, blank)
        if self.strict and pc.any(missing).as_py():
            rows = ", ".join(str(self.rows + 1 + row) for row in np.flatnonzero(missing)[:5])
            raise DataError(
                f"rows without {' or '.join(cells)} in {self.source} (counted from 1, below the header): {rows}; "
                "fill them, or leave out --strict to drop them"
            )
        return pc.invert(missing)

    def _rewritten(
        self, cells: list[pa.StringArray], ids: npt.NDArray[np.int64]
    ) -> tuple[list[pa.StringArray], npt.NDArray[np.int64]]:
        """Return cells and row numbers after the steps that change texts, without texts of too few words."""
        steps, least = self.preparation.rewrites, self.preparation.min_words
        for name in cells[1].unique().to_pylist():  # a label is known even where all its texts are dropped
            self.names.setdefault(name, len(self.names))
        if not steps and least == 1:
            return cells, ids
        texts, changed = rewrite(cells[0].to_pylist(), steps)
        self.changed = [sum(pair) for pair in zip(self.changed, changed, strict=True)]
        words = np.fromiter((len(text.split()) for text in texts), np.int64, len(texts))
        kept = words >= least
        self.short += int((~kept).sum())
        self.longest = max(self.longest, int(words.max(initial=0)))
        return [array.filter(pa.array(kept)) for array in (pa.array(texts, pa.string()), *cells[1:])], ids[kept]

    def _add(self, cells: list[pa.StringArray], ids: npt.NDArray[np.int64]) -> pa.RecordBatch:
        texts, labels, *groups = cells
        encoded = labels.dictionary_encode()
        codes = [self.names[name] for name in encoded.dictionary.to_pylist()]
        self.codes.append(np.array(codes, np.int64)[encoded.indices.to_numpy()])
        self.keys.append(_keys(texts))
        self.groups += [_keys(values) for values in groups]
        self.ids.append(ids)
        self.large += pc.sum(pc.greater_equal(pc.binary_length(texts), _LONG_BYTES)).as_py() or 0
        return pa.RecordBatch.from_arrays([texts, *groups], schema=pa.schema([_TEXT, _GROUP][: 1 + len(groups)]))


def _plain_array(batch: pa.RecordBatch, name: str, kind: str, source: str, first_row: int) -> pa.StringArray:
    column = batch.column(name)
    class_names = _class_names(batch.schema, name)
    if class_names and pa.types.is_integer(column.type):
        return _named(column, class_names, name, source)
    if pa.types.is_nested(column.type):
        raise DataError(f"column {name!r} of {source} holds {column.type}; one {kind} a row is needed")
    if pa.types.is_floating(column.type):
        whole = (None if value is None or math.isnan(value) else repr(value) for value in column.to_pylist())
        column = pa.array(whole, pa.string())  # with its point, as in a text file, so that it is known for a number
    return _strings(column, name, source, first_row)


def _class_names(schema: pa.Schema, name: str) -> list[str] | None:
    """Return the names that `datasets` stores beside a ClassLabel column."""
    stored = (schema.metadata or {}).get(b"huggingface")
    if stored is None:
        return None
    feature = json.loads(stored).get("info", {}).get("features", {}).get(name, {})
    if isinstance(feature, list):  # how older versions write a list
        feature = feature[0]
    if isinstance(feature, dict):
        feature = feature.get("feature", feature)
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


def _keys(texts: pa.StringArray) -> npt.NDArray[np.uint64]:
    return np.fromiter(map(text_key, texts.to_pylist()), np.uint64, len(texts))
