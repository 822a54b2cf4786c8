"""Try each of a method's learning rates on the validation split, and keep the best fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from loracle.comparison.passes import Attempt, Passes, fit_alone
from loracle.errors import ConfigError, TrainingError
from loracle.evaluation.metrics import choosing_metrics, preference

if TYPE_CHECKING:
    from loracle.comparison.measuring import Reading
    from loracle.data.task import Task
    from loracle.methods.method import Fitted, Method, Setup
    from loracle.training.budget import Budget
    from loracle.training.fitting import OnStep


@dataclass(frozen=True)
class Found:
    """The best fit, what it cost alone, what all fits of the search cost and brought, and how many shared its pass."""

    fitted: Fitted
    learning_rate: float | None
    reading: Reading
    search_seconds: float
    search: tuple[Mapping[str, Any], ...]
    fits_in_pass: int = 1


def search(
    method: Method,
    task: Task,
    setup: Setup,
    *,
    seed: int,
    learning_rates: Sequence[float | None],
    on_step: OnStep | None = None,
    passes: Passes | None = None,
) -> Found:
    """Fit once per learning rate; return the fit that is best on the validation split.

    What is among the fits of `passes` is taken from there. A rate at which the training diverges is listed with its
    error. What a fit found in the cache counts with the seconds that making it took, once in a search, so that no cost
    depends on what was run before. Raises TrainingError where all diverge.
    """
    best: Found | None = None
    tried: list[Mapping[str, Any]] = []
    seconds, metric = 0.0, setup.budget.metric
    counted: dict[str, Mapping[str, float]] = {}
    for rate in learning_rates:
        shared = passes.take(method, seed, rate) if passes else None
        attempt = shared or fit_alone(method, task, setup, seed=seed, learning_rate=rate, on_step=on_step)
        fitted, reading = attempt.outcome, attempt.reading
        seconds += reading.seconds + _spared_first(attempt, counted)
        if isinstance(fitted, TrainingError):
            tried.append({"setting": "learning rate", "value": rate, "error": str(fitted)})
            continue
        tried += fitted.search or _trial(rate, fitted.validation_metrics)
        if best is None or preference(fitted.validation_metrics, metric) > preference(
            best.fitted.validation_metrics, metric
        ):
            reading.seconds += sum(attempt.spared.values())
            best = Found(fitted, rate, reading, 0.0, (), attempt.fits_in_pass)
        del shared, attempt, fitted  # or a network would be held while the next one is trained
    if best is None:
        raise TrainingError(f"{method.name} diverged at every learning rate tried; last: {tried[-1]['error']}")
    marked = [
        trial if "chosen" in trial else {**trial, "chosen": trial["value"] == best.learning_rate} for trial in tried
    ]
    return replace(best, search_seconds=seconds, search=tuple(marked))


def check_metric(task: Task, budget: Budget) -> None:
    """Raise ConfigError for micro-F1 where a text has one label: it is then accuracy by another name."""
    if budget.metric == "micro_f1" and not task.multi_label:
        raise ConfigError("metric is micro_f1, but a text of these data has one label; allowed: accuracy or macro_f1")


def learning_rates_to_try(method: Method, setup: Setup) -> tuple[float | None, ...]:
    """Return the first rates of the method's grid, as many as the budget says; (None,) where it has no grid."""
    return method.learning_rates[: setup.budget.learning_rates] or (None,)


def _spared_first(attempt: Attempt, counted: dict[str, Mapping[str, float]]) -> float:
    """Return the seconds of what no fit of the search found or made before; those of one pass found it together."""
    return sum(
        seconds for key, seconds in attempt.spared.items() if counted.setdefault(key, attempt.spared) is attempt.spared
    )


def _trial(rate: float | None, metrics: Mapping[str, float]) -> list[Mapping[str, Any]]:
    if rate is None:
        return []
    trial = {"setting": "learning rate", "value": rate}
    return [{**trial, **choosing_metrics(metrics)}]
