"""From what a user has to a Task: found, cleaned, split, and memory-mapped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from loracle.data.cleaning import CleanTable, clean
from loracle.data.columns import Columns, choose_columns
from loracle.data.labels import list_labels, unify_labels
from loracle.data.sources import Source, find_source, find_table, quiet_datasets
from loracle.data.splitting import (
    Part,
    conflicts,
    distinct_per_label,
    divide,
    repeats,
    subsample,
    without_texts_of,
)
from loracle.data.storage import map_batches, map_dataset, workspace, write_batches
from loracle.data.task import Split, Task
from loracle.errors import ConfigError, DataError

if TYPE_CHECKING:
    import datasets

_SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}
_VALIDATION_SHARE = 0.1
_TEST_SHARE = 0.15
_ROWS = pa.schema([("id", pa.int64()), ("text", pa.string()), ("label", pa.int64())])

_Parts = dict[str, Part]
_Names = tuple[str, ...]
_Notes = tuple[str, ...]


def load_task(
    data: str | Path | None = None,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    test: str | Path | None = None,
    max_train: int | None = None,
    max_test: int | None = None,
    strict: bool = False,
    drop_rare: bool = False,
    split_seed: int = 0,
) -> Task:
    """Load labelled texts and return them as a Task with three splits.

    `data` is a CSV, TSV, JSON lines or Parquet file (also .gz, .zst), a folder that `datasets.load_dataset`
    reads, a Hub name (owner/name), or None for the embedded `complaints-mini`. Columns that are not named are
    guessed where there is one sensible choice. Missing splits are made: 70/15/15 of one table, a validation of
    10 % or a test of 15 % of train; stratified, seeded, copies of a text on one side. `test` is a file that
    serves as the test split. `max_train` and `max_test` draw stratified samples, and validation is then at most a
    quarter of `max_train`. `strict` refuses rows without text or label instead of dropping them; `drop_rare`
    drops labels with too few texts for the splits instead of refusing them.

    >>> task = load_task()                                           # the embedded complaints
    >>> len(task.train), len(task.validation), len(task.test), len(task.label_names)
    (378, 108, 270, 9)

    Raises DataError for data and ConfigError for numbers that cannot be used, each in one line.
    """
    _check_numbers(max_train=max_train, max_test=max_test, split_seed=split_seed)
    source = _with_test(find_source(data), test)
    columns = choose_columns(source.tables["train"].head(), _train_name(source), text_column, label_column)
    with workspace() as folder, quiet_datasets():
        tables = _clean_all(source, columns, strict, folder)
        names, tables, notes = unify_labels(tables, columns.label)
        parts, names, split_notes = _split(tables, names, drop_rare, max_train, max_test, split_seed)
        splits = {name: Split(name, _write(parts[name], tables, folder / name)) for name in _SHARES}
        table_notes = tuple(note for table in tables.values() for note in table.notes)
        return Task(
            name=source.name,
            source=source.given,
            text_column=columns.text,
            label_column=columns.label,
            label_names=names,
            notes=source.notes + columns.notes + table_notes + notes + split_notes,
            options={
                "data": None if data is None else str(data),
                "text_column": columns.text,
                "label_column": columns.label,
                "test": None if test is None else str(test),
                "max_train": max_train,
                "max_test": max_test,
                "strict": strict,
                "drop_rare": drop_rare,
                "split_seed": split_seed,
            },
            **splits,
        )


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


def _train_name(source: Source) -> str:
    return source.tables["train"].source


def _clean_all(source: Source, columns: Columns, strict: bool, folder: Path) -> dict[str, CleanTable]:
    chosen = (columns.text, columns.label)
    return {
        split: clean(table.batches(chosen), *chosen, source=table.source, strict=strict, path=folder / f"{split}.raw")
        for split, table in source.tables.items()
    }


def _split(
    tables: Mapping[str, CleanTable],
    names: _Names,
    drop_rare: bool,
    max_train: int | None,
    max_test: int | None,
    seed: int,
) -> tuple[_Parts, _Names, _Notes]:
    """Return the rows of the three splits, the label names that are left, and what was done, in order."""
    parts = {split: _whole(split, table) for split, table in tables.items()}
    copy_notes = _describe_copies(parts)
    parts, overlap_notes = _without_overlaps(parts)
    parts, names, rare_notes = _without_rare(parts, names, drop_rare)
    parts, made_notes = _with_missing(parts, seed)
    parts, size_notes = _limited(parts, names, max_train, max_test, seed)
    _check_train(parts["train"], names)
    gap_notes = _describe_gaps(parts, names)
    return parts, names, copy_notes + overlap_notes + rare_notes + made_notes + size_notes + gap_notes


def _whole(split: str, table: CleanTable) -> Part:
    return Part(split, np.arange(len(table.ids)), table.codes, table.keys)


def _describe_copies(parts: _Parts) -> _Notes:
    copies = sum(repeats(part) for part in parts.values())
    torn = conflicts(list(parts.values()))
    notes = []
    if copies:
        notes.append(
            f"{copies:,} exact duplicates of a text in the same table; copies were kept on one side of a split."
        )
    if torn:
        notes.append(f"{torn:,} texts stand with more than one label.")
    return tuple(notes)


def _without_overlaps(parts: _Parts) -> tuple[_Parts, _Notes]:
    """Remove from train, then from validation, the rows whose text stands in a later split that was given."""
    notes = []
    for split, others in (("train", ("test", "validation")), ("validation", ("test",))):
        for other in others:
            if split in parts and other in parts:
                kept = without_texts_of(parts[split], parts[other])
                removed = len(parts[split]) - len(kept)
                parts = {**parts, split: kept}
                if removed:
                    notes.append(f"{removed:,} {split} rows whose text is also in {other} were removed from {split}.")
    return parts, tuple(notes)


def _without_rare(parts: _Parts, names: _Names, drop: bool) -> tuple[_Parts, _Names, _Notes]:
    """Return parts and names without labels that have too few texts for the splits; refuse them unless `drop`."""
    needed = 1 + sum(split not in parts for split in _SHARES)
    counts = distinct_per_label(parts["train"], len(names))
    rare = np.flatnonzero(counts < needed)
    if not len(rare):
        return parts, names, ()
    listed = ", ".join(f"{names[code]!r} ({counts[code]})" for code in rare[:10])
    if not drop:
        raise DataError(
            f"labels with too few distinct texts for the splits, which need {needed} each: {listed}; "
            "add texts, merge the label into another, or leave such labels out with --drop-rare"
        )
    kept = np.setdiff1d(np.arange(len(names)), rare)
    if len(kept) < 2:
        raise DataError(f"fewer than two labels have the {needed} distinct texts that the splits need; add texts")
    rows = sum(int(np.isin(part.labels, rare).sum()) for part in parts.values())
    note = f"Labels with fewer than {needed} distinct texts dropped, {rows:,} rows with them: {listed}."
    return _with_labels(parts, kept), tuple(names[code] for code in kept), (note,)


def _with_labels(parts: _Parts, kept: npt.NDArray[np.int64]) -> _Parts:
    """Return only the rows with a label in `kept`, coded by its place there."""
    chosen = {split: part.take(np.isin(part.labels, kept)) for split, part in parts.items()}
    return {split: replace(part, labels=np.searchsorted(kept, part.labels)) for split, part in chosen.items()}


def _with_missing(parts: _Parts, seed: int) -> tuple[_Parts, _Notes]:
    missing = [split for split in _SHARES if split not in parts]
    if not missing:
        return parts, ()
    if len(missing) == 2:
        shares = list(_SHARES.values())
    else:
        share = _VALIDATION_SHARE if missing == ["validation"] else _TEST_SHARE
        shares = [1 - share, share]
    made = dict(zip(["train", *missing], divide(parts["train"], shares, seed), strict=True))
    percent = "/".join(f"{100 * share:.0f}" for share in shares)
    note = f"Made from the train rows, stratified, seed {seed}: {', '.join(made)} ({percent} %)."
    return {**parts, **made}, (note,)


def _limited(
    parts: _Parts, names: _Names, max_train: int | None, max_test: int | None, seed: int
) -> tuple[_Parts, _Notes]:
    """Return stratified samples of the splits that are larger than asked for."""
    limits = {"train": (max_train, 1), "validation": (max_train and max_train // 4, 2), "test": (max_test, 1)}
    notes = []
    for option, limit in (("max_train", max_train), ("max_test", max_test)):
        if limit is not None and limit < len(names):
            raise ConfigError(f"{option} is {limit}; with {len(names)} labels it must be at least {len(names)}")
    for split, (limit, least) in limits.items():
        if limit is not None and len(parts[split]) > limit:
            sample = subsample(parts[split], limit, seed, least=least)
            notes.append(
                f"{split} is a stratified sample of {len(sample):,} of {len(parts[split]):,} rows, seed {seed}."
            )
            parts = {**parts, split: sample}
    return parts, tuple(notes)


def _check_train(train: Part, names: _Names) -> None:
    """Hold a promise to every method: each label is in train."""
    absent = [names[code] for code in np.flatnonzero(np.bincount(train.labels, minlength=len(names)) == 0)]
    if absent:
        raise DataError(f"no train row is left for the labels {list_labels(absent)}; add texts for them")


def _describe_gaps(parts: _Parts, names: _Names) -> _Notes:
    notes = []
    for split in ("validation", "test"):
        absent = [names[code] for code in np.setdiff1d(np.arange(len(names)), parts[split].labels)]
        if absent:
            notes.append(f"No {split} row has the label {list_labels(absent)}.")
    return tuple(notes)


def _write(part: Part, tables: Mapping[str, CleanTable], path: Path) -> datasets.Dataset:
    write_batches(path, _ROWS, _rows(part, tables[part.table]))
    return map_dataset(path)


def _rows(part: Part, table: CleanTable) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a part in the table's order, a batch of the table at a time."""
    begin = 0
    for batch in map_batches(table.path):
        low, high = np.searchsorted(part.positions, [begin, begin + batch.num_rows])
        places = part.positions[low:high]
        texts = batch.column("text").take(pa.array(places - begin))
        yield pa.RecordBatch.from_arrays([table.ids[places], texts, part.labels[low:high]], schema=_ROWS)
        begin += batch.num_rows
