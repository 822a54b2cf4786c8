"""Fits that can share a frozen base are trained in one pass, before the searches that ask for them.

A search takes what was trained ahead and fits the rest itself, so that nothing depends on a pass but the time. A fit in
a pass of n fits counts with 1/n of its seconds, and with all of its memory, since nothing else was measured.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from loracle.caching import noting_spared
from loracle.comparison.measuring import Reading, measured
from loracle.errors import LoracleError, LoracleWarning, TrainingError
from loracle.methods.method import Try

if TYPE_CHECKING:
    from loracle.data.task import Task
    from loracle.methods.method import Fitted, Method, Setup
    from loracle.training.fitting import OnStep


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


Ahead = dict[tuple[str, int, float | None], Attempt]
"""What was trained ahead, by method, seed and learning rate."""


def group_methods(methods: Sequence[Method], setup: Setup, *, together: int) -> list[list[Method]]:
    """Return the methods in groups whose fits can share passes, each alone that can share none."""
    groups: list[list[Method]] = []
    for method in methods:
        known = (group for group in groups if together > 1 and _can_share(group[0], method, setup))
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


def fit_ahead(runs: Sequence[Run], task: Task, setup: Setup, *, together: int, on_step: OnStep | None = None) -> Ahead:
    """Train the fits of runs that can share passes, `together` of them at most in each, and as many as memory holds.

    What is missing in the answer is to be fitted alone: all of it where there is nothing to share, and the rest where a
    pass fails. A LoracleWarning says so, unless each fit will tell the same error itself.
    """
    tries = [
        Try(method=run.method.name, setup=run.method.own_setup(setup), seed=run.seed, learning_rate=rate)
        for run in runs
        for rate in run.rates
        if rate is not None
    ]
    ahead: Ahead = {}
    if together < 2 or len(tries) < 2 or not all(_can_share(runs[0].method, run.method, setup) for run in runs):
        return ahead
    at_once = min(together, _count_sharing({run.method.name: run.method for run in runs}, task, setup))
    for part in _divide(tries, at_once):
        if len(part) == 1:
            break
        try:
            ahead |= _fit_pass(runs[0].method, part, task, on_step)
        except LoracleError:
            break
        except Exception as error:
            _warn(len(part), error)
            break
    return ahead


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


def _divide(tries: Sequence[Try], at_once: int) -> Iterator[Sequence[Try]]:
    """Yield the tries in as few parts as hold `at_once` each, as even as can be, the larger ones first."""
    parts = -(-len(tries) // at_once)
    size, larger = divmod(len(tries), parts)
    start = 0
    for number in range(parts):
        end = start + size + (number < larger)
        yield tries[start:end]
        start = end


def _fit_pass(method: Method, tries: Sequence[Try], task: Task, on_step: OnStep | None) -> Ahead:
    """Make these fits in one pass; each gets its share of the seconds."""
    assert method.sharing is not None
    with noting_spared() as spared, measured() as reading:
        outcomes = method.sharing.fit(task, tries, on_step=on_step)
    fits = len(tries)
    share = replace(reading, seconds=reading.seconds / fits)
    part = {key: seconds / fits for key, seconds in spared.items()}
    return {
        (item.method, item.seed, item.learning_rate): Attempt(
            outcome=outcome, reading=replace(share), spared=part, fits_in_pass=fits
        )
        for item, outcome in zip(tries, outcomes, strict=True)
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
