"""Self-contained HTML pages: how one is rendered, and that it is written over an earlier one of its kind alone."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loracle.errors import ConfigError
from loracle.files import check_writable
from loracle.reporting import figures, ledger

if TYPE_CHECKING:
    from jinja2 import Environment

_LOOKED_AT = 2048  # bytes at the start of a file, in which its mark stands


def render_page(template: str, *, styles: Sequence[str], scripts: Sequence[str], **contents: Any) -> str:
    """Return a page of `templates/`, with these styles and scripts in it, and no request to any server."""
    environment = _environment()
    style, script = ("\n".join(_source(environment, name) for name in names) for names in (styles, scripts))
    page = environment.get_template(template)
    return page.render(style=_safe(style), script=_safe(script), script_hash=_hash(script), **contents)


def check_output(path: Path, *, suffixes: Sequence[str], mark: str) -> None:
    """Raise ConfigError where `path` has another suffix, or is a file that does not begin with the mark of its kind.

    FileError where nothing can be written there.
    """
    if path.is_dir():
        raise ConfigError(f"--out is {path}, a folder; give a file, such as {path / ('page' + suffixes[0])}")
    if path.suffix.lower() not in suffixes:
        raise ConfigError(f"--out is {path}; allowed: a file that ends in {' or '.join(suffixes)}")
    if path.exists() and not (path.is_file() and _begins_with(path, mark)):
        raise ConfigError(f"{path} is there and was not written by this command; give another file with --out")
    check_writable(path.parent)


def _begins_with(path: Path, mark: str) -> bool:
    with path.open("rb") as file:
        return mark.encode() in file.read(_LOOKED_AT)


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("loracle.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: figures.plain(value) if type(value) is str else value,
    )
    environment.filters.update(line=ledger.line, heading=ledger.heading)
    environment.tests.update(nested=ledger.is_nested, flat=ledger.is_flat)
    return environment


def _source(environment: Environment, name: str) -> str:
    if environment.loader is None:
        raise ValueError("the environment of the templates has no loader")
    return environment.loader.get_source(environment, name)[0]


def _safe(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)


def _hash(script: str) -> str:
    """Return the hash by which the page's policy lets this script run, and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
