"""The estimate grows with what there is to do, and is of the right order."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from loracle.comparison.estimating import estimate_seconds
from loracle.comparison.searching import learning_rates_to_try, search
from loracle.data.loading import load_task
from loracle.lora.config import LoRAConfig
from loracle.methods.method import Setup
from loracle.methods.registry import METHODS
from loracle.training.budget import Budget


@pytest.mark.parametrize("name", ["probe", "lora"])
def test_estimate_is_within_a_factor_of_the_time_taken(name: str, tiny_file: Path, tiny_base: Path) -> None:
    task, method = load_task(tiny_file), METHODS[name]
    budget = Budget(epochs=20, batch_size=8, max_length=24, learning_rates=1, patience=20, precision="fp32")
    setup = Setup(model=str(tiny_base), budget=budget, lora=LoRAConfig(targets=("all-linear",)))
    estimate_seconds(method, task, setup, fits=1, seeds=1)  # the first call also pays for imports
    estimate = estimate_seconds(method, task, setup, fits=1, seeds=1)
    start = time.perf_counter()
    rates = learning_rates_to_try(method, setup)
    found = search(method, task, setup, seed=0, learning_rates=rates)
    found.fitted.classifier.predict_proba(task.test.texts)
    taken = time.perf_counter() - start
    assert taken / 8 - 0.2 < estimate < taken * 8 + 1


def test_more_epochs_fits_and_seeds_take_longer(tiny_file: Path, tiny_base: Path) -> None:
    task = load_task(tiny_file)
    budget = Budget(epochs=1, batch_size=8, max_length=24, precision="fp32")
    small = Setup(model=str(tiny_base), budget=budget)
    large = replace(small, budget=replace(budget, epochs=50))
    once = estimate_seconds(METHODS["full"], task, small, fits=1, seeds=1)
    assert estimate_seconds(METHODS["full"], task, large, fits=9, seeds=5) > 5 * once


@pytest.mark.parametrize("name", ["majority", "tfidf"])
def test_cheap_method_is_estimated_in_seconds(name: str, tiny_file: Path, tiny_base: Path) -> None:
    setup = Setup(model=str(tiny_base), budget=Budget(precision="fp32"))
    assert 0 <= estimate_seconds(METHODS[name], load_task(tiny_file), setup, fits=1, seeds=1) < 10
