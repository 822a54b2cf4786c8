"""Which column holds the texts and which the labels: as told, else the one sensible choice, else an error."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from loracle.data.labelsets import check_names_labels, holds_label_sets
from loracle.errors import DataError

_TEXT_NAMES = (
    "text", "texts", "sentence", "review", "review_text", "reviewtext", "content", "comment", "message", "body",
    "tweet", "document", "narrative", "utterance", "consumer complaint narrative",
)  # fmt: skip
_LABEL_NAMES = (
    "label", "labels", "label_text", "class", "category", "target", "sentiment", "intent", "topic", "y",
)  # fmt: skip
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")


@dataclass(frozen=True)
class Columns:
    """The columns that are read, and a sentence for each that was guessed."""

    text: str
    label: str
    notes: tuple[str, ...] = ()
    group: str | None = None
    multi_label: bool = False
    separator: str | None = None  # between the labels of a text; None where they are lists

    @property
    def chosen(self) -> dict[str, str]:
        """The columns by what they hold: text, label and, where there is one, group."""
        return {"text": self.text, "label": self.label} | ({"group": self.group} if self.group is not None else {})


@dataclass(frozen=True)
class _Profile:
    """What the first rows of a column look like."""

    name: str
    is_text: bool
    mean_length: float
    distinct: int
    rows: int
    fractions: bool
    values: frozenset[str]

    @property
    def holds_texts(self) -> bool:
        return self.is_text and self.mean_length >= 20 and self.distinct > 0.5 * self.rows

    @property
    def holds_labels(self) -> bool:
        few = max(20, self.rows // 20)
        return 1 <= self.distinct <= min(few, max(2, self.rows // 2)) and not self.fractions


def choose_columns(
    head: pa.RecordBatch,
    source: str,
    text_column: str | None,
    label_column: str | None,
    group_column: str | None = None,
    label_separator: str | None = None,
) -> Columns:
    """Choose the text and the label column from the first rows of `source`; the group column is never guessed.

    The labels are several a text where there is a separator, or where the column holds lists. Raises DataError where a
    named column does not exist or a guess would have several answers.
    """
    if group_column is not None:
        check_exists(group_column, head.schema.names, source, "--group-column")
        if group_column in (text_column, label_column):
            raise DataError(f"--group-column names {group_column!r}, the column of texts or labels; they must differ")
        head = head.drop_columns([group_column])
    text, text_note = choose_text_column(head, source, text_column, besides=label_column)
    label, label_note = _choose_label_column(head, source, label_column, besides=text)
    several = holds_label_sets(head.column(label), label_separator)
    check_names_labels(head.column(label), label_separator, label, source)
    return Columns(text, label, text_note + label_note, group_column, several, label_separator)


def choose_text_column(
    head: pa.RecordBatch, source: str, given: str | None, *, besides: str | None = None
) -> tuple[str, tuple[str, ...]]:
    """Return the text column and, where it was guessed, the sentence that says so."""
    names = [name for name in head.schema.names if name != besides]
    if given is not None:
        return check_exists(given, head.schema.names, source, "--text-column"), ()
    known = _known(names, _TEXT_NAMES)
    if len(head.schema.names) == 1:
        known = names
    choices = known or [name for name in names if _profile(head, name).holds_texts]
    return _only(choices, "text", "--text-column", head.schema.names, source)


def check_exists(given: str, names: Sequence[str], source: str, option: str = "its column") -> str:
    """Return `given` if it is one of `names`; else raise the DataError that names the closest and all others."""
    if given in names:
        return given
    folded = [name for name in names if name.strip().casefold() == given.strip().casefold()]
    close = folded or difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    raise DataError(f"{source} has no column {given!r}{hint} {option} must be one of: {_listed(names)}")


def _choose_label_column(
    head: pa.RecordBatch, source: str, given: str | None, besides: str
) -> tuple[str, tuple[str, ...]]:
    names = [name for name in head.schema.names if name != besides]
    if given is not None:
        name = check_exists(given, head.schema.names, source, "--label-column")
        if name == besides:
            raise DataError(f"--text-column and --label-column both name {name!r}; they must differ")
        return name, ()
    choices = _known(names, _LABEL_NAMES)
    if not choices:
        choices = names if len(names) == 1 else [name for name in names if _profile(head, name).holds_labels]
    label, notes = _only(choices, "label", "--label-column", head.schema.names, source)
    if label in _profile(head, label).values:
        raise DataError(
            f"the first line of {source} looks like data, not like column names ({label!r} is also a value below it); "
            "put a line such as `text,label` on top"
        )
    return label, notes


def _known(names: Sequence[str], known: Sequence[str]) -> list[str]:
    found = [name for name in names if re.sub(r"[\s_-]+", " ", name).strip().casefold() in _spaced(known)]
    first = [name for name in found if name.strip().casefold() == known[0]]
    return first if len(first) == 1 else found


def _spaced(known: Sequence[str]) -> set[str]:
    return {name.replace("_", " ") for name in known}


def _only(
    choices: Sequence[str], what: str, option: str, names: Sequence[str], source: str
) -> tuple[str, tuple[str, ...]]:
    if len(choices) == 1:
        plain = choices[0] == what  # the canonical name is no guess
        return choices[0], () if plain else (
            f"The {what} column was guessed: {choices[0]!r} ({option} names another).",
        )
    if len(names) == 1:
        raise DataError(f"{source} has no column besides {names[0]!r}; a text and a label column are needed")
    found = f"could be any of {_listed(choices)}" if choices else "cannot be told for certain"
    raise DataError(f"the {what} column of {source} {found}; name it with {option}, one of: {_listed(names)}")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:20])
    return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown


def _profile(head: pa.RecordBatch, name: str) -> _Profile:
    column = pc.drop_null(head.column(name))
    nested, floating = pa.types.is_nested(column.type), pa.types.is_floating(column.type)
    if nested or not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        distinct = 0 if nested else len(pc.unique(column))
        return _Profile(name, False, 0.0, distinct, head.num_rows, floating, frozenset())
    values = frozenset(pc.unique(column).to_pylist())
    numbers = all(_NUMBER.fullmatch(value) for value in values)
    fractions = numbers and any("." in value for value in values)
    length = pc.mean(pc.utf8_length(column)).as_py() or 0.0
    return _Profile(name, not numbers, length, len(values), head.num_rows, fractions, values)
