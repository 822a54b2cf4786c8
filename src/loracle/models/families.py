"""What is known of each architecture by name: which layers LoRA changes when nobody says, and which are attention's.

The defaults are those of PEFT (query and value projections), the choice of the LoRA paper, section 4.2. An
architecture that is not listed works too: name the targets, or ask for "all-linear".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from loracle.errors import ConfigError
from loracle.lora.config import ALL_LINEAR, ATTENTION

_QUERY_VALUE: Mapping[str, tuple[str, ...]] = {
    "albert": ("query", "value"),
    "bert": ("query", "value"),
    "distilbert": ("q_lin", "v_lin"),
    "electra": ("query", "value"),
    "mpnet": ("q", "v"),
    "roberta": ("query", "value"),
    "xlm-roberta": ("query", "value"),
}
_BERT_ATTENTION = ("query", "key", "value", "attention.output.dense")
_ATTENTION: Mapping[str, tuple[str, ...]] = {
    "albert": ("attention.query", "attention.key", "attention.value", "attention.dense"),
    "bert": _BERT_ATTENTION,
    "distilbert": ("q_lin", "k_lin", "v_lin", "out_lin"),
    "electra": _BERT_ATTENTION,
    "mpnet": ("attn.q", "attn.k", "attn.v", "attn.o"),
    "roberta": _BERT_ATTENTION,
    "xlm-roberta": _BERT_ATTENTION,
}


def resolve_targets(targets: Sequence[str], model_type: str) -> tuple[str, ...]:
    """Return the layers that the asked targets mean in an architecture: its usual ones where none are asked,
    all four projections of its attention for "attention", and what was asked otherwise.

    Raises ConfigError where an architecture is not known and needs to be.

    >>> resolve_targets(("attention",), "distilbert")
    ('q_lin', 'k_lin', 'v_lin', 'out_lin')
    """
    if tuple(targets) == (ATTENTION,):
        return _look_up(_ATTENTION, model_type)
    return tuple(targets) or default_targets(model_type)


def default_targets(model_type: str) -> tuple[str, ...]:
    """Return the usual LoRA targets of an architecture; raises ConfigError where none are known.

    >>> default_targets("distilbert")
    ('q_lin', 'v_lin')
    """
    return _look_up(_QUERY_VALUE, model_type)


def _look_up(known: Mapping[str, tuple[str, ...]], model_type: str) -> tuple[str, ...]:
    if model_type not in known:
        raise ConfigError(
            f"no default LoRA targets are known for the architecture {model_type!r}; "
            f"name layers with --targets, or give --targets {ALL_LINEAR}"
        )
    return known[model_type]
