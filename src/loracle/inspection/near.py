"""Near duplicates: texts that are not equal and have most of their word shingles in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from loracle.errors import ConfigError
from loracle.inspection.candidates import ROUNDS, Pairs, Units, find_candidates
from loracle.inspection.copies import Groups, list_overlaps
from loracle.inspection.corpus import READ_CHARACTERS, Corpus, Rows
from loracle.inspection.description import NearCopies, NearPair, Side
from loracle.inspection.differences import compare_texts
from loracle.inspection.shingles import Shingles, WordHashes, jaccard, shingle, split_words

if TYPE_CHECKING:
    from loracle.inspection.measuring import Measures, OnProgress

LOWEST_THRESHOLD = 0.7
_EXAMPLES = 8
_PAIRS_AT_ONCE = 8_192


@dataclass(frozen=True)
class Near:
    """The near duplicates of a corpus: units, the pairs of them, and which unit each row belongs to (-1: none)."""

    corpus: Corpus
    units: Units
    unit_of: Rows
    pairs: Pairs


def check_threshold(threshold: float) -> None:
    """Raise ConfigError where a threshold is beyond what the signatures find reliably."""
    if not LOWEST_THRESHOLD <= threshold <= 1:
        raise ConfigError(f"near_threshold is {threshold}; allowed: a share from {LOWEST_THRESHOLD} to 1")


def find_near(corpus: Corpus, measures: Measures, groups: Groups, threshold: float, on_progress: OnProgress) -> Near:
    """Return the pairs whose shingles have a Jaccard similarity of at least `threshold`, counted in the words.

    Rows of equal text, label and split are one unit, so that copies cost nothing. Texts without a word have none.
    """
    units, unit_of = _list_units(corpus, groups, np.asarray(measures.words > 0))

    def on_round(number: int) -> None:
        on_progress("looking for near duplicates", number, ROUNDS)

    left, right = find_candidates(measures.signatures, units, threshold, on_round)

    def on_pairs(done: int) -> None:
        on_progress("comparing near duplicates", done, len(left))

    return Near(corpus, units, unit_of, _verified(corpus, units, (left, right), threshold, on_pairs))


def summarise_near(near: Near) -> NearCopies:
    """Count the rows that have a near duplicate, and pick examples."""
    units, pairs = near.units, near.pairs
    conflicting = np.zeros(len(units), bool)
    partner_in = np.zeros((len(units), len(near.corpus.splits)), bool)
    differ = units.labels[pairs.left] != units.labels[pairs.right]
    for one, other in ((pairs.left, pairs.right), (pairs.right, pairs.left)):
        partner_in[one, units.splits[other]] = True
        conflicting[one[differ]] = True
    by_row = np.vstack([partner_in, np.zeros((1, partner_in.shape[1]), bool)])[near.unit_of]
    return NearCopies(
        texts=int(by_row.any(axis=1).sum()),
        conflicting=int(np.append(conflicting, False)[near.unit_of].sum()),
        pairs=len(pairs),
        overlaps=list_overlaps(near.corpus, by_row),
        examples=tuple(_example(near, int(pair)) for pair in _telling(near, differ)),
    )


def _list_units(corpus: Corpus, groups: Groups, with_words: npt.NDArray[np.bool_]) -> tuple[Units, Rows]:
    rows = np.flatnonzero(with_words)
    labels, splits = len(corpus.label_names), len(corpus.splits)
    codes = (groups.group_of[rows] * labels + corpus.labels[rows]) * splits + corpus.split_of[rows]
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    unit_of = np.full(len(corpus), -1)
    unit_of[rows] = inverse
    chosen = rows[first]
    return Units(chosen, groups.group_of[chosen], corpus.labels[chosen], corpus.split_of[chosen]), unit_of


def _verified(
    corpus: Corpus, units: Units, candidates: tuple[Rows, Rows], threshold: float, on_pairs: Callable[[int], None]
) -> Pairs:
    """Return the candidates that hold in their words; texts are read again, some thousand pairs at a time."""
    left, right = candidates
    similarity = np.empty(len(left))
    hashes = WordHashes()
    for start in range(0, len(left), _PAIRS_AT_ONCE):
        here = slice(start, start + _PAIRS_AT_ONCE)
        similarity[here] = list(_similarities(corpus, units.rows[left[here]], units.rows[right[here]], hashes))
        on_pairs(min(here.stop, len(left)))
    kept = similarity >= threshold
    return Pairs(left[kept], right[kept], similarity[kept])


def _similarities(corpus: Corpus, left: Rows, right: Rows, hashes: WordHashes) -> Iterator[float]:
    rows = np.unique(np.concatenate([left, right]))
    sets = [_distinct_shingles(text, hashes) for text in corpus.read(rows)]
    for one, other in zip(np.searchsorted(rows, left), np.searchsorted(rows, right), strict=True):
        yield jaccard(sets[one], sets[other])


def _distinct_shingles(text: str, hashes: WordHashes) -> Shingles:
    return np.unique(shingle(split_words(text[:READ_CHARACTERS]), hashes))


def _telling(near: Near, differ: npt.NDArray[np.bool_]) -> list[int]:
    """Return the pairs to show: other labels first, then across splits, the least alike first; no text twice."""
    units, pairs = near.units, near.pairs
    across = units.splits[pairs.left] != units.splits[pairs.right]
    chosen: list[int] = []
    shown: set[int] = set()
    for pair in np.lexsort((pairs.jaccard, ~across, ~differ)):
        texts = {int(pairs.left[pair]), int(pairs.right[pair])}
        if not texts & shown:
            shown |= texts
            chosen.append(int(pair))
        if len(chosen) == _EXAMPLES:
            break
    return chosen


def _example(near: Near, pair: int) -> NearPair:
    rows = np.sort(near.units.rows[[near.pairs.left[pair], near.pairs.right[pair]]])
    left, right = near.corpus.read(rows)
    pieces = compare_texts(left.strip(), right.strip())
    sides = []
    for row, own in zip(rows, pieces, strict=True):
        split, number = near.corpus.locate(int(row))
        label = near.corpus.label_names[near.corpus.labels[row]]
        sides.append(Side(split=split, row=number, label=label, pieces=own))
    return NearPair(jaccard=float(near.pairs.jaccard[pair]), left=sides[0], right=sides[1])
