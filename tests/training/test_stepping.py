"""A step is the same step where memory makes it take its batch in parts, and ends where its loss is no number."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from loracle.errors import LoracleWarning, TrainingError
from loracle.models.loading import Base, load_base
from loracle.training.batching import Tokens, tokenise
from loracle.training.budget import Budget
from loracle.training.losses import Loss
from loracle.training.optimising import Optimiser
from loracle.training.precision import ComputePath
from loracle.training.stepping import Stepper, is_out_of_memory, one_behind

PATH = ComputePath("cpu", "fp32")
TEXTS = ["late parcel again", "lovely and fast", "never answered late", "fast friendly lovely thanks", "thanks"]
LABELS = np.array([0, 1, 0, 0, 1])
ROWS = np.arange(5)


def stepper(folder: Path, *, at_once: int = 5, labels: np.ndarray = LABELS, **budget: object) -> tuple[Base, Stepper]:
    torch.manual_seed(0)
    base = load_base(str(folder), ("bad", "good"))
    tokens: Tokens = tokenise(base.tokenizer, TEXTS, 16, labels=labels)
    plan = Budget(**budget)
    optimiser = Optimiser(base.network, 1e-2, plan, steps=10)
    return base, Stepper(
        network=base.network,
        tokens=tokens,
        loss=Loss(plan, labels),
        optimiser=optimiser,
        path=PATH,
        learning_rate=1e-2,
        at_once=at_once,
    )


def step(stepper: Stepper) -> float:
    """Take one step over all rows, and return its loss."""
    ((texts, loss),) = stepper.take([ROWS])
    assert texts == len(ROWS)
    return loss


def weights(base: Base) -> torch.Tensor:
    return torch.cat([item.detach().flatten() for item in base.network.parameters()])


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
@pytest.mark.parametrize("loss", ["cross-entropy", "focal"])
@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_a_batch_in_parts_is_the_same_step(tiny_base: Path, at_once: int, loss: str, class_weights: str) -> None:
    whole, first = stepper(tiny_base, loss=loss, class_weights=class_weights)
    parts, second = stepper(tiny_base, at_once=at_once, loss=loss, class_weights=class_weights)
    assert step(first) == pytest.approx(step(second), rel=1e-5)
    # Adam's first step is near the sign of the gradient, so that rounding may show where it is next to zero
    assert (weights(whole) - weights(parts)).abs().max() < 2e-4


def test_several_labels_a_text_are_averaged_over_all_parts(tiny_base: Path) -> None:
    labels = np.array([[0, 1], [1, 1], [0, 0], [1, 0], [0, 1]], dtype=np.uint8)
    first, second = (stepper(tiny_base, at_once=size, labels=labels)[1] for size in (5, 2))
    assert step(first) == pytest.approx(step(second), rel=1e-5)


def refuse_more_than(base: Base, limit: int, error: Exception) -> list[int]:
    """Let the network run out of memory beyond so many texts; return the list of the sizes that it was given."""
    forward, sizes = base.network.forward, []

    def limited(input_ids: torch.Tensor, attention_mask: torch.Tensor | None) -> object:
        sizes.append(len(input_ids))
        if len(input_ids) > limit:
            raise error
        return forward(input_ids=input_ids, attention_mask=attention_mask)

    base.network.forward = limited
    return sizes


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
    ids=["gpu", "cpu"],
)
def test_where_memory_ends_the_batch_is_halved_and_the_step_is_the_same(tiny_base: Path, error: Exception) -> None:
    whole, first = stepper(tiny_base)
    base, second = stepper(tiny_base)
    sizes = refuse_more_than(base, 2, error)
    with pytest.warns(LoracleWarning, match="3 texts at a time"), pytest.warns(LoracleWarning, match="2 texts"):
        loss = step(second)
    assert sizes == [5, 3, 2, 2, 1]
    assert loss == pytest.approx(step(first), rel=1e-5)
    assert (weights(whole) - weights(base)).abs().max() < 2e-4
    step(second)
    assert sizes[5:] == [2, 2, 1]  # it is not tried again with more


def test_where_not_one_text_fits_it_is_said(tiny_base: Path) -> None:
    base, steps = stepper(tiny_base, at_once=1)
    refuse_more_than(base, 0, MemoryError())
    with pytest.raises(TrainingError, match="one text"):
        step(steps)


def test_another_error_is_not_taken_for_one_of_memory(tiny_base: Path) -> None:
    base, steps = stepper(tiny_base)
    refuse_more_than(base, 0, RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        step(steps)
    assert not is_out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_fit_at_its_step(tiny_base: Path, value: float) -> None:
    _, steps = stepper(tiny_base)
    real, factors = steps.loss, iter([1.0, value])
    steps.loss = type(
        "Broken", (), {"__call__": lambda _, *given: real(*given) * next(factors), "share": lambda *_: 1.0}
    )()
    taken = steps.take([ROWS] * 3)
    next(taken)
    with pytest.raises(TrainingError, match=r"(nan|inf) at step 2 of its epoch, with learning rate 0.01; try a lower"):
        next(taken)
    assert next(factors, None) is None


@pytest.mark.parametrize(
    ("device", "order"),
    [("cpu", ["begin 0", "end 0", "begin 1", "end 1"]), ("cuda", ["begin 0", "begin 1", "end 0", "end 1"])],
)
def test_a_gpu_begins_the_next_step_before_one_is_read(device: str, order: list[str]) -> None:
    told = []

    def begin() -> Iterator[int]:
        for number in range(2):
            told.append(f"begin {number}")
            yield number

    for number in one_behind(begin(), ComputePath(device, "fp32")):
        told.append(f"end {number}")
    assert told == order
