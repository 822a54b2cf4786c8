"""A long text with its middle left out: what it is about stands at its beginning, how it turns out at its end."""

from __future__ import annotations

from dataclasses import dataclass

from loracle.reporting import figures

_WORD = 24  # characters within which a cut moves to the next blank


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """The beginning and the end of a text on one line; `omitted` characters between them, or none and no tail."""

    head: str
    omitted: int = 0
    tail: str = ""

    def __str__(self) -> str:
        """Return both with the number of characters that are left out."""
        return f"{self.head} [… {self.omitted:,} characters …] {self.tail}" if self.omitted else self.head


def cut_middle(text: str, *, head: int = 160, tail: int = 320) -> Excerpt:
    """Return the first `head` and the last `tail` characters, at whole words where there are any.

    >>> str(cut_middle("It began so well that I told my friends. Never again.", head=8, tail=12))
    'It began [… 33 characters …] Never again.'
    """
    line = " ".join(figures.plain(text).split())
    if len(line) <= head + tail + _WORD:
        return Excerpt(head=line)
    blank = line.rfind(" ", max(0, head - _WORD), head + 1)
    first = line[: blank if blank > 0 else head]
    start = len(line) - tail
    blank = line.find(" ", start - 1, start + _WORD)
    last = line[blank + 1 if blank > 0 else start :]
    return Excerpt(head=first, omitted=len(line) - len(first) - len(last), tail=last)
