"""`loracle plan`: its tables, on narrow terminals too, its JSON, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from loracle.cli import main

SMALL = ("--batch-size", "2", "--max-length", "8")


def printed(capsys: pytest.CaptureFixture[str], *tokens: str) -> str:
    assert main(["plan", *tokens, *SMALL]) == 0
    return capsys.readouterr().out


def test_every_method_stands_side_by_side_with_what_fits(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    out = printed(capsys, "bert-tiny", "--labels", "9", "--memory", "1GB")
    for part in ("4,387,081", "9,353", "4,395,273", "128 x 128", "gradients", "optimiser", "activations", "as asked"):
        assert part in out
    assert all(method in out for method in ("head", "bitfit", "lora", "partial", "full"))


@pytest.mark.parametrize("width", [40, 60, 200])
def test_tables_fit_the_terminal(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    out = printed(capsys, "bert-tiny", "--method", "lora", "full", "--memory", "1GB")
    assert max(map(len, out.splitlines())) <= width
    assert "peak" in out
    assert ("For want of width" in out) == (width < 200)


def test_all_figures_are_written_as_json(capsys, here: Path):
    out = printed(capsys, "bert-tiny", "--method", "lora:rank=4", "--memory", "2GiB", "--out", "plan.json")
    assert "Written: plan.json" in out
    plan = json.loads((here / "plan.json").read_text())
    (method,) = plan["methods"]
    assert plan["memory_bytes"] == 2**31
    assert method["counts"]["adapter"] == 4 * 2 * 256 * 2
    assert method["memory"]["total"] == sum(size for part, size in method["memory"].items() if part != "total")
    assert method["largest_batch"] > 100


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (("--memory", "3XB"), "such as 24GB"),
        (("--rank", "0"), "rank is 0"),
        (("--rank", "-2"), "rank is -2"),
        (("--rank", "500", "--initialisation", "pissa"), "pissa can take 128"),
        (("--targets", "nothing"), "there are: dense, key, query, value"),
        (("--method", "tfidf"), "allowed here"),
        (("--labels", "0"), "labels is 0"),
    ],
)
def test_what_cannot_be_is_one_line(tokens: tuple[str, ...], words: str, refusal: Callable[..., str]):
    assert words in refusal("plan", "bert-tiny", *SMALL, *tokens)


def test_a_rank_larger_than_the_layers_is_planned_with_a_warning(capsys: pytest.CaptureFixture[str]):
    assert main(["plan", "bert-tiny", *SMALL, "--method", "lora", "--rank", "500"]) == 0
    assert "loracle: rank is 500, and an update of" in capsys.readouterr().err


def test_a_name_that_is_nearly_a_shipped_one_is_told(refusal: Callable[..., str]):
    assert "did you mean 'gpt2'?" in refusal("plan", "gpt3")


def test_a_config_of_no_transformer_is_one_line(refusal: Callable[..., str], here: Path):
    (here / "config.json").write_text('{"hidden_size": 3}')
    assert "configuration of no transformer" in refusal("plan", "config.json")
    assert "no such file" in refusal("plan", "missing.json")
