"""The picture of every method's distance from the best one, with the margin that decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loracle.comparison.result import Comparison
from loracle.evaluation.uncertainty import Interval
from loracle.reporting import canvas, figures, selection
from loracle.reporting.canvas import ACCENT, BAND, INK, MUTED, Size


def draw_decision(comparison: Comparison, rows: Sequence[tuple[str, Interval, float]], size: Size) -> Any:
    """Return the figure: a row per method with its difference from the best one, and the margin as a band."""
    step = 44.0 if size.narrow else 30.0
    left, right, top, bottom = (6.0, 6.0, 26.0, 46.0) if size.narrow else (220.0, 180.0, 26.0, 46.0)
    height = step * len(rows) + top + bottom
    figure = canvas.empty_figure(size, height)
    width = size.width - left - right
    axes = canvas.add_axes(figure, left=left, top=top, width=width, height=step * len(rows), font=size.font)
    _scale_decision(axes, comparison, [gap for _, gap, _ in rows], size)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    _draw_margin(axes, comparison, len(rows), size)
    for position, (method, gap, _) in enumerate(rows):
        _draw_gap(axes, comparison, method, gap, position, size)
    return figure


def _scale_decision(axes: Any, comparison: Comparison, gaps: Sequence[Interval], size: Size) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    verdict = comparison.verdict
    if verdict is None:
        raise ValueError("a picture of the decision needs a verdict")
    floor = selection.lowest_on_scale([0.0, *(gap.value for gap in gaps)])
    shown = [gap for gap in gaps if gap.value >= floor]
    low = min(-1.5 * verdict.margin, *(gap.low for gap in shown), floor)
    high = max(0.5 * verdict.margin, *(gap.high for gap in shown), 0.0)
    room = max((high - low) * 0.08, 1e-4)
    axes.set_xlim(low - room, high + room)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4 if size.narrow else 8, steps=[1, 2, 5, 10]))
    metric = verdict.metric
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _signed_tick(metric, value)))
    unit = "points of " if figures.is_share(metric) else ""
    name, best = selection.metric_name(comparison, metric), figures.shorten_middle(verdict.best, size.letters)
    text = f"{unit}{name} from {best}, the best"
    canvas.write(axes, (0.5, 0), text, size=size, colour=MUTED, transform=canvas.below(axes, 28), va="top", ha="center")
    margin = f"margin {figures.distance(metric, verdict.margin)}"
    place = {"transform": axes.get_xaxis_transform(), "va": "bottom", "ha": "center"}
    canvas.write(axes, (-verdict.margin / 2, 1.02), margin, size=size, colour=MUTED, **place)


def _draw_margin(axes: Any, comparison: Comparison, rows: int, size: Size) -> None:
    """Draw the best method's line and the margin's; on a phone only beside the intervals, below the words."""
    margin = comparison.verdict.margin if comparison.verdict else 0.0
    parts = [(y + 0.02, y + 0.42) for y in range(rows)] if size.narrow else [(-0.5, rows - 0.5)]
    for top, bottom in parts:
        axes.fill_between([-margin, 0], top, bottom, color=BAND, linewidth=0, zorder=0.5)
        axes.plot([0, 0], [top, bottom], color=MUTED, linewidth=1)
        axes.plot([-margin] * 2, [top, bottom], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))


def _draw_gap(axes: Any, comparison: Comparison, method: str, gap: Interval, y: int, size: Size) -> None:
    verdict, colour = comparison.verdict, _colour(comparison, method)
    metric = verdict.metric if verdict else "accuracy"
    weight = "bold" if colour == ACCENT else "normal"
    name, words = figures.shorten_middle(method, size.letters), figures.difference_interval(metric, gap)
    line = y + 0.22 if size.narrow else y
    left = axes.get_xlim()[0]
    if gap.value < left:
        axes.plot(
            [canvas.moved(axes, left, line, right=8)[0]],
            [line],
            marker="<",
            color=colour,
            markersize=8,
            linestyle="none",
        )
    else:
        axes.plot([max(gap.low, left), gap.high], [line, line], color=colour, linewidth=1.6)
        axes.plot([gap.value], [line], marker="o", color=colour, markersize=7, linestyle="none")
    place: dict[str, Any] = {"transform": axes.get_yaxis_transform()}
    if size.narrow:
        canvas.write(axes, (0, y - 0.12), name, size=size, colour=colour, ha="left", weight=weight, **place)
        canvas.write(axes, (1, y - 0.12), words, size=size, colour=MUTED, ha="right", **place)
        return
    canvas.write(axes, (-0.03, y), name, size=size, colour=colour, ha="right", va="center", weight=weight, **place)
    canvas.write(axes, (1.03, y), words, size=size, colour=MUTED, ha="left", va="center", **place)


def _colour(comparison: Comparison, method: str) -> str:
    return ACCENT if method == selection.shipped(comparison) else INK


def _signed_tick(metric: str, value: float) -> str:
    shown = round(value * (100 if figures.is_share(metric) else 1), 6)
    sign = figures.MINUS if shown < 0 else "+" if shown > 0 else ""
    return f"{sign}{abs(shown):g}"
