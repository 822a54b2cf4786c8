"""What was found in the data, as values that a page, the terminal and JSON show. Importing this imports nothing heavy.

Rows are numbered as in the file or split that they came from, from 0. Texts stand here only as examples, cut short.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ClassCount:
    """One class: its texts in each split, and the length of the middle one."""

    label: str
    texts: Mapping[str, int]
    median_words: float
    median_tokens: float


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """The lengths of all texts; bin k counts those longer than k * bin_width and up to (k + 1) * bin_width."""

    unit: str
    mean: float
    median: float
    percentile_95: float
    longest: int
    total: int
    bin_width: int
    bins: tuple[int, ...]
    longer: int  # texts beyond the last bin


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What a maximum length leaves out: the texts that are longer, and the share of all tokens that is lost."""

    max_length: int
    texts: int
    share: float
    lost_tokens: float


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Texts of one split that have an equal or a near one in another."""

    split: str
    other: str
    texts: int


@dataclass(frozen=True, kw_only=True)
class CopyExample:
    """A text that stands in several rows: how often in each split, and with each label."""

    text: str
    splits: Mapping[str, int]
    labels: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Texts that are equal without the blanks around them.

    `texts` are the rows with an equal one elsewhere, `repeats` those that would go if one of each stayed, and
    `conflicting` those that stand with several labels. `best_accuracy` is what a classifier can reach at most on the
    test split, since of equal texts with several labels it can be right on one label alone.
    """

    texts: int
    repeats: int
    conflicting: int
    best_accuracy: float
    overlaps: tuple[Overlap, ...]
    examples: tuple[CopyExample, ...]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A stretch of a text that stands in the other text too, or does not."""

    text: str
    changed: bool


@dataclass(frozen=True, kw_only=True)
class Side:
    """One text of a pair: where it stands, its label, and its stretches."""

    split: str
    row: int
    label: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, kw_only=True)
class NearPair:
    """Two near duplicates, and the share of word shingles that they have in common."""

    jaccard: float
    left: Side
    right: Side


@dataclass(frozen=True, kw_only=True)
class NearCopies:
    """Texts that are not equal and have most of their word shingles in common.

    `texts` are the rows that have a near duplicate, `conflicting` those that have one with another label. `pairs` are
    those that were looked at word by word; of a large group of near duplicates that is not every pair.
    """

    texts: int
    conflicting: int
    pairs: int
    overlaps: tuple[Overlap, ...]
    examples: tuple[NearPair, ...]


@dataclass(frozen=True, kw_only=True)
class Snippet:
    """The place in a text that a check found, between what stands around it."""

    split: str
    row: int
    before: str
    match: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Oddity:
    """What does not look like text that somebody wrote: in how many texts, and the first ones."""

    name: str
    meaning: str
    remedy: str
    texts: int
    examples: tuple[Snippet, ...]


@dataclass(frozen=True, kw_only=True)
class Description:
    """All that was found in a task's data, for one base model's tokenizer.

    `task` is what `Task.describe` returns. `findings` say in plain words what to do, the gravest first.
    """

    task: Mapping[str, Any]
    model: str
    max_length: int
    near_threshold: float
    classes: tuple[ClassCount, ...]
    words: Lengths
    tokens: Lengths
    cuts: tuple[Cut, ...]
    copies: Copies
    near: NearCopies
    oddities: tuple[Oddity, ...]
    findings: tuple[str, ...]

    @property
    def texts(self) -> int:
        """All texts of the three splits."""
        return sum(self.sizes.values())

    @property
    def sizes(self) -> dict[str, int]:
        """The texts of each split."""
        return {name: int(split["rows"]) for name, split in self.task["splits"].items()}

    def to_json(self) -> str:
        """Return everything as JSON, with the field names as keys."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1)
