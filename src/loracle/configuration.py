"""Options from a TOML file, and what the command line's parser would take without a word.

A key of the file is the flag's name with underscores for dashes; a flag wins over the file. A file that it names may
lie beside it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cyclopts import App, ArgumentCollection
from cyclopts.config import Dict

from loracle.errors import ConfigError, unknown

Source = Callable[[App, tuple[str, ...], ArgumentCollection], None]
"""What cyclopts calls when it has read the flags: it adds to the arguments, or refuses them."""

_FILES = ("merge", "llm_prices")


def find_sources(tokens: Sequence[str]) -> tuple[Source, ...]:
    """Return the TOML file that --config names, if any, then the check of all values.

    Raises ConfigError where the file is missing or no TOML; an unknown key is refused when the command is known.
    """
    for index, token in enumerate(tokens):
        name, equals, value = token.partition("=")
        if name == "--config" and (equals or index + 1 < len(tokens)):
            path = Path(value if equals else tokens[index + 1])
            return partial(_add_file, path, _load_toml(path)), _check_values
    return (_check_values,)


def _load_toml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"no such configuration file: {path}; --config takes a TOML file")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML file ({error}); write one key a line, for example: seeds = 3") from error


def _add_file(
    path: Path, content: dict[str, Any], command: App, commands: tuple[str, ...], arguments: ArgumentCollection
) -> None:
    known = {name.removeprefix("--").replace("-", "_") for name in _names(arguments)} - {"config"}
    for key in content:
        if key.replace("-", "_") not in known:
            raise unknown(f"key in {path}:", key, known)
    content = {key: _find_beside(path, value) if key in _FILES else value for key, value in content.items()}
    Dict(content, source=str(path), use_commands_as_keys=False)(command, commands, arguments)


def _find_beside(path: Path, name: Any) -> Any:
    beside = path.parent / name if isinstance(name, str) else None
    return str(beside) if beside and beside.is_file() else name


def _check_values(command: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:  # noqa: ARG001
    """Refuse what would be taken otherwise: 1.5 rounded to a whole number, an unknown flag as the name of a file."""
    for argument in arguments:
        for token in argument.tokens:
            if argument.hint in (int, int | None) and "." in token.value:
                raise ConfigError(f"{argument.name} is {token.value}; allowed: a whole number")
            if token.keyword is None and token.source == "cli" and token.value.startswith("--"):
                raise unknown("option", token.value, _names(arguments))


def _names(arguments: ArgumentCollection) -> list[str]:
    return [name for argument in arguments for name in argument.names if name.startswith("--")]
