"""Texts as tokens, and tokens as padded batches of similar length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from loracle.training.tokenising import encode_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BATCHES_IN_WINDOW = 50


@dataclass(frozen=True)
class Tokens:
    """Tokenised texts in one flat array; text i is `flat[starts[i]:starts[i + 1]]`. `labels` may be absent."""

    flat: np.ndarray  # int32
    starts: np.ndarray  # int64 (texts + 1,)
    pad: int
    labels: np.ndarray | None = None  # int64 (texts,), or 0 and 1, uint8 (texts, classes), where several may hold

    ids_suffice: ClassVar[bool] = True  # a batch's ids and mask are all that a network is given of its texts

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text, int64 (texts,)."""
        return np.diff(self.starts)

    def pad_batch(self, rows: np.ndarray, *, multiple: int = 1) -> tuple[Tensor, Tensor]:
        """Return input ids and attention mask of these texts, both int64 (rows, longest of them).

        The length is rounded up to a multiple, but not above that of the longest of all texts.
        """
        starts = self.starts[rows, None]
        lengths = self.starts[rows + 1, None] - starts
        columns = np.arange(self._round_up(int(lengths.max()), multiple))
        mask = columns < lengths
        places = np.minimum(starts + columns, len(self.flat) - 1)
        ids = np.where(mask, self.flat[places], self.pad).astype(np.int64)
        return torch.from_numpy(ids), torch.from_numpy(mask.astype(np.int64))

    @cached_property
    def _longest(self) -> int:
        return int(self.lengths.max())

    def _round_up(self, length: int, multiple: int) -> int:
        rounded = -(-length // multiple) * multiple
        return max(length, min(rounded, self._longest))


def tokenise(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    max_length: int,
    *,
    labels: np.ndarray | None = None,
    keep: bool = False,
) -> Tokens:
    """Tokenise texts in blocks, cut to `max_length` tokens, special tokens included.

    Of a very long text only the beginning that can matter is read, so that a megabyte costs no more than a page. A text
    without any token, as an empty one may be to a decoder, is one padding token. `keep` is for texts that come again,
    as those of a training split: the tokens of many are kept in the cache, and are memory-mapped.
    """
    pad = 0 if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    flat, lengths = encode_texts(tokenizer, texts, max_length, pad, keep=keep)
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
    return Tokens(flat, starts, pad, labels)


def shuffled_batches(lengths: np.ndarray, batch_size: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the rows of each batch, int64 (<= batch_size,): every row once, in random order, similar lengths together.

    Rows are shuffled, sorted by length inside windows of 50 batches, cut, and the batches shuffled again.
    """
    order = generator.permutation(len(lengths))
    window = batch_size * _BATCHES_IN_WINDOW
    batches: list[np.ndarray] = []
    for start in range(0, len(order), window):
        rows = order[start : start + window]
        rows = rows[np.argsort(lengths[rows], kind="stable")]
        batches += [rows[cut : cut + batch_size] for cut in range(0, len(rows), batch_size)]
    for index in generator.permutation(len(batches)):
        yield batches[index]


def map_batches(tokens: Tokens, batch_size: int, compute: Callable[[Tensor, Tensor], Tensor]) -> np.ndarray:
    """Apply `compute(ids, mask) -> (rows, width)` to all texts, longest first; return float32 rows in text order."""
    order = np.argsort(-tokens.lengths, kind="stable")
    out: np.ndarray | None = None
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        ids, mask = tokens.pad_batch(rows)
        values = compute(ids, mask).float().cpu().numpy()
        if out is None:
            out = np.empty((len(tokens), values.shape[1]), np.float32)
        out[rows] = values
    return np.empty((0, 0), np.float32) if out is None else out
