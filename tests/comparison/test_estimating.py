"""The estimate is the pace of a few batches, times what there is to do. The clock is a made one: no timed test."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from loracle.comparison import estimating
from loracle.comparison.estimating import estimate_seconds
from loracle.data.loading import load_task
from loracle.data.task import Task
from loracle.errors import ConfigError, DataError
from loracle.methods.method import Method, Setup
from loracle.methods.registry import METHODS, find_methods
from loracle.training.budget import Budget

LOADING, SECONDS_PER_TEXT = 7.0, 0.25
BATCH = 8


class Clock:
    """Time that passes only where a method says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(estimating, "time", clock)
    return clock


@pytest.fixture(scope="module")
def task(tiny_file: Path) -> Task:
    return load_task(tiny_file)


SETUP = Setup(budget=Budget(epochs=3, batch_size=BATCH))


def stepping(clock: Clock, *, gradient: bool) -> Method:
    """A method that loads for 7 s, then takes a quarter of a second a text."""

    def fit(task: Task, setup: Setup, *, seed: int, on_step: Callable[[int, float | None], None]) -> None:
        clock.now += LOADING
        on_step(BATCH, 1.0)  # the first step is counted as loading
        for _ in range(setup.budget.epochs * (len(task.train) // BATCH)):
            clock.now += BATCH * SECONDS_PER_TEXT
            on_step(BATCH, 1.0)

    return replace(METHODS["lora" if gradient else "probe"], fit=fit)


def test_gradient_method_takes_loading_and_every_text_of_every_epoch_and_fit(clock: Clock, task: Task) -> None:
    seconds = estimate_seconds(stepping(clock, gradient=True), task, SETUP, fits=5, seeds=2)
    texts = len(task.train) + len(task.validation) / 3
    expected = 5 * (LOADING + 3 * texts * SECONDS_PER_TEXT) + 2 * len(task.test) / 3 * SECONDS_PER_TEXT
    assert seconds == pytest.approx(expected)


def test_method_that_only_reads_takes_loading_and_every_text_once(clock: Clock, task: Task) -> None:
    seconds = estimate_seconds(stepping(clock, gradient=False), task, SETUP, fits=1, seeds=1)
    texts = len(task.train) + len(task.validation) + len(task.test)
    assert seconds == pytest.approx(LOADING + texts * SECONDS_PER_TEXT)


def test_method_without_steps_is_timed_again_without_its_imports(clock: Clock, task: Task) -> None:
    calls: list[int] = []

    def fit(task: Task, setup: Setup, **more: object) -> None:
        calls.append(len(task.train) + len(task.validation))
        clock.now += 0.01 * calls[-1] + (30 if len(calls) == 1 else 0)

    seconds = estimate_seconds(replace(METHODS["tfidf"], fit=fit), task, SETUP, fits=1, seeds=1)
    assert seconds == pytest.approx(0.01 * (len(task.train) + len(task.validation) + len(task.test)))


@pytest.mark.parametrize("name", ["majority", "tfidf", "probe", "lora", "full"])
def test_every_method_can_be_estimated(name: str, task: Task, tiny_base: Path) -> None:
    budget = Budget(epochs=50, batch_size=BATCH, max_length=24, precision="fp32")
    assert estimate_seconds(METHODS[name], task, Setup(model=str(tiny_base), budget=budget), fits=1, seeds=1) > 0


def test_sample_is_a_few_batches_with_every_label(task: Task) -> None:
    seen: list[Task] = []

    def fit(task: Task, setup: Setup, **more: object) -> None:
        seen.append(task)

    estimate_seconds(replace(METHODS["tfidf"], fit=fit), task, SETUP, fits=1, seeds=1)
    assert len(seen[0].train) <= 4 * BATCH + len(task.label_names)
    assert set(seen[0].train.labels) == set(task.train.labels)


@pytest.mark.parametrize(("tinit", "error"), [(20, DataError), (10_000, ConfigError)])
def test_schedule_that_fits_the_run_and_not_the_sample_is_no_bad_configuration(
    task: Task, tiny_base: Path, tmp_path: Path, tinit: int, error: type[Exception]
) -> None:
    path = tmp_path / "adalora.json"
    path.write_text(json.dumps({"peft_type": "ADALORA", "target_modules": ["query"], "tinit": tinit, "tfinal": 2}))
    budget = Budget(epochs=20, batch_size=BATCH, max_length=24, precision="fp32")
    with pytest.raises(error):
        estimate_seconds(
            find_methods([f"peft:{path}"])[0], task, Setup(model=str(tiny_base), budget=budget), fits=1, seeds=1
        )
