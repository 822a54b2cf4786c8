"""The nouns of a finished comparison, as they stand in `results/*.json` and `comparison.json`.

A `Comparison` holds all that a report shows, so that a report can be made again at any time without the data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from loracle.errors import RunError
from loracle.evaluation.uncertainty import Interval
from loracle.models.counting import Counts

MOST_LOST = 0.01  # share of texts that a server may leave unanswered before the method loses its rank


@dataclass(frozen=True, kw_only=True)
class Result:
    """One method with one seed. A run that failed carries its `error` and no metrics."""

    method: str
    seed: int
    error: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)  # accuracy, macro_f1, mcc, log_loss, ece; as `measure`
    validation_metrics: Mapping[str, float] = field(default_factory=dict)
    thresholds: tuple[float, ...] | None = None  # one a label, of validation, where a text may have several labels
    counts: Counts = field(default_factory=Counts)
    learning_rate: float | None = None
    search: tuple[Mapping[str, Any], ...] = ()  # one {setting, value, accuracy, chosen or error} per try
    history: tuple[Mapping[str, float], ...] = ()  # one {epoch, train_loss, validation_loss, ...} per epoch
    training_seconds: float = 0.0  # this fit alone
    search_seconds: float = 0.0  # all fits that chose the setting, this one included
    fits_in_pass: int = 1  # this fit among them; it counts with its share of the pass's seconds, and all of its memory
    scoring_seconds_per_1000: float = 0.0
    peak_memory_bytes: int = 0  # growth of the process during the fit
    peak_gpu_memory_bytes: int = 0
    predicted_peak_memory_bytes: int = 0  # what the plan says, for texts of the full length; 0 where it says nothing
    bytes_on_disk: int = 0
    answers: Mapping[str, Any] | None = None  # of a language model: outcomes, tokens, cost, ...
    configuration: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether this run ended in an error."""
        return self.error is not None

    @property
    def unranked(self) -> str | None:
        """Why this run has no rank: too many texts were left without an answer of the server; else None."""
        if self.answers is None:
            return None
        lost, texts = self.answers["outcomes"]["api_error"], self.answers["texts"]
        if lost <= MOST_LOST * texts:
            return None
        return f"{lost / texts:.1%} of the texts got no answer from the server ({self.answers.get('last_error')})"


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One method over its seeds, measured on the test split. A method that failed has only its `error`."""

    method: str
    seeds: int
    error: str | None = None
    metrics: Mapping[str, Interval] = field(default_factory=dict)
    seed_spread: float = 0.0  # largest minus smallest test accuracy over seeds, of several labels a text micro-F1
    counts: Counts = field(default_factory=Counts)
    training_seconds: float = 0.0  # median of one fit
    search_seconds: float = 0.0
    scoring_seconds_per_1000: float = 0.0
    peak_memory_bytes: int = 0
    peak_gpu_memory_bytes: int = 0
    predicted_peak_memory_bytes: int = 0
    bytes_on_disk: int = 0
    cost_seconds: float = 0.0  # search, then scoring the volume of texts named in the ledger
    # label, precision, recall, f1, support, of several labels a text threshold; mean over seeds
    per_class: tuple[Mapping[str, Any], ...] = ()
    # rows: true label, columns: predicted; best validation seed; none of several labels a text
    confusion: tuple[tuple[int, ...], ...] = ()
    answers: Mapping[str, Any] | None = None  # as in its Result
    unranked: str | None = None  # why it takes no part in the tests and the verdict
    histories: Mapping[str, tuple[Mapping[str, float], ...]] = field(default_factory=dict)  # by seed


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two methods on the same test texts: `first` minus `second`."""

    first: str
    second: str
    difference: Interval  # of the deciding metric, over texts and seeds
    p: float  # McNemar's mid-p for the accuracy of one model each, else of the difference over texts and seeds
    p_holm: float  # corrected over all pairs


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What to ship. `kind` is 'cheapest', 'tie' or 'undecided'."""

    kind: str
    method: str  # the one to ship; for 'undecided' the cheapest not shown to be worse than the best
    among: tuple[str, ...]  # not worse (cheapest), of equal cost too (tie), not told apart (undecided); by cost
    best: str  # highest on the deciding metric
    metric: str
    margin: float
    sentence: str
    smallest_detectable_difference: float  # in the metric, 80 % power; 0 when there is one method
    texts_needed: int | None  # test texts that would settle what is open; None when nothing is, or texts alone cannot

    def __str__(self) -> str:
        """Return the sentence."""
        return self.sentence


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All results, the paired tests and the verdict."""

    name: str
    task: Mapping[str, Any]  # name, source, label_names, rows and hash per split, label counts, notes
    ledger: Mapping[str, Any]  # budget, seeds, machine, versions, precision, what was equal for all
    results: tuple[Result, ...]
    summaries: tuple[Summary, ...]  # best first
    pairs: tuple[Pair, ...]
    verdict: Verdict | None  # None when no method finished

    def to_json(self) -> str:
        """Return the text of `comparison.json`."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse the text of `comparison.json`; raises RunError where it is not one."""
        try:
            raw = json.loads(text)
            return cls(
                name=raw["name"],
                task=raw["task"],
                ledger=raw["ledger"],
                results=tuple(parse_result(item) for item in raw["results"]),
                summaries=tuple(_parse_summary(item) for item in raw["summaries"]),
                pairs=tuple(Pair(**{**item, "difference": Interval(**item["difference"])}) for item in raw["pairs"]),
                verdict=_parse_verdict(raw["verdict"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"not a comparison.json of this version of Loracle: {error}") from error


def parse_result(raw: Mapping[str, Any]) -> Result:
    """Turn one parsed `results/*.json` into a Result; an unknown key is a TypeError."""
    return Result(**_tuples({**raw, "counts": Counts(**raw["counts"])}))


def load_comparison(folder: Path) -> Comparison:
    """Read `comparison.json` of a run folder; raises RunError where there is none."""
    path = folder / "comparison.json"
    if not folder.exists():
        raise RunError(f"no such folder: {folder}; give the folder that `loracle compare --out` wrote")
    if not path.is_file() and (folder / "run.toml").is_file():
        raise RunError(
            f"the run in {folder} is not finished; `loracle compare --config {folder / 'run.toml'} --out {folder}` "
            "continues it"
        )
    if not path.is_file():
        raise RunError(f"{folder} holds no comparison.json; give the folder that `loracle compare --out` wrote")
    try:
        return Comparison.from_json(path.read_text(encoding="utf-8"))
    except (RunError, UnicodeDecodeError) as error:
        raise RunError(
            f"{path} cannot be read ({error}); `loracle compare` with the same options makes it again"
        ) from error


def _parse_summary(raw: Mapping[str, Any]) -> Summary:
    metrics = {name: Interval(**item) for name, item in raw["metrics"].items()}
    confusion = tuple(tuple(row) for row in raw["confusion"])
    parsed = {**raw, "counts": Counts(**raw["counts"]), "metrics": metrics, "confusion": confusion}
    return Summary(**_tuples(parsed))


def _parse_verdict(raw: Mapping[str, Any] | None) -> Verdict | None:
    return None if raw is None else Verdict(**_tuples(dict(raw)))


def _tuples(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(item) if isinstance(item, list) else item for name, item in raw.items()}
