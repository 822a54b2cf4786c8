"""`loracle report`: the report of a run, made again."""

from __future__ import annotations

from pathlib import Path

from loracle.commands.flags import open_console


def report(run: Path) -> int:
    """Make report.html and report.md again from the stored results of a run.

    Example: loracle report runs/reviews

    Parameters
    ----------
    run
        The folder that `loracle compare --out` wrote.
    """
    from loracle import api

    open_console().print(f"Report: {api.write_report(run)}", soft_wrap=True)
    return 0
