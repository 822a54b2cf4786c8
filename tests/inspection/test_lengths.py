from __future__ import annotations

import numpy as np
import pytest

from loracle.inspection.lengths import list_cuts, median_by, summarise_lengths


def test_every_text_stands_in_one_bin() -> None:
    lengths = np.random.default_rng(1).integers(0, 900, 5000).astype(np.int32)
    found = summarise_lengths(lengths, "tokens")
    assert sum(found.bins) + found.longer == 5000
    for place, count in enumerate(found.bins):
        low, high = place * found.bin_width, (place + 1) * found.bin_width
        assert count == ((lengths > low) & (lengths <= high)).sum() + (place == 0) * (lengths == 0).sum()
    assert found.longer == (lengths > len(found.bins) * found.bin_width).sum()


@pytest.mark.parametrize("longest", [1, 39, 41, 1000, 100_000])
def test_there_are_at_most_forty_bins_with_edges_on_powers_of_two(longest: int) -> None:
    found = summarise_lengths(np.arange(1, longest + 1, dtype=np.int32), "words")
    assert len(found.bins) <= 40
    assert found.bin_width & (found.bin_width - 1) == 0


def test_one_giant_does_not_flatten_the_picture() -> None:
    found = summarise_lengths(np.array([*range(1, 1000), 10**7], np.int32), "words")
    assert found.longer < 20
    assert found.longest == 10**7
    assert len(found.bins) > 10


def test_a_cut_counts_texts_and_tokens_beyond_the_length() -> None:
    cuts = {cut.max_length: cut for cut in list_cuts(np.array([10, 64, 65, 164], np.int32), 100)}
    assert sorted(cuts) == [64, 100, 128, 256, 512]
    assert (cuts[64].texts, cuts[64].share) == (2, 0.5)
    assert cuts[64].lost_tokens == pytest.approx(101 / 303)
    assert (cuts[100].texts, cuts[128].texts, cuts[256].texts) == (1, 1, 0)


def test_medians_are_those_of_each_class() -> None:
    codes = np.array([0, 2, 0, 2, 2])
    assert median_by(codes, np.array([1, 5, 3, 7, 100], np.int32), 3) == [2, 0, 7]
