"""A plan in the terminal: parameters, memory and matrices as tables that fit its width."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from loracle.planning.forecast import Forecast, MethodForecast
from loracle.reporting import figures
from loracle.wording import write_count

if TYPE_CHECKING:
    from rich.table import Table

_GAP = 2
_FIRST_TO_GO = ("kept", "beside tensors", "gradients", "optimiser", "weights", "on disk", "adapter", "parameters")


def render_forecast(forecast: Forecast, width: int) -> Iterator[Table | str]:
    """Yield headings, tables and sentences in the order in which they are printed."""
    yield (
        f"{forecast.model} ({forecast.architecture}), {write_count(forecast.labels, 'label')}; batches of "
        f"{write_count(forecast.batch_size, 'text')} of {forecast.max_length} tokens, {forecast.precision} on "
        f"{forecast.device}, {forecast.attention} attention"
    )
    yield "\nParameters"
    yield _table(_parameters(forecast.methods), width)
    yield "\nMemory at the peak of a fit"
    yield _table(_memory(forecast), width)
    yield _capacity(forecast)
    yield from (f"{method} is left out: {reason}." for method, reason in forecast.refused.items())
    yield "\nThe base model and its head"
    yield _table(_components(forecast), width)
    yield "\nLinear layers, and what LoRA adds to them"
    yield _table(_matrices(forecast), width)


def _parameters(methods: Sequence[MethodForecast]) -> dict[str, list[str]]:
    return {
        "method": [item.method for item in methods],
        "adapter": [figures.count(item.counts.adapter) for item in methods],
        "head": [figures.count(item.counts.head) for item in methods],
        "trainable": [figures.count(item.counts.trainable) for item in methods],
        "total": [figures.count(item.counts.total) for item in methods],
        "on disk": [figures.size(item.bytes_on_disk) for item in methods],
    }


def _memory(forecast: Forecast) -> dict[str, list[str]]:
    methods, parts = forecast.methods, [item.memory for item in forecast.methods]
    columns = {
        "method": [item.method for item in methods],
        "weights": [figures.size(part.weights) for part in parts],
        "gradients": [figures.size(part.gradients) for part in parts],
        "optimiser": [figures.size(part.optimiser) for part in parts],
        "kept": [figures.size(part.kept) for part in parts],
        "activations": [figures.size(part.activations) for part in parts],
        "beside tensors": [figures.size(part.allocator) for part in parts],
        "peak": [figures.size(part.total) for part in parts],
        "largest batch": ["" if item.largest_batch is None else figures.count(item.largest_batch) for item in methods],
        "per 1,000 texts": [
            figures.seconds(1000 / item.probe.texts_per_second) if item.probe else "" for item in methods
        ],
    }
    if not any(columns["per 1,000 texts"]):
        del columns["per 1,000 texts"]
    if not any(part.allocator for part in parts):
        del columns["beside tensors"]
    return columns


def _capacity(forecast: Forecast) -> str:
    """Say what the largest batches are of, and whose memory it is."""
    found = [item for item in forecast.methods if item.largest_batch is not None]
    if not found:
        return f"Memory: {figures.size(forecast.memory_bytes)}, {forecast.memory_source}."
    told = [
        f"{item.method} {figures.count(item.largest_batch)}" if item.largest_batch else f"{item.method} not even 1 text"
        for item in found
        if item.largest_batch is not None
    ]
    return (
        f"Largest batch in {figures.size(forecast.memory_bytes)} ({forecast.memory_source}): {figures.names(told)}. "
        "Every text is taken to be of the full length."
    )


def _components(forecast: Forecast) -> dict[str, list[str]]:
    parts = forecast.components
    return {
        "part": [part.name for part in parts],
        "of them": [figures.count(part.modules) for part in parts],
        "each": [figures.count(part.parameters / part.modules) for part in parts],
        "parameters": [figures.count(part.parameters) for part in parts],
    }


def _matrices(forecast: Forecast) -> dict[str, list[str]]:
    matrices = forecast.matrices
    return {
        "layer": [matrix.name for matrix in matrices],
        "shape (out x in)": [f"{matrix.out_features:,} x {matrix.in_features:,}" for matrix in matrices],
        "of them": [figures.count(matrix.layers) for matrix in matrices],
        "adapter": [figures.count(matrix.adapter) if matrix.adapter else "" for matrix in matrices],
    }


def _table(columns: Mapping[str, Sequence[str]], width: int) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    shown, left_out = dict(columns), []
    for title in filter(columns.__contains__, _FIRST_TO_GO):
        if sum(max(map(len, (name, *texts))) + _GAP for name, texts in shown.items()) - _GAP <= width:
            break
        left_out.append(title)
        del shown[title]
    table = Table(box=SIMPLE_HEAD, padding=(0, _GAP, 0, 0), pad_edge=False, show_edge=False)
    for place, title in enumerate(shown):
        table.add_column(title, justify="right" if place else "left", no_wrap=bool(place), overflow="fold")
    for row in zip(*shown.values(), strict=True):
        table.add_row(*(Text(figures.plain(cell)) for cell in row))
    if left_out:
        table.caption = Text(f"For want of width not shown: {', '.join(left_out)}.")
        table.caption_justify = "left"
    return table
