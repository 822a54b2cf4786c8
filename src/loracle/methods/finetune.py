"""Training by gradient. The methods differ in the network that they build, in what of it they leave trainable, and in
how they save it; all else is this one file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loracle.errors import ConfigError, TrainingError
from loracle.files import load_json, save_json
from loracle.methods.method import Classifier, Fitted, Method, Setup, Sharing, Try

if TYPE_CHECKING:
    import numpy as np

    from loracle.data.task import Task
    from loracle.models.counting import Counts
    from loracle.models.loading import Base
    from loracle.training.batching import Tokens
    from loracle.training.budget import Budget
    from loracle.training.fitting import History, OnStep
    from loracle.training.precision import ComputePath

BASE_PRECISION = "base_precision"

_FILE = "finetune.json"

Prepare = Callable[["Base", Setup], None]
Build = Callable[["Task", Setup], "Base"]
SaveWeights = Callable[["Base", Path], None]
Count = Callable[["Base"], "Counts"]
LoadWeights = Callable[[Path, str, Sequence[str]], "Base"]


@dataclass(frozen=True)
class NetworkScorer:
    """A trained network; `save_weights` knows which of its weights are new."""

    base: Base
    label_names: tuple[str, ...]
    max_length: int
    path: ComputePath
    save_weights: SaveWeights
    multi_label: bool = False
    base_precision: str = "full"

    def predict_proba(self, texts: Sequence[str], on_step: OnStep | None = None) -> np.ndarray:
        """Return class probabilities, float32 (texts, classes); each on its own where a text may have several."""
        from loracle.training.batching import tokenise
        from loracle.training.fitting import predict_proba

        tokens = tokenise(self.base.tokenizer, texts, self.max_length)
        return predict_proba(self.base.network, tokens, self.path, on_step, multi_label=self.multi_label)

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
                "deterministic": self.path.deterministic,
                "base_precision": self.base_precision,
                "label_names": self.label_names,
                "multi_label": self.multi_label,
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
    common: Callable[[Setup], Setup | None] | None = None,
) -> Method:
    """Return the method that loads the base model, prepares it, and trains what `prepare` left trainable.

    With `base_precision` among its options what is frozen is held in it. `common` is that of `Sharing`, where fits can
    share a pass.
    """

    def build(task: Task, setup: Setup) -> Base:
        from loracle.models.loading import check_max_length, load_base
        from loracle.models.quantising import quantise

        base = load_base(setup.model, task.label_names)
        check_max_length(base.tokenizer, base.config, setup.budget.max_length)
        prepare(base, setup)
        quantise(base.network, _base_precision(setup, options), keep=base.head)
        return base

    method = training(name, summary, learning_rates, build, save_weights, load_weights, options=options)
    sharing = Sharing(fit=partial(_fit_together, build, save_weights), common=common) if common else None
    return replace(method, prepare=prepare, sharing=sharing)


def training(
    name: str,
    summary: str,
    learning_rates: tuple[float, ...],
    build: Build,
    save_weights: SaveWeights,
    load_weights: LoadWeights,
    *,
    options: tuple[str, ...] = (),
    count: Count | None = None,
) -> Method:
    """Return the method that trains the network that `build` makes; `count` tells its parameters apart.

    `load_weights(folder, model, label_names)` returns it with the weights that `save_weights` wrote.
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
        base_precision = _base_precision(setup, options)
        return _fit(name, build, save_weights, task, setup, seed, rate, on_step, base_precision, count or _count)

    return Method(
        name=name,
        summary=summary,
        learning_rates=learning_rates,
        fit=fit,
        load=lambda folder: load_scorer(folder, save_weights, load_weights),
        cuts_texts=True,
        options=options,
        check=check_base if BASE_PRECISION in options else None,
    )


def load_scorer(folder: Path, save_weights: SaveWeights, load_weights: LoadWeights) -> NetworkScorer:
    """Load what `NetworkScorer.save` wrote, the base held as it was; raises FileError or ModelError."""
    from loracle.models.quantising import quantise
    from loracle.training.precision import choose_path_like, hold_frozen

    saved = read_saved(folder)
    labels = tuple(saved["label_names"])
    path = choose_path_like(saved["precision"], deterministic=saved.get("deterministic", False))
    base = load_weights(folder, saved["model"], labels)
    base_precision = saved.get(BASE_PRECISION, "full")
    quantise(base.network, base_precision, keep=base.head)
    hold_frozen(base.network.to(path.device), path)
    base.network.eval()
    several = saved.get("multi_label", False)
    return NetworkScorer(base, labels, saved["max_length"], path, save_weights, several, base_precision)


