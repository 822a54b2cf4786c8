"""Batches hold every text once, similar lengths together, padded no more than needed."""

from pathlib import Path

import numpy as np
import pytest
import torch

from loracle.models.loading import load_tokenizer
from loracle.training.batching import Tokens, map_batches, shuffled_batches, tokenise


def ragged(lengths: list[int]) -> Tokens:
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return Tokens(np.arange(1, starts[-1] + 1, dtype=np.int32), starts, pad=0)


def test_every_row_comes_once_in_batches_of_the_asked_size() -> None:
    lengths = np.random.default_rng(0).integers(3, 90, size=1003)
    batches = list(shuffled_batches(lengths, 16, np.random.default_rng(1)))
    assert sorted(np.concatenate(batches)) == list(range(1003))
    assert sorted({len(batch) for batch in batches}) == [1003 % 16, 16]


def test_order_depends_on_the_seed_alone() -> None:
    lengths = np.random.default_rng(0).integers(3, 90, size=200)
    first, again, other = (list(shuffled_batches(lengths, 8, np.random.default_rng(seed))) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_similar_lengths_share_a_batch() -> None:
    lengths = np.random.default_rng(0).integers(3, 128, size=2000)

    def padded(batches: list[np.ndarray]) -> float:
        return sum(len(batch) * lengths[batch].max() for batch in batches) / lengths.sum()

    at_random = [np.arange(start, start + 16) for start in range(0, 2000, 16)]
    assert padded(at_random) > 1.7
    assert padded(list(shuffled_batches(lengths, 16, np.random.default_rng(1)))) < 1.15


def test_short_batches_do_not_always_come_first() -> None:
    lengths = np.arange(3, 803)
    firsts = [lengths[next(shuffled_batches(lengths, 16, np.random.default_rng(seed)))].max() for seed in range(20)]
    assert len(set(firsts)) > 10


def test_padding_reaches_the_longest_of_the_batch_and_is_masked() -> None:
    ids, mask = ragged([2, 4, 1]).pad_batch(np.array([0, 2]))
    assert ids.tolist() == [[1, 2], [7, 0]]
    assert mask.tolist() == [[1, 1], [1, 0]]


def test_mapped_rows_come_back_in_text_order() -> None:
    tokens = ragged([5, 1, 9, 3, 3])
    sums = map_batches(tokens, 2, lambda ids, mask: (ids * mask).sum(1, keepdim=True))
    expected = [tokens.flat[a:b].sum() for a, b in zip(tokens.starts, tokens.starts[1:], strict=False)]
    assert sums[:, 0].tolist() == expected


def test_texts_are_cut_with_their_special_tokens(tiny_base: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_base))
    tokens = tokenise(tokenizer, ["late " * 50, "late", ""], 10)
    assert tokens.lengths.tolist() == [10, 3, 2]
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    assert (tokens.flat[0], tokens.flat[9]) == (cls, sep)


def test_a_megabyte_gives_the_same_tokens_as_its_beginning(tiny_base: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_base))
    long, short = tokenise(tokenizer, ["late parcel " * 100_000, "late parcel " * 20], 16).flat.reshape(2, 16)
    assert long.tolist() == short.tolist()


def test_nothing_to_score_is_no_error(tiny_base: Path) -> None:
    tokens = tokenise(load_tokenizer(str(tiny_base)), [], 16)
    assert len(tokens) == 0
    assert map_batches(tokens, 4, lambda ids, mask: torch.ones(1, 1)).shape[0] == 0


def test_labels_stay_with_their_texts(tiny_base: Path) -> None:
    labels = np.array([1, 0])
    tokens = tokenise(load_tokenizer(str(tiny_base)), ["late", "fast"], 16, labels=labels)
    assert tokens.labels is labels
    assert len(tokens) == 2


@pytest.mark.parametrize("size", [1, 7, 64])
def test_logits_of_a_text_do_not_depend_on_its_neighbours(tiny_base: Path, size: int) -> None:
    from loracle.models.loading import load_base

    base = load_base(str(tiny_base), ("a", "b"), attention="eager")
    base.network.eval()
    texts = ["late " * length for length in (1, 20, 3, 30, 8, 2, 50, 4)]
    tokens = tokenise(base.tokenizer, texts, 60)

    @torch.inference_mode()
    def logits(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return base.network(input_ids=ids, attention_mask=mask).logits

    alone = map_batches(tokens, 1, logits)
    np.testing.assert_allclose(map_batches(tokens, size, logits), alone, atol=1e-5, rtol=0)


def test_text_without_a_token_is_one_padding_token(tiny_base: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_base))
    tokenizer.backend_tokenizer.post_processor = None  # nothing stands around a text, as with GPT-2
    tokens = tokenise(tokenizer, ["", "late", ""], 16)
    assert list(tokens.lengths) == [1, 1, 1]
    ids, mask = tokens.pad_batch(np.array([0, 1]))
    assert ids[0, 0] == tokenizer.pad_token_id != ids[1, 0]
    assert mask.all()


@pytest.mark.parametrize("seed", range(5))
def test_padded_rows_are_those_of_each_text(seed: int) -> None:
    draw = np.random.default_rng(seed)
    tokens = ragged(draw.integers(1, 30, size=40).tolist())
    rows = draw.permutation(40)[: draw.integers(1, 40)]
    ids, mask = tokens.pad_batch(rows)
    assert (ids.dtype, mask.dtype) == (torch.int64, torch.int64)
    for row, line, real in zip(rows, ids, mask, strict=True):
        expected = tokens.flat[tokens.starts[row] : tokens.starts[row + 1]]
        assert line[real.bool()].tolist() == expected.tolist()
        assert not line[~real.bool()].any()
        assert real.sum() == len(expected)
