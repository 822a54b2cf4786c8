"""The server's address and key come from the settings, the environment or .env, and the key goes nowhere else."""

from pathlib import Path

import pytest

from loracle.errors import ConfigError
from loracle.prompting.config import LLMConfig
from loracle.prompting.server import OPENAI_URL, Server, find_server, require_key


def test_settings_win_over_environment_over_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("OPENAI_API_KEY=sk-file\nOPENAI_BASE_URL=http://file/v1\n")
    assert find_server(LLMConfig()) == Server(base_url="http://file/v1", key="sk-file")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment\n")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://environment/v1/")
    assert find_server(LLMConfig()) == Server(base_url="http://environment/v1", key="sk-environment")
    assert find_server(LLMConfig(llm_base_url="http://given/v1")).base_url == "http://given/v1"


def test_without_anything_it_is_openai_and_wants_a_key() -> None:
    server = find_server(LLMConfig())
    assert server == Server(base_url=OPENAI_URL)
    with pytest.raises(ConfigError, match=r"set OPENAI_API_KEY in the environment or in a file \.env"):
        require_key(server)
    require_key(Server(base_url="http://localhost:8000/v1"))


@pytest.mark.parametrize("key", ["sk-one sk-two", "sk-schlüssel", "sk-\nsecret"])
def test_key_that_cannot_be_one_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY holds") as raised:
        find_server(LLMConfig())
    assert "sk-" not in str(raised.value)


def test_address_of_a_file_goes_without_the_key_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    Path(".env").write_text("OPENAI_BASE_URL=http://elsewhere/v1\n")
    assert find_server(LLMConfig()) == Server(base_url="http://elsewhere/v1", key=None)


def test_address_of_the_environment_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "localhost")
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL is 'localhost'"):
        find_server(LLMConfig())


def test_file_that_is_no_text_is_refused() -> None:
    Path(".env").write_bytes(b"OPENAI_API_KEY=\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read as UTF-8"):
        find_server(LLMConfig())


def test_key_is_hidden_in_repr_and_messages() -> None:
    server = Server(base_url="http://h/v1", key="sk-secret")
    assert "sk-secret" not in repr(server)
    assert server.hide_key("Incorrect API key: sk-secret.") == "Incorrect API key: ***."
