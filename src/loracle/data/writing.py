"""A Task as a folder of files that load again with the same splits, and that say how they were made.

train, validation, test     .csv or .parquet, with the columns text, label (a list where a text may have several) and,
                            where there are groups, group
labels.json                 the label names, sorted as in the Task
preparation.json            source, options, every step, and the hash of each split
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from loracle.data.labelsets import write_label_set
from loracle.data.task import Split, Task
from loracle.errors import FileError, unknown
from loracle.files import check_writable, save_json, whole_folder

if TYPE_CHECKING:
    from loracle.data.loading import OnRows

FORMATS = ("csv", "parquet")
RECORD = "preparation.json"
LABELS = "labels.json"
COMPANIONS = (LABELS, RECORD)  # what lies beside the tables

_SPLITS = ("train", "validation", "test")
_OWN = {*COMPANIONS, *(f"{split}.{format_}" for split in _SPLITS for format_ in FORMATS)}
_BATCH = 1024


def save_task(task: Task, folder: str | Path, *, format: str = "csv", on_rows: OnRows | None = None) -> Path:
    """Write the three splits, the label names and what was done to `folder`, whole or not at all; return it.

    `loracle.load_task(folder)` reads the same splits again. Texts and labels go through as they are, new lines and
    quotes included. Raises ConfigError for an unknown format, FileError where `folder` holds anything else than what
    was written here before.

    >>> from loracle.data.loading import load_task
    >>> folder = save_task(load_task(), getfixture("tmp_path") / "prepared")
    >>> sorted(path.name for path in folder.iterdir())
    ['labels.json', 'preparation.json', 'test.csv', 'train.csv', 'validation.csv']
    """
    folder = Path(folder)
    check_target(folder, format)
    write = {"csv": _write_csv, "parquet": _write_parquet}[format]
    with whole_folder(folder) as new:
        for split in (task.train, task.validation, task.test):
            name = f"{split.name}.{format}"
            write(new / name, split, _tables(split, task.label_names, name, on_rows))
        save_json(new / LABELS, list(task.label_names))
        save_json(new / RECORD, _describe(task, format))
    return folder


def check_target(folder: Path, format: str = "csv") -> None:
    """Raise what save_task raises for a folder or a format, before any work is done."""
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    if folder.exists() and not folder.is_dir():
        raise FileError(f"{folder} is a file; --out takes a folder")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if names and RECORD not in names:
        raise FileError(f"{folder} holds what `loracle prepare` did not write; give a new folder with --out")
    if strange := sorted(names - _OWN):
        raise FileError(
            f"{folder} holds {strange[0]!r}, which `loracle prepare` did not write and would remove; "
            "move it, or give a new folder with --out"
        )
    check_writable(folder)


def _tables(split: Split, names: tuple[str, ...], file: str, on_rows: OnRows | None) -> Iterator[pa.Table]:
    """Yield the rows of a split with labels as names, and without row numbers."""
    rows = 0
    for table in split.rows.with_format("arrow").iter(_BATCH):
        columns = {"text": table["text"], "label": _name_labels(table["label"].combine_chunks(), names)}
        if "group" in table.column_names:
            columns["group"] = table["group"]
        yield pa.table(columns)
        rows += table.num_rows
        if on_rows:
            on_rows(f"writing {file}", rows)


def _name_labels(labels: pa.Array, names: tuple[str, ...]) -> pa.Array:
    """Return labels as names, or where a text may have several as lists of names."""
    if not pa.types.is_fixed_size_list(labels.type):
        return pa.array(names, pa.string()).take(labels)
    sets = ([name for name, there in zip(names, row, strict=True) if there] for row in labels.to_pylist())
    return pa.array(sets, pa.list_(pa.string()))


def _plain_cell(cell: str | list[str]) -> str:
    return cell if isinstance(cell, str) else write_label_set(cell)


def _write_csv(path: Path, split: Split, tables: Iterator[pa.Table]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")  # a lone \r in a text is then quoted too
        writer.writerow(_columns(split))
        for table in tables:
            columns = (map(_plain_cell, column.to_pylist()) for column in table.columns)
            writer.writerows(zip(*columns, strict=True))


def _write_parquet(path: Path, split: Split, tables: Iterator[pa.Table]) -> None:
    import pyarrow.parquet as pq

    label = pa.list_(pa.string()) if split.multi_label else pa.string()
    schema = pa.schema([(name, label if name == "label" else pa.string()) for name in _columns(split)])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table.cast(schema))


def _columns(split: Split) -> list[str]:
    return [name for name in ("text", "label", "group") if name in split.rows.column_names]


def _describe(task: Task, format: str) -> dict[str, Any]:
    return {
        "loracle": version("loracle"),
        **task.describe(),
        "format": format,
        "options": dict(task.options),
        "steps": [step.to_json() for step in task.steps],
    }
