from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

import loracle
from loracle.inspection.description import ClassCount, Cut, Description, Overlap
from loracle.inspection.findings import list_findings

from .conftest import MakeTask


@pytest.fixture(scope="module")
def plain(make_task: MakeTask, tiny_base: Path) -> Description:
    """A description of data with which nothing is wrong."""
    draws = [f"my order number {number} arrived {number * 7919 % 1000} weeks late again" for number in range(300)]
    rows = [(text, "ab"[place % 2]) for place, text in enumerate(draws)]
    task = make_task(rows[:160], rows[160:220], rows[220:])
    return loracle.describe(task, model=str(tiny_base), max_length=64)


def findings(found: Description, limit: int = 512, **changes: Any) -> tuple[str, ...]:
    changed = replace(found, **changes)
    parts = {name: getattr(changed, name) for name in asdict(changed) if name != "findings"}
    return list_findings(parts, limit)


def classes(train: tuple[int, int], test: tuple[int, int]) -> tuple[ClassCount, ...]:
    return tuple(
        ClassCount(label=label, texts={"train": a, "validation": 30, "test": b}, median_words=9, median_tokens=9)
        for label, a, b in zip(("calm", "angry"), train, test, strict=True)
    )


def cuts(**shares: float) -> tuple[Cut, ...]:
    numbers = ((int(name[1:]), share) for name, share in shares.items())
    return tuple(Cut(max_length=n, texts=round(300 * share), share=share, lost_tokens=0.1) for n, share in numbers)


def test_plain_data_give_no_finding(plain: Description) -> None:
    assert plain.findings == ()


def test_a_larger_class_is_named_with_the_metric_that_minds_it(plain: Description) -> None:
    (finding,) = findings(plain, classes=classes((800, 100), (400, 50)))
    assert finding.startswith("The largest class, 'calm', has 8 times the training texts of the smallest, 'angry'")
    assert "--metric macro_f1" in finding
    assert findings(plain, classes=classes((400, 100), (400, 100))) == ()


def test_few_test_texts_of_a_class_are_named(plain: Description) -> None:
    (finding,) = findings(plain, classes=classes((100, 100), (29, 30)))
    assert finding == "1 class has fewer than 30 test texts (fewest: 'calm', 29): what is measured there is uncertain."


def test_another_mix_of_classes_in_test_is_named(plain: Description) -> None:
    (finding,) = findings(plain, classes=classes((100, 100), (140, 60)))
    assert finding.startswith("'calm' is 50 % of train and 70 % of test")


def test_a_maximum_length_that_cuts_is_answered_by_the_first_that_does_not(plain: Description) -> None:
    shares = {"_64": 0.5, "_128": 0.12, "_256": 0.012, "_512": 0.0}
    assert findings(plain, max_length=128, cuts=cuts(**shares)) == (
        "12 % of the texts are cut at 128 tokens: --max-length 256 cuts 1.2 %.",
    )
    assert findings(plain, max_length=64, cuts=cuts(**shares)) == (
        "50 % of the texts are cut at 64 tokens: --max-length 256 cuts 1.2 %.",
    )


def test_a_maximum_length_beyond_the_base_model_is_not_recommended(plain: Description) -> None:
    shares = {"_64": 0.5, "_128": 0.12, "_256": 0.012, "_512": 0.0}
    assert findings(plain, limit=128, max_length=64, cuts=cuts(**shares)) == (
        "50 % of the texts are cut at 64 tokens: --max-length 128 cuts 12 %.",
    )
    assert findings(plain, limit=128, max_length=128, cuts=cuts(**shares)) == (
        "12 % of the texts are cut at 128 tokens: this base model reads no more.",
    )


def test_a_needlessly_large_maximum_length_is_named(plain: Description) -> None:
    assert findings(plain, max_length=256, cuts=cuts(_64=0.02, _128=0.004, _256=0.0)) == (
        "At 128 tokens 0.4 % of the texts are cut: --max-length 128 loses little and costs less.",
    )
    assert findings(plain, max_length=256, cuts=cuts(_64=0.0, _256=0.0)) == (
        "At 64 tokens no text is cut: --max-length 64 loses little and costs less.",
    )


def test_what_concerns_many_texts_comes_first(plain: Description) -> None:
    near = replace(plain.near, conflicting=1, overlaps=(Overlap(split="test", other="train", texts=40),))
    first, second = findings(plain, near=near)
    assert first.startswith("Near duplicates lie across the splits: 40 of test in train (50 % of test); keep such")
    assert second.startswith("1 text has a near duplicate with another label")


def test_a_handful_across_splits_is_said_to_be_harmless(plain: Description) -> None:
    sizes = {**plain.task, "splits": {**plain.task["splits"], "test": {**plain.task["splits"]["test"], "rows": 25_000}}}
    near = replace(plain.near, overlaps=(Overlap(split="test", other="train", texts=3),))
    (finding,) = findings(plain, task=sizes, near=near)
    assert finding.endswith("3 of test in train (below 0.1 % of test); too few to move a score by a point.")


def test_equal_texts_with_other_labels_name_what_accuracy_is_left(plain: Description) -> None:
    copies = replace(plain.copies, texts=8, conflicting=8, best_accuracy=0.975)
    (finding,) = findings(plain, copies=copies)
    assert finding == (
        "8 texts stand with more than one label, word for word the same: settle their labels. "
        "The test split allows 97.50 % accuracy at most."
    )
