"""Every contestant does its rounds on a tiny random model; here they run in this process, one after the other."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import __main__ as program
from benchmarks import growth, memory, products, quality, rival, rows, workload
from benchmarks.results import load_reports
from benchmarks.rounds import Contestant, Gate, OnReading, Reading, Stopped
from benchmarks.workload import Epochs, Job
from loracle.evaluation.statistics import Interval
from loracle.training.precision import choose_path

LENGTH, TEXTS = 12, 80


class Turns(Gate):
    """A gate that lets its contestant do so many rounds."""

    def __init__(self, rounds: int) -> None:
        self.left, self.readings = rounds, []

    def wait(self) -> None:
        if not self.left:
            raise Stopped
        self.left -= 1

    def report(self, value: float, remark: Any = None) -> None:
        self.readings.append(Reading(value, remark))


def perform(contestant: Contestant, rounds: int) -> list[Reading]:
    """Return the readings of so many rounds; libraries may warn, as they may in a process of their own."""
    gate = Turns(rounds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(Stopped):
            contestant(gate)
    return gate.readings


def perform_all(
    contestants: Mapping[str, Contestant], rounds: int, on_reading: OnReading
) -> dict[str, tuple[Reading, ...]]:
    """Stand in for `take_turns` without processes."""
    for name in contestants:
        on_reading(0, name, 1.0)
    return {name: tuple(perform(contestant, rounds + 1)[1:]) for name, contestant in contestants.items()}


def perform_afresh(contestants: Mapping[str, Contestant], rounds: int, _: OnReading) -> dict[str, tuple[Reading, ...]]:
    """Stand in for `take_turns_afresh` without processes."""
    return {name: (perform(contestant, 1)[0],) * rounds for name, contestant in contestants.items()}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two Parquet files as those of IMDB."""
    draw = np.random.default_rng(0)
    words = "late never lovely fast friendly thanks broken rude refund perfect awful waited order shop price".split()
    for split in ("train", "test"):
        texts = [" ".join(draw.choice(words, draw.integers(3, 30))) for _ in range(TEXTS)]
        table = pa.table({"text": texts, "label": pa.array([number % 2 for number in range(TEXTS)])})
        pq.write_table(table, tmp_path / f"{split}.parquet")
    return tmp_path


@pytest.fixture
def model(checkpoint: Callable[[str], Path]) -> str:
    return str(checkpoint("bert"))


@pytest.fixture
def job(data: Path, model: str) -> Job:
    texts, labels = workload.load_texts(data, 20)
    train, validation = workload.tokenise_texts(model, texts, labels, LENGTH)
    return Job(train=train, validation=validation, model=model, batch_size=8, max_length=LENGTH)


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "take_turns", perform_all)
    monkeypatch.setattr(rows, "take_turns_afresh", perform_afresh)
    monkeypatch.setattr(program, "prepare_threads", lambda: None)  # it changes the environment of what follows


def test_the_same_texts_are_drawn_again(data: Path) -> None:
    assert workload.load_texts(data, 5)[0] == workload.load_texts(data, 9)[0][:5]


def test_a_round_of_loracle_is_an_epoch_of_training_alone(job: Job) -> None:
    begun: list[int] = []
    ended: list[int] = []
    on_step = Epochs(job, lambda: begun.append(1), lambda: ended.append(1))
    for texts, loss in [(8, 1.0), (8, 1.0), (4, 1.0), (8, None), (8, 1.0)]:
        on_step(texts, loss)
    assert (len(ended), len(begun)) == (1, 1)


def test_loracle_trains_for_as_many_rounds_as_it_may(job: Job) -> None:
    readings = perform(partial(workload.train, job=job), 3)
    assert len(readings) == 3
    assert all(reading.value > 0 and "attention" in reading.remark for reading in readings)


@pytest.mark.parametrize("recipe", [rival.DOCUMENTED, rival.Recipe(tuned=True, attention="eager")])
def test_the_trainer_trains_for_as_many_rounds_as_it_may(job: Job, recipe: rival.Recipe) -> None:
    readings = perform(partial(rival.train, job=job, recipe=recipe), 2)
    assert len(readings) == 2
    assert ("eager" if recipe.attention else "sdpa") in readings[0].remark


