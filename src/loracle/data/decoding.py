"""Bytes to text: compression, UTF-8, and what to tell somebody whose file is something else."""

from __future__ import annotations

import io
import shlex
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TextIO

import pyarrow as pa

from loracle.errors import DataError

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}

_MAGIC = {
    b"\x1f\x8b": "gzip; name it with .gz at the end",
    b"\x28\xb5\x2f\xfd": "zstd; name it with .zst at the end",
    b"PAR1": "Parquet; name it with .parquet at the end",
    b"PK\x03\x04": "a zip archive or an Excel workbook; save it as CSV (UTF-8)",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save it as CSV (UTF-8)",
}
_FEW_HIGH_BYTES = ("cp1252", "latin1")
_MANY_HIGH_BYTES = ("gb18030", "shift_jis", "euc-kr", "big5", "cp1251", *_FEW_HIGH_BYTES)
_SAMPLE_BYTES = 65_536


def plain_suffix(path: Path) -> str:
    """Return the suffix without compression, in lower case.

    >>> plain_suffix(Path("reviews.CSV.gz"))
    '.csv'
    """
    inner = Path(path.stem) if path.suffix.lower() in COMPRESSIONS else path
    return inner.suffix.lower()


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, unpacked; raises DataError where it cannot be read or its compression is broken."""
    compression = COMPRESSIONS.get(path.suffix.lower())
    try:
        if compression is None:
            with path.open("rb") as file:
                yield file
        else:
            with pa.input_stream(str(path), compression=compression) as file:
                yield file
    except OSError as error:
        raise DataError(_unreadable(path, compression, error)) from error


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a file, unpacked, as UTF-8 with or without a BOM; raises DataError for any other encoding."""
    _check_head(path)
    with open_bytes(path) as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
        try:
            yield text
        except UnicodeDecodeError as error:
            raise _not_utf8(path) from error


def _unreadable(path: Path, compression: str | None, error: OSError) -> str:
    reason = error.strerror or str(error)
    if compression is None or error.errno is not None:
        return f"cannot read {path}: {reason}"
    return f"{path.name} is not a whole {compression} file ({reason}); fetch or compress it again"


def _check_head(path: Path) -> None:
    with open_bytes(path) as file:
        head = file.read(4096)
    if not head:
        raise DataError(f"{path.name} is empty; it needs at least one row")
    for magic, what in _MAGIC.items():
        if head.startswith(magic):
            raise DataError(f"{path.name} is no {plain_suffix(path)} text but {what}")
    if encoding := _wide_encoding(head):
        raise DataError(_conversion(path, f"{path.name} is not UTF-8", [encoding]))


def _wide_encoding(head: bytes) -> str | None:
    """Return the UTF-16 or UTF-32 that `head` is written in, told by its mark or by where its zeros stand."""
    if head.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        return "utf-32"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    half = len(head) // 2
    if head[1::2].count(0) > 0.5 * half > 0.5:
        return "utf-16le"
    return "utf-16be" if head[::2].count(0) > 0.5 * half > 0.5 else None


def _not_utf8(path: Path) -> DataError:
    line, sample = _undecodable_lines(path)
    found = f"{path.name} is not UTF-8 (line {line})"
    high = sum(byte >= 0x80 for byte in sample) / max(1, len(sample))
    candidates = _MANY_HIGH_BYTES if high > 0.3 else _FEW_HIGH_BYTES
    encodings = [encoding for encoding in candidates if _reads_well(sample, encoding)]
    if not encodings:
        return DataError(f"{found} and reads well in no encoding tried; it looks binary, save it as UTF-8 text")
    return DataError(_conversion(path, found, encodings))


def _undecodable_lines(path: Path) -> tuple[int, bytes]:
    """Return the number of the first line that is not UTF-8, and such lines together, cut to a sample."""
    first, sample = 0, b""
    with open_bytes(path) as file, io.TextIOWrapper(file, encoding="latin-1", newline="\n") as lines:
        for number, characters in enumerate(lines, 1):
            line = characters.encode("latin-1")
            if not _is_utf8(line):
                first, sample = first or number, sample + line
                if len(sample) > _SAMPLE_BYTES:
                    break
    return first, sample


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _reads_well(sample: bytes, encoding: str) -> bool:
    try:
        text = sample.decode(encoding)
    except UnicodeDecodeError:
        return False
    return not any(unicodedata.category(c) in ("Cc", "Co", "Cn") and c not in "\t\r\n\x0b\x0c" for c in text)


def _conversion(path: Path, found: str, encodings: list[str]) -> str:
    plain = path.with_suffix("") if path.suffix.lower() in COMPRESSIONS else path
    unpack = "unpack it and convert it" if plain != path else "convert it"
    target = f"{plain.name.split('.')[0]}.utf8{plain_suffix(path)}"
    command = f"iconv -f {encodings[0]} -t utf-8 {shlex.quote(plain.name)} > {shlex.quote(target)}"
    return f"{found}; it reads well as {' or '.join(encodings)}: {unpack}, for example `{command}`"
