"""Labels under new names, several of them one: a map in a TOML file, applied to whole tables."""

from __future__ import annotations

import difflib
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from loracle.data.cleaning import CleanTable
from loracle.data.labels import list_labels, move_labels
from loracle.data.preparing import Step
from loracle.data.splitting import count_labels
from loracle.errors import ConfigError, DataError

_SHOWN = 20
_EXAMPLE = 'write a table [merge] with lines such as: "Credit card" = "Card"'


def load_merge_map(path: Path) -> dict[str, str]:
    """Read new label names by old ones from the table [merge] of a TOML file.

    Raises ConfigError where the file is missing, is no TOML, or holds anything but names that are not empty.
    """
    try:
        content = tomllib.loads(path.expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"merge is {path}, which cannot be read ({error.strerror}); give a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"merge is {path}, which is no TOML file ({error}); {_EXAMPLE}") from error
    mapping = content.pop("merge", {})
    if content:
        raise ConfigError(f"{path} holds {next(iter(content))!r} outside of the table [merge]; {_EXAMPLE}")
    if not isinstance(mapping, dict) or not mapping:
        raise ConfigError(f"{path} merges no labels; {_EXAMPLE}")
    for old, new in mapping.items():
        if not isinstance(new, str) or not new.strip():
            raise ConfigError(f"{path} gives the label {old!r} the name {new!r}; allowed: words in quotes, not empty")
    return mapping


def merge_labels(
    tables: Mapping[str, CleanTable], mapping: Mapping[str, str], path: Path
) -> tuple[dict[str, CleanTable], Step, str]:
    """Return the tables with the labels that the map of `path` names renamed, what was done, and a sentence on it.

    All names are taken as they stand in the data: a new name is not looked up again. Raises DataError for a name
    that is no label of any table.
    """
    known = {name for table in tables.values() for name in table.label_names}
    for old in mapping:
        if old not in known:
            raise _unknown_label(old, known, path)
    merged = {split: _rename(table, mapping) for split, table in tables.items()}
    left = {name for table in merged.values() for name in table.label_names}
    counts = _count_rows(tables)
    changed = {old: counts[old] for old, new in mapping.items() if old != new}
    renamed = ", ".join(f"{old!r} -> {mapping[old]!r} ({rows:,})" for old, rows in list(changed.items())[:_SHOWN])
    more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
    note = f"{len(known)} labels became {len(left)} by {path.name} (rows): {renamed}{more}."
    return (
        merged,
        Step(
            name="merge", rows_before=sum(len(table.codes) for table in tables.values()), changed=sum(changed.values())
        ),
        note,
    )


def _unknown_label(old: str, known: set[str], path: Path) -> DataError:
    close = difflib.get_close_matches(old, sorted(known), n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return DataError(f"{path} names the label {old!r}, which no row has; {hint}Labels: {list_labels(sorted(known))}")


def _rename(table: CleanTable, mapping: Mapping[str, str]) -> CleanTable:
    renamed = [mapping.get(name, name) for name in table.label_names]
    places = {name: place for place, name in enumerate(dict.fromkeys(renamed))}
    codes = move_labels(table.codes, [places[name] for name in renamed], len(places))
    return replace(table, codes=codes, label_names=tuple(places))


def _count_rows(tables: Mapping[str, CleanTable]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for table in tables.values():
        rows = count_labels(table.codes, len(table.label_names)).tolist()
        counts.update(dict(zip(table.label_names, rows, strict=True)))
    return counts
