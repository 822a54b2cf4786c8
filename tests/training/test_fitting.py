"""The one loop learns, keeps the best epoch, repeats itself for a seed, and stops where it should."""

import inspect
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from loracle.errors import ConfigError, TrainingError
from loracle.lora.config import LoRAConfig
from loracle.lora.injection import inject, lora_layers
from loracle.models.loading import Base, load_base
from loracle.training import fitting, precision
from loracle.training.batching import Tokens, tokenise
from loracle.training.budget import Budget
from loracle.training.optimising import linear_schedule
from loracle.training.precision import ComputePath, choose_path

PATH = ComputePath("cpu", "fp32", "eager")
TEXTS = ["late parcel again", "lovely and fast", "never answered late", "fast friendly lovely"] * 12
LABELS = np.array([0, 1, 0, 1] * 12)


@pytest.fixture
def base(tiny_base: Path) -> Base:
    torch.manual_seed(0)
    return load_base(str(tiny_base), ("bad", "good"), attention="eager")


def tokens(base: Base, texts: list[str] = TEXTS, labels: np.ndarray = LABELS) -> Tokens:
    return tokenise(base.tokenizer, texts, 16, labels=labels)


def train(base: Base, budget: Budget, *, rate: float = 5e-3, seed: int = 0, **more: object) -> fitting.History:
    return fitting.fit(
        base.network, tokens(base), tokens(base), budget, learning_rate=rate, seed=seed, path=PATH, **more
    )


def trainable(base: Base) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in base.network.parameters() if weight.requires_grad]


def test_a_small_task_is_learned(base: Base) -> None:
    history = train(base, Budget(epochs=4, batch_size=8))
    assert history.best.metrics["accuracy"] == 1.0
    assert history.epochs[-1].train_loss < history.epochs[0].train_loss


def test_nothing_in_the_loop_could_be_given_a_test_split() -> None:
    assert set(inspect.signature(fitting.fit).parameters) == {
        "network", "train", "validation", "budget", "learning_rate", "seed", "path", "on_step",
    }  # fmt: skip


def test_same_seed_gives_the_same_weights_and_another_seed_others(tiny_base: Path) -> None:
    def weights(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(0)
        fresh = load_base(str(tiny_base), ("bad", "good"), attention="eager")
        train(fresh, Budget(epochs=1, batch_size=8), seed=seed)
        return trainable(fresh)

    first, again, other = weights(1), weights(1), weights(2)
    assert all(map(torch.equal, first, again))
    assert not all(map(torch.equal, first, other))


def test_weights_of_the_best_epoch_are_kept(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[list[torch.Tensor]] = []
    scores = iter([0.5, 0.9, 0.7])

    def measured(labels: np.ndarray, probabilities: np.ndarray, thresholds: None) -> dict[str, float]:
        kept.append(trainable(base))
        return {"accuracy": next(scores), "macro_f1": 0.0, "log_loss": 1.0}

    monkeypatch.setattr(fitting, "measure", measured)
    history = train(base, Budget(epochs=3, batch_size=8))
    assert history.best.epoch == 2
    assert all(map(torch.equal, trainable(base), kept[1]))
    assert not all(map(torch.equal, trainable(base), kept[2]))


def test_training_ends_when_patience_does(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        fitting,
        "measure",
        lambda labels, probabilities, thresholds: {"accuracy": 0.5, "macro_f1": 0.5, "log_loss": 1.0},
    )
    assert len(train(base, Budget(epochs=9, batch_size=8, patience=2)).epochs) == 3


def test_diverged_training_raises(base: Base) -> None:
    with torch.no_grad():
        base.network.classifier.weight.fill_(float("nan"))
    with pytest.raises(
        TrainingError, match=r"nan at step 1 of its epoch, with learning rate 0.005; try a lower learning rate"
    ):
        train(base, Budget(epochs=1))


def test_fully_frozen_network_is_refused(base: Base) -> None:
    base.network.requires_grad_(False)
    with pytest.raises(TrainingError, match="frozen"):
        train(base, Budget(epochs=1))


def test_frozen_weights_do_not_move(base: Base) -> None:
    inject(base.network, LoRAConfig(targets=("query", "value")), head=base.head)
    frozen = {name: w.detach().clone() for name, w in base.network.named_parameters() if not w.requires_grad}
    before = trainable(base)
    train(base, Budget(epochs=1, batch_size=8))
    after = dict(base.network.named_parameters())
    assert all(torch.equal(weight, after[name]) for name, weight in frozen.items())
    assert not any(map(torch.equal, before, trainable(base)))


def test_base_dropout_is_off_unless_asked_for(base: Base) -> None:
    inject(base.network, LoRAConfig(targets=("query",), dropout=0.5), head=base.head)
    dropouts = [module for module in base.network.modules() if isinstance(module, torch.nn.Dropout)]
    fitting.set_training_mode(base.network, base_dropout=False)
    assert not any(module.training for module in dropouts)
    assert all(layer.training for _, layer in lora_layers(base.network))
    fitting.set_training_mode(base.network, base_dropout=True)
    assert all(module.training for module in dropouts)


def test_every_text_is_reported_once_an_epoch(base: Base) -> None:
    seen = {"trained": 0, "scored": 0}

    def on_step(texts: int, loss: float | None) -> None:
        seen["scored" if loss is None else "trained"] += texts

    train(base, Budget(epochs=2, batch_size=7, patience=5), on_step=on_step)
    assert seen == {"trained": 2 * len(TEXTS), "scored": 2 * len(TEXTS)}


def test_probabilities_are_in_text_order_and_sum_to_one(base: Base) -> None:
    texts = ["late " * length for length in (9, 1, 5)]
    all_at_once = fitting.predict_proba(base.network, tokens(base, texts, LABELS[:3]), PATH)
    one_by_one = [fitting.predict_proba(base.network, tokens(base, [text], LABELS[:1]), PATH)[0] for text in texts]
    np.testing.assert_allclose(all_at_once, one_by_one, atol=1e-6)
    np.testing.assert_allclose(all_at_once.sum(1), 1, atol=1e-6)


def test_schedule_rises_to_one_and_falls_to_nearly_zero() -> None:
    factor = linear_schedule(100, 0.1)
    values = [factor(step) for step in range(100)]
    assert max(values) == 1.0
    assert values.index(1.0) == 9
    assert 0 < values[-1] < 0.02
    assert all(a >= b for a, b in itertools.pairwise(values[9:]))


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"batch_size": 0}, {"max_length": 1}, {"learning_rates": 6}, {"warmup": 1.0}, {"clip": 0.0}],
)
def test_budget_out_of_range_names_the_key(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Budget(**wrong)


def test_unknown_precision_offers_the_closest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'bf16'"):
        Budget(precision="bf6")


@pytest.mark.parametrize(
    ("native", "asked", "given"),
    [
        (True, "auto", "bf16"),
        (True, "bf16", "bf16"),
        (True, "fp32", "fp32"),
        (False, "auto", "fp32"),
        (False, "fp32", "fp32"),
    ],
)
def test_precision_is_the_best_that_the_hardware_has_unless_asked(
    monkeypatch: pytest.MonkeyPatch, native: bool, asked: str, given: str
) -> None:
    monkeypatch.setattr(precision, "has_native_bf16", lambda device: native)
    assert choose_path(asked).precision == given


def test_bf16_that_would_be_emulated_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_native_bf16", lambda device: False)
    with pytest.raises(ConfigError, match="not native"):
        choose_path("bf16")
