"""Fit every method with every seed, predict the test split once each, and keep all of it in the run's folder."""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loracle.comparison.folder import RunFolder
from loracle.comparison.ledger import tell_passes, versions, write_ledger
from loracle.comparison.measuring import import_libraries
from loracle.comparison.passes import Passes, Run, group_methods
from loracle.comparison.plan import Plan
from loracle.comparison.result import Comparison, Result
from loracle.comparison.searching import Found, check_metric, learning_rates_to_try, search
from loracle.comparison.summarising import summarise
from loracle.comparison.watching import Silence, Watch
from loracle.errors import ConfigError, LoracleError
from loracle.evaluation.metrics import measure, preference, resolve_metric
from loracle.files import folder_bytes, write_text
from loracle.methods.method import RemoteScorer
from loracle.methods.naming import base_precision_of
from loracle.planning.forecasting import predict_peak

if TYPE_CHECKING:
    from loracle.data.task import Task
    from loracle.methods.method import Classifier, Method, Setup
    from loracle.prompting.receipt import Receipt

_ENOUGH_SECONDS = 0.5  # of scoring: what is shorter is measured several times
_TEXTS_TIMED, _PASSES_TIMED = 64, 3


def resolve_configuration(task: Task, methods: Sequence[Method], setup: Setup, plan: Plan) -> dict[str, Any]:
    """Return every option of a run as one flat mapping, spelled as the flags and the keys of a TOML file are."""
    return {
        **task.options,
        "methods": [method.stored_name or method.name for method in methods],
        **setup.options(),
        **asdict(plan),
    }


def run(
    task: Task,
    methods: Sequence[Method],
    setup: Setup,
    plan: Plan,
    *,
    folder: Path,
    watch: Watch | None = None,
) -> Comparison:
    """Run what is not finished in `folder` yet, and return the comparison over all of it.

    A method that fails becomes a Result with its error, and the others go on; a KeyboardInterrupt passes through, with
    all finished runs kept. Raises RunError where the folder holds another run.
    """
    watch = watch or Silence()
    setup = _resolve(setup, task)
    import_libraries(quantised=any(base_precision_of(method, setup) not in (None, "full") for method in methods))
    place = RunFolder(folder)
    place.open(resolve_configuration(task, methods, setup, plan), _hashes(task))
    ledger = write_ledger(task, methods, setup, asdict(plan)) | {"splits": _hashes(task), "started": _now()}
    place.save_ledger(ledger)
    done: dict[str, list[Result]] = {method.name: [] for method in methods}
    for group in group_methods(methods, setup, together=plan.together):
        for result in _run_group(group, task, setup, plan, place, watch):
            done[result.method].append(result)
    results = [result for of_method in done.values() for result in of_method]
    if told := tell_passes(results):
        ledger["trained together"] = told
    ledger["finished"] = _now()
    place.save_ledger(ledger)
    comparison = summarise(task, results, ledger, place)
    write_text(folder / "comparison.json", comparison.to_json())
    return comparison


def check_run(task: Task, methods: Sequence[Method], setup: Setup, plan: Plan, folder: Path) -> None:
    """Raise where `run` would not take the folder, or a method cannot work; nothing is written or spent."""
    configuration = resolve_configuration(task, methods, _resolve(setup, task), plan)
    RunFolder(folder).check(configuration, _hashes(task))
    for method in methods:
        if method.check and unfinished_seeds(method, plan, folder):
            method.check(task, setup)


def unfinished_seeds(method: Method, plan: Plan, folder: Path) -> Sequence[int]:
    """Return the seeds of a method that `run` would fit: those without a result in `folder`."""
    place = RunFolder(folder)
    return [seed for seed in method.seeds(range(plan.seeds)) if place.load_result(method.name, seed) is None]


def count_fits(method: Method, setup: Setup, seeds: Sequence[int]) -> int:
    """Return how many fits these seeds of a method take: all learning rates with the first seed, else one a seed."""
    rates = len(learning_rates_to_try(method, setup)) if 0 in seeds else 1
    return rates + len(seeds) - 1


