"""Two texts side by side: which stretches they share, with long shared ones left out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

from loracle.inspection.characters import name_invisible
from loracle.inspection.description import Piece

_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")
_READ_CHARACTERS = 20_000
_BEFORE_CHARACTERS = 2_000
_COMPARED = 400  # tokens of each text between the common beginning and the common end
_SHOWN_EQUAL = 24  # tokens of a shared stretch that are shown beside a difference
_LONGEST_TOKEN = 60

Pieces = tuple[Piece, ...]


def compare_texts(left: str, right: str) -> tuple[Pieces, Pieces]:
    """Return both texts as pieces that are the same or differ; shared stretches are cut to what stands beside.

    >>> pieces, _ = compare_texts("It came late.", "It came early.")
    >>> [(piece.text, piece.changed) for piece in pieces]
    [('It came ', False), ('late', True), ('.', False)]

    Looked at are 20,000 characters from shortly before the first difference, and of what lies between that and the last
    one 400 words, blanks and signs.
    """
    start = max(0, _common(left, right) - _BEFORE_CHARACTERS)
    one, other = (_TOKEN.findall(text[start : start + _READ_CHARACTERS]) for text in (left, right))
    head = _common(one, other)
    tail = _common(one[head:][::-1], other[head:][::-1])
    middles = [tokens[head : len(tokens) - tail] for tokens in (one, other)]
    inner = SequenceMatcher(None, middles[0][:_COMPARED], middles[1][:_COMPARED], autojunk=False).get_opcodes()
    sides: list[Pieces] = []
    for side, (tokens, middle) in enumerate(zip((one, other), middles, strict=True)):
        pieces = [_shared(tokens[:head], at_start=True)]
        pieces += [_piece(code, middle, side) for code in inner]
        if len(middle) > _COMPARED:
            pieces.append(Piece(text=" …", changed=True))
        pieces.append(_shared(tokens[len(tokens) - tail :], at_end=True))
        sides.append(tuple(piece for piece in pieces if piece.text))
    return sides[0], sides[1]


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many tokens both begin with."""
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _piece(code: tuple[str, int, int, int, int], tokens: Sequence[str], side: int) -> Piece:
    kind, *bounds = code
    stretch = tokens[bounds[2 * side] : bounds[2 * side + 1]]
    return _shared(stretch) if kind == "equal" else Piece(text=_join(stretch), changed=True)


def _shared(tokens: Sequence[str], *, at_start: bool = False, at_end: bool = False) -> Piece:
    """Return a shared stretch, without its middle, or without its far end at the text's start or end."""
    before = 0 if at_start else _SHOWN_EQUAL
    after = 0 if at_end else _SHOWN_EQUAL
    if len(tokens) <= before + after + 1:
        return Piece(text=_join(tokens), changed=False)
    near, far = _join(tokens[:before]).rstrip(), _join(tokens[len(tokens) - after :]).lstrip()
    left, right = "" if at_start else f"{near} ", "" if at_end else f" {far}"
    return Piece(text=f"{left}…{right}", changed=False)


def _join(tokens: Sequence[str]) -> str:
    short = (token if len(token) <= _LONGEST_TOKEN else f"{token[:_LONGEST_TOKEN]}…" for token in tokens)
    return name_invisible("".join(short))
