"""Which layers count as linear, and how the weight of each kind is read and replaced.

A kind is known by the full name of its class, so that nothing is imported to recognise it, and a subclass, which may be
read without its forward, is not taken for one. Weights are always seen as (out_features, in_features).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

_TRANSPOSED: Mapping[str, bool] = {
    "torch.nn.modules.linear.Linear": False,
    "transformers.pytorch_utils.Conv1D": True,  # GPT-2's linear layer, whose weight is (in_features, out_features)
}


def is_linear(module: nn.Module) -> bool:
    """Say whether the module is of a kind that LoRA can change."""
    return _class_name(module) in _TRANSPOSED


def is_transposed(layer: nn.Module) -> bool:
    """Say whether a layer holds its weight as (in_features, out_features); a quantised one does not."""
    return _TRANSPOSED.get(_class_name(layer), False)


def linear_sizes(layer: nn.Module) -> tuple[int, int]:
    """Return (in_features, out_features)."""
    out_features, in_features = linear_weight(layer).shape
    return in_features, out_features


def linear_weight(layer: nn.Module) -> Tensor:
    """Return the weight as (out_features, in_features), detached and sharing memory with the layer."""
    assert isinstance(layer.weight, Tensor)
    weight = layer.weight.detach()
    return weight.T if is_transposed(layer) else weight


def frozen_weight(layer: nn.Module, dtype: torch.dtype) -> Tensor:
    """Return the weight as (out_features, in_features) in a precision: the layer's own where it has that precision.

    A quantised layer says itself, by `decode`, what its codes mean.
    """
    decode = getattr(layer, "decode", None)
    return decode(dtype) if decode else linear_weight(layer).to(dtype)


def frozen_bias(layer: nn.Module, dtype: torch.dtype) -> Tensor | None:
    """Return the bias (out_features,) in a precision, or None where the layer has none."""
    bias = layer.bias
    return bias.detach().to(dtype) if isinstance(bias, Tensor) else None


def compute_dtype(x: Tensor) -> torch.dtype:
    """Return the precision in which a layer computes with x: its own, or that of autocast."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def replace_weight(layer: nn.Module, weight: Tensor) -> nn.Module:
    """Return a layer of the same kind with a frozen weight (out_features, in_features), sharing the bias."""
    old = layer.weight
    assert isinstance(old, nn.Parameter)
    kept = weight.T.contiguous() if is_transposed(layer) else weight
    new = nn.Parameter(kept.to(old.dtype), requires_grad=False)
    return copy.deepcopy(layer, {id(old): new, id(layer.bias): layer.bias})


def _class_name(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"