def read_saved(folder: Path) -> dict[str, Any]:
    """Return what `NetworkScorer.save` noted beside the weights; raises FileError where it is missing or broken."""
    return dict(load_json(folder / _FILE, keys=("model", "max_length", "precision", "label_names")))


def problem_type(multi_label: bool) -> str:
    """Return how transformers calls the task, so that others who load the model take a sigmoid or a softmax too."""
    return "multi_label_classification" if multi_label else "single_label_classification"


def check_base(task: Task, setup: Setup) -> None:  # noqa: ARG001
    """Raise ConfigError where the base cannot be held as the setup asks, since a library is missing."""
    from loracle.models.quantising import check_library

    if setup.base_precision != "full":
        check_library()


def _base_precision(setup: Setup, options: Sequence[str]) -> str:
    """Return how a method with these options holds the base: as the setup says, or whole where it does not ask."""
    return setup.base_precision if BASE_PRECISION in options else "full"


def _fit(
    name: str,
    build: Build,
    save_weights: SaveWeights,
    task: Task,
    setup: Setup,
    seed: int,
    learning_rate: float,
    on_step: OnStep | None,
    base_precision: str,
    count: Count,
) -> Fitted:
    from loracle.training import fitting
    from loracle.training.precision import hold_frozen, path_for
    from loracle.training.states import stepping_over

    if not learning_rate > 0:
        raise ConfigError(f"learning_rate is {learning_rate}; allowed: above 0")
    budget, path = setup.budget, path_for(setup.budget)
    base = _build(build, task, setup, seed)
    hold_frozen(base.network.to(path.device), path)
    own = budget if base.pretrained else replace(budget, base_dropout=True)  # a network of our own has its own dropout
    splits = _tokenise(base, task, budget)
    counts = count(base)
    with stepping_over(base.network, splits, own, path) as (train, validation):
        history = fitting.fit(
            base.network, train, validation, own, learning_rate=learning_rate, seed=seed, path=path, on_step=on_step
        )
    scorer = NetworkScorer(
        base, task.label_names, budget.max_length, path, save_weights, task.multi_label, base_precision
    )
    return _finish(name, scorer, counts, history)


def _fit_together(
    build: Build, save_weights: SaveWeights, task: Task, tries: Sequence[Try], *, on_step: OnStep | None = None
) -> list[Fitted | TrainingError]:
    """Begin each network as `_fit` does, and train all of them on the frozen weights of the first."""
    from loracle.lora.bank import share_frozen
    from loracle.training.precision import hold_frozen, path_for
    from loracle.training.together import Member, fit_together

    budget = tries[0].setup.budget
    path = path_for(budget)
    bases: list[Base] = []
    for item in tries:
        base = _build(build, task, item.setup, item.seed)
        share_frozen([*(first.network for first in bases[:1]), base.network])  # before it is on the device
        hold_frozen(base.network.to(path.device), path)
        bases.append(base)
    counts = [_count(base) for base in bases]
    members = [
        Member(network=base.network, learning_rate=item.learning_rate, seed=item.seed)
        for base, item in zip(bases, tries, strict=True)
    ]
    train, validation = _tokenise(bases[0], task, budget)
    outcomes = fit_together(members, train, validation, budget, head=bases[0].head, path=path, on_step=on_step)
    scorers = [
        NetworkScorer(base, task.label_names, budget.max_length, path, save_weights, task.multi_label) for base in bases
    ]
    return [
        outcome if isinstance(outcome, TrainingError) else _finish(item.method, scorer, count, outcome)
        for item, scorer, count, outcome in zip(tries, scorers, counts, outcomes, strict=True)
    ]


def _build(build: Build, task: Task, setup: Setup, seed: int) -> Base:
    """Build the network from its seed."""
    import torch

    torch.manual_seed(seed)  # before the head, the adapter or the whole network is initialised
    base = build(task, setup)
    config = getattr(base.network, "config", None)
    if config is not None:
        config.problem_type = problem_type(task.multi_label)
    return base


def _tokenise(base: Base, task: Task, budget: Budget) -> list[Tokens]:
    """Return the tokens of the training and of the validation split."""
    from loracle.training.batching import tokenise

    return [
        tokenise(base.tokenizer, split.texts, budget.max_length, labels=split.labels, keep=True)
        for split in (task.train, task.validation)
    ]


def _finish(name: str, scorer: NetworkScorer, counts: Counts, history: History) -> Fitted:
    classifier = Classifier(
        method=name,
        label_names=scorer.label_names,
        scorer=scorer,
        counts=counts,
        thresholds=history.best.thresholds,
    )
    return Fitted(classifier=classifier, validation_metrics=history.best.metrics, history=history)


def _count(base: Base) -> Counts:
    from loracle.models.counting import count_parameters

    return count_parameters(base.network, base.head)
