"""What is listed as a mistake, in which order, and whether wrong labels turn up among them."""

from __future__ import annotations

import csv
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from loracle.comparison import running
from loracle.comparison.finished import load_data, load_run
from loracle.comparison.folder import RunFolder
from loracle.comparison.mistakes import (
    Answers,
    Mistakes,
    find_mistakes,
    list_all_wrong,
    list_disagreements,
    list_wrong,
)
from loracle.comparison.plan import Plan
from loracle.data.loading import load_task
from loracle.errors import ConfigError
from loracle.methods.method import Setup
from loracle.methods.registry import find_methods
from loracle.training.budget import Budget

LABELS = np.array([0, 1, 2, 0, 1])
GOOD, BAD = "lovely fast friendly thanks great".split(), "broken rude nobody awful late".split()


def answers(method: str, predicted: list[int], confidence: list[float]) -> Answers:
    return Answers(method=method, seed=0, predicted=np.array(predicted), confidence=np.array(confidence))


FIRST = answers("first", [0, 2, 1, 1, -1], [0.9, 0.6, 0.8, 0.8, 0.0])
SECOND = answers("second", [0, 1, 0, 1, 0], [0.5, 0.7, 0.9, 0.4, 0.3])


def test_wrong_texts_come_by_confidence_and_equal_ones_as_in_the_data() -> None:
    listing = list_wrong(LABELS, FIRST)
    assert listing.rows.tolist() == [2, 3, 1, 4]
    assert listing.confidence.tolist() == [0.8, 0.8, 0.6, 0.0]


def test_a_text_without_an_answer_is_wrong_with_no_confidence() -> None:
    assert list_wrong(LABELS, FIRST).rows[-1] == 4
    assert 4 in list_all_wrong(LABELS, [FIRST, SECOND]).rows


def test_disagreements_come_by_the_surer_of_the_wrong_predictions() -> None:
    listing = list_disagreements(LABELS, FIRST, SECOND)
    assert listing.rows.tolist() == [2, 1, 4]
    assert listing.confidence.tolist() == [0.9, 0.6, 0.3]  # the right one's 0.7 is no mistake


def test_what_all_get_wrong_comes_by_the_mean_confidence() -> None:
    listing = list_all_wrong(LABELS, [FIRST, SECOND])
    assert listing.rows.tolist() == [2, 3, 4]
    assert np.allclose(listing.confidence, [0.85, 0.6, 0.15])


@pytest.fixture(scope="module")
def flipped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[int]]:
    """A CSV of 400 plain reviews with every 17th label flipped, and those rows."""
    draw, path = random.Random(4), tmp_path_factory.mktemp("data") / "reviews.csv"
    wrong = set(range(5, 400, 17))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for row in range(400):
            good = row % 2 == 0
            words = draw.choices(GOOD if good else BAD, k=6)
            writer.writerow([f"{' '.join(words)} {row}", "good" if good != (row in wrong) else "bad"])
    return path, wrong


