"""The LoRA layer computes what its first line says, and starts as the base."""

import pytest
import torch
from torch import nn

from loracle.errors import ConfigError
from loracle.lora.config import LoRAConfig
from loracle.lora.layer import LoRALinear


def trained_layer(bias: bool = True, dropout: float = 0.0) -> LoRALinear:
    torch.manual_seed(0)
    layer = LoRALinear(nn.Linear(10, 6, bias=bias), LoRAConfig(rank=3, alpha=12, dropout=dropout))
    nn.init.normal_(layer.lora_b)
    return layer


def test_output_at_the_start_is_the_bases_bit_for_bit() -> None:
    layer = LoRALinear(nn.Linear(10, 6), LoRAConfig(rank=3))
    x = torch.randn(4, 7, 10)
    assert torch.equal(layer(x), layer.base(x))


@pytest.mark.parametrize("bias", [True, False])
def test_output_is_base_plus_scaled_low_rank_product(bias: bool) -> None:
    layer, x = trained_layer(bias), torch.randn(4, 10)
    expected = layer.base(x) + (12 / 3) * (x @ layer.lora_a.T) @ layer.lora_b.T
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-6)


def test_delta_weight_moves_the_output_as_the_update_does() -> None:
    layer, x = trained_layer(), torch.randn(4, 10)
    torch.testing.assert_close(layer(x) - layer.base(x), x @ layer.delta_weight().T, rtol=0, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_merged_layer_is_plain_and_gives_the_same_output(bias: bool) -> None:
    layer, x = trained_layer(bias), torch.randn(4, 10)
    merged = layer.merged()
    assert type(merged) is nn.Linear
    assert (merged.in_features, merged.out_features) == (10, 6)
    torch.testing.assert_close(merged(x), layer(x), rtol=0, atol=1e-5)


def test_only_a_and_b_get_gradients() -> None:
    layer = trained_layer()
    layer(torch.randn(4, 10)).sum().backward()
    assert {name for name, weight in layer.named_parameters() if weight.grad is not None} == {"lora_a", "lora_b"}


def test_a_starts_kaiming_uniform_over_in_features() -> None:
    layer = LoRALinear(nn.Linear(4096, 8), LoRAConfig(rank=16))
    bound = (1 / 4096) ** 0.5  # Kaiming with a = sqrt(5): gain sqrt(1/3), bound sqrt(3) * gain / sqrt(fan_in)
    assert layer.lora_a.abs().max() <= bound
    assert layer.lora_a.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert not layer.lora_b.any()


def test_dropout_changes_the_update_in_training_alone() -> None:
    layer, x = trained_layer(dropout=0.5), torch.randn(64, 10)
    assert not torch.equal(layer.train()(x), layer(x))
    assert torch.equal(layer.eval()(x), layer(x))
    assert torch.equal(layer.train().base(x), layer.base(x))


def test_low_precision_input_gives_low_precision_output() -> None:
    layer = trained_layer()
    layer.base.bfloat16()
    assert layer(torch.randn(4, 10, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert layer.lora_a.dtype == torch.float32


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"alpha": 0}, {"alpha": float("inf")}, {"dropout": 1.0}])
def test_configuration_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        LoRAConfig(**wrong)
