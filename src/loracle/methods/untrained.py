"""The base model without any training, so that a reader sees what training gives.

For two labels the sign of the summed vector of the first token decides (a decoder's last), which is chance by
construction. For more, or on request, a text gets the label whose name is closest to it: zero-shot classification by
similarity. Where a text may have several labels each similarity is taken for itself, put between 0 and 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from loracle.errors import ConfigError
from loracle.evaluation.metrics import choose_thresholds, measure
from loracle.files import load_json, save_json
from loracle.methods.extraction import Extractor, load_extractor, load_saved_extractor
from loracle.methods.method import Classifier, Fitted, Method, Setup

if TYPE_CHECKING:
    from loracle.data.task import Task
    from loracle.training.fitting import OnStep

_FILE = "untrained.json"
_SCALE = 20.0  # of a cosine before softmax, as sentence-transformers trains them


@dataclass(frozen=True)
class UntrainedScorer:
    """A base model, and how it decides: by `sign`, by the closest of `label_names`, or by `each name`."""

    extractor: Extractor
    label_names: tuple[str, ...]
    rule: str

    def predict_proba(self, texts: Sequence[str], on_step: OnStep | None = None) -> np.ndarray:
        """Return class probabilities, float32 (texts, classes)."""
        if self.rule == "sign":
            sums = self.extractor.features(texts, on_step, pool="token").sum(axis=1)
            return _softmax(np.stack([np.zeros_like(sums), sums], axis=1))
        names = _unit(self.extractor.features(self.label_names))
        cosines = _unit(self.extractor.features(texts, on_step)) @ names.T
        if self.rule == "each name":
            return np.asarray(((1 + cosines) / 2).clip(0, 1), np.float32)
        return _softmax(_SCALE * cosines)

    def save(self, folder: Path) -> None:
        """Write the name of the base model and the rule; the base itself is not copied."""
        save_json(folder / _FILE, {**self.extractor.to_json(), "label_names": self.label_names, "rule": self.rule})


def fit_untrained(
    task: Task,
    setup: Setup,
    *,
    seed: int,  # noqa: ARG001
    learning_rate: float | None = None,  # noqa: ARG001
    on_step: OnStep | None = None,
) -> Fitted:
    """Load the base model and look at no training text."""
    rule = choose_rule(setup.networks.untrained, len(task.label_names), multi_label=task.multi_label)
    extractor = load_extractor(setup.model, setup.budget)
    scorer = UntrainedScorer(extractor, task.label_names, rule)
    labels, probabilities = task.validation.labels, scorer.predict_proba(task.validation.texts, on_step)
    thresholds = choose_thresholds(labels, probabilities)
    classifier = Classifier(
        method="untrained",
        label_names=task.label_names,
        scorer=scorer,
        counts=extractor.count_parameters(),
        thresholds=thresholds,
    )
    return Fitted(classifier=classifier, validation_metrics=measure(labels, probabilities, thresholds))


def choose_rule(asked: str, labels: int, *, multi_label: bool = False) -> str:
    """Return "sign", "names" or "each name"; raises ConfigError where the sign cannot tell the labels apart.

    >>> choose_rule("auto", 2), choose_rule("auto", 9), choose_rule("auto", 2, multi_label=True)
    ('sign', 'names', 'each name')
    """
    if multi_label and asked == "sign":
        raise ConfigError(
            "untrained is 'sign', which gives one label; a text of these data may have several; use names"
        )
    if multi_label:
        return "each name"
    if asked == "sign" and labels != 2:
        raise ConfigError(f"untrained is 'sign', which tells 2 labels apart; these data have {labels}; use names")
    return asked if asked != "auto" else "sign" if labels == 2 else "names"


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: np.ndarray = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def _load(folder: Path) -> UntrainedScorer:
    saved = load_json(folder / _FILE, keys=("model", "max_length", "precision", "label_names", "rule"))
    return UntrainedScorer(load_saved_extractor(saved), tuple(saved["label_names"]), saved["rule"])


UNTRAINED = Method(
    name="untrained",
    summary="the base model as it is",
    fit=fit_untrained,
    load=_load,
    cuts_texts=True,
    options=("untrained",),
)
