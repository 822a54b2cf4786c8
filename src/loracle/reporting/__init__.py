"""A finished comparison as a page, as Markdown and as a table in the terminal."""

from loracle.reporting.findings import caveat
from loracle.reporting.html import render_html
from loracle.reporting.markdown import render_markdown
from loracle.reporting.terminal import terminal_table
from loracle.reporting.writing import write_report

__all__ = ["caveat", "render_html", "render_markdown", "terminal_table", "write_report"]
