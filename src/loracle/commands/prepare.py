"""`loracle prepare`: data cleaned and split, written as files."""

from __future__ import annotations

import shlex
from pathlib import Path

from loracle import printing
from loracle.commands.flags import DATA, PREPARATION, Data, Preparing, open_console, read_task, row_progress
from loracle.errors import ConfigError


def prepare(
    data: str | None = None,
    *,
    out: Path,
    format: str = "csv",
    config: Path | None = None,  # noqa: ARG001  (read by main, before the flags)
    flags: Data = DATA,
    preparation: Preparing = PREPARATION,
) -> int:
    """Clean and split labelled texts, write them to a folder, and say what each step did.

    Example: loracle prepare reviews.csv --strip-html --min-words 3 --out prepared

    The folder holds train, validation and test with the columns text and label, labels.json, and preparation.json
    with all options, steps and hashes. `loracle compare` on the folder takes its splits as they are.

    Parameters
    ----------
    data
        As for compare; the embedded data if left out.
    out
        Folder to write, whole or not at all; it must be new or hold what `loracle prepare` wrote.
    format
        Of the three splits: csv or parquet.
    config
        TOML file with any of these options; a flag wins over the file.
    """
    from loracle.data.writing import check_target, save_task

    console = open_console()
    check_target(out, format)
    _check_apart(out, data, flags.test, preparation.merge)
    task = read_task(data, flags, console, preparation)
    with row_progress(console) as on_rows:
        save_task(task, out, format=format, on_rows=on_rows)
    printing.print_steps(task, console)
    console.print(f"Saved in {out}; try: loracle compare {shlex.quote(str(out))}", soft_wrap=True)
    return 0


def _check_apart(out: Path, *sources: str | Path | None) -> None:
    """Refuse to replace a folder that holds what is read, and to write into one that is read whole."""
    for source in sources:
        path = Path(source).expanduser().resolve() if source else None
        if path and path.exists() and path.is_relative_to(out.resolve()):
            raise ConfigError(f"--out is {out}, where {source} lies; give another folder, so that nothing is lost")
        if path and path.is_dir() and out.resolve().is_relative_to(path):
            raise ConfigError(f"--out is {out}, inside of {source}, which is read whole; give a folder outside of it")
