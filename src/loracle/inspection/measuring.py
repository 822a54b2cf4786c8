"""The one pass over all texts: what is counted in each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from loracle.data.cleaning import text_key
from loracle.inspection.characters import mark_characters
from loracle.inspection.corpus import READ_CHARACTERS, Corpus
from loracle.inspection.shingles import (
    SIGNATURE,
    Signatures,
    WordHashes,
    empty_minhash,
    shingle,
    sign,
    split_words,
)

if TYPE_CHECKING:
    from datasketch import MinHash
    from transformers import PreTrainedTokenizerBase

OnProgress = Callable[[str, int, int], None]
"""Told the name of a stage, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class Measures:
    """One value of each kind, and one signature, for every row of a corpus, in its order; 280 bytes a row."""

    keys: npt.NDArray[np.uint64]  # equal texts, blanks around them aside, have equal keys
    words: npt.NDArray[np.int32]
    tokens: npt.NDArray[np.int32]  # those that the tokenizer adds included
    marks: npt.NDArray[np.uint16]  # a bit for each check that the characters meet
    signatures: Signatures  # (rows, 64)


def measure_texts(corpus: Corpus, tokenizer: PreTrainedTokenizerBase, on_progress: OnProgress) -> Measures:
    """Read every text once and return its measures."""
    rows = len(corpus)
    measures = Measures(
        keys=np.empty(rows, np.uint64),
        words=np.empty(rows, np.int32),
        tokens=np.empty(rows, np.int32),
        marks=np.empty(rows, np.uint16),
        signatures=np.empty((rows, SIGNATURE), np.uint32),
    )
    count_tokens, hashes, minhash = token_counter(tokenizer), WordHashes(), empty_minhash()
    for start, batch in corpus.batches():
        here, texts = slice(start, start + len(batch)), batch.to_pylist()
        measures.keys[here] = [text_key(text) for text in texts]
        measures.marks[here] = mark_characters(batch)
        beginnings = [text[:READ_CHARACTERS] for text in texts]
        measures.tokens[here] = count_tokens(beginnings)
        _measure_words(measures, start, beginnings, hashes, minhash)
        on_progress("reading", here.stop, rows)
    return measures


def token_counter(tokenizer: PreTrainedTokenizerBase) -> Callable[[list[str]], list[int]]:
    """Return a function that counts the tokens of texts, uncut; the tokenizer is not changed."""
    from tokenizers import Tokenizer

    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    return lambda texts: [len(encoding) for encoding in backend.encode_batch_fast(texts)]


def _measure_words(measures: Measures, start: int, texts: list[str], hashes: WordHashes, minhash: MinHash) -> None:
    for row, text in enumerate(texts, start):
        words = split_words(text)
        measures.words[row] = len(words)
        measures.signatures[row] = sign(shingle(words, hashes), minhash)
