"""A comparison of several labels a text, from a CSV to the report; every figure is scikit-learn's on what is stored."""

import csv
import json
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import sklearn.metrics as sk

import loracle
from loracle.cli import main
from loracle.comparison.deciding import Candidate, decide
from loracle.comparison.finished import load_run
from loracle.comparison.folder import RunFolder
from loracle.comparison.plan import Plan
from loracle.comparison.result import load_comparison
from loracle.comparison.running import run
from loracle.comparison.summarising import summarise
from loracle.data.loading import load_task
from loracle.errors import ConfigError, DataError, RunError
from loracle.evaluation.metrics import choose_thresholds
from loracle.evaluation.statistics import mcnemar
from loracle.methods.method import Fitted, Setup
from loracle.methods.registry import METHODS as METHODS_BY_NAME

WORDS = {"late": ("late", "waited", "weeks"), "rude": ("rude", "nobody", "never"), "broken": ("broken", "box", "awful")}
PLAIN = ("my", "order", "shop", "price", "it", "was", "and", "a", "is", "arrived")
METHODS = ("majority", "tfidf", "probe", "lora", "full")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = random.Random(3)
    path = tmp_path_factory.mktemp("data") / "complaints.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "labels"])
        for number in range(240):
            labels = [name for name, share in zip(WORDS, (0.5, 0.4, 0.25), strict=True) if draw.random() < share]
            words = [draw.choice(WORDS[name]) for name in labels] + draw.choices(PLAIN, k=draw.randint(4, 9))
            draw.shuffle(words)
            writer.writerow([f"{' '.join(words)} {number}", ";".join(labels)])
    return path


