"""Arrays in one file of the cache, written piece by piece and read where they are needed, never as a whole.

The layout is that of safetensors, so that other programs can read such a file. A checksum and how long the content took
to compute stand in its metadata.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import torch
from torch import Tensor

from loracle import caching
from loracle.errors import FileError

_HEADER_BYTES = 1024
_LENGTH_BYTES = 8  # of the header's own length
_READ_AT_ONCE = 2**23
_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16", torch.int32: "I32"}
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}
_checked: set[tuple[Path, int, int]] = set()  # path, time and size of what this process has read as a whole


@dataclass(frozen=True)
class StoredArray:
    """Where an array lies: its file, its first byte in it, its shape and its dtype."""

    path: Path
    start: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    def map(self) -> np.ndarray:
        """Return the array memory-mapped and read-only; not for bfloat16, which NumPy lacks."""
        dtype = torch.empty(0, dtype=self.dtype).numpy().dtype
        mapped: np.ndarray = np.memmap(self.path, dtype, "r", self.start, self.shape)
        return mapped


class RowReader:
    """Reads rows of an array (rows, width) from its file. They are not mapped, which would count as memory of the
    process that it cannot be without. Use it as a context.
    """

    def __init__(self, array: StoredArray) -> None:
        self._width, self._dtype, self._start = array.shape[1], array.dtype, array.start
        self._row_bytes = array.shape[1] * array.dtype.itemsize
        self._file = array.path.open("rb", buffering=0)

    def read_padded(self, starts: np.ndarray, stops: np.ndarray) -> Tensor:
        """Return the rows from each start to its stop, padded with zeros: (len(starts), most of them, width).

        Raises FileError where the file ends before.
        """
        found = torch.zeros(len(starts), int((stops - starts).max()), self._width, dtype=self._dtype)
        lines = found.flatten(1).view(torch.uint8).numpy()
        for line, start, stop in zip(lines, starts.tolist(), stops.tolist(), strict=True):
            wanted = line[: (stop - start) * self._row_bytes]
            self._file.seek(self._start + start * self._row_bytes)
            if self._file.readinto(wanted.data) != len(wanted):
                raise FileError(f"{self._file.name} was cut while it was read; start again")
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class ArrayWriter:
    """Appends to arrays of a file: all pieces of one name, then all of the next."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._checksum, self._began = file, 0, perf_counter()
        self._arrays: dict[str, dict[str, Any]] = {}
        self._end = 0
        file.write(b" " * _HEADER_BYTES)

    def add(self, name: str, piece: Tensor) -> None:
        """Append rows (any number, ...) to the array of this name."""
        content = piece.contiguous().view(torch.uint8).numpy().data
        self._file.write(content)
        self._checksum = zlib.crc32(content, self._checksum)
        start = {"dtype": _NAMES[piece.dtype], "shape": [0, *piece.shape[1:]], "data_offsets": [self._end, self._end]}
        array = self._arrays.setdefault(name, start)
        array["shape"][0] += len(piece)
        self._end += content.nbytes
        array["data_offsets"][1] = self._end

    def finish(self) -> None:
        """Write the header, for which there was room left."""
        notes = {"crc32": str(self._checksum), "seconds": f"{perf_counter() - self._began:.3f}"}
        header = json.dumps({"__metadata__": notes, **self._arrays}).encode()
        size = _HEADER_BYTES - _LENGTH_BYTES
        self._file.seek(0)
        self._file.write(size.to_bytes(_LENGTH_BYTES, "little") + header.ljust(size))


@contextmanager
def keeping_arrays(kind: str, key: str) -> Iterator[ArrayWriter]:
    """Yield a writer of the cache file of this key, which is there whole when the block ends well; raises OSError."""
    with caching.keeping(kind, key) as file:
        writer = ArrayWriter(file)
        yield writer
        writer.finish()
    caching.note_made(key)


def find_arrays(kind: str, key: str) -> Mapping[str, StoredArray] | None:
    """Return the arrays that are kept under this key, or None; what is broken is deleted."""
    path = caching.find(kind, key)
    if path is None:
        return None
    try:
        arrays, seconds = open_arrays(path)
    except FileError:
        caching.drop(path)
        return None
    caching.note_found(key, seconds)
    return arrays


def open_arrays(path: Path) -> tuple[Mapping[str, StoredArray], float]:
    """Return the arrays of a file and the seconds that it took to make; nothing but the header stays in memory.

    Its checksum is computed once in a process. Raises FileError where the file is broken.
    """
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(_HEADER_BYTES)[_LENGTH_BYTES:])
            notes = header.pop("__metadata__")
            _check_content(file, int(notes["crc32"]))
        return {name: _place(path, array) for name, array in header.items()}, float(notes["seconds"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileError(f"{path} is broken: {error}") from error


def _check_content(file: BinaryIO, checksum: int) -> None:
    """Raise ValueError where what follows has another checksum; reading leaves the memory of this process as it is."""
    path, stat = Path(file.name), os.fstat(file.fileno())
    state = (path, stat.st_mtime_ns, stat.st_size)
    if state in _checked:
        return
    found = 0
    while piece := file.read(_READ_AT_ONCE):
        found = zlib.crc32(piece, found)
    if found != checksum:
        raise ValueError("its checksum is another")
    _checked.add(state)


def _place(path: Path, array: Mapping[str, Any]) -> StoredArray:
    start = _HEADER_BYTES + int(array["data_offsets"][0])
    return StoredArray(path, start, tuple(array["shape"]), _DTYPES[array["dtype"]])
