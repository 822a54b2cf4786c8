"""A run's folder gets its report."""

from __future__ import annotations

from pathlib import Path

from loracle.comparison.result import load_comparison
from loracle.files import write_text
from loracle.reporting.html import render_html
from loracle.reporting.markdown import render_markdown


def write_report(folder: str | Path) -> Path:
    """Write `report.html` and `report.md` of the run in `folder` and return the path of `report.html`.

    Both are pure functions of `comparison.json`. Raises RunError where that file is missing or not readable.
    """
    folder = Path(folder)
    comparison = load_comparison(folder)
    write_text(folder / "report.md", render_markdown(comparison))
    page = folder / "report.html"
    write_text(page, render_html(comparison))
    return page
