"""What is counted on fake tensors is what the real loop holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from loracle.methods.method import Setup
from loracle.methods.registry import find_methods
from loracle.models.loading import Base
from loracle.planning.forecast import Memory
from loracle.planning.forecasting import Builder, prepare_network
from loracle.planning.simulation import largest_batch, simulate_fit
from loracle.planning.tracking import ACTIVATIONS, WEIGHTS, faking
from loracle.training.budget import Budget
from loracle.training.precision import ComputePath

EAGER = ComputePath("cpu", "fp32", "eager")
BUDGET = Budget(batch_size=32, max_length=64, epochs=2)
SETUP = Setup(model="bert-tiny", budget=BUDGET)
BUILD = Builder(SETUP, 2)


def prepared(method: str, setup: Setup = SETUP) -> Base:
    return prepare_network(BUILD, setup, find_methods([method])[0])


def simulated(method: str, path: ComputePath = EAGER, **changes: object) -> Memory:
    return simulate_fit(prepared(method), replace(BUDGET, **changes), path)


def tensors(memory: Memory) -> int:
    return memory.total - memory.allocator


def bytes_of(base: Base, *, trainable: bool = False) -> int:
    return sum(item.numel() * 4 for item in base.network.parameters() if item.requires_grad or not trainable)


@pytest.mark.parametrize("method", ["head", "bitfit", "lora", "partial", "full"])
def test_optimiser_and_kept_weights_are_those_of_what_is_trained(method: str) -> None:
    memory, trained = simulated(method), bytes_of(prepared(method), trainable=True)
    assert memory.kept == trained
    assert 2 * trained <= memory.optimiser <= 2.02 * trained + 4096  # two moments, and a step count each
    assert bytes_of(prepared(method)) <= memory.weights <= bytes_of(prepared(method)) + 2 * 512 * 8


def test_one_epoch_keeps_no_weights() -> None:
    assert simulated("full", epochs=1).kept == 0


def test_activations_grow_by_the_same_bytes_with_each_text() -> None:
    at = {batch: tensors(simulated("full", batch_size=batch)) for batch in (128, 192, 256)}
    assert at[256] - at[192] == pytest.approx(at[192] - at[128], rel=0.001)


def test_lora_saves_the_optimiser_and_not_the_activations() -> None:
    lora, full = simulated("lora", batch_size=128), simulated("full", batch_size=128)
    assert lora.optimiser < full.optimiser / 50
    assert 0.5 * full.activations < lora.activations < full.activations


def test_the_largest_batch_is_the_last_that_fits() -> None:
    few, many = (simulated("full", batch_size=batch) for batch in (128, 512))
    limit = 1_000_000_000
    batch = largest_batch((128, few), (512, many), limit)
    assert batch > 128
    assert simulated("full", batch_size=batch).total <= limit < simulated("full", batch_size=batch + 2).total


def test_where_not_one_text_fits_the_largest_batch_is_none() -> None:
    assert largest_batch((1, simulated("full", batch_size=128)), (4, simulated("full", batch_size=512)), 10**6) == 0


def test_fake_tensors_are_counted_as_real_ones_are() -> None:
    """The bytes that autograd keeps between forward and backward, packed by the real network, are those counted."""
    base = prepare_network(BUILD, SETUP, find_methods(["full"])[0], "cpu")
    ids = torch.ones(8, 16, dtype=torch.int64)
    kept: dict[int, int] = {}
    own = {item.untyped_storage().data_ptr() for item in [*base.network.parameters(), *base.network.buffers(), ids]}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = base.network(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.sum()
    blueprint = prepared("full")
    with faking(blueprint.network, "cpu") as live:
        fake_ids = torch.ones(8, 16, dtype=torch.int64)
        fake = blueprint.network(input_ids=fake_ids, attention_mask=torch.ones_like(fake_ids)).logits.sum()
        counted = live.now[ACTIVATIONS]
        assert fake.shape == loss.shape
    assert counted == pytest.approx(sum(kept.values()), rel=0.03)


def test_nothing_is_counted_that_is_gone() -> None:
    base = prepared("full")
    with faking(base.network, "cpu") as live:
        before = dict(live.now)
        block = torch.empty(1_000_000)
        assert live.now[ACTIVATIONS] - before[ACTIVATIONS] == 4_000_000
        del block
        assert live.now == before
        assert live.peak[ACTIVATIONS] >= 4_000_000
        assert live.peak[WEIGHTS] == before[WEIGHTS]


def test_bf16_holds_less_than_fp32() -> None:
    half = simulate_fit(prepared("full"), replace(BUDGET, batch_size=128), ComputePath("cpu", "bf16", "eager"))
    assert half.activations < simulated("full", batch_size=128).activations


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_decoder_runs_too(attention: str) -> None:
    setup = Setup(model="gpt2", budget=BUDGET)
    path = ComputePath("cpu", "bf16", attention)
    base = prepare_network(Builder(setup, 3), setup, find_methods(["head"])[0])
    memory = simulate_fit(base, Budget(batch_size=2, max_length=16), path)
    assert memory.weights == pytest.approx(2 * 124_439_808, rel=0.01)  # frozen, and so held in bf16
    assert np.isfinite(memory.total)
