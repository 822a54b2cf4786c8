"""The LSTM: a text's scores are its own, whatever is beside it; its words are those of the training split."""

from pathlib import Path

import pytest
import torch

from loracle.errors import ModelError
from loracle.models.lstm import LSTMClassifier, build_lstm, load_lstm, save_lstm, train_word_tokenizer
from loracle.models.networks import NetworkConfig

TEXTS = ["The parcel was late.", "the shop is lovely", "the the rude rude reply"]


def test_scores_do_not_depend_on_neighbours() -> None:
    torch.manual_seed(0)
    network = LSTMClassifier(40, 3, embedding=8, hidden=6).eval()
    ids = torch.randint(1, 40, (1, 5))
    alone = network(ids, torch.ones_like(ids)).logits
    padded = torch.cat([ids, torch.zeros(1, 7, dtype=torch.long)], dim=1)
    mask = (padded > 0).long()
    longer = torch.randint(1, 40, (1, 12))
    together = network(torch.cat([longer, padded]), torch.cat([torch.ones_like(longer), mask])).logits
    torch.testing.assert_close(together[1:], alone)


def test_vocabulary_is_the_commonest_words() -> None:
    tokenizer = train_word_tokenizer(TEXTS, 2)
    assert set(tokenizer.get_vocab()) == {"[PAD]", "[UNK]", "[START]", "the", "rude"}
    assert tokenizer.tokenize("THE unseen") == ["the", "[UNK]"]


def test_text_without_words_has_a_token_all_the_same() -> None:
    tokenizer = train_word_tokenizer(TEXTS, 100)
    assert len(tokenizer("")["input_ids"]) == 1


def test_saved_network_is_loaded_to_the_bit(tmp_path: Path) -> None:
    base = build_lstm(TEXTS, 2, NetworkConfig(lstm_embedding=8, lstm_hidden=6))
    save_lstm(base, tmp_path)
    base.tokenizer.save_pretrained(tmp_path)
    loaded = load_lstm(tmp_path)
    assert loaded.tokenizer(TEXTS[0])["input_ids"] == base.tokenizer(TEXTS[0])["input_ids"]
    for name, weights in base.network.state_dict().items():
        assert torch.equal(weights, loaded.network.state_dict()[name])


def test_broken_weights_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "lstm.safetensors").write_bytes(b"no")
    with pytest.raises(ModelError):
        load_lstm(tmp_path)
