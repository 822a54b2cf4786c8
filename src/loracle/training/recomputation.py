"""Gradient checkpointing: the activations inside a layer are computed again in the backward pass, and not kept.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016, https://arxiv.org/abs/1604.06174. The layers are
wrapped as they are, whatever the architecture: the switch that transformers has is missing in some (ALBERT, MPNet), and
does nothing where dropout is off.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from loracle.errors import ConfigError
from loracle.models.freezing import find_blocks
from loracle.training.wrapping import replacing_forwards


@contextmanager
def recomputing(network: nn.Module) -> Iterator[None]:
    """Recompute what happens inside each layer within the block; outputs, gradients and random numbers stay the same.

    Raises ConfigError where the network has no layers.
    """
    layers = {network.get_submodule(name) for name in find_blocks(network)}
    if not layers:
        raise ConfigError(
            f"{type(network).__name__} has no layers to recompute; leave gradient_checkpointing or this method out"
        )
    with replacing_forwards({layer: partial(checkpoint, layer.forward, use_reentrant=False) for layer in layers}):
        yield
