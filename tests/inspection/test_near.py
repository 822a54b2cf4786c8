from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from loracle.data.cleaning import text_key
from loracle.data.task import Task
from loracle.errors import ConfigError
from loracle.inspection import corpus as corpus_module
from loracle.inspection.copies import group_copies
from loracle.inspection.corpus import Corpus
from loracle.inspection.description import Overlap
from loracle.inspection.measuring import Measures
from loracle.inspection.near import Near, check_threshold, find_near, summarise_near
from loracle.inspection.shingles import WordHashes, empty_minhash, shingle, sign, split_words

from .conftest import MakeTask


def look(task: Task, threshold: float = 0.8) -> Near:
    """Find the near duplicates of a task, without a tokenizer."""
    corpus = Corpus(task)
    texts = [text for _, batch in corpus.batches() for text in batch.to_pylist()]
    hashes, minhash = WordHashes(), empty_minhash()
    words = [split_words(text) for text in texts]
    measures = Measures(
        keys=np.array([text_key(text) for text in texts], np.uint64),
        words=np.array([len(each) for each in words], np.int32),
        tokens=np.zeros(len(texts), np.int32),
        marks=np.zeros(len(texts), np.uint16),
        signatures=np.stack([sign(shingle(each, hashes), minhash) for each in words]),
    )
    return find_near(corpus, measures, group_copies(corpus, measures.keys), threshold, lambda *_: None)


def pairs_of(near: Near) -> dict[tuple[int, int], float]:
    rows = near.units.rows
    left, right = rows[near.pairs.left], rows[near.pairs.right]
    ordered = zip(np.minimum(left, right).tolist(), np.maximum(left, right).tolist(), strict=True)
    return dict(zip(ordered, near.pairs.jaccard.tolist(), strict=True))


def by_hand(texts: list[str], threshold: float) -> dict[tuple[int, int], float]:
    """Compare every text with every other, by sets of word triples."""
    words = [text.lower().split() for text in texts]
    sets = [set(zip(each, each[1:], each[2:], strict=False)) for each in words]
    shares = {
        (one, other): len(sets[one] & sets[other]) / len(sets[one] | sets[other])
        for one, other in itertools.combinations(range(len(texts)), 2)
    }
    return {pair: share for pair, share in shares.items() if share >= threshold}


def edited(words: list[str], draw: random.Random) -> list[str]:
    """Return the words with a few replaced, dropped or added, or with an end cut off."""
    words = list(words)
    for _ in range(draw.randrange(1, 7)):
        place = draw.randrange(len(words))
        words[place : place + draw.randrange(2)] = [f"new{draw.randrange(10**6)}"] * draw.randrange(2)
    return words[: len(words) - draw.randrange(8)]


def synthetic(seed: int) -> list[str]:
    """Return 400 texts in families of one to four, with everything between unlike and nearly equal in them."""
    draw = random.Random(seed)
    texts: list[str] = []
    while len(texts) < 400:
        words = [f"w{int(draw.paretovariate(0.6)) % 3000}" for _ in range(draw.randrange(20, 150))]
        texts += [" ".join(words), *(" ".join(edited(words, draw)) for _ in range(draw.randrange(4)))]
    return list(dict.fromkeys(texts))


@pytest.mark.parametrize("threshold", [0.7, 0.8, 0.9])
def test_what_is_found_is_what_comparing_all_pairs_finds(make_task: MakeTask, threshold: float) -> None:
    expected, found = {}, {}
    for seed in range(3):
        texts = synthetic(seed)
        near = look(make_task([(text, "ab"[place % 2]) for place, text in enumerate(texts)]), threshold)
        expected |= {(seed, *pair): share for pair, share in by_hand(texts, threshold).items()}
        found |= {(seed, *pair): share for pair, share in pairs_of(near).items()}
    assert len(expected) > 100
    assert all(found[pair] == pytest.approx(expected[pair]) for pair in found)  # so nothing is found that is not near
    assert len(found) >= 0.99 * len(expected)


def test_case_and_punctuation_make_near_duplicates_and_copies_are_none(make_task: MakeTask) -> None:
    rows = [("It never came, again.", "a"), ("it never came AGAIN", "a"), ("It never came, again.", "a"), ("else", "b")]
    near = look(make_task(rows))
    assert pairs_of(near) == {(0, 1): 1.0}
    assert summarise_near(near).texts == 3  # both copies of the first, and the second


