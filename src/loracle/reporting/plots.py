"""The report's pictures, each drawn for a wide and for a narrow page."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from loracle.comparison.result import Comparison
from loracle.reporting import canvas, findings, selection
from loracle.reporting.canvas import NARROW, WIDE, Picture, Size
from loracle.reporting.curves import draw_curves
from loracle.reporting.forest import draw_decision
from loracle.reporting.scatter import cost_points, draw_cost


def cost_picture(comparison: Comparison) -> Picture | None:
    """Return quality with its interval against cost; None where no method has both."""
    points = cost_points(comparison)
    if not points:
        return None
    described = f"Quality against cost. {findings.cost_finding(comparison)}"
    return _both_sizes("cost", described, lambda size: draw_cost(comparison, points, size))


def decision_picture(comparison: Comparison) -> Picture | None:
    """Return every method's distance from the best one with its interval; None where nothing was paired."""
    verdict = comparison.verdict
    if verdict is None:
        return None
    rows = selection.differences_from(comparison.pairs, verdict.best)
    rows = [row for row in rows if math.isfinite(row[1].value + row[1].low + row[1].high)]
    if not rows:
        return None
    described = f"Distance from {verdict.best}. {findings.decision_finding(comparison)}"
    return _both_sizes("decision", described, lambda size: draw_decision(comparison, rows, size))


def curves_picture(comparison: Comparison) -> Picture | None:
    """Return loss and validation score by epoch for every method that has a history; None where none has."""
    summaries = [s for s in selection.finished(comparison) if any(len(h) for h in s.histories.values())]
    if not summaries:
        return None
    described = f"Learning curves. {findings.curves_finding(comparison)}"
    return _both_sizes(
        "curves", described, lambda size: draw_curves(summaries, size, selection.epoch_metric(comparison))
    )


def _both_sizes(name: str, description: str, draw: Callable[[Size], Any]) -> Picture:
    wide, narrow = (canvas.render_svg(draw(size), f"{name}-{size.name}") for size in (WIDE, NARROW))
    return Picture(wide=wide, narrow=narrow, description=description)
