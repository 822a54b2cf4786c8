"""The report as one HTML file that works offline."""

from __future__ import annotations

from typing import Any

from loracle.comparison.result import Comparison, Summary
from loracle.reporting import classes, figures, findings, ledger, plots, scatter, selection, tables
from loracle.reporting.pages import render_page


def render_html(comparison: Comparison) -> str:
    """Return the report as one self-contained HTML page: no request to any server, light and dark, for paper too."""
    return render_page("report.html.j2", styles=("report.css",), scripts=("report.js",), **_contents(comparison))


def _contents(comparison: Comparison) -> dict[str, Any]:
    verdict = comparison.verdict
    return {
        "mark": "loracle compare",
        "name": comparison.name,
        "footer": "Every figure was measured in this run.",
        "verdict": verdict,
        "eyebrow": findings.eyebrow(comparison),
        "headline": findings.headline(comparison),
        "facts": findings.facts(comparison),
        "caveat": findings.caveat(comparison),
        "cost": _cost(comparison),
        "methods": {"finding": findings.methods_finding(comparison), "table": tables.methods_table(comparison)},
        "passes": ledger.told_passes(comparison),
        "others": tables.metrics_table(comparison),
        "reasons": _reasons(comparison),
        "overview": {
            "finding": findings.overview_finding(comparison),
            "table": classes.overview_table(comparison),
        },
        "answers": tables.answers_table(comparison),
        "failures": [_failures(comparison, summary) for summary in selection.finished(comparison)],
        "ledger": ledger.ledger_entries(comparison),
        "data": {
            "notes": ledger.data_notes(comparison),
            "counts": classes.counts_table(comparison),
            "entries": ledger.data_entries(comparison),
        },
    }


def _cost(comparison: Comparison) -> dict[str, Any]:
    picture = plots.cost_picture(comparison)
    left_out = [s.method for s in selection.finished(comparison) if not scatter.is_drawn(comparison, s)]
    return {"finding": findings.cost_finding(comparison), "picture": picture, "left_out": figures.names(left_out)}


def _reasons(comparison: Comparison) -> dict[str, Any]:
    return {
        "decision": {
            "finding": findings.decision_finding(comparison),
            "picture": plots.decision_picture(comparison),
        },
        "detection": findings.detection_finding(comparison),
        "pairs": {"finding": findings.pairs_finding(comparison), "table": tables.pairs_table(comparison)},
        "seeds": {"finding": findings.seeds_finding(comparison), "table": tables.seeds_table(comparison)},
        "search": {"finding": findings.search_finding(comparison), "table": tables.search_table(comparison)},
        "curves": {
            "finding": findings.curves_finding(comparison),
            "picture": plots.curves_picture(comparison),
            "table": tables.history_table(comparison),
        },
    }


def _failures(comparison: Comparison, summary: Summary) -> dict[str, Any]:
    return {
        "method": summary.method,
        "open": summary.method == selection.shipped(comparison),
        "finding": findings.class_finding(comparison, summary),
        "tables": {
            "By class": classes.per_class_table(summary),
            "Confusion matrix, best seed on validation": classes.confusion_table(comparison, summary),
            "Most frequent mistakes, best seed on validation": classes.mistakes_table(comparison, summary),
        },
    }
