"""What a row measured, as it stands in results/<machine>.json: every reading, and the ratio of each round."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from loracle.files import write_text

FOLDER = Path(__file__).with_name("results")


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a ratio should be: `at_least` or `at_most`."""

    at_least: float | None = None
    at_most: float | None = None

    def is_reached(self, ratio: float) -> bool:
        """Say whether the ratio is what it should be."""
        return (self.at_least is None or ratio >= self.at_least) and (self.at_most is None or ratio <= self.at_most)

    def __str__(self) -> str:
        """Return it as the table shows it."""
        return f"at least {self.at_least:g}" if self.at_least is not None else f"at most {self.at_most:g}"


@dataclass(frozen=True, kw_only=True)
class Side:
    """One contestant: its name, how it was run, and its readings in the row's unit, one a round."""

    name: str
    how: str = ""
    readings: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median of the readings."""
        return statistics.median(self.readings)


@dataclass(frozen=True, kw_only=True)
class Result:
    """One row: Loracle's side, and others of which the toughest is the one that counts."""

    row: str
    title: str
    unit: str
    target: Target | None
    ours: Side
    others: tuple[Side, ...]
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    circumstances: Mapping[str, Any] = field(default_factory=dict)

    @property
    def toughest(self) -> Side:
        """The side against which the ratio is the least favourable."""
        lower_is_better = self.target is not None and self.target.at_most is not None
        return (max if lower_is_better else min)(self.others, key=lambda side: statistics.median(self._against(side)))

    @property
    def ratios(self) -> tuple[float, ...]:
        """Loracle's reading divided by that of the toughest other side, round by round."""
        return self._against(self.toughest)

    @property
    def ratio(self) -> float:
        """The median of the ratios."""
        return statistics.median(self.ratios)

    @property
    def reached(self) -> bool | None:
        """Whether the target was reached; None where there is none."""
        return None if self.target is None else self.target.is_reached(self.ratio)

    def to_json(self) -> dict[str, Any]:
        """Return all of it, with the medians and the spread that follow from the readings."""
        sides = {"ours": _describe(self.ours), "others": [_describe(side) for side in self.others]}
        ratio = {"median": self.ratio, "low": min(self.ratios), "high": max(self.ratios), "each": self.ratios}
        derived = {"against": self.toughest.name, "ratio": ratio, "reached": self.reached}
        return {**asdict(self), **sides, **derived}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; what follows from the readings is computed again."""
        return cls(
            row=raw["row"],
            title=raw["title"],
            unit=raw["unit"],
            target=Target(**raw["target"]) if raw["target"] else None,
            ours=_parse_side(raw["ours"]),
            others=tuple(_parse_side(side) for side in raw["others"]),
            notes=tuple(raw["notes"]),
            settings=raw["settings"],
            circumstances=raw["circumstances"],
        )

    def _against(self, side: Side) -> tuple[float, ...]:
        return tuple(own / other for own, other in zip(self.ours.readings, side.readings, strict=True))


@dataclass(frozen=True, kw_only=True)
class Report:
    """All rows that were measured on one machine, each with its own date; `quality` is what quality.py measured."""

    name: str
    machine: Mapping[str, Any]
    results: tuple[Result, ...] = ()
    quality: Mapping[str, Any] | None = None

    def with_result(self, result: Result, order: Sequence[str]) -> Report:
        """Return the report with a row added or replaced, rows in this order, unknown ones last."""
        kept = [*(old for old in self.results if old.row != result.row), result]
        places = {row: place for place, row in enumerate(order)}
        kept.sort(key=lambda item: places.get(item.row, len(places)))
        return replace(self, results=tuple(kept))

    def with_quality(self, quality: Mapping[str, Any]) -> Report:
        """Return the report with what was measured about accuracy."""
        return replace(self, quality=quality)


def load_reports(folder: Path = FOLDER) -> list[Report]:
    """Read the reports of all machines, by name."""
    return [_parse_report(path) for path in sorted(folder.glob("*.json"))]


def load_report(name: str, machine: Mapping[str, Any], folder: Path = FOLDER) -> Report:
    """Read what was measured on this machine before; an empty report where there is nothing."""
    path = folder / f"{name}.json"
    known = _parse_report(path) if path.is_file() else Report(name=name, machine=machine)
    return replace(known, machine=machine)


def save_report(report: Report, folder: Path = FOLDER) -> Path:
    """Write results/<machine>.json, whole or not at all, and return where it is."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report.name}.json"
    results = [result.to_json() for result in report.results]
    content = {"machine": report.machine, "results": results, "quality": report.quality}
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return path


def _parse_report(path: Path) -> Report:
    raw = json.loads(path.read_text(encoding="utf-8"))
    results = tuple(Result.from_json(item) for item in raw["results"])
    return Report(name=path.stem, machine=raw["machine"], results=results, quality=raw["quality"])


def _describe(side: Side) -> dict[str, Any]:
    return {**asdict(side), "median": side.median, "low": min(side.readings), "high": max(side.readings)}


def _parse_side(raw: Mapping[str, Any]) -> Side:
    return Side(name=raw["name"], how=raw["how"], readings=tuple(raw["readings"]))
