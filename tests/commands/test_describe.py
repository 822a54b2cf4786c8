from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from loracle.cli import main


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder, so that the default page is made there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def test_the_terminal_ends_with_what_to_do_and_where_the_page_lies(
    tiny_file: Path, tiny_base: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["describe", str(tiny_file), "--model", str(tiny_base), "--max-length", "8"]) == 0
    printed = capsys.readouterr().out
    parts = ["reviews   train 168", "class  ", "\nwords", "\ntokens", "\nduplicates", "\nnear", "\ncharacters"]
    parts += ["What to do", "cut at 8"]
    places = [printed.index(part) for part in parts]
    assert places == sorted(places)
    assert printed.rstrip().endswith("Written: runs/reviews-description.html")
    assert (here / "runs" / "reviews-description.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert all(len(line) <= 80 for line in printed.splitlines() if not line.startswith("  "))


def test_a_run_may_go_where_the_page_lies(tiny_file: Path, tiny_base: Path, here: Path) -> None:
    assert main(["describe", str(tiny_file), "--model", str(tiny_base), "--max-length", "8"]) == 0
    assert main(["compare", str(tiny_file), "--methods", "majority", "--seeds", "1", "--model", str(tiny_base)]) == 0
    assert (here / "runs" / "reviews" / "report.html").is_file()


def test_all_values_go_to_a_json_file(tiny_file: Path, tiny_base: Path, here: Path) -> None:
    options = ["--model", str(tiny_base), "--max-length", "8", "--out", "found.json"]
    assert main(["describe", str(tiny_file), *options]) == 0
    assert main(["describe", str(tiny_file), *options]) == 0  # its own file is written over
    content = json.loads((here / "found.json").read_text(encoding="utf-8"))
    assert [cut["max_length"] for cut in content["cuts"]] == [8, 64, 128, 256, 512]
    assert content["task"]["splits"]["train"]["rows"] == 168


def test_flags_of_the_data_and_of_its_preparation_count(tiny_base: Path, here: Path) -> None:
    words = (("late", 0), ("fast", 1))
    rows = [(f"<b>{word}</b> parcel {number}", label) for number in range(20) for word, label in words]
    with (here / "own.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("words", "kind"), *rows])
    options = ["--text-column", "words", "--label-column", "kind", "--model", str(tiny_base), "--max-length", "8"]
    tags = []
    for more in ([], ["--strip-html"]):
        assert main(["describe", "own.csv", *options, *more, "--out", "found.json"]) == 0
        oddities = json.loads((here / "found.json").read_text(encoding="utf-8"))["oddities"]
        tags.append([oddity["texts"] for oddity in oddities if oddity["name"] == "HTML tags"])
    assert tags == [[40], []]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere.csv"], "nowhere.csv"),
        (["--max-length", "2"], "max_length is 2; allowed: 4 or more"),
        (["--near-threshold", "0.5"], "near_threshold is 0.5; allowed: a share from 0.7 to 1"),
        (["--out", "reviews.csv"], "--out is reviews.csv; allowed: a file that ends in .html or .json"),
        (["--out", "page.html"], "page.html is there and was not written by this command"),
        (["--out", "folder.html"], "--out is folder.html, a folder"),
        (["--model", "./nowhere/at/all"], "no base model at ./nowhere/at/all"),
        (["--model", "minilmm"], "did you mean 'minilm'?"),
        (["--nearthreshold", "0.8"], "nearthreshold"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_and_nothing_is_written(
    options: list[str], message: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "page.html").write_text("my own page", encoding="utf-8")
    (here / "folder.html").mkdir()
    assert main(["describe", *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert sorted(path.name for path in here.iterdir()) == ["folder.html", "page.html"]
    assert (here / "page.html").read_text(encoding="utf-8") == "my own page"


def test_labels_that_are_too_rare_to_split_are_noted_and_not_refused(tmp_path: Path, capsys) -> None:
    lines = [f"order {number} came late again,bad" for number in range(12)]
    lines += [f"order {number} was lovely and fast,good" for number in range(12)] + ["never seen before,odd"]
    (tmp_path / "raw.csv").write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    assert main(["describe", str(tmp_path / "raw.csv"), "--out", str(tmp_path / "page.html")]) == 0
    assert "'odd' (1)" in " ".join(capsys.readouterr().out.split())
