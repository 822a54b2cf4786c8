"""The cost of a search does not depend on what an earlier run left in the cache."""

from types import SimpleNamespace
from typing import Any

import pytest

from loracle import caching
from loracle.comparison.searching import search
from loracle.methods.method import Method, Setup

METRICS = {"accuracy": 0.5, "macro_f1": 0.5, "log_loss": 1.0}


def method(*found: str) -> Method:
    """Return a method whose fits find so many things, or make them where the name begins with "made"."""

    def fit(*_: object, learning_rate: float | None, **__: object) -> Any:
        for key in found:
            caching.note_made(key) if key.startswith("made") else caching.note_found(key, 1000.0)
        return SimpleNamespace(search=(), validation_metrics=METRICS)

    return Method(name="thrifty", summary="", fit=fit, load=lambda folder: None, learning_rates=(1.0, 2.0, 3.0))


@pytest.mark.parametrize(
    ("found", "search_seconds", "training_seconds"),
    [((), 0, 0), (("tokens",), 1000, 1000), (("tokens", "tokens", "bottom"), 2000, 2000), (("made",), 0, 0)],
)
def test_what_was_found_counts_once_as_if_it_were_made(
    found: tuple[str, ...], search_seconds: float, training_seconds: float
) -> None:
    result = search(method(*found), None, Setup(), seed=0, learning_rates=(1.0, 2.0, 3.0))
    assert result.search_seconds == pytest.approx(search_seconds, abs=10)
    assert result.reading.seconds == pytest.approx(training_seconds, abs=10)
