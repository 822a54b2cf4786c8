"""One call finds out what a server takes; what it refuses is left out from then on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from loracle.prompting.cache import Cache
from loracle.prompting.client import Client, Patience
from loracle.prompting.config import LLMConfig
from loracle.prompting.dialect import Dialect, find_dialect, render_body
from loracle.prompting.failures import CallError
from loracle.prompting.prompt import Prompt
from loracle.prompting.server import Server

Serve, Settings = Callable[..., Any], Callable[..., LLMConfig]
REFUSALS = {
    "response_format": "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
    "max_tokens": "Unsupported parameter: 'max_tokens' is not supported with this model. "
    "Use 'max_completion_tokens' instead.",
    "temperature": "Unsupported value: 'temperature' does not support 0 with this model.",
}


def ask_dialect(server: Any, config: LLMConfig, prompt: Prompt, patience: Patience) -> Dialect:
    with (
        Cache(config.llm_cache, base_url=server.url, model="tiny") as cache,
        Client(Server(base_url=server.url), config, patience=patience) as client,
    ):
        return find_dialect(client, cache, "tiny", prompt)


def test_server_that_takes_all_is_asked_once_and_never_again(
    serve: Serve, settings: Settings, prompt: Prompt, patience: Patience
) -> None:
    server = serve()
    assert ask_dialect(server, settings(server), prompt, patience) == Dialect()
    assert ask_dialect(server, settings(server), prompt, patience) == Dialect()
    assert len(server.calls) == 1
    body = server.calls[0].body
    assert (body["temperature"], body["response_format"]["type"]) == (0, "json_schema")


@pytest.mark.parametrize(
    ("refused", "dialect"),
    [
        (("response_format",), Dialect(structured=False)),
        (("max_tokens",), Dialect(token_limit="max_completion_tokens")),
        (("temperature",), Dialect(temperature=False)),
        (("max_tokens", "temperature"), Dialect(token_limit="max_completion_tokens", temperature=False)),
        (
            ("response_format", "max_tokens", "temperature"),
            Dialect(structured=False, token_limit="max_completion_tokens", temperature=False),
        ),
    ],
)
def test_option_that_the_error_names_is_left_out_and_no_other(
    serve: Serve,
    api: ModuleType,
    settings: Settings,
    prompt: Prompt,
    patience: Patience,
    refused: tuple[str, ...],
    dialect: Dialect,
) -> None:
    def rule(call: Any) -> Any:
        return next((api.error(400, REFUSALS[name]) for name in refused if name in call.body), None)

    server = serve(rule)
    assert ask_dialect(server, settings(server), prompt, patience) == dialect
    assert len(server.calls) == 1 + len(refused)


def test_error_that_names_nothing_gives_up_one_option_after_another(
    serve: Serve, api: ModuleType, settings: Settings, prompt: Prompt, patience: Patience
) -> None:
    server = serve(lambda call: api.error(422, "nope") if call.structured or "temperature" in call.body else None)
    dialect = ask_dialect(server, settings(server), prompt, patience)
    assert not dialect.structured
    assert not dialect.temperature


def test_server_without_system_messages_gets_them_with_the_first_question(
    serve: Serve, api: ModuleType, settings: Settings, prompt: Prompt, patience: Patience
) -> None:
    def rule(call: Any) -> Any:
        roles = [message["role"] for message in call.body["messages"]]
        return api.error(400, "System role not supported") if "system" in roles else None

    server = serve(rule)
    dialect = ask_dialect(server, settings(server), prompt, patience)
    assert dialect == Dialect(system=False)
    (message,) = render_body("tiny", prompt, ["x"], dialect)["messages"]
    assert message["role"] == "user"
    assert message["content"].startswith(prompt.instructions)


@pytest.mark.parametrize("content", ["Sure, it is good.", '{"label": "good"}', "1: good", "```json\n{}\n```"])
def test_schema_that_is_taken_and_not_kept_to_counts_as_not_taken(
    serve: Serve, api: ModuleType, settings: Settings, prompt: Prompt, patience: Patience, content: str
) -> None:
    server = serve(lambda call: api.completion(content))
    assert not ask_dialect(server, settings(server), prompt, patience).structured
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    "response",
    [
        lambda api: api.completion(None, reasoning_content="Well ..."),
        lambda api: api.completion("<think>Well", finish_reason="length"),
    ],
)
def test_model_that_thinks_first_gets_room_for_it(
    serve: Serve,
    api: ModuleType,
    settings: Settings,
    prompt: Prompt,
    patience: Patience,
    response: Callable[..., Any],
) -> None:
    server = serve(lambda call: response(api))
    dialect = ask_dialect(server, settings(server), prompt, patience)
    assert dialect.reasons
    plain = render_body("tiny", prompt, ["x"], Dialect())["max_tokens"]
    assert render_body("tiny", prompt, ["x"], dialect)["max_tokens"] > plain + 1000


def test_server_that_takes_nothing_raises_what_it_said(
    serve: Serve, api: ModuleType, settings: Settings, prompt: Prompt, patience: Patience, tmp_path: Path
) -> None:
    server = serve(lambda call: api.error(400, "Server is pinned to another model"))
    with pytest.raises(CallError, match="pinned"):
        ask_dialect(server, settings(server), prompt, patience)
    assert len(server.calls) == 5
