"""Rows in Arrow files below the cache folder of `datasets`, so that they are memory-mapped, not held.

A finished file is named after its own content: a source that changed can never meet an old file.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from loracle.errors import DataError

if TYPE_CHECKING:
    import datasets


@contextmanager
def workspace() -> Iterator[Path]:
    """Yield a temporary folder in the cache, gone when the block ends, however it ends."""
    import datasets

    folder = Path(datasets.config.HF_DATASETS_CACHE) / "loracle"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(dir=folder, prefix=".")
    except OSError as error:
        raise _unwritable(folder, error) from error
    with temporary as name:
        yield Path(name)


def write_batches(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """Write `batches` to an Arrow stream file in a workspace."""
    try:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
    except OSError as error:
        raise _unwritable(path.parent.parent, error) from error


def map_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the batches of an Arrow stream file, memory-mapped."""
    with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
        yield from reader


def map_dataset(path: Path) -> datasets.Dataset:
    """Move a file out of its workspace, name it after its content, and return it memory-mapped."""
    import datasets

    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    kept = path.parent.parent / f"{digest[:32]}.arrow"
    path.replace(kept)
    return datasets.Dataset.from_file(os.fspath(kept))


def _unwritable(folder: Path, error: OSError) -> DataError:
    return DataError(f"cannot write the cache {folder} ({error.strerror or error}); set HF_DATASETS_CACHE")
