"""How long the texts are, and what a maximum length leaves out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from loracle.inspection.description import Cut, Lengths

LIMITS = (64, 128, 256, 512)
"""Maximum lengths that are always looked at, beside the chosen one."""
_MOST_BINS = 40

Counts = npt.NDArray[np.int32]


def summarise_lengths(lengths: Counts, unit: str) -> Lengths:
    """Return the middle, the spread and the histogram of the lengths, whose last bin reaches the 99th percentile.

    Bins are as wide as the power of two that makes at most 40 of them, so that usual maximum lengths lie on an edge.
    """
    shown = max(1.0, float(np.percentile(lengths, 99)))
    width = 1
    while shown / width > _MOST_BINS:
        width *= 2
    bins = int(np.ceil(shown / width))
    places = (np.maximum(lengths, 1) - 1) // width  # a text without a word counts in the first bin
    counts = np.bincount(np.minimum(places, bins), minlength=bins + 1)
    return Lengths(
        unit=unit,
        mean=float(lengths.mean()),
        median=float(np.median(lengths)),
        percentile_95=float(np.percentile(lengths, 95)),
        longest=int(lengths.max()),
        total=int(lengths.sum(dtype=np.int64)),
        bin_width=width,
        bins=tuple(counts[:bins].tolist()),
        longer=int(counts[bins]),
    )


def list_cuts(tokens: Counts, max_length: int) -> tuple[Cut, ...]:
    """Return what each usual maximum length, and the chosen one, leaves out."""
    return tuple(_cut(tokens, limit) for limit in sorted({*LIMITS, max_length}))


def median_by(codes: npt.NDArray[np.int64], lengths: Counts, number: int) -> Sequence[float]:
    """Return the median length of the rows of each code below `number`; 0 where there is none."""
    order = np.argsort(codes, kind="stable")
    edges = np.searchsorted(codes[order], np.arange(number + 1))
    parts = (lengths[order[start:end]] for start, end in itertools.pairwise(edges))
    return [float(np.median(part)) if len(part) else 0.0 for part in parts]


def _cut(tokens: Counts, max_length: int) -> Cut:
    beyond = np.maximum(tokens - max_length, 0)
    texts = int((beyond > 0).sum())
    lost = float(beyond.sum(dtype=np.int64) / max(1, tokens.sum(dtype=np.int64)))
    return Cut(max_length=max_length, texts=texts, share=texts / len(tokens), lost_tokens=lost)
