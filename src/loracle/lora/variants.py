"""Variants of the one layer, each a small change of it.

rsLoRA        alpha / sqrt(rank) as the scaling: `LoRAConfig.scaling`. Kalajdzievski, 2023, arXiv:2312.03732
LoRA-FA       A keeps its random start: `freeze_a`. Zhang et al., 2023, arXiv:2308.03303
LoRA+         B learns faster than A: `learning_rate_ratios`. Hayou et al., 2024, arXiv:2402.12354
rank dropout  a step leaves ranks out: `rank_dropout`. Hyeon-Woo et al., 2022 (FedPara, arXiv:2108.06098), as LyCORIS
              applies it (Yeh et al., 2024, arXiv:2309.14859)
DoRA          row lengths trained apart: `DoRALinear`. Liu et al., 2024, arXiv:2402.09353
PiSSA, OLoRA  A and B start as a part of the weight: `ShiftedLinear`. Meng et al., 2024, arXiv:2404.02948;
              Büyükakyüz, 2024, arXiv:2406.01775
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loracle.lora.config import LoRAConfig
from loracle.lora.layer import LoRALinear
from loracle.lora.linear import linear_weight


def build_layer(base: nn.Module, config: LoRAConfig) -> LoRALinear:
    """Return the layer that the configuration asks for, around a linear layer."""
    if config.dora:
        return DoRALinear(base, config)
    if config.initialisation != "zero":
        return ShiftedLinear(base, config)
    return LoRALinear(base, config)


class _ApartLinear(LoRALinear):
    """A layer whose update is computed apart from the base's output, since more is done with it than adding it."""

    def forward(self, x: Tensor) -> Tensor:
        """Return base(x) plus the update."""
        out: Tensor = self.base(x)
        return out + self.update(x)

    def update(self, x: Tensor) -> Tensor:
        """Return scaling * (x A^T) B^T, with dropout in training."""
        x, a, b = self.in_one_precision(x)
        return F.linear(F.linear(F.dropout(x, self.config.dropout, self.training), a), b) * self.config.scaling


class DoRALinear(_ApartLinear):
    """Train the length of each row of W + scaling B A as a parameter of its own, `magnitude` (out_features,).

    y = bias + magnitude * ((W + scaling B A) / ||W + scaling B A||) x, the norm taken over each row and held constant
    in the backward pass (section 4.3 of the paper). Written as a change of base(x), so that it starts as the base to
    the bit.

    >>> layer, x = DoRALinear(nn.Linear(6, 4), LoRAConfig(rank=2, dora=True)), torch.randn(3, 6)
    >>> torch.equal(layer(x), layer.base(x))
    True
    """

    def __init__(self, base: nn.Module, config: LoRAConfig) -> None:
        super().__init__(base, config)
        self.magnitude = nn.Parameter(self._row_norms())

    def forward(self, x: Tensor) -> Tensor:
        """Return the base's output with each row's direction and length as trained."""
        out = self.base(x)
        scale = self.magnitude / self._row_norms()
        moved = (scale - 1).to(out.dtype)  # taken in float32: near 1 bfloat16 has steps of 0.4 %
        product: Tensor = out if self.base.bias is None else out - self.base.bias.to(out.dtype)
        changed: Tensor = out + moved * product + scale.to(out.dtype) * self.update(x)
        return changed

    def merged_weight(self) -> Tensor:
        """Return the rescaled sum of base weight and update."""
        return (self.magnitude / self._row_norms()).unsqueeze(1) * super().merged_weight()

    @torch.no_grad()
    def _row_norms(self) -> Tensor:
        norms: Tensor = super().merged_weight().norm(dim=1)
        return norms


class ShiftedLinear(_ApartLinear):
    """Start A and B as a part of the weight, and count as update only what they have moved since.

    y = base(x) + scaling * (B A - B0 A0) x. The papers take B0 A0 out of the base weight instead, which is the same
    sum; here the base stays as it is, so that many adapters share it and the layer starts as the base to the bit.

    >>> layer, x = ShiftedLinear(nn.Linear(6, 4), LoRAConfig(rank=2, initialisation="pissa")), torch.randn(3, 6)
    >>> torch.equal(layer(x), layer.base(x)), bool(layer.lora_b.any())
    (True, True)
    """

    origin_a: Tensor
    origin_b: Tensor

    def __init__(self, base: nn.Module, config: LoRAConfig) -> None:
        super().__init__(base, config)
        start = {"pissa": start_pissa, "olora": start_olora}[config.initialisation]
        a, b = start(linear_weight(base).float(), config)
        self.register_buffer("origin_a", a.contiguous(), persistent=False)  # laid out as A: the same sums, to the bit
        self.register_buffer("origin_b", b.contiguous(), persistent=False)
        with torch.no_grad():
            self.lora_a.copy_(a)
            self.lora_b.copy_(b)

    def update(self, x: Tensor) -> Tensor:
        """Return what A and B give now less what they gave at the start."""
        start = F.linear(F.linear(x, self.origin_a.to(x.dtype)), self.origin_b.to(x.dtype))
        return super().update(x) - start * self.config.scaling

    def delta_weight(self) -> Tensor:
        """Return scaling * (B A - B0 A0), in float32."""
        return super().delta_weight() - self.config.scaling * (self.origin_b @ self.origin_a)


def plain_factors(layer: LoRALinear) -> dict[str, Tensor]:
    """Return the layer's own parameters by name, detached, as those of a layer that starts at zero.

    A ShiftedLinear's become factors of twice the rank: A over A0, and B beside -B0.
    """
    factors = {name: item.detach() for name, item in layer.named_parameters(recurse=False)}
    if isinstance(layer, ShiftedLinear):
        factors["lora_a"] = torch.cat([factors["lora_a"], layer.origin_a])
        factors["lora_b"] = torch.cat([factors["lora_b"], -layer.origin_b], dim=1)
    return factors


def start_pissa(weight: Tensor, config: LoRAConfig) -> tuple[Tensor, Tensor]:
    """Return A and B of the `rank` largest singular values of a weight (out_features, in_features)."""
    u, s, v = torch.linalg.svd(weight, full_matrices=False)
    root = (s[: config.rank] / config.scaling).sqrt()
    return root.unsqueeze(1) * v[: config.rank], u[:, : config.rank] * root


def start_olora(weight: Tensor, config: LoRAConfig) -> tuple[Tensor, Tensor]:
    """Return A and B as the first `rank` rows and columns of R and Q of the weight's QR decomposition."""
    q, r = torch.linalg.qr(weight)
    return r[: config.rank], q[:, : config.rank]
