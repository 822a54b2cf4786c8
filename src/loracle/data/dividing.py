"""From tables to three splits: which rows stay, and where each of them goes, one step after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from loracle.data.cleaning import CleanTable
from loracle.data.grouping import count_groups, divide_groups, without_groups_of
from loracle.data.labels import list_labels
from loracle.data.preparing import Preparation, Step
from loracle.data.splitting import (
    Part,
    conflicts,
    count_labels,
    distinct_per_label,
    divide,
    repeats,
    subsample,
    without_texts_of,
)
from loracle.errors import ConfigError, DataError

SPLITS = ("train", "validation", "test")

_SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}
_VALIDATION_SHARE = 0.1
_TEST_SHARE = 0.15

_Parts = Mapping[str, Part]


@dataclass(frozen=True)
class Division:
    """The rows of each split so far, the names of their labels, and what was done to get there, in order."""

    parts: _Parts
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def rows(self) -> int:
        """Rows of all parts together."""
        return sum(map(len, self.parts.values()))

    def counts(self) -> npt.NDArray[np.int64]:
        """Return the rows of each label, all parts together."""
        return sum(
            (count_labels(part.labels, len(self.names)) for part in self.parts.values()),
            start=np.zeros(len(self.names), np.int64),
        )

    @property
    def multi_label(self) -> bool:
        """Whether a text may have several labels."""
        return self.parts["train"].labels.ndim == 2

    def noting(self, *notes: str) -> Division:
        """Return the division with these sentences added."""
        return replace(self, notes=self.notes + notes)

    def after(self, name: str, parts: _Parts, *notes: str) -> Division:
        """Return the division that a step made of this one; a step that removed nothing is recorded too."""
        removed = self.rows - sum(map(len, parts.values()))
        step = Step(name=name, rows_before=self.rows, rows_removed=removed)
        return replace(self, parts=parts, notes=self.notes + notes, steps=(*self.steps, step))

    def with_labels(self, kept: npt.NDArray[np.int64], step: str, note: str) -> Division:
        """Return the division with only the rows of the labels in `kept`, coded by its place there.

        Of several labels a text those in `kept` stay; a row goes where it had others alone.
        """
        parts = {split: _with_labels(part, kept) for split, part in self.parts.items()}
        return replace(self.after(step, parts, note), names=tuple(self.names[code] for code in kept))


def divide_tables(
    tables: Mapping[str, CleanTable],
    names: Sequence[str],
    *,
    preparation: Preparation,
    drop_rare: bool,
    max_train: int | None,
    max_test: int | None,
    seed: int,
) -> Division:
    """Divide the rows of the tables among train, validation and test.

    Raises DataError where rows, labels or groups are too few for it, ConfigError for limits below the number of
    labels.
    """
    parts = {split: _whole(split, table) for split, table in tables.items()}
    division = Division(parts, tuple(names))
    if preparation.group_column is not None:
        _check_groups(count_groups(*parts.values()), len(SPLITS), preparation.group_column)
    division = _sampled(division, preparation.sample, seed)
    division = _without_small(division, preparation.min_rows)
    division = division.noting(*_describe_copies(division.parts))
    division = _without_overlaps(division, preparation.group_column)
    division = _without_rare(division, drop_rare)
    division = _with_missing(division, preparation.group_column, seed)
    division = _limited(division, max_train, max_test, seed)
    _check_train(division)
    return division.noting(*_describe_gaps(division))


def _whole(split: str, table: CleanTable) -> Part:
    return Part(split, np.arange(len(table.ids)), table.codes, table.keys, table.groups)


def _sampled(division: Division, share: float, seed: int) -> Division:
    if share == 1:
        return division
    parts = {split: subsample(part, round(share * len(part)), seed) for split, part in division.parts.items()}
    rows = sum(map(len, parts.values()))
    note = f"A stratified sample of {rows:,} of {division.rows:,} rows, seed {seed}."
    return division.after("sample", parts, note)


def _without_small(division: Division, least: int) -> Division:
    """Leave out labels with fewer than `least` rows, and those of which no row is left."""
    counts = division.counts()
    small, kept = np.flatnonzero(counts < least), np.flatnonzero(counts >= least)
    if len(kept) < 2:
        largest = ", ".join(f"{division.names[code]!r} ({counts[code]:,})" for code in np.argsort(-counts)[:3])
        raise DataError(
            f"fewer than two labels have the {least:,} rows that are wanted (largest: {largest}); "
            "give a smaller --min-rows or --min-words, or merge labels"
        )
    if not len(small):
        return division.after("min_rows", division.parts) if least > 1 else division
    listed = ", ".join(f"{division.names[code]!r} ({counts[code]:,})" for code in small[:10])
    more = f" and {len(small) - 10} more" if len(small) > 10 else ""
    rows = _rows_of(division, small)
    note = f"Labels with fewer than {least:,} rows dropped, {rows:,} rows with them: {listed}{more}."
    return division.with_labels(kept, "min_rows", note)


def _with_labels(part: Part, kept: npt.NDArray[np.int64]) -> Part:
    if part.labels.ndim == 1:
        part = part.take(np.isin(part.labels, kept))
        return replace(part, labels=np.searchsorted(kept, part.labels))
    labels = part.labels[:, kept]
    stays: npt.NDArray[np.bool_] = np.logical_or(labels.any(axis=1), np.logical_not(part.labels.any(axis=1)))
    return replace(part, labels=labels).take(stays)


def _rows_of(division: Division, labels: npt.NDArray[np.int64]) -> int:
    """Return how many rows have these labels and no others."""
    kept = np.setdiff1d(np.arange(len(division.names)), labels)
    return sum(len(part) - len(_with_labels(part, kept)) for part in division.parts.values())


def _describe_copies(parts: _Parts) -> Iterator[str]:
    copies = sum(repeats(part) for part in parts.values())
    if copies:
        yield f"{copies:,} exact duplicates of a text in the same table; copies were kept on one side of a split."
    if torn := conflicts(list(parts.values())):
        several = any(part.labels.ndim == 2 for part in parts.values())
        yield f"{torn:,} texts stand with {'different sets of labels' if several else 'more than one label'}."


def _without_overlaps(division: Division, group_column: str | None) -> Division:
    """Remove from train, then from validation, the rows whose text or group stands in a later split that is there."""
    parts, notes = dict(division.parts), []
    for split, others in (("train", ("test", "validation")), ("validation", ("test",))):
        for other in others:
            if split in parts and other in parts:
                before, kept = len(parts[split]), without_texts_of(parts[split], parts[other])
                if len(kept) < before:
                    removed = before - len(kept)
                    notes.append(f"{removed:,} {split} rows whose text is also in {other} were removed from {split}.")
                parts[split] = without_groups_of(kept, parts[other])
                if removed := len(kept) - len(parts[split]):
                    notes.append(
                        f"{removed:,} {split} rows whose {group_column!r} is also in {other} were removed from {split}."
                    )
    return division.after("overlaps", parts, *notes) if notes else division


def _without_rare(division: Division, drop: bool) -> Division:
    """Leave out labels that have too few texts for the splits; refuse them unless `drop`."""
    needed = 1 + sum(split not in division.parts for split in SPLITS)
    counts = distinct_per_label(division.parts["train"], len(division.names))
    rare = np.flatnonzero(counts < needed)
    if not len(rare):
        return division
    listed = ", ".join(f"{division.names[code]!r} ({counts[code]})" for code in rare[:10])
    if not drop:
        raise DataError(
            f"labels with too few distinct texts for the splits, which need {needed} each: {listed}; "
            "add texts, merge the label into another, or leave such labels out with --drop-rare"
        )
    kept = np.setdiff1d(np.arange(len(division.names)), rare)
    if len(kept) < 2:
        raise DataError(f"fewer than two labels have the {needed} distinct texts that the splits need; add texts")
    rows = _rows_of(division, rare)
    note = f"Labels with fewer than {needed} distinct texts dropped, {rows:,} rows with them: {listed}."
    return division.with_labels(kept, "drop_rare", note)


def _with_missing(division: Division, group_column: str | None, seed: int) -> Division:
    missing = [split for split in SPLITS if split not in division.parts]
    train = division.parts["train"]
    if group_column is not None:
        _check_groups(count_groups(train), 1 + len(missing), group_column)
    if not missing:
        return division
    if len(missing) == 2:
        shares = list(_SHARES.values())
    else:
        share = _VALIDATION_SHARE if missing == ["validation"] else _TEST_SHARE
        shares = [1 - share, share]
    deal = divide if group_column is None and not division.multi_label else divide_groups
    made = dict(zip(["train", *missing], deal(train, shares, seed), strict=True))
    percent = "/".join(f"{100 * share:.0f}" for share in shares)
    if group_column is None:
        note = f"Made from the train rows, stratified, seed {seed}: {', '.join(made)} ({percent} %)."
        return replace(division.noting(note), parts={**division.parts, **made})
    got = "/".join(f"{100 * len(part) / len(train):.1f}" for part in made.values())
    note = (
        f"Made from the train rows, seed {seed}: {', '.join(made)} ({got} % of the rows; {percent} % wanted); the "
        f"{count_groups(train):,} groups of {group_column!r} are whole, label shares as near as they come."
    )
    return _without_overlaps(replace(division.noting(note), parts={**division.parts, **made}), group_column)


def _check_groups(groups: int, needed: int, group_column: str) -> None:
    if groups < needed:
        raise DataError(
            f"--group-column {group_column!r} has {groups} distinct value{'' if groups == 1 else 's'} in the rows to "
            f"divide; at least {needed} are needed, one for each split; name another column"
        )


def _limited(division: Division, max_train: int | None, max_test: int | None, seed: int) -> Division:
    """Draw stratified samples of the splits that are larger than asked for."""
    labels = len(division.names)
    for option, limit in (("max_train", max_train), ("max_test", max_test)):
        if limit is not None and limit < labels:
            raise ConfigError(f"{option} is {limit}; with {labels} labels it must be at least {labels}")
    limits = {"train": (max_train, 1), "validation": (max_train and max_train // 4, 2), "test": (max_test, 1)}
    parts, notes = dict(division.parts), []
    for split, (limit, least) in limits.items():
        if limit is not None and len(parts[split]) > limit:
            sample = subsample(parts[split], limit, seed, least=least)
            notes.append(
                f"{split} is a stratified sample of {len(sample):,} of {len(parts[split]):,} rows, seed {seed}."
            )
            parts[split] = sample
    return division.after("max_train, max_test", parts, *notes) if notes else division


def _check_train(division: Division) -> None:
    """Hold a promise to every method: each label is in train."""
    counts = count_labels(division.parts["train"].labels, len(division.names))
    absent = [division.names[code] for code in np.flatnonzero(counts == 0)]
    if absent:
        raise DataError(f"no train row is left for the labels {list_labels(absent)}; add texts for them")


def _describe_gaps(division: Division) -> Iterator[str]:
    for split in ("validation", "test"):
        counts = count_labels(division.parts[split].labels, len(division.names))
        absent = [division.names[code] for code in np.flatnonzero(counts == 0)]
        if absent:
            yield f"No {split} row has the label {list_labels(absent)}."
