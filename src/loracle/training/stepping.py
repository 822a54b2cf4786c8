"""One training step, in as many parts as memory needs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from loracle.errors import LoracleWarning, TrainingError
from loracle.models.adapting import AdaptedNetwork
from loracle.models.padding import reads_without_mask
from loracle.training.batching import Tokens
from loracle.training.losses import Loss
from loracle.training.optimising import Optimiser
from loracle.training.precision import ComputePath


@dataclass
class Stepper:
    """What a step needs, and in how many texts at once it is taken: `at_once` shrinks where memory runs out."""

    network: nn.Module
    tokens: Tokens
    loss: Loss
    optimiser: Optimiser
    path: ComputePath
    learning_rate: float
    at_once: int
    done: int = 0

    def step(self, rows: np.ndarray) -> float:
        """Take one optimiser step over a batch, and return its loss.

        Where memory runs out the batch is taken in two halves whose gradients are added, and so on: the same step, and
        a LoracleWarning. Raises TrainingError where not even one text fits, or the loss is no finite number.
        """
        self.done += 1
        loss = self._add_gradients(rows)
        while loss is None:
            self._take_less()
            loss = self._add_gradients(rows)
        if not np.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} at step {self.done}, with learning rate {self.learning_rate:g}; "
                "try a lower learning rate, or a longer warmup"
            )
        adapted = self.network if isinstance(self.network, AdaptedNetwork) else None
        if adapted:
            adapted.add_penalty()
        self.optimiser.step()
        if adapted:
            adapted.allocate_ranks()
        self.optimiser.forget_gradients()
        return loss

    def _add_gradients(self, rows: np.ndarray) -> float | None:
        """Run forward and backward over the rows, `at_once` of them at a time; None where memory ran out."""
        assert self.tokens.labels is not None
        labels = torch.from_numpy(self.tokens.labels[rows]).to(self.path.device)
        total = 0.0
        try:
            for start in range(0, len(rows), self.at_once):
                part = slice(start, start + self.at_once)
                share = self.loss.share(labels[part], labels)
                loss = self.loss(self._forward(rows[part]), labels[part]) * share
                torch.autograd.backward(loss)
                total += loss.item()  # after the backward pass is under way: a GPU does not wait for the question
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return None
        return total

    def _forward(self, rows: np.ndarray) -> Tensor:
        ids, mask = self.tokens.pad_batch(rows)
        with self.path.autocast():
            logits: Tensor = run(self.network, ids, mask, self.path)
        return logits.float()

    def _take_less(self) -> None:
        self.optimiser.forget_gradients()
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


def run(network: nn.Module, ids: Tensor, mask: Tensor, path: ComputePath) -> Tensor:
    """Return the network's logits (texts, classes) for padded ids and their mask, on the path's device.

    Where no text is padded the mask says nothing, and attention is faster without it.
    """
    seen = None if mask.numpy().all() and reads_without_mask(network) else mask.to(path.device)
    logits: Tensor = network(input_ids=ids.to(path.device), attention_mask=seen).logits
    return logits


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an allocation failed; on a CPU torch has no class of its own for that, only its words."""
    words = str(error).lower()
    told = any(part in words for part in ("alloc", "out of memory", "memory exhausted", "could not create a memory"))
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (isinstance(error, RuntimeError) and told)
