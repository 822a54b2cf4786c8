"""What a person sees while methods are fitted: one line a method, with progress, pace and time left."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from rich.console import Console

    from loracle.comparison.result import Result
    from loracle.training.fitting import OnStep


class Watch(Protocol):
    """Told of the work as it goes on. `texts` counts those trained on, or scored where nothing is trained."""

    def start(self, method: str, *, fits: int, texts_per_fit: int, by_gradient: bool) -> None:
        """Begin a method that will fit so often, with so many texts each."""
        ...

    def step(self, texts: int, loss: float | None, *, spent: float | None = None) -> None:
        """Count texts of the method that was started last; `spent` is what it has cost so far, in money."""
        ...

    def finish(self, result: Result, *, fits: int) -> None:
        """Tell that a seed is done, which took so many of the fits."""
        ...


class Silence:
    """Watch without showing anything."""

    def start(self, method: str, *, fits: int, texts_per_fit: int, by_gradient: bool) -> None:
        """Do nothing."""

    def step(self, texts: int, loss: float | None, *, spent: float | None = None) -> None:
        """Do nothing."""

    def finish(self, result: Result, *, fits: int) -> None:
        """Do nothing."""


@contextmanager
def training_progress(console: Console, method: str, *, texts: int) -> Iterator[OnStep]:
    """Show loss, pace and time left of one method's training on a terminal; nothing elsewhere.

    `texts` is how many it will be trained on, at most; a method without steps shows that it is at work.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(method, total=None)
        started, trained = time.perf_counter(), 0

        def on_step(count: int, loss: float | None) -> None:
            nonlocal trained
            if loss is None:
                return
            trained += count
            pace = trained / max(1e-9, time.perf_counter() - started)
            state = f"{method}  loss {loss:.3f}  {pace:,.0f} texts/s"
            progress.update(task, total=texts, completed=trained, description=state)

        yield on_step


@dataclass
class _Line:
    method: str
    fits: int
    texts_per_fit: int
    by_gradient: bool
    fits_done: int = 0
    texts_done: int = 0  # within the fits not yet counted in fits_done
    texts_before: int = 0  # of these, those that were done when the clock was started again
    started: float = field(default_factory=time.perf_counter)
    loss: float | None = None

    def total(self) -> int:
        return self.fits * self.texts_per_fit

    def completed(self) -> int:
        return min(self.total(), self.fits_done * self.texts_per_fit + self.texts_done)


class ProgressLines:
    """Watch with live lines on a terminal, and one plain line per finished seed elsewhere. Use it as a context."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        self._console = console
        self._line: _Line | None = None
        self._progress = Progress(
            TextColumn("{task.description}", table_column=Column(min_width=10, no_wrap=True)),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[state]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
            speed_estimate_period=60,
        )

    def __enter__(self) -> Self:
        self._progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.__exit__(kind, error, trace)

    def start(self, method: str, *, fits: int, texts_per_fit: int, by_gradient: bool) -> None:
        """Add a line for the method."""
        self._line = _Line(method, fits, texts_per_fit, by_gradient)
        self._task = self._progress.add_task(method, total=self._line.total(), state="")

    def step(self, texts: int, loss: float | None, *, spent: float | None = None) -> None:
        """Move the line's bar; the pace is that of this method so far."""
        line = self._line
        if line is None or line.by_gradient != (loss is not None):
            return  # a gradient method's validation texts are not counted, another's scored texts are
        line.texts_done += texts
        line.loss = loss
        pace = (line.texts_done - line.texts_before) / max(1e-9, time.perf_counter() - line.started)
        fit = min(line.fits, line.fits_done + 1 + line.texts_done // max(1, line.texts_per_fit))
        state = f"fit {fit}/{line.fits}  {pace:,.0f} texts/s" + (f"  loss {loss:.3f}" if loss is not None else "")
        state += f"  spent {spent:.4f}" if spent is not None else ""
        self._progress.update(self._task, completed=line.completed(), state=state)

    def finish(self, result: Result, *, fits: int) -> None:
        """Count the seed's fits as done and say what it brought."""
        line = self._line
        if line is None:
            return
        left = max(0, line.texts_done - fits * line.texts_per_fit)  # of other seeds, that were in the same pass
        line.fits_done, line.texts_done, line.started = line.fits_done + fits, left, time.perf_counter()
        line.texts_before = left
        state = _outcome(result)
        self._progress.update(self._task, completed=line.completed(), state=state)
        if not self._console.is_terminal:
            self._console.print(f"{result.method} seed {result.seed}: {state}", highlight=False)


def _outcome(result: Result) -> str:
    if result.error is not None:
        return f"failed: {result.error}"
    if result.answers is not None:
        return _tell_answers(result.answers)
    metrics = result.validation_metrics
    name, score = ("micro-F1", metrics["micro_f1"]) if "micro_f1" in metrics else ("accuracy", metrics["accuracy"])
    rate = f"learning rate {result.learning_rate:g}, " if result.learning_rate else ""
    return f"{rate}validation {name} {score:.3f}, {result.search_seconds:,.1f} s"


def _tell_answers(answers: Mapping[str, Any]) -> str:
    """Return what became of a language model's texts, and what it cost."""
    told = [f"{count:,} {outcome}" for outcome, count in answers["outcomes"].items() if count]
    cost, saved = answers["cost"], answers["saved"]
    told += [f"{cost:.4f} {answers['currency']}"] if cost is not None else []
    told += [f"{saved:,} from earlier runs"] if saved else []
    return ", ".join(told)
