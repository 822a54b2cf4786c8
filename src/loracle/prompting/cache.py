"""Every answer, kept as it comes: a file of JSON lines for each model of each server, only ever added to.

Several processes may add to one file. A line is one write, and begins with its line break, so that one which a crash
tore does not swallow the next; what is no JSON is passed over when the file is read.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Collection, Mapping
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from loracle.caching import user_folder
from loracle.errors import FileError

_FORMAT = 1  # of a kept record: raise it when one changes, and older ones are not found
_KEY_DIGITS = 32
_KEY = slice(len(b'{"key": "'), len(b'{"key": "') + _KEY_DIGITS)


def default_folder() -> Path:
    """Return loracle/answers in the user's cache folder, which XDG_CACHE_HOME may name."""
    return user_folder() / "answers"


def hash_parts(*parts: Any) -> str:
    """Return 32 hex digits of the SHA-256 over the format of what is kept and JSON values, in order."""
    return hashlib.sha256(json.dumps([_FORMAT, *parts]).encode()).hexdigest()[:_KEY_DIGITS]


class Cache:
    """The answers of one model of one server; use it as a context. Raises FileError where it cannot be used."""

    def __init__(self, folder: Path | None, *, base_url: str, model: str) -> None:
        name = re.sub(r"[^a-z0-9.]+", "-", model.lower()).strip("-.")[-60:]
        self.path = (folder or default_folder()) / f"{name}-{hash_parts(base_url, model)[:8]}.jsonl"
        self._file: FileIO | None = None
        self._writing = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file:
            self._file.close()

    def load(self, keys: Collection[str]) -> dict[str, dict[str, Any]]:
        """Return what is kept under those of the keys that there are; nothing else of the file stays in memory."""
        wanted = {key.encode() for key in keys}
        found: dict[str, dict[str, Any]] = {}
        try:
            with self.path.open("rb") as file:
                for line in file:
                    record = _parse(line) if line[_KEY] in wanted else None
                    if record is not None:
                        found[record.pop("key")] = record
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._error("read", error) from error
        return found

    def open(self) -> None:
        """Open the file for writing, and make its folder."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._file or self.path.open("ab", buffering=0)
        except OSError as error:
            raise self._error("written", error) from error

    def add(self, key: str, record: Mapping[str, Any]) -> None:
        """Keep `record` under `key`; it is with the operating system when this returns."""
        line = "\n" + json.dumps({"key": key, **record}, ensure_ascii=False)
        content = line.encode("utf-8", "replace")
        with self._writing:
            self.open()
            try:
                if not self._file or self._file.write(content) != len(content):
                    raise OSError(28, "no space left")
            except OSError as error:
                raise self._error("written", error) from error

    def _error(self, what: str, error: OSError) -> FileError:
        return FileError(f"{self.path} cannot be {what}: {error.strerror}; give another folder with llm_cache")


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None  # torn by a crash
    return record if isinstance(record, dict) else None
