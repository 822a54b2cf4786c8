"""The pictures of a description: classes as bars, lengths as histograms, each for a wide and for a narrow page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from loracle.inspection.description import ClassCount, Description, Lengths
from loracle.reporting import canvas, figures
from loracle.reporting.canvas import ACCENT, INK, LINE, MUTED, NARROW, WIDE, Picture, Size

SHOWN_CLASSES = 20
"""Above so many classes the largest and the smallest half of so many are drawn."""
_SPLIT_COLOURS = (ACCENT, MUTED, LINE)
_PANEL = 190.0


def classes_picture(description: Description, finding: str) -> Picture:
    """Return the texts of each class as a bar of its splits, the largest class first."""
    return _both_sizes("classes", f"Texts of each class. {finding}", lambda size: _draw_classes(description, size))


def lengths_picture(lengths: Lengths, limit: int | None, finding: str) -> Picture:
    """Return how many texts have which length; bars beyond `limit` stand out."""
    described = f"Lengths in {lengths.unit}. {finding}"
    return _both_sizes(lengths.unit, described, lambda size: _draw_lengths(lengths, limit, size))


def _both_sizes(name: str, description: str, draw: Callable[[Size], Any]) -> Picture:
    wide, narrow = (canvas.render_svg(draw(size), f"{name}-{size.name}") for size in (WIDE, NARROW))
    return Picture(wide=wide, narrow=narrow, description=description)


def _draw_classes(description: Description, size: Size) -> Any:
    rows = _classes_to_show(description.classes)
    step = 42.0 if size.narrow else 27.0
    left, right = (2.0, 2.0) if size.narrow else (230.0, 80.0)
    figure = canvas.empty_figure(size, step * len(rows) + 8)
    place = {"left": left, "top": 4.0, "width": size.width - left - right, "height": step * len(rows)}
    axes = canvas.add_axes(figure, **place, font=size.font)
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlim(0, max(sum(entry.texts.values()) for entry in description.classes) or 1)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    for position, entry in enumerate(rows):
        if entry is None:
            between = f"… {len(description.classes) - len(rows) + 1:,} classes between"
            canvas.write(axes, (0, position), between, size=size, colour=MUTED, va="center")
        else:
            _draw_class(axes, entry, position, size)
    return figure


def _classes_to_show(classes: Sequence[ClassCount]) -> list[ClassCount | None]:
    """Return the classes from the largest to the smallest, with None for those that there is no room for."""
    ranked = sorted(classes, key=lambda entry: -sum(entry.texts.values()))
    if len(ranked) <= SHOWN_CLASSES:
        return [*ranked]
    half = SHOWN_CLASSES // 2
    return [*ranked[:half], None, *ranked[-half:]]


def _draw_class(axes: Any, entry: ClassCount, position: int, size: Size) -> None:
    """Draw one bar; on a phone the name and the number stand above it."""
    line = position + 0.2 if size.narrow else position
    begun = 0
    for colour, texts in zip(_SPLIT_COLOURS, entry.texts.values(), strict=True):
        axes.barh(line, texts, left=begun, height=0.34 if size.narrow else 0.62, color=colour, linewidth=0)
        begun += texts
    name, number = figures.shorten_middle(entry.label, 36 if size.narrow else 30), figures.count(begun)
    if size.narrow:
        place: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center"}
        canvas.write(axes, (0, position - 0.18), name, size=size, ha="left", **place)
        canvas.write(axes, (1, position - 0.18), number, size=size, colour=MUTED, ha="right", **place)
        return
    before, _ = canvas.moved(axes, 0, position, right=-10)
    after, _ = canvas.moved(axes, begun, position, right=8)
    canvas.write(axes, (before, position), name, size=size, ha="right", va="center")
    canvas.write(axes, (after, position), number, size=size, colour=MUTED, ha="left", va="center")


def _draw_lengths(lengths: Lengths, limit: int | None, size: Size) -> Any:
    left, right, top, foot = (44.0, 8.0, 44.0, 44.0) if size.narrow else (62.0, 10.0, 44.0, 44.0)
    figure = canvas.empty_figure(size, _PANEL + top + foot)
    place = {"left": left, "top": top, "width": size.width - left - right, "height": _PANEL}
    axes = canvas.add_axes(figure, **place, font=size.font)
    _draw_bins(axes, lengths, limit)
    _scale_lengths(axes, lengths, size)
    _mark_length(axes, lengths, limit, size)
    return figure


def _draw_bins(axes: Any, lengths: Lengths, limit: int | None) -> None:
    """Draw the bins as touching bars, and what is longer as one bar more, a bin apart."""
    width, bins = lengths.bin_width, len(lengths.bins)
    edges = [number * width for number in range(bins)]
    colours = [ACCENT if limit is not None and edge >= limit else MUTED for edge in edges]
    axes.bar(edges, lengths.bins, width=width * 0.9, align="edge", color=colours, linewidth=0)
    if lengths.longer:
        beyond = ACCENT if limit is not None else MUTED
        axes.bar([(bins + 1) * width], [lengths.longer], width=width * 0.9, align="edge", color=beyond, linewidth=0)


def _scale_lengths(axes: Any, lengths: Lengths, size: Size) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    end = len(lengths.bins) * lengths.bin_width
    axes.set_xlim(0, end + 2.2 * lengths.bin_width)
    step = _tick_step(end, 3 if size.narrow else 7, lengths.bin_width)
    ticks = [float(tick) for tick in range(0, end, step) if tick + step * 0.6 <= end or not lengths.longer]
    names = [figures.count(tick) for tick in ticks]
    if lengths.longer:
        ticks.append(end + 1.45 * lengths.bin_width)
        names.append(f"> {figures.count(end)}")
    axes.set_xticks(ticks, names)
    if lengths.longer:
        axes.get_xticklabels()[-1].set_horizontalalignment("right")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: figures.count(value)))
    axes.grid(axis="y", color=LINE, linewidth=0.6)
    below = canvas.below(axes, 26)
    canvas.write(axes, (0.5, 0), lengths.unit, size=size, colour=MUTED, transform=below, va="top", ha="center")
    canvas.write(axes, (0, 1.13), "texts", size=size, colour=MUTED, transform=axes.transAxes, va="bottom", ha="left")


def _tick_step(end: int, ticks: int, width: int) -> int:
    """Return a step of whole bins that gives about so many ticks."""
    step = width
    while end / step > ticks:
        step *= 2
    return step


def _mark_length(axes: Any, lengths: Lengths, limit: int | None, size: Size) -> None:
    """Draw the chosen maximum length as a line, or the median where nothing is chosen."""
    place, words = (lengths.median, f"median {figures.count(lengths.median)}") if limit is None else (limit, "")
    words = words or f"cut at {figures.count(place)}"
    if place > len(lengths.bins) * lengths.bin_width:
        return
    axes.axvline(place, color=INK, linewidth=1, linestyle=(0, (4, 3)), ymax=1.04, clip_on=False)
    far = place > 0.6 * axes.get_xlim()[1]
    at, _ = canvas.moved(axes, place, 0, right=-5 if far else 5)
    style = {"transform": axes.get_xaxis_transform(), "va": "bottom", "ha": "right" if far else "left"}
    canvas.write(axes, (at, 1.0), words, size=size, colour=INK, **style)
