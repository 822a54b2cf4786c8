"""A method named with options of its own: `lora:rank=16:alpha=32` is LoRA with another rank in the same comparison.

Options are those that the method reads, of LoRA or of the networks, and `learning_rate`, which is then given instead of
searched. A list is written with plus signs: `targets=query+value`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from loracle.errors import ConfigError, unknown
from loracle.lora.config import LoRAConfig
from loracle.models.networks import NetworkConfig

if TYPE_CHECKING:
    from loracle.data.task import Task
    from loracle.methods.method import Fit, Fitted, Method, Setup
    from loracle.models.loading import Base
    from loracle.training.fitting import OnStep

_SEPARATOR = ":"
_RATE = "learning_rate"
_VALUE = re.compile(r"[\w.+-]+")  # a name is part of the names of files
_LORA, _NETWORKS = vars(LoRAConfig()), vars(NetworkConfig())
_DEFAULTS: Mapping[str, Any] = {**_LORA, **_NETWORKS, _RATE: 1.0}


def plain_name(name: str) -> str:
    """Return a method's name without its options.

    >>> plain_name("lora:rank=16"), plain_name("tfidf")
    ('lora', 'tfidf')
    """
    return name.partition(_SEPARATOR)[0].strip()


def read_options(name: str, allowed: Collection[str] = _DEFAULTS) -> dict[str, Any]:
    """Return the options that a method's name carries; raises ConfigError for one that is not allowed or no option.

    >>> read_options("lora:rank=16:learning_rate=2e-4")
    {'rank': 16, 'learning_rate': 0.0002}
    """
    options: dict[str, Any] = {}
    for part in name.split(_SEPARATOR)[1:]:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not _VALUE.fullmatch(value):
            raise ConfigError(f"method {name!r}: {part!r} is no option; write lora:rank=16:alpha=32")
        if not allowed:
            raise ConfigError(f"method {name!r}: {plain_name(name)} takes no options; leave {part!r} out")
        if key not in allowed:
            raise unknown(f"option in method {name!r}:", key, allowed)
        if key in options:
            raise ConfigError(f"method {name!r} has {key} twice")
        options[key] = _parse_value(name, key, value)
    return options


def with_options(name: str, method: Method) -> Method:
    """Return the method as `name` says, options included; raises ConfigError for one that the method does not read."""
    options = read_options(name, [*method.options, *([_RATE] if method.by_gradient else [])])
    if not options:
        return method
    name = "".join(name.split())  # one spelling, since a name is all that a result and a file know
    lora, networks = ({key: options[key] for key in options if key in part} for part in (_LORA, _NETWORKS))
    LoRAConfig(**lora)  # a value out of range is refused here, before anything is run
    NetworkConfig(**networks)
    if _RATE in options:
        if options[_RATE] <= 0:
            raise ConfigError(f"method {name!r}: learning_rate is {options[_RATE]}; allowed: a number above 0")
        method = replace(method, learning_rates=(options[_RATE],))
    prepare = _PreparedAs(method.prepare, lora, networks) if method.prepare else None
    return replace(method, name=name, fit=_Changed(method.fit, name, lora, networks), prepare=prepare)


@dataclass(frozen=True)
class _Changed:
    """A method's fit under a setup with some options changed."""

    fit: Fit
    name: str
    lora: Mapping[str, Any]
    networks: Mapping[str, Any]

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
        setup = _change(setup, self.lora, self.networks)
        fitted = self.fit(task, setup, seed=seed, learning_rate=learning_rate, on_step=on_step)
        return replace(fitted, classifier=replace(fitted.classifier, method=self.name))


@dataclass(frozen=True)
class _PreparedAs:
    """A method's preparation of the base model under a setup with some options changed."""

    prepare: Callable[[Base, Setup], None]
    lora: Mapping[str, Any]
    networks: Mapping[str, Any]

    def __call__(self, base: Base, setup: Setup) -> None:
        """Prepare with the changed setup."""
        self.prepare(base, _change(setup, self.lora, self.networks))


def _change(setup: Setup, lora: Mapping[str, Any], networks: Mapping[str, Any]) -> Setup:
    return replace(setup, lora=replace(setup.lora, **lora), networks=replace(setup.networks, **networks))


def _parse_value(name: str, key: str, value: str) -> Any:
    """Return the value as the type of the option's default."""
    default = _DEFAULTS[key]
    if isinstance(default, tuple):
        return tuple(value.split("+"))
    if isinstance(default, str):
        return value
    if isinstance(default, bool):
        if value not in ("true", "false"):
            raise ConfigError(f"method {name!r}: {key} is {value}; allowed: true or false")
        return value == "true"
    number = _parse_number(name, key, value)
    if isinstance(default, int) and number != int(number):
        raise ConfigError(f"method {name!r}: {key} is {value}; allowed: a whole number")
    return int(number) if isinstance(default, int) else number


def _parse_number(name: str, key: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"method {name!r}: {key} is {value!r}; allowed: a number")
    return number
