"""A hostile and a hurried person: every refusal is one line, and nothing is written over."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from loracle.cli import main

Write = Callable[..., Path]


# ---- bad data


def test_a_missing_file_is_refused_with_the_closest_name(write, refusal):
    write()
    error = refusal("compare", "reviewz.csv", "--methods", "majority")
    assert "reviewz.csv" in error
    assert "did you mean 'reviews.csv'?" in error


def test_an_empty_file_is_refused(write, refusal):
    assert "reviews.csv is empty" in refusal("compare", write(""), "--methods", "majority")


def test_a_column_that_does_not_exist_is_refused_with_those_that_do(write, refusal):
    error = refusal("compare", write(), "--methods", "majority", "--text-column", "txt")
    assert "no column 'txt'; did you mean 'text'?" in error
    assert "'text', 'label'" in error
    assert "'lable'" in refusal("train", write(), "--method", "tfidf", "--label-column", "lable", "--out", "model")


def test_rows_without_text_or_label_are_dropped_and_counted(write, capsys, reviews):
    path = write([*reviews, ("", "good"), ("nice", ""), ("  ", "bad")])
    assert main(["compare", str(path), "--methods", "majority", "--out", "run"]) == 0
    printed = capsys.readouterr().out
    assert "2 rows of reviews.csv without text" in printed
    assert "1 row of reviews.csv without label" in printed


def test_strict_refuses_rows_without_text_or_label_and_names_them(write, refusal, reviews):
    error = refusal("compare", write([*reviews, ("", "good")]), "--methods", "majority", "--strict")
    assert "41" in error
    assert "leave out --strict" in error


def test_one_class_only_is_refused(write, refusal, reviews):
    assert "only one label, 'good'" in refusal("compare", write([(text, "good") for text, _ in reviews]))


def test_a_class_with_too_few_rows_is_named_and_can_be_dropped(write, refusal, capsys, reviews):
    path = write([*reviews, ("odd", "rare")])
    error = refusal("compare", path, "--methods", "majority")
    assert "'rare' (1)" in error
    assert "--drop-rare" in error
    assert main(["compare", str(path), "--methods", "majority", "--drop-rare", "--out", "run"]) == 0
    assert "'rare'" in capsys.readouterr().out


def test_labels_that_differ_only_in_case_or_blanks_are_warned_of(write, capsys, reviews):
    path = write([(text, f"{label} " if index % 4 == 0 else label) for index, (text, label) in enumerate(reviews)])
    assert main(["compare", str(path), "--methods", "majority", "--out", "run"]) == 0
    assert "'good'/'good '" in capsys.readouterr().out


def test_a_test_file_with_unknown_labels_is_refused_with_their_names(write, refusal):
    error = refusal("compare", write(), "--methods", "majority", "--test", write([("a", "ugly")], "exam.csv"))
    assert "exam.csv" in error
    assert "'ugly'" in error


def test_what_is_not_utf8_is_refused_with_an_encoding_that_works(write, refusal):
    error = refusal("compare", write("text,label\ncafé,good\n".encode("cp1252")))
    assert "not UTF-8" in error
    assert "iconv -f cp1252" in error


def test_a_broken_parquet_is_refused(write, refusal):
    assert "not a whole Parquet file" in refusal("compare", write(b"PAR1 nonsense", "reviews.parquet"))


def test_binary_bytes_in_a_text_are_refused_with_their_row(write, refusal):
    assert "row 2" in refusal("compare", write("text,label\na,x\nb\0c,y\n"))


def test_a_text_of_a_megabyte_is_kept_and_told(write, capsys, reviews):
    path = write([*reviews, ("nice " * 250_000, "good")])
    assert main(["compare", str(path), "--methods", "majority,tfidf", "--out", "run"]) == 0
    assert "longer than a megabyte" in capsys.readouterr().out


def test_no_hub_says_to_give_a_local_file(refusal):
    assert "give a local file or folder" in refusal("compare", "owner/reviews")


# ---- bad names and values


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (["comparr"], 'Did you mean "compare"?'),
        (["compare", "--methds", "tfidf"], "Did you mean --methods?"),
        (["compare", "--methods", "tfdif"], "did you mean 'tfidf'?"),
        (["train", "--method", "fulll", "--out", "model"], "did you mean 'full'?"),
        (["train", "--method", "tfidf,lora", "--out", "model"], "`compare` takes several"),
        (["compare", "--methods", "lora", "lora"], "named twice"),
        (["compare", "--methods"], "no methods given"),
        (["compare", "--metric", "acuracy"], "did you mean 'accuracy'?"),
        (["compare", "--precision", "fp8"], "bf16"),
        (["compare", "--seeds", "0"], "1 or more"),
        (["compare", "--seeds", "1.5"], "a whole number"),
        (["compare", "--seeds", "many"], "--seeds"),
        (["compare", "--epochs", "0"], "epochs is 0; allowed: 1 or more"),
        (["compare", "--learning-rates", "9"], "1 to 5"),
        (["compare", "--margin", "5"], "below 0.5"),
        (["compare", "--margin", "nan"], "below 0.5"),
        (["compare", "--rank", "0"], "1 or more"),
        (["compare", "--max-train", "1"], "at least 2"),
        (["compare", "--split-seed", "-1"], "at least 0"),
        (["compare", "--max-train", "5"], "with 9 labels it must be at least 9"),
        (["compare", "--out"], "requires an argument"),
        (["compare", "a.csv", "b.csv"], "b.csv"),
        (["compare", ""], "is empty"),
        (["predict", "model", "--ouut", "x"], "did you mean '--out'?"),
    ],
    ids=lambda item: " ".join(item)[:40] if isinstance(item, list) else "",
)
def test_an_unknown_name_or_value_is_refused_with_what_is_allowed(refusal, tokens, said):
    assert said in refusal(*tokens)


def test_a_base_model_that_is_not_there_is_refused_before_anything_is_written(tiny_file, refusal):
    for model in ("no-such-model", "./nowhere", str(tiny_file.parent)):
        error = refusal("compare", tiny_file, "--methods", "majority,probe", "--model", model, "--out", "run")
        assert model in error
        assert "give a" in error


def test_lora_targets_that_are_not_there_are_refused_with_those_that_are(tiny_file, small, refusal):
    error = refusal("compare", tiny_file, "--methods", "tfidf,lora", *small, "--targets", "nope", "--out", "run")
    assert "'nope'" in error
    assert "query" in error


def test_more_tokens_than_the_base_model_reads_are_refused(tiny_file, tiny_base, refusal):
    error = refusal("compare", tiny_file, "--methods", "lora", "--model", tiny_base, "--max-length", "100000")
    assert "max_length is 100000" in error
    assert "64" in error


def test_a_seed_below_zero_is_refused(tiny_file, refusal):
    error = refusal("train", tiny_file, "--method", "tfidf", "--seed", "-1", "--out", "model")
    assert "seed is -1; allowed: a whole number from 0" in error


def test_a_learning_rate_for_a_method_without_one_is_refused(tiny_file, refusal):
    error = refusal("train", tiny_file, "--method", "tfidf", "--learning-rate", "1e-3", "--out", "model")
    assert "leave --learning-rate out" in error


# ---- bad places


def test_an_out_folder_that_is_no_run_is_refused(write, here, refusal):
    (here / "thesis").mkdir()
    path = write("years of work", "thesis/chapter.txt")
    assert "thesis exists and is no run" in refusal("compare", write(), "--methods", "majority", "--out", "thesis")
    assert "thesis exists and is no saved" in refusal("train", write(), "--method", "tfidf", "--out", "thesis")
    assert "is a file" in refusal("compare", write(), "--methods", "majority", "--out", path)
    for command in (["compare", "--methods", "majority"], ["train", "--method", "tfidf"]):
        error = refusal(command[0], write(), *command[1:], "--out", path / "deeper")
        assert "chapter.txt is a file" in error


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder in which nobody can write")
def test_a_place_where_nothing_can_be_made_is_one_line(write, refusal):
    assert "/proc/nowhere" in refusal("compare", write(), "--methods", "majority", "--out", "/proc/nowhere")
    assert "/proc/nowhere" in refusal("train", write(), "--method", "tfidf", "--out", "/proc/nowhere/model")


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(write, here, refusal):
    (here / "locked").mkdir(mode=0o555)
    assert "no permission" in refusal("compare", write(), "--methods", "majority", "--out", "locked/run")


def test_predictions_are_not_written_over_the_texts_or_a_folder(finished, here, write, refusal):
    texts = write("lovely\n", "texts.txt")
    assert "the file with the texts" in refusal("predict", finished, texts, "--out", "./texts.txt")
    assert "a folder" in refusal("predict", finished, texts, "--out", here)
    assert "is a file" in refusal("predict", finished, texts, "--out", texts / "labelled.csv")
    assert "no file" in refusal("predict", finished, texts, "--out", os.devnull)


def test_predictions_are_written_over_earlier_ones_and_over_nothing_else(finished, write, refusal, capsys):
    texts = write("lovely\n", "texts.txt")
    assert "was not written by this command" in refusal(
        "predict", finished, texts, "--out", write('{"a": 1}', "labels.json")
    )
    for _ in range(2):
        assert main(["predict", str(finished), str(texts), "--out", "labelled.csv"]) == 0
    assert main(["predict", str(finished), str(texts), "--out", "labelled.csv", "--jsonl"]) == 0
    assert main(["predict", str(finished), str(texts), "--out", "labelled.csv"]) == 0


def test_what_stands_in_the_wrong_place_is_told(finished, write, refusal):
    texts = write("lovely\n", "texts.txt")
    assert "is a file; give the folder of a run" in refusal("predict", texts, finished)
    assert "is a run of Loracle, not data" in refusal("compare", finished)
    assert "no such folder: nowhere" in refusal("errors", "nowhere")


def test_predict_from_a_folder_without_a_model_says_what_to_give(write, here, finished, refusal):
    texts = write("lovely\n", "texts.txt")
    (here / "empty").mkdir()
    assert "no such folder: nowhere" in refusal("predict", "nowhere", texts)
    assert "`loracle train`" in refusal("predict", "empty", texts)
    (finished / "comparison.json").unlink()
    assert "is not finished; `loracle compare --config" in refusal("predict", finished, texts)
    assert "is not finished; `loracle compare --config" in refusal("report", finished)
    assert "give the folder that `loracle compare --out` wrote" in refusal("report", "empty")


def test_texts_that_cannot_be_read_print_nothing_but_the_refusal(finished, here, write, capsys):
    for texts in ("nowhere.txt", str(here), str(write("", "empty.txt")), str(write("a\nb\n", "two.csv"))):
        capsys.readouterr()
        assert main(["predict", str(finished), texts, "--text-column", "body"]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1


def test_a_closed_standard_input_is_told(finished, refusal, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    assert "standard input is closed" in refusal("predict", finished, "-")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("run.toml", b"seeds = = 2"),
        ("ledger.json", b"[]"),
        ("results/tfidf.0.json", b"{"),
        ("results/tfidf.0.json", b'{"method": "tfidf"}'),
    ],
)
def test_a_broken_file_of_a_run_is_named_before_anything_is_written(finished, tiny_file, small, refusal, file, content):
    (finished / file).write_bytes(content)
    assert file in refusal(
        "compare", tiny_file, *small, "--methods", "majority,tfidf,lora", "--seeds", "2", "--out", finished
    )


def test_broken_predictions_are_named_with_the_remedy(finished, tiny_file, small, capsys):
    path = finished / "predictions" / "tfidf.0.parquet"
    path.write_bytes(path.read_bytes()[:100])
    tokens = [
        "compare",
        str(tiny_file),
        *small,
        "--methods",
        "majority,tfidf,lora",
        "--seeds",
        "2",
        "--out",
        str(finished),
    ]
    assert main(tokens) == 2
    assert "tfidf.0.parquet cannot be read; delete it" in capsys.readouterr().err
    path.unlink()
    assert main(tokens) == 0


def test_a_broken_comparison_is_one_line(finished, refusal):
    for content in (b"{}", b"\xff"):
        (finished / "comparison.json").write_bytes(content)
        assert "comparison.json cannot be read" in refusal("report", finished)


# ---- bad options of LoRA


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--rank", "0"], "rank is 0; it must be 1 or more"),
        (["--rank", "-4"], "rank is -4; it must be 1 or more"),
        (["--alpha", "0"], "alpha is 0.0; it must be a finite number above 0"),
        (
            ["--targets", "querry"],
            "LoRA target 'querry' matches no linear layer outside the head; there are: dense, key",
        ),
        (["--targets", "word_embeddings"], "is no linear layer but a module of class Embedding; there are: dense, key"),
        (["--initialisation", "pisa"], "did you mean 'pissa'?"),
        (["--initialisation", "pissa", "--dora"], "do not go together"),
        (["--initialisation", "pissa", "--rank", "33"], "rank is 33; pissa can take 32 from"),
    ],
)
def test_options_that_lora_cannot_have_are_refused(write, refusal, small, options, told):
    assert told in refusal("train", write(), "--method", "lora", *small, "--out", "model", *options)


def test_a_rank_larger_than_the_layers_is_one_line_of_warning(write, small, capsys):
    assert main(["train", str(write()), "--method", "lora", *small, "--rank", "40", "--out", "model"]) == 0
    error = capsys.readouterr().err
    assert error.count("rank is 40, and an update of") == 1
    assert "loracle: rank is 40" in error


def test_fewer_than_one_fit_in_a_pass_is_refused(write, refusal):
    assert "together is -2; allowed: 0 (chosen), 1 (one by one) or more" in refusal(
        "compare", write(), "--together", "-2"
    )
    assert "together is -1" in refusal("train", write(), "--together", "-1", "--out", "model")
