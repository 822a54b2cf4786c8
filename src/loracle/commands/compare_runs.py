"""`loracle compare-runs`: finished runs side by side."""

from __future__ import annotations

from pathlib import Path

from loracle.commands.flags import open_console


def compare_runs(*runs: Path, methods: tuple[str, ...] = (), out: Path | None = None) -> int:
    """Lay finished runs over the same test texts side by side, with paired tests between them.

    Example: loracle compare-runs runs/rank4 runs/rank16 --methods lora --out ranks.html

    Parameters
    ----------
    runs
        Two or more folders that `loracle compare --out` wrote; differences are taken to the first.
    methods
        One method for all runs, or one for each in their order; the one that each run's verdict names if left out.
    out
        File to write, .html or .md: the page and, beside it, the same as Markdown.
    """
    from loracle.comparison import side_by_side
    from loracle.reporting import run_findings
    from loracle.reporting import side_by_side as pages

    console = open_console()
    if out is not None:
        pages.side_by_side_files(out)
    with console.status("comparing the runs' predictions"):
        side = side_by_side.compare_runs(runs, methods=methods)
    console.print(run_findings.headline(side), style="bold")
    if remark := run_findings.caveat(side):
        console.print(remark)
    for table in pages.terminal_tables(side, width=console.width):
        console.print()
        console.print(table)
    if out is not None:
        written = pages.write_side_by_side(side, out)
        console.print(f"\nPage: {written[0]}   Markdown: {written[1]}", soft_wrap=True)
    return 0
