"""The steps of training, each in as many parts as memory needs."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from loracle.errors import LoracleWarning, TrainingError
from loracle.models.adapting import AdaptedNetwork
from loracle.models.padding import reads_without_mask
from loracle.training.batching import Tokens
from loracle.training.graphs import PassGraphs
from loracle.training.losses import Loss
from loracle.training.optimising import Optimiser
from loracle.training.precision import ComputePath

T = TypeVar("T")


@dataclass(kw_only=True)
class Stepper:
    """What a step needs, and in how many texts at once it is taken: `at_once` shrinks where memory runs out.

    `recording` lets a GPU launch a whole pass at once, as `graphs.can_record` allows.
    """

    network: nn.Module
    tokens: Tokens
    loss: Loss
    optimiser: Optimiser
    path: ComputePath
    learning_rate: float
    at_once: int
    recording: bool = False
    _passes: PassGraphs = field(init=False)

    def __post_init__(self) -> None:
        self._passes = PassGraphs([self.network], recording=self.recording)

    def take(self, batches: Iterable[np.ndarray]) -> Iterator[tuple[int, float]]:
        """Take an optimiser step over the texts of each batch; yield how many they were, and their loss.

        A GPU is given the next step before a loss is read, so that it need not wait. Where memory runs out the batch is
        taken in two halves whose gradients are added, and so on: the same step, and a LoracleWarning. Raises
        TrainingError where not even one text fits, or a loss is no finite number; the weights have moved by then.
        """
        begun = ((len(rows), self._begin(rows)) for rows in batches)
        for number, (texts, loss) in enumerate(one_behind(begun, self.path), start=1):
            (value,) = loss.read()
            if not np.isfinite(value):
                raise diverged(value, number, self.learning_rate)
            yield texts, value

    def close(self) -> None:
        """Free what was recorded."""
        self._passes.forget()

    def _begin(self, rows: np.ndarray) -> Awaited:
        """Run forward and backward and move the weights; return the loss, which a GPU may not know yet."""
        computed = self._add_gradients(rows)
        while computed is None:
            self._take_less()
            computed = self._add_gradients(rows)
        loss = Awaited(computed)
        adapted = self.network if isinstance(self.network, AdaptedNetwork) else None
        if adapted:
            adapted.add_penalty()
        self.optimiser.step()
        if adapted:
            adapted.allocate_ranks()
        self.optimiser.forget_gradients()
        return loss

    def _add_gradients(self, rows: np.ndarray) -> Tensor | None:
        """Add the gradients of the rows, `at_once` at a time, and return their loss; None where memory ran out."""
        assert self.tokens.labels is not None
        labels = torch.from_numpy(self.tokens.labels[rows])
        total = torch.zeros((), device=self.path.device)
        try:
            for start in range(0, len(rows), self.at_once):
                part = slice(start, start + self.at_once)
                share = self.loss.share(labels[part], labels)
                inputs = load_batch(self.network, self.tokens, rows[part], self.path, self._passes.length_multiple)
                total += self._passes.add_gradients(self._compute, share, *inputs)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None
        return total

    def _compute(self, share: float, ids: Tensor, mask: Tensor | None, labels: Tensor) -> Tensor:
        with self.path.autocast():
            logits = self.network(input_ids=ids, attention_mask=mask).logits
        return self.loss(logits.float(), labels) * share

    def _take_less(self) -> None:
        """Give up recorded passes, which hold memory; without any, halve what is taken at once."""
        self.optimiser.forget_gradients()
        if self._passes.forget():
            return
        if self.at_once == 1:
            raise TrainingError("memory does not suffice for a step with one text; try a smaller --max-length or model")
        self.at_once = -(-self.at_once // 2)
        if self.path.device == "cuda":
            torch.cuda.empty_cache()
        warnings.warn(
            f"memory ran out: each step is now taken {self.at_once} texts at a time and their gradients are added, so "
            "that the batch stays as large as it was",
            LoracleWarning,
            stacklevel=2,
        )


class Awaited:
    """Numbers that a device is computing; `read` waits for them, and not for what the device was given to do since."""

    def __init__(self, numbers: Tensor) -> None:
        self._numbers = numbers.to("cpu", non_blocking=True)
        self._there = torch.cuda.Event() if numbers.is_cuda else None  # type: ignore[no-untyped-call]
        if self._there:
            self._there.record()

    def read(self) -> list[float]:
        """Return the numbers."""
        if self._there:
            self._there.synchronize()
        return self._numbers.flatten().tolist()


def one_behind(begun: Iterable[T], path: ComputePath) -> Iterator[T]:
    """Yield each item: on a CPU at once, else when the next one has been begun too."""
    waiting: deque[T] = deque()
    for item in begun:
        waiting.append(item)
        if path.device == "cpu" or len(waiting) > 1:
            yield waiting.popleft()
    yield from waiting


def diverged(loss: float, step: int, learning_rate: float) -> TrainingError:
    """Return the error of a loss that is no finite number; steps are counted from the beginning of an epoch."""
    return TrainingError(
        f"the loss became {loss} at step {step} of its epoch, with learning rate {learning_rate:g}; "
        "try a lower learning rate, or a longer warmup"
    )


def load_batch(
    network: nn.Module, tokens: Tokens, rows: np.ndarray, path: ComputePath, multiple: int = 1
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Return ids (rows, length), mask or None, and labels of these texts on the path's device."""
    assert tokens.labels is not None
    ids, mask = tokens.pad_batch(rows, multiple=multiple)
    labels = torch.from_numpy(tokens.labels[rows])
    return ids.to(path.device), _mask_if_padded(network, mask, path), labels.to(path.device)


def run(network: nn.Module, ids: Tensor, mask: Tensor, path: ComputePath) -> Tensor:
    """Return the network's logits (texts, classes) for padded ids and their mask, on the path's device."""
    seen = _mask_if_padded(network, mask, path)
    logits: Tensor = network(input_ids=ids.to(path.device), attention_mask=seen).logits
    return logits


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an allocation failed; on a CPU torch has no class of its own for that, only its words."""
    words = str(error).lower()
    told = any(part in words for part in ("alloc", "out of memory", "memory exhausted", "could not create a memory"))
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (isinstance(error, RuntimeError) and told)


def _mask_if_padded(network: nn.Module, mask: Tensor, path: ComputePath) -> Tensor | None:
    """Return the mask, or None where no text is padded: it says nothing then, and attention is faster without it."""
    return None if mask.numpy().all() and reads_without_mask(network) else mask.to(path.device)
