"""Labels beside points, so that no two of them overlap; pure geometry in pixels, y upwards."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_RADII = (9.0, 16.0, 26.0, 38.0, 52.0, 70.0, 92.0, 120.0, 160.0)
_ANGLES = (0, 180, 35, -35, 145, -145, 90, -90, 60, -60, 120, -120)
_LEADER_FROM = 20.0  # pixels: a label further away than this is tied to its point by a line
_CROSSING = 60.0  # square pixels of overlap that one box crossed by such a line counts for
_GLYPH = 0.56  # of the font size: wider than the letters of the usual system fonts


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: Box) -> float:
        """Return the area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(width, 0.0) * max(height, 0.0)

    def holds(self, x: float, y: float) -> bool:
        """Return whether a place lies inside."""
        return self.left <= x <= self.right and self.bottom <= y <= self.top

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """Return the place inside that is nearest to (x, y)."""
        return min(max(x, self.left), self.right), min(max(y, self.bottom), self.top)

    def outside(self, bounds: Box) -> float:
        """Return the area that lies outside `bounds`."""
        return (self.right - self.left) * (self.top - self.bottom) - self.overlap(bounds)


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Where a label stands, and whether a line ties it to its point."""

    box: Box
    leader: bool


def text_width(text: str, size: float) -> float:
    """Return an upper estimate of a text's width in a font of `size` pixels.

    >>> text_width("ab", 10.0) < text_width("日本", 10.0)
    True
    """
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return size * (_GLYPH * (len(text) - wide) + 1.05 * wide)


def place_labels(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    *,
    bounds: Box,
    obstacles: Iterable[Box],
) -> list[Placed]:
    """Place one label of the given (width, height) beside each point; the first points choose first.

    A label takes the nearest place that is free and inside `bounds`, else the one that covers least.
    """
    taken = list(obstacles)
    placed = []
    for point, size in zip(points, sizes, strict=True):
        choice = _nearest_free(point, size, bounds, taken)
        taken.append(choice.box)
        taken += _along_the_leader(point, choice)
        placed.append(choice)
    return placed


def _nearest_free(point: tuple[float, float], size: tuple[float, float], bounds: Box, taken: Sequence[Box]) -> Placed:
    chosen, least = None, math.inf
    for radius in _RADII:
        for angle in _ANGLES:
            box = _beside(point, size, radius, math.radians(angle))
            covered = box.outside(bounds) * 3 + sum(box.overlap(other) for other in taken)
            if radius > _LEADER_FROM:
                covered += _CROSSING * _crossed(point, box, taken)
            if covered < least - 1e-6:
                chosen, least = Placed(box=box, leader=radius > _LEADER_FROM), covered
            if chosen is not None and least <= 1e-6:
                return chosen
    if chosen is None:
        raise ValueError("a label's size and its point must be finite")
    return chosen


def _beside(point: tuple[float, float], size: tuple[float, float], radius: float, angle: float) -> Box:
    width, height = size
    x, y = point[0] + radius * math.cos(angle), point[1] + radius * math.sin(angle)
    left = x - width / 2 * (1 - _toward(math.cos(angle)))
    bottom = y - height / 2 * (1 - _toward(math.sin(angle)))
    return Box(left=left, bottom=bottom, right=left + width, top=bottom + height)


def _crossed(point: tuple[float, float], box: Box, taken: Sequence[Box]) -> int:
    """Return how many boxes the line from a point to its label runs through, those around the point aside."""
    line = _line(point, box.nearest(*point))
    return sum(any(other.holds(x, y) for x, y in line) for other in taken if not other.holds(*point))


def _along_the_leader(point: tuple[float, float], placed: Placed) -> list[Box]:
    if not placed.leader:
        return []
    line = _line(point, placed.box.nearest(*point))
    return [Box(left=x - 1, bottom=y - 1, right=x + 1, top=y + 1) for x, y in line]


def _line(start: tuple[float, float], end: tuple[float, float]) -> list[tuple[float, float]]:
    steps = [step / 24 for step in range(1, 24)]
    return [(start[0] + (end[0] - start[0]) * t, start[1] + (end[1] - start[1]) * t) for t in steps]


def _toward(component: float) -> float:
    if abs(component) < 0.3:
        return 0.0
    return 1.0 if component > 0 else -1.0
