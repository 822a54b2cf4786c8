"""Which layers count as linear, and how the weight of each kind is read and replaced.

A kind is known by the full name of its class, so that nothing is imported to recognise it, and a subclass, which may be
read without its forward, is not taken for one. Weights are always seen as (out_features, in_features).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

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


def replace_weight(layer: nn.Module, weight: Tensor) -> nn.Module:
    """Return a layer of the same kind with a frozen weight (out_features, in_features), sharing the bias."""
    old = layer.weight
    assert isinstance(old, nn.Parameter)
    kept = weight.T.contiguous() if is_transposed(layer) else weight
    new = nn.Parameter(kept.to(old.dtype), requires_grad=False)
    return copy.deepcopy(layer, {id(old): new, id(layer.bias): layer.bias})


def _class_name(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"
