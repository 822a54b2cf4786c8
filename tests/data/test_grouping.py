import numpy as np
import pytest

from loracle.data.grouping import count_groups, divide_groups, without_groups_of
from loracle.data.splitting import Part

SHARES = (0.7, 0.15, 0.15)


def make_part(groups, labels) -> Part:
    rows = np.arange(len(groups))
    return Part("train", rows, np.asarray(labels), rows.astype(np.uint64), np.asarray(groups).astype(np.uint64))


@pytest.fixture
def customers() -> Part:
    """Rows of five uneven labels, by customers with one row or hundreds; half of the rows have the customer's label."""
    draw = np.random.default_rng(3)
    groups = np.repeat(np.arange(2_000), np.ceil(draw.lognormal(1.5, 1.2, 2_000)).astype(int))
    own = draw.choice(5, 2_000, p=[0.5, 0.3, 0.1, 0.07, 0.03])[groups]
    return make_part(groups, np.where(draw.random(len(groups)) < 0.5, own, draw.integers(0, 5, len(groups))))


def test_every_row_is_in_exactly_one_part(customers):
    parts = divide_groups(customers, SHARES, seed=0)
    assert sorted(np.concatenate([part.positions for part in parts]).tolist()) == list(range(len(customers)))


def test_no_group_is_in_two_parts(customers):
    first, second, third = (set(part.groups.tolist()) for part in divide_groups(customers, SHARES, seed=0))
    assert not first & second | first & third | second & third


def test_each_label_has_nearly_its_share_in_each_part(customers):
    every = np.bincount(customers.labels)
    for part, share in zip(divide_groups(customers, SHARES, seed=0), SHARES, strict=True):
        assert np.abs(np.bincount(part.labels, minlength=5) / every - share).max() < 0.01


def test_groups_of_one_row_divide_as_rows_do():
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    parts = divide_groups(make_part(np.arange(1000), labels), SHARES, seed=0)
    assert [np.bincount(part.labels).tolist() for part in parts] == [[420, 210, 70], [90, 45, 15], [90, 45, 15]]


@pytest.mark.parametrize("groups", [3, 4, 5])
def test_no_part_is_empty_with_as_many_groups_as_parts(groups):
    rows = np.arange(100)
    parts = divide_groups(make_part(rows % groups, rows // groups % 2), SHARES, seed=0)
    assert min(map(len, parts)) > 0


def test_a_label_of_a_single_group_goes_to_the_largest_part():
    labels = np.array([0] * 300 + [1] * 300 + [2] * 5)
    groups = np.concatenate([np.arange(600) // 6, np.full(5, 1000)])
    assert 2 in divide_groups(make_part(groups, labels), SHARES, seed=0)[0].labels


def test_the_seed_decides_which_groups_go_where():
    part = make_part(np.arange(400) // 4, np.arange(400) % 2)
    first, again, other = (divide_groups(part, SHARES, seed)[2].positions.tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_rows_of_groups_that_stand_elsewhere_are_left_out():
    one, other = make_part([1, 1, 2, 3], [0, 1, 0, 1]), make_part([1, 3, 4], [0, 0, 0])
    assert without_groups_of(one, other).positions.tolist() == [2]
    assert count_groups(one, other) == 4
