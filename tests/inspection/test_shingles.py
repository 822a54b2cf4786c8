from __future__ import annotations

import random

import numpy as np
import pytest

from loracle.inspection.shingles import (
    SIGNATURE,
    WordHashes,
    empty_minhash,
    jaccard,
    shingle,
    sign,
    split_words,
)


def test_case_and_punctuation_make_no_difference() -> None:
    assert split_words("“Late, AGAIN!” – said she…") == split_words("late again said she")
    assert split_words("Don’t don't") == ["dont", "dont"]


def test_letters_of_languages_without_blanks_are_words() -> None:
    assert split_words("東京都は") == list("東京都は")
    assert len(split_words("สวัสดี")) == 6
    assert split_words("한국어 텍스트") == ["한국어", "텍스트"]


def test_marks_and_joiners_stay_inside_a_word() -> None:
    assert len(split_words("हिन्दी भाषा")) == 2
    assert len(split_words("می\u200cخواهم")) == 1
    assert split_words("!!! … ?") == []


@pytest.mark.parametrize(("words", "shingles"), [(0, 0), (1, 1), (2, 1), (3, 1), (4, 2), (50, 48)])
def test_a_text_has_a_shingle_for_every_three_words(words: int, shingles: int) -> None:
    assert len(shingle([f"w{number}" for number in range(words)], WordHashes())) == shingles


def test_shingles_tell_the_order_of_words() -> None:
    hashes = WordHashes()
    orders = [["a", "b", "c"], ["a", "c", "b"], ["b", "a", "c"], ["c", "b", "a"], ["a", "b"], ["b", "a"], ["b"]]
    assert len({int(shingle(order, hashes)[0]) for order in orders}) == len(orders)


def test_similarity_is_that_of_the_sets_of_word_triples() -> None:
    draw, hashes = random.Random(1), WordHashes()
    for _ in range(30):
        texts = [[f"w{draw.randrange(12)}" for _ in range(draw.randrange(3, 60))] for _ in range(2)]
        triples = [set(zip(words, words[1:], words[2:], strict=False)) for words in texts]
        expected = len(triples[0] & triples[1]) / len(triples[0] | triples[1])
        ours = jaccard(*(np.unique(shingle(words, hashes)) for words in texts))
        assert ours == pytest.approx(expected)


def test_signatures_estimate_the_similarity() -> None:
    draw, hashes, minhash = random.Random(2), WordHashes(), empty_minhash()
    errors = []
    for _ in range(60):
        words = [f"w{draw.randrange(5000)}" for _ in range(200)]
        other = [word if draw.random() > 0.05 else "changed" for word in words]
        sets = [shingle(each, hashes) for each in (words, other)]
        estimate = float((sign(sets[0], minhash) == sign(sets[1], minhash)).mean())
        errors.append(estimate - jaccard(*map(np.unique, sets)))
    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 2 * 0.5 / SIGNATURE**0.5


def test_forgotten_words_are_hashed_alike_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from loracle.inspection import shingles as module

    words = [f"w{number % 40}" for number in range(400)]
    expected = shingle(words, WordHashes())
    monkeypatch.setattr(module, "_KNOWN_WORDS", 10)
    assert shingle(words, WordHashes()).tolist() == expected.tolist()


def test_a_long_text_is_signed_in_parts_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    from loracle.inspection import shingles as module

    shingles = shingle([f"w{number}" for number in range(1000)], WordHashes())
    expected = sign(shingles, empty_minhash()).tolist()
    monkeypatch.setattr(module, "_HASHED_AT_ONCE", 64)
    assert sign(shingles, empty_minhash()).tolist() == expected
