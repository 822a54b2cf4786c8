"""What tokens cost, from a dated TOML file: the user's own, or the one that comes with Loracle."""

from __future__ import annotations

import datetime
import math
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from loracle.errors import ConfigError, unknown

_TOKENS = 1_000_000
_SHIPPED = "prices.toml"
_KEYS = ("input", "output", "currency", "date", "source", "base_url")
_NEEDED = ("input", "output", "currency", "date")


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a million tokens cost, sent (`input`) and answered (`output`); `date` is when that was so."""

    input: float
    output: float
    currency: str
    date: str
    source: str = ""

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return what so many tokens cost, in `currency`."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / _TOKENS


def find_price(model: str, base_url: str, path: Path | None = None) -> Price | None:
    """Return the price of `model` at a server from the file at `path`, or the shipped one; None where it has none.

    An entry with a `base_url` holds for that server alone. Raises ConfigError for a file that is missing or wrong.
    """
    content, source = _load(path)
    models = content.get("models")
    if not isinstance(models, dict):
        raise ConfigError(f'{source} has no prices; write a table such as [models."{model}"] with input and output')
    shared = {key: value for key, value in content.items() if key != "models"}
    prices = {name: _read_entry(shared, entry, f"{source}, {name}") for name, entry in models.items()}
    price, server = prices.get(model, (None, None))
    return price if server is None or server.rstrip("/") == base_url else None


def _load(path: Path | None) -> tuple[dict[str, Any], str]:
    try:
        if path is None:
            text, source = resources.files(__package__).joinpath(_SHIPPED).read_text(encoding="utf-8"), _SHIPPED
        else:
            text, source = path.read_text(encoding="utf-8"), str(path)
        return tomllib.loads(text), source
    except OSError as error:
        raise ConfigError(f"llm_prices is {path}, which cannot be read: {error.strerror}; give a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"llm_prices is {path}, which is no TOML file ({error}); see docs/prompting.md") from error


def _read_entry(shared: dict[str, Any], entry: Any, where: str) -> tuple[Price, str | None]:
    """Return the price of one entry, and the server that it holds for alone, if any."""
    values = {**shared, **entry} if isinstance(entry, dict) else {}
    for key in values:
        if key not in _KEYS:
            raise unknown(f"key in {where}:", key, _KEYS)
    missing = [key for key in _NEEDED if key not in values]
    if missing:
        raise ConfigError(f"{where} lacks {', '.join(missing)}; a price has input, output, currency and date")
    price = Price(
        input=_read_amount(values, "input", where),
        output=_read_amount(values, "output", where),
        currency=_read_word(values, "currency", where),
        date=_read_word(values, "date", where),
        source=_read_word(values, "source", where) if "source" in values else "",
    )
    return price, _read_word(values, "base_url", where) if "base_url" in values else None


def _read_word(values: dict[str, Any], key: str, where: str) -> str:
    value = values[key]
    if isinstance(value, datetime.date):
        return value.isoformat()
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{key} of {where} is {value!r}; allowed: text, or a date such as 2026-03-21")
    return value


def _read_amount(values: dict[str, Any], key: str, where: str) -> float:
    value = values[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ConfigError(f"{key} of {where} is {value!r}; allowed: what a million tokens cost, 0 or more")
    return float(value)
