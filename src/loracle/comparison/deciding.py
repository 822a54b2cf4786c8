"""Which method to ship: the cheapest that is shown to be not worse than any other, by a margin.

"Not worse" is non-inferiority. A method qualifies when the lower bounds of its differences with *every* other
method lie above minus the margin. The truly best one is among those others, whichever it is, so choosing the
best on the same texts costs nothing (an intersection-union test; Berger 1982, Hsu 1984). The bounds share one level
(`simultaneous_level`): 2.5 % one-sided for two methods, less for more, so that a method that is truly worse than the
truly best by more than the margin is named in at most 5 % of test sets, however many are compared. The joint level
is set to 4 %: what is left is for the normal approximation and for seeds, of which there are few.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loracle.comparison.result import Pair, Verdict
from loracle.errors import ConfigError
from loracle.evaluation.statistics import (
    holm,
    mcnemar,
    simultaneous_level,
    smallest_detectable_difference,
    texts_needed,
)
from loracle.evaluation.uncertainty import Contrast, Interval, MetricName, Runs

JOINT_LEVEL = 0.04
TIE = 1.25  # costs within this factor are the same: as far as one measurement on a shared machine tells


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One method's test predictions, int (seeds, texts), and what it costs to train and to score.

    Where a text may have several labels predictions are 0 and 1, (seeds, texts, classes), as labels are.
    """

    method: str
    predicted: NDArray[Any]
    cost_seconds: float


def decide(
    labels: NDArray[Any],
    candidates: Sequence[Candidate],
    *,
    margin: float = 0.01,
    metric: MetricName = "accuracy",
    seed: int = 0,
) -> tuple[tuple[Pair, ...], Verdict]:
    """Compare all pairs and name the cheapest method that is not worse than any other by `margin`.

    `labels` are int (texts,); the margin is a difference of the metric (0.01 is one point). Kinds of verdict:
    "cheapest"; "tie" when several qualify at costs within a factor of 1.25 (the one that scores highest is named);
    "undecided" when none qualifies (the cheapest that is not shown to be worse than the best is named,
    provisionally). Raises ConfigError for a margin outside 0 .. 1 or an unknown metric, ValueError for
    predictions that do not fit the labels, no candidates, or two of one name.

    The p-value of a pair is McNemar's mid-p where both have one model and the metric is accuracy. With several
    seeds it is that of the difference over texts and seeds: McNemar on one seed would leave out the others, and on
    a majority vote it would test an ensemble that nobody ships; both would call a lucky seed a better method.
    """
    labels = np.asarray(labels)
    _check(labels, candidates, margin)
    field = _Field(labels, [_chance_free(candidate) for candidate in candidates], margin, metric, seed)
    return _pairs(field), _verdict(field)


