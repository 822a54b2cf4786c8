"""What the frozen bottom of a network gives is computed once for each text, kept, and handed back in training.

A file of the cache holds the states of all tokens of a split, in the order of its texts; it serves all epochs, learning
rates, seeds and methods with the same frozen layers.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from loracle import caching
from loracle.errors import FileError
from loracle.training.arrays import ArrayWriter, RowReader, StoredArray, find_arrays, keeping_arrays
from loracle.training.batching import Tokens
from loracle.training.bottom import FrozenBottom, choose_few, find_bottom, is_close
from loracle.training.budget import Budget
from loracle.training.precision import ComputePath

LARGEST_BYTES = 16 * 10**9
"""What is kept for one fit takes no more on disk, and no more than `SHARE_OF_DISK` of what is free."""
SHARE_OF_DISK = 0.25
FEWEST_TEXTS = 64
"""Of fewer texts to train on nothing is kept: to find and to try the bottom takes as long as to compute it."""

_FORMAT = 1  # of what is kept: raise it when that changes, and what is there is not found
_KIND = "bottoms"
_ROWS = "rows"
_BATCH = 32
_TOKENS_AT_ONCE = 2**15  # whose states are in memory while a file is written
_STILL_SAME = {"fp32": 1e-2, "bf16": 0.3}  # what batches of other shapes add up to after many layers, and far more


@contextmanager
def stepping_over(
    network: nn.Module, splits: Sequence[Tokens], budget: Budget, path: ComputePath
) -> Iterator[tuple[Tokens, ...]]:
    """Yield the splits so that within the block the network need not compute its frozen bottom for their batches.

    Each `pad_batch` of a split that is yielded must be followed by one forward pass over that batch, in the same order;
    no other batch can be run within the block. Lengths, labels and rows are as they were. The splits are yielded as
    they are where dropout of the base is on, nothing at the bottom is frozen, the network cannot do without it, there
    is too little room, or nothing would be gained: few texts, or one epoch of what was not computed before.
    """
    worth = not budget.base_dropout and len(splits[0]) >= FEWEST_TEXTS and all(map(len, splits))
    network.to(path.device).eval()
    bottom = find_bottom(network, splits[0], path) if worth else None
    kept = keep_states(bottom, splits, only_find=budget.epochs < 2) if bottom else None
    with ExitStack() as stack:
        readers = _open(kept, stack)
        if not bottom or not readers:
            yield tuple(splits)
            return
        waiting = stack.enter_context(bottom.feeding())
        yield tuple(
            _feed(split, bottom.choose(split), reader, waiting) for split, reader in zip(splits, readers, strict=True)
        )
        if waiting:
            raise RuntimeError(f"{len(waiting)} batches were padded and never run")


def keep_states(bottom: FrozenBottom, splits: Sequence[Tokens], *, only_find: bool = False) -> list[StoredArray] | None:
    """Return where the states of each split's tokens lie, of those that are fed; computed where they are not there.

    None where they would be too large or cannot be written, or where they should be found only.
    """
    keys = [_hash_work(bottom, split) for split in splits]
    found = [_find(bottom, key, split) for key, split in zip(keys, splits, strict=True)]
    missing = [place for place, array in enumerate(found) if array is None]
    if missing and (only_find or _count_bytes(bottom, [splits[place] for place in missing]) > _room()):
        return None
    for place in missing:
        with suppress(OSError), keeping_arrays(_KIND, keys[place]) as writer:
            _compute(bottom, splits[place], writer)
        found[place] = _find(bottom, keys[place], splits[place])
    there = [array for array in found if array is not None]
    return there if len(there) == len(splits) else None


@dataclass(frozen=True, kw_only=True)
class _Fed(Tokens):
    """Tokens whose batches come with the states that the bottom hands back for them."""

    source: Tokens
    reader: RowReader
    waiting: deque[Tensor]

    ids_suffice: ClassVar[bool] = False

    def pad_batch(self, rows: np.ndarray, *, multiple: int = 1) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Return what the network is fed with for these texts, and let their states wait for the next pass.

        They are as long as the longest of them, whatever the multiple.
        """
        self.waiting.clear()  # of a batch whose pass ended before it took them, as where memory ran out
        self.waiting.append(self.reader.read_padded(self.source.starts[rows], self.source.starts[rows + 1]))
        return self.source.pad_batch(rows)


def _feed(split: Tokens, source: Tokens, reader: RowReader, waiting: deque[Tensor]) -> Tokens:
    fields = (split.flat, split.starts, split.pad, split.labels)
    return _Fed(*fields, source=source, reader=reader, waiting=waiting)


def _open(arrays: Sequence[StoredArray] | None, stack: ExitStack) -> list[RowReader]:
    """Return a reader of each array, closed with the stack; none where another process has deleted a file."""
    try:
        return [stack.enter_context(RowReader(array)) for array in arrays or ()]
    except OSError:
        return []


def _find(bottom: FrozenBottom, key: str, tokens: Tokens) -> StoredArray | None:
    """Return where the states are kept, if those of a few texts are what is computed now."""
    array = (find_arrays(_KIND, key) or {}).get(_ROWS)
    if array is None:
        return None
    fed, rows = bottom.choose(tokens), choose_few(tokens)
    computed = pad_sequence(bottom.compute(tokens, rows), batch_first=True)
    if (array.shape, array.dtype) != ((len(fed.flat), computed.shape[-1]), computed.dtype):
        return None
    try:
        with RowReader(array) as reader:
            kept = reader.read_padded(fed.starts[rows], fed.starts[rows + 1])
    except (OSError, FileError):
        return None
    return array if is_close(kept, computed, _STILL_SAME[bottom.path.precision]) else None


def _compute(bottom: FrozenBottom, tokens: Tokens, writer: ArrayWriter) -> None:
    """Write the states of all texts in order, computed with texts of similar length together."""
    windows = np.flatnonzero(np.diff(tokens.starts[:-1] // _TOKENS_AT_ONCE)) + 1
    for rows in np.split(np.arange(len(tokens)), windows):
        by_length = rows[np.argsort(-tokens.lengths[rows], kind="stable")]
        states: dict[int, Tensor] = {}
        for start in range(0, len(rows), _BATCH):
            batch = by_length[start : start + _BATCH]
            states.update(zip(batch.tolist(), bottom.compute(tokens, batch), strict=True))
        writer.add(_ROWS, torch.cat([states[row] for row in rows.tolist()]))


def _count_bytes(bottom: FrozenBottom, splits: Sequence[Tokens]) -> int:
    (states,) = bottom.compute(splits[0], np.zeros(1, dtype=np.int64))
    return sum(len(bottom.choose(split).flat) for split in splits) * states.shape[-1] * states.itemsize


def _room() -> float:
    return min(LARGEST_BYTES, SHARE_OF_DISK * caching.free_bytes())


def _hash_work(bottom: FrozenBottom, tokens: Tokens) -> str:
    """Return a hash of all that the states of these texts depend on."""
    libraries = f"torch {torch.__version__} transformers {version('transformers')}"
    digest = hashlib.sha256(f"{_FORMAT} {libraries} {bottom.identity} ".encode())
    for array in (tokens.starts, tokens.flat):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:32]
