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


@pytest.mark.parametrize("name", ["majority", "tfidf", "probe", "lora"])
def test_estimate_is_within_a_factor_of_the_time_taken(name: str, tiny_file: Path, tiny_base: Path) -> None:
    task, method = load_task(tiny_file), METHODS[name]
    budget = Budget(epochs=20, batch_size=8, max_length=24, learning_rates=1, patience=20, precision="fp32")
    setup = Setup(model=str(tiny_base), budget=budget, lora=LoRAConfig(targets=("all-linear",)))
    estimate_seconds(method, task, setup, seeds=1)  # the first call also pays for imports
    estimate = estimate_seconds(method, task, setup, seeds=1)
    start = time.perf_counter()
    rates = learning_rates_to_try(method, setup)
    found = search(method, task, setup, seed=0, learning_rates=rates)
    found.fitted.classifier.predict_proba(task.test.texts)
    taken = time.perf_counter() - start
    assert taken / 8 - 0.2 < estimate < taken * 8 + 1


def test_more_epochs_rates_and_seeds_take_longer(tiny_file: Path, tiny_base: Path) -> None:
    task = load_task(tiny_file)
    small = Budget(epochs=1, batch_size=8, max_length=24, learning_rates=1, precision="fp32")
    large = replace(small, epochs=50, learning_rates=5)
    estimates = [
        estimate_seconds(METHODS["full"], task, Setup(model=str(tiny_base), budget=budget), seeds=seeds)
        for budget, seeds in ((small, 1), (large, 5))
    ]
    assert estimates[1] > 5 * estimates[0]
