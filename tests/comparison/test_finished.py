"""A finished run is read again as it was, or refused in one line."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loracle.comparison import running
from loracle.comparison.finished import (
    choose_method,
    choose_seed,
    load_data,
    load_labels,
    load_probabilities,
    load_run,
)
from loracle.comparison.folder import RunFolder
from loracle.comparison.plan import Plan
from loracle.data.loading import load_task
from loracle.errors import ConfigError, RunError
from loracle.evaluation.metrics import preference
from loracle.files import write_text
from loracle.lora.config import LoRAConfig
from loracle.methods.method import Setup
from loracle.methods.registry import find_methods
from loracle.training.budget import Budget


@pytest.fixture(scope="module")
def begun(tiny_file: Path, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two methods, LoRA with three seeds, on a sample of the data with a split seed of its own."""
    place = tmp_path_factory.mktemp("runs")
    data = shutil.copy(tiny_file, place / "reviews.csv")
    task = load_task(data, max_train=60, max_test=30, split_seed=5)
    budget = Budget(epochs=1, max_length=24, learning_rates=1, precision="fp32")
    setup = Setup(model=str(tiny_base), budget=budget, lora=LoRAConfig(rank=2))
    running.run(task, find_methods(["tfidf", "lora"]), setup, Plan(seeds=3), folder=place / "run")
    return place


@pytest.fixture
def folder(begun: Path, tmp_path: Path) -> Path:
    """A copy of the run, to spoil."""
    return Path(shutil.copytree(begun / "run", tmp_path / "run"))


def test_the_data_is_loaded_again_with_all_options_of_the_run(begun: Path) -> None:
    run = load_run(begun / "run")
    task = load_data(run)
    assert (len(task.test), len(task.train)) == (30, 60)
    assert task.test.hash == run.test_hash
    assert task.test.labels.tolist() == load_labels(run, "lora", 2).tolist()


def test_rows_are_counted_while_the_data_is_read(begun: Path) -> None:
    told: list[int] = []
    load_data(load_run(begun / "run"), on_rows=lambda what, rows: told.append(rows))
    assert max(told) >= 30


def test_data_that_moved_is_named_and_data_that_is_gone_is_told(begun: Path, folder: Path, tmp_path: Path) -> None:
    moved = shutil.copy(begun / "reviews.csv", tmp_path / "moved.csv")
    text = (folder / "run.toml").read_text(encoding="utf-8")
    write_text(folder / "run.toml", text.replace("reviews.csv", "nowhere.csv"))
    with pytest.raises(RunError, match=r"nowhere\.csv.*--data"):
        load_data(load_run(folder))
    assert len(load_data(load_run(folder), data=moved).test) == 30


def test_data_that_changed_is_refused_with_both_hashes(begun: Path, tmp_path: Path) -> None:
    run = load_run(begun / "run")
    changed = tmp_path / "changed.csv"
    changed.write_text((begun / "reviews.csv").read_text(encoding="utf-8").replace("shop", "store"))
    with pytest.raises(RunError, match=rf"hash of its test split is [0-9a-f]{{16}}, the run's {run.test_hash}"):
        load_data(run, data=str(changed))


