"""A result says the same after it was written and read, and the least favourable side is the one that counts."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.results import Report, Result, Side, Target, load_report, load_reports, save_report

CIRCUMSTANCES = {
    "date": "2026-11-26T10:00:00+00:00",
    "load": 0.1,
    "threads": 2,
    "versions": {"python": "3.11.7", "torch": "2.13.0", "peft": "0.21.0"},
    "commit": "abc1234",
    "others": 0.04,
}
RESULT = Result(
    row="w-tuned",
    title="LoRA on MiniLM",
    unit="texts/s",
    target=Target(at_least=3),
    ours=Side(name="Loracle", how="fp32", readings=(24.0, 26.0, 25.0)),
    others=(Side(name="slow", readings=(4.0, 4.0, 4.0)), Side(name="fast", readings=(8.0, 8.0, 8.0))),
    settings={"rounds": 3},
    circumstances=CIRCUMSTANCES,
)


def test_the_fastest_other_side_counts_where_more_is_better() -> None:
    assert RESULT.toughest.name == "fast"
    assert (RESULT.ratio, RESULT.reached) == (25 / 8, True)


def test_the_smallest_other_side_counts_where_less_is_better() -> None:
    smaller = replace(RESULT, target=Target(at_most=0.4))
    assert smaller.toughest.name == "slow"
    assert smaller.reached is False


@pytest.mark.parametrize(("target", "reached"), [(3.126, False), (3.125, True)])
def test_a_target_is_reached_where_the_median_is_there(target: float, reached: bool) -> None:
    assert replace(RESULT, target=Target(at_least=target)).reached is reached


def test_a_report_is_the_same_after_it_was_written(tmp_path: Path) -> None:
    report = Report(name="a-machine", machine={"processor": "A", "cores": 2, "gpu": None}, results=(RESULT,))
    save_report(report, tmp_path)
    assert load_report("a-machine", report.machine, tmp_path) == report
    assert load_reports(tmp_path) == [report]


def test_a_row_that_is_measured_again_takes_the_place_of_the_old_one() -> None:
    report = Report(name="a", machine={}).with_result(RESULT, ["w-documented", "w-tuned"])
    report = report.with_result(replace(RESULT, row="w-documented"), ["w-documented", "w-tuned"])
    report = report.with_result(replace(RESULT, title="again"), ["w-documented", "w-tuned"])
    assert [(item.row, item.title) for item in report.results] == [
        ("w-documented", "LoRA on MiniLM"),
        ("w-tuned", "again"),
    ]