class _Field:
    """All candidates measured on the same texts; methods are known by their place in `candidates`."""

    def __init__(
        self,
        labels: NDArray[Any],
        candidates: Sequence[Candidate],
        margin: float,
        metric: MetricName,
        seed: int,
    ) -> None:
        self.labels, self.candidates, self.margin, self.metric = labels, candidates, margin, metric
        self.runs = Runs.of(labels, np.concatenate([c.predicted for c in candidates]), metric, seed=seed)
        ends = np.cumsum([len(c.predicted) for c in candidates])
        self.rows = [range(end - len(c.predicted), end) for end, c in zip(ends, candidates, strict=True)]
        self.values = [float(self.runs.values[rows].mean()) for rows in self.rows]
        self.by_cost = sorted(range(len(candidates)), key=lambda i: (self.cost(i), -self.values[i]))
        self.best = max(self.by_cost, key=lambda i: round(self.values[i], 12))
        self._contrasts: dict[tuple[int, int], Contrast] = {}

    def name(self, i: int) -> str:
        return self.candidates[i].method

    def cost(self, i: int) -> float:
        return self.candidates[i].cost_seconds

    def contrast(self, i: int, k: int) -> Contrast:
        """Method i minus method k."""
        if (i, k) not in self._contrasts:
            self._contrasts[i, k] = self.runs.contrast(self.rows[i], self.rows[k])
        return self._contrasts[i, k]

    @cached_property
    def level(self) -> float:
        """The two-sided level of every bound; 5 % or less."""
        means = np.zeros((len(self.rows), len(self.runs.values)))
        for i, rows in enumerate(self.rows):
            means[i, list(rows)] = 1 / len(rows)
        seeds = [self.runs.contrast(rows).seed_variance for rows in self.rows]
        covariance = means @ self.runs.covariance @ means.T + np.diag(seeds)
        return 2 * min(0.025, simultaneous_level(covariance, level=JOINT_LEVEL))

    def not_worse(self, i: int) -> bool:
        """Whether i is shown to lie within the margin of every other method."""
        others = (k for k in self.by_cost if k != i)
        return all(self.contrast(i, k).above(-self.margin, self.level) for k in others)

    def worse(self, i: int) -> bool:
        """Whether i is shown to be worse than the best."""
        return i != self.best and self.contrast(i, self.best).interval(self.level).high < 0

    def detectable(self, open_methods: Sequence[int]) -> float:
        """The largest of the smallest detectable differences between the best and these."""
        texts = len(self.labels)
        found = [
            smallest_detectable_difference(
                contrast.text_variance * texts, texts, seed_variance=contrast.seed_variance, level=self.level
            )
            for contrast in (self.contrast(i, self.best) for i in open_methods if i != self.best)
        ]
        return max(found, default=0.0)

    def needed(self, open_methods: Sequence[int]) -> int | None:
        """Test texts that would settle all of these against the best; None where texts alone cannot."""
        counts = [self._needed(self.contrast(i, self.best)) for i in open_methods if i != self.best]
        known = [count for count in counts if count is not None]
        return max(known) if known and len(known) == len(counts) else None

    def seeds_short(self, open_methods: Sequence[int]) -> bool:
        """Whether the seeds of some of these differ so much that texts alone cannot settle them."""
        others = [self.contrast(i, self.best) for i in open_methods if i != self.best]
        return any(self._texts(c, self.margin, c.seed_variance) is None for c in others)

    def _needed(self, contrast: Contrast) -> int | None:
        """Texts to find a difference of the margin; where there are as many, of what the observed one leaves."""
        left = min(self.margin, max(abs(contrast.value), self.margin - abs(contrast.value)))
        tries = ((self.margin, contrast.seed_variance), (self.margin, 0.0), (left, contrast.seed_variance))
        found = (self._texts(contrast, gap, variance) for gap, variance in tries)
        return next((count for count in found if count is not None and count > len(self.labels)), None)

    def _texts(self, contrast: Contrast, gap: float, seed_variance: float) -> int | None:
        gap = gap or abs(contrast.value)
        discordance = contrast.text_variance * len(self.labels)
        return texts_needed(discordance, gap, seed_variance=seed_variance, level=self.level)


def _check(labels: NDArray[Any], candidates: Sequence[Candidate], margin: float) -> None:
    if not 0 <= margin < 1:
        raise ConfigError(f"margin {margin} is not in 0 .. 1; one point is 0.01")
    if not candidates or len({c.method for c in candidates}) < len(candidates):
        raise ValueError(f"need candidates of different names, got {[c.method for c in candidates]}")
    for c in candidates:
        if c.predicted.ndim != labels.ndim + 1 or c.predicted.shape[1:] != labels.shape or not c.predicted.size:
            raise ValueError(f"{c.method}: predicted {c.predicted.shape} must be (seeds, texts), labels {labels.shape}")


def _chance_free(candidate: Candidate) -> Candidate:
    """Keep one row of a method whose seeds all predict the same."""
    rows = candidate.predicted
    if (rows == rows[0]).all():
        rows = rows[:1]
    return Candidate(method=candidate.method, predicted=rows, cost_seconds=candidate.cost_seconds)


def _pairs(field: _Field) -> tuple[Pair, ...]:
    places = list(itertools.combinations(range(len(field.candidates)), 2))
    p_values = [_p(field, i, k) for i, k in places]
    return tuple(
        Pair(
            first=field.name(i),
            second=field.name(k),
            difference=_clipped(field.contrast(i, k).interval()),
            p=p,
            p_holm=corrected,
        )
        for (i, k), p, corrected in zip(places, p_values, holm(p_values), strict=True)
    )


