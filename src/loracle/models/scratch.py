"""A small BERT (Devlin et al., 2019) from random weights, with the tokenizer of the base model."""

from __future__ import annotations

from collections.abc import Sequence

from loracle.models.loading import Base, head_of_architecture, load_tokenizer, name_base
from loracle.models.networks import NetworkConfig

_POSITIONS = 512  # as BERT has


def build_scratch(
    name: str, label_names: Sequence[str], config: NetworkConfig, *, max_length: int, attention: str = "sdpa"
) -> Base:
    """Return an untrained BERT of the configured size for texts of `max_length` tokens of `name`'s tokenizer."""
    from transformers import BertConfig, BertForSequenceClassification

    tokenizer = load_tokenizer(name)
    labels = dict(enumerate(label_names))
    sizes = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.scratch_hidden,
        num_hidden_layers=config.scratch_layers,
        num_attention_heads=config.scratch_heads,
        intermediate_size=config.scratch_intermediate,
        hidden_dropout_prob=config.scratch_dropout,
        attention_probs_dropout_prob=config.scratch_dropout,
        max_position_embeddings=max(_POSITIONS, max_length),
        pad_token_id=tokenizer.pad_token_id or 0,
        id2label=labels,
        label2id={label: index for index, label in labels.items()},
        attn_implementation=attention,
    )
    network = BertForSequenceClassification(sizes)
    return Base(name_base(name), network, tokenizer, head_of_architecture(network), pretrained=False)
