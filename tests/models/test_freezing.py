"""What partial, bitfit and head leave trainable, by structure and by count."""

import pytest
import torch
from transformers import AlbertConfig, AutoModelForSequenceClassification, BertConfig, GPT2Config, LlamaConfig

from loracle.errors import ConfigError
from loracle.models.counting import count_parameters
from loracle.models.freezing import (
    find_blocks,
    find_embeddings,
    find_layers,
    train_biases,
    train_head,
    train_upper_layers,
)
from loracle.models.loading import Base, head_of_architecture


def build(config: object) -> Base:
    with torch.device("meta"):
        network = AutoModelForSequenceClassification.from_config(config)
    return Base("test", network, None, head_of_architecture(network))  # type: ignore[arg-type]


@pytest.fixture
def bert() -> Base:
    return build(BertConfig(vocab_size=50, hidden_size=8, num_hidden_layers=6, num_attention_heads=2, num_labels=3))


def trainable(base: Base) -> set[str]:
    return {name for name, parameter in base.network.named_parameters() if parameter.requires_grad}


def test_two_thirds_of_the_layers_and_the_embeddings_are_frozen(bert: Base) -> None:
    train_upper_layers(bert)
    found = {name.split(".")[3] for name in trainable(bert) if ".layer." in name}
    assert found == {"4", "5"}
    assert not any("embeddings" in name for name in trainable(bert))
    assert {"classifier.weight", "bert.pooler.dense.weight"} <= trainable(bert)


def test_embeddings_are_trained_on_request(bert: Base) -> None:
    train_upper_layers(bert, 5, train_embeddings=True)
    assert sum("embeddings" in name for name in trainable(bert)) == 5
    assert {name.split(".")[3] for name in trainable(bert) if ".layer." in name} == {"5"}


def test_no_frozen_layer_and_all_layers_frozen_are_both_possible(bert: Base) -> None:
    train_upper_layers(bert, 0, train_embeddings=True)
    assert len(trainable(bert)) == len(list(bert.network.parameters()))
    train_upper_layers(bert, 6)
    assert {name.partition(".")[0] for name in trainable(bert)} == {"bert", "classifier"}  # the pooler is above


def test_more_frozen_layers_than_there_are_is_refused(bert: Base) -> None:
    with pytest.raises(ConfigError, match="has 6 layers"):
        train_upper_layers(bert, 7)


def test_llama_with_twelve_frozen_layers_has_the_known_count() -> None:
    llama = build(
        LlamaConfig(
            vocab_size=128_256,
            hidden_size=2048,
            intermediate_size=8192,
            num_hidden_layers=16,
            num_attention_heads=32,
            num_key_value_heads=8,
            head_dim=64,
            tie_word_embeddings=True,
            num_labels=2,
        )
    )
    train_upper_layers(llama, 12, train_embeddings=True)
    counts = count_parameters(llama.network, llama.head)
    assert (counts.trainable, counts.total) == (505_960_450 - 2, 1_235_818_498 - 2)  # the source's head has a bias


def test_layers_and_embeddings_are_found_in_a_decoder() -> None:
    gpt = build(GPT2Config(vocab_size=50, n_embd=8, n_layer=3, n_head=2))
    assert find_layers(gpt.network) == ["transformer.h.0", "transformer.h.1", "transformer.h.2"]
    assert find_embeddings(gpt.network, find_layers(gpt.network)) == "transformer.wte"


def test_shared_layers_cannot_be_frozen_one_by_one() -> None:
    albert = build(AlbertConfig(vocab_size=50, hidden_size=8, embedding_size=4, num_attention_heads=2))
    with pytest.raises(ConfigError, match="no layers that could be frozen"):
        train_upper_layers(albert)
    assert find_blocks(albert.network) == ["albert.encoder.albert_layer_groups.0"]


def test_network_without_a_list_of_modules_has_no_blocks() -> None:
    assert find_blocks(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ModuleList())) == []


def test_bitfit_trains_biases_and_head_alone(bert: Base) -> None:
    train_biases(bert)
    assert all(name.endswith(".bias") or name.startswith(bert.head) for name in trainable(bert))
    assert "bert.encoder.layer.0.output.dense.bias" in trainable(bert)


def test_bitfit_trains_the_biases_that_deberta_calls_otherwise(architectures) -> None:
    deberta = build(architectures.ARCHITECTURES["deberta"]())
    train_biases(deberta)
    query_value = {name for name, _ in deberta.network.named_parameters() if name.endswith(("q_bias", "v_bias"))}
    assert len(query_value) == 2 * 2
    assert query_value < trainable(deberta)


def test_bitfit_without_biases_is_refused() -> None:
    config = LlamaConfig(vocab_size=50, hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=2)
    with pytest.raises(ConfigError, match="no biases"):
        train_biases(build(config))


def test_head_trains_the_head_alone(bert: Base) -> None:
    train_head(bert)
    assert all(name.startswith(bert.head) for name in trainable(bert))
    assert trainable(bert)
