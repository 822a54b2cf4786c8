"""How long a comparison will take, from a few batches of each method on the task's own texts."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from loracle.errors import ConfigError, DataError

if TYPE_CHECKING:
    from loracle.data.task import Split, Task
    from loracle.methods.method import Method, Setup

_BATCHES = 4
_SCORING_IS_FASTER = 3  # a forward pass against forward and backward


@dataclass
class _Clock:
    """When each step ended, and how many texts it had; the first step also pays for loading."""

    texts: list[int] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)

    def step(self, texts: int, loss: float | None) -> None:  # noqa: ARG002
        self.texts.append(texts)
        self.ends.append(time.perf_counter())

    def pace(self, steps: int, start: float) -> float:
        """Return texts per second over the first `steps` steps, the very first left out where there are others."""
        steps = min(steps, len(self.ends))
        if steps < 2:
            return self.texts[0] / max(1e-9, self.ends[0] - start)
        return sum(self.texts[1:steps]) / max(1e-9, self.ends[steps - 1] - self.ends[0])


def estimate_seconds(method: Method, task: Task, setup: Setup, *, fits: int, seeds: int) -> float:
    """Fit the method on a few batches; extrapolate to so many fits, and test predictions by so many seeds.

    A remote method is not tried, since that costs money: 0. Raises DataError where the method can work on the task and
    not on so few texts.
    """
    if method.remote:
        return 0.0
    sample, clock = _sample(task, setup.budget.batch_size), _Clock()
    quick = replace(setup, budget=replace(setup.budget, epochs=1))
    _check_sample(method, task, setup, sample, quick)
    start, wall = _time_fit(method, sample, quick, clock)
    train, validation, test = len(task.train), len(task.validation), len(task.test)
    if not method.by_gradient and not clock.ends:
        _, wall = _time_fit(method, sample, quick, clock)  # the first one also paid for imports
        return wall * (train + validation + test) / (len(sample.train) + len(sample.validation))
    if not method.by_gradient:
        return _extrapolate(clock, start, train + validation + test)
    pace = clock.pace(_BATCHES, start)
    loading = clock.ends[0] - start
    epoch = train / pace + validation / (_SCORING_IS_FASTER * pace)
    return fits * (loading + setup.budget.epochs * epoch) + seeds * test / (_SCORING_IS_FASTER * pace)


def _check_sample(method: Method, task: Task, setup: Setup, sample: Task, quick: Setup) -> None:
    """Tell what does not work at all, a ConfigError, from what fits the steps of the whole task alone."""
    if method.check is None:
        return
    method.check(task, setup)
    try:
        method.check(sample, quick)
    except ConfigError as error:
        raise DataError(f"its sample of {len(sample.train)} texts is too small for it: {error}") from error


def _time_fit(method: Method, sample: Task, setup: Setup, clock: _Clock) -> tuple[float, float]:
    """Return when the fit began, and its seconds."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they would be about the sample, not about the task
        method.fit(sample, setup, seed=0, on_step=clock.step)
    return start, time.perf_counter() - start


def _extrapolate(clock: _Clock, start: float, texts: int) -> float:
    loading = clock.ends[0] - start
    return loading + texts / clock.pace(len(clock.ends), start) if len(clock.ends) > 1 else loading


def _sample(task: Task, batch_size: int) -> Task:
    rows = np.random.default_rng(0)
    return replace(
        task,
        train=_some(task.train, _BATCHES * batch_size, rows),
        validation=_some(task.validation, 2 * batch_size, rows),
    )


def _some(split: Split, texts: int, generator: np.random.Generator) -> Split:
    """Return a few random rows, at least one of every label that the split has."""
    labels = split.labels
    marks = labels == 1 if labels.ndim == 2 else labels[:, None] == np.unique(labels)
    firsts = [int(column.argmax()) for column in marks.T if column.any()]
    drawn = generator.choice(len(split), size=min(texts, len(split)), replace=False)
    return split.select(sorted({*firsts, *map(int, drawn)}))
