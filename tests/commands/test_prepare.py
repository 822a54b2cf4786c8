"""`loracle prepare`, and the same options in `compare` and `train`."""

from __future__ import annotations

import csv
import json
import tomllib
from pathlib import Path

import pytest

from loracle.cli import main

MERGE = '[merge]\nBad = "bad"\n'


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with a table, a map of its labels, and things that must not be touched."""
    monkeypatch.chdir(tmp_path)
    with Path("reviews.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "customer", "region"])
        for row in range(80):
            label = ("good", "bad", "good", "Bad")[row % 4]
            writer.writerow([f"<p>Visit  number {row}</p> &amp; so on", label, row // 4, "same"])
        writer.writerows([["short", "good", "99", "same"], ["", "bad", "99", "same"]])
    Path("map.toml").write_text(MERGE, encoding="utf-8")
    Path("typo.toml").write_text('[merge]\nBda = "bad"\n', encoding="utf-8")
    Path("empty.toml").write_text("", encoding="utf-8")
    Path("broken.toml").write_text("[merge", encoding="utf-8")
    Path("mine").mkdir()
    Path("mine/train.csv").write_text("mine", encoding="utf-8")
    return tmp_path


def load_json(path: str) -> dict:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def hashes(splits: dict) -> list[str]:
    return [splits[name]["hash"] for name in ("train", "validation", "test")]


def run_hashes(run: str) -> list[str]:
    splits = load_json(f"{run}/ledger.json")["splits"]
    return [splits[name] for name in ("train", "validation", "test")]


def test_prepare_says_what_each_step_did_and_writes_it_down(capsys):
    options = ("--strip-html", "--normalise-space", "--min-words", "3", "--merge", "map.toml", "--min-rows", "5")
    assert main(["prepare", "reviews.csv", *options, "--out", "prepared"]) == 0
    printed = capsys.readouterr().out
    lines = {line.split()[0]: line.split()[1:] for line in printed.splitlines() if line.strip()}
    assert lines["missing"] == ["82", "1", "81", "0"]
    assert lines["strip_html"] == ["81", "0", "81", "80"]
    assert lines["min_words"] == ["81", "1", "80", "0"]
    assert lines["merge"] == ["80", "0", "80", "20"]
    assert "try: loracle compare prepared" in printed
    record = load_json("prepared/preparation.json")
    counts = ("rows_before", "rows_removed", "rows_after", "changed")
    assert {step["name"]: [str(step[key]) for key in counts] for step in record["steps"]} == {
        name: lines[name] for name in ("missing", "strip_html", "normalise_space", "min_words", "merge", "min_rows")
    }
    with Path("prepared/train.csv").open(newline="", encoding="utf-8") as file:
        assert all(
            row["text"].startswith("Visit number") and row["text"].endswith("& so on") for row in csv.DictReader(file)
        )


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_compare_on_the_folder_has_the_same_splits(format):
    assert main(["prepare", "reviews.csv", "--merge", "map.toml", "--format", format, "--out", "prepared"]) == 0
    assert main(["compare", "prepared", "--methods", "majority", "--out", "run"]) == 0
    assert run_hashes("run") == hashes(load_json("prepared/preparation.json")["splits"])


def test_compare_with_the_same_options_has_the_same_splits_and_its_run_toml_reproduces_it():
    options = ("--lower", "--merge", "map.toml", "--sample", "0.9", "--group-column", "customer")
    assert main(["prepare", "reviews.csv", *options, "--out", "prepared"]) == 0
    assert main(["compare", "reviews.csv", *options, "--methods", "majority", "--out", "run"]) == 0
    assert main(["compare", "--config", "run/run.toml", "--out", "again"]) == 0
    stored = tomllib.loads(Path("run/run.toml").read_text(encoding="utf-8"))
    assert (stored["lower"], stored["merge"], stored["sample"], stored["strip_html"]) == (True, "map.toml", 0.9, False)
    assert run_hashes("run") == run_hashes("again") == hashes(load_json("prepared/preparation.json")["splits"])


def test_another_preparation_is_another_run(refusal):
    assert main(["compare", "reviews.csv", "--merge", "map.toml", "--methods", "majority", "--out", "run"]) == 0
    again = ("compare", "reviews.csv", "--merge", "map.toml", "--methods", "majority", "--out", "run")
    assert "lower False -> True" in refusal(*again, "--lower")


def test_train_takes_the_options_too(capsys):
    assert main(["train", "reviews.csv", "--method", "tfidf", "--merge", "map.toml", "--lower", "--out", "model"]) == 0
    assert "lower changed 80 of 81 texts." in capsys.readouterr().out


def test_options_can_stand_in_a_file():
    Path("options.toml").write_text('data = "reviews.csv"\nmerge = "map.toml"\nlower = true\nmin_words = 3\n')
    assert main(["prepare", "--config", "options.toml", "--out", "prepared"]) == 0
    options = load_json("prepared/preparation.json")["options"]
    assert (options["lower"], options["merge"], options["min_words"]) == (True, "map.toml", 3)


def test_a_prepared_folder_is_written_again():
    for words in ("1", "3"):
        assert main(["prepare", "reviews.csv", "--merge", "map.toml", "--min-words", words, "--out", "prepared"]) == 0
    assert load_json("prepared/preparation.json")["options"]["min_words"] == 3


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (("--merge", "typo.toml"), "typo.toml names the label 'Bda', which no row has; did you mean 'Bad'?"),
        (("--merge", "empty.toml"), "empty.toml merges no labels"),
        (("--merge", "broken.toml"), "merge is broken.toml, which is no TOML file"),
        (("--merge", "nothing.toml"), "merge is nothing.toml, which cannot be read"),
        (("--group-column", "custmer"), "no column 'custmer'; did you mean 'customer'?"),
        (("--group-column", "region"), "--group-column 'region' has 1 distinct value"),
        (("--sample", "0"), "sample is 0.0; allowed: a share of the rows"),
        (("--sample", "1.5"), "sample is 1.5; allowed"),
        (("--min-rows", "1000"), "fewer than two labels have the 1,000 rows that are wanted (largest: 'good' (41)"),
        (("--min-words", "1000"), "no text of reviews.csv has 1,000 words or more, the longest has 6"),
        (("--min-words", "0"), "min_words is 0; allowed: 1 or more"),
        (("--format", "xls"), "unknown format 'xls'"),
        (("--striphtml",), "Unknown option"),
    ],
)
def test_bad_options_are_one_line_and_write_nothing(refusal, tokens, said):
    assert said in refusal("prepare", "reviews.csv", "--out", "prepared", *tokens)


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("reviews.csv", "is a file; --out takes a folder"),
        ("map.toml/prepared", "cannot be written, since"),
        ("mine", "holds what `loracle prepare` did not write"),
        (".", "holds what `loracle prepare` did not write"),
    ],
)
def test_a_place_that_is_taken_is_refused_and_stays(refusal, out, said):
    assert said in refusal("prepare", "reviews.csv", "--out", out)


def test_the_data_is_not_replaced_by_what_is_made_of_it(refusal):
    assert main(["prepare", "reviews.csv", "--merge", "map.toml", "--out", "prepared"]) == 0
    assert "so that nothing is lost" in refusal("prepare", "prepared", "--out", "prepared")
    assert "so that nothing is lost" in refusal("prepare", "prepared/train.csv", "--out", "prepared")
    assert "so that nothing is lost" in refusal(
        "prepare", "reviews.csv", "--test", "prepared/test.csv", "--out", "prepared"
    )
    assert "inside of prepared, which is read whole" in refusal("prepare", "prepared", "--out", "prepared/again")


def test_help_names_every_option_of_the_preparation(capsys):
    from dataclasses import fields

    from loracle.data.preparing import Preparation

    for command in ("prepare", "compare", "train"):
        assert main([command, "--help"]) == 0
        printed = capsys.readouterr().out
        assert all(f"--{field.name.replace('_', '-')}" in printed for field in fields(Preparation))
