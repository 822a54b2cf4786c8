"""What every method is given: three named splits and the names of the labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from loracle.data.preparing import Step
from loracle.data.splitting import count_labels

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

_BATCH = 1024


@dataclass(frozen=True, eq=False)
class Split:
    """One named part of the data: memory-mapped rows of `id`, `text` and `label`, and of `group` where there is one.

    `id` is the row's number, from 0, in the file or split that it came from. `label` is an index into
    `Task.label_names`, or where a text may have several one 0 or 1 for each of them.
    """

    name: str
    rows: datasets.Dataset

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def texts(self) -> Sequence[str]:
        """The texts in order; a slice of it is a list, and no more than the slice is in memory."""
        return cast(Sequence[str], self.rows["text"])

    @cached_property
    def labels(self) -> npt.NDArray[Any]:
        """The labels in order: int64 (rows,), or where a text may have several 0 and 1, uint8 (rows, labels)."""
        if not self.multi_label:
            return self._integers("label")
        width = self._label_type.list_size
        parts = [batch["label"].combine_chunks().flatten().to_numpy() for batch in self._batches("label")]
        return np.concatenate([np.empty(0, np.uint8), *parts]).reshape(-1, width)

    @property
    def multi_label(self) -> bool:
        """Whether a text may have several labels, or none."""
        import pyarrow as pa

        return bool(pa.types.is_fixed_size_list(self._label_type))

    @property
    def _label_type(self) -> Any:
        return self.rows.features.arrow_schema.field("label").type

    @cached_property
    def ids(self) -> npt.NDArray[np.int64]:
        """The source's row numbers in order, shape (rows,)."""
        return self._integers("id")

    @cached_property
    def hash(self) -> str:
        """16 hex digits of the SHA-256 over every text (length first) and label, in order."""
        digest = hashlib.sha256()
        for batch in self._batches():
            for text, label in zip(batch["text"].to_pylist(), batch["label"].to_pylist(), strict=True):
                content = text.encode("utf-8")
                digest.update(len(content).to_bytes(8, "little"))
                digest.update(content)
                digest.update(bytes(label) if isinstance(label, list) else label.to_bytes(8, "little", signed=True))
        return digest.hexdigest()[:16]

    def select(self, rows: Sequence[int]) -> Split:
        """Return the split of these rows alone, in this order."""
        return Split(self.name, self.rows.select(rows))

    def _integers(self, column: str) -> npt.NDArray[np.int64]:
        parts = [batch[column].to_numpy() for batch in self._batches(column)]
        return np.concatenate([np.empty(0, np.int64), *parts]).astype(np.int64, copy=False)

    def _batches(self, *columns: str) -> Iterator[pa.Table]:
        rows = self.rows.select_columns(list(columns or ("text", "label")))
        return cast("Iterator[pa.Table]", rows.with_format("arrow").iter(_BATCH))


@dataclass(frozen=True, eq=False)
class Task:
    """A text classification problem: where it came from, its label names, its three splits.

    `notes` holds one plain sentence for each thing that was guessed, dropped, kept together, made or
    warned of while it was loaded. `options` are what load_task was given, with the columns that were chosen, and
    `steps` what each step did to the rows, in order.
    """

    name: str
    source: str
    text_column: str
    label_column: str
    label_names: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    notes: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()

    @property
    def multi_label(self) -> bool:
        """Whether a text may have several labels, or none."""
        return self.train.multi_label

    def describe(self) -> dict[str, Any]:
        """Return what a ledger writes down, ready for JSON: names, columns, splits with hashes, notes."""
        return {
            "name": self.name,
            "source": self.source,
            "text_column": self.text_column,
            "label_column": self.label_column,
            "label_names": list(self.label_names),
            "multi_label": self.multi_label,
            "splits": {split.name: self._describe_split(split) for split in self._splits()},
            "notes": list(self.notes),
        }

    def _splits(self) -> tuple[Split, Split, Split]:
        return self.train, self.validation, self.test

    def _describe_split(self, split: Split) -> dict[str, Any]:
        counts = count_labels(split.labels, len(self.label_names)).tolist()
        per_label = dict(zip(self.label_names, counts, strict=True))
        return {"rows": len(split), "hash": split.hash, "per_label": per_label}
