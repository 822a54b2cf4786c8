"""A method named with options of its own: `lora:rank=16:alpha=32` is LoRA with another rank in the same comparison.

Options are those that the method reads, of LoRA or of the networks, and `learning_rate`, which is then given instead of
searched. A list is written with plus signs: `targets=query+value`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from loracle.errors import ConfigError, unknown
from loracle.lora.config import LoRAConfig
from loracle.models.networks import NetworkConfig

if TYPE_CHECKING:
    from loracle.data.task import Task
    from loracle.methods.method import Fit, Fitted, Method, Setup
    from loracle.training.fitting import OnStep

_SEPARATOR = ":"
_RATE = "learning_rate"
_VALUE = re.compile(r"[\w.+-]+")  # a name is part of the names of files
_PARTS: Mapping[str, type[LoRAConfig] | type[NetworkConfig]] = {"lora": LoRAConfig, "networks": NetworkConfig}
_PART_OF = {option.name: part for part, kind in _PARTS.items() for option in fields(kind)}


def plain_name(name: str) -> str:
    """Return a method's name without its options.

    >>> plain_name("lora:rank=16"), plain_name("tfidf")
    ('lora', 'tfidf')
    """
    return name.partition(_SEPARATOR)[0].strip()


def read_options(name: str) -> dict[str, Any]:
    """Return the options in the name of a method of a finished run, without any check.

    >>> read_options("lora:rank=16:learning_rate=2e-4")
    {'rank': 16, 'learning_rate': 0.0002}
    """
    pairs = (part.partition("=") for part in name.split(_SEPARATOR)[1:])
    return {
        key: _convert(name, _PARTS[_PART_OF[key]], key, value) if key in _PART_OF else _number(name, key, value)
        for key, _, value in pairs
    }


def with_options(name: str, method: Method) -> Method:
    """Return the method as `name` says, options included; raises ConfigError for one that the method does not read."""
    options = _parse(name, method)
    if not options:
        return method
    name = _SEPARATOR.join([method.name, *(f"{key}={value}" for key, value in options.items())])  # one spelling
    rate = options.pop(_RATE, None)
    if rate is not None:
        method = replace(method, learning_rates=(_parse_rate(name, rate),))
    changes: dict[str, dict[str, Any]] = {
        part: {key: _convert(name, kind, key, value) for key, value in options.items() if _PART_OF[key] == part}
        for part, kind in _PARTS.items()
    }
    for part, kind in _PARTS.items():
        kind(**changes[part])  # a value out of range is refused before anything is run
    return replace(method, name=name, fit=_Changed(method.fit, name, changes))


@dataclass(frozen=True)
class _Changed:
    """A method's fit under a setup with some options changed."""

    fit: Fit
    name: str
    changes: Mapping[str, Mapping[str, Any]]

    def __call__(
        self,
        task: Task,
        setup: Setup,
        *,
        seed: int,
        learning_rate: float | None = None,
        on_step: OnStep | None = None,
    ) -> Fitted:
        """Fit with the changed setup; the classifier carries the whole name."""
        setup = replace(
            setup,
            lora=replace(setup.lora, **self.changes["lora"]),
            networks=replace(setup.networks, **self.changes["networks"]),
        )
        fitted = self.fit(task, setup, seed=seed, learning_rate=learning_rate, on_step=on_step)
        return replace(fitted, classifier=replace(fitted.classifier, method=self.name))


def _parse(name: str, method: Method) -> dict[str, str]:
    allowed = [*method.options, *([_RATE] if method.by_gradient else [])]
    options: dict[str, str] = {}
    for part in name.split(_SEPARATOR)[1:]:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not _VALUE.fullmatch(value):
            raise ConfigError(f"method {name!r}: {part!r} is no option; write lora:rank=16:alpha=32")
        if not allowed:
            raise ConfigError(f"method {name!r}: {method.name} takes no options; leave {part!r} out")
        if key not in allowed:
            raise unknown(f"option in method {name!r}:", key, allowed)
        if key in options:
            raise ConfigError(f"method {name!r} has {key} twice")
        options[key] = value
    return options


def _parse_rate(name: str, value: str) -> float:
    rate = _number(name, _RATE, value)
    if rate <= 0:
        raise ConfigError(f"method {name!r}: learning_rate is {value}; allowed: a number above 0")
    return rate


def _convert(name: str, kind: type[LoRAConfig] | type[NetworkConfig], key: str, value: str) -> Any:
    default = getattr(kind(), key)
    if isinstance(default, tuple):
        return tuple(value.split("+"))
    if isinstance(default, str):
        return value
    if isinstance(default, bool):
        if value not in ("true", "false"):
            raise ConfigError(f"method {name!r}: {key} is {value}; allowed: true or false")
        return value == "true"
    number = _number(name, key, value)
    if isinstance(default, int) and number != int(number):
        raise ConfigError(f"method {name!r}: {key} is {value}; allowed: a whole number")
    return int(number) if isinstance(default, int) else number


def _number(name: str, key: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"method {name!r}: {key} is {value!r}; allowed: a number")
    return number
