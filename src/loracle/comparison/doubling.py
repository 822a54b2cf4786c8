"""The batch doubled until memory ends: full fine-tuning against LoRA, measured, with the plan beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from loracle.comparison.trial import Trial, run_trial
from loracle.planning.forecasting import Builder, find_plannable, prepare_network

if TYPE_CHECKING:
    from loracle.methods.method import Setup
    from loracle.training.precision import ComputePath

METHODS = ("full", "lora")
_LABELS = 2
_LARGEST = 2**20  # a limit that nothing reaches should not double for ever


@dataclass(frozen=True, kw_only=True)
class Doubling:
    """All trials of a demonstration, in the order in which they ran."""

    model: str
    max_length: int
    precision: str
    device: str
    memory_bytes: int
    trials: tuple[Trial, ...]

    def of(self, method: str) -> list[Trial]:
        """Return one method's trials, the smallest batch first."""
        return [trial for trial in self.trials if trial.method == method]

    def largest(self, method: str) -> int:
        """Return the largest batch of a method that fitted, 0 where none did."""
        return max((trial.batch_size for trial in self.of(method) if trial.fits), default=0)


def double_batches(
    setup: Setup,
    memory_bytes: int,
    *,
    methods: Sequence[str] = METHODS,
    on_trial: Callable[[Trial], None] | None = None,
    on_start: Callable[[str, int], None] | None = None,
) -> Doubling:
    """Double the batch of each method from 1 until it no longer fits in `memory_bytes`; no child outlives this.

    `setup.budget.batch_size` is not read. Raises ConfigError or ModelError before anything runs, RunError where a trial
    fails for another reason than memory.
    """
    from loracle.training.precision import path_for

    path = path_for(setup.budget)
    setup = replace(setup, budget=replace(setup.budget, precision=path.precision))
    build = Builder(setup, _LABELS)
    for method in find_plannable(methods):
        prepare_network(build, setup, method)
    trials: list[Trial] = []
    for name in methods:
        batch, fits = 1, True
        while fits and batch <= _LARGEST:
            if on_start:
                on_start(name, batch)
            answer = run_trial(setup, name, batch, memory_bytes)
            trials.append(
                Trial(
                    method=name, batch_size=batch, predicted_bytes=_predict(build, setup, name, batch, path), **answer
                )
            )
            if on_trial:
                on_trial(trials[-1])
            fits, batch = trials[-1].fits, 2 * batch
    return Doubling(
        model=setup.model,
        max_length=setup.budget.max_length,
        precision=path.precision,
        device=path.device,
        memory_bytes=memory_bytes,
        trials=tuple(trials),
    )


def _predict(build: Builder, setup: Setup, name: str, batch: int, path: ComputePath) -> int:
    from loracle.planning.simulation import simulate_fit

    base = prepare_network(build, setup, find_plannable([name])[0])
    return simulate_fit(base, replace(setup.budget, batch_size=batch, epochs=1), path).total
