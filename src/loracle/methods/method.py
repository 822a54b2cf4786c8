"""The contract of a rung of the ladder: a name, a way to fit it, and a way to load it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from loracle.errors import ConfigError, ModelError, TrainingError
from loracle.evaluation.metrics import predicted_labels
from loracle.files import load_json, save_json, whole_folder
from loracle.lora.config import LoRAConfig
from loracle.models.counting import Counts
from loracle.models.loading import name_base
from loracle.models.networks import NetworkConfig, check_base_precision
from loracle.prompting.config import LLMConfig
from loracle.training.budget import Budget

if TYPE_CHECKING:
    from loracle.data.task import Task
    from loracle.models.loading import Base
    from loracle.prompting.receipt import Receipt
    from loracle.training.fitting import History, OnStep

MANIFEST = "loracle.json"
FORMAT = 1

_PREDICTED_AT_ONCE = 4096


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What all methods of a comparison share besides the data: base model, budget, LoRA's shape, sizes, the LLM.

    `base_precision` (full, int8 or nf4) is how the base is held by those methods that leave all of it frozen.
    """

    model: str = "minilm"
    base_precision: str = "full"
    budget: Budget = field(default_factory=Budget)
    lora: LoRAConfig = field(default_factory=LoRAConfig)
    networks: NetworkConfig = field(default_factory=NetworkConfig)
    llm: LLMConfig = field(default_factory=LLMConfig)

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", name_base(self.model))
        check_base_precision(self.base_precision)

    def options(self) -> dict[str, Any]:
        """Return every option as one flat mapping, spelled as the flags and the keys of a TOML file are."""
        parts = (self.budget, self.lora, self.networks, self.llm)
        options = {key: value for part in parts for key, value in asdict(part).items()}
        plain = {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}
        return {"model": self.model, "base_precision": self.base_precision, **plain, "targets": list(self.lora.targets)}


class Scorer(Protocol):
    """What a fitted method must be able to do."""

    def predict_proba(self, texts: Sequence[str], on_step: OnStep | None = None) -> np.ndarray:
        """Return class probabilities, float32 (texts, classes); they sum to 1, or are each on its own for several."""
        ...

    def save(self, folder: Path) -> None:
        """Write all that `Method.load` needs into an existing folder."""
        ...


@runtime_checkable
class RemoteScorer(Scorer, Protocol):
    """A scorer whose answers come from another machine, so that each text has an outcome and may have a price."""

    @property
    def receipt(self) -> Receipt | None:
        """What became of each text of the last `predict_proba`, and what it took."""
        ...

    @property
    def spent(self) -> float | None:
        """What was spent so far, while texts are asked about too; None where no price is known."""
        ...


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A fitted method, ready to predict.

    `thresholds`, one a label and chosen on the validation split, are there where a text may have several labels: it
    gets each label whose probability reaches its threshold.

    >>> import loracle
    >>> classifier = loracle.load_model("runs/reviews")                     # doctest: +SKIP
    >>> classifier.predict(["Late again, and nobody answers."])             # doctest: +SKIP
    ['negative']
    """

    method: str
    label_names: tuple[str, ...]
    scorer: Scorer = field(repr=False)
    counts: Counts
    thresholds: tuple[float, ...] | None = None

    @property
    def multi_label(self) -> bool:
        """Whether a text may get several labels, or none."""
        return self.thresholds is not None

    def predict_proba(self, texts: Sequence[str], on_step: OnStep | None = None) -> np.ndarray:
        """Return class probabilities, float32 (texts, classes), columns in the order of `label_names`."""
        if isinstance(texts, str):
            raise ConfigError("texts is one string; give a list of texts")
        if not len(texts):
            return np.empty((0, len(self.label_names)), np.float32)
        return self.scorer.predict_proba(list(texts), on_step)

    def predict(self, texts: Sequence[str]) -> list[str] | list[list[str]]:
        """Return the most probable label of each text, "" where a remote model gave no usable answer.

        Where a text may have several labels: the list of them, in the order of `label_names`. Raises
        ConfigError for a bare string.
        """
        if isinstance(texts, str):
            raise ConfigError("texts is one string; give a list of texts")
        labels: list[Any] = []
        for start in range(0, len(texts), _PREDICTED_AT_ONCE):
            labels += self.name_labels(self.predict_proba(texts[start : start + _PREDICTED_AT_ONCE]))
        return labels

    def name_labels(self, probabilities: np.ndarray) -> list[str] | list[list[str]]:
        """Return what `predict` does, from the rows of `predict_proba`."""
        predicted = predicted_labels(probabilities, self.thresholds)
        if self.multi_label:
            return [[self.label_names[index] for index in np.flatnonzero(row)] for row in predicted]
        return [self.label_names[index] if index >= 0 else "" for index in predicted]

    def save(self, folder: str | Path) -> None:
        """Write the classifier to `folder`, whole or not at all, in the place of one that was saved there before.

        Raises ModelError where the folder holds anything else.
        """
        check_replaceable(Path(folder))
        manifest = {
            "format": FORMAT,
            "method": self.method,
            "label_names": self.label_names,
            "counts": asdict(self.counts),
        }
        if self.thresholds is not None:
            manifest["thresholds"] = self.thresholds
        with whole_folder(Path(folder)) as temporary:
            self.scorer.save(temporary)
            save_json(temporary / MANIFEST, manifest)


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What one fit gave: the classifier, how it did on the validation split, and how it got there."""

    classifier: Classifier
    validation_metrics: Mapping[str, float]
    search: tuple[Mapping[str, Any], ...] = ()  # {setting, value, accuracy, ...} per setting that this fit tried
    history: History | None = None


