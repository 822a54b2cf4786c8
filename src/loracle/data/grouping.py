"""Which group of rows goes to which split: whole groups, with label shares as near as they come.

Pure functions over arrays, as in splitting.py. A group may hold several labels, so that no label can be dealt out
alone: groups are placed one after the other, the largest first, each where it brings the counts of its labels nearest
to what the shares ask for. Where a text may have several labels each text is such a group, and those with the rarest
labels come first (Sechidis, Tsoumakas and Vlahavas 2011).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from loracle.data.splitting import Integers, Part


def divide_groups(part: Part, shares: Sequence[float], seed: int) -> list[Part]:
    """Divide the rows into one part a share, each group in one part, and with as many groups as shares none empty.

    What is made small is the sum over parts and labels of (rows - wanted rows)² / wanted rows; with several labels a
    text the rows themselves count as one more label. Groups that are alike are placed in an order that `seed` draws.
    """
    counts = _Counts.of(part.keys if part.groups is None else part.groups, part.labels)
    order = np.random.default_rng(seed).permutation(len(counts.sizes))
    rank = -counts.sizes if part.groups is not None else counts.rarity()
    order = order[np.argsort(rank[order], kind="stable")]
    side_of_group = np.empty(len(order), np.int64)
    side_of_group[order] = _place(counts, order, shares)
    sides = side_of_group[counts.of_row]
    return [part.take(sides == side) for side in range(len(shares))]


def count_groups(*parts: Part) -> int:
    """Return the number of groups in the rows of all parts together."""
    return len(np.unique(np.concatenate([part.groups for part in parts if part.groups is not None])))


def without_groups_of(part: Part, other: Part) -> Part:
    """Return the rows whose group does not stand in `other`."""
    if part.groups is None or other.groups is None:
        return part
    return part.take(~np.isin(part.groups, other.groups))


@dataclass(frozen=True)
class _Counts:
    """Rows of each group and label that occur together: group g has the entries starts[g] to starts[g + 1]."""

    of_row: Integers
    sizes: Integers
    starts: Integers
    labels: Integers
    rows: Integers

    @classmethod
    def of(cls, groups: npt.NDArray[np.uint64], labels: npt.NDArray[Any]) -> _Counts:
        _, of_row, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        places = np.arange(len(groups))
        if labels.ndim == 2:
            places, labels = np.nonzero(np.column_stack([labels, np.ones(len(labels), labels.dtype)]))
        width = int(labels.max()) + 1
        pairs, rows = np.unique(of_row[places] * width + labels, return_counts=True)
        starts = np.searchsorted(pairs // width, np.arange(len(sizes) + 1))
        return cls(of_row, sizes, starts, pairs % width, rows)

    def rarity(self) -> Integers:
        """Return of each group how many rows its rarest label has."""
        of_label = np.bincount(self.labels, self.rows).astype(np.int64)
        return np.minimum.reduceat(of_label[self.labels], self.starts[:-1])


def _place(counts: _Counts, order: Integers, shares: Sequence[float]) -> list[int]:
    """Return the side of each group in `order`."""
    wanted = np.outer(shares, np.bincount(counts.labels, counts.rows)).tolist()
    lacking = [list(side) for side in wanted]  # by side and label: wanted rows less those placed
    starts, labels, rows = counts.starts.tolist(), counts.labels.tolist(), counts.rows.tolist()
    empty, placed = set(range(len(shares))), []
    for left, group in zip(range(len(order), 0, -1), order.tolist(), strict=True):
        own = [(labels[at], rows[at]) for at in range(starts[group], starts[group + 1])]
        sides = empty if len(empty) >= left else range(len(shares))
        growth = {
            side: sum(number * (number - 2 * lacking[side][label]) / wanted[side][label] for label, number in own)
            for side in sides
        }
        side = min(growth, key=growth.__getitem__)
        for label, number in own:
            lacking[side][label] -= number
        empty.discard(side)
        placed.append(side)
    return placed
