"""Forward and backward pass of a step as one launch on a GPU: a CUDA graph for each shape of batch.

The kernels of a small network take less time than the processor needs to launch them one by one. A graph launches all
of a pass at once; it is recorded where a shape comes for the second time, and replayed from then on. Source: Nguyen et
al., "Accelerating PyTorch with CUDA Graphs", 2021, https://pytorch.org/blog/accelerating-pytorch-with-cuda-graphs/.
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

_LENGTH_MULTIPLE = 16  # of a recorded batch: so that there are few shapes
_MOST_GRAPHS = 64
_MOST_GRADIENT_BYTES = 10**9
_MENDED = (2, 12)  # the version of torch whose recordings end whole where they fail


def can_record(network: nn.Module, tokens: Tokens, budget: Budget, path: ComputePath) -> bool:
    """Say whether passes over these texts may be recorded: a known architecture as it is, and nothing done between.

    Recorded passes hold on to their gradients, so that few of a large network may be trained.
    """
    gradients = sum(item.nbytes for item in network.parameters() if item.requires_grad)
    as_it_is = reads_without_mask(network) and tokens.ids_suffice and not budget.gradient_checkpointing
    return path.graphs and as_it_is and gradients <= _MOST_GRADIENT_BYTES


@dataclass(frozen=True)
class _Recorded:
    """A pass whose inputs are read, and whose losses are written, always at the same places."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor | None, ...]
    losses: Tensor


class PassGraphs:
    """The passes of networks that were recorded; without `recording` each is computed as usual."""

    def __init__(self, networks: Sequence[nn.Module], *, recording: bool) -> None:
        self._trained = [item for network in networks for item in network.parameters() if item.requires_grad]
        self._recording = recording
        self._seen: set[Hashable] = set()
        self._recorded: dict[Hashable, _Recorded] = {}
        self._gradients: list[Tensor] = []  # what recorded passes write to
        # One pool and one stream for all, so that each recording uses again what memory the others need in between.
        self._pool = torch.cuda.graph_pool_handle() if recording else None
        self._stream = torch.cuda.Stream() if recording else None  # type: ignore[no-untyped-call]

    @property
    def length_multiple(self) -> int:
        """What lengths of batches are rounded up to."""
        return _LENGTH_MULTIPLE if self._recording else 1

    def add_gradients(self, compute: Compute, key: Hashable, *inputs: Tensor | None) -> Tensor:
        """Return `compute(key, *inputs)`, losses of any shape, and add their gradients to those of what is trained.

        `compute` is the same each time, and depends on its key, its tensors and the networks alone; the processor must
        not read what it computes. Raises what `compute` does, so torch.OutOfMemoryError.
        """
        if not self._recording:
            return _run(compute, key, *inputs)
        shape = (key, *(None if item is None else item.shape for item in inputs))
        if shape in self._seen and shape not in self._recorded and len(self._recorded) < _MOST_GRAPHS:
            self._record(shape, compute, key, inputs)
        recorded = self._recorded.get(shape)
        if recorded:
            return self._replay(recorded, inputs)
        losses = _run(compute, key, *inputs)
        if not self._seen:  # what the networks do not use gets no gradient, and does not decay
            self._trained = [item for item in self._trained if item.grad is not None]
        self._seen.add(shape)
        return losses

    def forget(self) -> bool:
        """Free what was recorded and record no more; say whether there was anything."""
        held, self._recording = bool(self._recorded), False
        self._recorded.clear()
        self._gradients.clear()
        if held:
            torch.cuda.empty_cache()
        return held

    def _replay(self, recorded: _Recorded, inputs: Sequence[Tensor | None]) -> Tensor:
        for place, item in zip(recorded.inputs, inputs, strict=True):
            if place is not None and item is not None:
                place.copy_(item)
        self._place_gradients()
        recorded.graph.replay()
        return recorded.losses.clone()

    def _record(self, shape: Hashable, compute: Compute, key: Hashable, inputs: Sequence[Tensor | None]) -> None:
        """Record the pass over a batch of this shape, which computes nothing; where that fails, record no more."""
        places = tuple(None if item is None else item.clone() for item in inputs)
        graph, under_way = torch.cuda.CUDAGraph(), False
        torch.cuda.empty_cache()  # what earlier passes left behind is of no use to a graph
        self._place_gradients()
        torch.cuda.synchronize()
        try:
            with torch.cuda.stream(self._stream):
                graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
                under_way = True
                try:
                    losses = _run(compute, key, *places)
                finally:
                    graph.capture_end()
                    under_way = False
        except RuntimeError:  # memory ended, or the network asks the GPU for a number
            if under_way:
                self._end_recording()
            self.forget()
        else:
            self._recorded[shape] = _Recorded(graph, places, losses)

    def _end_recording(self) -> None:
        """Undo what a recording that could not be ended leaves: random numbers and memory that are kept for it."""
        assert self._pool is not None
        device = torch.cuda.current_device()
        generator = torch.cuda.default_generators[device]
        generator.graphsafe_set_state(generator.clone_state())
        if tuple(int(part) for part in torch.__version__.split(".")[:2]) < _MENDED:
            torch._C._cuda_endAllocateToPool(device, self._pool)
            torch._C._cuda_releasePool(device, self._pool)

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


def _run(compute: Compute, key: Hashable, *inputs: Tensor | None) -> Tensor:
    losses = compute(key, *inputs)
    torch.autograd.backward(losses.sum())
    return losses.detach()
