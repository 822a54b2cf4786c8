"""Contestants that take turns: each in a process of its own, so that none disturbs another, one round at a time.

A contestant is a function of a `Gate`. It sets itself up, waits at the gate, does a round, reports it, and waits again.
Its first round warms up and is not kept.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing.connection import Connection
from typing import Any, Self

from loracle.errors import LoracleError

_FAREWELL_SECONDS = 20


class BenchmarkError(LoracleError):
    """A benchmark cannot be run here, or one of its contestants failed."""


def check_installed(*modules: str) -> None:
    """Raise BenchmarkError where the rival's libraries are not there."""
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise BenchmarkError(f"not installed: {', '.join(missing)}; run pip install '.[peers]'")


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """There are no more rounds."""


@dataclass(frozen=True)
class Reading:
    """What one round took, in the contestant's own unit, and what else it has to say."""

    value: float
    remark: Any = None


class Gate:
    """Where a contestant waits for its turn and reports what the last one took."""

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection

    def wait(self) -> None:
        """Wait until the next round may begin; raises Stopped where there is none."""
        try:
            self._connection.recv()
        except (EOFError, OSError) as error:
            raise Stopped from error

    def report(self, value: float, remark: Any = None) -> None:
        """Say what the round took."""
        self._connection.send(Reading(value, remark))

    def repeat(self, action: Callable[[], Any]) -> None:
        """Time an action once a round, with what it returns as the remark, until there are no more rounds."""
        while True:
            self.wait()
            started = time.perf_counter()
            remark = action()
            self.report(time.perf_counter() - started, remark)


Contestant = Callable[[Gate], object]
OnReading = Callable[[int, str, float], None]
"""Told the round, from 0 for the one that warms up, the contestant, and what it took."""


class Worker:
    """A contestant in a process of its own; the process is dead when the block ends."""

    def __init__(self, name: str, contestant: Contestant) -> None:
        context = multiprocessing.get_context("spawn")
        self._name = name
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_perform, args=(theirs, contestant), daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._connection.close()
        if kind is None:
            self._process.join(_FAREWELL_SECONDS)  # it hears that there are no more rounds, and cleans up
        self._process.kill()
        self._process.join()

    def take_turn(self) -> Reading:
        """Let the contestant do one round and return its reading; raises BenchmarkError where it failed."""
        try:
            self._connection.send(True)
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            self._process.join(_FAREWELL_SECONDS)
            raise BenchmarkError(f"{self._name} ended with exit code {self._process.exitcode}") from error
        if isinstance(answer, str):
            raise BenchmarkError(f"{self._name} failed:\n{answer}")
        assert isinstance(answer, Reading)
        return answer


def take_turns(
    contestants: Mapping[str, Contestant], rounds: int, on_reading: OnReading
) -> dict[str, tuple[Reading, ...]]:
    """Return each contestant's readings, one a round: all live at once, one works at a time, every other round in
    reverse order.
    """
    readings: dict[str, list[Reading]] = {name: [] for name in contestants}
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(name, contestant)) for name, contestant in contestants.items()}
        for number in range(rounds + 1):
            for name in list(workers)[:: 1 if number % 2 else -1]:
                reading = workers[name].take_turn()
                on_reading(number, name, reading.value)
                if number:
                    readings[name].append(reading)
    return {name: tuple(found) for name, found in readings.items()}


def take_turns_afresh(
    contestants: Mapping[str, Contestant], rounds: int, on_reading: OnReading
) -> dict[str, tuple[Reading, ...]]:
    """Return each contestant's readings, every round in a fresh process, so that no earlier round is in its memory."""
    readings: dict[str, list[Reading]] = {name: [] for name in contestants}
    for number in range(1, rounds + 1):
        for name in list(contestants)[:: 1 if number % 2 else -1]:
            with Worker(name, contestants[name]) as worker:
                reading = worker.take_turn()
            on_reading(number, name, reading.value)
            readings[name].append(reading)
    return {name: tuple(found) for name, found in readings.items()}


def _perform(connection: Connection[Any, Any], contestant: Contestant) -> None:
    """Run a contestant in its process, and send the traceback where it fails."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, and ends this process
    warnings.simplefilter("ignore")
    try:
        contestant(Gate(connection))
    except Stopped:
        pass
    except Exception:
        connection.send(traceback.format_exc())
