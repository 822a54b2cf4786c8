"""What a step does, counted and not timed: these numbers rise where somebody makes training slower."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from loracle.lora.config import LoRAConfig
from loracle.lora.injection import inject
from loracle.models.loading import Base, load_base
from loracle.models.narrowing import reading_first_token
from loracle.training.batching import Tokens, shuffled_batches
from loracle.training.budget import Budget
from loracle.training.fitting import set_training_mode
from loracle.training.losses import Loss
from loracle.training.optimising import Optimiser
from loracle.training.precision import ComputePath, hold_frozen
from loracle.training.stepping import Stepper

TEXTS, LENGTH, HIDDEN, INTERMEDIATE, HEADS, LAYERS = 4, 16, 32, 48, 2, 2  # those of the tiny base
PRODUCTS = {"mm", "addmm", "addmm_", "bmm", "baddbmm"}


class Calls(TorchDispatchMode):
    """Count the calls of each operation."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def prepared(folder: Path, path: ComputePath) -> tuple[Base, Stepper]:
    """Return what takes a step with LoRA on query and value, over texts of equal length."""
    torch.manual_seed(0)
    base = load_base(str(folder), ("bad", "good"))
    inject(base.network, LoRAConfig(rank=8, targets=("query", "value")), head=base.head)
    hold_frozen(base.network, path)
    set_training_mode(base.network, base_dropout=False)
    labels = np.arange(TEXTS) % 2
    starts = np.arange(0, TEXTS * LENGTH + 1, LENGTH)
    tokens = Tokens(np.full(TEXTS * LENGTH, 7, np.int32), starts, 0, labels)
    budget = Budget(batch_size=TEXTS)
    optimiser = Optimiser(base.network, 1e-3, budget, 10)
    return base, Stepper(
        network=base.network,
        tokens=tokens,
        loss=Loss(budget, labels),
        optimiser=optimiser,
        path=path,
        learning_rate=1e-3,
        at_once=TEXTS,
    )


@pytest.fixture(params=["fp32", "bf16"])
def path(request: pytest.FixtureRequest) -> ComputePath:
    return ComputePath("cpu", request.param, "sdpa")


def test_matrix_products_of_a_step(tiny_base: Path, path: ComputePath) -> None:
    base, stepper = prepared(tiny_base, path)
    with reading_first_token(base.network), Calls() as calls:
        list(stepper.take([np.arange(TEXTS)]))
    found = sum(number for name, number in calls.counts.items() if name in PRODUCTS)
    plain, adapted = 4 * LAYERS + 2, 2 * LAYERS  # key, output and two of the feed-forward a layer, pooler and head
    forward = plain + 3 * adapted
    # Down and up, A and B, for each adapter; x, to whose gradient the update adds, has one above the first layer.
    backward = 3 * adapted + 2 * (adapted - 2)
    # Of the plain ones all pass a gradient on but the first layer's key, and the head has one for its weight as well.
    backward += (plain - 1) + 1
    assert found == forward + backward


def test_no_frozen_weight_is_copied_or_cast_in_a_step(tiny_base: Path, path: ComputePath) -> None:
    base, stepper = prepared(tiny_base, path)
    frozen = {item.untyped_storage().data_ptr() for item in base.network.parameters() if not item.requires_grad}
    copies = []

    class Watching(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            name = func.overloadpacket.__name__
            if name in ("_to_copy", "clone", "copy_") and args[int(name == "copy_")].data_ptr() in frozen:
                copies.append((name, tuple(args[0].shape)))
            return func(*args, **(kwargs or {}))

    with reading_first_token(base.network), Watching():
        list(stepper.take([np.arange(TEXTS)]))
    assert not copies


def test_bytes_kept_for_the_backward_pass(tiny_base: Path) -> None:
    path = ComputePath("cpu", "fp32", "sdpa")
    base, stepper = prepared(tiny_base, path)
    weights = {item.untyped_storage().data_ptr() for item in base.network.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with reading_first_token(base.network), torch.autograd.graph.saved_tensors_hooks(keep, lambda item: item):
        stepper._add_gradients(np.arange(TEXTS))
    tokens = TEXTS * LENGTH
    # A layer: query, key, value and attention's output, what enters each of two norms, and what enters the GELU; what
    # enters the adapters is the first norm's output, and what the first layer's do is the embeddings'.
    first = 4 * HIDDEN + 2 * HIDDEN + INTERMEDIATE + HIDDEN
    assert sum(kept.values()) <= 4 * tokens * (first + 6 * HIDDEN + 2 * HEADS + 8 * 2 * LAYERS) * 1.05


def test_few_tokens_are_padding() -> None:
    lengths = np.random.default_rng(0).integers(8, 129, 4000)
    batches = list(shuffled_batches(lengths, 16, np.random.default_rng(1)))
    padded = sum(int(lengths[rows].max()) * len(rows) for rows in batches)
    assert padded / lengths.sum() < 1.03


def test_equal_texts_are_computed_without_a_mask(tiny_base: Path, path: ComputePath) -> None:
    base, stepper = prepared(tiny_base, path)
    masks = []
    base.network.bert.register_forward_pre_hook(
        lambda _module, _args, kwargs: masks.append(kwargs["attention_mask"]), with_kwargs=True
    )
    list(stepper.take([np.arange(TEXTS)]))
    assert masks == [None]
