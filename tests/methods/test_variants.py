"""A variant of LoRA, as a method, is that variant, whatever the setup says."""

from pathlib import Path

import pytest
import torch

from loracle.errors import ConfigError
from loracle.lora.config import LoRAConfig
from loracle.lora.injection import lora_layers
from loracle.lora.layer import LoRALinear
from loracle.lora.variants import DoRALinear, ShiftedLinear
from loracle.methods.method import Setup
from loracle.methods.registry import METHODS, find_methods
from loracle.models.loading import load_base
from loracle.training.budget import Budget
from loracle.training.optimising import build_adamw

EXPECTED = {
    "lora": (LoRALinear, {}),
    "rslora": (LoRALinear, {"rslora": True}),
    "lora-plus": (LoRALinear, {"b_learning_rate_ratio": 16.0}),
    "lora-fa": (LoRALinear, {"freeze_a": True}),
    "rank-dropout": (LoRALinear, {"rank_dropout": 0.1}),
    "dora": (DoRALinear, {"dora": True}),
    "pissa": (ShiftedLinear, {"initialisation": "pissa"}),
    "olora": (ShiftedLinear, {"initialisation": "olora"}),
}


def prepared(name: str, model: Path, lora: LoRAConfig) -> torch.nn.Module:
    base = load_base(str(model), ("a", "b"))
    METHODS[name].prepare(base, Setup(model=str(model), lora=lora))
    return base.network


def test_every_variant_is_expected_here() -> None:
    assert {method.name for method in find_methods(["all-lora"])} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("given", [{}, {"initialisation": "pissa"}, {"b_learning_rate_ratio": 4.0}], ids=str)
def test_a_variant_has_its_option_and_the_others_of_the_setup(name: str, given: dict, tiny_base: Path) -> None:
    kind, own = EXPECTED[name]
    if given.get("initialisation") and name in ("dora", "lora-fa"):
        with pytest.raises(ConfigError, match="do not go together"):
            prepared(name, tiny_base, LoRAConfig(rank=4, **given))
        return
    network = prepared(name, tiny_base, LoRAConfig(rank=4, **given))
    targets = ("query", "value")
    for _, layer in lora_layers(network):
        assert layer.config == LoRAConfig(**{"rank": 4, "targets": targets, **given, **own})
        assert type(layer) is (ShiftedLinear if given.get("initialisation") else kind)


@pytest.mark.parametrize("name", ["dora:dora=false", "pissa:initialisation=olora", "lora-plus:b_learning_rate_ratio=1"])
def test_a_name_that_contradicts_its_variant_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="unknown option"):
        find_methods([name])


@pytest.mark.parametrize(("name", "ratio"), [("lora", 1.0), ("lora-plus", 16.0)])
def test_the_loop_trains_b_at_the_rate_of_its_variant(name: str, ratio: float, tiny_base: Path) -> None:
    network = prepared(name, tiny_base, LoRAConfig())
    optimizer = build_adamw(network, 1e-3, Budget())
    rates = {id(item): group["lr"] for group in optimizer.param_groups for item in group["params"]}
    for key, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert rates[id(parameter)] == pytest.approx(1e-3 * (ratio if key.endswith("lora_b") else 1))
