"""A place where nothing of the user's is read or written: no key, no cache, no .env; and the local server's code."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from loracle.prompting.client import Patience
from loracle.prompting.config import LLMConfig
from loracle.prompting.prompt import Prompt, write_instructions

LABELS = ("good", "bad")
_NAME = "loracle_test_server"


def load_server_module() -> ModuleType:
    """Return server.py beside this file, loaded once."""
    if _NAME not in sys.modules:
        spec = importlib.util.spec_from_file_location(_NAME, Path(__file__).with_name("server.py"))
        assert spec
        assert spec.loader
        module = sys.modules[_NAME] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[_NAME]


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def api() -> ModuleType:
    """The module server.py: `Server`, and what it can send."""
    return load_server_module()


@pytest.fixture
def serve(api: ModuleType) -> Iterator[Callable[..., Any]]:
    """Start a local server with these rules; all are stopped after the test."""
    with ExitStack() as stack:
        yield lambda *rules, **options: stack.enter_context(api.Server(*rules, **options))


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., LLMConfig]:
    """Settings that ask a local server, with a cache of the test's own."""

    def make(server: Any, **options: Any) -> LLMConfig:
        chosen = {"llm_model": "tiny", "llm_base_url": server.url, "llm_cache": tmp_path / "answers", **options}
        return LLMConfig(**chosen)

    return make


@pytest.fixture
def prompt() -> Prompt:
    return Prompt(instructions=write_instructions("verdict", LABELS), label_names=LABELS)


@pytest.fixture
def patience() -> Patience:
    """Four attempts, with waits of a millisecond or two."""
    return Patience(attempts=4, first_seconds=0.001, most_seconds=0.002)
