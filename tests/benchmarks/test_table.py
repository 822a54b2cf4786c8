"""The README's table is a pure function of the results, and finds its place between two markers."""

import json
from pathlib import Path

import pytest

from benchmarks.results import load_reports
from benchmarks.table import END, NOTHING, README, START, render_table, replace_marked, write_table

CIRCUMSTANCES = {
    "date": "2026-11-26T10:00:00+00:00",
    "load": 0.1,
    "threads": 2,
    "versions": {"python": "3.11.7", "torch": "2.13.0", "transformers": "5.23.0", "peft": "0.21.0"},
    "commit": "abc1234",
    "others": 0.04,
}


def side(name: str, *readings: float) -> dict[str, object]:
    return {"name": name, "how": "", "readings": readings}


def row(name: str, title: str, unit: str, target: dict[str, float] | None, *sides: object) -> dict[str, object]:
    ours, *others = sides
    return {
        **{"row": name, "title": title, "unit": unit, "target": target, "ours": ours, "others": others},
        **{"notes": [], "settings": {}, "circumstances": CIRCUMSTANCES},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Results of one machine, as they lie in benchmarks/results."""
    rows = [
        row("w-documented", "LoRA", "texts/s", {"at_least": 10, "at_most": None},
            side("Loracle", 30.0, 33.0, 36.0), side("PEFT + Trainer", 3.0, 3.0, 3.0)),
        row("w-memory", "memory", "bytes", {"at_least": None, "at_most": 0.4},
            side("Loracle", 1.2e9, 1.2e9), side("PEFT + Trainer", 2.4e9, 2.4e9)),
    ]  # fmt: skip
    content = {"machine": {"processor": "AMD EPYC", "cores": 2, "gpu": None}, "results": rows, "quality": None}
    (tmp_path / "amd-epyc-2-cores.json").write_text(json.dumps(content), encoding="utf-8")
    return tmp_path


def test_table_holds_medians_spread_target_and_whether_it_was_reached(folder: Path) -> None:
    assert render_table(load_reports(folder)) == (
        "AMD EPYC, 2 cores; 2 threads; other programs on 0.0 cores at most; "
        "Python 3.11.7, torch 2.13.0, transformers 5.23.0, PEFT 0.21.0; commit `abc1234`; 26 November 2026; "
        "medians over rounds in turns; the ratio is the median of the rounds' own, and their spread.\n\n"
        "| what | Loracle | beside it | ratio | target | reached |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        "| LoRA | 33 texts/s | 3 texts/s: PEFT + Trainer | 11 [10, 12] | at least 10 | yes |\n"
        "| memory | 1.2 GB | 2.4 GB: PEFT + Trainer | 0.5 [0.5, 0.5] | at most 0.4 | no |"
    )


def test_accuracy_stands_below_the_table(folder: Path) -> None:
    path = folder / "amd-epyc-2-cores.json"
    quality = {
        "fast": 0.867,
        "reference": 0.866,
        "difference": {"value": 0.001, "low": -0.003, "high": 0.005},
        "verdict": "not worse by 0.5 point",
        "how": "bf16",
        "test_texts": 2000,
        "asked": {"texts": 4000, "epochs": 2, "seeds": 3, "test_texts": 2000, "max_length": 256},
        "circumstances": CIRCUMSTANCES,
    }
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "quality": quality}), encoding="utf-8")
    assert render_table(load_reports(folder)).splitlines()[-1] == (
        "Accuracy after 2 epochs of LoRA on 4,000 texts of 256 tokens, over 3 seeds and 2,000 test texts: 86.7% by the "
        "fast path (bf16), 86.6% by the float32 reference, +0.10 points [-0.30, +0.50]: not worse by 0.5 point."
    )


def test_without_results_it_is_said_that_there_are_none() -> None:
    assert render_table([]) == NOTHING


def test_the_table_replaces_the_old_one_and_nothing_else(tmp_path: Path, folder: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"# A\n\n{START}\nold\n{END}\n\nmore\n", encoding="utf-8")
    write_table(load_reports(folder), page)
    once = page.read_text(encoding="utf-8")
    write_table(load_reports(folder), page)
    assert page.read_text(encoding="utf-8") == once
    assert once.startswith(f"# A\n\n{START}\n\nAMD EPYC")
    assert once.endswith(f"| no |\n\n{END}\n\nmore\n")


@pytest.mark.parametrize("text", ["", START, f"{END} {START}", f"{START} {END} {START} {END}"])
def test_markers_that_are_not_there_once_each_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="once each"):
        replace_marked(text, "table")


def test_the_readme_has_both_markers() -> None:
    assert f"{START}\n\na table\n\n{END}" in replace_marked(README.read_text(encoding="utf-8"), "a table")
