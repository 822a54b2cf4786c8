"""The commands: each reads its options, calls public functions, and prints what came of it.

`main` is the one place where an error becomes a line and an exit code: 0 done, 1 a method failed, 2 something that the
user can mend, 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

from cyclopts import App, CycloptsError, Parameter

from loracle import printing
from loracle.comparison.plan import Plan
from loracle.configuration import find_sources
from loracle.errors import ConfigError, LoracleError
from loracle.files import check_writable
from loracle.lora.config import LoRAConfig
from loracle.training.budget import Budget

if TYPE_CHECKING:
    from rich.console import Console

    from loracle.data.task import Task

app = App(
    name="loracle",
    help="Train every reasonable text classifier on your labelled texts, and learn which to ship.\n\n"
    "Start with: loracle compare reviews.csv",
    default_parameter=Parameter(consume_multiple=True, negative=()),
)

Flat = Parameter(name="*")


@dataclass(frozen=True, kw_only=True)
class DataFlags:
    """How to read the data."""

    text_column: str | None = None
    """Column with the texts; guessed where there is one sensible choice."""
    label_column: str | None = None
    """Column with the labels; guessed where there is one sensible choice."""
    test: Path | None = None
    """File with the test split; made from DATA where neither has one."""
    max_train: int | None = None
    """Use at most so many training texts, stratified."""
    max_test: int | None = None
    """Use at most so many test texts, stratified."""
    strict: bool = False
    """Refuse rows without text or label, instead of dropping and counting them."""
    drop_rare: bool = False
    """Drop labels with too few texts for the splits, instead of refusing the data."""
    split_seed: int = 0
    """Seed of the splits that are made, and of stratified samples."""


_DATA, _PLAN, _BUDGET, _LORA = DataFlags(), Plan(), Budget(), LoRAConfig()


@app.command
def compare(
    data: str | None = None,
    *,
    methods: tuple[str, ...] = ("majority", "tfidf", "probe", "lora", "full"),
    model: str = "minilm",
    out: Path | None = None,
    config: Path | None = None,  # noqa: ARG001  (read by main, before the flags)
    plan: Annotated[Plan, Flat] = _PLAN,
    flags: Annotated[DataFlags, Flat] = _DATA,
    budget: Annotated[Budget, Flat] = _BUDGET,
    lora: Annotated[LoRAConfig, Flat] = _LORA,
) -> int:
    """Say which method is the cheapest that is not worse on your labelled texts.

    Example: loracle compare reviews.csv --methods tfidf probe lora --out runs/reviews

    Parameters
    ----------
    data
        CSV, TSV, JSONL or Parquet file (also .gz, .zst), a folder, or a Hub name; the embedded data if left out.
    methods
        Methods to compare: majority, tfidf, probe, lora, full.
    model
        Base model: minilm, a local folder, or a Hub name.
    out
        Folder of the run; the same folder again continues it. Default: runs/NAME-OF-DATA.
    config
        TOML file with any of these options; a flag wins over the file.
    """
    from loracle import api
    from loracle.comparison.running import check_folder
    from loracle.comparison.watching import ProgressLines
    from loracle.methods.method import Setup
    from loracle.methods.registry import find_methods

    console, chosen = _console(), find_methods(methods)
    task = _load_task(data, flags, console)
    folder = out or api.default_folder(task)
    setup = Setup(model=model, budget=budget, lora=lora)
    check_folder(task, chosen, setup, plan, folder)
    printing.announce(task, chosen, setup, plan, folder, console)
    try:
        with ProgressLines(console) as watch:
            comparison = api.compare(
                task,
                methods=[method.name for method in chosen],
                model=model,
                **asdict(plan),
                budget=budget,
                lora=lora,
                out=folder,
                watch=watch,
            )
    except KeyboardInterrupt:
        console.print(f"\nStopped. What is finished is kept in {folder}; the same command continues it.", style="bold")
        return 130
    printing.print_comparison(comparison, folder, console)
    return 1 if any(result.failed for result in comparison.results) else 0


@app.command
def train(
    data: str | None = None,
    *,
    out: Path,
    method: str = "lora",
    model: str = "minilm",
    learning_rate: float | None = None,
    seed: int = 0,
    config: Path | None = None,  # noqa: ARG001  (read by main, before the flags)
    flags: Annotated[DataFlags, Flat] = _DATA,
    budget: Annotated[Budget, Flat] = _BUDGET,
    lora: Annotated[LoRAConfig, Flat] = _LORA,
) -> int:
    """Train one method with one seed and save it; its test score is printed with an interval.

    Example: loracle train reviews.csv --method lora --out models/reviews

    Parameters
    ----------
    data
        As for compare; the embedded data if left out.
    out
        Folder to save the classifier in; it must be new or hold one that Loracle saved.
    method
        One of: majority, tfidf, probe, lora, full.
    model
        Base model: minilm, a local folder, or a Hub name.
    learning_rate
        The one to use; without it several are tried on the validation split.
    seed
        Seed of the head, the adapter and the order of the texts.
    config
        TOML file with any of these options; a flag wins over the file.
    """
    from loracle import api
    from loracle.comparison.watching import training_progress

    console = _console()
    api.find_method(method)
    _check_model_folder(out)
    task = _load_task(data, flags, console)
    try:
        texts = (1 if learning_rate else budget.learning_rates) * budget.epochs * len(task.train)
        with training_progress(console, method, texts=texts) as on_step:
            found = api.train(
                task,
                method=method,
                model=model,
                learning_rate=learning_rate,
                seed=seed,
                budget=budget,
                lora=lora,
                on_step=on_step,
            )
    except (MemoryError, RuntimeError) as error:  # torch has no class of its own for what does not fit in memory
        return _refuse(f"{method} failed: {type(error).__name__}: {error}", code=1)
    found.fitted.classifier.save(out)
    printing.print_found(found, task, out, console)
    return 0


@app.command
def predict(
    folder: Path,
    texts: Annotated[str, Parameter(allow_leading_hyphen=True)] = "-",
    *,
    text_column: str | None = None,
    out: Path | None = None,
    jsonl: bool = False,
) -> int:
    """Write the label and the probabilities of each text, as CSV.

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
    from loracle.data.reading import read_texts
    from loracle.prediction import write_predictions

    source = _find_texts(texts)
    _check_output(out, source)
    classifier = api.load_model(folder)
    written = write_predictions(classifier, read_texts(source, text_column=text_column), out=out, jsonl=jsonl)
    if out is not None:
        _console().print(f"{classifier.method} labelled {written:,} texts: {out}", soft_wrap=True)
    return 0


@app.command
def report(run: Path) -> int:
    """Make report.html and report.md again from the stored results of a run.

    Example: loracle report runs/reviews

    Parameters
    ----------
    run
        The folder that `loracle compare --out` wrote.
    """
    from loracle import api

    _console().print(f"Report: {api.write_report(run)}", soft_wrap=True)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    # Waiting threads sleep instead of spinning, which stalls every step where another program takes a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app.config = find_sources(tokens)
        command, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
        return command(*bound.args, **bound.kwargs) or 0
    except CycloptsError as error:
        return _refuse(f"{error} Try --help.")
    except LoracleError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _refuse(f"{error.filename or 'a file'} cannot be read or written: {error.strerror or error}")


def _refuse(message: str, *, code: int = 2) -> int:
    print(f"loracle: {' '.join(message.split())}", file=sys.stderr)
    return code


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def _load_task(data: str | None, flags: DataFlags, console: Console) -> Task:
    from loracle.data.loading import load_task

    task = load_task(data, **asdict(flags))
    printing.print_task(task, console)
    return task


def _check_model_folder(folder: Path) -> None:
    from loracle.methods.method import check_replaceable

    check_replaceable(folder)
    check_writable(folder)


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
    check_writable(out)
