"""`loracle batch-demo`: the page of a demonstration, and what is refused or stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from loracle.cli import main
from loracle.comparison import doubling


def answer(_setup: object, _method: str, batch: int, _memory: int) -> dict[str, object]:
    fits = batch <= 4
    return {"fits": fits, "peak_memory_bytes": 10_000_000 * batch if fits else None, "seconds": 1.0}


def test_the_table_and_a_page_without_requests_come_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    monkeypatch.setattr(doubling, "run_trial", answer)
    assert main(["batch-demo", "bert-tiny", "--memory", "50MB", "--max-length", "8", "--out", "demo.html"]) == 0
    out = capsys.readouterr().out
    assert "full fits batches of 4 and lora fits batches of 4" in out
    page = (here / "demo.html").read_text()
    assert page.count("<svg") == 2
    assert "does not fit" in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_stop_leaves_no_page(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(doubling, "run_trial", stop)
    assert main(["batch-demo", "bert-tiny", "--max-length", "8", "--out", "demo.html"]) == 130
    assert list(here.iterdir()) == []


def test_what_cannot_be_is_one_line(refusal: Callable[..., str], here: Path) -> None:
    assert "such as 24GB" in refusal("batch-demo", "bert-tiny", "--memory", "much")
    assert "ends in .html" in refusal("batch-demo", "bert-tiny", "--out", "demo.txt")
    (here / "page.html").write_text("mine")
    assert "was not written by this command" in refusal("batch-demo", "bert-tiny", "--out", "page.html")
