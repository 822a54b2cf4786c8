"""Each shape of comparison is rendered once for all tests of this room."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from builder import HOSTILE, LADDER, comparison

from loracle.comparison.result import Comparison
from loracle.evaluation.uncertainty import Interval
from loracle.reporting import render_html, render_markdown

LONG = [f"a rather long method name, rank {rank}" for rank in range(7)]
BLANK = Interval(value=math.nan, low=math.nan, high=math.inf)


def _with_gaps() -> Comparison:
    """Return a comparison in which much was not measured: NaN, inf, no history, no classes, an empty ledger."""
    full = comparison(methods=["tfidf", "lora", "full"])
    first, second, third = full.summaries
    blank = replace(first, metrics={"accuracy": BLANK}, cost_seconds=math.nan, training_seconds=math.inf, histories={})
    poor = replace(second, metrics={}, per_class=(), confusion=(), cost_seconds=0.0)
    pairs = tuple(replace(pair, difference=BLANK, p=math.nan, p_holm=math.nan) for pair in full.pairs)
    return replace(full, summaries=(third, blank, poor), pairs=pairs, results=(), ledger={}, task={})


SHAPES = {
    "plain": lambda: comparison(failed=["full"]),
    "undecided": lambda: comparison(["tfidf", "probe", "lora"], ["no", "yes"], kind="undecided", seeds=1),
    "many": lambda: comparison([*LADDER, *LONG], [f"intent {number}" for number in range(150)], tests=4500),
    "none": lambda: comparison(["lora", "full"], failed=["lora", "full"], kind=None),
    "one": lambda: comparison(["lora"], ["no", "yes"], epochs=1),
    "hostile": lambda: comparison(["tfidf", HOSTILE, "x" * 90], [HOSTILE, "y" * 120, "z"], kind="tie", name=HOSTILE),
    "gaps": _with_gaps,
}


@pytest.fixture(scope="session")
def comparisons() -> dict[str, Comparison]:
    return {name: build() for name, build in SHAPES.items()}


@pytest.fixture(scope="session")
def pages(comparisons: dict[str, Comparison]) -> dict[str, str]:
    return {name: render_html(item) for name, item in comparisons.items()}


@pytest.fixture(scope="session")
def documents(comparisons: dict[str, Comparison]) -> dict[str, str]:
    return {name: render_markdown(item) for name, item in comparisons.items()}


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> str:
    return str(request.param)
