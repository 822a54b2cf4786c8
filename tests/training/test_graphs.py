"""Recorded passes give what computed ones give. What needs a GPU says so; `pytest -rs` lists it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from loracle.lora.config import LoRAConfig
from loracle.lora.injection import inject
from loracle.models.loading import Base, load_base
from loracle.training import fitting
from loracle.training.batching import Tokens
from loracle.training.budget import Budget
from loracle.training.graphs import PassGraphs, can_record
from loracle.training.precision import ComputePath, choose_path
from loracle.training.together import Member, fit_together

Checkpoint = Callable[[str], Path]
BUDGET = Budget(epochs=3, batch_size=4)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="only a GPU records passes")


def draw_tokens(*lengths: int, pad: int = 0) -> Tokens:
    ids = np.random.default_rng(0).integers(5, 40, sum(lengths)).astype(np.int32)
    return Tokens(ids, np.concatenate([[0], np.cumsum(lengths)]), pad, np.arange(len(lengths)) % 2)


def prepare(folder: Path, *, seed: int = 0, dropout: float = 0.0) -> Base:
    torch.manual_seed(seed)
    base = load_base(str(folder), ("bad", "good"))
    targets = ("q_proj", "v_proj") if base.config.model_type == "llama" else ("query", "value")
    inject(base.network, LoRAConfig(rank=4, targets=targets, dropout=dropout), head=base.head)
    return base


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One item for each recorded pass that was launched."""
    noted: list[int] = []
    replay = PassGraphs._replay

    def noting(passes: PassGraphs, *given: Any) -> torch.Tensor:
        noted.append(1)
        return replay(passes, *given)

    monkeypatch.setattr(PassGraphs, "_replay", noting)
    return noted


@pytest.mark.parametrize(
    ("lengths", "rows", "multiple", "padded"),
    [([3, 9, 40], [0, 1], 1, 9), ([3, 9, 40], [0, 1], 16, 16), ([3, 9, 20], [1, 2], 16, 20), ([16, 4], [0], 16, 16)],
)
def test_lengths_are_rounded_up_but_never_above_the_longest_text(
    lengths: list[int], rows: list[int], multiple: int, padded: int
) -> None:
    ids, mask = draw_tokens(*lengths).pad_batch(np.array(rows), multiple=multiple)
    assert ids.shape == mask.shape == (len(rows), padded)
    assert mask.sum(dim=1).tolist() == [lengths[row] for row in rows]


def test_only_known_architectures_as_they_are_may_be_recorded(checkpoint: Checkpoint) -> None:
    network, tokens = prepare(checkpoint("bert")).network, draw_tokens(3, 4)
    path = ComputePath("cuda", "bf16", graphs=True)
    assert can_record(network, tokens, BUDGET, path)
    assert not can_record(torch.nn.Linear(2, 2), tokens, BUDGET, path)
    assert not can_record(network, tokens, replace(BUDGET, gradient_checkpointing=True), path)
    assert not can_record(network, tokens, BUDGET, replace(path, graphs=False))
    assert not choose_path(deterministic=True).graphs


def test_without_recording_gradients_are_added_to_what_is_there() -> None:
    layer = torch.nn.Linear(3, 1)
    passes = PassGraphs([layer], recording=False)
    x = torch.ones(2, 3)
    for count in (1, 2):
        losses = passes.add_gradients(lambda factor, x: layer(x)[:, 0] * factor, 2.0, x)
        assert losses.shape == (2,)
        assert layer.weight.grad is not None
        assert layer.weight.grad.tolist() == [[4.0 * count] * 3]
    assert not passes.forget()


@needs_gpu
@pytest.mark.parametrize("class_weights", ["none", "balanced"])
@pytest.mark.parametrize("architecture", ["bert", "roberta", "llama"])
def test_a_fit_of_recorded_passes_is_the_fit_of_computed_ones(
    checkpoint: Checkpoint, replays: list[int], architecture: str, class_weights: str
) -> None:
    weights, losses, budget = [], [], replace(BUDGET, class_weights=class_weights)
    for graphs in (True, False):
        base, path = prepare(checkpoint(architecture)), replace(choose_path("fp32"), graphs=graphs)
        tokens = draw_tokens(*[5, 17, 30, 16, 9, 31, 2, 25] * 3, pad=base.tokenizer.pad_token_id)
        history = fitting.fit(base.network, tokens, tokens, budget, learning_rate=1e-3, seed=0, path=path)
        losses.append([epoch.train_loss for epoch in history.epochs])
        weights.append(torch.cat([item.flatten() for item in base.network.parameters() if item.requires_grad]))
    assert replays
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    torch.testing.assert_close(*weights, atol=1e-3, rtol=0)


