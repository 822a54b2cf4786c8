"""Training steps over random tokens of one length: their seconds, their operations, and the memory at the peak.

Both engines run in this process, one after the other; on a GPU that disturbs neither.
"""

from __future__ import annotations

import gc
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from benchmarks import rival
from benchmarks.workload import Job, build_base, fit_job
from loracle.errors import LoracleWarning, TrainingError
from loracle.training.attention import EAGER
from loracle.training.batching import Tokens
from loracle.training.precision import choose_path

_SKIPPED, _TIMED = 4, 8  # steps: the first ones warm up
_VALIDATED, _VALIDATED_LENGTH = 8, 16

RECIPE = rival.Recipe(tuned=True, attention="sdpa", base_in_bf16=True)
"""How the Trainer is used here: what an expert would do on a GPU."""


@dataclass(frozen=True)
class Steps:
    """What steps took: seconds each, and how far the bytes allocated on the GPU grew, 0 without one."""

    seconds: float
    peak_memory_bytes: int


Run = Callable[[Job], Steps]


def make_job(model: str, method: str, *, random: bool, vocabulary: int, batch_size: int, length: int) -> Job:
    """Return a job of as many steps as are run, over random tokens."""
    draw = np.random.default_rng(0)

    def tokens(texts: int, each: int) -> Tokens:
        ids = draw.integers(5, vocabulary, texts * each).astype(np.int32)
        return Tokens(ids, np.arange(0, len(ids) + 1, each), 0, np.arange(texts) % 2)

    return Job(
        train=tokens(batch_size * (_SKIPPED + _TIMED + 1), length),  # the last one ends while nothing follows it
        validation=tokens(_VALIDATED, min(length, _VALIDATED_LENGTH)),
        model=model,
        method=method,
        random=random,
        batch_size=batch_size,
        max_length=length,
    )


def run_loracle(job: Job) -> Steps:
    """Build the network and train an epoch by Loracle's own loop."""
    before, clock = _reset(), _Clock()

    def on_step(_: int, loss: float | None) -> None:
        if loss is not None:
            clock.tick()

    path = choose_path()
    with warnings.catch_warnings():
        warnings.simplefilter("error", LoracleWarning)  # that memory ran out, and a step is taken in parts
        fit_job(job, build_base(job, path).network, path, on_step, epochs=1)
    return Steps(clock.seconds, _peak() - before)


def run_trainer(job: Job) -> Steps:
    """Build the network and train an epoch by the Trainer, as `RECIPE` says."""
    from transformers import TrainerCallback

    before, clock = _reset(), _Clock(settle=synchronise)

    class Ticks(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.tick()

    network = rival.build_network(job, RECIPE)
    with tempfile.TemporaryDirectory() as folder:
        rival.build_trainer(job, RECIPE, network, folder, [Ticks()], epochs=1).train()
    return Steps(clock.seconds, _peak() - before)


def count_operations(job: Job) -> int:
    """Return the floating-point operations of one step, forward and backward, as torch counts them.

    Attention is counted as plain products, since torch does not count the fused kernel where heads share keys.
    """
    from torch.utils.flop_counter import FlopCounterMode

    _reset()
    path, totals = replace(choose_path(), attention=EAGER, graphs=False), []
    for steps in (1, 2):  # whose difference holds nothing that a fit does once
        some = replace(job, train=_first(job.train, steps * job.batch_size))
        counter = FlopCounterMode(display=False)
        network = build_base(some, path).network
        with counter:
            fit_job(some, network, path, epochs=1)
        totals.append(counter.get_total_flops())
    return totals[1] - totals[0]


def find_largest_batch(job: Job, run: Run, *, most: int, seconds: float) -> tuple[int, bool]:
    """Double the batch until memory ends; return the largest that fits, and whether a larger one was seen not to.

    Ends too at `most` texts, and before a trial that would take longer than what is left of the seconds.
    """
    started, largest = time.monotonic(), 0
    trial = replace(job, train=_first(job.train, 2 * job.batch_size))
    while trial.batch_size <= most:
        begun = time.monotonic()
        try:
            run(trial)
        except (RuntimeError, TrainingError, LoracleWarning) as error:
            if not is_of_memory(error):
                raise
            return largest, True
        largest, now = trial.batch_size, time.monotonic()
        if now - started + 2 * (now - begun) > seconds:
            break
        trial = replace(trial, batch_size=2 * largest, train=_twice(trial.train))
    return largest, False


def measure_rate(size: int) -> float:
    """Return the operations a second of a product of two square matrices, in the precision that Loracle trains in."""
    path = choose_path()
    dtype = torch.bfloat16 if path.precision == "bf16" else torch.float32
    first, second = (torch.randn(size, size, device=path.device).to(dtype) for _ in range(2))
    taken = []
    for _ in range(5):
        synchronise()
        started = time.perf_counter()
        for _ in range(10):
            torch.mm(first, second)
        synchronise()
        taken.append((time.perf_counter() - started) / 10)
    return 2 * size**3 / min(taken)


def synchronise() -> None:
    """Wait for the GPU, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def is_of_memory(error: Exception) -> bool:
    """Say whether memory ran out; libraries tell it in many ways."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error).lower() for words in ("memory", "can't allocate", "cublas_status_alloc_failed")
    )


class _Clock:
    """Times steps after the first ones; `settle` waits for those that were only begun when a tick comes."""

    def __init__(self, settle: Callable[[], object] = lambda: None) -> None:
        self._ticks, self._started, self._ended, self._settle = 0, 0.0, 0.0, settle

    def tick(self) -> None:
        self._ticks += 1
        if self._ticks == _SKIPPED:
            self._settle()
            self._started = time.perf_counter()
        elif self._ticks == _SKIPPED + _TIMED:
            self._settle()
            self._ended = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds a step; 0 where there were too few."""
        return max(0.0, self._ended - self._started) / _TIMED


def _first(tokens: Tokens, texts: int) -> Tokens:
    assert tokens.labels is not None
    return Tokens(tokens.flat[: tokens.starts[texts]], tokens.starts[: texts + 1], tokens.pad, tokens.labels[:texts])


def _twice(tokens: Tokens) -> Tokens:
    assert tokens.labels is not None
    starts = np.concatenate([tokens.starts, tokens.starts[1:] + tokens.starts[-1]])
    return Tokens(np.tile(tokens.flat, 2), starts, tokens.pad, np.tile(tokens.labels, 2))


def _reset() -> int:
    """Free what nobody refers to; return the bytes that are still allocated on the GPU."""
    gc.collect()
    if not torch.cuda.is_available():
        return 0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return int(torch.cuda.memory_allocated())


def _peak() -> int:
    return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else 0
