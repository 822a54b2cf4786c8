"""What training makes small: one place for every gradient method.

For one label a text it is cross-entropy over the softmax, for several binary cross-entropy over a sigmoid a label. Both
may be focal, weighted by class, and smoothed, as the budget says.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from loracle.training.budget import Budget

_LEAST = 1e-7  # of a probability under a power, whose slope at 0 may be infinite


class Loss:
    """The loss for a training split: `labels` int64 (texts,), or 0 and 1 (texts, classes).

    One label a text: with q the smoothed target, 1 - s of it on the label and s spread over all classes (Szegedy et
    al. 2016), and w the class weights, the loss of a text is - sum over classes of w q (1 - p)^gamma log p, with gamma
    0 unless it is focal (Lin et al. 2017); texts are averaged with the weights of their labels, as torch's
    cross_entropy does. Several labels: the same for the two sides of each label, with s / 2 on the wrong one, and a
    plain mean over all cells, as torch's binary_cross_entropy_with_logits does.
    """

    def __init__(self, budget: Budget, labels: np.ndarray) -> None:
        self._gamma = budget.focal_gamma if budget.loss == "focal" else 0.0
        self._smoothing = budget.label_smoothing
        self._compute = _binary if labels.ndim == 2 else _cross_entropy
        self._labels = labels if budget.class_weights == "balanced" else None
        self._weights = cache(self._weigh)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return one number for logits (texts, classes), float32, and labels as `Tokens` holds them."""
        return self._compute(
            logits, labels, self._weights(logits.shape[-1], logits.device), self._gamma, self._smoothing
        )

    def share(self, part: Tensor, batch: Tensor) -> float:
        """Return what the loss of a part of a batch counts in that of the batch, from the labels of both."""
        if self._labels is None or batch.ndim == 2:
            return len(part) / len(batch)
        weights = self._weights(int(self._labels.max()) + 1, part.device)
        assert weights is not None
        return float(weights[part].sum() / weights[batch].sum())

    def _weigh(self, classes: int, device: torch.device) -> Tensor | None:
        if self._labels is None:
            return None
        return torch.from_numpy(balanced_weights(self._labels, classes)).to(device)


def balanced_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Return texts / (classes that occur x texts of the class), float32 (classes,), as scikit-learn's "balanced" does.

    Of several labels a text (2, classes): the weight of lacking each label, and of having it, over those of the two
    sides that occur. What no text has weighs 1.
    """
    if labels.ndim == 2:
        having = labels.sum(axis=0, dtype=np.float64)
        counts = np.stack([len(labels) - having, having])
    else:
        counts = np.bincount(labels, minlength=classes).astype(np.float64)
    occurring = np.count_nonzero(counts, axis=0)
    weights = np.where(counts > 0, len(labels) / (occurring * np.maximum(counts, 1)), 1.0)
    return weights.astype(np.float32)


def _cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None, gamma: float, smoothing: float) -> Tensor:
    if gamma == 0:
        return F.cross_entropy(logits, labels, weight=weights, label_smoothing=smoothing)
    logs = F.log_softmax(logits, dim=-1)
    classes = logits.shape[-1]
    targets = F.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes
    if weights is not None:
        targets = targets * weights
    losses = -(targets * (1 - logs.exp()).clamp_min(_LEAST) ** gamma * logs).sum(dim=-1)
    return losses.mean() if weights is None else losses.sum() / weights[labels].sum()


def _binary(logits: Tensor, labels: Tensor, weights: Tensor | None, gamma: float, smoothing: float) -> Tensor:
    labels = labels.to(logits.dtype)
    having = labels * (1 - smoothing) + smoothing / 2
    lacking = 1 - having
    if weights is not None:
        having, lacking = having * weights[1], lacking * weights[0]
    log_has, log_lacks = F.logsigmoid(logits), F.logsigmoid(-logits)
    if gamma:
        having, lacking = having * (gamma * log_lacks).exp(), lacking * (gamma * log_has).exp()
    return -(having * log_has + lacking * log_lacks).mean()
