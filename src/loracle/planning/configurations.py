"""The sizes of well-known models, shipped so that one can plan without a hub."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("configurations.toml")


@cache
def list_configurations() -> Mapping[str, Mapping[str, Any]]:
    """Return the sizes of every shipped model by its Hub name, `model_type` among them."""
    return tomllib.loads(_FILE.read_text(encoding="utf-8"))


def find_configuration(name: str) -> Mapping[str, Any] | None:
    """Return the sizes of a shipped model, by its Hub name with or without the owner; None where it is not shipped.

    >>> find_configuration("bert-tiny")["num_hidden_layers"], find_configuration("nobody/nothing")
    (2, None)
    """
    shipped = list_configurations()
    if name in shipped:
        return shipped[name]
    return next((sizes for known, sizes in shipped.items() if known.rpartition("/")[2].lower() == name.lower()), None)
