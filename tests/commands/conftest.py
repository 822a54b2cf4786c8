"""A folder to stand in, files to be read, and a finished run: what the tests of the commands share."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from loracle.cli import main

Write = Callable[..., Path]


REVIEWS = [
    (f"{word} number {number}", label) for number in range(20) for word, label in (("nice", "good"), ("bad", "bad"))
]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder, so that a default folder is made there too."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def reviews() -> list[tuple[str, str]]:
    """Forty rows of text and label, two labels."""
    return REVIEWS


@pytest.fixture
def write(here: Path) -> Write:
    """Return a writer of files: bytes, text, or rows of a CSV with the columns text and label."""

    def write(content: bytes | str | Sequence[tuple[str, str]] = REVIEWS, name: str = "reviews.csv") -> Path:
        path = here / name
        if isinstance(content, bytes | str):
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        else:
            with path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([("text", "label"), *content])
        return path

    return write


@pytest.fixture(scope="module")
def small(tiny_base: Path) -> tuple[str, ...]:
    """Options that keep a run tiny."""
    return (
        *("--model", str(tiny_base), "--max-length", "32", "--epochs", "1"),
        *("--learning-rates", "1", "--precision", "fp32"),
    )


@pytest.fixture(scope="module")
def begun(tiny_file: Path, small: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of three methods with two seeds."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    code = main(
        ["compare", str(tiny_file), *small, "--methods", "majority,tfidf,lora", "--seeds", "2", "--out", str(folder)]
    )
    assert code == 0
    return folder


@pytest.fixture
def finished(begun: Path, here: Path) -> Path:
    """A copy of the finished run, with its times, to continue or to spoil."""
    return Path(shutil.copytree(begun, here / "run", copy_function=shutil.copy2))
