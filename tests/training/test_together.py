"""Fits in one pass are what they are one by one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from loracle.errors import TrainingError
from loracle.lora.config import LoRAConfig
from loracle.lora.injection import inject
from loracle.models.families import default_targets
from loracle.models.loading import load_base
from loracle.training import fitting
from loracle.training.batching import Tokens, tokenise
from loracle.training.budget import Budget
from loracle.training.fitting import BestEpoch
from loracle.training.precision import ComputePath
from loracle.training.together import Member, fit_together

PATH = ComputePath("cpu", "fp32", "sdpa")
TEXTS = ["late parcel again", "lovely and fast", "never answered late and the price", "fast friendly lovely"] * 5 + [
    "thanks"
]
LABELS = np.array([0, 1, 0, 1] * 5 + [1])
RUNS = [
    {"seed": 0, "rate": 1e-3, "rank": 4},
    {"seed": 0, "rate": 5e-3, "rank": 8},
    {"seed": 1, "rate": 1e-3, "rank": 2, "alpha": 3.0, "b_learning_rate_ratio": 4.0},
]
Checkpoint = Callable[[str], Path]


def prepare(folder: Path, *, seed: int, rate: float, **lora: object) -> tuple[Member, Tokens, tuple[str, ...]]:
    torch.manual_seed(seed)
    base = load_base(str(folder), ("bad", "good"))
    inject(base.network, LoRAConfig(targets=default_targets(base.config.model_type), **lora), head=base.head)
    data = tokenise(base.tokenizer, TEXTS, 32, labels=LABELS)
    return Member(network=base.network, learning_rate=rate, seed=seed), data, base.head


def trained(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: item.detach().clone() for name, item in network.named_parameters() if item.requires_grad}


def fit_alone(folder: Path, budget: Budget, **given: object) -> tuple[fitting.History, dict[str, torch.Tensor]]:
    member, data, _ = prepare(folder, **given)
    history = fitting.fit(
        member.network, data, data, budget, learning_rate=member.learning_rate, seed=member.seed, path=PATH
    )
    return history, trained(member.network)


def fit_all(
    folder: Path, budget: Budget, runs: list[dict], **more: object
) -> tuple[list[fitting.History | TrainingError], list[nn.Module]]:
    parts = [prepare(folder, **given) for given in runs]
    members, (_, data, head) = [part[0] for part in parts], parts[0]
    histories = fit_together(members, data, data, budget, head=head, path=PATH, **more)
    return histories, [member.network for member in members]


@pytest.mark.parametrize("architecture", ["bert", "roberta", "llama"])
def test_weights_and_histories_are_those_of_fits_one_by_one(checkpoint: Checkpoint, architecture: str) -> None:
    folder, budget = checkpoint(architecture), Budget(epochs=2, batch_size=4)
    histories, networks = fit_all(folder, budget, RUNS)
    for given, history, network in zip(RUNS, histories, networks, strict=True):
        alone, weights = fit_alone(folder, budget, **given)
        assert history.best.epoch == alone.best.epoch
        for one, other in zip(history.epochs, alone.epochs, strict=True):
            assert one.train_loss == pytest.approx(other.train_loss, abs=1e-5)
            assert one.metrics["log_loss"] == pytest.approx(other.metrics["log_loss"], abs=1e-5)
        for name, weight in trained(network).items():
            torch.testing.assert_close(weight, weights[name], atol=1e-5, rtol=0)


def test_one_that_diverges_fails_alone(checkpoint: Checkpoint) -> None:
    folder, budget = checkpoint("bert"), Budget(epochs=1, batch_size=4)
    parts = [prepare(folder, **given) for given in RUNS[:2]]
    with torch.no_grad():
        parts[0][0].network.classifier.weight.fill_(float("nan"))
    failed, history = fit_together(
        [part[0] for part in parts], parts[0][1], parts[0][1], budget, head=parts[0][2], path=PATH
    )
    assert isinstance(failed, TrainingError)
    assert "nan at step 1 of its epoch, with learning rate 0.001; try a lower" in str(failed)
    assert isinstance(history, fitting.History)
    alone, weights = fit_alone(folder, budget, **RUNS[1])
    assert history.best.metrics["log_loss"] == pytest.approx(alone.best.metrics["log_loss"], abs=1e-5)
    for name, weight in trained(parts[1][0].network).items():
        torch.testing.assert_close(weight, weights[name], atol=1e-5, rtol=0)


def test_one_that_ends_early_leaves_the_batch(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, sizes = checkpoint("bert"), []
    add = BestEpoch.add

    def ending(kept: BestEpoch, *given: object) -> bool:
        add(kept, *given)
        return kept is firsts[0]

    firsts: list[BestEpoch] = []
    create = BestEpoch.__init__

    def noting(kept: BestEpoch, *given: object) -> None:
        create(kept, *given)
        firsts.append(kept)

    monkeypatch.setattr(BestEpoch, "__init__", noting)
    monkeypatch.setattr(BestEpoch, "add", ending)
    budget = Budget(epochs=2, batch_size=len(TEXTS))
    first, second = fit_all(
        folder, budget, RUNS[:2], on_step=lambda texts, loss: sizes.append(texts) if loss is not None else None
    )[0]
    assert [len(history.epochs) for history in (first, second)] == [1, 2]
    assert sizes == [2 * len(TEXTS), len(TEXTS)]


def test_several_labels_a_text_are_fitted_together_too(checkpoint: Checkpoint) -> None:
    folder, budget = checkpoint("bert"), Budget(epochs=1, batch_size=4)
    labels = np.stack([LABELS, 1 - LABELS], axis=1).astype(np.uint8)
    parts = [prepare(folder, **given) for given in RUNS[:2]]
    data = Tokens(parts[0][1].flat, parts[0][1].starts, parts[0][1].pad, labels)
    histories = fit_together([part[0] for part in parts], data, data, budget, head=parts[0][2], path=PATH)
    member, _, _ = prepare(folder, **RUNS[1])
    alone = fitting.fit(member.network, data, data, budget, learning_rate=5e-3, seed=0, path=PATH)
    assert histories[1].best.metrics["log_loss"] == pytest.approx(alone.best.metrics["log_loss"], abs=1e-5)
    assert histories[1].best.thresholds is not None
