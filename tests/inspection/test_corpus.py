from __future__ import annotations

import numpy as np
import pytest

from loracle.inspection import corpus as module
from loracle.inspection.corpus import Corpus

from .conftest import MakeTask

TRAIN = [(f"train {number}", "a") for number in range(7)]
VALIDATION = [(f"validation {number}", "b") for number in range(2)]
TEST = [(f"test {number}", "a") for number in range(3)]


def test_batches_yield_every_text_once_in_order(make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH_ROWS", 2)
    corpus = Corpus(make_task(TRAIN, VALIDATION, TEST))
    read = [(start + place, text) for start, texts in corpus.batches() for place, text in enumerate(texts.to_pylist())]
    assert read == list(enumerate(text for text, _ in [*TRAIN, *VALIDATION, *TEST]))
    assert len(corpus) == 12


def test_rows_are_read_in_the_order_asked_for(make_task: MakeTask) -> None:
    corpus = Corpus(make_task(TRAIN, VALIDATION, TEST))
    assert corpus.read(np.array([11, 0, 8, 0])) == ["test 2", "train 0", "validation 1", "train 0"]
    assert corpus.read(np.array([], np.int64)) == []


def test_a_row_is_named_by_its_split_and_the_number_in_its_source(make_task: MakeTask) -> None:
    corpus = Corpus(make_task(TRAIN, VALIDATION, TEST, first_id=100))
    assert corpus.locate(0) == ("train", 100)
    assert corpus.locate(8) == ("validation", 101)
    assert corpus.locate(11) == ("test", 102)


def test_a_batch_of_long_texts_is_cut_by_its_bytes(make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH_BYTES", 1000)
    corpus = Corpus(make_task([("x" * 400, "a"), ("y" * 5000, "b"), *(("z" * 10, "a") for _ in range(30))]))
    batches = [texts.to_pylist() for _, texts in corpus.batches()]
    assert [text for texts in batches for text in texts] == corpus.read(np.arange(32))
    assert all(sum(map(len, texts)) - max(map(len, texts)) <= 1000 for texts in batches)
    assert len(batches) > 1


def test_an_empty_split_has_no_batches(make_task: MakeTask) -> None:
    assert len(Corpus(make_task(TRAIN))) == 7
    assert sum(len(texts) for _, texts in Corpus(make_task(TRAIN)).batches()) == 7
