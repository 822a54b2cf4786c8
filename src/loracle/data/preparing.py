"""What is done to rows before they are split: the options, and the record of what each step did.

Importing this imports nothing heavy, so that the command line can read its defaults from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from loracle.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What is done to texts and labels, in the order of the fields; nothing of it unless asked."""

    strip_html: bool = False
    """Remove HTML tags and read entities; a line break or a block becomes a blank."""
    lower: bool = False
    """Write texts in lower case."""
    strip_punctuation: bool = False
    """Make each punctuation mark a blank; apostrophes vanish."""
    ascii_only: bool = False
    """Remove letters and signs that are not ASCII; such blanks and marks become a blank."""
    normalise_space: bool = False
    """Make each run of white space one blank, with none at the ends."""
    min_words: int = 1
    """Drop texts with fewer words, counted when the texts are as above."""
    merge: Path | None = None
    """TOML file that renames labels, several to one name: a table [merge] of "old" = "new"."""
    sample: float = 1.0
    """Share of the rows to keep, stratified."""
    min_rows: int = 1
    """Drop labels with fewer rows, all splits together."""
    group_column: str | None = None
    """Column (customer, author) whose equal values stay on one side of the splits."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sample) and 0 < self.sample <= 1):
            raise ConfigError(f"sample is {self.sample}; allowed: a share of the rows, above 0 and at most 1")
        for name in ("min_words", "min_rows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; allowed: 1 or more")

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> Self:
        """Return the preparation in a flat mapping of options; other keys of it are left alone."""
        given = {field.name: options[field.name] for field in fields(cls) if field.name in options}
        if given.get("merge") is not None:
            given["merge"] = Path(given["merge"])
        return cls(**given)

    @property
    def rewrites(self) -> tuple[str, ...]:
        """Names of the steps that change texts, those that were asked for, in order."""
        return tuple(name for name in REWRITES if getattr(self, name))


REWRITES = ("strip_html", "lower", "strip_punctuation", "ascii_only", "normalise_space")


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one step did to the rows of all tables together; `changed` counts texts, or with `merge` labels of rows."""

    name: str
    rows_before: int
    rows_removed: int = 0
    changed: int = 0

    @property
    def rows_after(self) -> int:
        """Rows that went on to the next step."""
        return self.rows_before - self.rows_removed

    def to_json(self) -> dict[str, Any]:
        """Return all counts, ready for JSON."""
        return {**asdict(self), "rows_after": self.rows_after}


def add_steps(tables: Iterable[Sequence[Step]]) -> tuple[Step, ...]:
    """Return the steps of several tables, which all went through the same ones, added up.

    >>> first, second = Step(name="lower", rows_before=5, changed=2), Step(name="lower", rows_before=3)
    >>> add_steps([[first], [second]])
    (Step(name='lower', rows_before=8, rows_removed=0, changed=2),)
    """
    return tuple(
        Step(
            name=same[0].name,
            rows_before=sum(step.rows_before for step in same),
            rows_removed=sum(step.rows_removed for step in same),
            changed=sum(step.changed for step in same),
        )
        for same in zip(*tables, strict=True)
    )
