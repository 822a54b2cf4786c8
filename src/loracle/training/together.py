"""Several LoRA fits on one frozen base, trained in one pass: each is what it would be alone.

They differ in seed, learning rate, rank or alpha. A step's batch is the batches of all of them, one after the other;
each has its own order, loss, clipping, schedule and best epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
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
from loracle.training.graphs import PassGraphs, can_record
from loracle.training.losses import Loss
from loracle.training.optimising import Optimiser
from loracle.training.precision import ComputePath, hold_frozen
from loracle.training.stepping import Awaited, diverged, is_out_of_memory, load_batch, one_behind, run


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
    stepper = _Stepper(
        bank=bank,
        courses=courses,
        tokens=train,
        loss=Loss(budget, train.labels),
        path=path,
        recording=can_record(bank, train, budget, path),
    )
    with keeping_freed_memory(), path.in_one_order(), reading_first_token(bank), closing(stepper):
        for _ in range(budget.epochs):
            if any(course.running for course in courses):
                _train_epoch(stepper, budget, on_step)
                _validate(bank, courses, validation, path, on_step)
    return [course.error or course.kept.restore() for course in courses]


@dataclass(kw_only=True)
class _Stepper:
    """What a step of all members needs; `stepping.Stepper` for several."""

    bank: nn.Module
    courses: Sequence[_Course]
    tokens: Tokens
    loss: Loss
    path: ComputePath
    recording: bool
    _passes: PassGraphs = field(init=False)

    def __post_init__(self) -> None:
        networks = [course.member.network for course in self.courses]
        self._passes = PassGraphs(networks, recording=self.recording)

    def take(self, steps: Iterable[Sequence[np.ndarray | None]]) -> Iterator[tuple[int, float]]:
        """Take a step of every member that has a batch; yield how many texts these were, and the mean of their losses.

        A GPU is given the next step before losses are read. Raises what running out of memory raises.
        """
        begun = (self._begin(batches) for batches in steps if any(rows is not None for rows in batches))
        for courses, texts, awaited in one_behind(begun, self.path):
            losses = awaited.read()
            for course, loss in zip(courses, losses, strict=True):
                course.losses.append(loss)
                if not np.isfinite(loss) and not course.error:
                    course.error = diverged(loss, len(course.losses), course.member.learning_rate)
            yield texts, float(np.mean(losses))

    def close(self) -> None:
        """Free what was recorded."""
        self._passes.forget()

    def _begin(self, batches: Sequence[np.ndarray | None]) -> tuple[list[_Course], int, Awaited]:
        """Run forward and backward and move the weights of those that have a batch; return them and their losses."""
        sizes = tuple(0 if rows is None else len(rows) for rows in batches)
        rows = np.concatenate([rows for rows in batches if rows is not None])
        losses = Awaited(self._add_gradients(sizes, rows))
        taking = [course for course, size in zip(self.courses, sizes, strict=True) if size]
        for course in taking:
            course.optimiser.step()
            course.optimiser.forget_gradients()
        return taking, len(rows), losses

    def _add_gradients(self, sizes: tuple[int, ...], rows: np.ndarray) -> Tensor:
        """Return the loss of each that has a batch; where memory runs out, what was recorded is given up first."""
        inputs = load_batch(self.bank, self.tokens, rows, self.path, self._passes.length_multiple)
        try:
            return self._passes.add_gradients(self._compute, sizes, *inputs)
        except RuntimeError as error:
            for course in self.courses:
                course.optimiser.forget_gradients()
            if not (is_out_of_memory(error) and self._passes.forget()):
                raise
        return self._passes.add_gradients(self._compute, sizes, *inputs)

    def _compute(self, sizes: tuple[int, ...], ids: Tensor, mask: Tensor | None, labels: Tensor) -> Tensor:
        route(self.bank, sizes)
        with self.path.autocast():
            logits = self.bank(input_ids=ids, attention_mask=mask).logits.float()
        parts = [size for size in sizes if size]
        pairs = zip(torch.split(logits, parts), torch.split(labels, parts), strict=True)
        return torch.stack([self.loss(own, target) for own, target in pairs])


def _train_epoch(stepper: _Stepper, budget: Budget, on_step: OnStep | None) -> None:
    set_training_mode(stepper.bank, base_dropout=budget.base_dropout)
    use_attention(stepper.bank, stepper.path, stepper.tokens.lengths, training=True)
    for course in stepper.courses:
        course.losses.clear()
    for texts, loss in stepper.take(_draw_batches(stepper.courses, stepper.tokens, budget)):
        if on_step:
            on_step(texts, loss)


def _draw_batches(courses: Sequence[_Course], tokens: Tokens, budget: Budget) -> Iterator[Sequence[np.ndarray | None]]:
    """Yield the batches of each step, one a member; None of one that is not running any more."""
    orders = [
        shuffled_batches(tokens.lengths, budget.batch_size, course.order) if course.running else _nothing()
        for course in courses
    ]
    for _ in range(-(-len(tokens) // budget.batch_size)):
        yield [next(order) if course.running else None for course, order in zip(courses, orders, strict=True)]


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


def _nothing() -> Iterator[np.ndarray]:
    return iter(())
