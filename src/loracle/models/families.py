"""What is known of each architecture by name: which layers LoRA changes when nobody says.

The defaults are those of PEFT (query and value projections), the choice of the LoRA paper, section 4.2. An
architecture that is not listed works too: name the targets, or ask for "all-linear".
"""

from __future__ import annotations

from collections.abc import Mapping

from loracle.errors import ConfigError
from loracle.lora.config import ALL_LINEAR

_QUERY_VALUE: Mapping[str, tuple[str, ...]] = {
    "albert": ("query", "value"),
    "bert": ("query", "value"),
    "distilbert": ("q_lin", "v_lin"),
    "electra": ("query", "value"),
    "mpnet": ("q", "v"),
    "roberta": ("query", "value"),
    "xlm-roberta": ("query", "value"),
}


def default_targets(model_type: str) -> tuple[str, ...]:
    """Return the usual LoRA targets of an architecture; raises ConfigError where none are known.

    >>> default_targets("distilbert")
    ('q_lin', 'v_lin')
    """
    if model_type not in _QUERY_VALUE:
        raise ConfigError(
            f"no default LoRA targets are known for the architecture {model_type!r}; "
            f"name layers with --targets, or give --targets {ALL_LINEAR}"
        )
    return _QUERY_VALUE[model_type]
