"""What good input gives: compare, train, predict and report."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from loracle.cli import main

Write = Callable[..., Path]


# ---- odd but good input


def test_hostile_labels_and_paths_with_blanks_go_through(write, here, capsys):
    labels = ["<b>&amp;</b>", "</script><script>alert(1)</script>", "[/red] :smile:", "größe 日本 🙂", 'a "b"\nc']
    path = write(
        [(f"word{code} number {row}", label) for row in range(12) for code, label in enumerate(labels)], "my data.csv"
    )
    assert main(["compare", str(path), "--methods", "majority,tfidf", "--out", "[/red] a run/"]) == 0
    assert "Report: [/red] a run/report.html" in capsys.readouterr().out
    run = here / "[/red] a run"
    assert labels[1] not in (run / "report.html").read_text(encoding="utf-8")
    assert main(["predict", str(run), str(path), "--out", "labelled texts.csv"]) == 0
    with (here / "labelled texts.csv").open(newline="", encoding="utf-8") as file:
        assert {row["label"] for row in csv.DictReader(file)} == set(labels)


def test_a_batch_larger_than_the_data_is_fine(tiny_file, small, here):
    assert main(["compare", str(tiny_file), *small, "--methods", "lora", "--seeds", "1", "--batch-size", "4096"]) == 0
    assert (here / "runs" / "reviews" / "report.html").is_file()


# ---- predict, train, report


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_predict_reads_csv_jsonl_and_lines_and_says_the_same(finished, write, capsys, monkeypatch):
    files = [
        write([("lovely, fast", "?"), ("rude awful", "?")]),
        write('{"text": "lovely, fast"}\n{"text": "rude awful"}\n', "texts.jsonl"),
        write("lovely, fast\nrude awful\n", "texts.txt"),
    ]
    printed = []
    for file in files:
        assert main(["predict", str(finished), str(file)]) == 0
        printed.append(capsys.readouterr().out)
    for tokens in ([], ["-"]):
        monkeypatch.setattr(sys, "stdin", io.StringIO("lovely, fast\nrude awful"))
        assert main(["predict", str(finished), *tokens]) == 0
        printed.append(capsys.readouterr().out)
    rows = read_csv(printed[0])
    assert [(row["text"], row["label"]) for row in rows] == [("lovely, fast", "good"), ("rude awful", "bad")]
    assert all(abs(float(row["p_good"]) + float(row["p_bad"]) - 1) < 1e-5 for row in rows)
    assert [row.pop("label_given") for row in rows] == ["?", "?"]  # the one thing that the other inputs do not have
    assert read_csv(printed[1]) == rows
    assert set(printed[1:]) == {printed[1]}


def test_predict_of_no_lines_prints_the_header_alone(finished, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert main(["predict", str(finished), "-"]) == 0
    assert capsys.readouterr().out == "text,label,p_bad,p_good\n"


def test_predict_writes_jsonl_and_to_a_file(finished, write, here, capsys):
    texts = write("lovely\n\nrude\n", "texts.txt")
    assert main(["predict", str(finished), str(texts), "--jsonl", "--out", "new folder/labelled.jsonl"]) == 0
    assert capsys.readouterr().out == "tfidf labelled 3 texts: new folder/labelled.jsonl\n"
    rows = [json.loads(line) for line in (here / "new folder" / "labelled.jsonl").read_text().splitlines()]
    assert [row["text"] for row in rows] == ["lovely", "", "rude"]
    assert set(rows[0]) == {"text", "label", "p_good", "p_bad"}
    assert [path.name for path in (here / "new folder").iterdir()] == ["labelled.jsonl"]


def test_a_file_that_breaks_half_way_leaves_the_old_predictions(finished, write, here, monkeypatch, capsys):
    old = write("text,label,p_bad,p_good\nold,bad,1,0\n", "labelled.csv").read_bytes()
    texts = write("".join('{"text": "lovely"}\n' for _ in range(1100)) + "{broken\n", "texts.jsonl")
    assert main(["predict", str(finished), str(texts), "--out", "labelled.csv"]) == 2
    assert "line 1101" in capsys.readouterr().err
    assert (here / "labelled.csv").read_bytes() == old
    assert not list(here.glob(".labelled*"))


def test_train_then_predict(tiny_file, small, here, write, capsys):
    assert main(["train", str(tiny_file), *small, "--method", "lora", "--out", "my model"]) == 0
    printed = capsys.readouterr().out
    assert "test accuracy" in printed
    assert "loracle predict 'my model' texts.csv" in printed
    assert (here / "my model" / "adapter_model.safetensors").is_file()
    assert main(["predict", "my model", str(write("lovely\n", "texts.txt"))]) == 0
    assert len(read_csv(capsys.readouterr().out)) == 1


def test_train_replaces_a_saved_classifier_and_its_seed_counts(tiny_file, small, here):
    weights = []
    for seed in ("0", "1", "0"):
        assert main(["train", str(tiny_file), *small, "--learning-rate", "1e-3", "--seed", seed, "--out", "model"]) == 0
        weights.append((here / "model" / "adapter_model.safetensors").read_bytes())
    assert weights[0] == weights[2] != weights[1]


def test_a_report_is_made_again_from_what_is_stored(finished, capsys):
    written = {name: (finished / name).read_bytes() for name in ("report.html", "report.md")}
    for name in written:
        (finished / name).unlink()
    assert main(["report", str(finished)]) == 0
    assert {name: (finished / name).read_bytes() for name in written} == written
    assert "report.html" in capsys.readouterr().out


def test_compare_says_what_will_run_and_ends_with_the_verdict(tiny_file, capsys):
    assert main(["compare", str(tiny_file), "--methods", "majority,tfidf", "--seeds", "1", "--out", "run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("will run   majority, tfidf; 1 seed and 3 learning rates") for line in lines)
    assert any(line.startswith("takes      about ") for line in lines)
    assert any(line.startswith("Ship tfidf") for line in lines)
    assert lines[-1] == "Report: run/report.html"


def test_a_run_holds_the_files_that_its_folder_promises(begun):
    assert {path.name for path in begun.iterdir()} == {
        *("run.toml", "ledger.json", "comparison.json", "report.html", "report.md", "results", "predictions", "models"),
    }
    table = pq.read_table(begun / "predictions" / "lora.1.parquet")
    assert table.column_names == ["id", "label", "predicted", "p_bad", "p_good"]
