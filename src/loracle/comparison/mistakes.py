"""Where the methods of a finished run go wrong, text by text: the texts that one method gets wrong, those that two
methods disagree on, and those that all methods get wrong, which are the first to look at for wrong labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from loracle.comparison.finished import (
    FinishedRun,
    check_one_label,
    choose_method,
    choose_seed,
    load_data,
    load_probabilities,
    load_run,
)
from loracle.errors import ConfigError
from loracle.evaluation.metrics import predicted_classes

if TYPE_CHECKING:
    from loracle.data.loading import OnRows
    from loracle.data.task import Split

Kind = Literal["wrong", "disagree", "all wrong"]
Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What one method predicted for the test split with one seed; both arrays are (texts,)."""

    method: str
    seed: int
    predicted: Integers  # index into the label names, NO_ANSWER where there is none
    confidence: Floats  # the probability of the predicted label; 0 where there is none


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Test texts of one kind, the most confident mistake first; both arrays are (texts of this kind,)."""

    kind: Kind
    methods: tuple[str, ...]  # whose mistakes these are
    rows: Integers  # places in the test split
    confidence: Floats


@dataclass(frozen=True, kw_only=True)
class Mistakes:
    """All that is known of a run's mistakes; `test` holds the texts."""

    folder: Path
    name: str  # of the data
    method: str  # the one that was asked for
    label_names: tuple[str, ...]
    test: Split
    answers: tuple[Answers, ...]  # one a method that finished, best first
    wrong: tuple[Listing, ...]  # one a method, in the order of `answers`
    disagree: Listing | None  # None where only one method finished
    all_wrong: Listing | None  # None where fewer than two methods can be asked
    left_out: Mapping[str, str]  # methods that are not asked in `all_wrong`, and why

    @property
    def listings(self) -> tuple[Listing, ...]:
        """The lists that were asked for: those of the method, of the two, and of all."""
        own = self.wrong[self.place(self.method)]
        return tuple(item for item in (own, self.disagree, self.all_wrong) if item is not None)

    def place(self, method: str) -> int:
        """Return the place of a method in `answers` and `wrong`."""
        return [item.method for item in self.answers].index(method)


def find_mistakes(
    folder: str | Path,
    *,
    method: str | None = None,
    pair: Sequence[str] | None = None,
    seed: int | None = None,
    data: str | None = None,
    test: Path | None = None,
    on_rows: OnRows | None = None,
) -> Mistakes:
    """Read what the methods of a finished run predicted, and the texts, and list the mistakes.

    `method` is by default the one that the verdict names, `pair` that one and the best other one, `seed` of each
    method the one that is best on validation. The run stores no texts: its data is loaded again, and `data` and `test`
    say where it lies now; `on_rows` is told of the rows read. Raises RunError where the folder is no finished run or
    its data is gone or changed, and ConfigError for names and seeds that it does not have.
    """
    run = load_run(Path(folder))
    check_one_label(run, "`loracle errors`")
    chosen = choose_method(run, method)
    two = _check_pair(run, pair)
    seeds = {name: choose_seed(run, name, seed) for name in run.methods}
    task = load_data(run, data=data, test=test, on_rows=on_rows)
    answers = tuple(_read(run, name, seeds[name], len(task.test)) for name in run.methods)
    labels, left_out = task.test.labels, _left_out(run, answers)
    telling = [item for item in answers if item.method not in left_out]
    by_name = {item.method: item for item in answers}
    compared = [by_name[name] for name in two] or _default_pair(answers, telling, chosen)
    return Mistakes(
        folder=run.folder,
        name=task.name,
        method=chosen,
        label_names=task.label_names,
        test=task.test,
        answers=answers,
        wrong=tuple(list_wrong(labels, item) for item in answers),
        disagree=list_disagreements(labels, *compared) if len(compared) == 2 else None,
        all_wrong=list_all_wrong(labels, telling) if len(telling) > 1 else None,
        left_out=left_out,
    )


def list_wrong(labels: Integers, answers: Answers) -> Listing:
    """Return the texts whose label the method does not predict, by the probability that it gave its own label."""
    return _listing("wrong", [answers], answers.predicted != labels, answers.confidence)


def list_disagreements(labels: Integers, first: Answers, second: Answers) -> Listing:
    """Return the texts for which two methods predict different labels, by the surer of the wrong predictions."""
    pair = [first, second]
    wrong = np.max([np.where(item.predicted == labels, 0.0, item.confidence) for item in pair], axis=0)
    return _listing("disagree", pair, first.predicted != second.predicted, wrong)


def list_all_wrong(labels: Integers, answers: Sequence[Answers]) -> Listing:
    """Return the texts that every one of these methods gets wrong, by their mean confidence in what they predict."""
    wrong = np.all([item.predicted != labels for item in answers], axis=0)
    return _listing("all wrong", answers, wrong, np.mean([item.confidence for item in answers], axis=0))


def _listing(kind: Kind, answers: Sequence[Answers], chosen: NDArray[np.bool_], confidence: Floats) -> Listing:
    rows = np.flatnonzero(chosen)
    order = np.argsort(-confidence[rows], kind="stable")  # of equal ones the first in the data
    rows = rows[order]
    methods = tuple(item.method for item in answers)
    return Listing(kind=kind, methods=methods, rows=rows, confidence=confidence[rows])


def _check_pair(run: FinishedRun, pair: Sequence[str] | None) -> tuple[str, ...]:
    if pair is None:
        return ()
    if len(set(pair)) != 2 or len(pair) != 2:
        raise ConfigError(
            f"methods_pair is {' '.join(pair)!r}; allowed: two different methods of {', '.join(run.methods)}"
        )
    return tuple(choose_method(run, name) for name in pair)


def _read(run: FinishedRun, method: str, seed: int, texts: int) -> Answers:
    probabilities = load_probabilities(run, method, seed, texts=texts)
    return Answers(
        method=method,
        seed=seed,
        predicted=predicted_classes(probabilities),
        confidence=probabilities.max(axis=1).astype(np.float64),
    )


def _left_out(run: FinishedRun, answers: Sequence[Answers]) -> dict[str, str]:
    """Return the methods whose mistakes say nothing about a text: one label for all, or too few answers for a rank."""
    constant = {item.method: "one label for all texts" for item in answers if np.ptp(item.predicted) == 0}
    return constant | {name: "no rank" for name in run.methods if run.summary(name).unranked}


def _default_pair(answers: Sequence[Answers], telling: Sequence[Answers], chosen: str) -> list[Answers]:
    """Return the method asked for and the best other one, if possible one that tells texts apart."""
    own = [item for item in answers if item.method == chosen]
    others = [item for item in (*telling, *answers) if item.method != chosen]
    return own + others[:1]
