"""Label a stream of rows with a saved classifier, in bounded memory."""

from __future__ import annotations

import csv
import io
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from loracle.data.labelsets import write_label_set
from loracle.errors import ConfigError
from loracle.files import whole_file

if TYPE_CHECKING:
    import pyarrow as pa

    from loracle.methods.method import Classifier

_BEGINNINGS = (b"text,label,p_", b'{"text": ')


def write_predictions(
    classifier: Classifier, batches: Iterable[pa.RecordBatch], *, out: Path | None = None, jsonl: bool = False
) -> int:
    """Write text, label, one probability a class and the other columns of each row; return how many rows there were.

    Where a text may have several labels the label is a list, and in CSV a JSON list in a cell.
    The first column of a batch holds the texts. Others follow as they are; one that has the name of a column which is
    written anyway, as `label`, becomes `label_given`. `out` is written whole or not at all; None is standard output.
    Where the first batch cannot be read nothing is written.
    """
    batches = iter(batches)
    read = list(itertools.islice(batches, 1))
    columns = ["text", "label", *(f"p_{name}" for name in classifier.label_names)]
    others = read[0].schema.names[1:] if read else []
    columns_given = [f"{name}_given" if name in columns else name for name in others]
    written = 0
    with _opened(out) as file:
        write = _json_writer(file, [*columns, *columns_given]) if jsonl else _csv_writer(file)
        if not jsonl:
            write([*columns, *columns_given])
        for batch in itertools.chain(read, batches):
            for row in _rows(classifier, batch, others):
                write(row)
                written += 1
    return written


def holds_predictions(path: Path) -> bool:
    """Say whether a file is empty, or begins as `write_predictions` begins one."""
    with path.open("rb") as file:
        beginning = file.read(len(_BEGINNINGS[0]))
    return not beginning or any(beginning.startswith(mark[: len(beginning)]) for mark in _BEGINNINGS)


def _csv_writer(file: TextIO) -> Callable[[Sequence[object]], object]:
    plain = csv.writer(file, lineterminator="\n")
    quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)  # or a lone \r would end the row

    def write(row: Sequence[object]) -> None:
        text, label, *others = row
        named = write_label_set(label) if isinstance(label, list) else label
        cells = [text, named, *map(_plain_cell, others)]
        (quoted if any("\r" in str(cell) for cell in cells) else plain).writerow(cells)

    return write


def _plain_cell(cell: object) -> object:
    """Return what stands in CSV for a value: a list or an object as JSON, in the order that it was given."""
    return json.dumps(cell, ensure_ascii=False, default=str) if isinstance(cell, list | dict) else cell


def _json_writer(file: TextIO, columns: Sequence[str]) -> Callable[[Sequence[object]], object]:
    def write(row: Sequence[object]) -> None:
        content = dict(zip(columns, row, strict=True))
        file.write(json.dumps(content, ensure_ascii=False, default=str) + "\n")

    return write


def _rows(classifier: Classifier, batch: pa.RecordBatch, others: Sequence[str]) -> Iterator[list[object]]:
    texts, cells = batch.column(0).to_pylist(), [batch.column(name).to_pylist() for name in others]
    probabilities = classifier.predict_proba(texts)
    for place, label in enumerate(classifier.name_labels(probabilities)):
        shares = (round(float(value), 6) for value in probabilities[place])
        yield [texts[place], label, *shares, *(column[place] for column in cells)]


@contextmanager
def _opened(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        if sys.stdout is None:
            raise ConfigError("standard output is closed; name a file with --out")
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", newline="")  # whatever the locale, as in a file
        yield sys.stdout
        sys.stdout.flush()
        return
    with whole_file(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        yield text
        text.detach()  # flushes, and leaves the file open
