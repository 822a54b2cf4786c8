"""The commands, used by a hostile and by a hurried person: every refusal is one line, and nothing is written over."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from loracle.cli import app, main
from loracle.comparison.result import load_comparison
from loracle.methods.method import Method
from loracle.methods.registry import METHODS

REVIEWS = [
    (f"{word} number {number}", label) for number in range(20) for word, label in (("nice", "good"), ("bad", "bad"))
]

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder, so that a default folder is made there too."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write(here: Path) -> Write:
    """Return a writer of files: bytes, text, or rows of a CSV with the columns text and label."""

    def write(content: bytes | str | Sequence[tuple[str, str]] = REVIEWS, name: str = "reviews.csv") -> Path:
        path = here / name
        if isinstance(content, bytes | str):
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        else:
            with path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([("text", "label"), *content])
        return path

    return write


@pytest.fixture(scope="module")
def small(tiny_base: Path) -> tuple[str, ...]:
    """Options that keep a run tiny."""
    return (
        *("--model", str(tiny_base), "--max-length", "32", "--epochs", "1"),
        *("--learning-rates", "1", "--precision", "fp32"),
    )


@pytest.fixture(scope="module")
def begun(tiny_file: Path, small: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of three methods with two seeds."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    code = main(
        ["compare", str(tiny_file), *small, "--methods", "majority,tfidf,lora", "--seeds", "2", "--out", str(folder)]
    )
    assert code == 0
    return folder


@pytest.fixture
def finished(begun: Path, here: Path) -> Path:
    """A copy of the finished run, with its times, to continue or to spoil."""
    return Path(shutil.copytree(begun, here / "run", copy_function=shutil.copy2))


def times(run: Path, *names: str) -> dict[str, int]:
    """Return when each stored result (of these methods, or all) was written."""
    files = [path for path in (run / "results").iterdir() if not names or path.name.split(".")[0] in names]
    return {path.name: path.stat().st_mtime_ns for path in files}


def spoilt(name: str, error: BaseException, *, from_seed: int = 0) -> Method:
    """Return the method of this name, failing when it is fitted to a whole task from a seed on."""

    def fit(task, setup, *, seed, learning_rate=None, on_step=None):
        if seed >= from_seed and len(task.train) > 100:  # what is timed before the start is smaller
            raise error
        return METHODS["tfidf"].fit(task, setup, seed=seed)

    return replace(METHODS[name], fit=fit)


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


def test_rows_without_text_or_label_are_dropped_and_counted(write, capsys):
    path = write([*REVIEWS, ("", "good"), ("nice", ""), ("  ", "bad")])
    assert main(["compare", str(path), "--methods", "majority", "--out", "run"]) == 0
    printed = capsys.readouterr().out
    assert "2 rows of reviews.csv without text" in printed
    assert "1 row of reviews.csv without label" in printed


def test_strict_refuses_rows_without_text_or_label_and_names_them(write, refusal):
    error = refusal("compare", write([*REVIEWS, ("", "good")]), "--methods", "majority", "--strict")
    assert "41" in error
    assert "leave out --strict" in error


def test_one_class_only_is_refused(write, refusal):
    assert "only one label, 'good'" in refusal("compare", write([(text, "good") for text, _ in REVIEWS]))


def test_a_class_with_too_few_rows_is_named_and_can_be_dropped(write, refusal, capsys):
    path = write([*REVIEWS, ("odd", "rare")])
    error = refusal("compare", path, "--methods", "majority")
    assert "'rare' (1)" in error
    assert "--drop-rare" in error
    assert main(["compare", str(path), "--methods", "majority", "--drop-rare", "--out", "run"]) == 0
    assert "'rare'" in capsys.readouterr().out


def test_labels_that_differ_only_in_case_or_blanks_are_warned_of(write, capsys):
    path = write([(text, f"{label} " if index % 4 == 0 else label) for index, (text, label) in enumerate(REVIEWS)])
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


def test_a_text_of_a_megabyte_is_kept_and_told(write, capsys):
    path = write([*REVIEWS, ("nice " * 250_000, "good")])
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


# ---- configuration


def test_a_flag_wins_over_the_file_and_the_file_over_the_default(write, here):
    config = write('methods = ["majority", "tfidf"]\nmargin = 0.03\nmax-length = 64\nepochs = 2\n', "options.toml")
    assert main(["compare", str(write()), "--config", str(config), "--margin", "0.02", "--out", "run"]) == 0
    ledger = load_comparison(here / "run").ledger
    assert ledger["margin"] == 0.02
    assert (ledger["budget"]["max_length"], ledger["budget"]["epochs"]) == (64, 2)
    assert {path.name for path in (here / "run" / "results").iterdir()} == {"majority.0.json", "tfidf.0.json"}


def test_the_data_and_the_folder_can_stand_in_the_file(write, here):
    write()
    write('data = "reviews.csv"\nout = "a run"\nmethods = "majority"\n', "options.toml")
    assert main(["compare", "--config=options.toml"]) == 0
    assert (here / "a run" / "report.html").is_file()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("seedz = 2", "unknown key in options.toml: 'seedz'; did you mean 'seeds'?"),
        ("[budget]\nepochs = 1", "'budget'"),
        ("compare = 1", "'compare'"),
        ('config = "other.toml"', "'config'"),
        ("seeds = = 2", "options.toml is no TOML file"),
        (b"\xff\xfe", "options.toml is no TOML file"),
        ('seeds = "many"', "[seeds]"),
        ("seeds = 1.5", "a whole number"),
        ("seeds = 0", "1 or more"),
        ('methods = ["tfdif"]', "did you mean 'tfidf'?"),
    ],
)
def test_a_bad_configuration_is_refused(write, refusal, content, said):
    config = write(content, "options.toml")
    assert said in refusal("compare", write(), "--config", config.name, "--out", "run")


def test_a_configuration_that_is_not_there_is_refused(refusal):
    assert "no such configuration file: nowhere.toml" in refusal("compare", "--config", "nowhere.toml")
    assert "requires an argument" in refusal("compare", "--config")


def test_the_run_toml_of_a_run_reproduces_it_elsewhere(finished, here):
    assert main(["compare", "--config", str(finished / "run.toml"), "--out", "again"]) == 0
    first, second = load_comparison(finished), load_comparison(here / "again")
    assert [result.metrics for result in first.results] == [result.metrics for result in second.results]
    assert (here / "again" / "run.toml").read_text() == (finished / "run.toml").read_text()


# ---- continuing


def test_the_same_command_again_runs_nothing_again(finished, capsys, monkeypatch):
    for name in ("majority", "tfidf", "lora"):
        monkeypatch.setitem(METHODS, name, replace(METHODS[name], fit=lambda *_, **__: pytest.fail("fitted again")))
    before = times(finished)
    assert main(["compare", "--config", str(finished / "run.toml"), "--out", str(finished)]) == 0
    assert times(finished) == before
    assert "nothing is run again" in capsys.readouterr().out


def test_a_method_or_a_seed_more_runs_only_what_is_new(finished):
    before, config = times(finished), ["compare", "--config", str(finished / "run.toml"), "--out", str(finished)]
    assert main([*config, "--methods", "majority,tfidf,probe,lora"]) == 0
    assert set(times(finished)) - set(before) == {"probe.0.json"}
    assert main([*config, "--seeds", "3"]) == 0
    after = times(finished)
    assert set(after) - set(before) == {"probe.0.json", "lora.2.json"}
    assert {name: after[name] for name in before} == before


def test_a_changed_configuration_is_refused_with_the_keys_that_differ(finished, refusal):
    again = ["compare", "--config", finished / "run.toml", "--out", finished]
    error = refusal(*again, "--epochs", "2", "--rank", "4")
    assert "epochs 1 -> 2, rank 8 -> 4" in error
    assert "another folder with --out" in error


def test_other_data_is_refused_and_the_same_data_elsewhere_is_not(finished, tiny_file, here, write, refusal):
    again = [
        "compare",
        "--config",
        str(finished / "run.toml"),
        "--out",
        str(finished),
        "--methods",
        "majority,tfidf,lora",
    ]
    assert "other texts or labels in: train, validation, test" in refusal(*again, "--data", write())
    moved = shutil.copy(tiny_file, here / "moved.csv")
    assert main([*again, "--data", str(moved)]) == 0


# ---- what fails, and who stops it


def test_a_method_that_fails_is_a_row_with_its_error_and_the_others_go_on(tiny_file, here, capsys, monkeypatch):
    monkeypatch.setitem(METHODS, "lora", spoilt("lora", MemoryError("no room for [/lora]")))
    code = main(["compare", str(tiny_file), "--methods", "lora,majority,tfidf", "--seeds", "2", "--out", "run"])
    assert code == 1
    captured = capsys.readouterr()
    assert "MemoryError: no room for [/lora]" in captured.out
    assert "Traceback" not in captured.err
    comparison = load_comparison(here / "run")
    assert {summary.method: summary.error for summary in comparison.summaries if summary.error} == {
        "lora": "MemoryError: no room for [/lora]"
    }
    assert comparison.verdict is not None
    assert comparison.verdict.method == "tfidf"
    assert "no room for" in (here / "run" / "report.md").read_text(encoding="utf-8")


def test_a_method_that_fails_as_soon_as_it_is_timed_is_a_row_too(tiny_file, here, monkeypatch):
    def fit(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setitem(METHODS, "lora", replace(METHODS["lora"], fit=fit))
    assert main(["compare", str(tiny_file), "--methods", "lora,majority", "--out", "run"]) == 1
    assert [summary.error for summary in load_comparison(here / "run").summaries] == [
        None,
        "RuntimeError: out of memory",
    ]


def test_a_run_in_which_every_method_fails_still_leaves_its_report(tiny_file, here, capsys, monkeypatch):
    monkeypatch.setitem(METHODS, "tfidf", spoilt("tfidf", MemoryError("no room")))
    assert main(["compare", str(tiny_file), "--methods", "tfidf", "--out", "run"]) == 1
    assert "nothing to ship" in capsys.readouterr().out
    assert "no room" in (here / "run" / "report.html").read_text(encoding="utf-8")
    assert main(["predict", "run", str(tiny_file)]) == 2
    assert "no method finished" in capsys.readouterr().err


def test_a_failed_method_is_tried_again(tiny_file, here, monkeypatch):
    tokens = ["compare", str(tiny_file), "--methods", "majority,tfidf", "--out", "run"]
    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "tfidf", spoilt("tfidf", MemoryError("no room")))
        assert main(tokens) == 1
    before = times(here / "run", "majority")
    assert main(tokens) == 0
    assert times(here / "run", "majority") == before
    assert not load_comparison(here / "run").results[1].failed


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_continue(tiny_file, here, capsys, monkeypatch):
    tokens = ["compare", str(tiny_file), "--methods", "majority,lora", "--seeds", "2", "--out", "run"]
    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "lora", spoilt("lora", KeyboardInterrupt(), from_seed=1))
        assert main(tokens) == 130
    printed = capsys.readouterr().out
    assert "kept in run; the same command continues it" in printed
    before = times(here / "run")
    assert set(before) == {"majority.0.json", "lora.0.json"}
    monkeypatch.setitem(METHODS, "lora", spoilt("lora", KeyboardInterrupt(), from_seed=2))
    assert main(tokens) == 0
    after = times(here / "run")
    assert set(after) == {*before, "lora.1.json"}
    assert {name: after[name] for name in before} == before


def test_a_training_that_does_not_fit_in_memory_is_one_line(tiny_file, capsys, here, monkeypatch):
    monkeypatch.setitem(METHODS, "lora", spoilt("lora", RuntimeError("can't allocate\nmemory")))
    assert main(["train", str(tiny_file), "--out", "model"]) == 1
    assert capsys.readouterr().err == "loracle: lora failed: RuntimeError: can't allocate memory\n"
    assert not (here / "model").exists()


def test_ctrl_c_in_a_training_leaves_nothing(tiny_file, capsys, here, monkeypatch):
    monkeypatch.setitem(METHODS, "lora", spoilt("lora", KeyboardInterrupt()))
    assert main(["train", str(tiny_file), "--out", "model"]) == 130
    assert capsys.readouterr().err == "Stopped.\n"
    assert not (here / "model").exists()


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


# ---- help


@pytest.mark.parametrize("command", ["", *(name for name in app if not name.startswith("-"))])
def test_every_help_has_an_example(command, capsys):
    assert main([*command.split(), "--help"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert (f"Example: loracle {command}" if command else "Start with: loracle compare") in printed


def test_the_package_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "loracle", "--help"], capture_output=True, text=True, check=True)
    assert "loracle compare" in done.stdout
    refused = subprocess.run([sys.executable, "-m", "loracle", "nope"], capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("command", ["compare", "train"])
def test_help_names_every_method(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "majority, untrained, tfidf" in shown
    assert all(name in shown for name in METHODS)
