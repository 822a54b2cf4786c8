"""Injection changes what the targets name and nothing else; merging takes it out again."""

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, DistilBertConfig, RobertaConfig
from transformers import DistilBertForSequenceClassification as DistilBert
from transformers import RobertaForSequenceClassification as Roberta

from loracle.errors import ConfigError, LoracleWarning, ModelError
from loracle.lora.config import LoRAConfig
from loracle.lora.injection import inject, lora_layers, lora_state_dict, merge
from loracle.models.counting import count_parameters
from loracle.models.loading import head_of_architecture


def small_bert() -> BertForSequenceClassification:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    return BertForSequenceClassification(BertConfig(vocab_size=50, num_labels=3, **sizes)).eval()


def stir(model: nn.Module) -> None:
    for _, layer in lora_layers(model):
        nn.init.normal_(layer.lora_b, std=0.1)


IDS = torch.arange(12).reshape(2, 6)


def test_injected_model_gives_the_bases_logits_bit_for_bit() -> None:
    model = small_bert()
    before = model(IDS).logits
    inject(model, LoRAConfig(targets=("query", "value")), head=("classifier",))
    assert torch.equal(model(IDS).logits, before)


def test_targets_match_whole_suffixes_only() -> None:
    model = nn.ModuleDict({"value": nn.Linear(8, 8), "key_value": nn.Linear(8, 8)})
    assert inject(model, LoRAConfig(targets=("value",))) == ["value"]


def test_dotted_suffix_chooses_among_layers_of_the_same_name() -> None:
    names = inject(small_bert(), LoRAConfig(targets=("attention.output.dense",)))
    assert names == [f"bert.encoder.layer.{layer}.attention.output.dense" for layer in (0, 1)]


def test_all_linear_leaves_the_head_alone() -> None:
    model = small_bert()
    names = inject(model, LoRAConfig(targets=("all-linear",)), head=("classifier",))
    assert len(names) == 2 * 6 + 1  # six a layer, and the pooler
    assert type(model.classifier) is nn.Linear


def test_linear_layers_that_are_read_without_their_forward_are_left_alone() -> None:
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    assert inject(model, LoRAConfig(rank=2, targets=("all-linear",))) == ["linear1", "linear2"]
    assert model(torch.randn(1, 3, 8)).shape == (1, 3, 8)


def test_rank_beyond_the_layers_size_works_with_a_warning() -> None:
    model = small_bert()
    with pytest.warns(LoracleWarning, match=r"rank is 17.*rank 16 at most"):
        inject(model, LoRAConfig(rank=17, targets=("query",)))
    assert {layer.lora_a.shape[0] for _, layer in lora_layers(model)} == {17}


def test_rank_beyond_the_layers_size_is_refused_where_the_update_starts_from_the_weight() -> None:
    model = small_bert()
    with pytest.raises(ConfigError, match="pissa can take 16"):
        inject(model, LoRAConfig(rank=17, targets=("query",), initialisation="pissa"))
    assert all(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize(("target", "kind"), [("word_embeddings", "Embedding"), ("LayerNorm", "LayerNorm")])
def test_a_target_that_is_no_linear_layer_is_refused_with_its_class(target: str, kind: str) -> None:
    with pytest.raises(ConfigError, match=rf"{target}.* is no linear layer but a module of class {kind}.*query"):
        inject(small_bert(), LoRAConfig(targets=(target,)))


def test_a_convolution_is_refused_as_a_target() -> None:
    model = nn.ModuleDict({"conv": nn.Conv1d(4, 4, 1), "linear": nn.Linear(4, 4)})
    with pytest.raises(ConfigError, match="class Conv1d; there are: linear"):
        inject(model, LoRAConfig(rank=1, targets=("conv",)))


def test_a_single_layer_can_have_a_rank_of_its_own() -> None:
    model, config = small_bert(), LoRAConfig(rank=2, targets=("query",))
    names = inject(model, config, overrides={"bert.encoder.layer.1.attention.self.query": LoRAConfig(rank=4)})
    assert [model.get_submodule(name).lora_a.shape[0] for name in names] == [2, 4]


def test_gradients_reach_adapter_and_head_alone() -> None:
    model = small_bert()
    inject(model, LoRAConfig(targets=("query",)), head=("classifier",))
    stir(model)
    model(IDS).logits.sum().backward()
    with_gradient = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert with_gradient == {*lora_state_dict(model), "classifier.weight", "classifier.bias"}


def test_unmatched_target_is_refused_with_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"'q_proj' matches no linear layer.*query"):
        inject(small_bert(), LoRAConfig(targets=("query", "q_proj")))


def test_a_refused_injection_leaves_the_model_as_it_was() -> None:
    model = small_bert()
    with pytest.raises(ConfigError):
        inject(model, LoRAConfig(targets=("query", "nope")))
    assert not list(lora_layers(model))
    assert all(weight.requires_grad for weight in model.parameters())


def test_injecting_twice_is_refused() -> None:
    model = small_bert()
    inject(model, LoRAConfig(targets=("query",)))
    with pytest.raises(ModelError, match="already"):
        inject(model, LoRAConfig(targets=("value",)))


def test_merge_keeps_logits_and_restores_the_original_keys() -> None:
    model = small_bert()
    keys = list(model.state_dict())
    names = inject(model, LoRAConfig(targets=("all-linear",)), head=("classifier",))
    stir(model)
    before = model(IDS).logits
    assert merge(model) == names
    assert list(model.state_dict()) == keys
    torch.testing.assert_close(model(IDS).logits, before, rtol=0, atol=1e-5)


def test_merging_without_lora_is_refused() -> None:
    with pytest.raises(ModelError, match="no LoRA layers"):
        merge(small_bert())


# Counts recomputed by hand from the published configurations of these models.
@pytest.mark.parametrize(
    ("model_class", "config", "rank", "targets", "adapter", "head", "total_before"),
    [
        (
            Roberta,
            RobertaConfig(
                vocab_size=50265, num_hidden_layers=6, max_position_embeddings=514, type_vocab_size=1, num_labels=2
            ),
            8,
            ("query", "value"),
            147_456,
            592_130,
            82_119_938,
        ),
        (
            DistilBert,
            DistilBertConfig(num_labels=2),
            16,
            ("q_lin", "k_lin", "v_lin", "out_lin"),
            589_824,
            592_130,
            66_955_010,
        ),
        (
            BertForSequenceClassification,
            BertConfig(
                hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=512, num_labels=9
            ),
            8,
            ("query", "value"),
            8_192,
            1_161,
            4_387_081,
        ),
    ],
    ids=["distilroberta", "distilbert", "bert-tiny"],
)
def test_counts_of_known_models_on_the_meta_device(
    model_class: type[nn.Module],
    config: object,
    rank: int,
    targets: tuple[str, ...],
    adapter: int,
    head: int,
    total_before: int,
) -> None:
    with torch.device("meta"):
        model = model_class(config)
        head_modules = head_of_architecture(model)
        full = count_parameters(model, head_modules)
        assert full.trainable == full.total == total_before
        inject(model, LoRAConfig(rank=rank, targets=targets), head=head_modules)
    counts = count_parameters(model, head_modules)
    assert (counts.adapter, counts.head, counts.trainable) == (adapter, head, adapter + head)
    assert counts.total == total_before + adapter
    assert all(weight.is_meta for weight in model.parameters())
