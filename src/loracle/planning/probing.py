"""A few real training steps on random tokens, for an estimate of time: random weights, so nothing is downloaded."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from loracle.errors import ConfigError
from loracle.planning.forecast import Probe

if TYPE_CHECKING:
    from loracle.models.loading import Base
    from loracle.planning.forecast import Memory
    from loracle.training.budget import Budget
    from loracle.training.precision import ComputePath

STEPS = 3


def probe_steps(build: Callable[[], Base], budget: Budget, path: ComputePath, memory: Memory, limit: int) -> Probe:
    """Return how long a step of the real loop takes, at the full batch and the full length.

    `build` gives the prepared network with random weights; it is called where the plan says that all of it fits in
    `limit` bytes, else ConfigError is raised.
    """
    from loracle.planning.simulation import ScoredError
    from loracle.training import fitting
    from loracle.training.batching import Tokens

    if memory.total > limit:
        raise ConfigError(
            f"--probe needs about {memory.total / 1e9:.1f} GB and there are {limit / 1e9:.1f} GB; "
            "give a smaller --batch-size, a smaller model, or leave --probe out"
        )
    base = build()
    draw, length = np.random.default_rng(0), budget.max_length

    def texts(number: int) -> Tokens:
        tokens = draw.integers(1, base.config.vocab_size, number * length, dtype=np.int32)
        starts = np.arange(0, number * length + 1, length, dtype=np.int64)
        return Tokens(tokens, starts, 0, np.arange(number, dtype=np.int64) % base.config.num_labels)

    ends: list[float] = []

    def on_step(_texts: int, loss: float | None) -> None:
        if loss is None:
            raise ScoredError
        ends.append(time.perf_counter())

    # three steps after a first one, which pays for threads and kernels
    train, once = texts((STEPS + 1) * budget.batch_size), replace(budget, epochs=1)
    with suppress(ScoredError):
        fitting.fit(base.network, train, texts(1), once, learning_rate=1e-5, seed=0, path=path, on_step=on_step)
    seconds = statistics.median(end - start for start, end in itertools.pairwise(ends))
    return Probe(steps=STEPS, seconds_per_step=seconds, texts_per_second=budget.batch_size / seconds)
