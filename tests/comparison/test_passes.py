"""Fits that share a pass give what they give one by one; only the time, and what is said of it, is another."""

import io
import time
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from loracle import api
from loracle.comparison import passes, running
from loracle.comparison.folder import RunFolder
from loracle.comparison.passes import Passes, Run, group_methods
from loracle.comparison.plan import Plan
from loracle.comparison.result import load_comparison, parse_result
from loracle.comparison.searching import search
from loracle.comparison.watching import ProgressLines
from loracle.data.loading import load_task
from loracle.data.task import Task
from loracle.errors import LoracleWarning, ModelError, TrainingError
from loracle.files import load_json
from loracle.lora.config import LoRAConfig
from loracle.methods.lora import find_common
from loracle.methods.method import Method, Setup, Sharing, Try
from loracle.methods.registry import METHODS, find_methods, load_classifier
from loracle.planning import capacity
from loracle.reporting.html import render_html
from loracle.reporting.markdown import render_markdown
from loracle.reporting.terminal import terminal_table
from loracle.training import precision, together
from loracle.training.budget import Budget

NAMES = ["lora", "tfidf", "lora:rank=2:alpha=3"]
METRICS = {"accuracy": 0.5, "macro_f1": 0.5, "log_loss": 1.0}


@pytest.fixture(scope="module")
def task(tiny_file: Path) -> Task:
    return load_task(tiny_file)


@pytest.fixture(scope="module")
def setup(tiny_base: Path) -> Setup:
    budget = Budget(epochs=2, batch_size=16, max_length=24, learning_rates=2, precision="fp32")
    return Setup(model=str(tiny_base), budget=budget, lora=LoRAConfig(rank=4))


