"""The steps that change texts, as pure functions from text to text."""

from __future__ import annotations

import operator
import string
import unicodedata
from collections.abc import Callable, Sequence

from loracle.data.markup import strip_html
from loracle.data.preparing import REWRITES

_APOSTROPHES = "'\N{RIGHT SINGLE QUOTATION MARK}"


def rewrite(texts: Sequence[str], steps: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return the texts after the steps, in their order, and how many texts each step changed.

    >>> rewrite(["Late  again!", "thanks"], ["lower", "strip_punctuation", "normalise_space"])
    (['late again', 'thanks'], [1, 1, 1])
    """
    changed = []
    for name in steps:
        after = list(map(_FUNCTIONS[name], texts))
        changed.append(sum(map(operator.ne, texts, after)))
        texts = after
    return list(texts), changed


def strip_punctuation(text: str) -> str:
    """Make each punctuation mark of any script, and each ASCII sign, a blank; apostrophes vanish.

    >>> strip_punctuation("It's late (3.5 h), l’été!")
    'Its late  3 5 h   lété '
    """
    return text.translate(_WITHOUT_PUNCTUATION)


def keep_ascii(text: str) -> str:
    """Remove what is not ASCII; such blanks and punctuation become a blank, so that words stay apart.

    >>> keep_ascii("naïve — don’t 🙂")
    'nave   dont '
    """
    return text if text.isascii() else text.translate(_ASCII)


def normalise_space(text: str) -> str:
    """Make each run of white space one blank, with none at the ends."""
    return " ".join(text.split())


class _Characters(dict[int, str]):
    """A table for str.translate that is filled as characters come up."""

    def __init__(self, replace: Callable[[str], str]) -> None:
        super().__init__()
        self._replace = replace

    def __missing__(self, code: int) -> str:
        self[code] = self._replace(chr(code))
        return self[code]


def _blank_punctuation(character: str) -> str:
    if character in _APOSTROPHES:
        return ""
    return " " if character in string.punctuation or unicodedata.category(character)[0] == "P" else character


def _blank_other_than_ascii(character: str) -> str:
    if character.isascii():
        return character
    return " " if character.isspace() or _blank_punctuation(character) == " " else ""


_WITHOUT_PUNCTUATION = _Characters(_blank_punctuation)
_ASCII = _Characters(_blank_other_than_ascii)
_FUNCTIONS: dict[str, Callable[[str], str]] = dict(
    zip(REWRITES, (strip_html, str.lower, strip_punctuation, keep_ascii, normalise_space), strict=True)
)