def _resolve(setup: Setup, task: Task) -> Setup:
    """Put the precision of this machine and the metric of this task in the place of "auto": a run cannot mix two.

    Raises ConfigError for micro-F1 where a text has one label.
    """
    from loracle.training.precision import path_for

    check_metric(task, setup.budget)
    precision = path_for(setup.budget).precision
    metric = resolve_metric(setup.budget.metric, multi_label=task.multi_label)
    return replace(setup, budget=replace(setup.budget, precision=precision, metric=metric))


def _run_group(
    methods: Sequence[Method], task: Task, setup: Setup, plan: Plan, place: RunFolder, watch: Watch
) -> Iterator[Result]:
    """Run methods that can share passes, or one alone: the search with the first seed of each, then the other seeds."""
    seeds = {method.name: method.seeds(range(plan.seeds)) for method in methods}
    watch.start(
        methods[0].name + (f" and {len(methods) - 1} more" if len(methods) > 1 else ""),
        fits=sum(count_fits(method, setup, seeds[method.name]) for method in methods),
        texts_per_fit=_texts_seen(methods[0], task, setup),
        by_gradient=methods[0].by_gradient,
    )
    first = [Run(method, 0, learning_rates_to_try(method, setup)) for method in methods]
    searched = list(_attempt_all(first, task, setup, plan, place, watch))
    yield from searched
    others = [
        Run(run.method, seed, (result.learning_rate,))
        for run, result in zip(first, searched, strict=True)
        if not result.failed
        for seed in seeds[run.method.name][1:]
    ]
    yield from _attempt_all(others, task, setup, plan, place, watch)


def _attempt_all(
    runs: Sequence[Run], task: Task, setup: Setup, plan: Plan, place: RunFolder, watch: Watch
) -> Iterator[Result]:
    """Do what has no stored result, as much of it at once as can be; no run of a method follows one that failed."""
    stored = [place.load_result(run.method.name, run.seed) for run in runs]
    missing = [run for run, result in zip(runs, stored, strict=True) if result is None]
    passes = Passes(missing, task, setup, together=plan.together, on_step=watch.step)
    failed: set[str] = set()
    for run, known in zip(runs, stored, strict=True):
        if run.method.name in failed:
            continue  # the same method fails the same way with the next seed
        result = known or _attempt(run, passes, task, setup, place, watch)
        watch.finish(result, fits=len(run.rates))
        if result.failed:
            failed.add(result.method)
        yield result


def _attempt(run: Run, passes: Passes, task: Task, setup: Setup, place: RunFolder, watch: Watch) -> Result:
    """Do one run; whatever it raises becomes the Result's error. This is the one place where that happens."""
    try:
        found = search(
            *(run.method, task, setup), seed=run.seed, learning_rates=run.rates, on_step=watch.step, passes=passes
        )
        result = _score(run, found, task, setup, place, watch)
    except LoracleError as error:
        result = _failure(run, setup, str(error))
    except Exception as error:
        first_line = str(error).strip().partition("\n")[0]
        result = _failure(run, setup, f"{type(error).__name__}: {first_line}")
    place.save_result(result)
    return result