@pytest.fixture(scope="module")
def run(flipped: tuple[Path, set[int]], tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of four methods on the reviews with flipped labels, LoRA with two seeds."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    budget = Budget(epochs=2, max_length=24, learning_rates=1, precision="fp32")
    setup, methods = Setup(model=str(tiny_base), budget=budget), find_methods(["majority", "tfidf", "probe", "lora"])
    running.run(load_task(flipped[0]), methods, setup, Plan(seeds=2), folder=folder)
    return folder


@pytest.fixture(scope="module")
def found(run: Path) -> Mistakes:
    return find_mistakes(run)


def test_wrong_labels_are_what_all_methods_get_wrong(found: Mistakes, flipped: tuple[Path, set[int]]) -> None:
    assert found.all_wrong is not None
    assert {"tfidf", "probe"} <= set(found.all_wrong.methods)
    listed = {int(found.test.ids[row]) for row in found.all_wrong.rows}
    flipped_in_test = {int(row) for row in found.test.ids} & flipped[1]
    assert len(flipped_in_test) > 2
    assert listed == flipped_in_test


def test_methods_that_give_all_texts_one_label_are_not_asked_what_all_get_wrong(found: Mistakes) -> None:
    one_label = {item.method for item in found.answers if len(set(item.predicted.tolist())) == 1}
    assert "majority" in one_label
    assert found.left_out == dict.fromkeys(one_label, "one label for all texts")
    assert found.all_wrong is not None
    assert not one_label & set(found.all_wrong.methods)


def test_a_method_without_a_rank_is_not_asked_what_all_get_wrong(run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    comparison = load_run(folder).comparison
    summaries = tuple(
        replace(item, unranked="4 % of the texts got no answer") if item.method == "probe" else item
        for item in comparison.summaries
    )
    (folder / "comparison.json").write_text(replace(comparison, summaries=summaries).to_json(), encoding="utf-8")
    found = find_mistakes(folder, method="probe")
    assert found.left_out["probe"] == "no rank"
    assert found.all_wrong is None or "probe" not in found.all_wrong.methods
    assert found.listings[0].methods == ("probe",)


def test_lists_are_those_of_the_stored_predictions(found: Mistakes, run: Path) -> None:
    for listing, item in zip(found.wrong, found.answers, strict=True):
        table = pq.read_table(run / "predictions" / f"{item.method}.{item.seed}.parquet").to_pylist()
        wrong = [row["id"] for row in table if row["label"] != row["predicted"]]
        assert sorted(found.test.ids[listing.rows].tolist()) == wrong
        for place, sure in zip(listing.rows, listing.confidence, strict=True):
            assert sure == max(value for key, value in table[place].items() if key.startswith("p_"))


def test_the_verdicts_method_and_the_best_other_one_are_the_default(found: Mistakes, run: Path) -> None:
    comparison = load_run(run).comparison
    assert comparison.verdict is not None
    assert found.method == comparison.verdict.method
    assert found.disagree is not None
    others = [item.method for item in comparison.summaries if item.method != found.method]
    assert found.disagree.methods == (found.method, others[0])
    assert [item.kind for item in found.listings] == ["wrong", "disagree", "all wrong"]
    assert found.listings[0].methods == (found.method,)


def test_a_method_a_pair_and_a_seed_can_be_named(run: Path) -> None:
    kept, other = (
        find_mistakes(run, method="lora"),
        find_mistakes(run, method="lora", pair=("majority", "lora"), seed=1),
    )
    assert other.answers[other.place("lora")].seed == 1
    assert other.answers[other.place("tfidf")].seed == 0
    assert other.disagree is not None
    assert other.disagree.methods == ("majority", "lora")
    assert kept.listings[0].methods == ("lora",)


@pytest.mark.parametrize("pair", [("tfidf", "tfidf"), ("tfidf",), ("tfidf", "probe", "lora")])
def test_a_pair_is_two_different_methods(run: Path, pair: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="two different methods of"):
        find_mistakes(run, pair=pair)
    with pytest.raises(ConfigError, match="did you mean 'probe'"):
        find_mistakes(run, pair=("tfidf", "prob"))


def test_a_row_of_zeros_is_a_mistake_without_a_predicted_label(run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    task = load_data(load_run(folder))
    probabilities = RunFolder(folder).load_predictions("tfidf", 0)
    probabilities[3] = 0
    RunFolder(folder).save_predictions("tfidf", 0, task, probabilities)
    found = find_mistakes(folder, method="tfidf")
    own = found.listings[0]
    assert (own.rows[-1], own.confidence[-1]) == (3, 0.0)
    assert found.answers[found.place("tfidf")].predicted[3] == -1


def test_one_method_alone_has_neither_disagreements_nor_suspects(
    flipped: tuple[Path, set[int]], tmp_path: Path
) -> None:
    running.run(load_task(flipped[0]), find_methods(["tfidf"]), Setup(), Plan(seeds=1), folder=tmp_path / "run")
    found = find_mistakes(tmp_path / "run")
    assert (found.disagree, found.all_wrong) == (None, None)
    assert [item.kind for item in found.listings] == ["wrong"]
