"""A finished comparison as a page, as Markdown and as a table in the terminal."""

from loracle.reporting.description import check_description_output, render_description, write_description
from loracle.reporting.description_terminal import terminal_description
from loracle.reporting.findings import caveat
from loracle.reporting.html import render_html
from loracle.reporting.markdown import render_markdown
from loracle.reporting.mistakes import render_mistakes, write_mistakes
from loracle.reporting.side_by_side import render_side_by_side, render_side_by_side_markdown, write_side_by_side
from loracle.reporting.terminal import terminal_table
from loracle.reporting.writing import write_report

__all__ = [
    "caveat",
    "check_description_output",
    "render_description",
    "render_html",
    "render_markdown",
    "render_mistakes",
    "render_side_by_side",
    "render_side_by_side_markdown",
    "terminal_description",
    "terminal_table",
    "write_description",
    "write_mistakes",
    "write_report",
    "write_side_by_side",
]
