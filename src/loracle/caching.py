"""What can be computed again, kept on disk: where it lies, how much of it there may be, and what time it spared.

The folder is LORACLE_CACHE, else `loracle` in the user's own cache folder. In it is a folder for each kind of thing,
and in that a file for each key, which is a hash of all that the content depends on. What was used longest ago goes
first once all files take more than `TOTAL_BYTES`. Whoever deletes a file loses time and nothing else.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from loracle.files import whole_file

TOTAL_BYTES = 20 * 10**9
KINDS = ("tokens", "bottoms")

_LEFT_BEHIND_SECONDS = 24 * 3600  # by a process that was killed while it wrote
_bills: list[dict[str, float]] = []


def user_folder() -> Path:
    """Return `loracle` in the user's cache folder, which XDG_CACHE_HOME may name, else ~/.cache."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".cache") / "loracle"


def cache_folder() -> Path:
    """Return the folder of all that is kept and can be computed again: LORACLE_CACHE, else `user_folder`."""
    given = os.environ.get("LORACLE_CACHE", "")
    return Path(given).expanduser().absolute() if given else user_folder()


def place_of(kind: str, key: str) -> Path:
    """Return where the file of a key lies, or would lie."""
    return cache_folder() / kind / key


def find(kind: str, key: str) -> Path | None:
    """Return the file of a key, noted as used now, or None where there is none."""
    path = place_of(kind, key)
    if not path.is_file():
        return None
    with suppress(OSError):  # a folder that may only be read
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
    return path


@contextmanager
def keeping(kind: str, key: str) -> Iterator[BinaryIO]:
    """Yield a file that is that of the key when the block ends well; then drop what was used longest ago.

    Raises OSError where it cannot be written; nothing is left behind then.
    """
    path = place_of(kind, key)
    with whole_file(path) as file:
        yield file
    drop_oldest(keep=path)


def drop(path: Path) -> None:
    """Delete a file, as far as that is allowed."""
    with suppress(OSError):  # another process was faster, or still reads it on Windows
        path.unlink()


def free_bytes() -> int:
    """Return the free bytes of the disk on which the cache lies, 0 where that cannot be told."""
    folder = cache_folder()
    try:
        return shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.is_dir())).free
    except (OSError, StopIteration):
        return 0


def drop_oldest(*, keep: Path | None = None, total_bytes: int = TOTAL_BYTES) -> None:
    """Delete what was used longest ago until the rest takes `total_bytes` at most, and what a killed process left."""
    files = [(stat.st_atime, stat.st_size, path) for path, stat in _files()]
    left = sum(size for _, size, _ in files)
    for used, size, path in sorted(files):
        abandoned = path.name.startswith(".") and time.time() - used > _LEFT_BEHIND_SECONDS
        if abandoned or (left > total_bytes and path != keep and not path.name.startswith(".")):
            left -= size
            drop(path)


@contextmanager
def noting_spared() -> Iterator[dict[str, float]]:
    """Yield a mapping that is filled within the block: for each key that was found, the seconds that making it took.

    What was made within the block is there with 0 seconds, found again or not. So the block's own seconds and the sum
    of these are what it would have taken with an empty cache.
    """
    bill: dict[str, float] = {}
    _bills.append(bill)
    try:
        yield bill
    finally:
        _bills.remove(bill)


def note_made(key: str) -> None:
    """Tell the blocks of `noting_spared` that the content of a key was made."""
    note_found(key, 0.0)


def note_found(key: str, seconds: float) -> None:
    """Tell the blocks of `noting_spared` that the content of a key was found, which once took so many seconds."""
    for bill in _bills:
        bill.setdefault(key, seconds)


def _files() -> Iterator[tuple[Path, os.stat_result]]:
    for kind in KINDS:
        with suppress(OSError):
            for path in (cache_folder() / kind).iterdir():
                with suppress(OSError):
                    yield path, path.stat()
