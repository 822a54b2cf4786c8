"""`loracle compare-runs`, used by a hurried and by a hostile person."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from loracle.cli import main
from loracle.comparison.result import load_comparison
from loracle.reporting import figures

Refusal = Callable[..., str]


@pytest.fixture(scope="module")
def begun(tiny_file: Path, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two finished runs, made with ranks 2 and 4 and two seeds."""
    place = tmp_path_factory.mktemp("begun")
    small = ["--model", str(tiny_base), "--max-length", "24", "--epochs", "1", "--learning-rates", "1"]
    for rank in ("2", "4"):
        tokens = ["compare", str(tiny_file), *small, "--precision", "fp32", "--methods", "tfidf,lora"]
        assert main([*tokens, "--seeds", "2", "--rank", rank, "--out", str(place / f"rank{rank}")]) == 0
    return place


@pytest.fixture
def here(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with a copy of both runs, in which the test stands."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_one_method_of_two_ranks_is_laid_side_by_side(here: Path, capsys) -> None:
    assert main(["compare-runs", "rank2", "rank4", "--methods", "lora", "--out", "ranks.html"]) == 0
    printed = capsys.readouterr().out
    page, document = (Path(f"ranks.{suffix}").read_text(encoding="utf-8") for suffix in ("html", "md"))
    for name in ("rank2", "rank4"):
        summary = next(item for item in load_comparison(here / name).summaries if item.method == "lora")
        for text in (printed, page.replace("\N{NO-BREAK SPACE}", " "), document.replace("\\", "")):
            assert figures.metric_interval("accuracy", summary.metrics["accuracy"]) in text
            assert figures.count(summary.counts.adapter) in text
    assert "rank4 (lora) is" in " ".join(printed.split())
    assert "× 2.0" in printed
    assert "Options that differ" in document
    assert "| rank | 2 | 4 |" in document
    assert "Page: ranks.html   Markdown: ranks.md" in printed


def test_without_out_nothing_is_written(here: Path, capsys) -> None:
    before = sorted(here.rglob("*"))
    assert main(["compare-runs", "rank2", "rank4"]) == 0
    assert sorted(here.rglob("*")) == before
    assert "accuracy, %" in capsys.readouterr().out


def test_each_run_can_contribute_another_method(here: Path, capsys) -> None:
    assert main(["compare-runs", "rank2", "rank4", "--methods", "tfidf", "lora"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "rank2 (tfidf)" in printed
    assert "rank4 (lora)" in printed


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        ([], "no run is given"),
        (["rank2"], "only rank2 is given"),
        (["rank2", "rank4", "./rank2"], "rank2 is given twice"),
        (["rank2", "nowhere"], "no such folder: nowhere"),
        (["rank2", "rank4", "--methods", "lore"], "did you mean 'lora'? Known: lora, tfidf"),
        (["rank2", "rank4", "--methods", "lora,tfidf,lora"], "3 methods given (lora, tfidf, lora) for 2 runs"),
        (["rank2", "rank4", "--out", "side.csv"], "ends in .html or .md"),
        (["rank2", "rank4", "--out", "rank2"], "a folder; give a file"),
        (["rank2", "rank4", "--ouut", "x"], "--out"),
    ],
    ids=lambda item: " ".join(item) if isinstance(item, list) else "",
)
@pytest.mark.usefixtures("here")
def test_bad_input_is_one_line(refusal: Refusal, tokens: list[str], said: str) -> None:
    assert said in refusal("compare-runs", *tokens)


def test_an_unfinished_run_is_refused_with_the_command_that_continues_it(refusal: Refusal, here: Path) -> None:
    (here / "rank4" / "comparison.json").unlink()
    assert "the run in rank4 is not finished; `loracle compare --config" in refusal("compare-runs", "rank2", "rank4")


def test_runs_on_other_texts_are_refused_with_their_hashes(refusal: Refusal, here: Path, tiny_file: Path) -> None:
    tokens = ["compare", str(tiny_file), "--methods", "tfidf", "--max-test", "20", "--out", "small"]
    assert main(tokens) == 0
    hashes = {name: load_comparison(here / name).ledger["splits"]["test"] for name in ("rank2", "small")}
    error = refusal("compare-runs", "rank2", "small")
    assert all(f"{name} {digest}" in error for name, digest in hashes.items())


def test_foreign_files_are_not_written_over(refusal: Refusal, here: Path) -> None:
    (here / "README.md").write_text("# Years of work", encoding="utf-8")
    assert "README.md is there and was not written" in refusal("compare-runs", "rank2", "rank4", "--out", "README.html")
    report = here / "rank2" / "report.html"
    assert "report.html is there and was not written" in refusal("compare-runs", "rank2", "rank4", "--out", report)


def test_predictions_that_are_gone_are_told(refusal: Refusal, here: Path) -> None:
    (here / "rank4" / "predictions" / "lora.1.parquet").unlink()
    assert "lora.1.parquet cannot be read" in refusal("compare-runs", "rank2", "rank4", "--methods", "lora")
