"""Which weights a base model has, as a short hash: what an adapter was trained on can be told from what it was not."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

_SAMPLED = 16


def identify_weights(network: nn.Module, head: Sequence[str]) -> str:
    """Return 16 hexadecimal digits of all that is not the head: names, shapes, and 16 values of each tensor.

    To be called before anything is trained, cast or quantised. Values are read at even steps, so that it takes
    milliseconds and not the reading of every weight.
    """
    import torch

    from loracle.lora.injection import is_inside

    digest = hashlib.sha256()
    for name, parameter in sorted(network.named_parameters()):
        if is_inside(name, head):
            continue
        flat = parameter.detach().flatten()
        places = torch.linspace(0, max(flat.numel() - 1, 0), _SAMPLED, dtype=torch.float64).long()
        sample = flat[places.to(flat.device)].float().cpu().numpy().astype("<f4")
        digest.update(f"{name} {tuple(parameter.shape)} ".encode() + sample.tobytes())
    return digest.hexdigest()[:16]
