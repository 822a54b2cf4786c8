from __future__ import annotations

import pytest

from loracle.errors import ConfigError
from loracle.planning.capacity import find_memory, find_room, parse_memory
from loracle.training.precision import ComputePath


@pytest.mark.parametrize(
    ("text", "size"), [("24GB", 24 * 10**9), ("24gib", 24 * 2**30), (" 512 MB ", 512 * 10**6), ("0.5TiB", 2**39)]
)
def test_decimal_and_binary_units_are_told_apart(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["3XB", "24", "GB", "-1GB", "0GB", "", "1e9GB", "nanGB", "0.1B"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match="such as 24GB"):
        parse_memory(text)


def test_this_machine_has_memory() -> None:
    size, source = find_memory(ComputePath("cpu", "fp32", "eager"))
    assert size > 10**8
    assert "this machine" in source


def test_half_of_the_free_memory_is_left_to_others() -> None:
    free, _ = find_memory(ComputePath("cpu", "fp32", "eager"))
    assert find_room(ComputePath("cpu", "fp32", "eager")) == pytest.approx(free / 2, rel=0.2)
