"""The batch doubles until a child process may not grow further; no child and no half page is left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from loracle.comparison import doubling, trial
from loracle.comparison.doubling import double_batches
from loracle.comparison.trial import run_trial
from loracle.errors import ConfigError, ModelError, RunError
from loracle.methods.method import Setup
from loracle.training.budget import Budget

LIMIT = 200_000_000


@pytest.fixture(scope="module")
def setup(tiny_base: Path) -> Setup:
    return Setup(model=str(tiny_base), budget=Budget(max_length=64, precision="fp32"))


def test_a_batch_that_fits_is_measured_and_one_beyond_the_limit_is_told(setup: Setup) -> None:
    small, large = (run_trial(setup, "full", batch, LIMIT) for batch in (4, 4096))
    assert small["fits"]
    assert 0 < small["peak_memory_bytes"] <= LIMIT
    assert not large["fits"]
    assert large["peak_memory_bytes"] is None


def test_another_failure_than_memory_is_no_end_of_memory(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RunError, match=r"failed for another reason than memory: .*no model_type"):
        run_trial(Setup(model=str(tmp_path)), "full", 1, LIMIT)


def test_batches_double_until_one_does_not_fit(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(_setup: Setup, method: str, batch: int, _memory: int) -> dict[str, object]:
        fits = batch <= (4 if method == "full" else 16)
        return {"fits": fits, "peak_memory_bytes": batch * 10 if fits else None, "seconds": 1.0}

    monkeypatch.setattr(doubling, "run_trial", answer)
    found = double_batches(setup, LIMIT)
    assert [item.batch_size for item in found.of("full")] == [1, 2, 4, 8]
    assert [item.batch_size for item in found.of("lora")] == [1, 2, 4, 8, 16, 32]
    assert (found.largest("full"), found.largest("lora")) == (4, 16)
    planned = [item.predicted_bytes for item in found.of("full")]
    assert planned == sorted(planned)
    assert planned[0] > 0


def test_what_cannot_run_is_refused_before_a_child_starts(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubling, "run_trial", lambda *_: pytest.fail("a child was started"))
    with pytest.raises(ConfigError):
        double_batches(setup, LIMIT, methods=("tfidf",))
    with pytest.raises(ModelError):
        double_batches(Setup(model="/nowhere/at/all"), LIMIT)


def test_no_child_outlives_a_stop(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "communicate", stop)
    before = {child.pid for child in psutil.Process().children()}
    with pytest.raises(KeyboardInterrupt):
        run_trial(setup, "full", 1, LIMIT)
    assert {child.pid for child in psutil.Process().children()} == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to its data")
def test_the_limit_is_on_growth_and_is_lifted_again() -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    with trial._limited(50_000_000, "cpu"), pytest.raises(MemoryError):
        bytearray(200_000_000)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert len(bytearray(200_000_000)) == 200_000_000
