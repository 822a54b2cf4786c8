"""Memory that a step frees is kept for the next step.

By default the C library of Linux returns every large block to the system when it is freed, and each step then pays for
the same pages again: the system clears them, one by one, when they are first written. On a CPU this is a quarter of a
step's time. The setting is the process's own, so that it holds within a block and is undone after it.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# options of mallopt(3)
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER = 2**31 - 1
_KEEPING = {_MMAP_MAX: 0, _TRIM_THRESHOLD: _NEVER}
# what the library itself arrives at in a process that has freed a large block
_USUAL = {_MMAP_MAX: 65_536, _MMAP_THRESHOLD: 32 * 2**20, _TRIM_THRESHOLD: 64 * 2**20}


@contextmanager
def keeping_freed_memory() -> Iterator[None]:
    """Keep freed memory within the block and give it back at its end; where the library is not glibc, do nothing."""
    library = _glibc()
    if library is None:
        yield
        return
    for option, value in _KEEPING.items():
        library.mallopt(option, value)
    try:
        yield
    finally:
        for option, value in _USUAL.items():
            library.mallopt(option, value)
        library.malloc_trim(0)


def give_back_memory() -> None:
    """Return to the system what was freed and is still held, so that it does not hide how far memory grows."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") and hasattr(library, "mallopt") else None
