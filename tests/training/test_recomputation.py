"""Recomputed activations change memory and time, and nothing else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from loracle.errors import ConfigError
from loracle.lora.config import LoRAConfig
from loracle.lora.injection import inject
from loracle.models.freezing import find_blocks
from loracle.models.loading import Base, load_base
from loracle.models.lstm import build_lstm
from loracle.models.networks import NetworkConfig
from loracle.training import fitting
from loracle.training.batching import tokenise
from loracle.training.budget import Budget
from loracle.training.precision import ComputePath
from loracle.training.recomputation import recomputing

PATH = ComputePath("cpu", "fp32", "eager")
TEXTS = ["late parcel again", "lovely and fast", "never answered late", "fast friendly lovely"] * 6
LABELS = np.array([0, 1, 0, 1] * 6)
BUDGET = Budget(epochs=2, batch_size=8, base_dropout=True)


def load(folder: Path, dropout: float = 0.1) -> Base:
    torch.manual_seed(0)
    base = load_base(str(folder), ("bad", "good"), attention="eager")
    inject(base.network, LoRAConfig(rank=4, dropout=dropout, targets=("query", "value")), head=base.head)
    return base


def train(base: Base, budget: Budget) -> fitting.History:
    tokens = tokenise(base.tokenizer, TEXTS, 16, labels=LABELS)
    torch.manual_seed(1)
    return fitting.fit(base.network, tokens, tokens, budget, learning_rate=5e-3, seed=0, path=PATH)


def saved_bytes(base: Base) -> int:
    """Return the size of all that one forward pass over (8, 32) tokens saves for the backward pass."""
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    ids = torch.full((8, 32), 7)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = base.network(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    assert out.requires_grad
    return sum(kept.values())


def test_a_whole_fit_is_the_same_to_the_bit(tiny_base: Path) -> None:
    plain, again = load(tiny_base), load(tiny_base)
    first, second = train(plain, BUDGET), train(again, replace(BUDGET, gradient_checkpointing=True))
    assert [epoch.train_loss for epoch in first.epochs] == [epoch.train_loss for epoch in second.epochs]
    other = again.network.state_dict()
    assert all(torch.equal(weight, other[name]) for name, weight in plain.network.state_dict().items())


def test_activations_inside_layers_are_not_kept(tiny_base: Path) -> None:
    base = load(tiny_base)
    kept = saved_bytes(base)
    entering = len(find_blocks(base.network)) * 8 * 32 * base.config.hidden_size * 4  # what each layer starts from
    with recomputing(base.network):
        assert saved_bytes(base) + entering < kept / 2


def test_layers_are_their_own_again_after_an_error(tiny_base: Path) -> None:
    base = load(tiny_base)

    def fail() -> None:
        with recomputing(base.network):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not any("forward" in vars(base.network.get_submodule(name)) for name in find_blocks(base.network))


def test_network_without_layers_is_refused() -> None:
    lstm = build_lstm(TEXTS, 2, NetworkConfig(lstm_embedding=8, lstm_hidden=8))
    with pytest.raises(ConfigError, match="LSTMClassifier has no layers to recompute"):
        train(lstm, replace(BUDGET, gradient_checkpointing=True))
