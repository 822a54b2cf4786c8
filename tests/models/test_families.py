"""Default targets exist in the architectures that they are listed for."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from loracle.errors import ConfigError
from loracle.lora.injection import match_targets
from loracle.models.families import default_targets, resolve_targets
from loracle.models.loading import head_of_architecture

LISTED = ("albert", "bert", "distilbert", "electra", "mpnet", "roberta", "xlm-roberta")


@pytest.mark.parametrize("model_type", LISTED)
def test_default_targets_are_two_attention_projections_a_layer(model_type: str) -> None:
    config = AutoConfig.for_model(model_type)
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    names = match_targets(model, default_targets(model_type), head=head_of_architecture(model))
    layers = 1 if model_type == "albert" else config.num_hidden_layers  # ALBERT shares one layer
    assert len(names) == 2 * layers


@pytest.mark.parametrize("model_type", LISTED)
def test_attention_means_its_four_projections(model_type: str) -> None:
    config = AutoConfig.for_model(model_type)
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config)
    names = match_targets(model, resolve_targets(("attention",), model_type), head=head_of_architecture(model))
    layers = 1 if model_type == "albert" else config.num_hidden_layers
    assert len(names) == 4 * layers
    assert not any("intermediate" in name or "ffn" in name for name in names)


def test_asked_targets_are_taken_as_they_are() -> None:
    assert resolve_targets(("q_lin",), "something-new") == ("q_lin",)


def test_unlisted_architecture_is_refused_with_a_way_out() -> None:
    with pytest.raises(ConfigError, match="all-linear"):
        default_targets("something-new")
