"""Seconds and peak memory of `loracle describe`, from the command to the page, everything included.

    python -m benchmarks.describe_speed DATA
    python -m benchmarks.describe_speed --rows 1000000

DATA is what `loracle describe` takes. Without it, rows of 100 words drawn at random from those of the embedded data are
made, with an exact copy and a near duplicate (three words replaced) in every thousand; the exit code is 1 where a copy
or more than one near duplicate in a hundred was missed.
The cache of `datasets` is empty at the start, so that reading and splitting the data counts too.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

WORDS, BLOCK = 100, 1000
FOUND = r"^(duplicates|near) +([0-9,]+) texts have"
REPLACED = 3  # words: 89 of the 107 different word triples of the two texts stay common, 0.83


def make_blocks(rows: int) -> Iterator[list[str]]:
    """Yield a thousand texts at a time; the last two of each are a copy and a near duplicate of the first two."""
    from loracle.data.loading import load_task
    from loracle.inspection.shingles import split_words

    draw = np.random.default_rng(0)
    words = np.array(sorted({word for text in load_task().train.texts for word in split_words(text)}))
    for _ in range(rows // BLOCK):
        table = words[draw.integers(0, len(words), (BLOCK, WORDS))]
        table[-2:] = table[:2]
        table[-1, draw.choice(WORDS, REPLACED, replace=False)] = "replaced"
        yield [" ".join(row) for row in table]


def write_rows(path: Path, rows: int) -> None:
    """Write the texts with four labels as a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("text", pa.string()), ("label", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for texts in make_blocks(rows):
            labels = [f"class {number % 4}" for number in range(len(texts))]
            writer.write_table(pa.table({"text": texts, "label": labels}, schema=schema))


def run(data: str, folder: Path) -> tuple[float, float, str]:
    """Run the command in a process of its own; return its seconds, its peak resident bytes, and what it printed."""
    command = [sys.executable, "-m", "loracle", "describe", data, "--out", str(folder / "page.html")]
    environment = {**os.environ, "HF_DATASETS_CACHE": str(folder / "cache"), "COLUMNS": "200"}
    started = time.perf_counter()
    printed = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, text=True).stdout
    seconds = time.perf_counter() - started
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024.0, printed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?")
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = options.data
        if data is None:
            data = str(Path(folder, "rows.parquet"))
            write_rows(Path(data), options.rows)
        seconds, memory, printed = run(data, Path(folder))
    return report(None if options.data else options.rows, seconds, memory, printed)


def report(rows: int | None, seconds: float, memory: float, printed: str) -> int:
    """Print the figures and what the command found; return 1 where planted duplicates were missed."""
    from benchmarks.machine import describe_machine

    shown = [line for line in printed.splitlines() if line.startswith(("words", "tokens", "duplicates", "near"))]
    print("\n".join([printed.splitlines()[0], *shown]))
    print(f"seconds      {seconds:.1f}, the whole command")
    print(f"peak memory  {memory / 1e9:.2f} GB")
    print(describe_machine())
    if rows is None:
        return 0
    planted = 2 * (rows // BLOCK)
    found = {name: int(count.replace(",", "")) for name, count in re.findall(FOUND, printed, re.MULTILINE)}
    print(f"planted      {planted:,} texts of each kind; found: {found}")
    return 0 if found["duplicates"] == planted and found["near"] >= 0.99 * planted else 1


if __name__ == "__main__":
    raise SystemExit(main())