def _clipped(difference: Interval) -> Interval:
    """Keep the interval of a difference of two shares within what is possible."""
    return Interval(value=difference.value, low=max(-1.0, difference.low), high=min(1.0, difference.high))


def _p(field: _Field, i: int, k: int) -> float:
    first, second = field.candidates[i].predicted, field.candidates[k].predicted
    if field.metric == "accuracy" and len(first) == len(second) == 1:
        return mcnemar(field.labels, first[0], second[0]).p
    return field.contrast(i, k).p()


def _verdict(field: _Field) -> Verdict:
    not_worse = [i for i in field.by_cost if field.not_worse(i)]
    if not not_worse:
        among = [i for i in field.by_cost if not field.worse(i)]
        needed = field.needed(among)
        named = _best_of(field, _equally_cheap(field, among))
        return _spoken(field, "undecided", named, among, needed, _undecided(field, named, among, needed))
    tied = _equally_cheap(field, not_worse)
    if len(tied) > 1:
        named = _best_of(field, tied)
        among, kind, sentence = tied, "tie", _tie(field, named, tied)
    else:
        named, among, kind = tied[0], not_worse, "cheapest"
        sentence = _cheapest(field, named)
    open_methods = _open_cheaper(field, not_worse[0])
    needed = field.needed(open_methods)
    return _spoken(field, kind, named, among, needed, sentence + _still_open(field, open_methods, needed))


def _equally_cheap(field: _Field, by_cost: Sequence[int]) -> list[int]:
    """Those of the methods, cheapest first, that cost about as little as the first."""
    return [i for i in by_cost if field.cost(i) <= TIE * field.cost(by_cost[0])]


def _best_of(field: _Field, methods: Sequence[int]) -> int:
    """The method that scores highest; of equal ones the cheapest."""
    return max(methods, key=lambda i: round(field.values[i], 12))


def _spoken(field: _Field, kind: str, named: int, among: Sequence[int], needed: int | None, sentence: str) -> Verdict:
    others = [i for i in field.by_cost if i != field.best]
    nearest = max(others, key=lambda i: field.values[i], default=field.best)
    compared = [named, *among] if {named, *among} != {field.best} else [nearest]
    return Verdict(
        kind=kind,
        method=field.name(named),
        among=tuple(field.name(i) for i in among),
        best=field.name(field.best),
        metric=field.metric,
        margin=field.margin,
        sentence=sentence,
        smallest_detectable_difference=field.detectable(compared),
        texts_needed=needed,
    )


def _open_cheaper(field: _Field, named: int) -> list[int]:
    """Methods clearly cheaper than the named one that are neither shown to be worse nor to be not worse."""
    cheaper = [i for i in field.by_cost if TIE * field.cost(i) < field.cost(named)]
    return [i for i in cheaper if i != field.best and not field.worse(i) and not field.not_worse(i)]


def _cheapest(field: _Field, named: int) -> str:
    name, best = field.name(named), field.best
    if len(field.candidates) == 1:
        return f"Ship {name}: it is the only method, so there is nothing to compare it with."
    if named != best:
        return (
            f"Ship {name}: {_against(field, named, best)}, within the margin of {_size(field.margin)}, "
            f"{_cost(field, named, best)}."
        )
    rival = max((i for i in field.by_cost if i != best), key=lambda i: field.values[i])
    if TIE * field.cost(rival) >= field.cost(best):
        return f"Ship {name}: {_against(field, best, rival)}, {_cost(field, best, rival)}."
    return (
        f"Ship {name}: the cheaper {field.name(rival)} is {_against(field, rival, best)}, {_cost(field, rival, best)}."
    )


def _tie(field: _Field, named: int, tied: Sequence[int]) -> str:
    best, others = field.best, [field.name(i) for i in tied if i != named]
    behind = [i for i in (named, *tied) if i != best]
    shown = "; ".join(f"{field.name(i)} is {_against(field, i, best)}" for i in dict.fromkeys(behind))
    within = f", within the margin of {_size(field.margin)}" if field.margin else ""
    cost = "" if best in tied else f", {_cost(field, named, best)}"
    return f"Ship {field.name(named)} (or {_listed(others, 'or')}, at about the same cost): {shown}{within}{cost}."


