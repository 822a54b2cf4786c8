"""`loracle describe`: look at the data before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loracle.commands.flags import DATA, PREPARATION, Data, Preparing, open_console, read_task

if TYPE_CHECKING:
    from rich.console import Console

    from loracle.inspection.measuring import OnProgress


def describe(
    data: str | None = None,
    *,
    model: str = "minilm",
    max_length: int = 128,
    near_threshold: float = 0.8,
    out: Path | None = None,
    config: Path | None = None,  # noqa: ARG001  (read by main, before the flags)
    flags: Data = DATA,
    preparation: Preparing = PREPARATION,
) -> int:
    """Look at your data before you train: classes, lengths, duplicates, suspicious characters, and what to do.

    Example: loracle describe reviews.csv --max-length 256 --out reviews.html

    Parameters
    ----------
    data
        As for compare; the embedded data if left out.
    model
        Base model whose tokens are counted: minilm, a local folder, or a Hub name.
    max_length
        Tokens of each text that training would read.
    near_threshold
        Share of word triples that two near duplicates have in common, from 0.7 to 1.
    out
        Page to write (.html), or all values (.json). Default: runs/NAME-OF-DATA-description.html.
    config
        TOML file with any of these options; a flag wins over the file.
    """
    from loracle import api
    from loracle.inspection.describing import check_options
    from loracle.reporting import check_description_output, terminal_description

    check_options(max_length=max_length, near_threshold=near_threshold)
    if out is not None:
        check_description_output(out)
    console = open_console()
    # what is to be merged or dropped is what one comes to see, so rare labels are noted instead of refused
    task = read_task(data, replace(flags, drop_rare=True), console, preparation)
    page = out or api.default_page(task)
    with _progress(console) as on_progress:
        options: dict[str, Any] = {"model": model, "max_length": max_length, "near_threshold": near_threshold}
        found = api.describe(task, **options, out=page, on_progress=on_progress)
    console.print(terminal_description(found))
    console.print(f"\nWritten: {page}", soft_wrap=True)
    return 0


@contextmanager
def _progress(console: Console) -> Iterator[OnProgress]:
    """Show the stage and the time left on a terminal; nothing elsewhere."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        line = progress.add_task("loading the tokenizer", total=None)
        shown = ""

        def on_progress(stage: str, done: int, total: int) -> None:
            nonlocal shown
            if stage != shown:
                progress.reset(line, description=stage, total=total)
                shown = stage
            progress.update(line, completed=done)

        yield on_progress
