"""What does not look like text that somebody wrote: the remains of files, pages and wrong encodings.

A pattern is one that both RE2 (which looks through a batch) and Python's `re` (which finds the place to show) read in
the same way, so it holds the letters themselves instead of escapes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from loracle.inspection.description import Oddity, Snippet

if TYPE_CHECKING:
    from loracle.inspection.corpus import Corpus
    from loracle.inspection.measuring import Measures

SHORT_WORDS = 3
"""A text with fewer words is very short."""
LONG_TIMES = 10
"""A text of so many times the median words, and of at least LONG_WORDS, is very long."""
LONG_WORDS = 200
_UPPER_CHARACTERS = 20
_EXAMPLES = 3
_CONTEXT = 48
_MATCH = 48

_CONTINUED = "[\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"  # bytes 80 to BF as Latin-1 or Windows-1252 reads them
_MOJIBAKE = "|".join(
    [
        f"Ã{_CONTINUED}",  # é as Ã©
        "Â[\u0080-\u00bf]",  # £ as Â£
        f"â{_CONTINUED}{{2}}",  # ’ as â€™
        f"ð[Ÿ\u009f]{_CONTINUED}{{2}}",  # most emoji
        "ï»¿|ï¿½",  # a byte order mark, a replacement character
        f"(?:[ÐÑ]{_CONTINUED}){{2}}",  # Cyrillic
    ]
)
_INVISIBLE = re.compile("[\u0001-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2060\ufeff]")
_TAGS = (
    "a|b|i|u|s|p|q|br|hr|h[1-6]|em|li|ol|ul|dl|dt|dd|td|th|tr|tt|del|div|img|ins|pre|sub|sup|big|body|code|font|form|"
    "head|html|link|meta|span|cite|abbr|table|tbody|thead|small|style|strong|strike|script|center|iframe|input|button|"
    "blockquote|section|article"
)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing to look for: by a pattern, or by what was counted in the text."""

    name: str
    meaning: str
    remedy: str
    pattern: str | None = None


CHECKS = (
    Check(
        name="HTML tags",
        meaning="<br /> and the like",
        remedy="strip them where later texts have none: --strip-html",
        pattern=f"(?i)</?(?:{_TAGS})(?:\\s[^<>]*)?/?>",
    ),
    Check(
        name="HTML entities",
        meaning="&amp; and the like",
        remedy="turn them into letters: --strip-html",
        pattern="&(?:[A-Za-z]{2,8}|#[0-9]{2,6}|#[xX][0-9A-Fa-f]{2,6});",
    ),
    Check(
        name="mojibake",
        meaning="UTF-8 read in another encoding, such as Ã© for é",
        remedy="read the source again as UTF-8",
        pattern=_MOJIBAKE,
    ),
    Check(
        name="replacement characters",
        meaning="U+FFFD, where a letter was lost",
        remedy="read the source again in its own encoding",
        pattern="\ufffd",
    ),
    Check(
        name="control characters",
        meaning="other than tab and line break",
        remedy="those above U+0080 are often Windows-1252: read the source as that; remove the others",
        pattern="[\u0001-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]",
    ),
    Check(
        name="invisible characters",
        meaning="zero-width spaces and joiners between Latin letters, soft hyphens, byte order marks",
        remedy="remove them: they make other words for a tokenizer",
        pattern="[\u200b\u2060\ufeff\u00ad]|[A-Za-z][\u200c\u200d]",
    ),
    Check(
        name="all upper case",
        meaning=f"texts of {_UPPER_CHARACTERS} characters or more without a small letter",
        remedy="where the base model tells case apart, --lower makes all texts alike",
    ),
    Check(
        name="no word",
        meaning="texts of punctuation alone",
        remedy="drop them",
    ),
    Check(
        name="very short",
        meaning=f"texts of one or two words (below {SHORT_WORDS})",
        remedy="see whether they can be labelled at all: --min-words drops them",
    ),
    Check(
        name="very long",
        meaning=f"texts of {LONG_TIMES} times the median words, and {LONG_WORDS} or more",
        remedy="see whether several texts run together",
    ),
)
_UPPER, _EMPTY, _SHORT, _LONG = range(6, 10)


def mark_characters(texts: pa.StringArray) -> npt.NDArray[np.uint16]:
    """Return a bit for each check that a text's characters meet, shape (texts,); those of words are `mark_words`."""
    marks = np.zeros(len(texts), np.uint16)
    for bit, check in enumerate(CHECKS):
        if check.pattern is not None:
            found = pc.match_substring_regex(texts, check.pattern)
            marks |= _bits(found.to_numpy(zero_copy_only=False), bit)
    upper = pc.and_(pc.utf8_is_upper(texts), pc.greater_equal(pc.utf8_length(texts), _UPPER_CHARACTERS))
    return marks | _bits(upper.to_numpy(zero_copy_only=False), _UPPER)


def mark_words(words: npt.NDArray[np.int32]) -> npt.NDArray[np.uint16]:
    """Return a bit for each check of the number of words, shape (texts,)."""
    longest = max(LONG_WORDS, LONG_TIMES * float(np.median(words)))
    short = (words > 0) & (words < SHORT_WORDS)
    return _bits(words == 0, _EMPTY) | _bits(short, _SHORT) | _bits(words >= longest, _LONG)


def list_oddities(corpus: Corpus, measures: Measures) -> tuple[Oddity, ...]:
    """Return what was found, in the order of CHECKS, each with the number of texts and the first ones in short."""
    marks = measures.marks | mark_words(measures.words)
    found = []
    for bit, check in enumerate(CHECKS):
        rows = np.flatnonzero(marks >> bit & 1)
        if len(rows):
            examples = _snippets(corpus, rows[:_EXAMPLES], check)
            words = {"name": check.name, "meaning": check.meaning, "remedy": check.remedy}
            found.append(Oddity(**words, texts=len(rows), examples=examples))
    return tuple(found)


def name_invisible(text: str) -> str:
    """Return a text with what cannot be seen written as its code.

    >>> name_invisible("a\\u200bb\\x07")
    'a[U+200B]b[U+0007]'
    """
    return _INVISIBLE.sub(lambda letter: f"[U+{ord(letter[0]):04X}]", text)


def _bits(found: npt.NDArray[np.bool_], bit: int) -> npt.NDArray[np.uint16]:
    return found.astype(np.uint16) << np.uint16(bit)


def _snippets(corpus: Corpus, rows: npt.NDArray[np.int64], check: Check) -> tuple[Snippet, ...]:
    return tuple(
        _snippet(text, *corpus.locate(int(row)), check) for row, text in zip(rows, corpus.read(rows), strict=True)
    )


def _snippet(text: str, split: str, row: int, check: Check) -> Snippet:
    """Return the first place in a text that the pattern finds, or the text's beginning."""
    match = re.search(check.pattern, text) if check.pattern else None
    start, end = match.span() if match else (0, 0)
    end = min(end, start + _MATCH)
    left = max(0, start - _CONTEXT)
    before = ("…" if left else "") + text[left:start]
    after = text[end : end + 2 * _CONTEXT] + ("…" if len(text) > end + 2 * _CONTEXT else "")
    shown = [name_invisible(part) for part in (before, text[start:end], after)]
    return Snippet(split=split, row=row, before=shown[0], match=shown[1], after=shown[2])
