"""A method that another machine answers: its outcomes are kept, and without answers it has no rank."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from loracle.comparison import running
from loracle.comparison.plan import Plan
from loracle.comparison.result import Comparison, load_comparison
from loracle.comparison.watching import ProgressLines
from loracle.data.loading import load_task
from loracle.data.task import Task
from loracle.methods.method import Classifier, Fitted, Method, Setup
from loracle.methods.registry import find_methods
from loracle.models.counting import Counts
from loracle.prompting.receipt import Receipt
from loracle.reporting import terminal_table, write_report

OUTCOMES = ("ok", "malformed", "refused", "truncated", "filtered", "api_error")
Silent = Callable[[Sequence[str]], Sequence[str]]


class Oracle:
    """Answers every text right by its own words; those that `outcome_of` does not call ok get no answer."""

    def __init__(self, outcome_of: Silent) -> None:
        self.outcome_of = outcome_of
        self.receipt: Receipt | None = None
        self.spent = 0.0

    def predict_proba(self, texts: Sequence[str], on_step: Callable[..., None] | None = None) -> np.ndarray:
        became = tuple(self.outcome_of(texts))
        self.spent = 0.5
        self.receipt = Receipt(
            outcomes={name: became.count(name) for name in OUTCOMES},
            texts=len(texts),
            calls=3,
            prompt_tokens=1000,
            completion_tokens=None,
            cost=0.5,
            paid=0.5,
            currency="EUR",
            price_date="2026-01-01",
            saved=2,
            seconds_per_1000=7.5,
            outcome_of=became,
        )
        good = [any(word in text for word in ("lovely", "fast", "friendly", "thanks", "great")) for text in texts]
        answers = np.eye(2, dtype=np.float32)[np.array(good, int)]
        answers[[name != "ok" for name in became]] = 0
        if on_step:
            on_step(len(texts), None)
        return answers

    def save(self, folder: Path) -> None:
        (folder / "oracle.json").write_text("{}")


def oracle(outcome_of: Silent) -> Method:
    def fit(task: Task, setup: Setup, **more: object) -> Fitted:
        classifier = Classifier(
            method="oracle", label_names=task.label_names, scorer=Oracle(outcome_of), counts=Counts()
        )
        return Fitted(classifier=classifier, validation_metrics={})

    return Method(name="oracle", summary="", fit=fit, load=lambda folder: Oracle(outcome_of), remote=True)


def all_ok(texts: Sequence[str]) -> list[str]:
    return ["ok"] * len(texts)


def one_refused(texts: Sequence[str]) -> list[str]:
    return ["refused", *["ok"] * (len(texts) - 1)]


def two_lost(texts: Sequence[str]) -> list[str]:
    return ["api_error"] * 2 + ["ok"] * (len(texts) - 2)


@pytest.fixture(scope="module")
def task(tiny_file: Path) -> Task:
    return load_task(tiny_file)


@pytest.fixture
def run(task: Task, tiny_base: Path, tmp_path: Path) -> Callable[[Silent], Comparison]:
    def start(outcome_of: Silent) -> Comparison:
        methods = (*find_methods(["majority"]), oracle(outcome_of))
        return running.run(task, methods, Setup(model=str(tiny_base)), Plan(seeds=2), folder=tmp_path)

    return start


def summary(comparison: Comparison, method: str = "oracle") -> object:
    return next(item for item in comparison.summaries if item.method == method)


def test_refused_text_counts_as_wrong_and_is_told(run: Callable[..., Comparison], task: Task, tmp_path: Path) -> None:
    comparison = run(one_refused)
    found = summary(comparison)
    assert found.metrics["accuracy"].value == pytest.approx(1 - 1 / len(task.test))
    assert "log_loss" not in found.metrics
    assert found.answers["outcomes"]["refused"] == 1
    assert comparison.verdict.method == "oracle"
    table = pq.read_table(tmp_path / "predictions" / "oracle.0.parquet").to_pylist()
    assert (table[0]["outcome"], table[0]["predicted"]) == ("refused", None)
    assert {row["outcome"] for row in table[1:]} == {"ok"}


def test_too_many_lost_texts_cost_the_rank(run: Callable[..., Comparison], tmp_path: Path) -> None:
    comparison = run(two_lost)
    assert "got no answer" in summary(comparison).unranked
    assert comparison.verdict.method == "majority"
    assert not comparison.pairs
    assert comparison.summaries[-1].method == "oracle"
    page = write_report(tmp_path).read_text()
    assert "no rank" in page
    console = Console(width=160, record=True)
    console.print(terminal_table(comparison, width=160))
    assert "oracle has no rank" in console.export_text()


def test_unranked_run_is_asked_again_and_a_ranked_one_is_not(run: Callable[..., Comparison]) -> None:
    run(two_lost)
    assert summary(run(all_ok)).unranked is None
    assert summary(run(two_lost)).unranked is None  # the finished answers were kept


def test_scoring_time_is_that_of_the_calls_and_nothing_is_asked_twice(run: Callable[..., Comparison]) -> None:
    asked: list[int] = []

    def count(texts: Sequence[str]) -> list[str]:
        asked.append(len(texts))
        return all_ok(texts)

    comparison = run(count)
    assert summary(comparison).scoring_seconds_per_1000 == 7.5
    assert asked == [36]


def test_answers_are_a_table_of_the_report(run: Callable[..., Comparison], tmp_path: Path) -> None:
    run(one_refused)
    page = write_report(tmp_path).read_text()
    assert "What the language model answered" in page
    assert "0.5000 EUR" in page
    assert load_comparison(tmp_path).summaries[0].answers["price_date"] == "2026-01-01"


def test_money_spent_is_told_on_the_way(task: Task, tiny_base: Path, tmp_path: Path) -> None:
    console = Console(width=120, record=True, force_terminal=True, legacy_windows=False)
    with ProgressLines(console) as watch:
        running.run(
            task, (oracle(one_refused),), Setup(model=str(tiny_base)), Plan(seeds=1), folder=tmp_path, watch=watch
        )
    shown = console.export_text()
    assert "1 refused" in shown
    assert "0.5000 EUR" in shown
