"""The nouns of a plan: what each method has as parameters, what it takes as memory, and what fits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from loracle.models.counting import Counts


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes at the moment of a fit at which most are held, by what they are for."""

    weights: int
    """Parameters and buffers, the adapter's and the head's among them."""
    gradients: int
    optimiser: int
    kept: int
    """The copy of the best epoch's weights that is put back at the end."""
    activations: int
    """All that one step computes: kept for the backward pass, or passing."""
    allocator: int
    """What the process takes beside it, on a CPU: blocks that are free and cannot be given back."""

    @property
    def total(self) -> int:
        """All of it: the peak."""
        return self.weights + self.gradients + self.optimiser + self.kept + self.activations + self.allocator


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What real steps on random tokens took."""

    steps: int
    seconds_per_step: float
    """The median; the first step is left out."""
    texts_per_second: float


@dataclass(frozen=True, kw_only=True)
class MethodForecast:
    """One method: its parameters, its bytes, and the largest batch that fits, where that was asked."""

    method: str
    counts: Counts
    bytes_on_disk: int
    """The weights that are saved; the tokenizer's files come on top."""
    memory: Memory
    largest_batch: int | None = None
    """Texts in the largest batch that fits; 0 where not even one does, None where it was not sought."""
    probe: Probe | None = None


@dataclass(frozen=True, kw_only=True)
class Component:
    """One part of the base model or its head."""

    name: str
    modules: int
    """How many there are of it, each with so many parameters: the layers."""
    parameters: int


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A weight matrix of each layer, and the parameters that LoRA gives all of its copies."""

    name: str
    out_features: int
    in_features: int
    layers: int
    adapter: int


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What training a base model would take, for every method side by side."""

    model: str
    architecture: str
    labels: int
    batch_size: int
    max_length: int
    precision: str
    device: str
    attention: str
    memory_bytes: int
    memory_source: str
    components: tuple[Component, ...]
    matrices: tuple[Matrix, ...]
    methods: tuple[MethodForecast, ...]
    refused: Mapping[str, str]
    """Methods that were not named and that this base model cannot have, with the reason."""

    def to_json(self) -> str:
        """Return all of it as JSON, the totals of counts and memory included."""
        content: dict[str, Any] = asdict(self)
        for raw, method in zip(content["methods"], self.methods, strict=True):
            raw["counts"]["total"] = method.counts.total
            raw["memory"]["total"] = method.memory.total
        return json.dumps(content, indent=1, ensure_ascii=False)

    def find(self, method: str) -> MethodForecast:
        """Return one method's part; a KeyError where it was not asked."""
        found: Mapping[str, MethodForecast] = {item.method: item for item in self.methods}
        return found[method]