Check = Callable[["Task", "Setup"], None]
"""Raise where a method cannot work."""


class Fit(Protocol):
    """Fit one method with one seed; `learning_rate` is None for a method that has none."""

    def __call__(
        self,
        task: Task,
        setup: Setup,
        *,
        seed: int,
        learning_rate: float | None = None,
        on_step: OnStep | None = None,
    ) -> Fitted:
        """Return the fitted method; it must not look at `task.test`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Try:
    """One fit of several in a pass: the method's name, its own setup, the seed and the learning rate."""

    method: str
    setup: Setup
    seed: int
    learning_rate: float


class FitTogether(Protocol):
    """Make several fits in one pass; raises ModelError where their networks cannot share one."""

    def __call__(
        self, task: Task, tries: Sequence[Try], *, on_step: OnStep | None = None
    ) -> list[Fitted | TrainingError]:
        """Return what each fit gave, as `Fit` would, or the error at which it diverged."""
        ...


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """How fits share a pass. `common` returns what their setups must agree in, or None where one is trained alone."""

    fit: FitTogether
    common: Callable[[Setup], Setup | None]


def _unchanged(setup: Setup) -> Setup:
    return setup


@dataclass(frozen=True, kw_only=True)
class Method:
    """One rung of the ladder. `learning_rates`, best guess first, is empty for what is not trained by gradient;
    `cuts_texts` says whether only the first `max_length` tokens of a text are read; `options` names those of the setup
    that it alone reads; `remote` whether another machine
    answers, which may cost money. `check` raises where the method cannot work, before anything is spent. `stored_name`
    is what a stored configuration calls it, where that is more than its name. `prepare` makes the base model what the
    method trains, where it begins with the base model. `own_setup` is the setup with the options that the name carries,
    and `sharing` how several fits are made in one pass, where they can be.

    A method without learning rates has one seed: it is deterministic here, or each further seed would be paid for.
    """

    name: str
    summary: str
    fit: Fit
    load: Callable[[Path], Scorer]
    learning_rates: tuple[float, ...] = ()
    cuts_texts: bool = False
    options: tuple[str, ...] = ()
    remote: bool = False
    check: Check | None = None
    stored_name: str = ""
    prepare: Callable[[Base, Setup], None] | None = None
    own_setup: Callable[[Setup], Setup] = _unchanged
    sharing: Sharing | None = None

    @property
    def by_gradient(self) -> bool:
        """Whether the method is trained by gradient steps, under the budget."""
        return bool(self.learning_rates)

    def seeds(self, seeds: Sequence[int]) -> Sequence[int]:
        """Return those of the seeds that can make a difference."""
        return seeds if self.by_gradient else seeds[:1]


def check_replaceable(folder: Path) -> None:
    """Raise ModelError where saving a classifier in `folder` would destroy what is none."""
    taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if taken and not (folder / MANIFEST).is_file():
        raise ModelError(f"{folder} exists and is no saved classifier; give another folder with --out")


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a saved classifier; raises ModelError where there is none or it is of another version."""
    path = folder / MANIFEST
    if not path.is_file():
        raise ModelError(f"{folder} holds no saved classifier ({MANIFEST}); give a folder that Loracle wrote")
    manifest = load_json(path)
    given = manifest.get("format") if isinstance(manifest, dict) else None
    if given != FORMAT or not manifest.keys() >= {"method", "label_names", "counts"}:
        raise ModelError(f"{path} has format {given}; this version of Loracle reads format {FORMAT}, whole")
    return dict(manifest)
