"""The one training loop. It sees a training and a validation split; nothing here could be given a test split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from loracle.errors import TrainingError
from loracle.evaluation.metrics import choose_thresholds, choosing_metrics, measure, preference
from loracle.lora.injection import lora_layers
from loracle.models.adapting import AdaptedNetwork
from loracle.models.narrowing import reading_first_token
from loracle.training.allocation import keeping_freed_memory
from loracle.training.attention import use_attention
from loracle.training.batching import Tokens, map_batches, shuffled_batches
from loracle.training.budget import Budget
from loracle.training.graphs import can_record
from loracle.training.losses import Loss
from loracle.training.optimising import Optimiser
from loracle.training.precision import ComputePath, hold_frozen
from loracle.training.recomputation import recomputing
from loracle.training.stepping import Stepper, run

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
    assert train.labels is not None
    generator = np.random.default_rng(seed)
    network.to(path.device)
    hold_frozen(network, path)
    steps = budget.epochs * -(-len(train) // budget.batch_size)
    optimiser = Optimiser(network, learning_rate, budget, steps)
    stepper = Stepper(
        network=network,
        tokens=train,
        loss=Loss(budget, train.labels),
        optimiser=optimiser,
        path=path,
        learning_rate=learning_rate,
        at_once=budget.batch_size,
        recording=can_record(network, train, budget, path),
    )
    kept = BestEpoch(network, budget)
    with keeping_freed_memory(), path.in_one_order(), reading_first_token(network), closing(stepper):
        for _ in range(budget.epochs):
            losses = _train_epoch(stepper, budget, generator, on_step)
            probabilities = _score(network, validation, path, on_step)
            if kept.add(float(np.mean(losses)), validation, probabilities):
                break
    return kept.restore()


class BestEpoch:
    """The epochs of one fit, and the weights after the one that was best on the validation split."""

    def __init__(self, network: nn.Module, budget: Budget) -> None:
        self._network, self._budget = network, budget
        self._epochs: list[Epoch] = []
        self._best: Epoch | None = None
        self._weights: dict[str, Tensor] = {}

    def add(self, train_loss: float, validation: Tokens, probabilities: np.ndarray) -> bool:
        """Measure an epoch by its probabilities (texts, classes); say whether there were enough without a better one.

        Raises TrainingError where they are no finite numbers.
        """
        number, metric = len(self._epochs) + 1, self._budget.metric
        epoch = _measure(validation, probabilities, number, train_loss)
        self._epochs.append(epoch)
        if self._best is None or preference(epoch.metrics, metric) > preference(self._best.metrics, metric):
            self._best, self._weights = epoch, _trainable_weights(self._network)
        return number - self._best.epoch >= self._budget.patience

    def restore(self) -> History:
        """Put the weights of the best epoch back into the network, ready to score; return all epochs."""
        assert self._best is not None
        self._network.load_state_dict(self._weights, strict=False)
        self._network.eval()
        return History(tuple(self._epochs), self._best)


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
            logits = run(network, ids, mask, path)
        if on_step:
            on_step(len(ids), None)
        probabilities: Tensor = logits.float().sigmoid() if multi_label else logits.float().softmax(dim=-1)
        return probabilities

    network.to(path.device).eval()
    use_attention(network, path, tokens.lengths, training=False)
    with reading_first_token(network):
        return map_batches(tokens, SCORING_BATCH, compute)


def set_training_mode(network: nn.Module, *, base_dropout: bool) -> None:
    """Switch dropout on in the LoRA layers and what PEFT added, and in the base only on request."""
    network.train(base_dropout)
    for _, layer in lora_layers(network):
        layer.training = True
    if isinstance(network, AdaptedNetwork):
        network.train_adapters()


def _train_epoch(
    stepper: Stepper, budget: Budget, generator: np.random.Generator, on_step: OnStep | None
) -> list[float]:
    network, tokens = stepper.network, stepper.tokens
    set_training_mode(network, base_dropout=budget.base_dropout)
    use_attention(network, stepper.path, tokens.lengths, training=True)
    losses: list[float] = []
    with recomputing(network) if budget.gradient_checkpointing else nullcontext():
        for texts, loss in stepper.take(shuffled_batches(tokens.lengths, budget.batch_size, generator)):
            losses.append(loss)
            if on_step:
                on_step(texts, loss)
    return losses


def _score(network: nn.Module, validation: Tokens, path: ComputePath, on_step: OnStep | None) -> np.ndarray:
    assert validation.labels is not None
    return predict_proba(network, validation, path, on_step, multi_label=validation.labels.ndim == 2)


def _measure(validation: Tokens, probabilities: np.ndarray, number: int, train_loss: float) -> Epoch:
    assert validation.labels is not None
    labels = validation.labels
    if not np.isfinite(probabilities).all():
        raise TrainingError(f"the network's output is not finite after epoch {number}; try a lower learning rate")
    thresholds = choose_thresholds(labels, probabilities)
    metrics = measure(labels, probabilities, thresholds)
    return Epoch(epoch=number, train_loss=train_loss, metrics=metrics, thresholds=thresholds)


def _trainable_weights(network: nn.Module) -> dict[str, Tensor]:
    return {
        name: parameter.detach().clone() for name, parameter in network.named_parameters() if parameter.requires_grad
    }
