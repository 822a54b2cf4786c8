"""Attention is chosen by measurement, once for each shape, and the choice changes nothing but rounding."""

from pathlib import Path

import numpy as np
import pytest
import torch

from loracle.models.loading import load_base
from loracle.models.lstm import build_lstm
from loracle.models.networks import NetworkConfig
from loracle.training import attention
from loracle.training.attention import Shape, choose_attention, fastest_attention, use_attention
from loracle.training.precision import ComputePath

PATH = ComputePath("cpu", "fp32")
LENGTHS = np.array([20, 30, 40])


def test_an_asked_attention_is_used(tiny_base: Path) -> None:
    network = load_base(str(tiny_base), ("a", "b")).network
    for name in ("eager", "sdpa"):
        assert use_attention(network, ComputePath("cpu", "fp32", name), LENGTHS, training=True) == name
        assert network.config._attn_implementation == name


def test_both_give_the_same_logits(tiny_base: Path) -> None:
    network = load_base(str(tiny_base), ("a", "b")).network.eval()
    ids, mask = torch.randint(5, 100, (3, 9)), torch.ones(3, 9, dtype=torch.int64)
    mask[0, 5:] = 0
    outputs = []
    for name in ("eager", "sdpa"):
        use_attention(network, ComputePath("cpu", "fp32", name), LENGTHS, training=False)
        outputs.append(network(input_ids=ids, attention_mask=mask).logits)
    torch.testing.assert_close(*outputs, atol=1e-6, rtol=1e-5)


def test_each_shape_is_measured_once_and_the_choice_is_one_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = Shape("cpu", "fp32", heads=2, width=4, length=16, training=True)
    fastest_attention.cache_clear()
    first = fastest_attention(shape)
    assert first in ("eager", "sdpa")
    monkeypatch.setattr(attention.time, "perf_counter", lambda: pytest.fail("measured again"))
    assert fastest_attention(shape) == first


@pytest.mark.parametrize(("plain", "fused", "chosen"), [(1.0, 2.0, "eager"), (2.0, 1.0, "sdpa"), (0.95, 1.0, "sdpa")])
def test_plain_products_win_where_they_are_clearly_faster(
    monkeypatch: pytest.MonkeyPatch, plain: float, fused: float, chosen: str
) -> None:
    clock = [0.0]

    def taking(seconds: float, compute: object) -> object:
        def timed(query: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
            clock[0] += seconds
            return query

        return timed

    monkeypatch.setattr(attention.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(attention, "_plain", taking(plain, None))
    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", taking(fused, None))
    assert fastest_attention.__wrapped__(Shape("cpu", "bf16", 2, 4, 16, training=False)) == chosen


def test_measuring_leaves_the_random_numbers_of_a_fit_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    fastest_attention.__wrapped__(Shape("cpu", "fp32", 2, 4, 16, training=True))
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_in_attention_takes_plain_products_on_a_cpu(tiny_base: Path) -> None:
    config = load_base(str(tiny_base), ("a", "b")).network.config
    assert config.attention_probs_dropout_prob > 0
    assert choose_attention(config, PATH, 30, training=True, dropout=True) == "eager"


def test_a_network_without_attention_is_left_alone() -> None:
    network = build_lstm(["late again", "thanks"], 2, NetworkConfig()).network
    assert use_attention(network, PATH, LENGTHS, training=True) == ""
