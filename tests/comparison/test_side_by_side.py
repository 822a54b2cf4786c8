"""Runs side by side hold what each run stored, and the tests between them are those of the same texts and seeds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import log_loss, precision_score, recall_score

from loracle.comparison import running
from loracle.comparison.finished import load_data, load_run
from loracle.comparison.folder import RunFolder
from loracle.comparison.plan import Plan
from loracle.comparison.side_by_side import SideBySide, compare_runs, macro_precision, macro_recall
from loracle.data.loading import load_task
from loracle.errors import ConfigError, RunError
from loracle.evaluation.metrics import measure, predicted_classes
from loracle.evaluation.statistics import holm, mcnemar, paired_bootstrap
from loracle.lora.config import LoRAConfig
from loracle.methods.method import Setup
from loracle.methods.registry import find_methods
from loracle.training.budget import Budget

Copy = Callable[..., Path]


@pytest.fixture(scope="module")
def runs(tiny_file: Path, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two finished runs: rank 2 with three seeds, and rank 4 with two and one more epoch."""
    place, task = tmp_path_factory.mktemp("runs"), load_task(tiny_file, max_train=80)
    for rank, seeds, epochs in ((2, 3, 2), (4, 2, 3)):
        budget = Budget(epochs=epochs, max_length=24, learning_rates=1, precision="fp32")
        setup = Setup(model=str(tiny_base), budget=budget, lora=LoRAConfig(rank=rank, targets=("all-linear",)))
        methods = find_methods(["majority", "tfidf", "probe", "lora"])
        running.run(task, methods, setup, Plan(seeds=seeds), folder=place / f"rank{rank}")
    return place


@pytest.fixture
def copied(runs: Path, tmp_path: Path) -> Copy:
    """Return a copier of a run, in which every text of some rows gets another probability from a method and seed."""

    def copied(name: str, new: str, *, method: str = "lora", seed: int = 0, noise: float = 0.0) -> Path:
        folder = Path(shutil.copytree(runs / name, tmp_path / new, dirs_exist_ok=True))
        if noise:
            old = RunFolder(folder).load_predictions(method, seed)
            drawn = np.random.default_rng(seed).dirichlet((1.0, 1.0), len(old))
            mixed = ((1 - noise) * old + noise * drawn).astype(np.float32)
            RunFolder(folder).save_predictions(method, seed, load_data(load_run(folder)), mixed)
        return folder

    return copied


@pytest.fixture(scope="module")
def ranks(runs: Path) -> SideBySide:
    return compare_runs([runs / "rank2", runs / "rank4"], methods=["lora"])


