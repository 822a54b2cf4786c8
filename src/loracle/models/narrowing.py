"""The last layer of an encoder computed for the one token that its head reads.

A classification head of BERT and its kin reads a text at its first token. What the last layer computes for all others
after its attention, four fifths of its products, is never read: neither forward nor, as its gradient is zero, backward.
So it is left out, and logits and gradients stay what they were. Decoders add to a residual stream inside of their
layer's forward, where nothing can be left out from outside.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from loracle.models.families import FAMILIES
from loracle.models.freezing import find_blocks

if TYPE_CHECKING:
    from torch import Tensor, nn


@contextmanager
def reading_first_token(network: nn.Module) -> Iterator[bool]:
    """Leave out within the block what no head reads; gives whether there is anything of that kind in this network."""
    place = find_end_of_attention(network)
    if place is None:
        yield False
        return
    hook = place.register_forward_pre_hook(_keep_first_token)
    try:
        yield True
    finally:
        hook.remove()


def find_end_of_attention(network: nn.Module) -> nn.Module | None:
    """Return the module of the last layer that adds attention's output to what entered the layer.

    All that follows it works on each token alone. None where the architecture has none that is known of.
    """
    family = FAMILIES.get(getattr(getattr(network, "config", None), "model_type", ""))
    if family is None or family.after_attention is None or not hasattr(network, "base_model_prefix"):
        return None
    return network.get_submodule(f"{find_blocks(network)[-1]}.{family.after_attention}")


def _keep_first_token(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Any, ...]:
    """Return each (texts, tokens, hidden) that enters as (texts, 1, hidden)."""
    return tuple(item[:, :1] for item in inputs)
