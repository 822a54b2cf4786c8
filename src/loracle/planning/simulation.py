"""The memory of a fit, from running the real training loop on fake tensors; `tracking.py` counts the bytes.

Nothing here knows an architecture or a method: what the loop, the network and the optimiser allocate is what is
counted, so that a change of any of them changes the plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from loracle.planning.forecast import Memory
from loracle.planning.tracking import ACTIVATIONS, GRADIENTS, KEPT, OPTIMISER, WEIGHTS, faking
from loracle.training import fitting
from loracle.training.attention import settle_attention
from loracle.training.batching import Tokens
from loracle.training.precision import hold_frozen

if TYPE_CHECKING:
    from loracle.models.loading import Base
    from loracle.training.budget import Budget
    from loracle.training.precision import ComputePath

PROCESS_BYTES = 40_000_000
"""What a fit adds to the process besides tensors, on a CPU: threads' buffers, code paged in, autograd's nodes."""
HOLES_BYTES, HOLES_SHARE = 90_000_000, 1.5
"""Free blocks that the C library cannot give back: this multiple of the activations, and so many bytes at most."""
SPLINTERS: Mapping[str, float] = {"fp32": 0.6, "bf16": 0.0}
"""What it holds beyond that for each byte of activations. All four are measured, see docs/planning.md."""


class ScoredError(Exception):
    """Ends a fit where the validation split was scored: what follows are metrics of made-up numbers."""


def simulate_fit(base: Base, budget: Budget, path: ComputePath) -> Memory:
    """Return the memory at the peak of a fit whose texts all have `budget.max_length` tokens.

    `base` is a blueprint, prepared by a method; it is of no use afterwards. One step is run and the validation split is
    scored, in batches of its own size. The optimiser's state is there from the end of the first step on, and the kept
    weights from the second epoch on, so that both are added to the peak of what comes and goes.
    """
    labels = base.config.num_labels
    train, validation = _texts(budget.batch_size, budget, labels), _texts(fitting.SCORING_BATCH, budget, labels)
    short, path = replace(budget, epochs=1), settle_attention(path, base.config, budget)
    hold_frozen(base.network, path)
    with faking(base.network, path.device) as live:
        with suppress(ScoredError):
            fitting.fit(
                base.network, train, validation, short, learning_rate=1e-3, seed=0, path=path, on_step=_end_when_scored
            )
        peak = dict(live.peak)
        trained = sum(item.numel() * item.element_size() for item in base.network.parameters() if item.requires_grad)
    peak[KEPT] = trained if budget.epochs > 1 else 0
    tensors = {
        "weights": peak[WEIGHTS],
        "gradients": peak[GRADIENTS],
        "optimiser": peak[OPTIMISER],
        "kept": peak[KEPT],
        "activations": peak[ACTIVATIONS],
    }
    return Memory(**tensors, allocator=_beside_tensors(peak[ACTIVATIONS], path))


def largest_batch(small: tuple[int, Memory], large: tuple[int, Memory], memory_bytes: int) -> int:
    """Return the texts of the largest batch that fits, from the memory at two batch sizes.

    The peak grows by the same bytes with each text, once the step and not the scoring is what takes most.

    >>> at = lambda size: Memory(weights=10, gradients=0, optimiser=0, kept=0, activations=size, allocator=0)
    >>> largest_batch((1, at(5)), (3, at(15)), 40)
    6
    """
    (few, low), (many, high) = small, large
    each = (high.total - low.total) / (many - few)
    return max(0, int((memory_bytes - low.total) / each) + few) if each > 0 else many


def _texts(number: int, budget: Budget, labels: int) -> Tokens:
    starts = np.arange(0, number * budget.max_length + 1, budget.max_length, dtype=np.int64)
    return Tokens(np.ones(number * budget.max_length, np.int32), starts, 0, np.arange(number, dtype=np.int64) % labels)


def _end_when_scored(_texts: int, loss: float | None) -> None:
    if loss is None:
        raise ScoredError


def _beside_tensors(activations: int, path: ComputePath) -> int:
    """Return what the process holds besides tensors; a GPU's own count leaves the process out."""
    if path.device == "cuda":
        return 0
    holes = min(HOLES_BYTES, HOLES_SHARE * activations)
    return PROCESS_BYTES + round(holes + SPLINTERS[path.precision] * activations)
