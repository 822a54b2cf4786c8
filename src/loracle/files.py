"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from loracle.errors import FileError


def check_writable(path: Path) -> None:
    """Raise FileError where nothing can be written at `path`: a file stands in the way, or permission lacks."""
    path = path.absolute()
    nearest = next(place for place in (path, *path.parents) if place.exists())
    if nearest != path and not nearest.is_dir():
        raise FileError(f"{path} cannot be written, since {nearest} is a file; give another place with --out")
    if not os.access(nearest, os.W_OK):
        raise FileError(f"{path} cannot be written: no permission to write {nearest}; give another place with --out")


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content`, whole or not at all."""
    with whole_file(path) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def save_json(path: Path, content: Any) -> None:
    """Write `content` as JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def load_json(path: Path, *, keys: Sequence[str] = ()) -> Any:
    """Read a JSON file; raises FileError where it is missing, broken, or no object with all of `keys`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(f"{path} cannot be read: {error}") from error
    missing = [key for key in keys if not isinstance(content, dict) or key not in content]
    if missing:
        raise FileError(f"{path} lacks {', '.join(missing)}; it was not written by Loracle, or not whole")
    return content


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a temporary file beside `path`; when the block ends well it is flushed and takes the place of `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; when the block ends well it takes the place of `path`.

    A folder that was there is moved aside, and moved back if the exchange fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    workspace = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    new, old = workspace / "new", workspace / "old"
    try:
        new.mkdir()
        yield new
        if path.exists():
            path.replace(old)
        new.replace(path)
    finally:
        if old.exists() and not path.exists():
            old.replace(path)
        shutil.rmtree(workspace, ignore_errors=True)


def folder_bytes(path: Path) -> int:
    """Return the bytes of all files below `path`."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