def test_texts_without_a_word_are_no_near_duplicates(make_task: MakeTask) -> None:
    near = look(make_task([("!!!", "a"), ("???", "b"), ("…", "a")]))
    assert (len(near.pairs), summarise_near(near).texts) == (0, 0)


def test_splits_and_labels_of_partners_are_counted(make_task: MakeTask) -> None:
    base = " ".join(f"word{number}" for number in range(60))
    other = " ".join(f"else{number}" for number in range(60))
    task = make_task(
        [(base, "a"), (other, "b"), ("unlike the rest", "b")],
        [(f"{other} more", "b")],
        [(f"{base} again", "b"), (f"{base} twice", "a"), ("nothing like it", "a")],
    )
    near = summarise_near(look(task))
    assert near.overlaps == (
        Overlap(split="validation", other="train", texts=1),
        Overlap(split="test", other="train", texts=2),
    )
    assert near.texts == 5
    assert near.conflicting == 3  # "again" is b, the two that it is near to are a
    assert {near.examples[0].left.label, near.examples[0].right.label} == {"a", "b"}
    assert [near.examples[0].left.split, near.examples[0].right.split] == ["train", "test"]


def test_a_letter_sent_three_thousand_times_costs_few_pairs_and_hides_nobody(make_task: MakeTask) -> None:
    letter = " ".join(f"word{number}" for number in range(80))
    draw = random.Random(5)
    rows = [(f"{letter} number {draw.randrange(10**9)}", "a") for _ in range(3000)]
    apart = [(" ".join(f"own{number}" for number in range(40)) + end, "a") for end in (" one", " two")]
    task = make_task([*rows[:2000], *apart, ("unlike", "b")], rows[2000:2500], rows[2500:])
    near = look(task)
    found = summarise_near(near)
    assert found.texts == 3002
    assert found.overlaps[1:] == (
        Overlap(split="test", other="train", texts=500),
        Overlap(split="test", other="validation", texts=500),
    )
    assert len(near.pairs) < 3000 * 3 * 8


def test_a_pair_is_found_among_many_that_share_a_letterhead(make_task: MakeTask) -> None:
    letterhead = " ".join(f"head{number}" for number in range(80))
    draw = random.Random(6)
    own = [" ".join(f"own{draw.randrange(10**6)}" for _ in range(17)) for _ in range(1500)]
    texts = [f"{letterhead} {end}" for end in own] + [f"{letterhead} {end} again" for end in own[:40]]
    task = make_task([(text, "ab"[place % 2]) for place, text in enumerate(texts)])
    assert 0.6 < next(iter(by_hand(texts[:2], 0).values())) < 0.72
    assert pairs_of(look(task)).keys() == {(place, 1500 + place) for place in range(40)}


def test_a_few_odd_labels_in_a_large_group_are_all_seen(make_task: MakeTask) -> None:
    letter = " ".join(f"word{number}" for number in range(80))
    rows = [(f"{letter} number {number}", "odd" if number % 100 == 7 else "usual") for number in range(1000)]
    near = look(make_task(rows))
    differ = near.units.labels[near.pairs.left] != near.units.labels[near.pairs.right]
    seen = set(near.pairs.left[differ]) | set(near.pairs.right[differ])
    assert {int(near.units.rows[unit]) for unit in seen} >= {number for number in range(1000) if number % 100 == 7}


def test_the_result_does_not_depend_on_how_texts_are_read(make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    from loracle.inspection import candidates, near

    texts = synthetic(9)
    task = make_task([(text, "ab"[place % 2]) for place, text in enumerate(texts)])
    expected = pairs_of(look(task))
    monkeypatch.setattr(corpus_module, "_BATCH_ROWS", 13)
    monkeypatch.setattr(candidates, "_AT_ONCE", 7)
    monkeypatch.setattr(near, "_PAIRS_AT_ONCE", 5)
    assert pairs_of(look(task)) == expected


def test_no_text_is_shown_in_two_examples(make_task: MakeTask) -> None:
    letter = " ".join(f"word{number}" for number in range(80))
    near = summarise_near(look(make_task([(f"{letter} {number}", "ab"[number % 2]) for number in range(50)])))
    rows = [side.row for pair in near.examples for side in (pair.left, pair.right)]
    assert len(near.examples) == 8
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("threshold", [0.0, 0.69, 1.01, float("nan")])
def test_a_threshold_that_signatures_do_not_reach_is_refused(threshold: float) -> None:
    with pytest.raises(ConfigError, match=r"near_threshold is .*; allowed: a share from 0\.7 to 1"):
        check_threshold(threshold)
