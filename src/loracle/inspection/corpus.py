"""The rows of all splits as one sequence, read a batch or a handful at a time.

Row r of a corpus counts through train, then validation, then test. Texts stay in the memory-mapped files; of every
row only its split and its label are held.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from loracle.data.task import Split, Task

READ_CHARACTERS = 1_000_000
"""Of a longer text, words, tokens and shingles are those of its first million characters."""

Rows = npt.NDArray[np.int64]

_BATCH_ROWS = 512
_BATCH_BYTES = 4_000_000


class Corpus:
    """All texts of a task in one order."""

    def __init__(self, task: Task) -> None:
        self.splits: tuple[Split, ...] = (task.train, task.validation, task.test)
        self.label_names = task.label_names
        self.starts: Rows = np.cumsum([0, *map(len, self.splits)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    @cached_property
    def split_of(self) -> npt.NDArray[np.int8]:
        """The position of each row's split in `splits`, shape (rows,)."""
        return np.repeat(np.arange(len(self.splits), dtype=np.int8), [len(split) for split in self.splits])

    @cached_property
    def labels(self) -> Rows:
        """The label of each row, an index into `label_names`, shape (rows,)."""
        return np.concatenate([split.labels for split in self.splits])

    def locate(self, row: int) -> tuple[str, int]:
        """Return the name of a row's split, and the row's number in the file or split that it came from."""
        split = self.splits[self.split_of[row]]
        return split.name, int(split.ids[row - self.starts[self.split_of[row]]])

    def batches(self) -> Iterator[tuple[int, pa.StringArray]]:
        """Yield the first row of each batch and its texts: at most 512, or some megabytes, or one long text."""
        for split, start in zip(self.splits, self.starts, strict=False):
            row = int(start)
            for batch in _texts_of(split).iter(_BATCH_ROWS):
                for texts in _pieces(batch["text"].combine_chunks()):
                    yield row, texts
                    row += len(texts)

    def read(self, rows: Rows) -> list[str]:
        """Return the texts of these rows, in this order."""
        texts = np.empty(len(rows), object)
        for number, split in enumerate(self.splits):
            chosen = np.flatnonzero(self.split_of[rows] == number)
            if len(chosen):
                texts[chosen] = _texts_of(split)[rows[chosen] - self.starts[number]]["text"].to_pylist()
        return list(texts)


def _texts_of(split: Split) -> pa.Table:
    """Return the texts of a split as a Dataset that gives Arrow tables."""
    return split.rows.select_columns(["text"]).with_format("arrow")


def _pieces(texts: pa.StringArray) -> Iterator[pa.StringArray]:
    """Cut a batch so that no piece is much larger than the limit, unless one text is."""
    group = np.cumsum(pc.binary_length(texts).to_numpy().astype(np.int64)) // _BATCH_BYTES
    cuts = [0, *(np.flatnonzero(np.diff(group)) + 1), len(texts)]
    for start, end in itertools.pairwise(cuts):
        yield texts.slice(start, end - start)