def _score(
    run: Run,
    found: Found,
    task: Task,
    setup: Setup,
    place: RunFolder,
    watch: Watch,
) -> Result:
    """Predict the test split, once; keep the model if no earlier seed is better on validation."""
    classifier = found.fitted.classifier
    remote = classifier.scorer if isinstance(classifier.scorer, RemoteScorer) else None

    def step(texts: int, loss: float | None) -> None:
        watch.step(texts, loss, spent=remote.spent if remote else None)

    if task.multi_label and not classifier.multi_label:
        raise ConfigError(
            f"method {run.method.name!r} gives one label a text, and a text of these data may have several"
        )
    start = time.perf_counter()
    probabilities = classifier.predict_proba(task.test.texts, step)
    seconds = time.perf_counter() - start
    receipt = remote.receipt if remote else None
    metrics = measure(task.test.labels, probabilities, classifier.thresholds)
    model = place.model_path(run.method.name)
    if _is_best_seed(run, found.fitted.validation_metrics, setup, place) or not model.is_dir():
        classifier.save(model)
    outcomes = receipt.outcome_of if receipt else None
    place.save_predictions(run.method.name, run.seed, task, probabilities, classifier.thresholds, outcomes)
    history = found.fitted.history
    return Result(
        method=run.method.name,
        seed=run.seed,
        metrics=metrics,
        validation_metrics=dict(found.fitted.validation_metrics),
        thresholds=classifier.thresholds,
        counts=classifier.counts,
        learning_rate=found.learning_rate,
        search=found.search,
        history=tuple(history.to_json()) if history else (),
        training_seconds=found.reading.seconds,
        search_seconds=found.search_seconds,
        fits_in_pass=found.fits_in_pass,
        scoring_seconds_per_1000=(
            receipt.seconds_per_1000 or 0.0 if receipt else _time_scoring(classifier, task, seconds)
        ),
        peak_memory_bytes=found.reading.peak_memory_bytes,
        peak_gpu_memory_bytes=found.reading.peak_gpu_memory_bytes,
        predicted_peak_memory_bytes=_predict_peak(run.method, setup, len(task.label_names)),
        bytes_on_disk=folder_bytes(model),
        answers=_without_texts(receipt) if receipt else None,
        configuration=_configuration(setup),
        versions=versions(),
    )


def _predict_peak(method: Method, setup: Setup, labels: int) -> int:
    """Return what the plan says of the peak, 0 where it says nothing: a fit is not lost for want of a prediction."""
    try:
        return predict_peak(method, setup, labels)
    except (LoracleError, RuntimeError, NotImplementedError):
        return 0


def _time_scoring(classifier: Classifier, task: Task, seconds: float) -> float:
    """Return seconds per 1,000 texts, from those of the test split where they are enough to tell.

    Else the median of three passes over the same validation texts; nothing is done there for the first time.
    """
    if seconds >= _ENOUGH_SECONDS:
        return 1000 * seconds / len(task.test)
    texts = task.validation.texts[:_TEXTS_TIMED]
    readings = []
    for _ in range(_PASSES_TIMED):
        start = time.perf_counter()
        classifier.predict_proba(texts)
        readings.append(time.perf_counter() - start)
    return 1000 * statistics.median(readings) / len(texts)


def _is_best_seed(run: Run, metrics: Mapping[str, float], setup: Setup, place: RunFolder) -> bool:
    """Say whether this seed beats all others that are finished, on validation; of equal ones the first is kept."""
    if not metrics:
        return True  # nothing was chosen on validation, so there is one seed
    own = (*preference(metrics, setup.budget.metric), -run.seed)
    others = [result for result in place.load_results(run.method.name) if result.seed != run.seed]
    return all(own > (*preference(other.validation_metrics, setup.budget.metric), -other.seed) for other in others)


def _without_texts(receipt: Receipt) -> dict[str, Any]:
    """Return the receipt without the outcome of each text, which stands beside the predictions."""
    return {key: value for key, value in receipt.to_json().items() if key != "outcome_of"}


def _failure(run: Run, setup: Setup, error: str) -> Result:
    return Result(
        method=run.method.name,
        seed=run.seed,
        error=error,
        configuration=_configuration(setup),
        versions=versions(),
    )


def _configuration(setup: Setup) -> Mapping[str, Any]:
    return setup.options()


def _hashes(task: Task) -> dict[str, str]:
    labels = hashlib.sha256(json.dumps(task.label_names).encode()).hexdigest()[:16]
    return {**{split.name: split.hash for split in (task.train, task.validation, task.test)}, "label names": labels}


def _texts_seen(method: Method, task: Task, setup: Setup) -> int:
    """Return how many texts one fit counts: those trained on, or all that are scored."""
    if method.by_gradient:
        return len(task.train) * setup.budget.epochs
    return len(task.test) if method.remote else len(task.train) + len(task.validation) + len(task.test)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
