"""A method named with options of its own: `lora:rank=16:alpha=32` is LoRA with another rank in the same comparison.

Options are those that the method reads, of LoRA or of the networks, `base_precision`, and `learning_rate`, which is
then given instead of searched. A list is written with plus signs: `targets=query+value`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from loracle.errors import ConfigError, unknown
from loracle.lora.config import LoRAConfig
from loracle.methods.finetune import BASE_PRECISION
from loracle.models.networks import NetworkConfig, check_base_precision

if TYPE_CHECKING:
    from loracle.data.task import Task
    from loracle.methods.method import Check, Fit, Fitted, Method, Setup
    from loracle.models.loading import Base
    from loracle.training.fitting import OnStep

PEFT = "peft"  # the one method whose second part is a name too: peft:ia3

_SEPARATOR = ":"
_RATE = "learning_rate"
_VALUE = re.compile(r"[\w.+-]+")  # a name is part of the names of files
_LORA, _NETWORKS = vars(LoRAConfig()), vars(NetworkConfig())
_DEFAULTS: Mapping[str, Any] = {**_LORA, **_NETWORKS, BASE_PRECISION: "full", _RATE: 1.0}


def plain_name(name: str) -> str:
    """Return a method's name without its options.

    >>> plain_name("lora:rank=16"), plain_name("tfidf"), plain_name("peft:ia3:learning_rate=1e-2")
    ('lora', 'tfidf', 'peft:ia3')
    """
    return _split(name)[0]


def is_peft(name: str) -> bool:
    """Say whether a name is that of a method which PEFT trains: `peft:ia3.json`, or `peft:ia3` in a table."""
    return name.partition(_SEPARATOR)[0].strip() == PEFT


def read_options(name: str, allowed: Collection[str] = _DEFAULTS) -> dict[str, Any]:
    """Return the options that a method's name carries; raises ConfigError for one that is not allowed or no option.

    >>> read_options("lora:rank=16:learning_rate=2e-4")
    {'rank': 16, 'learning_rate': 0.0002}
    """
    options: dict[str, Any] = {}
    for part in _split(name)[1]:
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


def base_precision_of(method: Method, setup: Setup) -> str | None:
    """Return how a method holds its frozen base; None where it does not read the option."""
    if BASE_PRECISION not in method.options:
        return None
    return str(read_options(method.name).get(BASE_PRECISION, setup.base_precision))


def with_options(name: str, method: Method) -> Method:
    """Return the method as `name` says, options included; raises ConfigError for one that the method does not read."""
    options = read_options(name, [*method.options, *([_RATE] if method.by_gradient else [])])
    if not options:
        return method
    name = "".join(name.split())  # one spelling, since a name is all that a result and a file know
    lora, networks = ({key: options[key] for key in options if key in part} for part in (_LORA, _NETWORKS))
    LoRAConfig(**lora)  # a value out of range is refused here, before anything is run
    NetworkConfig(**networks)
    check_base_precision(options.get(BASE_PRECISION, "full"))
    if _RATE in options:
        if options[_RATE] <= 0:
            raise ConfigError(f"method {name!r}: learning_rate is {options[_RATE]}; allowed: a number above 0")
        method = replace(method, learning_rates=(options[_RATE],))
    changed = _Changed(method.fit, name, lora, networks, options.get(BASE_PRECISION), method.check, method.prepare)
    return replace(
        method,
        name=name,
        fit=changed,
        check=changed.look if method.check else None,
        prepare=changed.make if method.prepare else None,
        own_setup=changed.change,
    )


@dataclass(frozen=True)
class _Changed:
    """A method's fit under a setup with some options changed."""

    fit: Fit
    name: str
    lora: Mapping[str, Any]
    networks: Mapping[str, Any]
    base_precision: str | None
    check: Check | None
    prepare: Callable[[Base, Setup], None] | None

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
        fitted = self.fit(task, self.change(setup), seed=seed, learning_rate=learning_rate, on_step=on_step)
        return replace(fitted, classifier=replace(fitted.classifier, method=self.name))

    def look(self, task: Task, setup: Setup) -> None:
        """Check what the method checks, with the changed setup."""
        if self.check:
            self.check(task, self.change(setup))

    def make(self, base: Base, setup: Setup) -> None:
        """Prepare the base as the method prepares it, with the changed setup."""
        if self.prepare:
            self.prepare(base, self.change(setup))

    def change(self, setup: Setup) -> Setup:
        """Return the setup with the options of the name."""
        lora, networks = replace(setup.lora, **self.lora), replace(setup.networks, **self.networks)
        precision = self.base_precision or setup.base_precision
        return replace(setup, lora=lora, networks=networks, base_precision=precision)


def _split(name: str) -> tuple[str, list[str]]:
    """Return a method's name and the options that follow it, as they are written."""
    parts = name.split(_SEPARATOR)
    own = 2 if is_peft(name) else 1
    return _SEPARATOR.join(parts[:own]).strip(), parts[own:]


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
