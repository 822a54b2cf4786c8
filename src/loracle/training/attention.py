"""Which attention a network computes with: the one that a short measurement found faster, kept in one table.

On a GPU the fused kernel is faster everywhere. On a CPU it depends: in float32 the fused kernel is two to three times
as fast as plain matrix products, in bf16 its backward pass is slower than they are. They differ by rounding alone.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from torch import nn

    from loracle.training.budget import Budget
    from loracle.training.precision import ComputePath

AUTO, EAGER, SDPA = "auto", "eager", "sdpa"
_TEXTS, _ROUNDS = 2, 3
_CLEARLY = 0.9  # of the fused kernel's time; what is closer is noise, and should not decide
_SHORTEST = 16


@dataclass(frozen=True)
class Shape:
    """What the choice depends on: attention over `length` tokens, in so many heads of so many numbers each."""

    device: str
    precision: str
    heads: int
    width: int
    length: int
    training: bool


def use_attention(network: nn.Module, path: ComputePath, lengths: np.ndarray, *, training: bool) -> str:
    """Let the network compute attention as the path says, or as is faster for texts of these lengths; return which.

    "" for a network without attention, and its own where its architecture knows no other.
    """
    transformer = _find_transformer(network)
    if transformer is None:
        return ""
    if transformer._supports_sdpa and transformer._can_set_attn_implementation():
        length = int(np.median(lengths)) if len(lengths) else 1
        name = choose_attention(transformer.config, path, length, training=training, dropout=transformer.training)
        transformer.set_attn_implementation(name)
    return str(transformer.config._attn_implementation)


def settle_attention(path: ComputePath, config: Any, budget: Budget) -> ComputePath:
    """Return the path with the attention that training by it would take, for texts of the budget's full length."""
    dropout = budget.base_dropout
    return replace(path, attention=choose_attention(config, path, budget.max_length, training=True, dropout=dropout))


def choose_attention(config: Any, path: ComputePath, length: int, *, training: bool, dropout: bool) -> str:
    """Return the path's attention, or the faster one for a configuration of transformers and texts of this length.

    With dropout in attention that is the plain products on a CPU, whose fused kernel knows none.
    """
    if path.attention != AUTO:
        return path.attention
    if path.device != "cpu":
        return SDPA
    text = config.get_text_config()
    if training and dropout and _attention_dropout(text):
        return EAGER
    heads = text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // heads
    rounded = max(_SHORTEST, 1 << (length - 1).bit_length())
    return fastest_attention(Shape(path.device, path.precision, heads, width, rounded, training))


@cache
def fastest_attention(shape: Shape) -> str:
    """Measure both on random numbers, in a tenth of a second or so, once a process for each shape."""
    dtype = torch.bfloat16 if shape.precision == "bf16" else torch.float32
    size = (3, _TEXTS, shape.heads, shape.length, shape.width)
    generator = torch.Generator().manual_seed(0)  # the random numbers of a fit are not touched
    parts = torch.randn(size, generator=generator).to(dtype).requires_grad_(shape.training)
    readings: dict[str, list[float]] = {EAGER: [], SDPA: []}
    with torch.set_grad_enabled(shape.training):
        for number in range(_ROUNDS + 1):
            for name, compute in ((EAGER, _plain), (SDPA, F.scaled_dot_product_attention)):
                start = time.perf_counter()
                out = compute(*parts.unbind())
                if shape.training:
                    torch.autograd.grad(out.sum(), parts)
                if number:  # the first round warms up
                    readings[name].append(time.perf_counter() - start)
    eager, fused = (statistics.median(readings[name]) for name in (EAGER, SDPA))
    return EAGER if eager < _CLEARLY * fused else SDPA


def _plain(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """What transformers calls eager: the softmax is taken in float32."""
    scores = query @ key.mT * query.shape[-1] ** -0.5
    weights: Tensor = scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
    return weights @ value


def _attention_dropout(config: Any) -> float:
    return max(float(getattr(config, name, 0.0)) for name in ("attention_probs_dropout_prob", "attention_dropout"))


def _find_transformer(network: nn.Module) -> Any:
    """Return the outermost network of transformers, which may lie inside a wrapper; None where there is none."""
    return next((module for module in network.modules() if hasattr(module, "set_attn_implementation")), None)
