"""Numbers in sentences. Importing this imports nothing."""

from __future__ import annotations


def write_count(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun.

    >>> write_count(1, "text"), write_count(1200, "text"), write_count(2, "class", "classes")
    ('1 text', '1,200 texts', '2 classes')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
