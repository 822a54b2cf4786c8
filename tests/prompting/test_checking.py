"""What cannot work is said in one line before anything is spent, with the setting to change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from loracle.errors import ConfigError, LoracleError
from loracle.prompting.asking import ask
from loracle.prompting.checking import check
from loracle.prompting.client import Patience
from loracle.prompting.config import LLMConfig
from loracle.prompting.prompt import Prompt

Serve, Settings = Callable[..., Any], Callable[..., LLMConfig]


def message_of(prompt: Prompt, config: LLMConfig) -> str:
    with pytest.raises(LoracleError) as raised:
        check(prompt, config, patience=Patience(attempts=2, first_seconds=0.001))
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_model_that_the_server_lists_passes_without_a_call(serve: Serve, settings: Settings, prompt: Prompt) -> None:
    server = serve(models=["tiny", "other"])
    check(prompt, settings(server))
    assert server.calls == []


def test_server_without_a_list_is_probed_once_and_not_again(serve: Serve, settings: Settings, prompt: Prompt) -> None:
    server = serve()
    check(prompt, settings(server))
    ask(["good box"], prompt, settings(server))
    assert [call.is_probe for call in server.calls] == [True, False]


def test_model_that_is_not_listed_but_answers_passes(serve: Serve, settings: Settings, prompt: Prompt) -> None:
    server = serve(models=["tiny:latest"])
    check(prompt, settings(server))
    assert len(server.calls) == 1


def test_no_model_is_refused(prompt: Prompt) -> None:
    assert "give llm_model" in message_of(prompt, LLMConfig())


def test_no_key_is_refused_where_one_is_needed(prompt: Prompt) -> None:
    assert "set OPENAI_API_KEY" in message_of(prompt, LLMConfig(llm_model="gpt-4o-mini"))


@pytest.mark.parametrize(("given", "words"), [(None, "wants a key"), ("sk-wrong-key", "refuses the key")])
def test_missing_or_wrong_key_is_told_apart_and_not_repeated(
    serve: Serve,
    settings: Settings,
    prompt: Prompt,
    monkeypatch: pytest.MonkeyPatch,
    given: str | None,
    words: str,
) -> None:
    if given:
        monkeypatch.setenv("OPENAI_API_KEY", given)
    message = message_of(prompt, settings(serve(key="sk-right")))
    assert words in message
    assert "OPENAI_API_KEY" in message
    assert "sk-wrong-key" not in message


@pytest.mark.parametrize(("status", "models"), [(404, True), (400, True), (404, False)])
def test_unknown_model_is_named_with_the_closest(
    serve: Serve, api: ModuleType, settings: Settings, prompt: Prompt, status: int, models: bool
) -> None:
    server = serve(
        lambda call: api.error(status, "The model does not exist"), models=["tiny-1b", "large"] if models else None
    )
    message = message_of(prompt, settings(server))
    assert "tiny" in message
    assert ("did you mean 'tiny-1b'?" if models else "mend llm_model") in message


def test_server_that_is_down_is_named(settings: Settings, prompt: Prompt) -> None:
    class Down:
        url = "http://127.0.0.1:9/v1"

    assert "no server answers at http://127.0.0.1:9/v1" in message_of(prompt, settings(Down))


def test_address_without_its_path_is_named(serve: Serve, settings: Settings, prompt: Prompt) -> None:
    server = serve(models=["tiny"])
    message = message_of(prompt, settings(server, llm_base_url=server.url.removesuffix("/v1")))
    assert "usually ends in /v1" in message


def test_web_page_is_told_from_a_server(serve: Serve, api: ModuleType, settings: Settings, prompt: Prompt) -> None:
    message = message_of(prompt, settings(serve(lambda call: api.page())))
    assert "perhaps a web page; mend llm_base_url" in message


def test_labels_that_cannot_be_asked_for_are_refused(serve: Serve, settings: Settings, prompt: Prompt) -> None:
    assert "rename it" in message_of(replace(prompt, label_names=("a: b", "c")), settings(serve(models=["tiny"])))


def test_budget_without_a_price_is_refused(serve: Serve, settings: Settings, prompt: Prompt) -> None:
    server = serve(models=["tiny"])
    assert "llm_prices" in message_of(prompt, settings(server, llm_budget=1.0))
    assert server.calls == []


def test_price_file_that_is_missing_is_refused(serve: Serve, settings: Settings, prompt: Prompt) -> None:
    server = serve(models=["tiny"])
    assert "llm_prices is nowhere.toml" in message_of(prompt, settings(server, llm_prices=Path("nowhere.toml")))


def test_cache_that_cannot_be_written_is_refused(
    serve: Serve, settings: Settings, prompt: Prompt, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    server = serve(models=["tiny"])
    assert "llm_cache" in message_of(prompt, settings(server, llm_cache=tmp_path / "file"))


def test_budget_too_small_for_the_probe_is_told(serve: Serve, settings: Settings, prompt: Prompt) -> None:
    prices = Path("prices.toml")
    prices.write_text('currency = "EUR"\ndate = "2026"\n[models.tiny]\ninput = 1\noutput = 1\n')
    server = serve()
    message = message_of(prompt, settings(server, llm_prices=prices, llm_budget=1e-9))
    assert "nothing is asked yet" in message
    assert server.calls == []


def test_zero_budget_is_refused() -> None:
    with pytest.raises(ConfigError, match="allows no call"):
        LLMConfig(llm_budget=0)
