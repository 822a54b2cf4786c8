"""Tiny models of every architecture that Loracle knows by name, with the tokenizer that such a model comes with.

`ARCHITECTURES` maps a name to what makes its configuration; `save_checkpoint` writes a folder with random weights,
large enough for the logits of two texts to differ. The fixtures `architectures` and `checkpoint` of conftest.py hand
both out, and a test with an argument `architecture` runs once for each name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE, WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, ByteLevel
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedTokenizerFast

LENGTH = 64
_LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)]
_WORDS = (  # those of the tiny task
    "late never answered the parcel again lovely fast friendly thanks great broken rude nobody refund wonderful "
    "perfect awful waited weeks my order shop price box it was and a is arrived"
).split()


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The special tokens of a tokenizer, ids in this order from 0, what stands around a text, and their roles."""

    special: Sequence[str]
    template: str
    roles: Mapping[str, str]
    of_bytes: bool = False

    @property
    def ids(self) -> dict[str, int]:
        """The ids of the roles as a configuration names them."""
        return {f"{role}_id": self.special.index(token) for role, token in self.roles.items() if role != "unk_token"}

    def save(self, folder: Path) -> None:
        """Write a tokenizer of word pieces, or of bytes, with these special tokens."""
        tokenizer = self._of_bytes() if self.of_bytes else self._of_word_pieces()
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=LENGTH, **self.roles).save_pretrained(
            folder
        )

    def _of_word_pieces(self) -> Tokenizer:
        entries = [*self.special, *_WORDS, *_LETTERS, *(f"##{letter}" for letter in _LETTERS), *"<>|/[]"]
        vocabulary = {word: number for number, word in enumerate(dict.fromkeys(entries))}
        tokenizer = Tokenizer(WordPiece(vocabulary, unk_token=self.roles["unk_token"]))
        tokenizer.normalizer = BertNormalizer()
        tokenizer.pre_tokenizer = BertPreTokenizer()
        around = [(token, vocabulary[token]) for token in self.template.split() if token != "$A"]
        tokenizer.post_processor = TemplateProcessing(single=self.template, special_tokens=around)
        return tokenizer

    def _of_bytes(self) -> Tokenizer:
        vocabulary = {piece: number for number, piece in enumerate([*self.special, *sorted(ByteLevel.alphabet())])}
        tokenizer = Tokenizer(BPE(vocabulary, []))
        tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
        tokenizer.decoder = ByteLevelDecoder()
        return tokenizer


