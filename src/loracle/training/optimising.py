"""AdamW with a schedule and clipping, as one step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from loracle.errors import TrainingError
from loracle.lora.injection import learning_rate_ratios
from loracle.training.budget import Budget


class Optimiser:
    """AdamW over what is trainable in a network, its rates scheduled over so many steps."""

    def __init__(self, network: nn.Module, learning_rate: float, budget: Budget, steps: int) -> None:
        self._adamw = build_adamw(network, learning_rate, budget)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._adamw, linear_schedule(steps, budget.warmup))
        self._trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self._clip = budget.clip

    def step(self) -> None:
        """Clip the gradients by their norm, move the weights, and move on in the schedule; the gradients stay."""
        nn.utils.clip_grad_norm_(self._trained, self._clip)
        self._adamw.step()
        self._schedule.step()

    def forget_gradients(self) -> None:
        """Free the gradients."""
        self._adamw.zero_grad()


def build_adamw(network: nn.Module, learning_rate: float, budget: Budget) -> torch.optim.Optimizer:
    """Return AdamW over what is trainable; biases and norms do not decay, and LoRA+ has a learning rate for B.

    Raises TrainingError where nothing is trainable.
    """
    ratios = learning_rate_ratios(network)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            decay = budget.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((decay, ratios.get(name, 1.0)), []).append(parameter)
    if not groups:
        raise TrainingError("nothing in this network is trainable; every parameter is frozen")
    return torch.optim.AdamW(
        [
            {"params": parameters, "weight_decay": decay, "lr": learning_rate * ratio}
            for (decay, ratio), parameters in groups.items()
        ],
        fused=True,
    )


def linear_schedule(steps: int, warmup: float) -> Callable[[int], float]:
    """Return the learning rate's factor at each step: up from near 0 over the warm-up share, then down to 0.

    >>> factor = linear_schedule(10, 0.2)
    >>> [round(factor(step), 3) for step in (0, 1, 2, 9)]
    [0.5, 1.0, 1.0, 0.125]
    """
    rising = round(steps * warmup)

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return (steps - step) / max(1, steps - rising)

    return factor
