"""Methods that leave the bottom of the base frozen give the same without computing it again."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loracle.data.loading import load_task
from loracle.data.task import Task
from loracle.methods.method import Fitted, Setup
from loracle.methods.registry import find_methods, load_classifier
from loracle.training import states, tokenising
from loracle.training.budget import Budget

LAST_LAYER = "lora:targets=1.attention.self.query"
NAMES = ("partial", "head", LAST_LAYER)
TEXTS = ["late parcel never answered", "", "lovely fast friendly shop", "late " * 300, "zzz qqq"]


@pytest.fixture
def task(tiny_file: Path) -> Task:
    return load_task(tiny_file)


@pytest.fixture
def setup(tiny_base: Path) -> Setup:
    return Setup(model=str(tiny_base), budget=Budget(epochs=3, batch_size=8, max_length=32, precision="fp32"))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LORACLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tokenising, "KEPT_FROM", 10)
    return tmp_path / "cache"


def fit(name: str, task: Task, setup: Setup) -> Fitted:
    return find_methods([name])[0].fit(task, setup, seed=0, learning_rate=3e-3)


def files(cache: Path, kind: str) -> int:
    return len(list((cache / kind).iterdir())) if (cache / kind).is_dir() else 0


@pytest.mark.parametrize("name", NAMES)
def test_history_and_predictions_are_those_of_a_fit_that_computes_all(
    name: str, task: Task, setup: Setup, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stepped = fit(name, task, setup)
    assert (files(cache, "bottoms"), files(cache, "tokens")) == (2, 2)
    with monkeypatch.context() as patch:
        patch.setattr(states, "FEWEST_TEXTS", 10**9)
        plain = fit(name, task, setup)
    assert stepped.history is not None
    assert plain.history is not None
    for one, two in zip(stepped.history.to_json(), plain.history.to_json(), strict=True):
        assert one == pytest.approx(two, abs=1e-4)
    expected = plain.classifier.predict_proba(TEXTS)
    np.testing.assert_allclose(stepped.classifier.predict_proba(TEXTS), expected, atol=1e-3)
    stepped.classifier.save(tmp_path / "model")
    np.testing.assert_allclose(load_classifier(tmp_path / "model").predict_proba(TEXTS), expected, atol=1e-3)


def test_second_fit_finds_what_the_first_one_made(
    task: Task, setup: Setup, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit("partial", task, setup)

    def fail(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(states, "_compute", fail)
    monkeypatch.setattr(tokenising._Work, "encode", fail)
    method = find_methods(["partial"])[0]
    assert method.fit(task, setup, seed=1, learning_rate=1e-3).history


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("full", {}),
        ("lora", {}),
        ("partial", {"base_dropout": True}),
        ("partial", {"epochs": 1}),
        ("scratch", {}),
        ("lstm", {}),
    ],
)
def test_fit_that_has_no_use_for_it_keeps_no_states(
    name: str, change: dict[str, Any], task: Task, setup: Setup, cache: Path
) -> None:
    fit(name, task, replace(setup, budget=replace(setup.budget, **{"epochs": 2, **change})))
    assert files(cache, "bottoms") == 0


def test_texts_to_predict_are_not_kept(task: Task, setup: Setup, cache: Path) -> None:
    fitted = fit("partial", task, setup)
    before = files(cache, "tokens")
    fitted.classifier.predict_proba(TEXTS * 20)
    assert files(cache, "tokens") == before
