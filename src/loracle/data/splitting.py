"""Which row goes to which split: seeded, stratified, with copies of a text on one side.

Pure functions over arrays of one value a row; texts are known here by their keys alone. Where a text may have several
labels they are 0 or 1, (rows, labels).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """Rows of one table that go to one split: their positions there, labels, keys and, where there are any, groups."""

    table: str
    positions: Integers
    labels: npt.NDArray[Any]
    keys: npt.NDArray[np.uint64]
    groups: npt.NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return len(self.positions)

    def take(self, rows: npt.NDArray[np.bool_] | Integers) -> Part:
        """Return the part with only `rows` of it (a mask or places)."""
        groups = None if self.groups is None else self.groups[rows]
        return replace(
            self, positions=self.positions[rows], labels=self.labels[rows], keys=self.keys[rows], groups=groups
        )


def divide(part: Part, shares: Sequence[float], seed: int) -> list[Part]:
    """Divide the rows into one part a share, each label in about these shares and each key in one part.

    A label with at least as many distinct texts as there are shares is in every part. A text that stands with
    two labels counts for the label of its first row.
    """
    generator = np.random.default_rng(seed)
    groups = _Groups.of(part)
    chosen = np.zeros(len(groups.sizes), np.int64)
    for label in np.unique(groups.labels):
        members = generator.permutation(np.flatnonzero(groups.labels == label))
        chosen[members] = _deal(groups.sizes[members], shares, generator.random())
    side = chosen[groups.of_row]
    return [part.take(side == number) for number in range(len(shares))]


def subsample(part: Part, size: int, seed: int, *, least: int = 1) -> Part:
    """Return about `size` rows, each label in its share but with at least `least` rows where it has them.

    A text with several labels counts for the rarest of them.
    """
    generator = np.random.default_rng(seed)
    labels = part.labels if part.labels.ndim == 1 else rarest_labels(part.labels)
    wanted = allot(np.bincount(labels), size, least)
    drawn = [
        generator.choice(np.flatnonzero(labels == label), number, replace=False)
        for label, number in enumerate(wanted.tolist())
    ]
    return part.take(np.sort(np.concatenate(drawn)))


def allot(counts: Integers, size: int, least: int) -> Integers:
    """Return how many of each of `counts` make a proportional sample of `size`, none under `least` if it can.

    >>> allot(np.array([90, 9, 1]), 10, 1).tolist()
    [8, 1, 1]
    """
    if size >= counts.sum():
        return counts
    floor = np.minimum(counts, least)
    ideal = counts * (size / counts.sum())
    wanted: Integers = np.maximum(floor, np.floor(ideal).astype(np.int64))
    while wanted.sum() < size:
        wanted[np.argmax(np.where(wanted < counts, ideal - wanted, -np.inf))] += 1
    while wanted.sum() > max(size, floor.sum()):
        wanted[np.argmax(np.where(wanted > floor, wanted - ideal, -np.inf))] -= 1
    return wanted


def count_labels(labels: npt.NDArray[Any], size: int) -> Integers:
    """Return how many rows each label has, (size,).

    >>> count_labels(np.array([0, 2, 2]), 3).tolist(), count_labels(np.array([[1, 1, 0], [0, 1, 0]]), 3).tolist()
    ([1, 0, 2], [1, 2, 0])
    """
    counts: Integers = np.bincount(labels, minlength=size) if labels.ndim == 1 else labels.sum(axis=0, dtype=np.int64)
    return counts


def rarest_labels(labels: npt.NDArray[Any]) -> Integers:
    """Return of each row with several labels the one that fewest rows have, (rows,); the number of labels for none.

    >>> rarest_labels(np.array([[1, 1], [0, 1], [0, 0]])).tolist()
    [0, 1, 2]
    """
    order = np.argsort(labels.sum(axis=0), kind="stable")
    rarest: Integers = np.where(labels.any(axis=1), order[labels[:, order].argmax(axis=1)], labels.shape[1])
    return rarest


def distinct_per_label(part: Part, labels: int) -> Integers:
    """Return how many distinct texts each label has, as `divide` counts them; shape (labels,)."""
    if part.labels.ndim == 2:
        return np.array([len(np.unique(part.keys[column == 1])) for column in part.labels.T], np.int64)
    counts: Integers = np.bincount(_Groups.of(part).labels, minlength=labels)
    return counts


def without_texts_of(part: Part, other: Part) -> Part:
    """Return the rows whose text does not stand in `other`."""
    return part.take(~np.isin(part.keys, other.keys))


def repeats(part: Part) -> int:
    """Return the number of rows that repeat the text of an earlier row."""
    return len(part) - len(np.unique(part.keys))


def conflicts(parts: Sequence[Part]) -> int:
    """Return the number of texts that stand with more than one label, or with different sets of them."""
    keys = np.concatenate([part.keys for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    if labels.ndim == 2:
        packed = np.ascontiguousarray(np.packbits(labels, axis=1))
        labels = np.unique(packed.view(f"V{packed.shape[1]}").ravel(), return_inverse=True)[1]
    order = np.lexsort((labels, keys))
    keys, labels = keys[order], labels[order]
    differ = (keys[1:] == keys[:-1]) & (labels[1:] != labels[:-1])
    return len(np.unique(keys[1:][differ]))


@dataclass(frozen=True)
class _Groups:
    """Rows with the same key: one label and one size a group, and the group of each row."""

    labels: Integers
    sizes: Integers
    of_row: Integers

    @classmethod
    def of(cls, part: Part) -> _Groups:
        _, first, of_row, sizes = np.unique(part.keys, return_index=True, return_inverse=True, return_counts=True)
        return cls(part.labels[first], sizes, of_row)


def _deal(sizes: Integers, shares: Sequence[float], offset: float) -> Integers:
    """Return the share that each group goes to, so that the rows in them come near the shares.

    A group that lies across the border of two shares goes to one or the other by `offset`, from 0 to 1; drawn
    anew for each label, it lets the shares of many small labels add up to the shares of all rows.
    """
    total = sizes.sum()
    large_first = np.argsort(sizes <= min(shares) * total, kind="stable")
    ordered = sizes[large_first]
    places = np.cumsum(ordered) - ordered * offset
    bounds = np.cumsum(shares)[:-1] * total
    dealt = np.empty(len(sizes), np.int64)
    dealt[large_first] = _fill_empty(np.searchsorted(bounds, places, side="right"), len(shares))
    return dealt


def _fill_empty(dealt: Integers, shares: int) -> Integers:
    for _ in range(shares):
        counts = np.bincount(dealt, minlength=shares)
        if counts.min() == 0 and counts.max() > 1:
            dealt[np.flatnonzero(dealt == counts.argmax())[-1]] = counts.argmin()
    return dealt
