from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loracle.inspection import corpus as corpus_module
from loracle.inspection import measuring
from loracle.inspection.corpus import Corpus
from loracle.inspection.measuring import Measures, measure_texts, token_counter
from loracle.models.loading import load_tokenizer

from .conftest import MakeTask

TEXTS = ["the parcel was late", "awful, awful " * 60, "Nobody answered!", "  the parcel was late\n", "?!"]


def measure(make_task: MakeTask, base: Path, texts: list[str]) -> Measures:
    rows = [(text, "ab"[place % 2]) for place, text in enumerate(texts)]
    return measure_texts(Corpus(make_task(rows)), load_tokenizer(str(base)), lambda *_: None)


def test_tokens_are_those_of_the_tokenizer_uncut(make_task: MakeTask, tiny_base: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_base))
    tokenizer.backend_tokenizer.enable_truncation(16)  # as a checkpoint's tokenizer.json may have it
    tokenizer.backend_tokenizer.enable_padding(length=32)
    counted = token_counter(tokenizer)(TEXTS)
    assert tokenizer.backend_tokenizer.truncation["max_length"] == 16
    tokenizer.model_max_length = 10**6
    assert counted == [len(ids) for ids in tokenizer(TEXTS)["input_ids"]]
    assert max(counted) > 120


def test_equal_texts_have_equal_keys_blanks_around_them_aside(make_task: MakeTask, tiny_base: Path) -> None:
    keys = measure(make_task, tiny_base, TEXTS).keys
    assert keys[0] == keys[3]
    assert len(set(keys.tolist())) == 4


def test_words_are_counted_without_punctuation(make_task: MakeTask, tiny_base: Path) -> None:
    assert measure(make_task, tiny_base, TEXTS).words.tolist() == [4, 120, 2, 4, 0]


def test_measures_do_not_depend_on_the_batches(
    make_task: MakeTask, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = measure(make_task, tiny_base, TEXTS * 5)
    monkeypatch.setattr(corpus_module, "_BATCH_ROWS", 3)
    found = measure(make_task, tiny_base, TEXTS * 5)
    for name, values in vars(expected).items():
        assert np.array_equal(getattr(found, name), values), name


def test_a_giant_text_is_measured_by_its_beginning(
    make_task: MakeTask, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "READ_CHARACTERS", 30)
    found = measure(make_task, tiny_base, ["late " * 1000, "late " * 2000])
    assert found.words.tolist() == [6, 6]
    assert found.tokens.tolist() == [8, 8]
    assert found.keys[0] != found.keys[1]


def test_progress_ends_at_all_rows(make_task: MakeTask, tiny_base: Path) -> None:
    told: list[tuple[str, int, int]] = []
    rows = [(f"parcel {number}", "ab"[number % 2]) for number in range(1300)]
    measure_texts(Corpus(make_task(rows)), load_tokenizer(str(tiny_base)), lambda *now: told.append(now))
    assert [done for _, done, _ in told] == [512, 1024, 1300]
    assert {total for *_, total in told} == {1300}
