"""Contestants take turns, the round that warms up is not kept, and one that fails says why."""

from functools import partial

import pytest

from benchmarks.rounds import BenchmarkError, Gate, take_turns, take_turns_afresh

COUNTING = partial(Gate.repeat, action=partial(int, "7"))  # importable by the process that it runs in
FAILING = partial(Gate.repeat, action=partial(int, "seven"))


def test_contestants_take_turns_and_the_first_round_is_not_kept() -> None:
    turns: list[tuple[int, str]] = []
    readings = take_turns({"a": COUNTING, "b": COUNTING}, 2, lambda number, name, _: turns.append((number, name)))
    assert turns == [(0, "b"), (0, "a"), (1, "a"), (1, "b"), (2, "b"), (2, "a")]
    assert [[item.remark for item in found] for found in readings.values()] == [[7, 7], [7, 7]]


def test_fresh_processes_have_no_round_that_warms_up() -> None:
    turns: list[tuple[int, str]] = []
    readings = take_turns_afresh({"a": COUNTING}, 1, lambda number, name, _: turns.append((number, name)))
    assert turns == [(1, "a")]
    assert len(readings["a"]) == 1


def test_a_contestant_that_fails_says_why() -> None:
    with pytest.raises(BenchmarkError, match=r"(?s)a failed:.*ValueError: invalid literal"):
        take_turns({"a": FAILING}, 1, lambda *_: None)