def stored(folder: Path, method: str, seeds: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and probabilities (seeds, texts, classes), read without the code under test."""
    tables = [pq.read_table(folder / "predictions" / f"{method}.{seed}.parquet") for seed in seeds]
    labels = np.array([["bad", "good"].index(name) for name in tables[0]["label"].to_pylist()])
    return labels, np.stack([np.column_stack([table["p_bad"], table["p_good"]]) for table in tables])


def test_only_the_seeds_that_both_runs_have_are_compared(ranks: SideBySide) -> None:
    assert [entry.seeds for entry in ranks.entries] == [(0, 1), (0, 1)]


def test_metrics_are_means_over_the_compared_seeds(ranks: SideBySide, runs: Path) -> None:
    for entry in ranks.entries:
        labels, probabilities = stored(runs / entry.name, "lora", (0, 1))
        measured = [measure(labels, run) for run in probabilities]
        for metric in ("accuracy", "macro_f1", "log_loss"):
            assert entry.metrics[metric].value == pytest.approx(np.mean([run[metric] for run in measured]))
        said = predicted_classes(probabilities)
        scores = [precision_score(labels, run, average="macro", zero_division=0) for run in said]
        assert entry.metrics["precision"].value == pytest.approx(np.mean(scores))


def test_a_run_whose_seeds_are_all_compared_shows_the_figures_of_its_report(ranks: SideBySide) -> None:
    entry = ranks.entries[1]
    assert {name: entry.metrics[name] for name in ("accuracy", "macro_f1", "log_loss")} == {
        name: entry.summary.metrics[name] for name in ("accuracy", "macro_f1", "log_loss")
    }
    assert entry.per_class == entry.summary.per_class


def test_every_difference_is_that_of_the_metrics(ranks: SideBySide) -> None:
    first, second = ranks.entries
    for metric, gaps in ranks.differences.items():
        assert gaps[0] is not None
        assert gaps[0].value == 0
        assert gaps[1] is not None
        assert gaps[1].value == pytest.approx(second.metrics[metric].value - first.metrics[metric].value)
        assert gaps[1].low <= gaps[1].value <= gaps[1].high


def test_several_seeds_are_tested_over_texts_and_seeds(copied: Copy, runs: Path) -> None:
    noisy = copied("rank4", "noisy", noise=0.9)
    side = compare_runs([runs / "rank2", noisy], methods=["lora"])
    labels, first = stored(runs / "rank2", "lora", (0, 1))
    _, second = stored(noisy, "lora", (0, 1))
    expected = paired_bootstrap(labels, predicted_classes(second), predicted_classes(first))
    (pair,) = side.pairs["accuracy"]
    assert (pair.first, pair.second) == ("noisy (lora)", "rank2 (lora)")
    assert pair.difference == expected.difference
    assert pair.p == pytest.approx(expected.p)
    assert side.alone == (None,)


def test_one_model_each_is_tested_by_mcnemar(runs: Path) -> None:
    side = compare_runs([runs / "rank2", runs / "rank4"], methods=["probe", "majority"])
    labels, probe = stored(runs / "rank2", "probe", (0,))
    _, majority = stored(runs / "rank4", "majority", (0,))
    expected = mcnemar(labels, predicted_classes(majority[0]), predicted_classes(probe[0]))
    assert side.alone == (expected,)
    assert side.pairs["accuracy"][0].p == expected.p
    right = [(predicted_classes(run[0]) == labels) for run in (majority, probe)]
    assert expected.only_second == int((~right[0] & right[1]).sum())


def test_p_values_are_corrected_over_all_pairs(copied: Copy, runs: Path) -> None:
    folders = [
        runs / "rank2",
        copied("rank4", "a", method="probe", noise=0.7),
        copied("rank4", "b", method="tfidf", noise=0.5),
    ]
    side = compare_runs(folders, methods=["lora", "probe", "tfidf"])
    for pairs in side.pairs.values():
        assert len(pairs) == 3
        assert [pair.p_holm for pair in pairs] == list(holm([pair.p for pair in pairs]))


def test_the_same_run_under_two_names_differs_in_nothing(copied: Copy, runs: Path) -> None:
    side = compare_runs([runs / "rank2", copied("rank2", "again")], methods=["lora"])
    for gaps in side.differences.values():
        assert gaps[1] is not None
        assert gaps[1].value == pytest.approx(0, abs=1e-12)
    assert [pairs[0].p for pairs in side.pairs.values()] == [1.0, 1.0]
    assert (side.options, side.circumstances) == ({}, {})


def test_log_loss_differs_by_the_mean_over_texts(copied: Copy, runs: Path) -> None:
    noisy = copied("rank2", "noisy", method="probe", noise=0.5)
    side = compare_runs([runs / "rank2", noisy], methods=["probe"])
    labels, first = stored(runs / "rank2", "probe", (0,))
    _, second = stored(noisy, "probe", (0,))
    gap = side.differences["log_loss"][1]
    assert gap is not None
    assert gap.value == pytest.approx(log_loss(labels, second[0]) - log_loss(labels, first[0]), abs=1e-6)
    losses = -np.log(second[0][np.arange(len(labels)), labels]) + np.log(first[0][np.arange(len(labels)), labels])
    half = 1.96 * losses.std() / np.sqrt(len(labels))
    assert (gap.high - gap.low) / 2 == pytest.approx(half, rel=0.1)


def test_bare_answers_have_no_log_loss_to_compare(copied: Copy, runs: Path) -> None:
    folder = copied("rank2", "answers")
    task, old = load_data(load_run(folder)), RunFolder(folder).load_predictions("probe", 0)
    answers = np.eye(2, dtype=np.float32)[old.argmax(axis=1)]
    answers[0] = 0  # no answer at all
    RunFolder(folder).save_predictions("probe", 0, task, answers)
    side = compare_runs([runs / "rank2", folder], methods=["probe"])
    assert side.differences["log_loss"][1] is None
    assert side.entries[1].per_class != side.entries[0].per_class or old[0].argmax() != task.test.labels[0]


def test_precision_and_recall_are_those_of_scikit_learn_over_the_classes_that_occur() -> None:
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 4, 200), rng.integers(-1, 6, 200)
    known = {"labels": range(4), "average": "macro", "zero_division": 0}
    assert macro_precision(labels, predicted) == pytest.approx(precision_score(labels, predicted, **known))
    assert macro_recall(labels, predicted) == pytest.approx(recall_score(labels, predicted, **known))


def test_only_options_that_differ_are_told(ranks: SideBySide) -> None:
    assert ranks.options == {"epochs": (2, 3), "rank": (2, 4), "seeds": (3, 2)}
    assert ranks.circumstances == {}


def test_the_verdicts_method_is_what_a_run_contributes_and_others_can_be_named(runs: Path) -> None:
    folders = [runs / "rank2", runs / "rank4"]
    verdicts = [load_run(folder).comparison.verdict for folder in folders]
    assert [entry.method for entry in compare_runs(folders).entries] == [
        verdict.method for verdict in verdicts if verdict
    ]
    side = compare_runs(folders, methods=["tfidf,lora"])
    assert [entry.title for entry in side.entries] == ["rank2 (tfidf)", "rank4 (lora)"]
    assert [entry.seeds for entry in side.entries] == [(0,), (0, 1)]


def test_runs_of_the_same_name_are_told_apart_by_their_paths(runs: Path, tmp_path: Path) -> None:
    twin = Path(shutil.copytree(runs / "rank2", tmp_path / "rank2"))
    names = [entry.name for entry in compare_runs([runs / "rank2", twin]).entries]
    assert names == [str(runs / "rank2"), str(twin)]


def test_fewer_than_two_runs_and_one_run_twice_are_refused(runs: Path) -> None:
    with pytest.raises(ConfigError, match="no run is given"):
        compare_runs([])
    with pytest.raises(ConfigError, match=r"only .*rank2 is given"):
        compare_runs([runs / "rank2"])
    with pytest.raises(ConfigError, match="given twice"):
        compare_runs([runs / "rank2", runs / "rank4", runs / "rank4" / ".." / "rank2"])


def test_as_many_methods_as_runs_are_named_or_one_for_all(runs: Path) -> None:
    with pytest.raises(ConfigError, match=r"3 methods given \(tfidf, probe, lora\) for 2 runs"):
        compare_runs([runs / "rank2", runs / "rank4"], methods=["tfidf", "probe", "lora"])


def test_other_test_texts_are_refused_with_all_hashes(runs: Path, tiny_file: Path, tmp_path: Path) -> None:
    task = load_task(tiny_file, max_test=20)
    running.run(task, find_methods(["tfidf"]), Setup(), Plan(seeds=1), folder=tmp_path / "other")
    with pytest.raises(RunError, match=rf"rank2 [0-9a-f]{{16}}, .*other {task.test.hash}\)"):
        compare_runs([runs / "rank2", tmp_path / "other"])


def test_other_label_names_are_refused_though_the_hash_is_the_same(copied: Copy, runs: Path) -> None:
    folder = copied("rank2", "renamed")
    comparison = load_run(folder).comparison
    renamed = replace(comparison, task={**comparison.task, "label_names": ["poor", "sound"]})
    (folder / "comparison.json").write_text(renamed.to_json(), encoding="utf-8")
    with pytest.raises(RunError, match=r"rank2 has bad, good, .*renamed has poor, sound"):
        compare_runs([runs / "rank2", folder])


def test_a_method_without_a_rank_is_refused(copied: Copy, runs: Path) -> None:
    folder = copied("rank2", "asked")
    comparison = load_run(folder).comparison
    summaries = tuple(replace(item, unranked="4 % got no answer") for item in comparison.summaries)
    (folder / "comparison.json").write_text(replace(comparison, summaries=summaries).to_json(), encoding="utf-8")
    with pytest.raises(RunError, match=r"'lora' has no rank in .*asked \(4 % got no answer\)"):
        compare_runs([runs / "rank4", folder], methods=["lora"])
