"""What is known of each architecture by name: which layers LoRA changes when nobody says, which are attention's, where
a decoder is read, and how many tokens there are positions for.

The default targets are those of PEFT (query and value projections), the choice of the LoRA paper, section 4.2; where
an architecture keeps both in one layer, it is that layer. An architecture that is not listed works too: name the
targets, or ask for "all-linear".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from loracle.errors import ConfigError
from loracle.lora.config import ALL_LINEAR, ATTENTION


@dataclass(frozen=True, kw_only=True)
class Family:
    """Targets by whole dotted suffix; `reads_last` says that the class of a text is read at its last token, as in
    decoders; `offset_positions` that positions are counted from behind that of the padding token. `after_attention` is
    the module of a layer from which on each token is computed alone, where the head reads the last layer's first token.
    """

    query_value: tuple[str, ...]
    attention: tuple[str, ...]
    reads_last: bool = False
    offset_positions: bool = False
    after_attention: str | None = None


_BERT_ATTENTION = ("query", "key", "value", "attention.output.dense")
_BERT = Family(query_value=("query", "value"), attention=_BERT_ATTENTION, after_attention="attention.output")
_ROBERTA = replace(_BERT, offset_positions=True)
_LLAMA = Family(query_value=("q_proj", "v_proj"), attention=("q_proj", "k_proj", "v_proj", "o_proj"), reads_last=True)

FAMILIES: Mapping[str, Family] = {
    "albert": Family(
        query_value=("query", "value"),
        attention=("attention.query", "attention.key", "attention.value", "attention.dense"),
    ),
    "bert": _BERT,
    "deberta": Family(query_value=("in_proj",), attention=("in_proj", "attention.output.dense")),
    "deberta-v2": Family(
        query_value=("query_proj", "value_proj"),
        attention=("query_proj", "key_proj", "value_proj", "attention.output.dense"),
    ),
    "distilbert": Family(
        query_value=("q_lin", "v_lin"),
        attention=("q_lin", "k_lin", "v_lin", "out_lin"),
        after_attention="sa_layer_norm",
    ),
    "electra": _BERT,
    "gemma": _LLAMA,
    "gemma2": _LLAMA,
    "gemma3_text": _LLAMA,
    "gpt2": Family(query_value=("c_attn",), attention=("attn.c_attn", "attn.c_proj"), reads_last=True),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "modernbert": Family(query_value=("Wqkv",), attention=("attn.Wqkv", "attn.Wo")),
    "mpnet": Family(
        query_value=("q", "v"),
        attention=("attn.q", "attn.k", "attn.v", "attn.o"),
        offset_positions=True,
        after_attention="attention.LayerNorm",
    ),
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
}
"""What is known of an architecture, by transformers' model type."""


def resolve_targets(targets: Sequence[str], model_type: str, *, linear: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the layers that the asked targets mean in an architecture: its usual ones where none are asked,
    all projections of its attention for "attention", and what was asked otherwise.

    `linear` are the dotted names of the linear layers there are, for the message alone. Raises ConfigError where an
    architecture is not known and needs to be.

    >>> resolve_targets(("attention",), "distilbert")
    ('q_lin', 'k_lin', 'v_lin', 'out_lin')
    """
    if tuple(targets) == (ATTENTION,):
        return _find_family(model_type, linear).attention
    return tuple(targets) or default_targets(model_type, linear=linear)


def default_targets(model_type: str, *, linear: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the usual LoRA targets of an architecture; raises ConfigError, as `resolve_targets`, where none are known.

    >>> default_targets("distilbert")
    ('q_lin', 'v_lin')
    """
    return _find_family(model_type, linear).query_value


def reads_last_token(model_type: str) -> bool:
    """Say whether an architecture is a decoder that is read at a text's last token; False for one not listed.

    >>> reads_last_token("llama"), reads_last_token("bert")
    (True, False)
    """
    return model_type in FAMILIES and FAMILIES[model_type].reads_last


def count_positions(config: Any) -> int | None:
    """Return for how many tokens a configuration of transformers has positions; None where it does not say.

    RoBERTa's 514 are 512: the padding token and what is before it have positions of their own.
    """
    positions: int | None = getattr(config, "max_position_embeddings", None)
    family = FAMILIES.get(getattr(config, "model_type", ""))
    if positions is None or family is None or not family.offset_positions:
        return positions
    return positions - int(config.pad_token_id) - 1


def _find_family(model_type: str, linear: Sequence[str]) -> Family:
    if model_type in FAMILIES:
        return FAMILIES[model_type]
    ends = sorted({name.rpartition(".")[2] for name in linear})
    there_are = f" (there are: {', '.join(ends)})" if ends else ""
    raise ConfigError(
        f"no default LoRA targets are known for the architecture {model_type!r}; "
        f"name layers with --targets{there_are}, or give --targets {ALL_LINEAR}"
    )
