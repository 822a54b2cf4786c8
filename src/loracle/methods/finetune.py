"""Fine-tuning by gradient. Full fine-tuning and LoRA differ in what `prepare` leaves trainable and in how they are
saved; all else is this one file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loracle.errors import ConfigError
from loracle.files import load_json, save_json
from loracle.methods.method import Classifier, Fitted, Method, Setup

if TYPE_CHECKING:
    import numpy as np

    from loracle.data.task import Task
    from loracle.models.loading import Base
    from loracle.training.fitting import OnStep
    from loracle.training.precision import ComputePath

_FILE = "finetune.json"

Prepare = Callable[["Base", Setup], None]
SaveWeights = Callable[["Base", Path], None]
LoadWeights = Callable[[Path, str, Sequence[str], str], "Base"]


@dataclass(frozen=True)
class NetworkScorer:
    """A fine-tuned network; `save_weights` knows which of its weights are new."""

    base: Base
    max_length: int
    path: ComputePath
    save_weights: SaveWeights

    def predict_proba(self, texts: Sequence[str], on_step: OnStep | None = None) -> np.ndarray:
        """Return class probabilities, float32 (texts, classes)."""
        from loracle.training.batching import tokenise
        from loracle.training.fitting import predict_proba

        tokens = tokenise(self.base.tokenizer, texts, self.max_length)
        return predict_proba(self.base.network, tokens, self.path, on_step)

    def save(self, folder: Path) -> None:
        """Write the weights, the tokenizer, and what prediction needs to know."""
        self.save_weights(self.base, folder)
        self.base.tokenizer.save_pretrained(folder)
        labels = [label for _, label in sorted(self.base.config.id2label.items())]
        save_json(
            folder / _FILE,
            {
                "model": self.base.name,
                "max_length": self.max_length,
                "precision": self.path.precision,
                "label_names": labels,
            },
        )


def finetuning(
    name: str,
    summary: str,
    learning_rates: tuple[float, ...],
    prepare: Prepare,
    save_weights: SaveWeights,
    load_weights: LoadWeights,
) -> Method:
    """Return the method that prepares the base network, then trains what is left trainable.

    `load_weights(folder, model, label_names, attention)` returns the base with the weights that `save_weights` wrote.
    """

    def fit(
        task: Task,
        setup: Setup,
        *,
        seed: int,
        learning_rate: float | None = None,
        on_step: OnStep | None = None,
    ) -> Fitted:
        rate = learning_rates[0] if learning_rate is None else learning_rate
        return _fit(name, prepare, save_weights, task, setup, seed, rate, on_step)

    def load(folder: Path) -> NetworkScorer:
        from loracle.training.precision import choose_path_like

        saved = load_json(folder / _FILE, keys=("model", "max_length", "precision", "label_names"))
        path = choose_path_like(saved["precision"])
        base = load_weights(folder, saved["model"], saved["label_names"], path.attention)
        base.network.to(path.device).eval()
        return NetworkScorer(base, saved["max_length"], path, save_weights)

    return Method(name=name, summary=summary, learning_rates=learning_rates, fit=fit, load=load, reads_base=True)


def _fit(
    name: str,
    prepare: Prepare,
    save_weights: SaveWeights,
    task: Task,
    setup: Setup,
    seed: int,
    learning_rate: float,
    on_step: OnStep | None,
) -> Fitted:
    import torch

    from loracle.models.counting import count_parameters
    from loracle.models.loading import check_max_length, load_base
    from loracle.training import fitting
    from loracle.training.batching import tokenise
    from loracle.training.precision import choose_path

    if not learning_rate > 0:
        raise ConfigError(f"learning_rate is {learning_rate}; allowed: above 0")
    budget, path = setup.budget, choose_path(setup.budget.precision)
    torch.manual_seed(seed)  # before the head and the adapter are initialised
    base = load_base(setup.model, task.label_names, attention=path.attention)
    check_max_length(base.tokenizer, base.config, budget.max_length)
    prepare(base, setup)
    counts = count_parameters(base.network, base.head)
    train, validation = (
        tokenise(base.tokenizer, split.texts, budget.max_length, labels=split.labels)
        for split in (task.train, task.validation)
    )
    history = fitting.fit(
        base.network,
        train,
        validation,
        budget,
        learning_rate=learning_rate,
        seed=seed,
        path=path,
        on_step=on_step,
    )
    scorer = NetworkScorer(base, budget.max_length, path, save_weights)
    classifier = Classifier(method=name, label_names=task.label_names, scorer=scorer, counts=counts)
    return Fitted(classifier=classifier, validation_metrics=history.best.metrics, history=history)