BERT_TOKENS = Tokens(
    special=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    template="[CLS] $A [SEP]",
    roles={"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"},
)
ROBERTA_TOKENS = Tokens(
    special=("<s>", "<pad>", "</s>", "<unk>", "<mask>"),
    template="<s> $A </s>",
    roles={"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"},
)
LLAMA_TOKENS = Tokens(  # without a padding token, as Llama and Mistral come
    special=("<unk>", "<s>", "</s>"),
    template="<s> $A",
    roles={"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"},
)
GEMMA_TOKENS = Tokens(
    special=("<pad>", "<eos>", "<bos>", "<unk>"),
    template="<bos> $A",
    roles={"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"},
)
GPT2_TOKENS = Tokens(  # without a padding token, and a text stands alone
    special=("<|endoftext|>",),
    template="$A",
    roles={"unk_token": "<|endoftext|>", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"},
)
QWEN_TOKENS = Tokens(
    special=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    template="$A",
    roles={"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"},
    of_bytes=True,  # transformers builds the tokenizer of a Qwen2 from its pieces again, whatever class wrote it
)
VOCABULARY = 288  # more than any of the tokenizers has
RANGE = 0.2  # of random weights: with the usual 0.02 all texts would have nearly the same logits

_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": LENGTH,
    "initializer_range": RANGE,
}
_DECODER = {**_SIZES, "num_key_value_heads": 2, "head_dim": 8}
_DISTILBERT = {
    "vocab_size": VOCABULARY,
    "dim": 32,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 48,
    "max_position_embeddings": LENGTH,
    "initializer_range": RANGE,
}
_GPT2 = {
    "vocab_size": VOCABULARY,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": LENGTH,
    "initializer_range": RANGE,
}
_WITH_OFFSET = {**_SIZES, "max_position_embeddings": LENGTH + 2}  # positions begin behind that of the padding token
_DEBERTA = {**_SIZES, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_biased_input": False}
_DEBERTA_V2 = {**_DEBERTA, "share_att_key": True, "position_buckets": 8, "norm_rel_ebd": "layer_norm"}
_MODERNBERT = {**_SIZES, "local_attention": 8, "bos_token_id": 2, "eos_token_id": 3}


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A model type of transformers, the tokens that its models come with, and tiny sizes."""

    model_type: str
    tokens: Tokens
    sizes: Mapping[str, Any]

    def config(self) -> PreTrainedConfig:
        """Return the tiny configuration."""
        return AutoConfig.for_model(self.model_type, **{"pad_token_id": None, **self.tokens.ids, **self.sizes})


_ALL = {
    "bert": Architecture(model_type="bert", tokens=BERT_TOKENS, sizes=_SIZES),
    "distilbert": Architecture(model_type="distilbert", tokens=BERT_TOKENS, sizes=_DISTILBERT),
    "roberta": Architecture(model_type="roberta", tokens=ROBERTA_TOKENS, sizes=_WITH_OFFSET),
    "xlm-roberta": Architecture(model_type="xlm-roberta", tokens=ROBERTA_TOKENS, sizes=_WITH_OFFSET),
    "distilroberta": Architecture(
        model_type="roberta", tokens=ROBERTA_TOKENS, sizes={**_WITH_OFFSET, "num_hidden_layers": 6}
    ),
    "albert": Architecture(model_type="albert", tokens=BERT_TOKENS, sizes={**_SIZES, "embedding_size": 16}),
    "electra": Architecture(model_type="electra", tokens=BERT_TOKENS, sizes={**_SIZES, "embedding_size": 16}),
    "deberta": Architecture(model_type="deberta", tokens=BERT_TOKENS, sizes={**_DEBERTA, "max_relative_positions": 16}),
    "deberta-v2": Architecture(
        model_type="deberta-v2", tokens=BERT_TOKENS, sizes={**_DEBERTA_V2, "conv_kernel_size": 3, "conv_act": "gelu"}
    ),
    "deberta-v3": Architecture(model_type="deberta-v2", tokens=BERT_TOKENS, sizes=_DEBERTA_V2),
    "mpnet": Architecture(model_type="mpnet", tokens=ROBERTA_TOKENS, sizes=_WITH_OFFSET),
    "modernbert": Architecture(model_type="modernbert", tokens=BERT_TOKENS, sizes=_MODERNBERT),
    "llama": Architecture(model_type="llama", tokens=LLAMA_TOKENS, sizes=_DECODER),
    "mistral": Architecture(model_type="mistral", tokens=LLAMA_TOKENS, sizes={**_DECODER, "sliding_window": 8}),
    "qwen2": Architecture(model_type="qwen2", tokens=QWEN_TOKENS, sizes=_DECODER),
    "qwen3": Architecture(model_type="qwen3", tokens=QWEN_TOKENS, sizes=_DECODER),
    "gemma": Architecture(model_type="gemma", tokens=GEMMA_TOKENS, sizes=_DECODER),
    "gemma2": Architecture(model_type="gemma2", tokens=GEMMA_TOKENS, sizes={**_DECODER, "sliding_window": 8}),
    "gemma3": Architecture(model_type="gemma3_text", tokens=GEMMA_TOKENS, sizes={**_DECODER, "sliding_window": 8}),
    "gpt2": Architecture(model_type="gpt2", tokens=GPT2_TOKENS, sizes=_GPT2),
}
ARCHITECTURES: Mapping[str, Callable[[], PreTrainedConfig]] = MappingProxyType(
    {name: architecture.config for name, architecture in _ALL.items()}
)


def save_checkpoint(name: str, folder: Path, build: Any = AutoModel, tokens: Tokens | None = None) -> Path:
    """Write a tiny model with random weights and its tokenizer; `build` is an auto class of transformers."""
    architecture = _ALL[name] if tokens is None else replace(_ALL[name], tokens=tokens)
    return save_model(architecture, folder, build)


def save_model(architecture: Architecture, folder: Path, build: Any = AutoModel) -> Path:
    """Write a tiny model of an architecture that need not be in the table."""
    architecture.tokens.save(folder)
    torch.manual_seed(7)
    build.from_config(architecture.config()).save_pretrained(folder)
    return folder


def caching(root: Path) -> Callable[[str], Path]:
    """Return what gives the folder of a checkpoint by name, written once."""
    return functools.cache(lambda name: save_checkpoint(name, root / name))
