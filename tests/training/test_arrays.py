"""Arrays come back as they were written, other programs can read them, and what is broken is told from what is not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from loracle import caching
from loracle.training.arrays import find_arrays, keeping_arrays

ROWS = torch.arange(12, dtype=torch.float32).reshape(4, 3)
COUNTS = torch.tensor([1, 2, 3], dtype=torch.int32)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LORACLE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def keep(key: str = "a", rows: torch.Tensor = ROWS) -> Path:
    with keeping_arrays("tokens", key) as writer:
        for piece in rows.split(3):
            writer.add("rows", piece)
        writer.add("counts", COUNTS)
    return caching.place_of("tokens", key)


def test_pieces_come_back_as_one_array() -> None:
    keep()
    arrays = find_arrays("tokens", "a")
    assert arrays is not None
    assert np.array_equal(arrays["rows"].map(), ROWS.numpy())
    assert np.array_equal(arrays["counts"].map(), COUNTS.numpy())
    assert isinstance(arrays["rows"].map(), np.memmap)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int32])
def test_file_is_one_of_safetensors(dtype: torch.dtype) -> None:
    path = keep(rows=ROWS.to(dtype))
    with safe_open(path, "pt") as file:
        assert torch.equal(file.get_tensor("rows"), ROWS.to(dtype))
        assert torch.equal(file.get_tensor("counts"), COUNTS)


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "flipped":
        content[-5] ^= 1
    elif how == "header":
        content[8:40] = b"?" * 32
    kept = {"cut": content[:-3], "empty": b"", "longer": content + b"x"}.get(how, content)
    path.unlink()
    path.write_bytes(kept)


@pytest.mark.parametrize("how", ["flipped", "header", "cut", "empty", "longer"])
def test_broken_file_is_not_used_and_deleted(how: str) -> None:
    path = keep()
    damage(path, how)
    assert find_arrays("tokens", "a") is None
    assert not path.exists()
    keep()
    assert find_arrays("tokens", "a")


def test_checksum_is_computed_once_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    from loracle.training import arrays

    keep("once")
    assert find_arrays("tokens", "once")
    monkeypatch.setattr(arrays, "zlib", None)
    assert find_arrays("tokens", "once")


def test_time_that_the_content_took_is_known_when_it_is_found() -> None:
    with caching.noting_spared() as made:
        keep("timed")
    with caching.noting_spared() as found:
        find_arrays("tokens", "timed")
    assert made == {"timed": 0.0}
    assert found.keys() == {"timed"}
    assert found["timed"] >= 0
