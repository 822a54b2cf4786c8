"""What the functions that a person calls refuse before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

import loracle
from loracle.cli import main
from loracle.data.task import Task
from loracle.errors import ConfigError
from loracle.methods.registry import METHODS

LOSSES = {"loss": "focal", "label_smoothing": 0.1, "class_weights": "balanced"}


@pytest.fixture(scope="module")
def task(tiny_file: Path) -> Task:
    return loracle.load_task(tiny_file)


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if "base_precision" not in method.options])
def test_base_precision_is_refused_by_a_method_that_does_not_read_it(task: Task, method: str) -> None:
    with pytest.raises(ConfigError, match=f"method '{method}' does not read --base-precision; leave it out"):
        loracle.train(task, method=method, base_precision="int8")


@pytest.mark.parametrize("option", LOSSES)
@pytest.mark.parametrize("method", ["majority", "untrained", "llm"])
def test_option_of_the_loss_is_refused_by_a_method_that_has_none(task: Task, method: str, option: str) -> None:
    budget = loracle.Budget(**{option: LOSSES[option]})
    with pytest.raises(ConfigError, match=f"does not read --{option.replace('_', '-')}; leave it out"):
        loracle.train(task, method=method, budget=budget)


def test_tfidf_reads_class_weights_and_no_other_option_of_the_loss(task: Task) -> None:
    found = loracle.train(task, method="tfidf", budget=loracle.Budget(class_weights="balanced"))
    assert found.fitted.classifier.method == "tfidf"
    with pytest.raises(ConfigError, match="does not read --loss and --label-smoothing; leave them out"):
        loracle.train(task, method="tfidf", budget=loracle.Budget(**LOSSES))


def test_train_says_in_one_line_what_the_method_does_not_read(
    tiny_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = ["train", str(tiny_file), "--method", "full", "--base-precision", "int8", "--loss", "focal"]
    assert main([*tokens, "--out", str(tmp_path / "saved")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "saved").exists()
