"""Forward and backward pass of a step as one launch on a GPU: a CUDA graph for each shape of batch.

The kernels of a small network take less time than the processor needs to launch them one by one. A graph launches all
of a pass at once; it is recorded where a shape comes for the second time, and replayed from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from loracle.models.padding import reads_without_mask

if TYPE_CHECKING:
    from loracle.training.batching import Tokens
    from loracle.training.budget import Budget
    from loracle.training.precision import ComputePath

Compute = Callable[..., Tensor]
"""From a key and the tensors of a batch, on the device, to losses; their sum is what is differentiated."""

LENGTH_MULTIPLE = 16
"""Lengths of batches are rounded up to it, so that there are few shapes."""

_MOST_GRAPHS = 64
_MOST_GRADIENT_BYTES = 10**9


def can_record(network: nn.Module, tokens: Tokens, budget: Budget, path: ComputePath) -> bool:
    """Say whether passes over these texts may be recorded: a known architecture as it is, and nothing done between.

    Recorded passes hold on to their gradients, so that few of a large network may be trained.
    """
    gradients = sum(item.nbytes for item in network.parameters() if item.requires_grad)
    as_it_is = reads_without_mask(network) and tokens.whole and not budget.gradient_checkpointing
    return path.graphs and as_it_is and gradients <= _MOST_GRADIENT_BYTES


@dataclass(frozen=True)
class _Recorded:
    """A pass whose inputs are read, and whose losses are written, always at the same places."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor | None, ...]
    losses: Tensor


class PassGraphs:
    """The passes of networks that were recorded; without `recording` each is computed as usual.

    `compute` must depend on its key, its tensors and the networks alone, and the processor must not read what it
    computes.
    """

    def __init__(self, networks: Sequence[nn.Module], compute: Compute, *, recording: bool) -> None:
        self._compute = compute
        self._trained = [item for network in networks for item in network.parameters() if item.requires_grad]
        self._recording = recording
        self._seen: set[Hashable] = set()
        self._recorded: dict[Hashable, _Recorded] = {}
        self._gradients: list[Tensor] = []  # what recorded passes write to
        self._pool = torch.cuda.graph_pool_handle() if recording else None

    def add_gradients(self, key: Hashable, *inputs: Tensor | None) -> Tensor:
        """Return the losses of a batch, and add their gradients to those of what is trained, as backward does."""
        if not self._recording:
            return self._run(key, *inputs)
        shape = (key, *(None if item is None else item.shape for item in inputs))
        if shape in self._seen and shape not in self._recorded and len(self._recorded) < _MOST_GRAPHS:
            self._record(shape, key, inputs)
        self._seen.add(shape)
        recorded = self._recorded.get(shape)
        return self._replay(recorded, inputs) if recorded else self._run(key, *inputs)

    def forget(self) -> bool:
        """Free what was recorded and record no more; say whether there was anything."""
        held, self._recording = bool(self._recorded), False
        self._recorded.clear()
        self._gradients.clear()
        if held:
            torch.cuda.empty_cache()
        return held

    def _run(self, key: Hashable, *inputs: Tensor | None) -> Tensor:
        losses = self._compute(key, *inputs)
        torch.autograd.backward(losses.sum())
        return losses.detach()

    def _replay(self, recorded: _Recorded, inputs: Sequence[Tensor | None]) -> Tensor:
        for place, item in zip(recorded.inputs, inputs, strict=True):
            if place is not None and item is not None:
                place.copy_(item)
        self._place_gradients()
        recorded.graph.replay()
        return recorded.losses.clone()

    def _record(self, shape: Hashable, key: Hashable, inputs: Sequence[Tensor | None]) -> None:
        """Record the pass over a batch of this shape, which computes nothing; where that fails, record no more."""
        places = tuple(None if item is None else item.clone() for item in inputs)
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()  # what earlier passes left behind is of no use to a graph
        self._place_gradients()
        torch.cuda.synchronize()
        try:
            with torch.cuda.stream(stream):
                graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
                try:
                    losses = self._run(key, *places)
                finally:
                    graph.capture_end()
        except RuntimeError:  # memory ended, or the network asks the GPU for a number
            _end_drawing()
            self.forget()
        else:
            self._recorded[shape] = _Recorded(graph, places, losses)

    def _place_gradients(self) -> None:
        """Let gradients be added at the places that recorded passes know, to what there is so far."""
        self._gradients = self._gradients or [torch.zeros_like(item) for item in self._trained]
        fresh = [place for item, place in zip(self._trained, self._gradients, strict=True) if item.grad is None]
        if fresh:
            torch._foreach_zero_(fresh)
        for item, place in zip(self._trained, self._gradients, strict=True):
            if item.grad is not None and item.grad is not place:
                place.copy_(item.grad)
            item.grad = place


def _end_drawing() -> None:
    """Let random numbers be drawn as usual again, which a recording that failed leaves locked to it."""
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    generator.graphsafe_set_state(generator.clone_state())
