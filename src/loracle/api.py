"""What a person calls: compare methods, train one, load what was shipped. `loracle.<name>` is each of these."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loracle.comparison import running
from loracle.comparison.mistakes import find_mistakes
from loracle.comparison.passes import Passes, Run
from loracle.comparison.plan import Plan
from loracle.comparison.result import Comparison, load_comparison
from loracle.comparison.searching import Found, check_metric, learning_rates_to_try, search
from loracle.comparison.side_by_side import compare_runs
from loracle.data.loading import load_task
from loracle.data.writing import save_task
from loracle.errors import ConfigError, ModelError, RunError
from loracle.lora.config import LoRAConfig
from loracle.methods.method import MANIFEST, Classifier, Method, Setup
from loracle.methods.naming import base_precision_of, plain_name
from loracle.methods.registry import METHODS, find_methods, load_classifier
from loracle.models.networks import NetworkConfig
from loracle.prompting.config import LLMConfig
from loracle.reporting import check_description_output, write_description, write_report
from loracle.training.budget import Budget

if TYPE_CHECKING:
    from loracle.comparison.watching import Watch
    from loracle.data.task import Task
    from loracle.inspection.description import Description
    from loracle.inspection.measuring import OnProgress
    from loracle.planning.forecast import Forecast
    from loracle.planning.forecasting import OnMethod
    from loracle.training.fitting import OnStep

__all__ = [
    "Budget",
    "LoRAConfig",
    "compare",
    "compare_runs",
    "describe",
    "find_mistakes",
    "load_model",
    "load_task",
    "plan",
    "save_task",
    "train",
    "write_report",
]

DEFAULT_METHODS = ("majority", "tfidf", "probe", "lora", "full")
_SEEDS = 2**32  # as many as numpy and scikit-learn take


def compare(
    task: Task,
    *,
    methods: Sequence[str] = DEFAULT_METHODS,
    model: str = "minilm",
    base_precision: str = "full",
    seeds: int = 3,
    margin: float = 0.01,
    cost_texts: int = 100_000,
    together: int = 0,
    budget: Budget | None = None,
    lora: LoRAConfig | None = None,
    networks: NetworkConfig | None = None,
    llm: LLMConfig | None = None,
    out: str | Path | None = None,
    watch: Watch | None = None,
) -> Comparison:
    """Fit every method with every seed, decide which is the cheapest that is not worse, and write the report.

    `out` is the run's folder (default runs/<task name>); a run that was begun there is continued, and may then have
    more methods or seeds, another margin, cost_texts or together, and another way to pay and wait for a language model,
    but nothing else changed. `margin` is the share of the deciding metric that does not matter, `together` how many
    LoRA fits share a pass, at most (0 chooses). Raises ConfigError for an unknown name or value, RunError where `out`
    holds something else.

    >>> import loracle
    >>> task = loracle.load_task()                                              # the embedded complaints
    >>> run = loracle.compare(task, methods=["majority", "tfidf"], out=getfixture("tmp_path"))
    >>> run.verdict.method
    'tfidf'
    """
    setup = _setup(model, base_precision, budget, lora, networks, llm)
    plan = Plan(seeds=seeds, margin=margin, cost_texts=cost_texts, together=together)
    folder = Path(out) if out is not None else default_folder(task)
    comparison = running.run(task, find_methods(methods), setup, plan, folder=folder, watch=watch)
    write_report(folder)
    return comparison


def describe(
    task: Task,
    *,
    model: str = "minilm",
    max_length: int = 128,
    near_threshold: float = 0.8,
    out: str | Path | None = None,
    on_progress: OnProgress | None = None,
) -> Description:
    """Look at the data before training: classes, lengths, duplicates, suspicious characters, and what to do.

    Lengths are those in tokens of the base model. `out` is where a page (.html) or the values (.json) are written.
    Raises ConfigError for a value that cannot be, and ModelError where the base model's tokenizer cannot be loaded.

    >>> import loracle
    >>> found = loracle.describe(loracle.load_task(), max_length=64)
    >>> found.findings[0]
    '38 % of the texts are cut at 64 tokens: --max-length 128 cuts 0.1 %.'
    """
    from loracle.inspection import describing  # datasketch brings half a second of imports

    if out is not None:
        check_description_output(Path(out))
    found = describing.describe(
        task, model=model, max_length=max_length, near_threshold=near_threshold, on_progress=on_progress
    )
    if out is not None:
        write_description(found, out)
    return found


def plan(
    model: str = "minilm",
    *,
    labels: int = 2,
    methods: Sequence[str] = (),
    memory: str | None = None,
    probe: bool = False,
    budget: Budget | None = None,
    lora: LoRAConfig | None = None,
    networks: NetworkConfig | None = None,
    on_method: OnMethod | None = None,
) -> Forecast:
    """Say what training a base model would take, method by method; nothing is downloaded but a config.json, at most.

    `model` may be a config.json too, or the name of shipped sizes; `memory` is written as "24GB" (default: that of this
    machine); `probe` times three real steps with random weights. Raises ConfigError or ModelError for what cannot be.

    >>> import loracle
    >>> plan = loracle.plan("distilroberta-base", methods=["lora"], memory="24GB")
    >>> plan.find("lora").counts.adapter, plan.find("lora").counts.head
    (147456, 592130)
    """
    from loracle.planning import forecasting

    setup = _setup(model, "full", budget, lora, networks, None)
    return forecasting.forecast(setup, labels=labels, methods=methods, memory=memory, probe=probe, on_method=on_method)


def train(
    task: Task,
    *,
    method: str = "lora",
    model: str = "minilm",
    base_precision: str = "full",
    learning_rate: float | None = None,
    seed: int = 0,
    together: int = 0,
    budget: Budget | None = None,
    lora: LoRAConfig | None = None,
    networks: NetworkConfig | None = None,
    llm: LLMConfig | None = None,
    on_step: OnStep | None = None,
) -> Found:
    """Fit one method with one seed, and return the fit with what it cost; the test split is not touched.

    Without a learning rate, as many as the budget says are tried on the validation split, `together` of them at most in
    one pass where the method is LoRA. Raises ConfigError for a base precision or a loss that the method does not read.

    >>> import loracle
    >>> found = loracle.train(loracle.load_task(), method="tfidf")
    >>> found.fitted.classifier.predict(["They call me at work about a debt that I never owed."])
    ['debt collection']
    """
    chosen, plan = find_method(method), Plan(together=together)
    setup = _setup(model, base_precision, budget, lora, networks, llm)
    if not 0 <= seed < _SEEDS:
        raise ConfigError(f"seed is {seed}; allowed: a whole number from 0 to {_SEEDS - 1}")
    if learning_rate is not None and not chosen.by_gradient:
        raise ConfigError(f"method {method!r} has no learning rate; leave --learning-rate out")
    _check_read(chosen, setup)
    check_metric(task, setup.budget)
    if chosen.check:
        chosen.check(task, setup)
    rates = (learning_rate,) if learning_rate is not None else learning_rates_to_try(chosen, setup)
    passes = Passes([Run(chosen, seed, rates)], task, setup, together=plan.together, on_step=on_step)
    return search(chosen, task, setup, seed=seed, learning_rates=rates, on_step=on_step, passes=passes)


def _check_read(method: Method, setup: Setup) -> None:
    """Raise ConfigError for an option that was given and that the method, trained alone, would not read."""
    default, weighted = Budget(), method.by_gradient or plain_name(method.name) in ("tfidf", "probe")
    unread = {
        "base_precision": setup.base_precision != "full" and base_precision_of(method, setup) is None,
        "loss": setup.budget.loss != default.loss and not method.by_gradient,
        "label_smoothing": setup.budget.label_smoothing != default.label_smoothing and not method.by_gradient,
        "class_weights": setup.budget.class_weights != default.class_weights and not weighted,
    }
    given = [f"--{name.replace('_', '-')}" for name, ignored in unread.items() if ignored]
    if given:
        them = "it" if len(given) == 1 else "them"
        raise ConfigError(f"method {method.name!r} does not read {' and '.join(given)}; leave {them} out")


def _setup(
    model: str,
    base_precision: str,
    budget: Budget | None,
    lora: LoRAConfig | None,
    networks: NetworkConfig | None,
    llm: LLMConfig | None,
) -> Setup:
    return Setup(
        model=model,
        base_precision=base_precision,
        budget=budget or Budget(),
        lora=lora or LoRAConfig(),
        networks=networks or NetworkConfig(),
        llm=llm or LLMConfig(),
    )


def find_method(name: str) -> Method:
    """Return the one method of this name; raises ConfigError where it names none, or several."""
    chosen = find_methods([name])
    if len(chosen) > 1:
        raise ConfigError(f"method is {name!r}; allowed: one of {', '.join(METHODS)} (`compare` takes several)")
    return chosen[0]


def load_model(folder: str | Path) -> Classifier:
    """Load a saved classifier, or of a run's folder the one that its verdict names.

    Raises ModelError or RunError where the folder holds neither.

    >>> import loracle
    >>> folder = getfixture("tmp_path")
    >>> run = loracle.compare(loracle.load_task(), methods=["majority", "tfidf"], out=folder)
    >>> loracle.load_model(folder).predict(["They repossessed my car two days after I paid."])
    ['vehicle loan or lease']
    """
    folder = Path(folder)
    if folder.is_file():
        raise ModelError(f"{folder} is a file; give the folder of a run or of a saved classifier first, then the texts")
    if not folder.is_dir():
        raise ModelError(f"no such folder: {folder}; give a run's folder or one that `loracle train` wrote")
    if (folder / MANIFEST).is_file():
        return load_classifier(folder)
    if not (folder / "comparison.json").is_file() and not (folder / "run.toml").is_file():
        raise ModelError(f"{folder} holds no classifier; give a run's folder or one that `loracle train` wrote")
    verdict = load_comparison(folder).verdict
    if verdict is None:
        raise RunError(f"no method finished in {folder}, so its verdict names none")
    return load_classifier(folder / "models" / verdict.method)


def default_page(task: Task) -> Path:
    """Return runs/<task name>-description.html, beside where a run goes, since a run claims its folder for itself."""
    return default_folder(task).with_name(f"{task.name}-description.html")


def default_folder(task: Task) -> Path:
    """Return runs/<task name>, where a run goes when nobody says."""
    return Path("runs") / task.name
