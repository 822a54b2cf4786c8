"""The one training loop. It sees a training and a validation split; nothing here could be given a test split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from loracle.errors import TrainingError
from loracle.evaluation.metrics import choose_thresholds, choosing_metrics, measure, preference
from loracle.lora.injection import learning_rate_ratios, lora_layers
from loracle.models.adapting import AdaptedNetwork
from loracle.training.batching import Tokens, map_batches, shuffled_batches
from loracle.training.budget import Budget
from loracle.training.losses import Loss, build_loss
from loracle.training.precision import ComputePath
from loracle.training.recomputation import recomputing

OnStep = Callable[[int, float | None], None]
"""Called after each step or scored batch with the number of texts done and, in training, the loss."""

SCORING_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch brought: the mean training loss, and the metrics on the validation split after it.

    `thresholds` are each label's, chosen on that split, where a text may have several labels.
    """

    epoch: int
    train_loss: float
    metrics: Mapping[str, float]
    thresholds: tuple[float, ...] | None = None


@dataclass(frozen=True)
class History:
    """All epochs of one fit, and the one whose weights were kept."""

    epochs: tuple[Epoch, ...]
    best: Epoch

    def to_json(self) -> list[dict[str, float]]:
        """Return one flat mapping an epoch, the validation loss by that name."""
        return [
            {
                "epoch": epoch.epoch,
                "train_loss": epoch.train_loss,
                "validation_loss": epoch.metrics["log_loss"],
                **choosing_metrics(epoch.metrics),
                "best": epoch is self.best,
            }
            for epoch in self.epochs
        ]


def fit(
    network: nn.Module,
    train: Tokens,
    validation: Tokens,
    budget: Budget,
    *,
    learning_rate: float,
    seed: int,
    path: ComputePath,
    on_step: OnStep | None = None,
) -> History:
    """Train the parameters that require a gradient; leave the weights of the best validation epoch in the network.

    AdamW (Loshchilov & Hutter, 2019), linear warm-up and decay, clipping by norm, batches of similar length in an
    order that depends on the seed alone; the loss is the budget's, its class weights those of `train`. Ends early
    after `budget.patience` epochs without a better validation score. Raises TrainingError where the loss is no longer
    a finite number.
    """
    generator = np.random.default_rng(seed)
    steps = budget.epochs * -(-len(train) // budget.batch_size)
    network.to(path.device)
    optimizer = build_optimizer(network, learning_rate, budget)
    assert train.labels is not None
    loss = build_loss(budget, train.labels)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, linear_schedule(steps, budget.warmup))
    epochs: list[Epoch] = []
    best, weights = None, {}
    for number in range(1, budget.epochs + 1):
        batches = shuffled_batches(train.lengths, budget.batch_size, generator)
        set_training_mode(network, base_dropout=budget.base_dropout)
        with recomputing(network) if budget.gradient_checkpointing else nullcontext():
            losses = _train_epoch(network, train, batches, loss, optimizer, schedule, budget.clip, path, on_step)
        epoch = _validate(network, validation, number, float(np.mean(losses)), path, on_step)
        epochs.append(epoch)
        if best is None or preference(epoch.metrics, budget.metric) > preference(best.metrics, budget.metric):
            best, weights = epoch, _trainable_weights(network)
        elif number - best.epoch >= budget.patience:
            break
    assert best is not None
    network.load_state_dict(weights, strict=False)
    network.eval()
    return History(tuple(epochs), best)


def predict_proba(
    network: nn.Module,
    tokens: Tokens,
    path: ComputePath,
    on_step: OnStep | None = None,
    *,
    multi_label: bool = False,
) -> np.ndarray:
    """Return class probabilities, float32 (texts, classes), in the order of the texts.

    They sum to 1, unless a text may have several labels: then each is a probability of its own.
    """

    @torch.inference_mode()
    def compute(ids: Tensor, mask: Tensor) -> Tensor:
        with path.autocast():
            logits = network(input_ids=ids, attention_mask=mask).logits
        if on_step:
            on_step(len(ids), None)
        probabilities: Tensor = logits.float().sigmoid() if multi_label else logits.float().softmax(dim=-1)
        return probabilities

    network.to(path.device).eval()
    return map_batches(tokens, SCORING_BATCH, compute, device=path.device)


def set_training_mode(network: nn.Module, *, base_dropout: bool) -> None:
    """Switch dropout on in the LoRA layers and what PEFT added, and in the base only on request."""
    network.train(base_dropout)
    for _, layer in lora_layers(network):
        layer.training = True
    if isinstance(network, AdaptedNetwork):
        network.train_adapters()


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


def _train_epoch(
    network: nn.Module,
    train: Tokens,
    batches: Iterator[np.ndarray],
    loss_of: Loss,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    clip: float,
    path: ComputePath,
    on_step: OnStep | None,
) -> list[float]:
    assert train.labels is not None
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    adapted = network if isinstance(network, AdaptedNetwork) else None
    losses: list[float] = []
    for rows in batches:
        ids, mask = (tensor.to(path.device) for tensor in train.pad_batch(rows))
        labels = torch.from_numpy(train.labels[rows]).to(path.device)
        with path.autocast():
            logits = network(input_ids=ids, attention_mask=mask).logits
        loss = loss_of(logits.float(), labels)
        losses.append(loss.item())
        if not np.isfinite(losses[-1]):
            raise TrainingError(f"the loss became {losses[-1]} at step {len(losses)}; try a lower learning rate")
        torch.autograd.backward(loss)
        if adapted:
            adapted.add_penalty()
        nn.utils.clip_grad_norm_(trainable, clip)
        optimizer.step()
        schedule.step()
        if adapted:
            adapted.allocate_ranks()
        optimizer.zero_grad()
        if on_step:
            on_step(len(rows), losses[-1])
    return losses


def _validate(
    network: nn.Module,
    validation: Tokens,
    number: int,
    train_loss: float,
    path: ComputePath,
    on_step: OnStep | None,
) -> Epoch:
    assert validation.labels is not None
    labels = validation.labels
    probabilities = predict_proba(network, validation, path, on_step, multi_label=labels.ndim == 2)
    if not np.isfinite(probabilities).all():
        raise TrainingError(f"the network's output is not finite after epoch {number}; try a lower learning rate")
    thresholds = choose_thresholds(labels, probabilities)
    metrics = measure(labels, probabilities, thresholds)
    return Epoch(epoch=number, train_loss=train_loss, metrics=metrics, thresholds=thresholds)


def build_optimizer(network: nn.Module, learning_rate: float, budget: Budget) -> torch.optim.Optimizer:
    """Return AdamW over what is trainable; biases and norms do not decay, and LoRA+ has a learning rate for B."""
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


def _trainable_weights(network: nn.Module) -> dict[str, Tensor]:
    return {
        name: parameter.detach().clone() for name, parameter in network.named_parameters() if parameter.requires_grad
    }
