"""Default targets exist in the architectures that they are listed for, at the sizes that those come with."""

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification

from loracle.errors import ConfigError
from loracle.lora.injection import match_targets
from loracle.models.families import FAMILIES, count_positions, default_targets, resolve_targets
from loracle.models.loading import head_of_architecture

FUSED = ("deberta", "gpt2", "modernbert")  # query, key and value in one layer
PEFT_HAS_NONE = ("albert", "distilbert", "modernbert", "mpnet")


def build(model_type: str) -> tuple[nn.Module, int]:
    """Return the architecture at its usual size, on the meta device, and its number of layers."""
    config = AutoConfig.for_model(model_type)
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    return model, 1 if model_type == "albert" else config.num_hidden_layers  # ALBERT shares one layer


@pytest.mark.parametrize("model_type", FAMILIES)
def test_default_targets_are_query_and_value_of_each_layer(model_type: str) -> None:
    model, layers = build(model_type)
    names = match_targets(model, default_targets(model_type), head=head_of_architecture(model))
    assert len(names) == (1 if model_type in FUSED else 2) * layers


@pytest.mark.parametrize("model_type", FAMILIES)
def test_attention_means_all_its_projections(model_type: str) -> None:
    model, layers = build(model_type)
    names = match_targets(model, resolve_targets(("attention",), model_type), head=head_of_architecture(model))
    assert len(names) == (2 if model_type in FUSED else 4) * layers
    assert not any("intermediate" in name or "ffn" in name or "mlp" in name for name in names)


@pytest.mark.parametrize("model_type", [name for name in FAMILIES if name not in PEFT_HAS_NONE])
def test_default_targets_are_those_of_peft(model_type: str) -> None:
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as PEFT

    assert default_targets(model_type) == tuple(PEFT[model_type])


@pytest.mark.parametrize("model_type", PEFT_HAS_NONE)
def test_peft_still_has_no_default_where_ours_stands_alone(model_type: str) -> None:
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as PEFT

    assert model_type not in PEFT


def test_asked_targets_are_taken_as_they_are() -> None:
    assert resolve_targets(("q_lin",), "something-new") == ("q_lin",)


def test_unlisted_architecture_is_refused_with_a_way_out() -> None:
    with pytest.raises(ConfigError, match="all-linear"):
        default_targets("something-new")


def test_unlisted_architecture_is_refused_with_the_layers_that_there_are() -> None:
    with pytest.raises(ConfigError, match=r"there are: dense, key\)"):
        resolve_targets(("attention",), "something-new", linear=("layer.0.key", "layer.1.key", "layer.0.dense"))


@pytest.mark.parametrize(("model_type", "positions"), [("bert", 512), ("roberta", 512), ("gpt2", 1024)])
def test_positions_are_those_for_tokens_of_a_text(model_type: str, positions: int) -> None:
    asked = {"max_position_embeddings": 514} if model_type == "roberta" else {}  # as RoBERTa is published
    assert count_positions(AutoConfig.for_model(model_type, **asked)) == positions


def test_no_configuration_has_no_limit() -> None:
    assert count_positions(None) is None
