"""Freed memory is kept within the block, and the process is as usual after it."""

import sys

import psutil
import pytest
import torch

from loracle.training.allocation import give_back_memory, keeping_freed_memory

LARGE = 64 * 2**20  # bytes


def resident() -> int:
    return psutil.Process().memory_info().rss


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator is that of glibc")
def test_freed_memory_is_kept_in_the_block_and_given_back_after_it() -> None:
    give_back_memory()
    start = resident()
    with keeping_freed_memory():
        block = torch.ones(LARGE, dtype=torch.uint8)
        assert resident() > start + 0.9 * LARGE
        del block
        assert resident() > start + 0.9 * LARGE
    assert resident() < start + 0.5 * LARGE


def test_an_error_in_the_block_gives_memory_back_too() -> None:
    start = resident()
    with pytest.raises(RuntimeError, match="shape"), keeping_freed_memory():
        torch.ones(LARGE, dtype=torch.uint8).view(3, 3)
    assert resident() < start + 0.5 * LARGE