def test_other_label_names_are_refused_though_the_hash_is_the_same(begun: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "renamed.csv"
    text = (begun / "reviews.csv").read_text(encoding="utf-8")
    renamed.write_text(text.replace(",bad", ",poor").replace(",good", ",sound"))
    with pytest.raises(RunError, match="labels are poor, sound, the run's bad, good"):
        load_data(load_run(begun / "run"), data=str(renamed))


def test_the_seed_is_the_one_whose_model_was_kept(begun: Path) -> None:
    run = load_run(begun / "run")
    scores = [preference(result.validation_metrics, "accuracy") for result in run.results("lora")]
    assert choose_seed(run, "lora") == int(np.argmax([accuracy + loss / 1e3 for accuracy, loss in scores]))


def test_a_method_without_metrics_on_validation_has_its_one_seed(begun: Path) -> None:
    run = load_run(begun / "run")
    results = [
        replace(item, validation_metrics={}) if item.method == "tfidf" else item for item in run.comparison.results
    ]
    asked = replace(run, comparison=replace(run.comparison, results=tuple(results)))
    assert choose_seed(asked, "tfidf") == 0


def test_a_seed_can_be_named_and_stands_for_none_of_a_method_without_chance(begun: Path) -> None:
    run = load_run(begun / "run")
    assert (choose_seed(run, "lora", 1), choose_seed(run, "tfidf", 1)) == (1, 0)
    with pytest.raises(ConfigError, match=r"seed is 7; allowed, as in .*: 0, 1, 2"):
        choose_seed(run, "tfidf", 7)


def test_the_verdicts_method_is_the_default_and_an_unknown_one_is_told_the_closest(begun: Path) -> None:
    run = load_run(begun / "run")
    assert run.comparison.verdict is not None
    assert choose_method(run) == run.comparison.verdict.method
    with pytest.raises(ConfigError, match=r"'tfdif'; did you mean 'tfidf'\? Known: lora, tfidf"):
        choose_method(run, "tfdif")


def test_a_method_that_failed_is_refused_with_those_that_finished(folder: Path) -> None:
    comparison = load_run(folder).comparison
    summaries = tuple(
        replace(item, error="MemoryError: no room") if item.method == "lora" else item for item in comparison.summaries
    )
    write_text(folder / "comparison.json", replace(comparison, summaries=summaries).to_json())
    run = load_run(folder)
    assert run.methods == ("tfidf",)
    with pytest.raises(RunError, match=r"'lora' failed in .* \(MemoryError: no room\); finished there: tfidf"):
        choose_method(run, "lora")


def test_a_run_in_which_nothing_finished_has_no_method(folder: Path) -> None:
    comparison = load_run(folder).comparison
    lost = tuple(replace(item, error="MemoryError: no room") for item in comparison.summaries)
    write_text(folder / "comparison.json", replace(comparison, summaries=lost, verdict=None).to_json())
    with pytest.raises(RunError, match="no method finished"):
        choose_method(load_run(folder))


def test_what_is_no_finished_run_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="give the folder that `loracle compare --out` wrote"):
        load_run(tmp_path / "nowhere")
    (folder / "run.toml").write_text("seeds = = 3")
    with pytest.raises(RunError, match=r"run\.toml cannot be read"):
        load_run(folder)
    (folder / "comparison.json").unlink()
    with pytest.raises(RunError, match="is not finished"):
        load_run(folder)


def test_a_comparison_without_its_test_split_is_refused(folder: Path) -> None:
    write_text(folder / "comparison.json", replace(load_run(folder).comparison, ledger={}).to_json())
    with pytest.raises(RunError, match="does not name its test split"):
        load_run(folder)


def test_predictions_that_do_not_fit_the_run_are_refused(folder: Path) -> None:
    run = load_run(folder)
    task = load_data(run)
    with pytest.raises(RunError, match=r"\(30, 2\) instead of \(31, 2\)"):
        load_probabilities(run, "tfidf", 0, texts=31)
    other = replace(task, label_names=("a", "b"))
    RunFolder(folder).save_predictions("tfidf", 0, other, np.full((30, 2), 0.5, dtype=np.float32))
    with pytest.raises(RunError, match=r"tfidf\.0\.parquet cannot be read"):
        load_labels(run, "tfidf", 0)


def test_a_method_can_be_named_where_no_method_has_a_rank(folder: Path) -> None:
    write_text(folder / "comparison.json", replace(load_run(folder).comparison, verdict=None).to_json())
    run = load_run(folder)
    with pytest.raises(RunError, match="names no method; name one of"):
        choose_method(run)
    assert choose_method(run, "lora") == "lora"