def _undecided(field: _Field, named: int, among: Sequence[int], needed: int | None) -> str:
    names = [field.name(i) for i in among]
    within = f" within {_size(field.margin)}" if field.margin else ""
    cheapest = f"Cheapest of {_number(len(among))}: {field.name(named)}"
    if named != field.best:
        cheapest += f", {_against(field, named, field.best)}"
    return (
        f"This test set of {len(field.labels):,} texts cannot tell {_listed(names, 'and')} apart{within}: "
        f"between these it detects differences from about {_points(_rounded(100 * field.detectable(among)))}; "
        f"{_settled(field, among, needed)}. {cheapest}."
    )


def _still_open(field: _Field, open_methods: Sequence[int], needed: int | None) -> str:
    if not open_methods:
        return ""
    names = _listed([field.name(i) for i in open_methods], "and")
    verb = "is" if len(open_methods) == 1 else "are"
    return f" Whether the cheaper {names} {verb} as good is open: {_settled(field, open_methods, needed)}."


def _settled(field: _Field, open_methods: Sequence[int], needed: int | None) -> str:
    if needed is not None:
        seeds = " and more seeds" if field.seeds_short(open_methods) else ""
        return f"about {_rounded(needed):,} test texts{seeds} would settle it"
    level = [i for i in open_methods if i != field.best and field.contrast(i, field.best).value == 0]
    if field.margin == 0 and level:
        return "without a margin no number of test texts settles it"
    return "more seeds, not more texts, would settle it"


def _against(field: _Field, i: int, k: int) -> str:
    """Say how method i scores beside method k, with the interval in points."""
    interval, unit = field.contrast(i, k).interval(), _unit(field)
    bounds = f"[{_signed(interval.low)}, {_signed(interval.high)}]"
    if abs(interval.value) < 0.0005:
        return f"level with {field.name(k)} {bounds}"
    side = "above" if interval.value > 0 else "below"
    return f"{_size(abs(interval.value))}{unit} {side} {field.name(k)} {bounds}"


def _unit(field: _Field) -> str:
    if field.metric == "accuracy":
        return " of subset accuracy" if field.labels.ndim == 2 else ""
    return {"micro_f1": " of micro-F1", "macro_f1": " of macro-F1"}[field.metric]


def _cost(field: _Field, i: int, k: int) -> str:
    """Say what method i costs beside method k."""
    if field.cost(k) <= 0 or field.cost(i) <= 0:
        return f"for {field.cost(i):.3g} instead of {field.cost(k):.3g} seconds"
    ratio = field.cost(i) / field.cost(k)
    if 1 / TIE <= ratio <= TIE:
        return "at about the same cost"
    if ratio > 1:
        return f"at {ratio:.3g} times its cost"
    return f"at {ratio:.2f} of its cost" if ratio >= 0.095 else f"at 1/{1 / ratio:.0f} of its cost"


def _size(difference: float) -> str:
    return _points(f"{100 * difference:.1f}" if difference >= 0.0005 else f"{100 * difference:.2g}")


def _points(amount: str | float) -> str:
    return f"{amount} {'point' if float(amount) == 1 else 'points'}"


def _signed(difference: float) -> str:
    text = f"{100 * difference:+.1f}"
    return "0.0" if text in {"+0.0", "-0.0"} else text.replace("-", "\N{MINUS SIGN}")


def _rounded(number: float) -> float:
    """Two significant digits, without a fraction of zero."""
    rounded = float(f"{number:.2g}")
    return int(rounded) if rounded.is_integer() else rounded


def _number(count: int) -> str:
    words = {2: "the two", 3: "the three", 4: "the four", 5: "the five"}
    return words.get(count, f"the {count}")


def _listed(names: Sequence[str], last: str) -> str:
    if len(names) > 6:
        names = [*names[:4], f"{len(names) - 4} more"]
    return f"{', '.join(names[:-1])} {last} {names[-1]}" if len(names) > 1 else names[0]
