"""A tiny random base model with its tokenizer, and a tiny task: enough to test every property without a network."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers or datasets are imported
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the commands do, so that a busy machine is no trouble

import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

CACHE = tempfile.mkdtemp(prefix="loracle-tests-")
os.environ["HF_DATASETS_CACHE"] = CACHE  # not the user's own
os.environ["LORACLE_CACHE"] = str(Path(CACHE) / "loracle")

WORDS = (
    "late never answered the parcel again lovely fast friendly thanks great broken rude nobody refund wonderful "
    "perfect awful waited weeks my order shop price box it was and a is arrived"
).split()
GOOD, BAD, NEUTRAL = WORDS[6:11], WORDS[11:15], WORDS[20:]


def pytest_unconfigure() -> None:
    shutil.rmtree(CACHE, ignore_errors=True)


@pytest.fixture
def refusal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return what runs a command that must end with code 2, one line on stderr, and every file as it was."""
    from loracle.cli import main

    def contents() -> dict[Path, bytes | None]:
        return {path: path.read_bytes() if path.is_file() else None for path in tmp_path.rglob("*")}

    def refusal(*tokens: object) -> str:
        before = contents()
        capsys.readouterr()
        assert main([str(token) for token in tokens]) == 2
        error = capsys.readouterr().err
        assert error.startswith("loracle: ")
        assert error.count("\n") == 1
        assert contents() == before
        return error

    return refusal


@pytest.fixture(scope="session")
def tiny_tokenizer_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import BertTokenizerFast

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(entries))}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    folder = tmp_path_factory.mktemp("tokenizer")
    BertTokenizerFast(tokenizer_object=tokenizer, model_max_length=64).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_files: Path) -> Path:
    """A folder with a BERT of 2 layers and 32 hidden units, random weights, no head."""
    import shutil

    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("tiny") / "tiny-bert"
    shutil.copytree(tiny_tokenizer_files, folder)
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=120,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for an `architecture` once for each that Loracle knows by name."""
    own = [name for mark in metafunc.definition.iter_markers("parametrize") for name in _names(mark.args[0])]
    if "architecture" in metafunc.fixturenames and "architecture" not in own:
        metafunc.parametrize("architecture", list(load_architectures().ARCHITECTURES))


def _names(given: str | tuple[str, ...]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else given


def load_architectures() -> ModuleType:
    """Return architectures.py beside this file, loaded once, and only where a test asks for it."""
    name = "loracle_test_architectures"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("architectures.py"))
        assert spec
        assert spec.loader
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def architectures() -> ModuleType:
    """The table of tiny models, one of every architecture that Loracle knows by name."""
    return load_architectures()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, architectures: ModuleType) -> Callable[[str], Path]:
    """What gives the folder of a tiny bare model with its tokenizer, by its name in the table; never write into it."""
    folders: Callable[[str], Path] = architectures.caching(tmp_path_factory.mktemp("architectures"))
    return folders


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of 240 short reviews that a small network can learn."""
    import csv
    import random

    draw = random.Random(3)
    path = tmp_path_factory.mktemp("data") / "reviews.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for number in range(240):
            label, own = (("good", GOOD), ("bad", BAD))[number % 2]
            words = draw.choices(own, k=2) + draw.choices(NEUTRAL, k=draw.randint(3, 12))
            draw.shuffle(words)
            writer.writerow([" ".join(words), label])
    return path
