"""A language model behind an API: asked with the label names alone (`llm`), or with examples besides (`llm-few`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from loracle.errors import ConfigError, FileError, ModelError
from loracle.files import load_json, save_json
from loracle.methods.method import Classifier, Fitted, Method, Setup
from loracle.models.counting import Counts
from loracle.prompting.asking import ask, require_model, require_price
from loracle.prompting.checking import check
from loracle.prompting.config import LLMConfig
from loracle.prompting.prices import Price, find_price
from loracle.prompting.prompt import Example, Prompt, check_labels, cut, write_instructions
from loracle.prompting.receipt import Receipt
from loracle.prompting.server import find_server

if TYPE_CHECKING:
    from loracle.data.task import Task
    from loracle.training.fitting import OnStep

_FILE = "llm.json"
_KEYS = ("prompt", "settings", "price")


class LLMScorer:
    """A prompt, and how it is asked; nothing is asked before `predict_proba`.

    `receipt` says what became of each text of the last `predict_proba`, and what it took.
    """

    def __init__(self, prompt: Prompt, config: LLMConfig, price: Price | None) -> None:
        require_price(config, price)
        self.prompt, self.config, self.price = prompt, config, price
        self.receipt: Receipt | None = None
        self._spent_before = config.purse.spent

    @property
    def spent(self) -> float | None:
        """What was spent since this scorer was made, calls under way not counted; None where no price is known."""
        return self.config.purse.spent - self._spent_before if self.price else None

    def predict_proba(self, texts: Sequence[str], on_step: OnStep | None = None) -> np.ndarray:
        """Return float32 (texts, classes): 1 for the label that was answered, and all 0 where there is no answer.

        Raises a LoracleError where the budget ends or the server fails; answers that came until then are kept.
        """

        def on_done(count: int) -> None:
            if on_step:
                on_step(count, None)

        answers, self.receipt = ask(texts, self.prompt, self.config, price=self.price, on_done=on_done)
        columns = {name: column for column, name in enumerate(self.prompt.label_names)}
        probabilities = np.zeros((len(texts), len(columns)), np.float32)
        for row, answer in enumerate(answers):
            if answer.label is not None:
                probabilities[row, columns[answer.label]] = 1
        return probabilities

    def save(self, folder: Path) -> None:
        """Write the prompt, the settings with the server's address, and the price; the key is not among them."""
        settings = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(self.config).items()}
        settings["llm_base_url"] = find_server(self.config).base_url  # the environment may be another when it is loaded
        price = asdict(self.price) if self.price else None
        save_json(folder / _FILE, {"prompt": asdict(self.prompt), "settings": settings, "price": price})


def fit_llm(
    task: Task,
    setup: Setup,
    *,
    seed: int,  # noqa: ARG001
    learning_rate: float | None = None,  # noqa: ARG001
    on_step: OnStep | None = None,  # noqa: ARG001
) -> Fitted:
    """Write the prompt; nothing is asked, so that there are no metrics on the validation split."""
    return _fit("llm", _write_prompt(task), setup.llm)


def fit_llm_few(
    task: Task,
    setup: Setup,
    *,
    seed: int,
    learning_rate: float | None = None,  # noqa: ARG001
    on_step: OnStep | None = None,  # noqa: ARG001
) -> Fitted:
    """Write the prompt with examples of the training split; nothing is asked."""
    prompt = _write_prompt(task)
    return _fit("llm-few", replace(prompt, examples=draw_examples(task, setup.llm, seed=seed)), setup.llm)


def draw_examples(task: Task, config: LLMConfig, *, seed: int) -> tuple[Example, ...]:
    """Return `llm_examples` texts of the training split, cut as all texts are: each label in turn, in random order."""
    draw = np.random.default_rng(seed)
    rows = draw.permutation(len(task.train))
    labels = task.train.labels[rows]
    turns = np.empty(len(rows), np.int64)  # how many texts of the same label stand before each
    for label in range(len(task.label_names)):
        own = np.flatnonzero(labels == label)
        turns[own] = np.arange(len(own))
    places = draw.permutation(len(task.label_names))[labels]
    chosen = rows[np.lexsort((places, turns))[: config.llm_examples]].tolist()
    return tuple(
        Example(
            text=cut(task.train.texts[row], keep=config.llm_keep, characters=config.llm_characters),
            label=task.label_names[task.train.labels[row]],
        )
        for row in chosen
    )


def _write_prompt(task: Task) -> Prompt:
    if task.multi_label:
        raise ConfigError(
            "llm and llm-few ask for one label a text, and a text of these data may have several; leave them out"
        )
    check_labels(task.label_names)
    return Prompt(instructions=write_instructions(task.label_column, task.label_names), label_names=task.label_names)


def _fit(method: str, prompt: Prompt, config: LLMConfig) -> Fitted:
    price = find_price(require_model(config), find_server(config).base_url, config.llm_prices)
    scorer = LLMScorer(prompt, config, price)
    classifier = Classifier(method=method, label_names=prompt.label_names, scorer=scorer, counts=Counts())
    return Fitted(classifier=classifier, validation_metrics={})


def _check(task: Task, setup: Setup) -> None:
    check(_write_prompt(task), setup.llm)


def _load(folder: Path) -> LLMScorer:
    path = folder / _FILE
    saved = load_json(path, keys=_KEYS)
    _check_trusted(folder, saved["settings"])
    try:
        return LLMScorer(_parse_prompt(saved["prompt"]), LLMConfig(**saved["settings"]), _parse_price(saved["price"]))
    except (KeyError, TypeError) as error:
        raise FileError(f"{path} is not what this version of Loracle writes ({error}); train it again") from error


def _check_trusted(folder: Path, settings: Any) -> None:
    """Refuse an address that the user did not name: the key and all texts would go to whoever wrote the folder."""
    asked = settings.get("llm_base_url") if isinstance(settings, dict) else None
    if asked is not None and asked != find_server(LLMConfig()).base_url:
        raise ModelError(
            f"the classifier in {folder} asks {asked}; set OPENAI_BASE_URL to this address if your texts and your key "
            "may go there"
        )


def _parse_prompt(saved: dict[str, Any]) -> Prompt:
    return Prompt(
        instructions=saved["instructions"],
        label_names=tuple(saved["label_names"]),
        examples=tuple(Example(**example) for example in saved["examples"]),
    )


def _parse_price(saved: dict[str, Any] | None) -> Price | None:
    return Price(**saved) if saved is not None else None


LLM = Method(
    name="llm",
    summary="a language model behind an API, told the label names",
    fit=fit_llm,
    load=_load,
    remote=True,
    check=_check,
)
LLM_FEW = Method(
    name="llm-few",
    summary="a language model behind an API, shown a few examples besides",
    fit=fit_llm_few,
    load=_load,
    remote=True,
    check=_check,
)
