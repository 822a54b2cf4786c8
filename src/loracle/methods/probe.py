"""The frozen base model as a feature extractor: mean-pooled last layer, computed once, into a logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from loracle.files import load_json, save_json
from loracle.methods.linear import fit_regression, load_regression, save_regression
from loracle.methods.method import Classifier, Fitted, Method, Setup
from loracle.models.counting import Counts

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression
    from torch import Tensor, nn
    from transformers import PreTrainedTokenizerBase

    from loracle.data.task import Task
    from loracle.training.fitting import OnStep
    from loracle.training.precision import ComputePath

_FILE = "probe.json"


@dataclass(frozen=True)
class Extractor:
    """A frozen base model that turns texts into vectors."""

    model: str
    max_length: int
    network: nn.Module
    tokenizer: PreTrainedTokenizerBase
    path: ComputePath

    def features(self, texts: Sequence[str], on_step: OnStep | None = None) -> np.ndarray:
        """Return the mean over each text's tokens of the last layer, float32 (texts, hidden)."""
        import torch

        from loracle.training.batching import map_batches, tokenise
        from loracle.training.fitting import SCORING_BATCH

        @torch.inference_mode()
        def compute(ids: Tensor, mask: Tensor) -> Tensor:
            with self.path.autocast():
                hidden = self.network(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            if on_step:
                on_step(len(ids), None)
            weights = mask.unsqueeze(-1).float()
            mean: Tensor = (hidden * weights).sum(1) / weights.sum(1)
            return mean

        tokens = tokenise(self.tokenizer, texts, self.max_length)
        return map_batches(tokens, SCORING_BATCH, compute, device=self.path.device)


@dataclass(frozen=True)
class ProbeScorer:
    """An extractor with a regression over its vectors."""

    extractor: Extractor
    regression: LogisticRegression

    def predict_proba(self, texts: Sequence[str], on_step: OnStep | None = None) -> np.ndarray:
        """Return class probabilities, float32 (texts, classes)."""
        features = self.extractor.features(texts, on_step)
        return np.asarray(self.regression.predict_proba(features), np.float32)

    def save(self, folder: Path) -> None:
        """Write the regression and the name of the base model; the base itself is not copied."""
        extractor = self.extractor
        saved = {
            "model": extractor.model,
            "max_length": extractor.max_length,
            "precision": extractor.path.precision,
        }
        save_json(folder / _FILE, saved)
        save_regression(self.regression, folder, {})


def fit_probe(
    task: Task,
    setup: Setup,
    *,
    seed: int,
    learning_rate: float | None = None,  # noqa: ARG001
    on_step: OnStep | None = None,
) -> Fitted:
    """Compute the features of the training and the validation split once; choose C on the validation split."""
    from loracle.training.precision import choose_path

    extractor = _load_extractor(setup.model, setup.budget.max_length, choose_path(setup.budget.precision))
    train, validation = (
        (extractor.features(split.texts, on_step), split.labels) for split in (task.train, task.validation)
    )
    regression, metrics, search = fit_regression(train, validation, metric=setup.budget.metric, seed=seed)
    weights = regression.coef_.size + regression.intercept_.size
    base = sum(parameter.numel() for parameter in extractor.network.parameters())
    classifier = Classifier(
        method="probe",
        label_names=task.label_names,
        scorer=ProbeScorer(extractor, regression),
        counts=Counts(head=weights, base=base, trainable=weights),
    )
    return Fitted(classifier=classifier, validation_metrics=metrics, search=search)


def _load_extractor(model: str, max_length: int, path: ComputePath) -> Extractor:
    from loracle.models.loading import check_max_length, load_encoder, load_tokenizer

    tokenizer = load_tokenizer(model)
    network = load_encoder(model, attention=path.attention).to(path.device)
    check_max_length(tokenizer, network.config, max_length)
    return Extractor(model, max_length, network, tokenizer, path)


def _load(folder: Path) -> ProbeScorer:
    from loracle.training.precision import choose_path_like

    saved = load_json(folder / _FILE, keys=("model", "max_length", "precision"))
    regression, _ = load_regression(folder)
    path = choose_path_like(saved["precision"])
    return ProbeScorer(_load_extractor(saved["model"], saved["max_length"], path), regression)


PROBE = Method(
    name="probe",
    summary="frozen base model, logistic regression on its vectors",
    fit=fit_probe,
    load=_load,
    reads_base=True,
)