@pytest.fixture(scope="module")
def finished(data: Path, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "complaints"
    code = main([
        "compare", str(data), "--label-separator", ";", "--methods", *METHODS, "--model", str(tiny_base),
        "--seeds", "2", "--epochs", "4", "--batch-size", "8", "--max-length", "24", "--learning-rates", "1",
        "--precision", "fp32", "--targets", "all-linear", "--class-weights", "balanced", "--out", str(folder),
    ])  # fmt: skip
    assert code == 0
    return folder


def stored(folder: Path, method: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels and predictions as 0 and 1, and probabilities, (texts, classes)."""
    table = pq.read_table(folder / "predictions" / f"{method}.{seed}.parquet").to_pylist()
    names = sorted(WORDS)
    sets = [np.array([[name in row[key] for name in names] for row in table], int) for key in ("label", "predicted")]
    return sets[0], sets[1], np.array([[row[f"p_{name}"] for name in names] for row in table])


def test_stored_metrics_are_those_of_scikit_learn_on_the_stored_predictions(finished: Path) -> None:
    results = load_comparison(finished).results
    assert {result.method for result in results} == set(METHODS)
    for result in results:
        assert result.error is None
        labels, predicted, probabilities = stored(finished, result.method, result.seed)
        assert result.metrics["micro_f1"] == pytest.approx(sk.f1_score(labels, predicted, average="micro"))
        assert result.metrics["macro_f1"] == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
        assert result.metrics["accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted))
        losses = sk.log_loss(labels.ravel(), probabilities.ravel())
        assert result.metrics["log_loss"] == pytest.approx(losses, rel=1e-5)


def test_predictions_are_the_probabilities_cut_at_each_seeds_own_thresholds(finished: Path) -> None:
    for result in load_comparison(finished).results:
        _, predicted, probabilities = stored(finished, result.method, result.seed)
        assert result.thresholds is not None
        assert np.array_equal(predicted, probabilities >= np.array(result.thresholds))


def test_thresholds_are_chosen_on_the_validation_split(finished: Path, data: Path) -> None:
    task = load_task(data, label_separator=";")
    for method in METHODS:
        classifier = loracle.load_model(finished / "models" / method)
        probabilities = classifier.predict_proba(task.validation.texts)
        assert choose_thresholds(task.validation.labels, probabilities) == pytest.approx(
            classifier.thresholds, abs=1e-6
        )


def test_loaded_classifier_predicts_what_is_stored(finished: Path, data: Path) -> None:
    task = load_task(data, label_separator=";")
    run = load_run(finished)
    for method in METHODS:
        classifier = loracle.load_model(finished / "models" / method)
        kept = [result.seed for result in run.results(method) if result.thresholds == classifier.thresholds]
        table = pq.read_table(finished / "predictions" / f"{method}.{kept[0]}.parquet")
        assert classifier.predict(task.test.texts) == [list(row) for row in table["predicted"].to_pylist()]


def test_regression_learns_what_the_words_say(finished: Path) -> None:
    by_method = {s.method: s.metrics["micro_f1"].value for s in load_comparison(finished).summaries}
    assert by_method["tfidf"] > by_method["majority"]


def test_report_holds_the_figures_of_the_stored_predictions(finished: Path) -> None:
    report = (finished / "report.md").read_text(encoding="utf-8")
    for method in METHODS:
        seeds = [result.seed for result in load_run(finished).results(method)]
        sets = [stored(finished, method, seed)[:2] for seed in seeds]
        row = next(line for line in report.splitlines() if re.match(rf"\| \**{method}\b.*\[", line))
        for column, average in ((2, "micro"), (3, "macro")):
            mean = np.mean([sk.f1_score(*pair, average=average) for pair in sets])
            assert row.split("|")[column].strip().split(" ")[0] == f"{100 * mean:.1f}"
        mean = np.mean([sk.accuracy_score(*pair) for pair in sets])
        assert row.split("|")[4].strip().split(" ")[0] == f"{100 * mean:.1f}"
    head = next(line for line in report.splitlines() if line.startswith("| method |"))
    assert [cell.strip() for cell in head.split("|")[2:5]] == ["micro-F1, %", "macro-F1, %", "subset accuracy, %"]


def test_report_shows_each_labels_threshold_and_no_confusions(finished: Path) -> None:
    for name in ("report.md", "report.html"):
        report = (finished / name).read_text(encoding="utf-8")
        assert "threshold" in report
        assert "onfusion" not in report.replace("confusion td", "").replace("table.confusion", "")
    for summary in load_comparison(finished).summaries:
        labels, predicted, _ = stored(finished, summary.method, 0)
        if summary.seeds == 1:
            expected = sk.precision_recall_fscore_support(labels, predicted, zero_division=0)
            assert [entry["f1"] for entry in summary.per_class] == pytest.approx(expected[2])
            assert [entry["support"] for entry in summary.per_class] == expected[3].tolist()


def test_verdict_goes_by_micro_f1_and_says_so(finished: Path) -> None:
    comparison = load_comparison(finished)
    assert comparison.verdict is not None
    assert comparison.verdict.metric == comparison.ledger["budget"]["metric"] == "micro_f1"
    assert "micro-F1" in comparison.verdict.sentence
    assert "accuracy" not in comparison.verdict.sentence


def test_comparison_is_made_again_from_what_is_stored(finished: Path, data: Path) -> None:
    comparison = load_comparison(finished)
    task = load_task(data, label_separator=";")
    again = summarise(task, comparison.results, comparison.ledger, RunFolder(finished))
    assert again.to_json() == comparison.to_json() == (finished / "comparison.json").read_text(encoding="utf-8")


def test_same_command_continues_a_finished_run(finished: Path, data: Path) -> None:
    before = (finished / "results" / "full.1.json").read_bytes()
    options = load_run(finished).options
    assert options["label_separator"] == ";"
    assert options["metric"] == "micro_f1"
    code = main(["compare", "--config", str(finished / "run.toml"), "--out", str(finished)])
    assert code == 0
    assert (finished / "results" / "full.1.json").read_bytes() == before


def test_predict_writes_lists_of_labels(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_text("late waited rude nobody\nmy order arrived\n", encoding="utf-8")
    classifier = loracle.load_model(finished)
    expected = classifier.predict(["late waited rude nobody", "my order arrived"])
    for flags, read in (([], csv.DictReader), (["--jsonl"], lambda file: map(json.loads, file))):
        out = tmp_path / f"out{len(flags)}"
        assert main(["predict", str(finished), str(tmp_path / "new.txt"), "--out", str(out), *flags]) == 0
        with out.open(newline="", encoding="utf-8") as file:
            labels = [row["label"] for row in read(file)]
        assert (labels if flags else list(map(json.loads, labels))) == expected


def test_commands_for_one_label_a_text_refuse_in_one_line(
    finished: Path, data: Path, refusal: Callable[..., str], tmp_path: Path
) -> None:
    assert "errors" in refusal("errors", finished)
    assert "several labels" in refusal("describe", data, "--label-separator", ";", "--out", tmp_path / "x.html")
    asked = ("compare", data, "--label-separator", ";", "--out", tmp_path / "run")
    assert "one label a text" in refusal(*asked, "--methods", "llm", "--llm-model", "m")


def test_runs_are_not_laid_side_by_side(finished: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(finished, tmp_path / "copy")
    with pytest.raises(RunError, match="compare-runs"):
        loracle.compare_runs([finished, tmp_path / "copy"])


def test_describe_refuses_in_python_too(data: Path) -> None:
    with pytest.raises(DataError, match="describe reads data with one label a text"):
        loracle.describe(load_task(data, label_separator=";"))


def test_micro_f1_is_refused_where_a_text_has_one_label(tiny_file: Path, tmp_path: Path) -> None:
    task, budget = load_task(tiny_file), loracle.Budget(metric="micro_f1")
    with pytest.raises(ConfigError, match="one label"):
        loracle.compare(task, methods=["majority"], budget=budget, out=tmp_path / "run")
    with pytest.raises(ConfigError, match="one label"):
        loracle.train(task, method="majority", budget=budget)
    assert not (tmp_path / "run").exists()


def test_method_that_gives_one_label_is_a_row_with_its_error(data: Path, tiny_base: Path, tmp_path: Path) -> None:
    def fit(*given: object, **more: object) -> Fitted:
        fitted = METHODS_BY_NAME["majority"].fit(*given, **more)
        return replace(fitted, classifier=replace(fitted.classifier, thresholds=None))

    foreign = replace(METHODS_BY_NAME["majority"], name="foreign", fit=fit)
    comparison = run(
        load_task(data, label_separator=";"), [foreign], Setup(model=str(tiny_base)), Plan(), folder=tmp_path / "run"
    )
    assert "one label a text" in (comparison.results[0].error or "")
    assert comparison.verdict is None


def test_subset_accuracy_of_one_model_each_has_mcnemars_p() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.uniform(size=(200, 3)) < 0.4).astype(np.uint8)
    first, second = (np.where(rng.uniform(size=labels.shape) < share, 1 - labels, labels) for share in (0.05, 0.15))
    candidates = [
        Candidate(method=name, predicted=sets[None], cost_seconds=1.0)
        for name, sets in (("first", first), ("second", second))
    ]
    pairs, verdict = decide(labels, candidates, metric="accuracy")
    assert pairs[0].p == mcnemar(labels, first, second).p
    right = [(sets == labels).all(axis=1).mean() for sets in (first, second)]
    assert pairs[0].difference.value == pytest.approx(right[0] - right[1])
    assert "subset accuracy" in verdict.sentence
