"""What is frozen is held once, in the precision that is computed in, and gives what float32 gives within rounding."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from loracle.lora.config import LoRAConfig
from loracle.lora.injection import inject, lora_layers
from loracle.models.families import default_targets
from loracle.models.loading import Base, load_base
from loracle.training.batching import Tokens, tokenise
from loracle.training.fitting import predict_proba
from loracle.training.precision import ComputePath, choose_path, hold_frozen

FP32, BF16 = ComputePath("cpu", "fp32"), ComputePath("cpu", "bf16")
TEXTS = ["late again", "the parcel was never answered and nobody was friendly", "thanks", "a lovely friendly thanks"]
TOLERANCE = 2e-2  # of what a path may move logits


def adapted(folder: str) -> tuple[Base, Tokens]:
    torch.manual_seed(0)
    base = load_base(folder, ("bad", "good"))
    inject(base.network, LoRAConfig(rank=4, targets=default_targets(base.config.model_type)), head=base.head)
    for _, layer in lora_layers(base.network):
        nn.init.normal_(layer.lora_b, std=0.02)
    return base, tokenise(base.tokenizer, TEXTS, 48)


def logits(base: Base, tokens: Tokens, path: ComputePath) -> torch.Tensor:
    """Return the logit of the second class, both centred on zero."""
    probabilities = torch.from_numpy(predict_proba(base.network, tokens, path)).double()
    return (probabilities[:, 1] / probabilities[:, 0]).log() / 2


def test_bf16_moves_the_logits_of_every_architecture_by_rounding_alone(
    checkpoint: Callable[[str], Path], architecture: str
) -> None:
    base, tokens = adapted(str(checkpoint(architecture)))
    exact, other = logits(base, tokens, FP32), adapted(str(checkpoint(architecture)))[0]
    hold_frozen(base.network, BF16)
    moved = (logits(base, tokens, BF16) - exact).abs().max()
    if moved > TOLERANCE:  # some tiny decoders have weights so large that bf16 products of float32 weights move as much
        assert architecture in ("llama", "mistral")
        assert moved < 1.2 * (logits(other, tokens, BF16) - exact).abs().max()
    assert moved > 0


def test_bf16_moves_the_logits_of_minilm_by_rounding_alone() -> None:
    base, tokens = adapted("minilm")
    exact = logits(base, tokens, FP32)
    hold_frozen(base.network, BF16)
    assert 0 < (logits(base, tokens, BF16) - exact).abs().max() < TOLERANCE


def test_frozen_weights_are_held_once_and_trained_ones_stay_float32(tiny_base: Path) -> None:
    base, _ = adapted(str(tiny_base))
    before = sum(item.nbytes for item in base.network.parameters() if not item.requires_grad)
    hold_frozen(base.network, BF16)
    kinds = {item.requires_grad: item.dtype for item in base.network.parameters()}
    assert kinds == {True: torch.float32, False: torch.bfloat16}
    assert sum(item.nbytes for item in base.network.parameters() if not item.requires_grad) == before // 2


def test_float32_holds_every_weight_as_it_is(tiny_base: Path) -> None:
    base, _ = adapted(str(tiny_base))
    before = {name: item.data_ptr() for name, item in base.network.named_parameters()}
    hold_frozen(base.network, FP32)
    assert {name: item.data_ptr() for name, item in base.network.named_parameters()} == before


def test_a_frozen_part_of_the_adapter_keeps_its_precision(tiny_base: Path) -> None:
    base = load_base(str(tiny_base), ("bad", "good"))
    inject(base.network, LoRAConfig(targets=("query",), freeze_a=True), head=base.head)
    hold_frozen(base.network, BF16)
    assert all(layer.lora_a.dtype == torch.float32 for _, layer in lora_layers(base.network))


def test_a_module_that_is_partly_trained_keeps_its_precision(tiny_base: Path) -> None:
    base = load_base(str(tiny_base), ("bad", "good"))
    base.network.requires_grad_(False)
    norm = base.network.bert.embeddings.LayerNorm
    norm.bias.requires_grad_(True)
    hold_frozen(base.network, BF16)
    assert norm.weight.dtype == torch.float32


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_deterministic_is_the_reference_path(precision: str) -> None:
    path = choose_path(precision, deterministic=True)
    assert (path.precision, path.attention, path.deterministic) == ("fp32", "eager", True)
    before = torch.are_deterministic_algorithms_enabled()
    with path.in_one_order():
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.are_deterministic_algorithms_enabled() == before
