"""Texts through a tokenizer, a block at a time, and each text once: what came of many texts is kept in the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import tokenizers
import torch

from loracle.training.arrays import find_arrays, keeping_arrays

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

KEPT_FROM = 1000
"""Of fewer texts nothing is kept."""

Encoded = tuple[np.ndarray, np.ndarray]
"""The tokens of some texts in one flat array, and how many each text has, both int32."""

_FORMAT = 1  # of what is kept: raise it when that changes, and what is there is not found
_KIND = "tokens"
_ENCODED_AT_ONCE = 1024
_CHARACTERS_PER_TOKEN = 32


def encode_texts(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int, pad: int, *, keep: bool
) -> Encoded:
    """Return the tokens of all texts, each cut to `max_length`; a text without any is one token `pad`.

    With `keep` those of `KEPT_FROM` texts or more go through a file of the cache, and are memory-mapped. Where it
    cannot be written they are in memory.
    """
    work = _Work(_set_up(tokenizer, max_length), texts, _cut(tokenizer, max_length), pad)
    if not keep or len(texts) < KEPT_FROM:
        return _join(list(work.encode()))
    key = work.hash()
    return _find(key) or _encode_once(work, key)


@dataclass(frozen=True)
class _Work:
    """Texts to encode, each without the space before it, and of it only the end that can matter."""

    backend: Tokenizer
    texts: Sequence[str]
    cut: slice
    pad: int

    def blocks(self) -> Iterator[list[str]]:
        for start in range(0, len(self.texts), _ENCODED_AT_ONCE):
            yield [text.lstrip()[self.cut] for text in self.texts[start : start + _ENCODED_AT_ONCE]]

    def encode(self) -> Iterator[Encoded]:
        for block in self.blocks():
            ids = [encoding.ids or [self.pad] for encoding in self.backend.encode_batch_fast(block)]
            lengths = np.fromiter(map(len, ids), np.int32, len(ids))
            yield np.fromiter(chain.from_iterable(ids), np.int32, lengths.sum()), lengths

    def hash(self) -> str:
        """Return a hash of all that the tokens depend on: the tokenizer as it is set up, and the texts."""
        setting = f"{_FORMAT} {tokenizers.__version__} {self.backend.encode_special_tokens} {self.pad} "
        digest = hashlib.sha256((setting + self.backend.to_str()).encode())
        for text in chain.from_iterable(self.blocks()):
            content = text.encode("utf-8", "surrogatepass")
            digest.update(len(content).to_bytes(8, "little") + content)
        return digest.hexdigest()[:32]


def _set_up(tokenizer: PreTrainedTokenizerBase, max_length: int) -> Tokenizer:
    """Return the tokenizer's backend, set as transformers would: it cuts, does not pad, and knows what is special."""
    backend: Tokenizer = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.enable_truncation(max_length, direction=tokenizer.truncation_side)
    backend.encode_special_tokens = tokenizer.split_special_tokens
    return backend


def _cut(tokenizer: PreTrainedTokenizerBase, max_length: int) -> slice:
    """Return which characters of a text may become tokens: so many of its beginning, or of its end."""
    characters = max_length * _CHARACTERS_PER_TOKEN
    return slice(-characters, None) if tokenizer.truncation_side == "left" else slice(characters)


def _encode_once(work: _Work, key: str) -> Encoded:
    """Encode into a file of the cache, a block at a time, and map it; into memory where that cannot be."""
    try:
        with keeping_arrays(_KIND, key) as writer:
            lengths = []
            for flat, counts in work.encode():
                writer.add("flat", torch.from_numpy(flat))
                lengths.append(counts)
            writer.add("lengths", torch.from_numpy(np.concatenate(lengths)))
    except OSError:
        return _join(list(work.encode()))
    return _find(key) or _join(list(work.encode()))


def _find(key: str) -> Encoded | None:
    arrays = find_arrays(_KIND, key)
    if arrays is None or not {"flat", "lengths"} <= arrays.keys():
        return None
    return arrays["flat"].map(), arrays["lengths"].map()


def _join(blocks: list[Encoded]) -> Encoded:
    flat, lengths = zip(*blocks, strict=True) if blocks else ((), ())
    nothing = np.empty(0, np.int32)
    return np.concatenate([nothing, *flat]), np.concatenate([nothing, *lengths])
