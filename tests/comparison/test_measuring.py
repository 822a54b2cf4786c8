"""Memory and time are measured as growth above the start of the block."""

import time

import numpy as np
import pytest

from loracle.comparison.measuring import measured

MIB = 2**20


def test_growth_is_that_of_the_block_and_not_of_what_was_there() -> None:
    held = np.ones(100 * MIB, dtype=np.uint8)
    with measured() as reading:
        grown = np.ones(60 * MIB, dtype=np.uint8)
        time.sleep(0.05)
    assert 55 * MIB < reading.peak_memory_bytes < 90 * MIB
    assert held.sum() + grown.sum() == 160 * MIB


def test_short_peak_counts_although_it_is_gone_at_the_end() -> None:
    with measured() as reading:
        np.ones(80 * MIB, dtype=np.uint8)
        time.sleep(0.02)
        block = np.ones(80 * MIB, dtype=np.uint8)
        time.sleep(0.05)
        del block
    assert reading.peak_memory_bytes > 75 * MIB


def test_memory_freed_by_an_earlier_block_hides_nothing() -> None:
    pieces = [np.ones(4096, dtype=np.uint8) for _ in range(20_000)]
    del pieces
    with measured() as reading:
        again = [np.ones(4096, dtype=np.uint8) for _ in range(20_000)]
        time.sleep(0.05)
    assert len(again) == 20_000
    assert reading.peak_memory_bytes > 60 * MIB


def test_seconds_are_wall_time_even_when_the_block_fails() -> None:
    def fail_late() -> None:
        nonlocal reading
        with measured() as reading:
            time.sleep(0.1)
            raise ZeroDivisionError

    reading = None
    with pytest.raises(ZeroDivisionError):
        fail_late()
    assert reading is not None
    assert 0.09 < reading.seconds < 2