def test_tuned_the_rival_has_no_dropout_and_trains_what_loracle_trains(job: Job) -> None:
    network = rival.build_network(job, rival.Recipe(tuned=True, attention="eager"))
    assert {module.p for module in network.modules() if type(module).__name__ == "Dropout"} <= {0.0}
    own = workload.build_base(job, choose_path()).network
    ours = sum(item.numel() for item in own.parameters() if item.requires_grad)
    assert ours == sum(item.numel() for item in network.parameters() if item.requires_grad)


def test_grouped_texts_are_padded_as_little_as_loracles(job: Job) -> None:
    lengths = [len(row["input_ids"]) for row in rival.list_rows(job.train, job.batch_size, grouped=True)]
    batches = [lengths[start : start + job.batch_size] for start in range(0, len(lengths), job.batch_size)]
    assert sorted(lengths) == sorted(job.train.lengths.tolist())
    assert all(min(batch) >= max(after) for batch, after in pairwise(batches))


def test_growth_is_the_mean_of_its_fits_and_tells_its_memory(job: Job, data: Path, model: str) -> None:
    texts, labels = workload.load_texts(data, 10)
    contestant = partial(growth.tokenise_and_train, job=job, model=model, texts=texts, labels=labels, times=2)
    readings = perform(contestant, 2)
    assert [reading.value > 0 and reading.remark >= 0 for reading in readings] == [True, True]


def test_memory_is_told_with_the_attention_that_took_it(job: Job) -> None:
    (reading,) = perform(partial(memory.fit, job=job), 1)
    assert re.fullmatch(r"\w+, attention (eager|sdpa), scoring (eager|sdpa)", reading.remark)


def test_products_are_those_of_one_epoch(job: Job) -> None:
    steps = -(-len(job.train) // job.batch_size)
    columns = [product.columns for product in products.record_epoch(job)]
    assert columns.count(len(workload.LABELS)) >= steps


@pytest.fixture
def words(data: Path, model: str, tmp_path: Path, inline: None) -> list[str]:
    """The options of a very small run."""
    return [
        *("--data", str(data), "--model", model, "--out", str(tmp_path / "results")),
        *("--rounds", "1", "--texts", "16", "--max-length", str(LENGTH)),
    ]


def test_a_smoke_run_shows_its_rows_and_writes_nothing(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["w-documented", "w-memory", "w-products"]
    assert program.main([*words, "--quick", "--rows", *asked]) == 0
    printed = capsys.readouterr().out
    assert all(f"{name}:" in printed for name in asked)
    assert not (tmp_path / "results").exists()


def test_rows_are_kept_with_every_reading(words: list[str], tmp_path: Path) -> None:
    assert program.main([*words, "--rows", "lora-vs-full"]) == 0
    (report,) = load_reports(tmp_path / "results")
    (result,) = report.results
    assert (result.row, len(result.ours.readings), result.settings["texts"]) == ("lora-vs-full", 1, 16)
    assert result.circumstances.keys() > {"date", "load", "threads", "versions", "others", "seconds"}


def test_ctrl_c_keeps_the_rows_that_are_finished(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rows, "take_turns_afresh", interrupt)
    assert program.main([*words, "--rows", "lora-vs-full", "w-memory"]) == 130
    assert [result.row for result in load_reports(tmp_path / "results")[0].results] == ["lora-vs-full"]


def test_without_data_one_line_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--data", str(tmp_path / "nowhere")]) == 2
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    assert "--data" in complaint


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-0.004, 0.01, "not worse"), (-0.02, -0.006, "worse by more than"), (-0.006, 0.01, "do not show")],
)
def test_half_a_point_is_judged_by_the_interval(low: float, high: float, verdict: str) -> None:
    assert verdict in quality.judge(Interval(value=(low + high) / 2, low=low, high=high))
