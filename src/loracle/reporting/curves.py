"""Learning curves as small multiples: one column a method, loss above the validation score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from loracle.comparison.result import Summary
from loracle.reporting import canvas, figures
from loracle.reporting.canvas import ACCENT, LINE, MUTED, Size

_LEFT, _GAP, _TITLE, _PANEL, _BETWEEN, _FOOT = 48.0, 22.0, 46.0, 110.0, 46.0, 46.0
_MOST = {"wide": (4, 260.0), "narrow": (2, 260.0)}  # columns in a row, and how wide one gets at most


def draw_curves(summaries: Sequence[Summary], size: Size, metric: str = "accuracy") -> Any:
    """Return a figure with every seed's train and validation loss and validation score by epoch."""
    most, widest = _MOST[size.name]
    columns = min(most, len(summaries))
    width = min(widest, (size.width - _LEFT - 8 - _GAP * (columns - 1)) / columns)
    row = _TITLE + 2 * _PANEL + _BETWEEN + _FOOT
    figure = canvas.empty_figure(size, row * math.ceil(len(summaries) / columns))
    panels = (_LOSSES, (metric,))
    limits = {keys: _limits(summaries, keys) for keys in panels}
    for position, summary in enumerate(summaries):
        line, column = divmod(position, columns)
        left, top = _LEFT + column * (width + _GAP), line * row + _TITLE
        for panel, keys in enumerate(panels):
            place = {"left": left, "top": top + panel * (_PANEL + _BETWEEN), "width": width, "height": _PANEL}
            axes = canvas.add_axes(figure, **place, font=size.font - 1)
            _draw_panel(axes, summary, keys, limits[keys], first=column == 0, size=size)
            if panel == 0:
                _write_title(axes, summary.method, size)
    return figure


_LOSSES: tuple[str, ...] = ("train_loss", "validation_loss")


def _draw_panel(
    axes: Any, summary: Summary, keys: Sequence[str], limits: tuple[float, float], *, first: bool, size: Size
) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    for key in keys:
        for history in summary.histories.values():
            _draw_line(axes, history, key)
    axes.set_ylim(*limits)
    axes.margins(x=0.06)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=4, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    scale = 1 if keys == _LOSSES else 100
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * scale:g}" if first else ""))
    axes.grid(axis="y", color=LINE, linewidth=0.6)
    if keys != _LOSSES:
        canvas.write(
            axes, (1, 0), "epoch", size=size, colour=MUTED, transform=canvas.below(axes, 24), va="top", ha="right"
        )
    if first:
        _write_above(axes, keys, size)


def _draw_line(axes: Any, history: Sequence[Mapping[str, float]], key: str) -> None:
    known = [
        (figures.number(entry.get("epoch", position)), value)
        for position, entry in enumerate(history, 1)
        if math.isfinite(value := figures.number(entry.get(key)))
    ]
    if known:
        trained = key == "train_loss"
        style = {"color": MUTED if trained else ACCENT, "linestyle": (0, (4, 3)) if trained else "solid"}
        marker = "o" if len(known) == 1 else ""
        axes.plot(*zip(*known, strict=True), linewidth=1.4, marker=marker, markersize=4, **style)


def _limits(summaries: Sequence[Summary], keys: Sequence[str]) -> tuple[float, float]:
    values = [
        value
        for summary in summaries
        for history in summary.histories.values()
        for entry in history
        for key in keys
        if math.isfinite(value := figures.number(entry.get(key)))
    ]
    if not values:
        return 0.0, 1.0
    room = (max(values) - min(values)) * 0.08 or 0.05
    return min(values) - room, max(values) + room


def _write_title(axes: Any, method: str, size: Size) -> None:
    width: float = axes.get_window_extent().width
    name = figures.shorten_middle(method, max(8, int(width / (size.font * 0.6))))
    place = {"transform": axes.transAxes, "va": "bottom", "ha": "left", "weight": "bold"}
    canvas.write(axes, (0, 1.22), name, size=size, **place)


def _write_above(axes: Any, keys: Sequence[str], size: Size) -> None:
    text = "loss" if keys == _LOSSES else f"validation {figures.metric_label(keys[0])}, %"
    canvas.write(axes, (0, 1.05), text, size=size, colour=MUTED, transform=axes.transAxes, va="bottom", ha="left")
