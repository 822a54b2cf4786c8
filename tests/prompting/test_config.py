"""Settings are checked when they are made, and hold what was spent under them."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from loracle.errors import ConfigError
from loracle.prompting.config import LLMConfig


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"llm_keep": "middle"}, "llm_keep 'middle'"),
        ({"llm_characters": 0}, "llm_characters is 0; allowed: 1 or more"),
        ({"llm_concurrency": 0}, "llm_concurrency is 0"),
        ({"llm_timeout": 0}, "llm_timeout is 0"),
        ({"llm_budget": 0.0}, "allows no call"),
        ({"llm_budget": float("nan")}, "allows no call"),
        ({"llm_base_url": "localhost:8000"}, "allowed: an address such as http://localhost:8000/v1"),
        ({"llm_base_url": "http://localhost:eight"}, "allowed: an address"),
        ({"llm_base_url": "ftp://host/v1"}, "allowed: an address"),
    ],
)
def test_setting_out_of_range_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        LLMConfig(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["https://me:sk-secret@host/v1", "https://host/v1?api-key=sk-secret"])
def test_address_with_a_secret_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigError, match="the key elsewhere") as raised:
        LLMConfig(llm_base_url=url)
    assert "sk-secret" not in str(raised.value)


def test_path_may_be_given_as_text() -> None:
    config = LLMConfig(llm_cache="~/answers", llm_prices="prices.toml")  # type: ignore[arg-type]
    assert config.llm_cache == Path.home() / "answers"
    assert config.llm_prices == Path("prices.toml")


def test_purse_is_one_for_a_configuration_and_no_option_of_it() -> None:
    config = LLMConfig(llm_budget=2.0)
    assert config.purse is config.purse
    assert config.purse.limit == 2.0
    assert replace(config).purse is not config.purse
    assert "purse" not in asdict(config)
