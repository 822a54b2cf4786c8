"""Odd sizes give right results: the reference path and the usual one agree to rounding, whatever the shapes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, DebertaConfig, DebertaForSequenceClassification

from loracle.lora.config import LoRAConfig
from loracle.lora.injection import inject
from loracle.training import fitting
from loracle.training.batching import Tokens
from loracle.training.budget import Budget
from loracle.training.precision import ComputePath, choose_path

ODD = {"vocab_size": 50, "hidden_size": 18, "num_attention_heads": 3, "num_hidden_layers": 2, "intermediate_size": 23}


def tokens(lengths: list[int]) -> Tokens:
    draw = np.random.default_rng(0)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Tokens(draw.integers(1, 50, starts[-1]).astype(np.int32), starts, 0, np.arange(len(lengths)) % 2)


def network(kind: str = "bert") -> torch.nn.Module:
    torch.manual_seed(0)
    if kind == "deberta":  # has no fused attention
        built: torch.nn.Module = DebertaForSequenceClassification(DebertaConfig(**ODD))
        inject(built, LoRAConfig(rank=2, targets=("in_proj",)), head=("pooler", "classifier"))
    else:
        built = BertForSequenceClassification(BertConfig(**ODD))
        inject(built, LoRAConfig(rank=2, targets=("query", "value")), head=("classifier",))
    return built


def fit(data: Tokens, path: ComputePath, *, batch_size: int, kind: str = "bert") -> tuple[list[float], np.ndarray]:
    built, budget = network(kind), Budget(epochs=2, batch_size=batch_size)
    history = fitting.fit(built, data, data, budget, learning_rate=1e-3, seed=0, path=path)
    return [epoch.train_loss for epoch in history.epochs], fitting.predict_proba(built, data, path)


@pytest.mark.parametrize(
    ("lengths", "batch_size"),
    [
        ([1] * 6, 4),  # texts of one token
        ([7] * 8, 4),  # all of one length
        ([1, 3, 17, 64, 5], 1),  # a batch of one
        ([9, 2, 31, 13, 1], 4),  # a last batch of one, odd lengths
        ([5, 6, 7, 8], 4),  # no last batch left over
        ([3, 4], 64),  # fewer texts than a batch
    ],
)
def test_shapes_of_all_kinds_train_as_on_the_reference_path(lengths: list[int], batch_size: int) -> None:
    usual, reference = (
        fit(tokens(lengths), path, batch_size=batch_size)
        for path in (choose_path("fp32"), choose_path(deterministic=True))
    )
    np.testing.assert_allclose(usual[0], reference[0], atol=1e-5)
    np.testing.assert_allclose(usual[1], reference[1], atol=1e-5)


def test_a_model_without_fused_attention_trains_as_on_the_reference_path() -> None:
    usual, reference = (
        fit(tokens([9, 2, 31, 13, 1]), path, batch_size=4, kind="deberta")
        for path in (choose_path("fp32"), choose_path(deterministic=True))
    )
    np.testing.assert_allclose(usual[1], reference[1], atol=1e-5)


def test_one_thread_gives_what_several_give() -> None:
    threads = torch.get_num_threads()
    several = fit(tokens([9, 2, 31, 13, 1]), choose_path("fp32"), batch_size=4)
    torch.set_num_threads(1)
    try:
        one = fit(tokens([9, 2, 31, 13, 1]), choose_path("fp32"), batch_size=4)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_allclose(one[1], several[1], atol=1e-5)


def test_bf16_where_it_is_only_emulated_trains_too() -> None:
    losses, probabilities = fit(tokens([9, 2, 31, 13, 1]), ComputePath("cpu", "bf16"), batch_size=4)
    assert np.isfinite(losses).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_the_reference_path_repeats_itself_to_the_bit(tiny_base: Path) -> None:
    first, second = (fit(tokens([9, 2, 31]), choose_path(deterministic=True), batch_size=2) for _ in range(2))
    assert first[0] == second[0]
    assert np.array_equal(first[1], second[1])
