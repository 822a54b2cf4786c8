"""The batch-demo as one HTML file: memory against batch size, measured and planned, full fine-tuning against LoRA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loracle.comparison.doubling import Doubling
from loracle.comparison.trial import Trial
from loracle.files import write_text
from loracle.reporting import canvas, figures
from loracle.reporting.canvas import ACCENT, INK, LINE, MUTED, NARROW, WIDE, Picture, Size
from loracle.reporting.pages import check_output, render_page
from loracle.reporting.tables import Cell, Column, Row, Table

_MARK = "loracle batch-demo"
_PANEL, _TOP, _FOOT = 260.0, 34.0, 48.0
_COLOURS = (MUTED, ACCENT)


def check_doubling_output(path: Path) -> None:
    """Raise ConfigError where `path` is no .html file, or one that was not written here; FileError as usual."""
    check_output(path, suffixes=(".html",), mark=f'content="{_MARK}"')


def write_doubling(doubling: Doubling, path: Path) -> Path:
    """Write the page, whole or not at all; raises what `check_doubling_output` raises."""
    check_doubling_output(path)
    write_text(path, render_doubling(doubling))
    return path


def render_doubling(doubling: Doubling) -> str:
    """Return the page: no request to any server, light, dark and for paper."""
    wide, narrow = (canvas.render_svg(_draw(doubling, size), f"batches-{size.name}") for size in (WIDE, NARROW))
    finding = write_finding(doubling)
    return render_page(
        "doubling.html.j2",
        styles=("report.css",),
        scripts=("report.js",),
        mark=_MARK,
        name=doubling.model,
        eyebrow="The largest batch that fits",
        headline=finding,
        caveat="",
        facts=[
            f"{doubling.max_length} tokens",
            f"{doubling.precision} on {doubling.device}",
            f"limit {figures.size(doubling.memory_bytes)}",
        ],
        footer="Peaks were measured, each in a process of its own; the plan computed nothing.",
        picture=Picture(wide=wide, narrow=narrow, description=f"Peak memory against batch size. {finding}"),
        table=doubling_table(doubling),
    )


def write_finding(doubling: Doubling) -> str:
    """Return which batch each method reached, in one sentence."""
    methods = list(dict.fromkeys(trial.method for trial in doubling.trials))
    told = [f"{method} fits batches of {figures.count(doubling.largest(method))}" for method in methods]
    return f"In {figures.size(doubling.memory_bytes)}, {figures.names(told)}; twice that does not fit."


def doubling_table(doubling: Doubling) -> Table:
    """Return one row a trial: measured, planned, their ratio."""
    columns = (Column(title="method", numeric=False), *(Column(title=title) for title in _TITLES[1:]))
    rows = tuple(Row(cells=tuple(Cell(text=text) for text in write_trial(trial))) for trial in doubling.trials)
    return Table(columns=columns, rows=rows, sortable=False)


_TITLES = ("method", "batch", "measured peak", "planned", "planned / measured", "")


def write_trial(trial: Trial) -> tuple[str, ...]:
    """Return the cells of a trial, under the titles of `doubling_table`."""
    peak = trial.peak_memory_bytes
    return (
        trial.method,
        figures.count(trial.batch_size),
        figures.MISSING if peak is None else figures.size(peak),
        figures.size(trial.predicted_bytes),
        figures.MISSING if not peak else f"{trial.predicted_bytes / peak:.2f}",
        "" if trial.fits else "does not fit",
    )


def _draw(doubling: Doubling, size: Size) -> Any:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    left = 58.0 if size.narrow else 76.0
    figure = canvas.empty_figure(size, _PANEL + _TOP + _FOOT)
    axes = canvas.add_axes(figure, left=left, top=_TOP, width=size.width - left - 12, height=_PANEL, font=size.font - 1)
    batches = sorted({trial.batch_size for trial in doubling.trials})
    axes.set_xscale("log", base=2)
    axes.set_xlim(0.85, batches[-1] * 1.2)
    axes.set_xticks(batches, [figures.count(batch) for batch in batches])
    axes.set_ylim(0, 1.25 * doubling.memory_bytes)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: figures.size(value)))
    axes.grid(axis="y", color=LINE, linewidth=0.6)
    axes.axhline(doubling.memory_bytes, color=INK, linewidth=1)
    canvas.write(axes, (0.9, doubling.memory_bytes * 1.03), "limit", size=size, va="bottom")
    for colour, method in zip(_COLOURS, dict.fromkeys(trial.method for trial in doubling.trials), strict=False):
        _draw_method(axes, doubling.of(method), colour, size)
    below = canvas.below(axes, 28)
    canvas.write(axes, (0.5, 0), "texts in a batch", size=size, colour=MUTED, transform=below, va="top", ha="center")
    return figure


def _draw_method(axes: Any, trials: list[Trial], colour: str, size: Size) -> None:
    batches = [trial.batch_size for trial in trials]
    axes.plot(batches, [trial.predicted_bytes for trial in trials], color=colour, linewidth=1.2, linestyle=(0, (4, 3)))
    known = [(trial.batch_size, trial.peak_memory_bytes) for trial in trials if trial.peak_memory_bytes is not None]
    if known:
        axes.plot(*zip(*known, strict=True), color=colour, linewidth=2, marker="o", markersize=5)
        at, up = canvas.moved(axes, *known[-1], right=-6, up=6)
        canvas.write(axes, (at, up), trials[0].method, size=size, colour=colour, ha="right", va="bottom")
