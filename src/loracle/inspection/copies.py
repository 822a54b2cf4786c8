"""Equal texts: how many, across which splits, and with which labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from loracle.inspection.corpus import Corpus, Rows
from loracle.inspection.description import Copies, CopyExample, Overlap

_EXAMPLES = 5
_SHOWN_CHARACTERS = 400
EARLIER = ((1, 0), (2, 0), (2, 1))
"""A split, and one that comes before it and was seen when it is scored: validation and train, test and both."""


@dataclass(frozen=True)
class Groups:
    """Rows by their text: row r has the text `group_of[r]`, an index into all different texts."""

    corpus: Corpus
    group_of: Rows
    sizes: Rows  # rows of each text

    @cached_property
    def labels(self) -> Rows:
        """How many labels each text stands with, shape (texts,)."""
        labels = len(self.corpus.label_names)
        different = np.unique(self.group_of * labels + self.corpus.labels)
        return np.bincount(different // labels, minlength=len(self.sizes))

    @cached_property
    def splits(self) -> npt.NDArray[np.bool_]:
        """Whether each text stands in each split, shape (texts, splits)."""
        present = np.zeros((len(self.sizes), len(self.corpus.splits)), bool)
        present[self.group_of, self.corpus.split_of] = True
        return present


def group_copies(corpus: Corpus, keys: npt.NDArray[np.uint64]) -> Groups:
    """Group the rows of a corpus by the keys of their texts."""
    _, group_of, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    return Groups(corpus, group_of, sizes)


def summarise_copies(groups: Groups) -> Copies:
    """Count the rows whose text stands in others too, and pick examples."""
    corpus, group_of = groups.corpus, groups.group_of
    return Copies(
        texts=int(groups.sizes[groups.sizes > 1].sum()),
        repeats=len(corpus) - len(groups.sizes),
        conflicting=int(groups.sizes[groups.labels > 1].sum()),
        best_accuracy=_best_accuracy(groups),
        overlaps=list_overlaps(corpus, groups.splits[group_of]),
        examples=tuple(_example(groups, group) for group in _telling(groups)),
    )


def list_overlaps(corpus: Corpus, partner_in: npt.NDArray[np.bool_]) -> tuple[Overlap, ...]:
    """Count the rows of a split that have a partner in an earlier one.

    `partner_in` says for each row in which splits it has one, shape (rows, splits).
    """
    counts = ((split, other, (corpus.split_of == split) & partner_in[:, other]) for split, other in EARLIER)
    return tuple(
        Overlap(split=corpus.splits[split].name, other=corpus.splits[other].name, texts=int(rows.sum()))
        for split, other, rows in counts
        if rows.any()
    )


def _best_accuracy(groups: Groups) -> float:
    """Return the share of test rows that carry the commonest label that their text has in the test split."""
    corpus = groups.corpus
    test = corpus.split_of == len(corpus.splits) - 1
    labels = len(corpus.label_names)
    codes, counts = np.unique(groups.group_of[test] * labels + corpus.labels[test], return_counts=True)
    commonest = np.zeros(len(groups.sizes), np.int64)
    np.maximum.at(commonest, codes // labels, counts)
    return float(commonest.sum() / max(1, test.sum()))


def _telling(groups: Groups) -> Rows:
    """Return the groups to show: with several labels first, then across splits, then the largest."""
    several = np.flatnonzero(groups.sizes > 1)
    ranks = (-groups.sizes[several], -groups.splits[several].sum(axis=1), -(groups.labels[several] > 1).astype(int))
    return several[np.lexsort(ranks)][:_EXAMPLES]


def _example(groups: Groups, group: int) -> CopyExample:
    corpus, rows = groups.corpus, np.flatnonzero(groups.group_of == group)
    text = corpus.read(rows[:1])[0].strip()
    return CopyExample(
        text=text[:_SHOWN_CHARACTERS] + ("…" if len(text) > _SHOWN_CHARACTERS else ""),
        splits=_count([split.name for split in corpus.splits], corpus.split_of[rows]),
        labels=_count(corpus.label_names, corpus.labels[rows]),
    )


def _count(names: list[str] | tuple[str, ...], codes: npt.NDArray[np.integer]) -> Mapping[str, int]:
    counts = np.bincount(codes, minlength=len(names))
    return {name: int(count) for name, count in zip(names, counts, strict=True) if count}
