"""A comparison keeps what is finished, continues where it stopped, and turns a failure into a row."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from loracle.comparison import running
from loracle.comparison.plan import Plan
from loracle.comparison.result import Comparison, Result, load_comparison
from loracle.data.loading import load_task
from loracle.data.task import Task
from loracle.errors import ConfigError, RunError, TrainingError
from loracle.lora.config import LoRAConfig
from loracle.methods.method import Method, Setup
from loracle.methods.registry import METHODS, find_methods, load_classifier
from loracle.reporting.markdown import render_markdown
from loracle.training.budget import Budget

Run = Callable[..., Comparison]
ALONE = replace(METHODS["lora"], sharing=None)  # fitted by what a test puts in its place


@pytest.fixture(scope="module")
def task(tiny_file: Path) -> Task:
    return load_task(tiny_file)


@pytest.fixture(scope="module")
def setup(tiny_base: Path) -> Setup:
    budget = Budget(epochs=2, batch_size=16, max_length=24, learning_rates=2, precision="fp32")
    return Setup(model=str(tiny_base), budget=budget, lora=LoRAConfig(targets=("all-linear",)))


@pytest.fixture(scope="module")
def finished(task: Task, setup: Setup, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "reviews"
    running.run(task, find_methods(["majority", "tfidf", "lora"]), setup, Plan(seeds=2), folder=folder)
    return folder


@pytest.fixture
def run(task: Task, setup: Setup, tmp_path: Path) -> Run:
    def start(*names: str, methods: tuple[Method, ...] = (), setup: Setup = setup, seeds: int = 2) -> Comparison:
        chosen = (*find_methods(names), *methods) if names else methods
        return running.run(task, chosen, setup, Plan(seeds=seeds), folder=tmp_path / "run")

    return start


def failing(error: Exception, *, from_seed: int = 0) -> Method:
    def fit(task: Task, setup: Setup, *, seed: int, **more: object) -> object:
        if seed >= from_seed:
            raise error
        return METHODS["tfidf"].fit(task, setup, seed=seed)

    return replace(ALONE, name="failing", fit=fit, learning_rates=(1e-3,))


def test_folder_holds_all_files_of_a_run(finished: Path) -> None:
    files = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    runs = ["majority.0", "tfidf.0", "lora.0", "lora.1"]
    assert files >= {"run.toml", "ledger.json", "comparison.json"}
    assert files >= {f"results/{name}.json" for name in runs}
    assert files >= {f"predictions/{name}.parquet" for name in runs}
    assert files >= {f"models/{name}/loracle.json" for name in ("majority", "tfidf", "lora")}
    assert not [name for name in files if Path(name).name.startswith(".")]


def test_the_planned_peak_stands_beside_the_measured_one(finished: Path) -> None:
    by_method = {result.method: result for result in load_comparison(finished).results}
    assert by_method["lora"].predicted_peak_memory_bytes > 40_000_000
    assert by_method["tfidf"].predicted_peak_memory_bytes == 0
    assert ", planned " in render_markdown(load_comparison(finished))


def test_predictions_hold_every_test_text_once(finished: Path, task: Task) -> None:
    table = pq.read_table(finished / "predictions" / "lora.1.parquet")
    assert table.column_names == ["id", "label", "predicted", "p_bad", "p_good"]
    assert table["id"].to_pylist() == task.test.ids.tolist()
    assert table["label"].to_pylist() == [task.label_names[index] for index in task.test.labels]


def test_stored_metrics_are_those_of_the_stored_predictions(finished: Path) -> None:
    for result in load_comparison(finished).results:
        table = pq.read_table(finished / "predictions" / f"{result.method}.{result.seed}.parquet").to_pandas()
        assert result.metrics["accuracy"] == pytest.approx((table.label == table.predicted).mean())


def test_kept_model_is_that_of_the_best_seed_on_validation(finished: Path, task: Task) -> None:
    runs = [result for result in load_comparison(finished).results if result.method == "lora"]
    best = max(runs, key=lambda result: (result.validation_metrics["accuracy"], -result.seed))
    stored = pq.read_table(finished / "predictions" / f"lora.{best.seed}.parquet")["p_good"].to_numpy()
    again = load_classifier(finished / "models" / "lora").predict_proba(task.test.texts)[:, 1]
    assert np.array_equal(again, stored)


def test_every_learning_rate_is_tried_with_the_first_seed_and_the_best_serves_all(finished: Path) -> None:
    first, second = (result for result in load_comparison(finished).results if result.method == "lora")
    assert [trial["value"] for trial in first.search] == list(METHODS["lora"].learning_rates[:2])
    assert len(second.search) == 1
    assert first.learning_rate == second.learning_rate
    best = max(trial["accuracy"] for trial in first.search)
    assert first.validation_metrics["accuracy"] == best
    assert first.search_seconds > first.training_seconds


def test_comparison_reads_back_as_it_was_written(finished: Path) -> None:
    text = (finished / "comparison.json").read_text()
    assert Comparison.from_json(text).to_json() == text


def test_finished_runs_are_not_run_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run("majority", "tfidf")
    monkeypatch.setattr(running, "search", lambda *args, **more: pytest.fail("fitted again"))
    again = run("majority", "tfidf")
    assert replace(again, ledger=first.ledger).to_json() == first.to_json()


def test_a_run_grows_by_methods_and_seeds(run: Run) -> None:
    run("majority", seeds=1)
    grown = run("majority", "lora", seeds=2)
    assert [(result.method, result.seed) for result in grown.results] == [("majority", 0), ("lora", 0), ("lora", 1)]


def test_changed_configuration_is_refused_with_the_keys_that_differ(run: Run, setup: Setup, tmp_path: Path) -> None:
    run("majority")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    changed = replace(setup, budget=replace(setup.budget, epochs=7), lora=LoRAConfig(rank=2))
    with pytest.raises(RunError, match=r"epochs 2 -> 7.*rank 8 -> 2"):
        run("majority", setup=changed)
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}


def test_changed_data_is_refused(run: Run, task: Task, setup: Setup, tmp_path: Path) -> None:
    run("majority")
    other = replace(task, train=task.train.select(range(50)))
    with pytest.raises(RunError, match="train"):
        running.run(other, find_methods(["majority"]), setup, Plan(seeds=2), folder=tmp_path / "run")


def test_foreign_folder_is_refused_and_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("my only copy")
    with pytest.raises(RunError, match="no run of Loracle"):
        run("majority")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (MemoryError("could not allocate 3 TB\nand a stack"), "MemoryError: could not allocate 3 TB"),
        (TrainingError("the loss became nan at step 3"), "diverged at every learning rate"),
        (RuntimeError(""), "RuntimeError"),
    ],
)
def test_failed_method_is_a_row_with_its_error_and_the_others_go_on(run: Run, error: Exception, shown: str) -> None:
    comparison = run(methods=(failing(error), METHODS["tfidf"]))
    assert shown in (comparison.results[0].error or "")
    assert [summary.method for summary in comparison.summaries] == ["tfidf", "failing"]
    assert comparison.summaries[1].error == comparison.results[0].error
    assert comparison.verdict is not None
    assert comparison.verdict.method == "tfidf"


def test_failed_run_is_tried_again_next_time(run: Run) -> None:
    assert run(methods=(failing(MemoryError("once")),)).verdict is None
    mended = replace(failing(MemoryError("once")), fit=METHODS["tfidf"].fit)
    assert not run(methods=(mended,)).results[0].failed


def test_method_that_fails_with_a_later_seed_has_no_rank(run: Run) -> None:
    comparison = run(methods=(METHODS["majority"], failing(MemoryError("late"), from_seed=1)), seeds=3)
    failed = next(summary for summary in comparison.summaries if summary.method == "failing")
    assert failed.error == "MemoryError: late"
    assert all("failing" not in (pair.first, pair.second) for pair in comparison.pairs)


def test_one_diverging_learning_rate_does_not_fail_the_method(run: Run) -> None:
    def fit(task: Task, setup: Setup, *, seed: int, learning_rate: float | None = None, **more: object) -> object:
        if learning_rate == 1.0:
            raise TrainingError("the loss became nan at step 3")
        return METHODS["tfidf"].fit(task, setup, seed=seed)

    half = replace(ALONE, name="half", fit=fit, learning_rates=(1.0, 1e-3))
    result = run(methods=(half,), seeds=1).results[0]
    assert not result.failed
    assert result.learning_rate == 1e-3
    assert "nan" in result.search[0]["error"]


def test_interrupt_passes_through_and_keeps_what_is_finished(run: Run, tmp_path: Path) -> None:
    def fit(*args: object, **more: object) -> object:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(methods=(METHODS["majority"], replace(ALONE, fit=fit)))
    assert (tmp_path / "run" / "results" / "majority.0.json").is_file()
    assert not (tmp_path / "run" / "results" / "lora.0.json").exists()
    assert not list((tmp_path / "run").rglob(".*"))


def test_refitting_one_seed_keeps_the_better_model_of_another(run: Run, tmp_path: Path) -> None:
    def fit(task: Task, setup: Setup, *, seed: int, **more: object) -> object:
        fitted = METHODS["tfidf"].fit(task, setup, seed=seed)
        return replace(fitted, validation_metrics={**fitted.validation_metrics, "accuracy": (0.5, 0.9)[seed]})

    method = replace(ALONE, name="graded", fit=fit, load=METHODS["tfidf"].load, learning_rates=(1e-3,))
    run(methods=(method,))
    manifest = tmp_path / "run" / "models" / "graded" / "loracle.json"
    kept = manifest.stat().st_mtime_ns
    (tmp_path / "run" / "predictions" / "graded.0.parquet").unlink()
    run(methods=(method,))
    assert (tmp_path / "run" / "predictions" / "graded.0.parquet").is_file()
    assert manifest.stat().st_mtime_ns == kept


def test_fewer_seeds_are_refused(run: Run) -> None:
    run("majority", seeds=2)
    with pytest.raises(RunError, match="seeds 2 -> 1"):
        run("majority", seeds=1)


def test_chosen_setting_and_kept_epoch_are_marked(finished: Path) -> None:
    for result in load_comparison(finished).results:
        if result.search:
            assert [trial["chosen"] for trial in result.search].count(True) == 1
        if result.history:
            assert [epoch["best"] for epoch in result.history].count(True) == 1


def test_cost_counts_the_search_and_the_texts_to_be_scored(finished: Path) -> None:
    comparison = load_comparison(finished)
    lora = next(summary for summary in comparison.summaries if summary.method == "lora")
    assert lora.cost_seconds == pytest.approx(lora.search_seconds + 100 * lora.scoring_seconds_per_1000)


def test_ledger_names_what_somebody_needs_to_repeat_the_run(finished: Path) -> None:
    ledger = json.loads((finished / "ledger.json").read_text())
    assert ledger.keys() >= {
        "budget",
        "model",
        "seeds",
        "margin",
        "splits",
        "machine",
        "versions",
        "started",
        "finished",
    }
    assert ledger["machine"]["cores"] >= 1
    assert ledger["versions"]["torch"]


@pytest.mark.parametrize("wrong", [{"seeds": 0}, {"margin": -0.1}, {"margin": 1.0}, {"cost_texts": -1}])
def test_plan_out_of_range_names_the_key(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Plan(**wrong)


def test_result_with_an_error_is_a_failure() -> None:
    assert Result(method="lora", seed=0, error="no memory").failed
    assert not Result(method="lora", seed=0).failed


@pytest.mark.parametrize(("seconds", "passes"), [(2.0, 0), (0.1, 3)])
def test_scoring_is_timed_by_the_test_split_where_that_takes_long_enough(
    task: Task, seconds: float, passes: int
) -> None:
    timed: list[int] = []

    class Classifier:
        def predict_proba(self, texts: list[str]) -> None:
            timed.append(len(texts))

    per_1000 = running._time_scoring(Classifier(), task, seconds)
    assert timed == [min(64, len(task.validation))] * passes
    assert (per_1000 == pytest.approx(1000 * seconds / len(task.test))) is (passes == 0)
