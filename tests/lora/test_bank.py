"""A bank computes for each text what the network of its adapter computes alone."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from loracle.errors import ModelError
from loracle.lora.bank import build_bank, route
from loracle.lora.config import LoRAConfig
from loracle.lora.injection import inject, lora_layers
from loracle.models.families import default_targets
from loracle.models.loading import load_base

Checkpoint = Callable[[str], Path]
RANKS, ALPHAS = (4, 2, 7), (8.0, 16.0, 3.0)


def networks(folder: Path, configs: Sequence[dict] | None = None) -> tuple[list[nn.Module], tuple[str, ...]]:
    """Return networks with adapters of different ranks, whose updates are not zero."""
    found, head = [], ()
    for seed, given in enumerate(configs or [{"rank": r, "alpha": a} for r, a in zip(RANKS, ALPHAS, strict=True)]):
        torch.manual_seed(seed)
        base = load_base(str(folder), ("a", "b", "c"))
        head = base.head
        inject(base.network, LoRAConfig(targets=default_targets(base.config.model_type), **given), head=head)
        for _, layer in lora_layers(base.network):
            nn.init.normal_(layer.lora_b, std=0.1)
        found.append(base.network.eval())
    return found, head


def texts(sizes: Sequence[int], length: int = 9) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randint(5, 60, (size, length), generator=draw) for size in sizes]


@pytest.mark.parametrize("sizes", [(2, 2, 2), (1, 3, 2), (0, 2, 1)], ids=["equal", "unequal", "one-without"])
@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "llama", "gpt2"])
def test_logits_and_gradients_are_those_of_each_alone(
    checkpoint: Checkpoint, architecture: str, sizes: tuple[int, ...]
) -> None:
    alone, head = networks(checkpoint(architecture))
    batches = texts(sizes)
    expected, gradients = [], []
    for network, ids in zip(alone, batches, strict=True):
        logits = network(input_ids=ids, attention_mask=torch.ones_like(ids)).logits if len(ids) else torch.empty(0, 3)
        expected.append(logits.detach())
        if len(ids):
            logits.square().sum().backward()
        gradients.append([item.grad for item in network.parameters() if item.requires_grad])
        network.zero_grad()
    bank = build_bank(alone, head=head)
    route(bank, sizes)
    together = torch.cat(batches)
    logits = bank(input_ids=together, attention_mask=torch.ones_like(together)).logits
    torch.testing.assert_close(logits.detach(), torch.cat(expected), atol=1e-6, rtol=1e-5)
    logits.square().sum().backward()
    for network, before in zip(alone, gradients, strict=True):
        for parameter, gradient in zip((p for p in network.parameters() if p.requires_grad), before, strict=True):
            nothing = torch.zeros_like(parameter)
            found = nothing if parameter.grad is None else parameter.grad
            torch.testing.assert_close(found, nothing if gradient is None else gradient, atol=1e-5, rtol=1e-4)


def test_a_bank_of_one_is_that_network(checkpoint: Checkpoint) -> None:
    (network,), head = networks(checkpoint("bert"), [{"rank": 4}])
    ids = texts([3])[0]
    expected = network(input_ids=ids).logits
    bank = build_bank([network], head=head)
    route(bank, [3])
    torch.testing.assert_close(bank(input_ids=ids).logits, expected, atol=1e-6, rtol=1e-5)


def test_frozen_weights_are_held_once_and_adapters_are_each_ones_own(checkpoint: Checkpoint) -> None:
    alone, head = networks(checkpoint("bert"))
    build_bank(alone, head=head)
    first, second = (dict(network.named_parameters()) for network in alone[:2])
    same = {name for name in first if first[name] is second[name]}
    assert same == {name for name, item in first.items() if not item.requires_grad}


def test_a_frozen_a_is_each_ones_own(checkpoint: Checkpoint) -> None:
    alone, head = networks(checkpoint("bert"), [{"rank": 2, "freeze_a": True}] * 2)
    ids = texts([2])[0]
    expected = [network(input_ids=ids).logits for network in alone]
    bank = build_bank(alone, head=head)
    route(bank, [2, 2])
    torch.testing.assert_close(bank(input_ids=ids.repeat(2, 1)).logits, torch.cat(expected), atol=1e-6, rtol=1e-5)


def test_the_networks_are_used_alone_as_before(checkpoint: Checkpoint) -> None:
    alone, head = networks(checkpoint("bert"))
    ids = texts([2])[0]
    before = [network(input_ids=ids).logits for network in alone]
    build_bank(alone, head=head)
    for network, logits in zip(alone, before, strict=True):
        assert torch.equal(network(input_ids=ids).logits, logits)


def test_a_batch_of_another_size_than_was_told_is_refused(checkpoint: Checkpoint) -> None:
    alone, head = networks(checkpoint("bert"))
    bank = build_bank(alone, head=head)
    route(bank, [1, 1, 1])
    with pytest.raises(ModelError, match="5 texts, the bank was told of 3"):
        bank(input_ids=texts([5])[0])


@pytest.mark.parametrize(
    "config", [{"dropout": 0.1}, {"rank_dropout": 0.1}, {"dora": True}, {"initialisation": "pissa"}], ids=str
)
def test_what_is_more_than_the_plain_sum_is_refused(checkpoint: Checkpoint, config: dict) -> None:
    alone, head = networks(checkpoint("bert"), [{"rank": 2}, {"rank": 2, **config}])
    with pytest.raises(ModelError, match="no plain LoRA layer"):
        build_bank(alone, head=head)


def test_a_head_with_a_norm_is_refused(checkpoint: Checkpoint) -> None:
    alone, head = networks(checkpoint("modernbert"), [{"rank": 2}] * 2)
    with pytest.raises(ModelError, match="linear layers alone"):
        build_bank(alone, head=head)


def test_adapters_at_different_layers_are_refused(checkpoint: Checkpoint) -> None:
    (first,), head = networks(checkpoint("bert"), [{"rank": 2}])
    other = load_base(str(checkpoint("bert")), ("a", "b", "c"))
    inject(other.network, LoRAConfig(targets=("key",)), head=head)
    with pytest.raises(ModelError, match="the same ones in each"):
        build_bank([first, other.network], head=head)
