"""Prices come from a dated file, hold for their server alone, and are refused where they are not whole."""

from pathlib import Path

import pytest

from loracle.errors import ConfigError
from loracle.prompting.prices import Price, find_price
from loracle.prompting.server import OPENAI_URL

FILE = """
currency = "EUR"
date = 2026-05-01
source = "our contract"
[models."tiny"]
input = 1
output = 2.5
[models."far"]
input = 3
output = 4
base_url = "http://far/v1/"
date = "2026-04"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "prices.toml"
    file.write_text(FILE)
    return file


def test_price_is_that_of_the_users_file_with_its_date(path: Path) -> None:
    price = find_price("tiny", "http://h/v1", path)
    assert price == Price(input=1, output=2.5, currency="EUR", date="2026-05-01", source="our contract")
    assert price.cost(1_000_000, 2_000_000) == 6.0


def test_price_that_names_a_server_holds_for_that_server_alone(path: Path) -> None:
    assert find_price("far", "http://h/v1", path) is None
    price = find_price("far", "http://far/v1", path)
    assert price is not None
    assert price.date == "2026-04"


def test_model_without_a_price_has_none(path: Path) -> None:
    assert find_price("tin", "http://h/v1", path) is None


def test_shipped_prices_have_dates_and_sources_and_are_openais_own() -> None:
    price = find_price("gpt-4o-mini", OPENAI_URL)
    assert price is not None
    assert (price.currency, price.date[:2]) == ("USD", "20")
    assert price.source
    assert find_price("gpt-4o-mini", "http://localhost:8000/v1") is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("currency = ", "no TOML file"),
        ('currency = "EUR"', "has no prices"),
        (FILE.replace("input = 1", "inputs = 1"), "did you mean 'input'"),
        (FILE.replace("input = 1", ""), "tiny lacks input"),
        (FILE.replace("date = 2026-05-01", ""), "tiny lacks date"),
        (FILE.replace("input = 1", 'input = "1"'), "input of .* is '1'"),
        (FILE.replace("input = 1", "input = -1"), "input of .* is -1"),
        (FILE.replace("input = 1", "input = nan"), "input of .* is nan"),
        (FILE.replace("input = 1", "input = true"), "input of .* is True"),
        (FILE.replace('"EUR"', '""'), "currency of"),
        (FILE.replace('[models."tiny"]\ninput = 1\noutput = 2.5', "[models]\ntiny = 3"), "lacks input"),
    ],
)
def test_file_that_is_wrong_is_refused_and_says_where(path: Path, content: str, words: str) -> None:
    path.write_text(content)
    with pytest.raises(ConfigError, match=words):
        find_price("tiny", "http://h/v1", path)


def test_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"llm_prices is .*nowhere\.toml, which cannot be read"):
        find_price("tiny", "http://h/v1", tmp_path / "nowhere.toml")
