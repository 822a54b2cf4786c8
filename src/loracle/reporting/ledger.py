"""The ledger and the task of a comparison are free-form JSON: what of them is shown, and in what words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loracle.comparison.result import Comparison
from loracle.reporting import figures

_SHOWN_AS_TABLE = {"label_names", "notes"}


def ledger_entries(comparison: Comparison) -> dict[str, Any]:
    """Return the ledger with its sentences (what was equal, what was not) before its figures."""
    entries = comparison.ledger.items()
    return {str(key): value for key, value in sorted(entries, key=lambda entry: not _is_prose(entry[1]))}


def told_passes(comparison: Comparison) -> list[str]:
    """Return for which methods several fits were trained in one pass, and what their figures then are."""
    told = comparison.ledger.get("trained together")
    return [str(sentence) for sentence in told] if isinstance(told, list | tuple) else []


def data_entries(comparison: Comparison) -> dict[str, Any]:
    """Return what is known of the data, without the label counts and notes, which stand on their own."""
    entries = {str(key): value for key, value in comparison.task.items() if key not in _SHOWN_AS_TABLE}
    splits = entries.get("splits")
    if isinstance(splits, Mapping):
        entries["splits"] = {name: _without_counts(split) for name, split in splits.items()}
    return entries


def data_notes(comparison: Comparison) -> list[str]:
    """Return the notes that were taken while the data was loaded."""
    notes = comparison.task.get("notes")
    return [str(note) for note in notes] if isinstance(notes, list | tuple) else []


def is_nested(value: object) -> bool:
    """Return whether a value has parts that are shown one below the other."""
    return isinstance(value, Mapping | list | tuple) and len(value) > 0


def is_flat(value: object) -> bool:
    """Return whether a value is a list of figures or single words, shown on one line."""
    if not isinstance(value, list | tuple):
        return False
    return all(not is_nested(item) and not (isinstance(item, str) and " " in item) for item in value)


def line(value: object, key: object = "") -> str:
    """Return a value that has no parts, or a flat list, as text; the key tells the unit.

    >>> line(True), line(2000), line(0.0003), line([]), line([1, 2]), line(16e9, "memory_bytes")
    ('yes', '2,000', '3e-4', '–', '1, 2', '16 GB')
    """
    if is_flat(value) and isinstance(value, list | tuple):
        return ", ".join(line(item, key) for item in value) or figures.MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _with_unit(value, str(key))
    return figures.plain(value) if value not in (None, "", {}) else figures.MISSING


def heading(key: object) -> str:
    """Return a key as words, its unit left to the value.

    >>> heading("max_length"), heading("memory_bytes")
    ('max length', 'memory')
    """
    return figures.plain(key).removesuffix("_bytes").removesuffix("_seconds").replace("_", " ")


def _with_unit(value: float, key: str) -> str:
    if key.endswith("_bytes"):
        return figures.size(value)
    if key.endswith("_seconds"):
        return figures.seconds(value)
    return figures.count(value) if isinstance(value, int) else figures.setting(value)


def _is_prose(value: object) -> bool:
    return isinstance(value, list | tuple) and any(isinstance(item, str) and " " in item for item in value)


def _without_counts(split: object) -> object:
    return {key: value for key, value in split.items() if key != "per_label"} if isinstance(split, Mapping) else split
