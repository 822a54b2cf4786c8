"""Tables and texts from files, a batch of rows at a time, whatever the format.

CSV, TSV and JSON lines give every cell as a string or null; Parquet gives its own types.
"""

from __future__ import annotations

import csv
import itertools
import json
import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfileobj
from typing import IO, Any, TextIO

import pyarrow as pa

from loracle.data.cleaning import text_array
from loracle.data.columns import check_exists, choose_text_column
from loracle.data.decoding import COMPRESSIONS, open_bytes, open_text, plain_suffix
from loracle.errors import DataError

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
BATCH = 1024

_LONGEST_CELL = 2**31 - 1
_NESTED = b"nested"  # metadata of a batch: first row of each column with a list or an object, which is a string by then
_JSON_EXAMPLE = 'one object a row, for example {"text": "...", "label": "..."}'


def read_batches(
    path: Path, columns: Sequence[str] | None = None, batch_size: int = BATCH, *, lists: str | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a table file, all columns or only `columns`; that of the name `lists` may hold lists.

    Raises DataError for a format that is not known, a column that is not there, and a file that is broken.
    """
    suffix = plain_suffix(path)
    if suffix == ".parquet":
        yield from _parquet_batches(path, columns, batch_size)
    elif suffix in TABLE_SUFFIXES:
        with open_text(path) as lines:
            yield from _parse_batches(lines, path.name, suffix, columns, batch_size, lists)
    else:
        allowed = ", ".join(TABLE_SUFFIXES)
        raise DataError(f"{path.name} is no format that is read; use one of {allowed} (or these with .gz or .zst)")


def read_texts(
    path_or_stream: str | Path | TextIO, *, text_column: str | None = None, batch_size: int = BATCH
) -> Iterator[list[str]]:
    """Yield the texts of a file or an open text stream in lists of at most `batch_size`, in bounded memory.

    What may be given, and what raises, is as for read_rows.
    """
    for rows in read_rows(path_or_stream, text_column=text_column, batch_size=batch_size):
        yield rows.column(0).to_pylist()


def read_rows(
    path_or_stream: str | Path | TextIO, *, text_column: str | None = None, batch_size: int = BATCH
) -> Iterator[pa.RecordBatch]:
    """Yield rows of at most `batch_size`: the texts first, as column `text`, then all other columns as they are.

    A file may be any table, or `.txt` with one text a line. A stream holds one text a line; JSON lines if its
    first line is a JSON object; or CSV if `text_column` is given. A missing text is "", so that the n-th text
    is always the n-th row. Raises DataError for input that cannot be read.
    """
    if isinstance(path_or_stream, str | Path):
        path = Path(path_or_stream)
        yield from _text_first(_file_batches(path, batch_size), path.name, text_column)
    else:
        try:
            batches = _stream_batches(path_or_stream, text_column, batch_size)
            yield from _text_first(batches, "the input", text_column)
        except UnicodeDecodeError as error:
            raise DataError("the input is not UTF-8; convert it first, for example with iconv") from error


def _text_first(batches: Iterator[pa.RecordBatch], source: str, text_column: str | None) -> Iterator[pa.RecordBatch]:
    column, first_row = None, 1
    for batch in batches:
        column = column or choose_text_column(batch, source, text_column)[0]
        nested = json.loads((batch.schema.metadata or {}).get(_NESTED, "{}"))
        if column in nested:
            raise _refusal(column, nested[column], source)
        texts = text_array(batch.column(column), column, source, first_row).fill_null("")
        first_row += len(texts)
        others = batch.drop_columns([column])
        if len(texts):
            yield pa.RecordBatch.from_arrays([texts, *others.columns], names=["text", *others.schema.names])


def _file_batches(path: Path, batch_size: int) -> Iterator[pa.RecordBatch]:
    if not path.is_file():
        if path.is_dir():
            raise DataError(f"{path} is a folder; one file is needed here")
        raise DataError(f"no such file: {path}; give one, or - for standard input")
    if plain_suffix(path) == ".txt":
        with open_text(path) as lines:
            yield from _line_batches(lines, path.name, batch_size)
    else:
        yield from read_batches(path, batch_size=batch_size)


def _stream_batches(stream: TextIO, text_column: str | None, batch_size: int) -> Iterator[pa.RecordBatch]:
    first = stream.readline()
    lines = itertools.chain([first.removeprefix("\ufeff")] if first else [], stream)
    if _is_json_object(first):
        return _parse_batches(lines, "the input", ".jsonl", None, batch_size)
    if text_column is not None:
        return _parse_batches(lines, "the input", ".csv", None, batch_size)
    return _line_batches(lines, "the input", batch_size)


def _is_json_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _line_batches(lines: Iterable[str], source: str, batch_size: int) -> Iterator[pa.RecordBatch]:
    rows = ([line.rstrip("\r\n")] for line in lines)
    return _to_batches(rows, ["text"], source, batch_size)


def _parse_batches(
    lines: Iterable[str],
    source: str,
    suffix: str,
    columns: Sequence[str] | None,
    batch_size: int,
    lists: str | None = None,
) -> Iterator[pa.RecordBatch]:
    if suffix in (".csv", ".tsv"):
        return _csv_batches(lines, source, "\t" if suffix == ".tsv" else ",", columns, batch_size)
    return _json_batches(_json_objects(lines, source, is_lines=suffix != ".json"), source, columns, batch_size, lists)


def _csv_batches(
    lines: Iterable[str], source: str, delimiter: str, columns: Sequence[str] | None, batch_size: int
) -> Iterator[pa.RecordBatch]:
    rows = _csv_rows(lines, source, delimiter)
    header = _column_names(next(rows, None), source)
    names = _existing(columns, header, source)
    places = [header.index(name) for name in names]
    cells = ([row[place] for place in places] for row in _check_widths(rows, header, source))
    return _to_batches(cells, names, source, batch_size)


def _json_batches(
    objects: Iterator[dict[str, Any]],
    source: str,
    columns: Sequence[str] | None,
    batch_size: int,
    lists: str | None,
) -> Iterator[pa.RecordBatch]:
    head = list(itertools.islice(objects, batch_size))
    if not head:
        raise DataError(_empty(source))
    names = _existing(columns, list(dict.fromkeys(key for row in head for key in row)), source)
    rows = enumerate(itertools.chain(head, objects), 1)
    allowed, nested = set(names) if columns is None else {lists}, dict[str, int]()
    cells = (
        [_cell(row.get(name), name, number, source, nested if name in allowed else None) for name in names]
        for number, row in rows
    )
    for batch in _to_batches(cells, names, source, batch_size):
        yield batch.replace_schema_metadata({_NESTED: json.dumps(nested)}) if nested else batch


def _existing(columns: Sequence[str] | None, names: list[str], source: str) -> list[str]:
    return names if columns is None else [check_exists(name, names, source) for name in columns]


def _empty(source: str) -> str:
    return f"{source} is empty; it needs at least one row"


def _to_batches(
    rows: Iterator[list[str | None]] | Iterator[list[str]], header: list[str], source: str, batch_size: int
) -> Iterator[pa.RecordBatch]:
    schema, first_row = pa.schema([(name, pa.string()) for name in header]), 1
    while batch := list(itertools.islice(rows, batch_size)):
        arrays = [_string_array(values, source, first_row) for values in zip(*batch, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        first_row += len(batch)


def _string_array(values: Sequence[str | None], source: str, first_row: int) -> pa.StringArray:
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError as error:
        broken = next(row for row, value in enumerate(values, first_row) if value and not _is_encodable(value))
        raise DataError(
            f"row {broken} of {source} holds half a character (a lone surrogate); mend or drop it"
        ) from error


def _is_encodable(value: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _csv_rows(lines: Iterable[str], source: str, delimiter: str) -> Iterator[list[str]]:
    csv.field_size_limit(_LONGEST_CELL)
    lines = iter(lines)
    first = next(lines, "")
    if delimiter == "," and "," not in first:
        delimiter = next((mark for mark in ";\t" if mark in first), ",")
    reader = csv.reader(itertools.chain([first], lines), delimiter=delimiter, strict=True)
    begins = 1
    try:
        for row in reader:
            if row:
                yield row
            begins = reader.line_num + 1
    except csv.Error as error:
        what = "has a quote that is never closed" if "unexpected end" in str(error) else f"is broken ({error})"
        raise DataError(
            f'the row of {source} that begins on line {begins} {what}; write a quote inside a quoted text twice: ""'
        ) from error


def _column_names(header: list[str] | None, source: str) -> list[str]:
    if header is None or not any(name.strip() for name in header):
        raise DataError(f"{source} is empty; its first line must name the columns, for example `text,label`")
    names = [name.strip() or f"column {number}" for number, name in enumerate(header, 1)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{source} has two columns named {twice!r}; rename one")
    return names


def _check_widths(rows: Iterator[list[str]], header: list[str], source: str) -> Iterator[list[str]]:
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise DataError(
                f"row {number} of {source} has {len(row)} cells where the header has {len(header)}; "
                'put texts with commas, quotes or new lines into "quotes"'
            )
        yield row


def _json_objects(lines: Iterable[str], source: str, *, is_lines: bool) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        if number == 1 and not is_lines and line.lstrip().startswith("["):
            yield from _json_array(line + "".join(lines), source)
        elif line.strip():
            yield _json_object(line, f"line {number} of {source}")


def _json_array(content: str, source: str) -> Iterator[dict[str, Any]]:
    for number, value in enumerate(_parse_json(content, source), 1):
        if not isinstance(value, dict):
            raise DataError(f"element {number} of {source} is no JSON object; write {_JSON_EXAMPLE}")
        yield value


def _json_object(line: str, place: str) -> dict[str, Any]:
    value = _parse_json(line, place)
    if not isinstance(value, dict):
        raise DataError(f"{place} is no JSON object; write {_JSON_EXAMPLE}")
    return value


def _parse_json(content: str, place: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place} is not valid JSON ({error}); write {_JSON_EXAMPLE}") from error


def _cell(value: Any, name: str, row: int, source: str, nested: dict[str, int] | None) -> str | None:
    """Return a value as a string; a list or an object is noted in `nested`, and refused where that is None."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list | dict):
        if nested is None:
            raise _refusal(name, row, source)
        nested.setdefault(name, row)
    return None if isinstance(value, float) and math.isnan(value) else json.dumps(value)


def _refusal(name: str, row: int, source: str) -> DataError:
    allowed = "one plain value a row, or as labels a list of names"
    return DataError(f"row {row} of {source} holds a list or an object in {name!r}; write {allowed}")


def _parquet_batches(path: Path, columns: Sequence[str] | None, batch_size: int) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    try:
        with _seekable(path) as file, pq.ParquetFile(file) as table:
            names = _existing(columns, table.schema_arrow.names, path.name)
            yield from table.iter_batches(batch_size, columns=names)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(f"cannot read {path}: {error.strerror}") from error
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"{path.name} is not a whole Parquet file ({reason}); write or fetch it again") from error


@contextmanager
def _seekable(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading in any order: a packed one is unpacked into a temporary file first."""
    if path.stat().st_size == 0:
        raise DataError(_empty(path.name))
    if path.suffix.lower() not in COMPRESSIONS:
        with path.open("rb") as file:
            yield file
    else:
        with tempfile.TemporaryFile() as unpacked:
            with open_bytes(path) as packed:
                copyfileobj(packed, unpacked)
            unpacked.seek(0)
            yield unpacked
