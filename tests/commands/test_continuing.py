"""Options from a file, a run that goes on where it was stopped, and what fails on the way."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from loracle.cli import main
from loracle.comparison.result import load_comparison
from loracle.methods.method import Method
from loracle.methods.registry import METHODS

Write = Callable[..., Path]


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

    return replace(METHODS[name], fit=fit, sharing=None)


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

    monkeypatch.setitem(METHODS, "lora", replace(METHODS["lora"], fit=fit, sharing=None))
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
