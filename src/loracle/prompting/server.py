"""Where is asked, and with which key. The key stands in no repr, no file and no error."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from loracle.errors import ConfigError

if TYPE_CHECKING:
    from loracle.prompting.config import LLMConfig

OPENAI_URL = "https://api.openai.com/v1"
_URL, _KEY = "OPENAI_BASE_URL", "OPENAI_API_KEY"
_ENVIRONMENT_FILE = Path(".env")


@dataclass(frozen=True, kw_only=True)
class Server:
    """An OpenAI-compatible server; `key` is None for one that needs none."""

    base_url: str
    key: str | None = field(default=None, repr=False)

    def hide_key(self, text: str) -> str:
        """Return `text` without the key, which some servers repeat in their errors."""
        return text.replace(self.key, "***") if self.key else text


def find_server(config: LLMConfig) -> Server:
    """Return the server of `config`, with a key from the environment or from .env in the working directory.

    An address that stands in .env goes with the key that stands there alone, so that a foreign .env cannot send
    your own key elsewhere. Raises ConfigError for an address or a key that cannot be one.
    """
    file = _read_environment_file()
    own = config.llm_base_url or _blank_as_none(os.environ.get(_URL))
    given = own or _blank_as_none(file.get(_URL))
    check_url(given or OPENAI_URL, "llm_base_url" if config.llm_base_url else _URL)
    key = _blank_as_none(file.get(_KEY))
    if own or not given:
        key = _blank_as_none(os.environ.get(_KEY)) or key
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigError("OPENAI_API_KEY holds blanks or characters that no key has; set it again, the key alone")
    return Server(base_url=(given or OPENAI_URL).rstrip("/"), key=key)


def require_key(server: Server) -> None:
    """Raise ConfigError where OpenAI's own server would be asked without a key."""
    if server.key is None and urlsplit(server.base_url).hostname == urlsplit(OPENAI_URL).hostname:
        raise ConfigError(
            f"{server.base_url} needs a key and there is none; set OPENAI_API_KEY in the environment or in a file "
            ".env here, or name another server with llm_base_url"
        )


def check_url(url: str, name: str) -> None:
    """Raise ConfigError where `url`, given as `name`, is no plain address of a server."""
    try:
        parts = urlsplit(url)
        plain = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        parts, plain = urlsplit(""), False
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        # not repeated, since it may hold a secret that would be kept with the run
        raise ConfigError(f"{name} holds a user, a password or a query; give the address alone, the key elsewhere")
    if not plain:
        raise ConfigError(f"{name} is {url!r}; allowed: an address such as http://localhost:8000/v1")


def _blank_as_none(value: str | None) -> str | None:
    return (value or "").strip() or None


def _read_environment_file() -> dict[str, str | None]:
    from dotenv import dotenv_values

    if not _ENVIRONMENT_FILE.is_file():
        return {}
    try:
        return dict(dotenv_values(_ENVIRONMENT_FILE, interpolate=False))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{_ENVIRONMENT_FILE.absolute()} cannot be read as UTF-8 text; write it again") from error
