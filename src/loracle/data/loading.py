"""From what a user has to a Task: found, cleaned, split, and memory-mapped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from loracle.data.cleaning import CleanTable, clean
from loracle.data.columns import Columns, choose_columns
from loracle.data.dividing import SPLITS, divide_tables
from loracle.data.labels import unify_labels
from loracle.data.labelsets import describe_label_sets
from loracle.data.merging import load_merge_map, merge_labels
from loracle.data.preparing import Preparation, Step, add_steps
from loracle.data.sources import Source, find_source, find_table, quiet_datasets
from loracle.data.splitting import Part
from loracle.data.storage import map_batches, map_dataset, workspace, write_batches
from loracle.data.task import Split, Task
from loracle.errors import ConfigError, DataError

if TYPE_CHECKING:
    import datasets

OnRows = Callable[[str, int], None]
"""Told what is being done, and with how many rows so far."""

_Tables = dict[str, CleanTable]


def load_task(
    data: str | Path | None = None,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    label_separator: str | None = None,
    test: str | Path | None = None,
    max_train: int | None = None,
    max_test: int | None = None,
    strict: bool = False,
    drop_rare: bool = False,
    split_seed: int = 0,
    strip_html: bool = False,
    lower: bool = False,
    strip_punctuation: bool = False,
    ascii_only: bool = False,
    normalise_space: bool = False,
    min_words: int = 1,
    merge: str | Path | None = None,
    sample: float = 1.0,
    min_rows: int = 1,
    group_column: str | None = None,
    on_rows: OnRows | None = None,
) -> Task:
    """Load labelled texts and return them as a Task with three splits.

    `data` is a CSV, TSV, JSON lines or Parquet file (also .gz, .zst), a folder that `datasets.load_dataset`
    reads, a Hub name (owner/name), or None for the embedded `complaints-mini`. Columns that are not named are
    guessed where there is one sensible choice. A text may have several labels: with a `label_separator` between them,
    as a list, or as a JSON list in a string. Missing splits are made: 70/15/15 of one table, a validation of
    10 % or a test of 15 % of train; stratified, seeded, copies of a text on one side. `test` is a file that
    serves as the test split. `max_train` and `max_test` draw stratified samples, and validation is then at most a
    quarter of `max_train`. `strict` refuses rows without text or label instead of dropping them; `drop_rare`
    drops labels with too few texts for the splits instead of refusing them. From `strip_html` on the options are
    those of Preparation. `load_task(**task.options)` loads a task again.

    >>> task = load_task()                                           # the embedded complaints
    >>> len(task.train), len(task.validation), len(task.test), len(task.label_names)
    (378, 108, 270, 9)

    Raises DataError for data and ConfigError for values that cannot be used, each in one line.
    """
    options = dict(locals())  # all that was given, by name, as run.toml will hold it
    tell = options.pop("on_rows") or _stay_silent
    _check_numbers(max_train=max_train, max_test=max_test, split_seed=split_seed)
    preparation = Preparation.parse(options)
    mapping = load_merge_map(preparation.merge) if preparation.merge else {}
    source = _with_test(find_source(data), test)
    head = source.tables["train"].head()
    columns = choose_columns(
        head, source.tables["train"].source, text_column, label_column, group_column, label_separator
    )
    return _load(source, columns, preparation, mapping, options, tell)


def _stay_silent(what: str, rows: int) -> None:
    """Tell nobody."""


def _load(
    source: Source,
    columns: Columns,
    preparation: Preparation,
    mapping: Mapping[str, str],
    options: Mapping[str, Any],
    tell: OnRows,
) -> Task:
    with workspace() as folder, quiet_datasets():
        cleaned = _clean_all(source, columns, preparation, options["strict"], folder, tell)
        notes = source.notes + columns.notes + tuple(note for table in cleaned.values() for note in table.notes)
        tables, steps, step_notes = _merge(cleaned, preparation, mapping)
        if columns.multi_label:
            _check_separator(cleaned, columns)
        names, tables, label_notes = unify_labels(tables, columns.label)
        if columns.multi_label:
            label_notes += tuple(describe_label_sets([table.codes for table in tables.values()]))
        division = divide_tables(
            tables,
            names,
            preparation=preparation,
            drop_rare=options["drop_rare"],
            max_train=options["max_train"],
            max_test=options["max_test"],
            seed=options["split_seed"],
        )
        splits = {name: Split(name, _write(division.parts[name], tables, folder / name, tell)) for name in SPLITS}
        return Task(
            name=source.name,
            source=source.given,
            text_column=columns.text,
            label_column=columns.label,
            label_names=division.names,
            notes=notes + step_notes + label_notes + division.notes,
            options=_resolve(options, columns),
            steps=steps + division.steps,
            **splits,
        )


def _check_separator(tables: _Tables, columns: Columns) -> None:
    """Refuse a separator that separates nothing: it is another sign, or the labels are one a text."""
    if columns.separator is not None and all(table.codes.sum(axis=1).max() < 2 for table in tables.values()):
        raise DataError(
            f"no text of {tables['train'].source} has two labels in {columns.label!r} separated by "
            f"{columns.separator!r}; give the sign that stands between two labels, or leave --label-separator out"
        )


def _resolve(options: Mapping[str, Any], columns: Columns) -> dict[str, Any]:
    """Return the options with the columns as they were chosen and paths as strings."""
    chosen = {**options, "text_column": columns.text, "label_column": columns.label}
    return {name: str(value) if isinstance(value, Path) else value for name, value in chosen.items()}


def _check_numbers(**numbers: int | None) -> None:
    for name, number in numbers.items():
        least = 0 if name == "split_seed" else 2
        if number is not None and number < least:
            raise ConfigError(f"{name} is {number}; it must be at least {least}")


def _with_test(source: Source, test: str | Path | None) -> Source:
    if test is None:
        return source
    table = find_table(Path(test).expanduser())
    notes = (f"The test split of {source.given} was not used; {test} stands in its place.",)
    return replace(
        source,
        tables={**source.tables, "test": table},
        notes=source.notes + (notes if "test" in source.tables else ()),
    )


def _clean_all(
    source: Source, columns: Columns, preparation: Preparation, strict: bool, folder: Path, tell: OnRows
) -> _Tables:
    lists = columns.label if columns.multi_label else None
    return {
        split: clean(
            _told(table.batches(tuple(columns.chosen.values()), lists=lists), f"reading {table.source}", tell),
            columns,
            source=table.source,
            strict=strict,
            path=folder / f"{split}.raw",
            preparation=preparation,
        )
        for split, table in source.tables.items()
    }


def _told(batches: Iterable[pa.RecordBatch], what: str, tell: OnRows) -> Iterator[pa.RecordBatch]:
    rows = 0
    for batch in batches:
        yield batch
        rows += batch.num_rows
        tell(what, rows)


def _merge(
    tables: _Tables, preparation: Preparation, mapping: Mapping[str, str]
) -> tuple[_Tables, tuple[Step, ...], tuple[str, ...]]:
    """Return the tables with merged labels, all steps so far, and a sentence for each that did something."""
    steps = add_steps(table.steps for table in tables.values())
    notes = tuple(note for step in steps for note in _describe(step, preparation))
    if not preparation.merge:
        return tables, steps, notes
    merged, step, note = merge_labels(tables, mapping, preparation.merge)
    return merged, (*steps, step), (*notes, note)


def _describe(step: Step, preparation: Preparation) -> Iterator[str]:
    if step.changed:
        yield f"{step.name} changed {step.changed:,} of {step.rows_before:,} texts."
    if step.name == "min_words" and step.rows_removed:
        words = f"{preparation.min_words} word{'' if preparation.min_words == 1 else 's'}"
        yield f"{step.rows_removed:,} of {step.rows_before:,} texts with fewer than {words} dropped."


def _write(part: Part, tables: Mapping[str, CleanTable], path: Path, tell: OnRows) -> datasets.Dataset:
    label = pa.int64() if part.labels.ndim == 1 else pa.list_(pa.uint8(), part.labels.shape[1])
    schema = pa.schema([("id", pa.int64()), ("text", pa.string()), ("label", label)])
    schema = schema if part.groups is None else schema.append(pa.field("group", pa.string()))
    write_batches(path, schema, _told(_rows(part, tables[part.table], schema), f"writing {path.name}", tell))
    return map_dataset(path)


def _rows(part: Part, table: CleanTable, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a part in the table's order, a batch of the table at a time."""
    begin = 0
    for batch in map_batches(table.path):
        low, high = np.searchsorted(part.positions, [begin, begin + batch.num_rows])
        places = part.positions[low:high]
        text, *group = (column.take(pa.array(places - begin)) for column in batch.columns)
        columns = [table.ids[places], text, _arrow_labels(part.labels[low:high]), *group]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)
        begin += batch.num_rows


def _arrow_labels(labels: np.ndarray) -> pa.Array:
    if labels.ndim == 1:
        return pa.array(labels)
    return pa.FixedSizeListArray.from_arrays(pa.array(labels.ravel()), labels.shape[1])
