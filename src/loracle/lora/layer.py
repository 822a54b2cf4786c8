"""One linear layer with a low-rank update.

    y = base(x) + scaling * (x A^T) B^T        scaling = alpha / rank

`lora_a` (A) has shape (rank, in_features) and starts Kaiming-uniform over in_features; `lora_b` (B) has shape
(out_features, rank) and starts at zero, so that the layer starts as the base itself. Source: Hu et al., "LoRA:
Low-Rank Adaptation of Large Language Models", 2021, https://arxiv.org/abs/2106.09685, section 4.1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loracle.lora.config import LoRAConfig
from loracle.lora.linear import linear_sizes, linear_weight, replace_weight


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
        """Return base(x) plus the update."""
        return self.base(x) + self.update(x)  # type: ignore[no-any-return]

    def update(self, x: Tensor) -> Tensor:
        """Return scaling * (x A^T) B^T, with dropout in training; A and B are cast to the precision of x."""
        low = F.linear(F.dropout(x, self.config.dropout, self.training), self.lora_a.to(x.dtype))
        low = _drop_ranks(low, self.config.rank_dropout, self.training)
        return F.linear(low, self.lora_b.to(x.dtype)) * self.config.scaling

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


def _drop_ranks(low: Tensor, share: float, training: bool) -> Tensor:
    """Leave whole ranks of (..., rank) out in training, the same for every token, and scale up what is left."""
    if not (share and training):
        return low
    return low * F.dropout(low.new_ones(low.shape[-1]), share)
