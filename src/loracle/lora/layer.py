"""One linear layer with a low-rank update.

    y = base(x) + scaling * (x A^T) B^T        scaling = alpha / rank

`lora_a` (A) has shape (rank, in_features) and starts Kaiming-uniform over in_features; `lora_b` (B) has shape
(out_features, rank) and starts at zero, so that the layer starts as the base itself. Source: Hu et al., "LoRA:
Low-Rank Adaptation of Large Language Models", 2021, https://arxiv.org/abs/2106.09685, section 4.1.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loracle.errors import ModelError
from loracle.lora.config import LoRAConfig
from loracle.lora.linear import (
    compute_dtype,
    frozen_bias,
    frozen_weight,
    linear_sizes,
    linear_weight,
    replace_weight,
)


class LoRALinear(nn.Module):
    """Add a trainable low-rank update to a linear layer whose own weights are frozen.

    Shapes: x (..., in_features) -> (..., out_features).

    >>> layer = LoRALinear(nn.Linear(6, 4), LoRAConfig(rank=2))
    >>> x = torch.randn(3, 6)
    >>> torch.equal(layer(x), layer.base(x))        # zero update at the start
    True
    >>> [name for name, weight in layer.named_parameters() if weight.requires_grad]
    ['lora_a', 'lora_b']
    """

    def __init__(self, base: nn.Module, config: LoRAConfig) -> None:
        super().__init__()
        self.config = config
        self.base = base.requires_grad_(False)
        self.in_features, self.out_features = linear_sizes(base)
        device = linear_weight(base).device
        self.lora_a = nn.Parameter(torch.empty(config.rank, self.in_features, device=device))
        self.lora_b = nn.Parameter(torch.zeros(self.out_features, config.rank, device=device))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))
        self.lora_a.requires_grad_(not config.freeze_a)
        self.train(base.training)  # so that injecting into a model in evaluation does not switch dropout on

    def forward(self, x: Tensor) -> Tensor:
        """Return base(x) plus the update, with dropout in training.

        Computed in the precision of x, or that of autocast. Raises ModelError where the base is to be trained too,
        since its gradient is not computed.
        """
        if any(parameter.requires_grad for parameter in self.base.parameters()):
            raise ModelError("the base of a LoRA layer requires a gradient; LoRA trains lora_a and lora_b alone")
        x, a, b = self.in_one_precision(x)
        rows = x.reshape(-1, self.in_features)
        dropped = F.dropout(rows, self.config.dropout) if self.config.dropout and self.training else None
        out: Tensor = _Sum.apply(rows, dropped, a, b, self.base, self.config.scaling)  # type: ignore[no-untyped-call]
        return out.view(*x.shape[:-1], self.out_features)

    def in_one_precision(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return x, A and B in the precision to compute in; in training A without the ranks that a step leaves out."""
        dtype = compute_dtype(x)
        a = _drop_ranks(self.lora_a, self.config.rank_dropout, self.training)
        return x.to(dtype), a.to(dtype), self.lora_b.to(dtype)

    def delta_weight(self) -> Tensor:
        """Return what the update adds to the base weight, of its shape (out_features, in_features), in float32."""
        return self.config.scaling * (self.lora_b @ self.lora_a)

    def merged_weight(self) -> Tensor:
        """Return the weight of a plain layer that computes the same, (out_features, in_features), in float32."""
        return linear_weight(self.base).float() + self.delta_weight()

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """Return a plain layer of the base's kind that computes the same; it shares the base layer's bias."""
        return replace_weight(self.base, self.merged_weight()).train(self.training)

    def extra_repr(self) -> str:
        """Return rank and alpha for `print(model)`."""
        return f"rank={self.config.rank}, alpha={self.config.alpha:g}"


class _Sum(torch.autograd.Function):
    """x W^T + bias + scaling * (x A^T) B^T as two products and one that adds to them, forward and backward alike.

    x is kept for the backward pass once, and the frozen weight is read where it lies; the two gradients of x are added
    by the product itself. Shapes: x, and `dropped`, which the update reads instead of x where dropout is on, (rows,
    in_features); A (rank, in_features); B (out_features, rank).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, dropped: Tensor | None, a: Tensor, b: Tensor, base: nn.Module, scaling: float
    ) -> Tensor:
        entering = x if dropped is None else dropped
        low = entering @ a.T
        out = F.linear(x, frozen_weight(base, x.dtype), frozen_bias(base, x.dtype))
        ctx.save_for_backward(entering, low, a, b)
        ctx.base, ctx.scaling, ctx.dropping = base, scaling, dropped is not None
        return out.addmm_(low, b.T, alpha=scaling)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        entering, low, a, b = ctx.saved_tensors
        needs_x, needs_dropped, needs_a, needs_b, *_ = ctx.needs_input_grad
        gradient = gradients[0]
        down = (gradient @ b).mul_(ctx.scaling)
        for_x = gradient @ frozen_weight(ctx.base, gradient.dtype) if needs_x else None
        if for_x is not None and not ctx.dropping:
            for_x.addmm_(down, a)
        return (
            for_x,
            down @ a if needs_dropped else None,
            down.T @ entering if needs_a else None,
            (gradient.T @ low).mul_(ctx.scaling) if needs_b else None,
            None,
            None,
        )


def _drop_ranks(a: Tensor, share: float, training: bool) -> Tensor:
    """Leave whole ranks of A (rank, in_features) out in training, for every token, and scale up what is left."""
    if not (share and training):
        return a
    return a * F.dropout(a.new_ones(len(a), 1), share)