@pytest.fixture(scope="module")
def alone(task: Task, setup: Setup, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone") / "run"
    running.run(task, find_methods(NAMES), setup, Plan(seeds=3, together=1), folder=folder)
    return folder


@pytest.fixture(scope="module")
def shared(task: Task, setup: Setup, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared") / "run"
    running.run(task, find_methods(NAMES), setup, Plan(seeds=3, together=8), folder=folder)
    return folder


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of fits in each pass of the test, in order."""
    noted: list[int] = []
    fit_together = together.fit_together

    def noting(members: Any, *given: Any, **more: Any) -> Any:
        noted.append(len(members))
        return fit_together(members, *given, **more)

    monkeypatch.setattr(together, "fit_together", noting)
    return noted


def check_same(one: Path, other: Path) -> None:
    """Hold that two folders have the same files and, up to rounding, the same results, predictions and models."""
    files = [{str(path.relative_to(folder)) for path in folder.rglob("*")} for folder in (one, other)]
    assert files[0] == files[1]
    firsts, seconds = (load_comparison(folder).results for folder in (one, other))
    for first, second in zip(firsts, seconds, strict=True):
        assert (first.method, first.seed, first.error) == (second.method, second.seed, second.error)
        assert (first.learning_rate, first.counts) == (second.learning_rate, second.counts)
        assert first.metrics == pytest.approx(second.metrics, abs=1e-4)
        assert first.validation_metrics == pytest.approx(second.validation_metrics, abs=1e-4)
        assert [trial["value"] for trial in first.search] == [trial["value"] for trial in second.search]
        assert len(first.history) == len(second.history)
        predicted = [RunFolder(folder).load_predictions(first.method, first.seed) for folder in (one, other)]
        assert np.abs(predicted[0] - predicted[1]).max() < 1e-4


def test_one_pass_and_one_by_one_give_the_same_folder(alone: Path, shared: Path, task: Task) -> None:
    check_same(alone, shared)
    texts = task.test.texts[:8]
    for name in ("lora", "lora:rank=2:alpha=3"):
        one, other = (load_classifier(folder / "models" / name) for folder in (alone, shared))
        assert one.method == other.method == name
        np.testing.assert_allclose(one.predict_proba(texts), other.predict_proba(texts), atol=1e-4)


def test_ranks_share_the_pass_of_the_search_and_that_of_the_seeds(shared: Path, alone: Path) -> None:
    fits = {(result.method, result.seed): result.fits_in_pass for result in load_comparison(shared).results}
    assert fits.pop(("tfidf", 0)) == 1
    assert set(fits.values()) == {4}  # two ranks with two rates, then two ranks with two seeds
    assert {result.fits_in_pass for result in load_comparison(alone).results} == {1}
    assert [result.method for result in load_comparison(shared).results] == [
        *("lora",) * 3,
        "tfidf",
        *("lora:rank=2:alpha=3",) * 3,
    ]


def test_the_report_says_what_the_figures_of_a_shared_pass_are(shared: Path, alone: Path) -> None:
    comparison, sentence = load_comparison(shared), "lora and lora:rank=2:alpha=3 shared passes of 4 fits"
    assert comparison.ledger["trained together"] == load_json(shared / "ledger.json")["trained together"]
    assert sentence in comparison.ledger["trained together"][0]
    assert sentence in render_html(comparison)
    assert sentence in render_markdown(comparison).partition("## Why to believe it")[0]
    console = Console(file=io.StringIO(), width=200)
    console.print(terminal_table(comparison, width=200))
    assert sentence in console.file.getvalue()  # type: ignore[attr-defined]
    assert "shared passes" not in render_markdown(load_comparison(alone))


def test_the_number_of_fits_is_an_option_of_the_run_that_may_change(shared: Path, task: Task, setup: Setup) -> None:
    assert tomllib.loads((shared / "run.toml").read_text())["together"] == 8
    before = load_comparison(shared)
    older = (shared / "run.toml").read_text().replace("together = 8\n", "")
    (shared / "run.toml").write_text(older)
    again = running.run(task, find_methods(NAMES), setup, Plan(seeds=3, together=2), folder=shared)
    assert again.results == before.results


def test_results_of_before_are_read_as_fits_alone(shared: Path) -> None:
    stored = load_json(shared / "results" / "lora.0.json")
    del stored["fits_in_pass"]
    assert parse_result(stored).fits_in_pass == 1


# ---- what is trained ahead


def test_a_continued_run_trains_what_is_missing_alone(task: Task, setup: Setup, tmp_path: Path, sizes: list) -> None:
    methods, plan = find_methods(["lora"]), Plan(seeds=3, together=8)
    before = running.run(task, methods, setup, plan, folder=tmp_path)
    assert sizes == [2, 2]
    (tmp_path / "results" / "lora.1.json").unlink()
    again = running.run(task, methods, setup, plan, folder=tmp_path)
    assert sizes == [2, 2]
    assert [result.fits_in_pass for result in again.results] == [2, 1, 2]
    assert again.results[1].metrics == pytest.approx(before.results[1].metrics, abs=1e-4)


@pytest.mark.parametrize(
    ("budget", "lora", "more"),
    [
        ({}, {"dropout": 0.1}, {}),
        ({}, {"rank_dropout": 0.1}, {}),
        ({}, {"dora": True}, {}),
        ({}, {"initialisation": "pissa"}, {}),
        ({"deterministic": True}, {}, {}),
        ({"gradient_checkpointing": True}, {}, {}),
        ({"base_dropout": True}, {}, {}),
        ({}, {}, {"base_precision": "int8"}),
    ],
)
def test_what_cannot_share_a_pass_is_trained_alone(budget: dict, lora: dict, more: dict) -> None:
    setup = Setup(budget=Budget(**budget), lora=LoRAConfig(**lora), **more)
    assert find_common(setup) is None
    assert [len(group) for group in group_methods(find_methods(NAMES), setup, together=8)] == [1, 1, 1]


def test_only_ranks_and_alphas_of_lora_itself_share_a_group() -> None:
    names = ["lora", "rslora", "lora:targets=key", "full", "lora:alpha=4", "lora:dropout=0.1", "lora:rank=16"]
    groups = group_methods(find_methods(names), Setup(), together=8)
    assert [[method.name for method in group] for group in groups] == [
        ["lora", "lora:alpha=4", "lora:rank=16"],
        *([name] for name in ("rslora", "lora:targets=key", "full", "lora:dropout=0.1")),
    ]
    assert all(len(group) == 1 for group in group_methods(find_methods(names), Setup(), together=1))


@pytest.mark.parametrize(("device", "sizes"), [("cpu", [1, 1]), ("cuda", [2])])
def test_unless_asked_fits_share_a_pass_where_that_is_faster(
    monkeypatch: pytest.MonkeyPatch, device: str, sizes: list[int]
) -> None:
    monkeypatch.setattr(precision, "path_for", lambda _: precision.ComputePath(device, "fp32"))
    groups = group_methods(find_methods(["lora", "lora:rank=4"]), Setup(), together=0)
    assert [len(group) for group in groups] == sizes


def test_dropout_and_a_head_that_no_bank_takes_are_trained_without_a_word(
    task: Task, setup: Setup, sizes: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ModelError("the head's norm is a LayerNorm; a bank takes linear layers alone")

    dropped = replace(setup, lora=LoRAConfig(dropout=0.1))
    runs = [Run(METHODS["lora"], 0, (1e-3, 3e-3))]
    assert Passes(runs, task, dropped, together=8).take(METHODS["lora"], 0, 1e-3) is None
    assert sizes == []
    monkeypatch.setattr(together, "build_bank", refuse)
    shared = Passes(runs, task, setup, together=8)
    found = search(METHODS["lora"], task, setup, seed=0, learning_rates=(1e-3, 3e-3), passes=shared)
    assert sizes == [2]
    assert (len(found.search), found.fits_in_pass) == (2, 1)


@pytest.mark.parametrize(("fits", "seeds", "expected"), [(1, 2, []), (2, 2, [2, 2]), (3, 2, [2, 2]), (5, 3, [3, 3])])
def test_so_many_fits_share_a_pass_as_memory_holds(
    task: Task, setup: Setup, sizes: list, monkeypatch: pytest.MonkeyPatch, fits: int, seeds: int, expected: list
) -> None:
    monkeypatch.setattr(passes, "_count_sharing", lambda *_: fits)
    runs = [Run(METHODS["lora"], seed, (1e-3, 3e-3)) for seed in range(seeds)]
    shared = Passes(runs, task, setup, together=8)
    taken = [shared.take(run.method, run.seed, rate) for run in runs for rate in run.rates]
    assert sizes == expected
    assert [attempt.fits_in_pass for attempt in taken if attempt] == [size for size in expected for _ in range(size)]


def test_a_pass_is_trained_when_the_first_of_its_fits_is_asked_for(task: Task, setup: Setup, sizes: list) -> None:
    shared = Passes([Run(METHODS["lora"], seed, (1e-3,)) for seed in (0, 1, 2)], task, setup, together=2)
    assert shared.take(METHODS["lora"], 0, 1e-3) is None  # the odd one
    assert sizes == []
    assert shared.take(METHODS["lora"], 2, 1e-3)
    assert shared.take(METHODS["lora"], 1, 1e-3)
    assert sizes == [2]


def test_without_room_in_memory_there_is_no_pass(
    task: Task, setup: Setup, sizes: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "find_room", lambda path: 1000)
    assert (
        Passes([Run(METHODS["lora"], 0, (1e-3, 3e-3))], task, setup, together=8).take(METHODS["lora"], 0, 1e-3) is None
    )
    assert sizes == []


# ---- what goes wrong


def test_memory_that_ends_in_a_pass_loses_nothing(
    alone: Path, task: Task, setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, epochs = together._train_epoch, []

    def run_out(*given: Any) -> None:
        train(*given)
        epochs.append(1)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 TB\nand a stack")

    monkeypatch.setattr(together, "_train_epoch", run_out)
    with pytest.warns(LoracleWarning, match=r"4 fits in one pass failed \(memory ran out\).*one by one") as told:
        running.run(task, find_methods(NAMES), setup, Plan(seeds=3, together=8), folder=tmp_path / "run")
    assert len(told) == len(epochs) == 2
    check_same(alone, tmp_path / "run")
    assert {result.fits_in_pass for result in load_comparison(tmp_path / "run").results} == {1}


def test_one_that_diverges_in_a_pass_is_listed_with_its_error(
    task: Task, setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_loss(monkeypatch, lambda member: member.learning_rate == 1e-3)
    result = running.run(task, find_methods(["lora"]), setup, Plan(seeds=1, together=8), folder=tmp_path).results[0]
    assert not result.failed
    assert result.learning_rate == 3e-3
    assert "the loss became nan" in result.search[0]["error"]


def test_a_method_that_diverges_at_every_rate_fails_and_the_one_beside_it_does_not(
    task: Task, setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_loss(monkeypatch, lambda member: trained_rank(member.network) == 2)
    comparison = running.run(task, find_methods(NAMES), setup, Plan(seeds=2, together=8), folder=tmp_path)
    errors = {result.method: result.error for result in comparison.results if result.failed}
    assert list(errors) == ["lora:rank=2:alpha=3"]
    assert "diverged at every learning rate" in (errors["lora:rank=2:alpha=3"] or "")
    assert [result.seed for result in comparison.results if result.method == "lora"] == [0, 1]


def test_an_interrupted_pass_keeps_what_is_finished(
    task: Task, setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, calls = together._train_epoch, []

    def interrupt(*given: Any) -> None:
        calls.append(1)
        if len(calls) == 3:  # the first epoch of the seeds, after two of the search
            raise KeyboardInterrupt
        train(*given)

    methods, plan, whole = find_methods(["lora"]), Plan(seeds=3, together=8), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(together, "_train_epoch", interrupt)
        with pytest.raises(KeyboardInterrupt):
            running.run(task, methods, setup, plan, folder=whole)
    assert [path.name for path in (whole / "results").iterdir()] == ["lora.0.json"]
    assert not list(whole.rglob(".*"))
    assert len(running.run(task, methods, setup, plan, folder=whole).results) == 3


# ---- seconds


def sharing_method(name: str, sharing: Sharing) -> Method:
    return Method(
        name=name,
        summary="",
        fit=lambda *_, **__: pytest.fail("fitted alone"),
        load=METHODS["tfidf"].load,
        learning_rates=(1e-3, 3e-3),
        sharing=sharing,
    )


def test_the_seconds_of_the_searches_are_those_of_the_pass(
    task: Task, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(task: Task, tries: list[Try], **_: object) -> list[Any]:
        time.sleep(0.4)
        return [SimpleNamespace(search=(), validation_metrics=METRICS) for _ in tries[1:]] + [TrainingError("nan")]

    monkeypatch.setattr(passes, "_count_sharing", lambda *_: 8)
    methods = [sharing_method(name, Sharing(fit=fit, common=lambda setup: setup)) for name in ("one", "other")]
    methods[1] = replace(methods[1], sharing=methods[0].sharing)
    rates = (1e-3, 3e-3)
    shared = Passes([Run(method, 0, rates) for method in methods], task, setup, together=8)
    found = [search(method, task, setup, seed=0, learning_rates=rates, passes=shared) for method in methods]
    assert sum(item.search_seconds for item in found) == pytest.approx(0.4, abs=0.1)
    assert [item.search_seconds for item in found] == pytest.approx([0.2, 0.2], abs=0.05)
    assert [item.reading.seconds for item in found] == pytest.approx([0.1, 0.1], abs=0.03)
    assert {item.fits_in_pass for item in found} == {4}


def test_what_a_pass_found_in_the_cache_counts_once_for_all_its_fits(
    task: Task, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loracle import caching

    def fit(task: Task, tries: list[Try], **_: object) -> list[Any]:
        caching.note_found("tokens", 100.0)
        return [SimpleNamespace(search=(), validation_metrics=METRICS) for _ in tries]

    monkeypatch.setattr(passes, "_count_sharing", lambda *_: 2)
    method, rates = sharing_method("one", Sharing(fit=fit, common=lambda setup: setup)), (1.0, 2.0, 3.0, 4.0)
    shared = Passes([Run(method, 0, rates)], task, setup, together=8)
    found = search(method, task, setup, seed=0, learning_rates=rates, passes=shared)
    assert found.search_seconds == pytest.approx(100, abs=5)
    assert found.reading.seconds == pytest.approx(50, abs=5)


# ---- beside comparisons


def test_train_searches_in_one_pass_and_finds_the_same(task: Task, setup: Setup, sizes: list) -> None:
    given: dict[str, Any] = {"model": setup.model, "budget": setup.budget, "lora": setup.lora}
    one, all_at_once = (api.train(task, **given, together=fits) for fits in (1, 8))
    assert sizes == [2]
    assert one.learning_rate == all_at_once.learning_rate
    assert (one.fits_in_pass, all_at_once.fits_in_pass) == (1, 2)
    texts = task.test.texts[:8]
    probabilities = [found.fitted.classifier.predict_proba(texts) for found in (one, all_at_once)]
    np.testing.assert_allclose(*probabilities, atol=1e-4)


def test_progress_moves_during_a_pass_and_ends_at_all_texts(task: Task, setup: Setup, tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    shares: list[float] = []

    class Noting(ProgressLines):
        def note(self) -> None:
            line = self._progress.tasks[-1]
            shares.append(line.completed / (line.total or 1))

        def step(self, *given: Any, **more: Any) -> None:
            super().step(*given, **more)
            self.note()

        def finish(self, *given: Any, **more: Any) -> None:
            super().finish(*given, **more)
            self.note()

    methods = find_methods(["lora", "lora:rank=2"])
    with Noting(console) as watch:
        running.run(task, methods, setup, Plan(seeds=3, together=8), folder=tmp_path / "run", watch=watch)
    assert shares == sorted(shares)
    assert len({share for share in shares if share < 0.5}) > 5
    assert shares[-1] == 1.0
    assert "lora and 1 more" in console.file.getvalue()  # type: ignore[attr-defined]


def spoil_loss(monkeypatch: pytest.MonkeyPatch, chosen: Callable[[Any], bool]) -> None:
    """Let the members that are chosen diverge: their heads begin with no number."""
    fit_together = together.fit_together

    def spoilt(members: Any, *given: Any, **more: Any) -> Any:
        for member in filter(chosen, members):
            with torch.no_grad():
                member.network.classifier.weight.fill_(float("nan"))
        return fit_together(members, *given, **more)

    monkeypatch.setattr(together, "fit_together", spoilt)


def trained_rank(network: torch.nn.Module) -> int:
    return next(len(item) for name, item in network.named_parameters() if name.endswith("lora_a"))
