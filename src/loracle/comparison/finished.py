"""A finished run, read again: its comparison, its options, what a method predicted, and the data it was made of."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from loracle.comparison.folder import RunFolder
from loracle.comparison.result import Comparison, Result, Summary, load_comparison
from loracle.data.loading import load_task
from loracle.errors import ConfigError, LoracleError, RunError, unknown
from loracle.evaluation.metrics import preference

if TYPE_CHECKING:
    from loracle.data.loading import OnRows
    from loracle.data.task import Task


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A run's folder with its comparison and its options (run.toml)."""

    folder: Path
    comparison: Comparison
    options: Mapping[str, Any]

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that finished, best first."""
        return tuple(summary.method for summary in self.comparison.summaries if summary.error is None)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The label names, in the order of the probabilities' columns."""
        return tuple(map(str, self.comparison.task["label_names"]))

    @property
    def multi_label(self) -> bool:
        """Whether a text may have several labels."""
        return bool(self.comparison.task.get("multi_label", False))

    @property
    def test_hash(self) -> str:
        """The hash of the test split's texts and labels."""
        return str(self.comparison.ledger["splits"]["test"])

    def summary(self, method: str) -> Summary:
        """Return what the run measured of one of `methods`."""
        return next(summary for summary in self.comparison.summaries if summary.method == method)

    def results(self, method: str) -> tuple[Result, ...]:
        """Return the results of a method that finished, by seed."""
        found = (result for result in self.comparison.results if result.method == method)
        return tuple(sorted(found, key=lambda result: result.seed))


def load_run(folder: Path) -> FinishedRun:
    """Read a finished run; RunError where the folder holds none, or one that is not finished or broken."""
    comparison = load_comparison(folder)
    run = FinishedRun(folder=folder, comparison=comparison, options=_load_options(folder))
    try:
        _ = run.test_hash, run.label_names
    except (KeyError, TypeError) as error:
        raise RunError(
            f"{folder / 'comparison.json'} does not name its test split; `loracle compare` makes it again"
        ) from error
    return run


def check_one_label(run: FinishedRun, what: str) -> None:
    """Raise RunError where a text of the run's data may have several labels, which `what` cannot show."""
    if run.multi_label:
        raise RunError(
            f"a text of {run.folder} may have several labels, and {what} reads runs with one label a text; "
            "its report.html has precision, recall and F1 of each label"
        )


def choose_method(run: FinishedRun, name: str | None = None) -> str:
    """Return the name of a method that finished in the run, by default the one that the verdict names.

    Raises ConfigError for a name that the run does not have, RunError for a method that failed there.
    """
    verdict = run.comparison.verdict
    if not run.methods:
        raise RunError(f"no method finished in {run.folder}, so there is nothing to look at")
    if verdict is None and name is None:
        raise RunError(f"the verdict of {run.folder} names no method; name one of {', '.join(run.methods)}")
    chosen = name or (verdict.method if verdict else "")
    summary = next((item for item in run.comparison.summaries if item.method == chosen), None)
    if summary is None:
        raise unknown(f"method of {run.folder}:", chosen, (item.method for item in run.comparison.summaries))
    if summary.error is not None:
        raise RunError(
            f"method {chosen!r} failed in {run.folder} ({summary.error}); finished there: {', '.join(run.methods)}"
        )
    return chosen


def choose_seed(run: FinishedRun, method: str, seed: int | None = None) -> int:
    """Return the seed of a method to look at: the one given, else the one that is best on validation.

    A method without chance has one seed, which stands for all. Raises ConfigError for a seed that the run lacks.
    """
    results = run.results(method)
    known = sorted({result.seed for name in run.methods for result in run.results(name)})
    if seed is not None and seed not in known:
        raise ConfigError(f"seed is {seed}; allowed, as in {run.folder}: {', '.join(map(str, known))}")
    if len(results) == 1:
        return results[0].seed  # a language model has no metrics on validation
    if seed is not None:
        return seed
    metric = run.comparison.ledger["budget"]["metric"]
    return max(results, key=lambda result: preference(result.validation_metrics, metric)).seed


def load_probabilities(run: FinishedRun, method: str, seed: int, *, texts: int) -> np.ndarray:
    """Return the stored probabilities, float32 (texts, classes); RunError where they do not fit the run."""
    found = RunFolder(run.folder).load_predictions(method, seed)
    shape = (texts, len(run.label_names))
    if found.shape != shape:
        raise RunError(
            f"the predictions of {method}, seed {seed}, in {run.folder} are {found.shape} instead of {shape}; "
            "delete them, and `loracle compare` makes them again"
        )
    return found


def load_labels(run: FinishedRun, method: str, seed: int) -> np.ndarray:
    """Return the test labels that are stored with the predictions, int64 (texts,); RunError where they are broken."""
    return RunFolder(run.folder).load_labels(method, seed, run.label_names)


def load_data(
    run: FinishedRun, *, data: str | None = None, test: Path | None = None, on_rows: OnRows | None = None
) -> Task:
    """Load the run's data again, with the options that it was made with.

    `data` and `test` name it where it does not lie any more where it did. Raises RunError where it is gone, or where
    its test split or labels are not those of the run.
    """
    known = set(inspect.signature(load_task).parameters) - {"on_rows"}
    options = {key: value for key, value in run.options.items() if key in known}
    options |= {key: value for key, value in (("data", data), ("test", test)) if value is not None}
    try:
        task = load_task(**options, on_rows=on_rows)
    except LoracleError as error:
        raise RunError(f"the data of {run.folder} cannot be loaded again: {error} (--data names it)") from error
    if task.test.hash != run.test_hash:
        raise RunError(
            f"{task.source} is not the data of {run.folder} any more: the hash of its test split is {task.test.hash}, "
            f"the run's {run.test_hash}; name the data as it was with --data"
        )
    if task.label_names != run.label_names:
        raise RunError(
            f"{task.source} is not the data of {run.folder} any more: its labels are {', '.join(task.label_names)}, "
            f"the run's {', '.join(run.label_names)}; name the data as it was with --data"
        )
    return task


def _load_options(folder: Path) -> dict[str, Any]:
    path = folder / "run.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RunError(f"{path} cannot be read ({error}); `loracle compare` writes it again") from error
