"""Several LoRA fits on one frozen base, trained in one pass: each is what it would be alone.

They differ in seed, learning rate, rank or alpha. A step's batch is the batches of all of them, one after the other;
each has its own order, loss, clipping, schedule and best epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from loracle.errors import TrainingError
from loracle.lora.bank import build_bank, route
from loracle.models.narrowing import reading_first_token
from loracle.training.allocation import keeping_freed_memory
from loracle.training.attention import use_attention
from loracle.training.batching import Tokens, map_batches, shuffled_batches
from loracle.training.budget import Budget
from loracle.training.fitting import SCORING_BATCH, BestEpoch, History, OnStep, set_training_mode
from loracle.training.losses import Loss
from loracle.training.optimising import Optimiser
from loracle.training.precision import ComputePath, hold_frozen
from loracle.training.stepping import run


@dataclass(frozen=True, kw_only=True)
class Member:
    """One fit of several: its network, prepared from its own seed, and how it is trained."""

    network: nn.Module
    learning_rate: float
    seed: int


@dataclass
class _Course:
    """How far a member has come; `error` is why it goes no farther, `ended` that it need not."""

    member: Member
    optimiser: Optimiser
    order: np.random.Generator
    kept: BestEpoch
    losses: list[float] = field(default_factory=list)
    error: TrainingError | None = None
    ended: bool = False

    @property
    def running(self) -> bool:
        return self.error is None and not self.ended


def fit_together(
    members: Sequence[Member],
    train: Tokens,
    validation: Tokens,
    budget: Budget,
    *,
    head: Sequence[str],
    path: ComputePath,
    on_step: OnStep | None = None,
) -> list[History | TrainingError]:
    """Train what each member's network leaves trainable, as `fitting.fit` would; return the history of each.

    Weights agree with those of fits one by one within 1e-5 in float32. The networks share their frozen weights from now
    on. A member whose loss is no longer a finite number gets its error instead, and the others go on. Texts are padded
    to the longest of all batches of a step, which costs nothing where the seeds, and so the batches, are the same.
    Raises ModelError where the networks cannot share a bank, as `lora.bank.build_bank`.
    """
    assert train.labels is not None
    for member in members:
        hold_frozen(member.network.to(path.device), path)
    bank = build_bank([member.network for member in members], head=head)
    steps = budget.epochs * -(-len(train) // budget.batch_size)
    courses = [
        _Course(
            member,
            Optimiser(member.network, member.learning_rate, budget, steps),
            np.random.default_rng(member.seed),
            BestEpoch(member.network, budget),
        )
        for member in members
    ]
    loss = Loss(budget, train.labels)
    with keeping_freed_memory(), path.in_one_order(), reading_first_token(bank):
        for _ in range(budget.epochs):
            if any(course.running for course in courses):
                _train_epoch(bank, courses, train, loss, budget, path, on_step)
                _validate(bank, courses, validation, path, on_step)
    return [course.error or course.kept.restore() for course in courses]


def _train_epoch(
    bank: nn.Module,
    courses: Sequence[_Course],
    train: Tokens,
    loss: Loss,
    budget: Budget,
    path: ComputePath,
    on_step: OnStep | None,
) -> None:
    set_training_mode(bank, base_dropout=budget.base_dropout)
    use_attention(bank, path, train.lengths, training=True)
    for course in courses:
        course.losses.clear()
    orders = [
        shuffled_batches(train.lengths, budget.batch_size, course.order) if course.running else _nothing()
        for course in courses
    ]
    for _ in range(-(-len(train) // budget.batch_size)):
        batches = [next(order) if course.running else None for course, order in zip(courses, orders, strict=True)]
        done = _step(bank, courses, batches, train, loss, path)
        if on_step and done is not None:
            on_step(sum(len(rows) for rows in batches if rows is not None), done)


def _step(
    bank: nn.Module,
    courses: Sequence[_Course],
    batches: Sequence[np.ndarray | None],
    train: Tokens,
    loss: Loss,
    path: ComputePath,
) -> float | None:
    """Take one step of every member that has a batch; return the mean of their losses, None where none has."""
    assert train.labels is not None
    taken = [(course, rows) for course, rows in zip(courses, batches, strict=True) if rows is not None]
    if not taken:
        return None
    route(bank, [0 if rows is None else len(rows) for rows in batches])
    logits = _forward(bank, train, np.concatenate([rows for _, rows in taken]), path)
    parts = torch.split(logits, [len(rows) for _, rows in taken])
    labels = [torch.from_numpy(train.labels[rows]).to(path.device) for _, rows in taken]
    losses = [loss(part, own) for part, own in zip(parts, labels, strict=True)]
    torch.autograd.backward(losses)
    for (course, _), value in zip(taken, torch.stack(losses).tolist(), strict=True):
        course.losses.append(value)
        if np.isfinite(value):
            course.optimiser.step()
        else:
            course.error = TrainingError(
                f"the loss became {value} at step {len(course.losses)} of its epoch, with learning rate "
                f"{course.member.learning_rate:g}; try a lower learning rate, or a longer warmup"
            )
        course.optimiser.forget_gradients()
    return float(np.mean([course.losses[-1] for course, _ in taken]))


def _validate(
    bank: nn.Module, courses: Sequence[_Course], validation: Tokens, path: ComputePath, on_step: OnStep | None
) -> None:
    """Score the validation split with every member that is running, and let each keep its best epoch."""
    assert validation.labels is not None
    running = [course for course in courses if course.running]
    if not running:
        return
    several = validation.labels.ndim == 2
    use_attention(bank.eval(), path, validation.lengths, training=False)

    @torch.inference_mode()
    def compute(ids: Tensor, mask: Tensor) -> Tensor:
        route(bank, [len(ids) if course.running else 0 for course in courses])
        with path.autocast():
            logits = run(bank, ids.repeat(len(running), 1), mask.repeat(len(running), 1), path).float()
        if on_step:
            on_step(len(logits), None)
        probabilities = logits.sigmoid() if several else logits.softmax(dim=-1)
        return torch.cat(torch.split(probabilities, len(ids)), dim=1)  # (texts, members x classes)

    at_once = max(1, SCORING_BATCH // len(running))
    for course, probabilities in zip(
        running, np.split(map_batches(validation, at_once, compute), len(running), axis=1), strict=True
    ):
        try:
            course.ended = course.kept.add(float(np.mean(course.losses)), validation, probabilities)
        except TrainingError as error:
            course.error = error


def _forward(bank: nn.Module, tokens: Tokens, rows: np.ndarray, path: ComputePath) -> Tensor:
    ids, mask = tokens.pad_batch(rows)
    with path.autocast():
        logits: Tensor = run(bank, ids, mask, path)
    return logits.float()


def _nothing() -> Iterator[np.ndarray]:
    return iter(())
