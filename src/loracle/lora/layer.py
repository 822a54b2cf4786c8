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

    def __init__(self, base: nn.Linear, config: LoRAConfig) -> None:
        super().__init__()
        self.config = config
        self.base = base.requires_grad_(False)
        device = base.weight.device
        self.lora_a = nn.Parameter(torch.empty(config.rank, base.in_features, device=device))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, config.rank, device=device))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))
        self.train(base.training)  # so that injecting into a model in evaluation does not switch dropout on

    def forward(self, x: Tensor) -> Tensor:
        """Return base(x) plus the update; A and B are cast to the precision of x, if it differs."""
        dropped = F.dropout(x, self.config.dropout, self.training)
        low = F.linear(dropped, self.lora_a.to(x.dtype))
        update: Tensor = F.linear(low, self.lora_b.to(x.dtype)) * self.config.scaling
        return self.base(x) + update  # type: ignore[no-any-return]

    def delta_weight(self) -> Tensor:
        """Return scaling * B A, of the shape of the base weight (out_features, in_features), in float32."""
        return self.config.scaling * (self.lora_b @ self.lora_a)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return a plain linear layer that computes the same; it shares the base layer's bias."""
        plain = nn.Linear(self.base.in_features, self.base.out_features, device="meta")
        weight = self.base.weight.float() + self.delta_weight()
        plain.weight = nn.Parameter(weight.to(self.base.weight.dtype), requires_grad=False)
        plain.bias = self.base.bias
        return plain.train(self.training)

    def extra_repr(self) -> str:
        """Return rank and alpha for `print(model)`."""
        return f"rank={self.config.rank}, alpha={self.config.alpha:g}"
