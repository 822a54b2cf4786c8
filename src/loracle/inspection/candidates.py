"""Pairs of texts that may be near duplicates, from their signatures alone.

A signature of 64 values is cut into 16 bands of four. Two texts of Jaccard similarity s agree in one band at least
with probability 1 - (1 - s^4)^16: 0.9998 at 0.8, 0.99 at 0.7, 0.03 at 0.2 (Leskovec, Rajaraman and Ullman, "Mining of
Massive Datasets", chapter 3). Bands are sorted in arrays, since a million keys in dictionaries take gigabytes.

A bucket, the texts that agree in a band, may be as large as the data: a letter that was sent ten thousand times with
another number in it. So a text is compared with the 32 that follow it in its bucket, which has another random order in
each band, and of each kind of partner (which split, same label or not) about eight are kept. In a bucket of 33
or fewer that is every pair; in a large one every text still meets some hundred others. Small buckets come first: two
texts that share more than a letterhead with each other meet there, before the many that share the letterhead alone
can take their places.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loracle.inspection.corpus import Rows
from loracle.inspection.shingles import SIGNATURE, Signatures

BANDS = 16
ROUNDS = 2 * BANDS
"""How often `find_candidates` tells that it got on: each band is looked at for small buckets, then for large ones."""
_ROWS_OF_BAND = SIGNATURE // BANDS
_FOLLOWING = 32
_PARTNERS = 8
_DOUBT = 0.15  # three standard errors of the estimate: closer than this to the threshold, the words decide
_AT_ONCE = 65_536
_SEED = 0
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Units:
    """The texts to compare: one for each different text, label and split.

    `rows` are their rows in the corpus, `texts` tells which have the same text (those are copies, not near
    duplicates), `labels` and `splits` are codes. All have shape (units,).
    """

    rows: Rows
    texts: Rows
    labels: Rows
    splits: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Pairs:
    """Pairs of units, and the share of shingles that each has in common; all of shape (pairs,)."""

    left: Rows
    right: Rows
    jaccard: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.left)


def find_candidates(
    signatures: Signatures, units: Units, threshold: float, on_round: Callable[[int], None]
) -> tuple[Rows, Rows]:
    """Return pairs of units whose signatures let a similarity of `threshold` be possible, left < right.

    `signatures` are those of the whole corpus, of which only the rows of the units are read.
    """
    kept = _Kept(units)
    for number, (large, band) in enumerate(itertools.product((False, True), range(BANDS)), 1):
        for met in _meetings(_band_keys(signatures, units.rows, band), band, large=large):
            left, right = kept.wanted(*met)
            near = _estimate(signatures, units.rows[left], units.rows[right]) >= threshold - _DOUBT
            kept.add(left[near], right[near])
        on_round(number)
    return kept.pairs()


class _Kept:
    """The pairs so far, and how many partners of each kind every unit has among them."""

    def __init__(self, units: Units) -> None:
        self._units = units
        self._codes = np.empty(0, np.int64)  # left * units + right, sorted
        self._partners = np.zeros((len(units), 2 * (int(units.splits.max(initial=0)) + 1)), np.uint16)

    def wanted(self, left: Rows, right: Rows) -> tuple[Rows, Rows]:
        """Return the pairs that are neither copies nor there already, and give one of the two a partner it lacks."""
        lacking = self._partners[left, self._kind(left, right)] < _PARTNERS
        lacking |= self._partners[right, self._kind(right, left)] < _PARTNERS
        wanted = lacking & (self._units.texts[left] != self._units.texts[right])
        wanted[wanted] = ~self._is_known(self._code(left[wanted], right[wanted]))
        return left[wanted], right[wanted]

    def add(self, left: Rows, right: Rows) -> None:
        """Keep these pairs."""
        if len(left):
            np.add.at(self._partners, (left, self._kind(left, right)), 1)
            np.add.at(self._partners, (right, self._kind(right, left)), 1)
            self._codes = np.sort(np.concatenate([self._codes, self._code(left, right)]), kind="stable")

    def pairs(self) -> tuple[Rows, Rows]:
        """Return the two sides of all pairs, sorted."""
        left, right = np.divmod(self._codes, np.int64(max(1, len(self._units))))
        return left, right

    def _is_known(self, codes: Rows) -> npt.NDArray[np.bool_]:
        if not len(self._codes):
            return np.zeros(len(codes), np.bool_)
        place = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        return np.asarray(self._codes[place] == codes)

    def _kind(self, units: Rows, partners: Rows) -> Rows:
        differ = self._units.labels[units] != self._units.labels[partners]
        return np.asarray(2 * self._units.splits[partners].astype(np.int64) + differ)

    def _code(self, left: Rows, right: Rows) -> Rows:
        code: Rows = np.minimum(left, right) * len(self._units) + np.maximum(left, right)
        return code


def _band_keys(signatures: Signatures, rows: Rows, band: int) -> npt.NDArray[np.uint64]:
    """Return one number for the four values of a band; equal bands give equal numbers."""
    keys = np.zeros(len(rows), np.uint64)
    for column in range(band * _ROWS_OF_BAND, (band + 1) * _ROWS_OF_BAND):
        keys = (keys ^ signatures[rows, column]) * _MIX
        keys ^= keys >> np.uint64(29)
    return keys


def _meetings(keys: npt.NDArray[np.uint64], band: int, *, large: bool) -> Iterator[tuple[Rows, Rows]]:
    """Yield pairs of units with the same key, each unit with those that follow it in a random order.

    Keys are those that so many units have that not every pair can be looked at, if `large`, else the others.
    """
    shuffled = np.random.default_rng((_SEED, band)).permutation(len(keys))
    order = shuffled[np.argsort(keys[shuffled], kind="stable")]
    ordered = keys[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    sizes = np.diff(np.append(starts, len(ordered)))
    in_turn = np.repeat((sizes > _FOLLOWING + 1) == large, sizes)
    for step in range(1, _FOLLOWING + 1):
        same = np.flatnonzero(in_turn[step:] & (ordered[step:] == ordered[:-step]))
        if not len(same):
            return
        for start in range(0, len(same), _AT_ONCE):
            part = same[start : start + _AT_ONCE]
            yield order[part], order[part + step]


def _estimate(signatures: Signatures, left: Rows, right: Rows) -> npt.NDArray[np.float64]:
    """Return the share of equal values of the signatures of each pair."""
    shares: npt.NDArray[np.float64] = (signatures[left] == signatures[right]).mean(axis=1)
    return shares