@needs_gpu
def test_a_recorded_pass_reads_the_new_batch_and_writes_its_own_gradients(checkpoint: Checkpoint) -> None:
    network = prepare(checkpoint("bert")).network.cuda()
    count = []

    def compute(_: object, ids: torch.Tensor) -> torch.Tensor:
        count.append(1)
        return network(input_ids=ids).logits.float().pow(2).mean()

    passes, batches = PassGraphs([network], recording=True), torch.randint(5, 40, (4, 2, 8)).cuda()
    trained = [item for item in network.parameters() if item.requires_grad]
    for ids in batches:
        loss = passes.add_gradients(compute, (), ids)
        gradients = [item.grad.clone() for item in trained]
        network.zero_grad()
        expected = compute((), ids)
        expected.backward()
        torch.testing.assert_close(loss, expected.detach(), atol=1e-5, rtol=1e-4)
        for own, item in zip(gradients, trained, strict=True):
            torch.testing.assert_close(own, item.grad, atol=1e-5, rtol=1e-3)
        network.zero_grad()
        del expected  # with its graph, which would hold on to where its gradients go
    assert len(count) == 2 + len(batches)  # one computed, one recorded, and one for each comparison
    assert passes.forget()


@needs_gpu
def test_dropout_draws_anew_in_every_recorded_pass() -> None:
    layer = torch.nn.Linear(64, 1).cuda()

    def compute(_: object, x: torch.Tensor) -> torch.Tensor:
        return layer(torch.nn.functional.dropout(x, 0.5)).mean()

    passes, x = PassGraphs([layer], recording=True), torch.ones(2, 64, device="cuda")
    losses = {round(float(passes.add_gradients(compute, (), x)), 6) for _ in range(6)}
    assert len(losses) == 6
    assert passes.forget()


@needs_gpu
def test_what_reads_numbers_on_the_processor_is_computed_as_usual() -> None:
    layer = torch.nn.Linear(3, 1).cuda()

    def compute(_: object, x: torch.Tensor) -> torch.Tensor:
        return layer(x).mean() * float(x.sum().item())

    passes, x = PassGraphs([layer], recording=True), torch.ones(2, 3, device="cuda")
    for _ in range(3):
        passes.add_gradients(compute, (), x)
    assert not passes.forget()
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, torch.full((1, 3), 18.0, device="cuda"))
    torch.nn.functional.dropout(x, 0.5).sum().item()  # the device is as usable as before
    torch.cuda.empty_cache()


@needs_gpu
def test_recordings_of_several_shapes_share_their_memory() -> None:
    layer = torch.nn.Sequential(torch.nn.Linear(512, 512), torch.nn.GELU(), torch.nn.Linear(512, 1)).cuda()

    def compute(_: object, x: torch.Tensor) -> torch.Tensor:
        return layer(x).mean()

    passes, held = PassGraphs([layer], recording=True), []
    for rows in (2**17, 2**17 - 512, 2**17 - 1024, 2**17 - 1536):
        x = torch.ones(rows, 512, device="cuda")
        for _ in range(3):
            passes.add_gradients(compute, (), x)
        del x
        torch.cuda.empty_cache()
        held.append(torch.cuda.memory_reserved())
    inputs = 4 * 2**17 * 512  # bytes, which each recording has of its own
    assert held[-1] - held[0] < 3 * inputs + inputs / 2


@needs_gpu
def test_what_a_network_does_not_use_gets_no_gradient() -> None:
    used, unused = torch.nn.Linear(3, 1).cuda(), torch.nn.Linear(3, 1).cuda()
    passes, x = PassGraphs([used, unused], recording=True), torch.ones(2, 3, device="cuda")
    for _ in range(3):
        passes.add_gradients(lambda _, x: used(x).mean(), (), x)
    assert used.weight.grad is not None
    assert unused.weight.grad is None


@needs_gpu
def test_fits_in_one_pass_are_recorded_and_stay_what_they_are_alone(checkpoint: Checkpoint, replays: list[int]) -> None:
    tokens, path = draw_tokens(*[5, 17, 30, 16, 9, 31, 2, 25] * 3), choose_path("fp32")
    bases = [prepare(checkpoint("bert"), seed=seed) for seed in (0, 0, 1)]
    members = [
        Member(network=base.network, learning_rate=rate, seed=seed)
        for base, rate, seed in zip(bases, (1e-3, 3e-3, 1e-3), (0, 0, 1), strict=True)
    ]
    fit_together(members, tokens, tokens, BUDGET, head=bases[0].head, path=path)
    assert replays
    for member in members:
        alone = prepare(checkpoint("bert"), seed=member.seed).network
        fitting.fit(
            alone,
            tokens,
            tokens,
            BUDGET,
            learning_rate=member.learning_rate,
            seed=member.seed,
            path=replace(path, graphs=False),
        )
        for (name, own), (_, other) in zip(member.network.named_parameters(), alone.named_parameters(), strict=True):
            if own.requires_grad:
                torch.testing.assert_close(own, other, atol=1e-3, rtol=0, msg=name)
