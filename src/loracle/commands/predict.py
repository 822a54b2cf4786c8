"""`loracle predict`: labels for new texts, as a stream."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, TextIO

from cyclopts import Parameter

from loracle.commands.flags import open_console
from loracle.errors import ConfigError
from loracle.files import check_writable
from loracle.prediction import holds_predictions


def predict(
    folder: Path,
    texts: Annotated[str, Parameter(allow_leading_hyphen=True)] = "-",
    *,
    text_column: str | None = None,
    out: Path | None = None,
    jsonl: bool = False,
) -> int:
    """Write the label and the probabilities of each text, beside its other columns, as CSV.

    Example: loracle predict runs/reviews new-texts.csv --out labelled.csv

    Parameters
    ----------
    folder
        A run's folder (the classifier that its verdict names) or one that `loracle train` wrote.
    texts
        CSV, TSV, JSONL or Parquet file, a .txt file with one text a line, or - for lines (or
        JSON lines) on standard input; CSV there needs --text-column.
    text_column
        Column with the texts; guessed where there is one sensible choice.
    out
        File to write, whole or not at all; standard output if left out.
    jsonl
        Write one JSON object a line instead of CSV.
    """
    from loracle import api
    from loracle.data.reading import read_rows
    from loracle.prediction import write_predictions

    source = _find_texts(texts)
    _check_output(out, source)
    classifier = api.load_model(folder)
    written = write_predictions(classifier, read_rows(source, text_column=text_column), out=out, jsonl=jsonl)
    if out is not None:
        open_console().print(f"{classifier.method} labelled {written:,} texts: {out}", soft_wrap=True)
    return 0


def _find_texts(texts: str) -> Path | TextIO:
    if texts != "-":
        return Path(texts).expanduser()
    if sys.stdin is None:
        raise ConfigError("standard input is closed; give a file with texts")
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="strict", newline="")
    return sys.stdin


def _check_output(out: Path | None, source: Path | TextIO) -> None:
    if out is None:
        return
    if out.exists() and not out.is_file():
        what = f"a folder; give a file, such as {out / 'labelled.csv'}" if out.is_dir() else "no file; give another"
        raise ConfigError(f"--out is {out}, which is {what}")
    if isinstance(source, Path) and source.exists() and out.exists() and out.samefile(source):
        raise ConfigError(f"--out is {out}, the file with the texts; give another, so that nothing is lost")
    if out.exists() and not holds_predictions(out):
        raise ConfigError(f"{out} is there and was not written by this command; give another file with --out")
    check_writable(out)
