from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

import loracle
from loracle.data.loading import load_task
from loracle.errors import ConfigError, ModelError
from loracle.inspection.description import Description

from .conftest import MakeTask

PARCEL = "the parcel was late and nobody answered my order again and the box it was in arrived broken"


@pytest.fixture(scope="module")
def found(make_task: MakeTask, tiny_base: Path) -> Description:
    """A task in which one thing of each kind is wrong."""
    train = [(f"{PARCEL} {number}<br />", "bad") for number in range(3)]
    train += [(f"lovely {word} thanks", "good") for word in ("fast", "great", "perfect", "wonderful")]
    train += [("great", "good"), ("great", "bad")]
    test = [(f"{PARCEL} 9", "bad"), ("fast friendly great", "good"), ("CAFÃ© WAS LOVELY", "good")]
    task = make_task(train, [("friendly", "good"), ("waited weeks", "bad")], test)
    return loracle.describe(task, model=str(tiny_base), max_length=16, near_threshold=0.75)


def test_classes_are_counted_by_split(found: Description) -> None:
    counts = {entry.label: dict(entry.texts) for entry in found.classes}
    assert counts == {
        "bad": {"train": 4, "validation": 1, "test": 1},
        "good": {"train": 5, "validation": 1, "test": 2},
    }
    assert (found.texts, found.sizes) == (14, {"train": 9, "validation": 2, "test": 3})
    assert next(entry for entry in found.classes if entry.label == "good").median_words == 3


def test_one_thing_of_each_kind_is_found(found: Description) -> None:
    assert (found.copies.texts, found.copies.conflicting) == (2, 2)
    assert {(overlap.split, overlap.other, overlap.texts) for overlap in found.near.overlaps} == {("test", "train", 1)}
    assert found.near.texts == 4
    assert {oddity.name: oddity.texts for oddity in found.oddities} == {
        "HTML tags": 3,
        "mojibake": 1,
        "very short": 4,
    }
    assert next(cut for cut in found.cuts if cut.max_length == 16).texts == 4


def test_findings_say_what_to_do(found: Description) -> None:
    text = "\n".join(found.findings)
    assert "2 texts stand with more than one label" in text
    assert "1 of test in train (33 % of test); keep such texts on one side" in text
    assert "29 % of the texts are cut at 16 tokens: --max-length 64 cuts 0 %." in text
    assert "HTML tags in 3 texts (21 %)" in text


def test_json_holds_every_field(found: Description) -> None:
    assert json.loads(found.to_json()) == json.loads(json.dumps(asdict(found)))
    assert set(json.loads(found.to_json())) == set(asdict(found))


def test_the_same_data_give_the_same_description(tiny_file: Path, tiny_base: Path) -> None:
    runs = [loracle.describe(load_task(tiny_file), model=str(tiny_base), max_length=32) for _ in range(2)]
    assert runs[0].to_json() == runs[1].to_json()


def test_a_split_without_texts_is_no_trouble(make_task: MakeTask, tiny_base: Path) -> None:
    task = make_task([("late again", "bad"), ("lovely", "good")])
    found = loracle.describe(task, model=str(tiny_base), max_length=16)
    assert found.sizes == {"train": 2, "validation": 0, "test": 0}


def test_stages_are_told_in_order(tiny_file: Path, tiny_base: Path) -> None:
    told: list[tuple[str, int, int]] = []
    loracle.describe(
        load_task(tiny_file), model=str(tiny_base), max_length=32, on_progress=lambda *now: told.append(now)
    )
    stages = list(dict.fromkeys(stage for stage, *_ in told))
    assert stages[:2] == ["reading", "looking for near duplicates"]
    assert all(0 < done <= total for _, done, total in told)


def test_what_cannot_be_is_refused_before_texts_are_read(
    make_task: MakeTask, tiny_base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from loracle.inspection.corpus import Corpus

    monkeypatch.setattr(Corpus, "batches", None)
    task = make_task([("late", "bad"), ("lovely", "good")])
    with pytest.raises(ConfigError, match="max_length is 512; this base model reads 64 tokens"):
        loracle.describe(task, model=str(tiny_base), max_length=512)
    with pytest.raises(ConfigError, match="max_length is 0"):
        loracle.describe(task, model=str(tiny_base), max_length=0)
    with pytest.raises(ConfigError, match="near_threshold is 2"):
        loracle.describe(task, model=str(tiny_base), max_length=32, near_threshold=2)
    with pytest.raises(ModelError, match="no base model at"):
        loracle.describe(task, model="./nowhere/at/all")
    with pytest.raises(ConfigError, match=r"allowed: a file that ends in .html or .json"):
        loracle.describe(task, model=str(tiny_base), max_length=32, out=tmp_path / "data.csv")
