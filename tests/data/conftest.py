from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Rows = list[tuple[str, str]]


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the cache of `datasets` out of the user's home, whoever imported it first."""
    import datasets

    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(folder))
        patch.setenv("HF_DATASETS_CACHE", str(folder / "datasets"))
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "datasets")
        yield folder


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for a machine whose Hub does not answer."""
    monkeypatch.setattr("loracle.data.sources._answers", lambda endpoint: False)


@pytest.fixture
def reviews() -> Callable[..., Rows]:
    """Return a maker of distinct (text, label) rows with commas, quotes and new lines in them."""

    def make(each: int = 20, labels: tuple[str, ...] = ("bad", "good")) -> Rows:
        text = 'Visit {}, "they" said\nit was {} — naïve.'
        return [(text.format(number, label), label) for number in range(each) for label in labels]

    return make


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of CSV files into the test's own folder."""

    def write(rows: Rows, name: str = "reviews.csv", columns: tuple[str, ...] = ("text", "label")) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([columns, *rows])
        return path

    return write
