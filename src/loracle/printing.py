"""What the commands say on the terminal, besides progress."""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loracle.errors import ConfigError, LoracleWarning, ModelError
from loracle.wording import write_count

if TYPE_CHECKING:
    from rich.console import Console

    from loracle.comparison.plan import Plan
    from loracle.comparison.result import Comparison
    from loracle.comparison.searching import Found
    from loracle.data.task import Task
    from loracle.methods.method import Method, Setup


def refuse(message: str, *, code: int = 2) -> int:
    """Print one line on standard error that says what is wrong; return the exit code."""
    print(f"loracle: {' '.join(message.split())}", file=sys.stderr)
    return code


@contextmanager
def showing_warnings() -> Iterator[None]:
    """Print a LoracleWarning within the block as one line on standard error, each once; others stay as they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", LoracleWarning)
        show, shown = warnings.showwarning, set[str]()

        def print_line(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if not issubclass(category, LoracleWarning):
                show(message, category, *place, **more)
            elif str(message) not in shown:
                shown.add(str(message))
                print(f"loracle: {message}", file=sys.stderr)

        warnings.showwarning = print_line
        yield


def print_task(task: Task, console: Console) -> None:
    """Say which data was read, how it is split, and what was noted on the way."""
    sizes = "   ".join(f"{split.name} {len(split):,}" for split in (task.train, task.validation, task.test))
    console.print(f"{task.name}   {sizes}   {len(task.label_names)} labels", style="bold", soft_wrap=True)
    console.print(
        f"  Texts are in column {task.text_column!r}, labels in column {task.label_column!r}.", soft_wrap=True
    )
    for note in task.notes:
        console.print(f"  {note}", soft_wrap=True)


def print_steps(task: Task, console: Console) -> None:
    """Print a table of the rows that each step of the preparation removed, and the texts or labels that it changed."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False)
    for title in ("step", "rows before", "removed", "rows after", "changed"):
        table.add_column(title, justify="left" if title == "step" else "right", no_wrap=True)
    for step in task.steps:
        counts = (step.rows_before, step.rows_removed, step.rows_after, step.changed)
        table.add_row(step.name, *(f"{count:,}" for count in counts))
    console.print()
    console.print(table)
    console.print()


def announce(task: Task, methods: Sequence[Method], setup: Setup, plan: Plan, folder: Path, console: Console) -> None:
    """Say what will run, and how long what is not finished yet will take."""
    budget, names = setup.budget, ", ".join(method.name for method in methods)
    console.print(
        f"will run   {names}; {write_count(plan.seeds, 'seed')} and "
        f"{write_count(budget.learning_rates, 'learning rate')} where there is a choice; base model {setup.model}; "
        f"up to {write_count(budget.epochs, 'epoch')} of {write_count(len(task.train), 'text')}",
        soft_wrap=True,
    )
    with console.status("timing a few batches of each method"):
        seconds = _estimate(task, methods, setup, plan, folder, console)
    for method in methods:
        if method.remote and method.name in seconds:
            console.print(_ask_ahead(method, task, setup), soft_wrap=True)
    if not seconds:
        console.print(f"finished   in {folder} already, so nothing is run again\n", soft_wrap=True)
        return
    longest = max(seconds, key=lambda name: seconds[name])
    console.print(
        f"takes      about {_duration(sum(seconds.values()))} (longest: {longest}, {_duration(seconds[longest])}); "
        f"Ctrl-C keeps what is finished in {folder}\n",
        soft_wrap=True,
    )


def print_comparison(comparison: Comparison, folder: Path, console: Console) -> None:
    """Print the table, the verdict with what might change it, and where the report lies."""
    from loracle.reporting import caveat, terminal_table

    console.print()
    console.print(terminal_table(comparison, width=console.width))
    sentence = comparison.verdict.sentence if comparison.verdict else "No method finished, so there is nothing to ship."
    console.print(f"\n{sentence}", style="bold")
    if remark := caveat(comparison):
        console.print(remark)
    console.print(f"Report: {folder / 'report.html'}", soft_wrap=True)


def print_found(found: Found, task: Task, folder: Path, console: Console) -> None:
    """Predict the test split with a trained classifier and print how it did, and where it lies."""
    from loracle.evaluation.metrics import measure
    from loracle.evaluation.statistics import wilson_interval

    classifier = found.fitted.classifier
    metrics = measure(task.test.labels, classifier.predict_proba(task.test.texts), classifier.thresholds)
    accuracy = wilson_interval(round(metrics["accuracy"] * len(task.test)), len(task.test))
    rate = f", learning rate {found.learning_rate:g}" if found.learning_rate else ""
    share = f"micro-F1 {metrics['micro_f1']:.3f}, subset accuracy" if task.multi_label else "accuracy"
    macro, seconds = metrics["macro_f1"], found.search_seconds
    console.print(
        f"{classifier.method}{rate}: test {share} {accuracy.value:.3f} "
        f"[{accuracy.low:.3f}, {accuracy.high:.3f}], macro-F1 {macro:.3f}, {seconds:,.0f} s\n"
        f"Saved in {folder}; try: loracle predict {shlex.quote(str(folder))} texts.csv",
        soft_wrap=True,
    )


def _estimate(
    task: Task, methods: Sequence[Method], setup: Setup, plan: Plan, folder: Path, console: Console
) -> dict[str, float]:
    """Return seconds by method from a probe of a few batches, for what is not finished yet."""
    from loracle.comparison.estimating import estimate_seconds
    from loracle.comparison.running import count_fits, unfinished_seeds

    seconds: dict[str, float] = {}
    for method in methods:
        seeds = unfinished_seeds(method, plan, folder)
        if not seeds:
            continue
        try:
            fits = count_fits(method, setup, seeds)
            seconds[method.name] = estimate_seconds(method, task, setup, fits=fits, seeds=len(seeds))
        except (ConfigError, ModelError):
            raise
        except Exception as error:  # it will fail in the same way, and be a row with its error
            console.print(f"no estimate for {method.name}: {type(error).__name__}: {error}", soft_wrap=True)
            seconds[method.name] = 0.0
    return seconds


def _ask_ahead(method: Method, task: Task, setup: Setup) -> str:
    """Return what a language model will be asked, and the limit on what it may cost."""
    llm, texts = setup.llm, len(task.test)
    limit = "without a limit (--llm-budget)" if llm.llm_budget is None else f"for {llm.llm_budget:g} at most"
    calls = -(-texts // llm.llm_texts_per_call)
    return (
        f"asks       {method.name}: {llm.llm_model}, {write_count(texts, 'text')} in about "
        f"{write_count(calls, 'call')}, "
        f"{limit}; answers from earlier runs are not paid again"
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
