"""Freed memory is kept within the block, and the process is as usual after it: tried in fresh processes."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the allocator is that of glibc")

START = """
import psutil, torch
from loracle.training.allocation import give_back_memory, keeping_freed_memory

LARGE = 64 * 2**20
block = torch.ones(LARGE, dtype=torch.uint8)  # what torch holds from its first large tensor on
del block
give_back_memory()

def grown():
    return (psutil.Process().memory_info().rss - start) / LARGE

start = 0
start = psutil.Process().memory_info().rss
"""


def run(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", START + program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_freed_memory_is_kept_in_the_block_and_given_back_after_it() -> None:
    run("""
with keeping_freed_memory():
    block = torch.ones(LARGE, dtype=torch.uint8)
    assert grown() > 0.9, grown()
    del block
    assert grown() > 0.9, grown()
assert grown() < 0.5, grown()
""")


def test_an_error_in_the_block_gives_memory_back_too() -> None:
    run("""
try:
    with keeping_freed_memory():
        torch.ones(LARGE, dtype=torch.uint8).view(3, 3)
except RuntimeError:
    pass
assert grown() < 0.5, grown()
""")
