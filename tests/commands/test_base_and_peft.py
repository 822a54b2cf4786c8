"""A base in 8 bits and methods of PEFT, asked for on the command line."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from loracle.cli import main
from loracle.comparison.result import load_comparison

Write = Callable[..., Path]


def test_base_precision_is_read_by_those_that_freeze_the_base_and_harms_no_other(tiny_file, small, here):
    methods = ("--methods", "tfidf", "lora", "lora:base_precision=full", "full")
    options = (*small, "--seeds", "1", "--base-precision", "int8")
    assert main(["compare", str(tiny_file), *options, *methods, "--out", "run"]) == 0
    comparison = load_comparison(here / "run")
    bytes_of = {summary.method: summary.counts.base_bytes for summary in comparison.summaries}
    assert bytes_of["tfidf"] == 0
    assert bytes_of["lora"] < bytes_of["lora:base_precision=full"] == bytes_of["full"]
    assert any(note.startswith("The frozen base is held in int8 for lora;") for note in comparison.ledger["not equal"])
    assert tomllib.loads((here / "run" / "run.toml").read_text())["base_precision"] == "int8"
    report = (here / "run" / "report.md").read_text()
    assert "held in int8 for lora" in report
    assert f"(base {bytes_of['lora'] / 1000:.0f} kB)" in report


def test_run_with_a_method_of_peft_goes_on_from_its_own_configuration(tiny_file, small, write, here, capsys):
    path = write(json.dumps({"peft_type": "IA3"}), "ia3.json")
    options = (*small, "--seeds", "1", "--out", "run")
    assert main(["compare", str(tiny_file), *options, "--methods", f"majority,peft:{path.name}"]) == 0
    capsys.readouterr()
    assert main(["compare", "--config", "run/run.toml", "--out", "run"]) == 0
    assert "finished   in run already" in capsys.readouterr().out
    assert "peft:ia3" in (here / "run" / "report.md").read_text()
    assert main(["predict", "run/models/peft:ia3", str(tiny_file), "--out", "out.csv"]) == 0


def test_method_of_peft_is_trained_and_loaded(tiny_file, small, write, here):
    path = write(json.dumps({"peft_type": "LOHA", "r": 4, "target_modules": ["query"]}), "loha.json")
    tokens = ["train", str(tiny_file), "--method", f"peft:{path}", *small, "--out", "saved"]
    assert main(tokens) == 0
    assert json.loads((here / "saved" / "loracle.json").read_text())["method"] == "peft:loha"
    assert main(["predict", "saved", str(tiny_file), "--out", "out.csv"]) == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is no JSON"),
        ("{}", "names no peft_type"),
        ('{"peft_type": "XLORA"}', "not supported"),
        ('{"peft_type": "IA3", "target_modules": ["nothing"], "feedforward_modules": []}', "No modules were targeted"),
        ('{"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 400}', "64 positions"),
        ('{"peft_type": "ADALORA", "tinit": 9000}', "PEFT refuses this ADALORA"),
    ],
)
def test_configuration_that_cannot_be_used_is_one_line(refusal, tiny_file, small, write, content, said):
    path = write(content, "method.json")
    assert said in refusal("compare", tiny_file, *small, "--methods", f"peft:{path}", "--out", "run")


def test_file_that_is_not_there_is_one_line(refusal, tiny_file):
    assert "no PEFT configuration at" in refusal("compare", tiny_file, "--methods", "peft:ia3.json", "--out", "run")


def test_unknown_base_precision_is_one_line(refusal, tiny_file):
    assert "did you mean 'int8'" in refusal("compare", tiny_file, "--base-precision", "int4", "--out", "run")
