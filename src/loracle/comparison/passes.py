"""Fits that can share a frozen base are trained in one pass, with the first of them that a search asks for.

A search takes what was trained so and makes the rest itself, so that nothing depends on a pass but the time. A fit in a
pass of n fits counts with 1/n of its seconds, and with all of its memory, since nothing else was measured.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from loracle.caching import noting_spared
from loracle.comparison.measuring import Reading, measured
from loracle.errors import ConfigError, LoracleError, LoracleWarning, ModelError, TrainingError
from loracle.methods.method import Try

if TYPE_CHECKING:
    from loracle.data.task import Task
    from loracle.methods.method import Fitted, Method, Setup
    from loracle.training.budget import Budget
    from loracle.training.fitting import OnStep


_MOST_ON_GPU = 8  # a choice: of 8 the gain was measured


@dataclass(frozen=True)
class Run:
    """One method with one seed, and the learning rates to try: the place of it in a comparison."""

    method: Method
    seed: int
    rates: Sequence[float | None]


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What one fit gave, or the error at which it diverged; its share of what was measured.

    `spared` are the seconds of what it found in the cache, by key, as `caching.noting_spared`; one mapping for all fits
    of a pass.
    """

    outcome: Fitted | TrainingError
    reading: Reading
    spared: Mapping[str, float] = field(default_factory=dict)
    fits_in_pass: int = 1


Key = tuple[str, int, float]
"""A fit by method, seed and learning rate."""


class Passes:
    """The fits of some runs in as few passes as can be, each trained when the first of its fits is asked for.

    There are `together` fits at most in a pass, 0 for as many as pay, and no more than memory holds.
    """

    def __init__(
        self, runs: Sequence[Run], task: Task, setup: Setup, *, together: int, on_step: OnStep | None = None
    ) -> None:
        self._task, self._on_step = task, on_step
        self._trained: dict[Key, Attempt] = {}
        self._untrained = [
            part for part in _divide(runs, task, setup, _choose_most(together, setup.budget)) if len(part) > 1
        ]

    def take(self, method: Method, seed: int, learning_rate: float | None) -> Attempt | None:
        """Return a fit, trained now with all others of its pass if it was not before; None where it is made alone.

        A fit has its share of the seconds. Where a pass fails, all that is left is made alone. A LoracleWarning says
        so, unless these networks cannot share a pass at all, or each fit will tell the same error itself.
        """
        if learning_rate is None:
            return None
        key = (method.name, seed, learning_rate)
        for part in self._untrained:
            if key in part:
                self._untrained.remove(part)
                self._train(method, part)
                break
        return self._trained.pop(key, None)

    def _train(self, method: Method, part: Mapping[Key, Try]) -> None:
        try:
            self._trained |= _fit_pass(method, part, self._task, self._on_step)
        except (ModelError, TrainingError, ConfigError):
            self._untrained.clear()
        except Exception as error:
            self._untrained.clear()
            _warn(len(part), error)


def group_methods(methods: Sequence[Method], setup: Setup, *, together: int) -> list[list[Method]]:
    """Return the methods in groups whose fits can share passes, each alone that can share none."""
    groups: list[list[Method]] = []
    most = _choose_most(together, setup.budget)
    for method in methods:
        known = (group for group in groups if most > 1 and _can_share(group[0], method, setup))
        group = next(known, None)
        if group is None:
            groups.append([method])
        else:
            group.append(method)
    return groups


def fit_alone(
    method: Method, task: Task, setup: Setup, *, seed: int, learning_rate: float | None, on_step: OnStep | None = None
) -> Attempt:
    """Make one fit, measured."""
    outcome: Fitted | TrainingError
    with noting_spared() as spared, measured() as reading:
        try:
            outcome = method.fit(task, setup, seed=seed, learning_rate=learning_rate, on_step=on_step)
        except TrainingError as error:
            outcome = TrainingError(str(error))  # without its frames, which hold the network
    return Attempt(outcome=outcome, reading=reading, spared=spared)


def _choose_most(together: int, budget: Budget) -> int:
    """Return how many fits may share a pass: as asked, or where 0 was, many where a pass is faster than its fits."""
    from loracle.training.precision import path_for

    return together or (_MOST_ON_GPU if path_for(budget).device == "cuda" else 1)


def _can_share(first: Method, other: Method, setup: Setup) -> bool:
    """Say whether fits of two methods, which may be one, can share a pass."""
    if first.sharing is None or first.sharing is not other.sharing:
        return False
    common = first.sharing.common(first.own_setup(setup))
    return common is not None and common == other.sharing.common(other.own_setup(setup))


def _count_sharing(methods: Mapping[str, Method], task: Task, setup: Setup) -> int:
    """Return how many fits of the largest of these methods the free memory holds; 1 where that is not known."""
    from loracle.planning.capacity import find_room
    from loracle.planning.forecasting import count_sharing
    from loracle.training.precision import path_for

    room = find_room(path_for(setup.budget))
    try:
        return min(count_sharing(method, setup, len(task.label_names), room) for method in methods.values())
    except (LoracleError, RuntimeError, NotImplementedError):
        return 1


def _divide(runs: Sequence[Run], task: Task, setup: Setup, together: int) -> list[dict[Key, Try]]:
    """Return the fits of runs in as few parts as can be, as even as can be; none where they cannot share a pass."""
    tries = {
        (run.method.name, run.seed, rate): Try(
            method=run.method.name, setup=run.method.own_setup(setup), seed=run.seed, learning_rate=rate
        )
        for run in runs
        for rate in run.rates
        if rate is not None
    }
    if together < 2 or len(tries) < 2 or not all(_can_share(runs[0].method, run.method, setup) for run in runs):
        return []
    at_once = min(together, _count_sharing({run.method.name: run.method for run in runs}, task, setup))
    parts = -(-len(tries) // at_once)
    edges = [len(tries) * number // parts for number in range(parts + 1)]
    return [dict(list(tries.items())[start:end]) for start, end in itertools.pairwise(edges)]


def _fit_pass(method: Method, part: Mapping[Key, Try], task: Task, on_step: OnStep | None) -> dict[Key, Attempt]:
    """Make these fits in one pass, in their order; each gets its share of the seconds."""
    assert method.sharing is not None
    with noting_spared() as spared, measured() as reading:
        outcomes = method.sharing.fit(task, list(part.values()), on_step=on_step)
    fits = len(part)
    own = replace(reading, seconds=reading.seconds / fits)
    found = {key: seconds / fits for key, seconds in spared.items()}
    return {
        key: Attempt(outcome=outcome, reading=replace(own), spared=found, fits_in_pass=fits)
        for key, outcome in zip(part, outcomes, strict=True)
    }


def _warn(fits: int, error: Exception) -> None:
    from loracle.training.stepping import is_out_of_memory

    first_line = str(error).strip().partition("\n")[0]
    reason = "memory ran out" if is_out_of_memory(error) else f"{type(error).__name__}: {first_line}"
    warnings.warn(
        f"{fits} fits in one pass failed ({reason}); they are trained one by one, with the same results "
        "(--together 1 does so from the start)",
        LoracleWarning,
        stacklevel=3,
    )
