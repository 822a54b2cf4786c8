"""Texts become the tokens that transformers would make, and those of many texts are made once."""

import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from loracle import caching
from loracle.models.loading import load_tokenizer
from loracle.training import tokenising
from loracle.training.batching import Tokens, tokenise

WORDS = "late parcel again lovely and fast never answered friendly thanks zzz [SEP] </s>".split()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LORACLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tokenising, "KEPT_FROM", 20)
    monkeypatch.setattr(tokenising, "_ENCODED_AT_ONCE", 7)
    return tmp_path / "cache"


@pytest.fixture
def encodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts each piece of work encoded, as long as it went."""
    done: list[int] = []
    encode = tokenising._Work.encode

    def counted(work: tokenising._Work) -> Iterator[tokenising.Encoded]:
        done.append(len(work.texts))
        yield from encode(work)

    monkeypatch.setattr(tokenising._Work, "encode", counted)
    return done


def make_texts(count: int) -> list[str]:
    draw = np.random.default_rng(count)
    return [" ".join(draw.choice(WORDS, size=draw.integers(0, 30))) for _ in range(count)]


def kept_files(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file()]


def same(first: Tokens, second: Tokens) -> bool:
    return np.array_equal(first.flat, second.flat) and np.array_equal(first.starts, second.starts)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("max_length", [5, 16, 64])
def test_tokens_are_those_of_transformers(tiny_base: Path, max_length: int, side: str) -> None:
    tokenizer, texts = load_tokenizer(str(tiny_base)), make_texts(50)
    tokenizer.truncation_side = side
    tokens = tokenise(tokenizer, texts, max_length)
    expected = tokenizer([text.lstrip() for text in texts], truncation=True, max_length=max_length)["input_ids"]
    assert tokens.flat.tolist() == [token for ids in expected for token in ids]
    assert tokens.lengths.tolist() == [len(ids) for ids in expected]


@pytest.mark.parametrize("split", [False, True])
def test_special_tokens_in_a_text_are_read_as_the_tokenizer_says(tiny_base: Path, split: bool) -> None:
    tokenizer = load_tokenizer(str(tiny_base))
    tokenizer.split_special_tokens = split
    tokens = tokenise(tokenizer, ["late [SEP]"], 16)
    assert (tokens.flat.tolist().count(tokenizer.sep_token_id) == 1) == split


def test_tokens_of_many_texts_are_made_once(tiny_base: Path, cache: Path, encodings: list[int]) -> None:
    tokenizer, texts, labels = load_tokenizer(str(tiny_base)), make_texts(40), np.arange(40)
    plain = tokenise(tokenizer, texts, 16)
    first = tokenise(tokenizer, texts, 16, keep=True)
    again = tokenise(load_tokenizer(str(tiny_base)), texts, 16, labels=labels, keep=True)
    assert encodings == [40, 40]
    assert same(plain, first)
    assert same(plain, again)
    assert again.labels is labels
    assert isinstance(again.flat, np.memmap)
    rows = np.array([3, 30, 0])
    assert all(np.array_equal(a, b) for a, b in zip(plain.pad_batch(rows), again.pad_batch(rows), strict=True))
    assert len(kept_files(cache)) == 1


def test_another_text_length_or_tokenizer_is_other_work(tiny_base: Path, cache: Path) -> None:
    tokenizer, texts = load_tokenizer(str(tiny_base)), make_texts(40)
    tokenise(tokenizer, texts, 16, keep=True)
    for work in (
        lambda: tokenise(tokenizer, [*texts[:-1], "late"], 16, keep=True),
        lambda: tokenise(tokenizer, texts, 17, keep=True),
        lambda: tokenise(_with(tokenizer, split_special_tokens=True), texts, 16, keep=True),
        lambda: tokenise(_with(tokenizer, pad_token="[UNK]"), texts, 16, keep=True),
        lambda: tokenise(_with(tokenizer, truncation_side="left"), texts, 16, keep=True),
    ):
        before = len(kept_files(cache))
        work()
        assert len(kept_files(cache)) == before + 1


def _with(tokenizer: object, **options: object) -> object:
    for name, value in options.items():
        setattr(tokenizer, name, value)
    return tokenizer


def test_few_texts_and_texts_that_do_not_come_again_leave_no_file(tiny_base: Path, cache: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_base))
    tokenise(tokenizer, make_texts(19), 16, keep=True)
    tokenise(tokenizer, make_texts(40), 16)
    assert kept_files(cache) == []


def test_broken_file_is_made_again(tiny_base: Path, cache: Path) -> None:
    tokenizer, texts = load_tokenizer(str(tiny_base)), make_texts(40)
    plain = tokenise(tokenizer, texts, 16)
    tokenise(tokenizer, texts, 16, keep=True)
    (path,) = kept_files(cache)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-4])
    assert same(tokenise(tokenizer, texts, 16, keep=True), plain)
    assert path.read_bytes()[1024:] == content[1024:]


def test_folder_that_cannot_be_written_changes_nothing(tiny_base: Path, cache: Path, tmp_path: Path) -> None:
    cache.write_text("a file stands in the way")
    tokenizer, texts = load_tokenizer(str(tiny_base)), make_texts(40)
    assert same(tokenise(tokenizer, texts, 16, keep=True), tokenise(tokenizer, texts, 16))
    assert cache.is_file()


def test_folder_that_may_only_be_read_is_read(tiny_base: Path, cache: Path, encodings: list[int]) -> None:
    tokenizer, texts = load_tokenizer(str(tiny_base)), make_texts(40)
    tokenise(tokenizer, texts, 16, keep=True)
    folder = cache / "tokens"
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        tokenise(tokenizer, texts, 16, keep=True)
        other = make_texts(41)
        assert same(tokenise(tokenizer, other, 16, keep=True), tokenise(tokenizer, other, 16))
    finally:
        folder.chmod(stat.S_IRWXU)
    assert encodings[:2] == [40, 41]


def test_full_disk_changes_nothing(tiny_base: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("loracle.training.arrays.ArrayWriter.add", fail)
    tokenizer, texts = load_tokenizer(str(tiny_base)), make_texts(40)
    assert same(tokenise(tokenizer, texts, 16, keep=True), tokenise(tokenizer, texts, 16))
    assert kept_files(cache) == []


def test_interrupted_work_leaves_no_file(tiny_base: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("loracle.training.arrays.ArrayWriter.finish", interrupt)
    with pytest.raises(KeyboardInterrupt):
        tokenise(load_tokenizer(str(tiny_base)), make_texts(40), 16, keep=True)
    assert kept_files(cache) == []


def test_tests_do_not_write_into_the_cache_of_the_user() -> None:
    assert "loracle-tests-" in str(caching.cache_folder())
