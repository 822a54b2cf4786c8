"""`loracle errors`, used by a hurried and by a hostile person."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from loracle.cli import main
from loracle.comparison.result import load_comparison
from loracle.methods.registry import METHODS

Refusal = Callable[..., str]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the embedded data."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    assert main(["compare", "--methods", "majority,tfidf", "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def run(begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run in an empty folder, in which the test stands."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(begun, tmp_path / "run"))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_without_options_both_files_lie_in_the_run_and_the_terminal_counts(run: Path, capsys) -> None:
    assert main(["errors", str(run)]) == 0
    printed = capsys.readouterr().out
    wrong = [row for row in rows(run / "errors.csv") if row["kind"] == "wrong"]
    assert f"tfidf gets {len(wrong)} of 270 test texts wrong" in printed
    assert "Seed 0." in " ".join(printed.split())
    assert f"row {wrong[0]['id']}: {wrong[0]['label']} read as {wrong[0]['predicted_tfidf']}" in printed
    assert printed.count("\nrow ") == 10
    assert (run / "errors.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert printed.rstrip().endswith(f"{run / 'errors.csv'} {run / 'errors.html'}")


def test_the_mistakes_are_as_many_as_the_accuracy_says(run: Path) -> None:
    assert main(["errors", str(run), "--out", "errors.csv"]) == 0
    comparison = load_comparison(run)
    (result,) = [result for result in comparison.results if result.method == "tfidf"]
    wrong = [row for row in rows(Path("errors.csv")) if row["kind"] == "wrong"]
    assert len(wrong) == round((1 - result.metrics["accuracy"]) * 270)
    assert all(row["label"] != row["predicted_tfidf"] for row in wrong)
    assert not (run / "errors.csv").exists()


def test_a_method_and_a_pair_can_be_named(run: Path) -> None:
    tokens = ["errors", str(run), "--method", "majority", "--methods-pair", "majority", "tfidf", "--out", "e.csv"]
    assert main(tokens) == 0
    kinds = {row["kind"]: row["methods"] for row in rows(Path("e.csv"))}
    assert kinds == {"wrong": "majority", "disagree": "majority, tfidf"}


def test_the_page_holds_so_many_rows_as_asked(run: Path) -> None:
    assert main(["errors", str(run), "--rows", "3", "--out", "few.html"]) == 0
    page = Path("few.html").read_text(encoding="utf-8")
    assert page.count("<li data-ranks=") <= 3 * 3
    assert "the first 3 of them (--rows" in page


def test_running_it_again_writes_the_same_files_over(run: Path) -> None:
    assert main(["errors", str(run)]) == 0
    first = [(run / name).read_bytes() for name in ("errors.csv", "errors.html")]
    assert main(["errors", str(run)]) == 0
    assert [(run / name).read_bytes() for name in ("errors.csv", "errors.html")] == first


def test_what_is_no_finished_run_is_refused(run: Path, refusal: Refusal, tmp_path: Path) -> None:
    assert "`loracle compare --out` wrote" in refusal("errors", "nowhere")
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    assert "`loracle compare --out` wrote" in refusal("errors", tmp_path / "notes.txt")
    (run / "comparison.json").unlink()
    assert "is not finished; `loracle compare --config" in refusal("errors", run)


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (["--method", "tfdif"], "did you mean 'tfidf'? Known: majority, tfidf"),
        (["--method", "lora"], "unknown method of run: 'lora'"),
        (["--methods-pair", "tfidf", "tfidf"], "two different methods of tfidf, majority"),
        (["--methods-pair", "tfidf"], "--methods-pair"),
        (["--seed", "4"], "seed is 4; allowed, as in run: 0"),
        (["--rows", "0"], "rows is 0; allowed: 1 or more"),
        (["--out", "errors.txt"], "ends in .html or .csv"),
        (["--out", "run"], "a folder; give a file"),
        (["--data", "nowhere.csv"], "nowhere.csv"),
        (["--metod", "tfidf"], "--method"),
    ],
    ids=lambda item: " ".join(item) if isinstance(item, list) else "",
)
def test_a_bad_name_or_value_is_one_line(run: Path, refusal: Refusal, tokens: list[str], said: str) -> None:
    assert said in refusal("errors", "run", *tokens)


def test_a_foreign_file_is_not_written_over_nor_half_of_the_two(run: Path, refusal: Refusal, tmp_path: Path) -> None:
    (tmp_path / "thesis.html").write_text("<title>Years of work</title>", encoding="utf-8")
    assert "was not written by this command" in refusal("errors", run, "--out", "thesis.html")
    (run / "errors.html").write_text("<title>Mine</title>", encoding="utf-8")
    assert "errors.html is there and was not written" in refusal("errors", run)


def test_the_data_file_itself_is_not_written_over(refusal: Refusal, tmp_path: Path, tiny_file: Path) -> None:
    data, folder = shutil.copy(tiny_file, tmp_path / "reviews.csv"), tmp_path / "own"
    assert main(["compare", str(data), "--methods", "tfidf", "--out", str(folder)]) == 0
    assert "was not written by this command" in refusal("errors", folder, "--out", data)


def test_data_that_changed_or_is_gone_is_refused_and_can_be_named(
    refusal: Refusal, tmp_path: Path, tiny_file: Path
) -> None:
    data, folder = Path(shutil.copy(tiny_file, tmp_path / "reviews.csv")), tmp_path / "own"
    assert main(["compare", str(data), "--methods", "tfidf", "--out", str(folder)]) == 0
    text = data.read_text(encoding="utf-8")
    data.write_text(text.replace("shop", "store"), encoding="utf-8")
    assert "reviews.csv is not the data of" in refusal("errors", folder)
    data.unlink()
    assert "cannot be loaded again" in refusal("errors", folder)
    (tmp_path / "moved.csv").write_text(text, encoding="utf-8")
    assert main(["errors", str(folder), "--data", str(tmp_path / "moved.csv")]) == 0


def test_a_method_that_failed_is_refused(
    refusal: Refusal, tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(*_: object, **__: object) -> None:
        raise MemoryError("no room")

    folder = tmp_path / "failed"
    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "tfidf", replace(METHODS["tfidf"], fit=fit))
        assert main(["compare", str(tiny_file), "--methods", "tfidf,majority", "--out", str(folder)]) == 1
    assert "'tfidf' failed in" in refusal("errors", folder, "--method", "tfidf")
    assert main(["errors", str(folder)]) == 0


def test_hostile_labels_and_texts_go_through(tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    labels = ["</script><script>alert(1)</script>", "[/red] :smile:", "größe 日本 🙂"]
    with Path("my data.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        for row in range(90):
            writer.writerow((f"=1+1 </li><script>alert({row})</script> [/bold] {row % 7}", labels[row % 3]))
    assert main(["compare", "my data.csv", "--methods", "majority,tfidf", "--out", "[/red] a run"]) == 0
    assert main(["errors", "[/red] a run"]) == 0
    assert "[/red] a run/errors.html" in capsys.readouterr().out
    page = Path("[/red] a run/errors.html").read_text(encoding="utf-8")
    assert "<script>alert(" not in page
    assert {row["label"] for row in rows(Path("[/red] a run/errors.csv"))} == set(labels)
