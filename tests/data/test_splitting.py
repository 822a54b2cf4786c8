import numpy as np
import pytest

from loracle.data.splitting import (
    Part,
    allot,
    conflicts,
    distinct_per_label,
    divide,
    repeats,
    subsample,
    without_texts_of,
)

SHARES = (0.7, 0.15, 0.15)


def make_part(labels, keys=None) -> Part:
    labels = np.asarray(labels, np.int64)
    keys = np.arange(len(labels)) if keys is None else keys
    return Part("train", np.arange(len(labels)), labels, np.asarray(keys, np.uint64))


@pytest.fixture
def copied() -> Part:
    """1,000 rows of three uneven labels in which about a third of the texts have copies."""
    generator = np.random.default_rng(3)
    keys = generator.integers(0, 700, 1000)
    return make_part(np.array([0] * 420 + [1] * 210 + [2] * 70)[keys], keys)


def test_every_row_is_in_exactly_one_part(copied):
    parts = divide(copied, SHARES, seed=0)
    assert sorted(np.concatenate([part.positions for part in parts]).tolist()) == list(range(1000))


def test_no_text_is_in_two_parts(copied):
    first, second, third = (set(part.keys.tolist()) for part in divide(copied, SHARES, seed=0))
    assert not first & second
    assert not first & third
    assert not second & third


def test_each_label_has_its_share_in_each_part(copied):
    for part, share in zip(divide(copied, SHARES, seed=0), SHARES, strict=True):
        got = np.bincount(part.labels, minlength=3)
        assert np.abs(got - share * np.bincount(copied.labels)).max() <= 5


def test_the_parts_of_many_small_labels_have_their_shares_too():
    sizes = [len(part) for part in divide(make_part(np.repeat(np.arange(300), 10)), SHARES, seed=0)]
    assert np.abs(np.array(sizes) - 3000 * np.array(SHARES)).max() < 60


@pytest.mark.parametrize("each", [3, 4, 5, 6, 7, 10])
def test_a_label_with_as_many_texts_as_parts_is_in_every_part(each):
    for part in divide(make_part(np.repeat([0, 1, 2], each)), SHARES, seed=0):
        assert set(part.labels.tolist()) == {0, 1, 2}


def test_a_text_copied_half_of_the_time_stays_in_train():
    part = make_part([0] * 100 + [1] * 50, [0] * 50 + list(range(1, 101)))
    train, validation, test = divide(part, SHARES, seed=0)
    assert 0 in train.keys
    assert min((validation.labels == 0).sum(), (test.labels == 0).sum()) >= 10


def test_the_same_seed_gives_the_same_parts_and_another_seed_others(copied):
    positions = [[part.positions.tolist() for part in divide(copied, SHARES, seed)] for seed in (0, 0, 1)]
    assert positions[0] == positions[1] != positions[2]


def test_allotted_rows_sum_to_the_size_and_never_pass_what_is_there():
    generator = np.random.default_rng(0)
    for _ in range(300):
        counts = generator.integers(1, 100, generator.integers(2, 9))
        size = int(generator.integers(len(counts), 400))
        wanted = allot(counts, size, 1)
        assert wanted.sum() == min(size, counts.sum())
        assert (wanted <= counts).all()
        assert (wanted >= 1).all()


def test_allotted_rows_follow_the_shares():
    assert allot(np.array([600, 300, 100]), 100, 1).tolist() == [60, 30, 10]


def test_the_least_rows_of_a_label_come_before_the_size():
    assert allot(np.array([50, 50, 1]), 3, 2).tolist() == [2, 2, 1]


def test_a_subsample_is_stratified_in_order_and_repeatable(copied):
    first, again, other = (subsample(copied, 100, seed) for seed in (0, 0, 1))
    assert len(first) == 100
    assert (np.diff(first.positions) > 0).all()
    assert first.positions.tolist() == again.positions.tolist() != other.positions.tolist()
    assert np.abs(np.bincount(first.labels) - np.bincount(copied.labels) / 10).max() <= 1


def test_texts_of_another_part_are_taken_out():
    rest = without_texts_of(make_part([0, 1, 0], [5, 6, 5]), make_part([1], [5]))
    assert rest.positions.tolist() == [1]


def test_copies_conflicts_and_distinct_texts_are_counted():
    part = make_part([0, 0, 1, 1, 1], [1, 1, 1, 2, 2])
    assert repeats(part) == 3
    assert conflicts([part, make_part([0], [2])]) == 2
    assert conflicts([make_part([0, 0], [1, 1])]) == 0
    assert distinct_per_label(part, 3).tolist() == [1, 1, 0]
