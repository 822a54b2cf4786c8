"""The picture of quality against cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loracle.comparison.result import Comparison, Summary
from loracle.evaluation.uncertainty import Interval
from loracle.reporting import canvas, figures, findings, selection
from loracle.reporting.canvas import ACCENT, BAND, INK, LINE, MUTED, Size
from loracle.reporting.placement import Box, Placed, place_labels, text_width

_MARGINS = {"wide": (56.0, 34.0, 24.0, 52.0), "narrow": (44.0, 34.0, 6.0, 62.0)}  # left, top, right, bottom
_CROWD, _CROWDED_LETTERS = 8, 12  # above so many methods a phone has room for so many letters of each
_TICKS = {
    **{1e-5: "0.01 ms", 1e-4: "0.1 ms", 1e-3: "1 ms", 1e-2: "10 ms", 0.1: "0.1 s", 1.0: "1 s", 10.0: "10 s"},
    **{60.0: "1 min", 600.0: "10 min", 3600.0: "1 h", 36000.0: "10 h", 345600.0: "4 d", 3456000.0: "40 d"},
}


@dataclass(frozen=True, kw_only=True)
class Point:
    """One method in the picture of quality against cost."""

    method: str
    cost: float
    quality: Interval
    shown: float  # the height at which it is drawn
    below_scale: bool


def is_drawn(comparison: Comparison, summary: Summary) -> bool:
    """Return whether a method has a quality and a cost that a picture can show."""
    known = selection.quality(comparison, summary) is not None
    return known and math.isfinite(summary.cost_seconds) and summary.cost_seconds > 0


def cost_points(comparison: Comparison) -> list[Point]:
    """Return the methods that the picture can show; one that is far below the others is put at its foot."""
    drawn = [s for s in selection.ranked(comparison) if is_drawn(comparison, s)]
    known = [(s, q) for s in drawn if (q := selection.quality(comparison, s)) is not None]
    if not known:
        return []
    floor = selection.lowest_on_scale([q.value for _, q in known])
    return [_point(summary, interval, floor) for summary, interval in known]


def draw_cost(comparison: Comparison, points: Sequence[Point], size: Size) -> Any:
    """Return the figure: a point with its interval per method, and a band as high as the margin below the best."""
    height = 340.0 + 8 * len(points) if size.narrow else 400.0
    left, top, right, bottom = _MARGINS[size.name]
    figure = canvas.empty_figure(size, height)
    place = {"left": left, "top": top, "width": size.width - left - right, "height": height - top - bottom}
    axes = canvas.add_axes(figure, **place, font=size.font)
    _scale_quality(axes, points, comparison, size)
    _scale_cost(axes, points, comparison, size)
    band = _draw_band(axes, comparison, points, size)
    for point in points:
        _draw_point(axes, point, colour=_colour(comparison, point.method))
    _label_points(axes, comparison, points, size, band)
    return figure


def _point(summary: Summary, interval: Interval, floor: float) -> Point:
    low, high = (x if math.isfinite(x) else interval.value for x in (interval.low, interval.high))
    return Point(
        method=summary.method,
        cost=summary.cost_seconds,
        quality=Interval(value=interval.value, low=low, high=high),
        shown=max(interval.value, floor),
        below_scale=interval.value < floor,
    )


def _scale_quality(axes: Any, points: Sequence[Point], comparison: Comparison, size: Size) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    metric = selection.deciding_metric(comparison)
    shown = [point.quality for point in points if not point.below_scale]
    margin = comparison.verdict.margin if comparison.verdict else 0.0
    low = min(*(q.low for q in shown), max(q.value for q in shown) - 1.3 * margin)
    high = max(q.high for q in shown)
    room = max((high - low) * 0.12, 0.004)
    floor = low - room * (3 if any(point.below_scale for point in points) else 1)
    axes.set_ylim(floor, high + room)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick_words(metric, value)))
    axes.grid(axis="y", color=LINE, linewidth=0.6)
    unit = " in %" if figures.is_share(metric) else ""
    title = f"test {selection.metric_name(comparison, metric)}{unit}, with the 95 % interval"
    canvas.write(axes, (0, 1.04), title, size=size, colour=MUTED, transform=axes.transAxes, va="bottom", ha="left")


def _scale_cost(axes: Any, points: Sequence[Point], comparison: Comparison, size: Size) -> None:
    from matplotlib.ticker import NullLocator

    costs = [point.cost for point in points]
    spread = max(1.0, math.log10(max(costs) / min(costs)))
    room = 10 ** (spread * (0.2 if size.narrow else 0.12))
    low, high = min(costs) / room, max(costs) * room
    while high / low < 30:
        low, high = low / 1.2, high * 1.2
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = [tick for tick in _TICKS if low <= tick <= high]
    step = math.ceil(len(ticks) / (4 if size.narrow else 9)) or 1
    axes.set_xticks(ticks[::step], [_TICKS[tick] for tick in ticks[::step]], minor=False)
    axes.xaxis.set_minor_locator(NullLocator())
    words = findings.cost_words(comparison)
    first, second = ("cost:", words) if size.narrow else (f"cost: {words} (log scale)", "")
    for line, text in enumerate(filter(None, (f"{first} log scale" if second else first, second))):
        down = 34 + 16 * line
        canvas.write(
            axes, (1, 0), text, size=size, colour=MUTED, transform=canvas.below(axes, down), va="top", ha="right"
        )


def _draw_band(axes: Any, comparison: Comparison, points: Sequence[Point], size: Size) -> Box | None:
    verdict = comparison.verdict
    best = next((p for p in points if verdict and p.method == verdict.best), None)
    if verdict is None or best is None or not verdict.margin > 0:
        return None
    top, bottom = best.quality.value, best.quality.value - verdict.margin
    axes.axhspan(bottom, top, color=BAND, linewidth=0, zorder=0.5)
    text = f"within {figures.distance(verdict.metric, verdict.margin)} of the best"
    small = Size(name=size.name, width=size.width, font=size.font - 1, letters=size.letters)
    box = _free_beside_band(axes, (bottom, top), (text_width(text, small.font), small.font * 1.3), points)
    place = axes.transData.inverted().transform((box.left, box.bottom + small.font * 0.3))
    canvas.write(axes, place, text, size=small, colour=MUTED, va="baseline", ha="left")
    return box


def _free_beside_band(axes: Any, band: tuple[float, float], size: tuple[float, float], points: Sequence[Point]) -> Box:
    """Return the place inside, below or above the band, from the left to the right, that covers no point."""
    width, height = size
    window = axes.get_window_extent()
    low, high = (axes.transData.transform((axes.get_xlim()[0], edge))[1] for edge in band)
    inside = [(low + high - height) / 2] if high - low > height + 2 else []
    lefts = [window.x0 + 6 + share * (window.width - width - 12) for share in (0, 0.25, 0.5, 0.75, 1)]
    boxes = [
        Box(left=left, bottom=bottom, right=left + width, top=bottom + height)
        for bottom in (*inside, low - height - 2, high + 2)
        for left in lefts
    ]
    taken = [box for point in points for box in _obstacles(axes, point)]
    return min(boxes, key=lambda box: sum(box.overlap(other) > 0 for other in taken))


def _draw_point(axes: Any, point: Point, *, colour: str) -> None:
    if point.below_scale:
        _, y = _foot(axes, point)
        axes.plot([point.cost], [y], marker="v", color=colour, markersize=8, linestyle="none")
        return
    axes.plot([point.cost] * 2, [point.quality.low, point.quality.high], color=colour, linewidth=1.4)
    axes.plot([point.cost], [point.shown], marker="o", color=colour, markersize=8, linestyle="none")


def _label_points(axes: Any, comparison: Comparison, points: Sequence[Point], size: Size, band: Box | None) -> None:
    metric, shipped = selection.deciding_metric(comparison), selection.shipped(comparison)
    first = sorted(points, key=lambda point: (point.method != shipped, -point.cost))
    letters = min(size.letters, _CROWDED_LETTERS) if size.narrow and len(points) > _CROWD else size.letters
    texts = [_label(point, metric, letters) for point in first]
    obstacles = [box for point in first for box in _obstacles(axes, point)] + ([band] if band else [])
    window = axes.get_window_extent()
    chosen = place_labels(
        [_place(axes, point) for point in first],
        [(text_width(text, size.font), size.font * 1.25) for text in texts],
        bounds=Box(left=window.x0, bottom=window.y0, right=size.width, top=window.y1 + 6),
        obstacles=obstacles,
    )
    for point, text, placed in zip(first, texts, chosen, strict=True):
        _write_label(axes, point, text, placed, size, _colour(comparison, point.method))


def _write_label(axes: Any, point: Point, text: str, placed: Placed, size: Size, colour: str) -> None:
    box, (x, y), inverse = placed.box, _place(axes, point), axes.transData.inverted()
    if placed.leader:
        line = zip(inverse.transform((x, y)), inverse.transform(box.nearest(x, y)), strict=True)
        axes.plot(*line, color=MUTED, linewidth=0.7, zorder=1)
    anchor, align = (box.left + box.right) / 2, "center"
    if box.left >= x:
        anchor, align = box.left, "left"
    elif box.right <= x:
        anchor, align = box.right, "right"
    spot = inverse.transform((anchor, box.bottom + size.font * 0.3))
    weight = "bold" if colour == ACCENT else "normal"
    canvas.write(axes, spot, text, size=size, colour=colour, ha=align, va="baseline", weight=weight)


def _label(point: Point, metric: str, letters: int) -> str:
    name = figures.shorten_middle(point.method, letters)
    return f"{name} {figures.metric_value(metric, point.quality.value)}" if point.below_scale else name


def _place(axes: Any, point: Point) -> tuple[float, float]:
    y = _foot(axes, point)[1] if point.below_scale else point.shown
    x, y = axes.transData.transform((point.cost, y))
    return float(x), float(y)


def _foot(axes: Any, point: Point) -> tuple[float, float]:
    return canvas.moved(axes, point.cost, axes.get_ylim()[0], up=9)


def _obstacles(axes: Any, point: Point) -> list[Box]:
    x, y = _place(axes, point)
    boxes = [Box(left=x - 6, bottom=y - 6, right=x + 6, top=y + 6)]
    if not point.below_scale:
        ends = [axes.transData.transform((point.cost, bound))[1] for bound in (point.quality.low, point.quality.high)]
        boxes.append(Box(left=x - 2, bottom=ends[0], right=x + 2, top=ends[1]))
    return boxes


def _colour(comparison: Comparison, method: str) -> str:
    return ACCENT if method == selection.shipped(comparison) else INK


def _tick_words(metric: str, value: float) -> str:
    return f"{value * 100:.4g}" if figures.is_share(metric) else f"{value:.4g}"
