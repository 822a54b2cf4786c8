"""A word-level bidirectional LSTM (Graves & Schmidhuber, 2005) with a vocabulary of its own, trained from nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from loracle.models.loading import Base
from loracle.models.networks import NetworkConfig

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

HEAD = "head"
_SPECIAL = ("[PAD]", "[UNK]", "[START]")  # a text without any word still has its start
_WEIGHTS_FILE = "lstm.safetensors"
_READ_AT_ONCE = 1024


@dataclass(frozen=True)
class Scores:
    """What a network of transformers returns too: logits (texts, classes)."""

    logits: Tensor


class LSTMClassifier(nn.Module):
    """Word vectors, one bidirectional LSTM layer, the mean of its states over the words, and a linear head.

    Called with ids and mask (texts, words), 1 in the mask for each word and 0 for padding behind it.
    """

    def __init__(self, words: int, classes: int, *, embedding: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, embedding, padding_idx=0)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * hidden, classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Scores:
        """Return the scores, with logits (texts, classes)."""
        vectors = self.dropout(self.embedding(input_ids))
        lengths = attention_mask.sum(dim=1)
        packed = pack_padded_sequence(vectors, lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)  # zeros behind each text
        mean = states.sum(dim=1) / lengths.unsqueeze(1)
        return Scores(self.head(self.dropout(mean)))


def build_lstm(texts: Sequence[str], classes: int, config: NetworkConfig) -> Base:
    """Return an untrained LSTM that knows the commonest words of `texts`."""
    tokenizer = train_word_tokenizer(texts, config.lstm_words)
    network = LSTMClassifier(
        len(tokenizer),
        classes,
        embedding=config.lstm_embedding,
        hidden=config.lstm_hidden,
        dropout=config.lstm_dropout,
    )
    return Base("lstm", network, tokenizer, (HEAD,), pretrained=False)


def save_lstm(base: Base, folder: Path) -> None:
    """Write the weights; all sizes are read from their shapes again."""
    from safetensors.torch import save_file

    save_file(base.network.state_dict(), folder / _WEIGHTS_FILE)


def load_lstm(folder: Path) -> Base:
    """Read what `save_lstm` wrote, and the tokenizer beside it; raises ModelError where either cannot be read."""
    from safetensors.torch import load_file

    from loracle.models.loading import load_tokenizer_file, reading

    with reading(str(folder)):
        weights = load_file(folder / _WEIGHTS_FILE)
        words, embedding = weights["embedding.weight"].shape
        classes, both = weights["head.weight"].shape
        network = LSTMClassifier(words, classes, embedding=embedding, hidden=both // 2)
        network.load_state_dict(weights)
    return Base("lstm", network, load_tokenizer_file(folder), (HEAD,), pretrained=False)


def train_word_tokenizer(texts: Sequence[str], words: int) -> PreTrainedTokenizerBase:
    """Return a tokenizer of lower-case words and punctuation marks, the commonest `words` of `texts`."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import TemplateProcessing
    from tokenizers.trainers import WordLevelTrainer
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    trainer = WordLevelTrainer(vocab_size=words + len(_SPECIAL), special_tokens=list(_SPECIAL), show_progress=False)
    tokenizer.train_from_iterator(_blocks(texts), trainer)
    tokenizer.post_processor = TemplateProcessing(
        single="[START] $A", special_tokens=[("[START]", tokenizer.token_to_id("[START]"))]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")


def _blocks(texts: Sequence[str]) -> Iterator[Iterable[str]]:
    for start in range(0, len(texts), _READ_AT_ONCE):
        yield texts[start : start + _READ_AT_ONCE]
