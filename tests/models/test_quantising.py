"""A quantised base computes nearly the same, passes the gradient on, and takes a fraction of the memory."""

import copy
import importlib.util

import pytest
import torch
from torch import nn

from loracle.errors import ConfigError, ModelError
from loracle.lora.config import LoRAConfig
from loracle.lora.injection import inject, merge
from loracle.models.counting import count_parameters
from loracle.models.quantising import QuantisedLinear, frozen_bytes, quantise, quantised_layers

# Relative error of a product with normally distributed weights: uniform codes of 8 bits, quantiles of 4 bits.
LARGEST_ERROR = {"int8": 0.01, "nf4": 0.1}
PRECISIONS = list(LARGEST_ERROR)


def build() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 3))


def frozen() -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(64, 96).requires_grad_(False)


def distance(found: torch.Tensor, true: torch.Tensor) -> float:
    return ((found.detach().float() - true.float()).norm() / true.float().norm()).item()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_layer_computes_nearly_what_its_base_computes(precision: str) -> None:
    base, x = frozen(), torch.randn(5, 7, 64)
    error = distance(QuantisedLinear(base, precision)(x), base(x))
    assert 0 < error < LARGEST_ERROR[precision]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_layer_is_the_linear_layer_of_the_weight_that_it_names(precision: str) -> None:
    layer, x = QuantisedLinear(frozen(), precision), torch.randn(5, 64)
    assert layer.weight.dtype == torch.float32
    torch.testing.assert_close(layer(x), nn.functional.linear(x, layer.weight, layer.bias))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_gradient_reaches_the_input_through_the_frozen_codes(precision: str) -> None:
    layer = QuantisedLinear(frozen(), precision)
    x = torch.randn(5, 64, requires_grad=True)
    layer(x).square().sum().backward()
    again = x.detach().clone().requires_grad_(True)
    nn.functional.linear(again, layer.weight, layer.bias).square().sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, again.grad)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_layer_computes_in_bf16_under_autocast_as_a_plain_one(precision: str) -> None:
    base = frozen()
    layer, x = QuantisedLinear(base, precision), torch.randn(5, 64, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y, plain = layer(x), base(x.detach())
    y.float().sum().backward()
    assert y.dtype == plain.dtype == torch.bfloat16
    assert x.grad is not None
    assert x.grad.dtype == torch.float32
    assert distance(y, plain) < LARGEST_ERROR[precision] + 0.01


def test_what_a_layer_returns_may_be_added_to_in_place() -> None:
    layer, x = QuantisedLinear(frozen(), "int8"), torch.randn(2, 5, 64, requires_grad=True)
    y = layer(x)
    y += 2 * x.sum(-1, keepdim=True)
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad[0, 0], layer.weight.sum(0) + 2 * 96)


def test_training_and_scoring_compute_the_same() -> None:
    layer, x = QuantisedLinear(frozen(), "int8"), torch.randn(5, 64)
    assert torch.equal(layer.train()(x), layer.eval()(x))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_same_weights_give_the_same_codes(precision: str) -> None:
    first, second = QuantisedLinear(frozen(), precision), QuantisedLinear(frozen(), precision)
    assert torch.equal(first.codes, second.codes)
    assert torch.equal(first.scales, second.scales)


def test_decoded_weight_is_not_kept_for_the_backward_pass() -> None:
    layer, kept = QuantisedLinear(frozen(), "int8"), []
    x = torch.randn(5, 64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()), lambda _: None):
        layer(x)
    assert layer.weight_parameters not in kept


@pytest.mark.parametrize(("precision", "bits"), [("int8", 8), ("nf4", 4)])
def test_bytes_are_those_of_the_codes_and_their_scales(precision: str, bits: int) -> None:
    network = build().requires_grad_(False)
    before, after = quantise(network, precision, keep=("4",))
    weights, biases = 64 * 96 * 2, 96 + 64
    assert before == 4 * (weights + biases)
    scales = 4 * (96 + 64) if precision == "int8" else 4 * weights // 64
    assert after == weights * bits // 8 + scales + 4 * biases
    assert after == frozen_bytes(network, ("4",))


def test_what_is_trained_and_what_is_kept_stay_as_they_are() -> None:
    network = build().requires_grad_(False)
    network[0].requires_grad_(True)
    quantise(network, "int8", keep=("4",))
    assert [name for name, _ in quantised_layers(network)] == ["2"]
    assert type(network[0]) is type(network[4]) is nn.Linear


def test_full_precision_changes_nothing() -> None:
    network = build().requires_grad_(False)
    before, after = quantise(network, "full")
    assert before == after
    assert not list(quantised_layers(network))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_lora_on_a_quantised_base_adds_the_same_update(precision: str) -> None:
    network, x = build(), torch.randn(5, 64)
    inject(network, LoRAConfig(rank=4, targets=("0", "2")), head=("4",))
    for name in ("0", "2"):
        nn.init.normal_(network.get_submodule(name).lora_b)
    layer = copy.deepcopy(network.get_submodule("0"))
    quantise(network, precision, keep=("4",))
    held = network.get_submodule("0")
    assert isinstance(held.base, QuantisedLinear)
    torch.testing.assert_close(held(x) - held.base(x), layer(x) - layer.base(x), atol=1e-4, rtol=1e-4)
    network(x).sum().backward()
    assert held.lora_a.grad is not None
    assert float(held.lora_a.grad.abs().sum()) > 0


def test_counts_are_those_of_the_full_base_and_its_bytes_are_fewer() -> None:
    network = build()
    inject(network, LoRAConfig(rank=4, targets=("0",)), head=("4",))
    full = count_parameters(network, ("4",))
    quantise(network, "nf4", keep=("4",))
    held = count_parameters(network, ("4",))
    assert (held.adapter, held.head, held.base, held.trainable) == (full.adapter, full.head, full.base, full.trainable)
    assert held.base_bytes < full.base_bytes / 6


def test_merging_into_codes_is_refused_and_changes_nothing() -> None:
    network, x = build(), torch.randn(5, 64)
    inject(network, LoRAConfig(rank=4, targets=("0",)), head=("4",))
    quantise(network, "int8", keep=("4",))
    before = network(x)
    with pytest.raises(ModelError, match="load_merged"):
        merge(network)
    assert torch.equal(network(x), before)


def test_injecting_into_codes_is_refused() -> None:
    network = build().requires_grad_(False)
    quantise(network, "int8", keep=("4",))
    with pytest.raises(ConfigError, match="no linear layer but a module of class QuantisedLinear"):
        inject(network, LoRAConfig(targets=("0",)), head=("4",))


def test_network_without_a_frozen_linear_layer_is_refused() -> None:
    with pytest.raises(ConfigError, match="no frozen linear layer"):
        quantise(build(), "int8")


def test_unknown_precision_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean 'int8'"):
        quantise(build(), "int4")


def test_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"loracle\[quantised\]"):
        quantise(build().requires_grad_(False), "int8")
