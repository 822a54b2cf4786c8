"""A fit that steps over its frozen bottom is the fit that it would have been, and computes the bottom once."""

import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from loracle import caching
from loracle.lora.config import LoRAConfig
from loracle.lora.injection import inject
from loracle.models.freezing import train_head, train_upper_layers
from loracle.models.loading import Base, load_base
from loracle.training import fitting, states
from loracle.training.arrays import ArrayWriter
from loracle.training.batching import Tokens, tokenise
from loracle.training.bottom import FrozenBottom
from loracle.training.budget import Budget
from loracle.training.precision import ComputePath

PATH = ComputePath("cpu", "fp32", "eager")
LABELS = np.array([0, 1] * 40)
TEXTS = [
    " ".join(np.random.default_rng(row).choice(words, size=3 + row % 20))
    for row in range(80)
    for words in [["late", "never", "rude", "was"] if row % 2 == 0 else ["lovely", "fast", "was", "thanks"]]
]
BUDGET = Budget(epochs=3, batch_size=8, patience=5)
WAYS = {
    "partial": lambda base: train_upper_layers(base, 1),
    "head": train_head,
    "lora": lambda base: inject(
        base.network, LoRAConfig(rank=4, dropout=0.1, targets=("layer.1.attention.self.query",)), head=base.head
    ),
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LORACLE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many texts were computed and written, each time."""
    counts: list[int] = []
    compute = states._compute

    def counted(bottom: FrozenBottom, tokens: Tokens, writer: ArrayWriter) -> None:
        counts.append(len(tokens))
        compute(bottom, tokens, writer)

    monkeypatch.setattr(states, "_compute", counted)
    return counts


def load(folder: Path, way: str, seed: int = 0) -> Base:
    torch.manual_seed(seed)
    base = load_base(str(folder), ("bad", "good"), attention="eager")
    WAYS[way](base)
    return base


def split(base: Base) -> tuple[Tokens, Tokens]:
    tokens = tokenise(base.tokenizer, TEXTS, 24, labels=LABELS)
    return tokens, tokenise(base.tokenizer, TEXTS[::3], 24, labels=LABELS[::3])


@contextmanager
def stepped(base: Base, *, epochs: int = 3, path: ComputePath = PATH) -> Iterator[tuple[Tokens, ...]]:
    with states.stepping_over(base.network, split(base), replace(BUDGET, epochs=epochs), path) as splits:
        yield splits


def is_stepped(splits: tuple[Tokens, ...]) -> bool:
    return all(isinstance(item, states._Fed) for item in splits)


def fit(base: Base, splits: tuple[Tokens, ...], budget: Budget = BUDGET, rate: float = 1e-3) -> fitting.History:
    torch.manual_seed(1)
    return fitting.fit(base.network, *splits, budget, learning_rate=rate, seed=0, path=PATH)


def kept_files(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


@pytest.mark.parametrize("options", [{}, {"gradient_checkpointing": True}], ids=["plain", "recomputing"])
@pytest.mark.parametrize("way", WAYS)
def test_a_whole_fit_is_the_same(tiny_base: Path, way: str, options: dict[str, bool]) -> None:
    plain, other, budget = load(tiny_base, way), load(tiny_base, way), replace(BUDGET, **options)
    expected = fit(plain, split(plain), budget)
    with stepped(other) as splits:
        assert is_stepped(splits)
        history = fit(other, splits, budget)
    assert history.best.epoch == expected.best.epoch
    for one, two in zip(history.epochs, expected.epochs, strict=True):
        assert one.train_loss == pytest.approx(two.train_loss, abs=1e-5)
        assert one.metrics == pytest.approx(two.metrics, abs=1e-4)
    weights = other.network.state_dict()
    for name, weight in plain.network.state_dict().items():
        torch.testing.assert_close(weights[name], weight, rtol=0, atol=1e-4, msg=name)


def test_batches_have_the_order_and_the_labels_that_they_had(tiny_base: Path) -> None:
    base = load(tiny_base, "head")
    plain = split(base)
    with stepped(base) as splits:
        for one, two in zip(splits, plain, strict=True):
            assert len(one) == len(two)
            assert np.array_equal(one.lengths, two.lengths)
            assert np.array_equal(one.labels, two.labels)


def test_frozen_layers_are_not_run_in_a_fit(tiny_base: Path) -> None:
    base = load(tiny_base, "partial")
    with stepped(base) as splits:
        layers = base.network.bert.encoder.layer
        calls = [0, 0]
        for place in range(2):
            layers[place].output.register_forward_hook(
                lambda *_, place=place: calls.__setitem__(place, calls[place] + 1)
            )
        fit(base, splits)
    assert calls[0] == 0
    assert calls[1] > 30


def test_bottom_is_computed_once_for_all_fits(tiny_base: Path, cache: Path, computed: list[int]) -> None:
    for way, seed, rate in (("partial", 0, 1e-3), ("partial", 0, 1e-4), ("partial", 1, 1e-3), ("lora", 2, 1e-3)):
        base = load(tiny_base, way, seed)
        with caching.noting_spared() as spared, stepped(base) as splits:
            fit(base, splits, rate=rate)
        assert len(spared) == 2
    assert computed == [80, 27]
    assert len(kept_files(cache)) == 2


def test_head_keeps_one_token_of_a_text(tiny_base: Path, cache: Path, computed: list[int]) -> None:
    for way in ("partial", "head"):
        with stepped(load(tiny_base, way)):
            pass
    rows = sorted((path.stat().st_size - 1024) // (32 * 4) for path in kept_files(cache))
    lengths = [item.lengths.sum() for item in split(load(tiny_base, "head"))]
    assert rows == sorted([80, 27, *lengths])
    assert computed == [80, 27, 80, 27]


def test_other_weights_texts_and_paths_are_other_work(tiny_base: Path, computed: list[int]) -> None:
    def change_weights(base: Base) -> None:
        with torch.no_grad():
            base.network.bert.encoder.layer[0].output.dense.bias[3] += 1

    for change, path in ((lambda base: None, PATH), (change_weights, PATH), (lambda base: None, replace(PATH, precision="bf16"))):  # fmt: skip # noqa: E501
        base = load(tiny_base, "partial")
        change(base)
        with stepped(base, path=path) as splits:
            assert is_stepped(splits)
    assert computed == [80, 27] * 3
    base = load(tiny_base, "partial")
    tokens = tokenise(base.tokenizer, [*TEXTS[:-1], "late late"], 24, labels=LABELS)
    with states.stepping_over(base.network, (tokens, split(base)[1]), BUDGET, PATH):
        assert computed == [80, 27] * 3 + [80]


def test_one_epoch_takes_what_is_there_and_makes_nothing(tiny_base: Path, computed: list[int]) -> None:
    with stepped(load(tiny_base, "partial"), epochs=1) as splits:
        assert not is_stepped(splits)
    with stepped(load(tiny_base, "partial"), epochs=2):
        pass
    with stepped(load(tiny_base, "partial"), epochs=1) as splits:
        assert is_stepped(splits)
    assert computed == [80, 27]


@pytest.mark.parametrize("limit", ["LARGEST_BYTES", "SHARE_OF_DISK"])
def test_what_would_be_too_large_is_not_kept(
    tiny_base: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(states, limit, 1000 if limit == "LARGEST_BYTES" else 0.0)
    base = load(tiny_base, "partial")
    with stepped(base) as splits:
        assert not is_stepped(splits)
        fit(base, splits)
    assert kept_files(cache) == []


def test_network_that_trains_all_layers_is_left_as_it_is(tiny_base: Path, cache: Path) -> None:
    torch.manual_seed(0)
    base = load_base(str(tiny_base), ("bad", "good"), attention="eager")
    plain = split(base)
    with states.stepping_over(base.network, plain, BUDGET, PATH) as splits:
        assert splits == plain
    assert kept_files(cache) == []


def overwrite(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def flip(content: bytes) -> bytes:
    return content[:-2] + bytes([content[-2] ^ 1]) + content[-1:]


@pytest.mark.parametrize("damage", [lambda content: content[:-8], flip, lambda content: b""], ids=["cut", "bit", "no"])
def test_broken_file_is_made_again(
    tiny_base: Path, cache: Path, computed: list[int], damage: Callable[[bytes], bytes]
) -> None:
    with stepped(load(tiny_base, "partial")):
        pass
    good = [path.read_bytes()[1024:] for path in kept_files(cache)]
    for path in kept_files(cache):
        overwrite(path, damage(path.read_bytes()))
    with stepped(load(tiny_base, "partial")) as splits:
        assert is_stepped(splits)
    assert computed == [80, 27, 80, 27]
    assert [path.read_bytes()[1024:] for path in kept_files(cache)] == good


def test_states_that_are_others_than_computed_now_are_made_again(
    tiny_base: Path, cache: Path, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    add = ArrayWriter.add
    with monkeypatch.context() as patch:
        patch.setattr(states, "_find", lambda *_: None)
        patch.setattr(ArrayWriter, "add", lambda self, name, piece: add(self, name, piece + 1))
        with stepped(load(tiny_base, "partial")) as splits:
            assert not is_stepped(splits)
    assert len(kept_files(cache)) == 2
    with stepped(load(tiny_base, "partial")) as splits:
        assert is_stepped(splits)
    assert computed == [80, 27, 80, 27]


def test_folder_that_cannot_be_written_changes_nothing(tiny_base: Path, cache: Path) -> None:
    cache.write_text("a file stands in the way")
    base = load(tiny_base, "partial")
    with stepped(base) as splits:
        assert not is_stepped(splits)
        fit(base, splits)


def test_folder_that_may_only_be_read_is_read(tiny_base: Path, cache: Path, computed: list[int]) -> None:
    with stepped(load(tiny_base, "partial")):
        pass
    folder = cache / "bottoms"
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with stepped(load(tiny_base, "partial")) as splits:
            assert is_stepped(splits)
    finally:
        folder.chmod(stat.S_IRWXU)
    assert computed == [80, 27]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "ctrl-c"])
def test_writing_that_fails_leaves_no_file(
    tiny_base: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(ArrayWriter, "finish", fail)
    base = load(tiny_base, "partial")
    if isinstance(error, OSError):
        with stepped(base) as splits:
            assert not is_stepped(splits)
            fit(base, splits)
    else:
        with pytest.raises(KeyboardInterrupt), stepped(base):
            pass
    assert kept_files(cache) == []
    assert not any("forward" in vars(module) for module in base.network.modules())


def test_deleted_file_is_read_to_the_end(tiny_base: Path, cache: Path) -> None:
    base = load(tiny_base, "partial")
    with stepped(base) as splits:
        for path in kept_files(cache):
            path.unlink()
        assert fit(base, splits).epochs


def test_batch_that_was_padded_and_never_run_is_told(tiny_base: Path) -> None:
    def leave_one() -> None:
        with stepped(load(tiny_base, "partial")) as splits:
            splits[0].pad_batch(np.arange(4))

    with pytest.raises(RuntimeError, match="1 batches were padded and never run"):
        leave_one()


def test_windows_give_the_states_of_each_text_in_order(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = load(tiny_base, "partial")
    with stepped(base) as splits:
        splits[0].pad_batch(np.arange(80))
        whole = splits[0].waiting.popleft()
    caching.drop_oldest(total_bytes=0)
    monkeypatch.setattr(states, "_TOKENS_AT_ONCE", 50)
    monkeypatch.setattr(states, "_BATCH", 3)
    with stepped(load(tiny_base, "partial")) as splits:
        splits[0].pad_batch(np.arange(80))
        torch.testing.assert_close(splits[0].waiting.popleft(), whole, rtol=0, atol=1e-5)


def test_dropout_and_few_texts_leave_the_splits_as_they_are(tiny_base: Path, cache: Path) -> None:
    base = load(tiny_base, "partial")
    plain = split(base)
    for budget, splits in ((replace(BUDGET, base_dropout=True), plain), (BUDGET, plain[::-1])):
        with states.stepping_over(base.network, splits, budget, PATH) as found:
            assert found == splits
    assert kept_files(cache) == []


def test_empty_split_is_left_as_it_is(tiny_base: Path) -> None:
    base = load(tiny_base, "partial")
    empty = tokenise(base.tokenizer, [], 24, labels=LABELS[:0])
    with states.stepping_over(base.network, (split(base)[0], empty), BUDGET, PATH) as splits:
        assert not is_stepped(splits)
