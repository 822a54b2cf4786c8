"""Training by gradient. The methods differ in the network that they build, in what of it they leave trainable, and in
how they save it; all else is this one file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
Build = Callable[["Task", Setup, "ComputePath"], "Base"]
SaveWeights = Callable[["Base", Path], None]
LoadWeights = Callable[[Path, str, Sequence[str], str], "Base"]


@dataclass(frozen=True)
class NetworkScorer:
    """A trained network; `save_weights` knows which of its weights are new."""

    base: Base
    label_names: tuple[str, ...]
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
        save_json(
            folder / _FILE,
            {
                "model": self.base.name,
                "max_length": self.max_length,
                "precision": self.path.precision,
                "label_names": self.label_names,
            },
        )


def finetuning(
    name: str,
    summary: str,
    learning_rates: tuple[float, ...],
    prepare: Prepare,
    save_weights: SaveWeights,
    load_weights: LoadWeights,
    *,
    options: tuple[str, ...] = (),
) -> Method:
    """Return the method that loads the base model, prepares it, and trains what `prepare` left trainable."""

    def build(task: Task, setup: Setup, path: ComputePath) -> Base:
        from loracle.models.loading import check_max_length, load_base

        base = load_base(setup.model, task.label_names, attention=path.attention)
        check_max_length(base.tokenizer, base.config, setup.budget.max_length)
        prepare(base, setup)
        return base

    method = training(name, summary, learning_rates, build, save_weights, load_weights, options=options)
    return replace(method, prepare=prepare)


def training(
    name: str,
    summary: str,
    learning_rates: tuple[float, ...],
    build: Build,
    save_weights: SaveWeights,
    load_weights: LoadWeights,
    *,
    options: tuple[str, ...] = (),
) -> Method:
    """Return the method that trains the network that `build` makes.

    `load_weights(folder, model, label_names, attention)` returns it with the weights that `save_weights` wrote.
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
        return _fit(name, build, save_weights, task, setup, seed, rate, on_step)

    def load(folder: Path) -> NetworkScorer:
        from loracle.training.precision import choose_path_like

        saved = load_json(folder / _FILE, keys=("model", "max_length", "precision", "label_names"))
        path, labels = choose_path_like(saved["precision"]), tuple(saved["label_names"])
        base = load_weights(folder, saved["model"], labels, path.attention)
        base.network.to(path.device).eval()
        return NetworkScorer(base, labels, saved["max_length"], path, save_weights)

    return Method(
        name=name,
        summary=summary,
        learning_rates=learning_rates,
        fit=fit,
        load=load,
        cuts_texts=True,
        options=options,
    )


def _fit(
    name: str,
    build: Build,
    save_weights: SaveWeights,
    task: Task,
    setup: Setup,
    seed: int,
    learning_rate: float,
    on_step: OnStep | None,
) -> Fitted:
    import torch

    from loracle.models.counting import count_parameters
    from loracle.training import fitting
    from loracle.training.batching import tokenise
    from loracle.training.precision import choose_path

    if not learning_rate > 0:
        raise ConfigError(f"learning_rate is {learning_rate}; allowed: above 0")
    budget, path = setup.budget, choose_path(setup.budget.precision)
    torch.manual_seed(seed)  # before the head, the adapter or the whole network is initialised
    base = build(task, setup, path)
    counts = count_parameters(base.network, base.head)
    train, validation = (
        tokenise(base.tokenizer, split.texts, budget.max_length, labels=split.labels)
        for split in (task.train, task.validation)
    )
    history = fitting.fit(
        base.network,
        train,
        validation,
        budget if base.pretrained else replace(budget, base_dropout=True),  # a network of our own has its own dropout
        learning_rate=learning_rate,
        seed=seed,
        path=path,
        on_step=on_step,
    )
    scorer = NetworkScorer(base, task.label_names, budget.max_length, path, save_weights)
    classifier = Classifier(method=name, label_names=task.label_names, scorer=scorer, counts=counts)
    return Fitted(classifier=classifier, validation_metrics=history.best.metrics, history=history)
