"""What the figures say, in one sentence each: the report's captions."""

from __future__ import annotations

import math
from typing import Any

from loracle.comparison.deciding import TIE
from loracle.comparison.result import Comparison, Summary
from loracle.evaluation.uncertainty import Interval
from loracle.reporting import classes, figures, selection
from loracle.wording import write_count

SIGNIFICANT = 0.05
_EYEBROWS = {"cheapest": "What to ship", "tie": "A tie", "undecided": "This test set cannot tell"}


def eyebrow(comparison: Comparison) -> str:
    """Return the two or three words above the verdict."""
    return _EYEBROWS.get(comparison.verdict.kind, "Verdict") if comparison.verdict else "Nothing to ship"


def headline(comparison: Comparison) -> str:
    """Return the verdict in one sentence, also where no method finished."""
    if comparison.verdict:
        return comparison.verdict.sentence
    lost = len(comparison.summaries)
    which = {1: "the only one", 2: "both"}.get(lost, f"all {lost}")
    return f"No method finished: {which} failed. The table says why."


def facts(comparison: Comparison) -> list[str]:
    """Return what was compared on: data set, texts, classes, methods, seeds, test texts, date."""
    task, ledger, rows = comparison.task, comparison.ledger, selection.split_sizes(comparison)
    several = selection.multi_label(comparison)
    counted = [
        (sum(rows.values()), "text", ""),
        (len(classes.labels(comparison)), *(("label", "labels") if several else ("class", "classes"))),
        (len(comparison.summaries), "method", ""),
        (len(selection.seeds(comparison)), "seed", ""),
        (rows.get("test", 0), "test text", ""),
    ]
    known = [write_count(int(amount), *noun) for amount, *noun in counted if math.isfinite(amount) and amount > 0]
    date = str(ledger.get("finished") or ledger.get("started") or "")[:10]
    return [item for item in (str(task.get("name") or comparison.name), *known, date) if item]


def cost_finding(comparison: Comparison) -> str:
    """Return what the method to ship gains and costs against its nearest rival."""
    chosen = _summary(comparison, selection.shipped(comparison))
    rival = _rival(comparison, chosen) if chosen else None
    if chosen is None or rival is None:
        only = selection.ranked(comparison)
        return f"{_name(only[0].method)} is the only method that finished." if len(only) == 1 else ""
    times = _cost_words(chosen.cost_seconds, rival.cost_seconds)
    return f"{_name(chosen.method)} is {_gap_words(comparison, chosen, rival)} {_name(rival.method)}{times}."


def methods_finding(comparison: Comparison) -> str:
    """Return what the method to ship takes: parameters, time, memory, disk."""
    chosen = _summary(comparison, selection.shipped(comparison))
    if chosen is None:
        return ""
    counts = chosen.counts
    share = (
        f", {_percent_words(counts.trainable / counts.total)} of all," if 0 < counts.trainable < counts.total else ""
    )
    trains = f"trains {figures.count(counts.trainable)} parameters{share}" if counts.trainable else "trains nothing,"
    return (
        f"{_name(chosen.method)} {trains} in {figures.seconds(chosen.training_seconds)} a fit; "
        f"it takes {figures.size(chosen.bytes_on_disk)} on disk and scores 1,000 texts in "
        f"{figures.seconds(chosen.scoring_seconds_per_1000)}."
    )


def decision_finding(comparison: Comparison) -> str:
    """Return which methods lie within the margin of the best one for certain."""
    verdict = comparison.verdict
    if verdict is None:
        return ""
    rows = selection.differences_from(comparison.pairs, verdict.best)
    margin = figures.distance(verdict.metric, verdict.margin)
    near = [name for name, gap, _ in rows if gap.low > -verdict.margin]
    if not rows:
        return ""
    if not near:
        return f"No other method is shown to be within {margin} of {_name(verdict.best)}."
    are = "is" if len(near) == 1 else "are"
    more = "" if verdict.kind != "undecided" else " The verdict asks for this against every other method at once."
    return (
        f"By its own interval, {figures.names(near)} {are} not worse than {_name(verdict.best)} by more than {margin}: "
        f"it lies right of the dashed line.{more}"
    )


def pairs_finding(comparison: Comparison) -> str:
    """Return how many pairs differ beyond chance and from whom the best is not told apart."""
    pairs = comparison.pairs
    if not pairs:
        return ""
    apart = sum(pair.p_holm < SIGNIFICANT for pair in pairs)
    best = selection.best(comparison)
    near = [name for name, _, p in selection.differences_from(pairs, best or "") if p >= SIGNIFICANT]
    tail = f" {_name(best)} is not told apart from {figures.names(near)}." if near and best else ""
    if len(pairs) == 1:
        return f"The two {'differ' if apart else 'do not differ'} beyond chance (p {_p_words(pairs[0].p_holm)})."
    return f"{apart} of {len(pairs)} pairs differ beyond chance (Holm-corrected p below {SIGNIFICANT}).{tail}"


def detection_finding(comparison: Comparison) -> str:
    """Return the smallest difference that this test set shows, and how many texts would settle the verdict."""
    verdict = comparison.verdict
    if verdict is None or not math.isfinite(verdict.smallest_detectable_difference):
        return ""
    text = (
        "The smallest difference that this test set can show between the methods in question is "
        f"{figures.distance(verdict.metric, verdict.smallest_detectable_difference)}."
    )
    if verdict.texts_needed:
        what = "it" if verdict.kind == "undecided" else "whether a cheaper method is as good"
        text += f" About {figures.count(verdict.texts_needed)} test texts would settle {what}."
    return text


def seeds_finding(comparison: Comparison) -> str:
    """Return which method depends most on the seed."""
    spreads = [s for s in selection.finished(comparison) if s.seeds > 1 and math.isfinite(s.seed_spread)]
    metric = selection.epoch_metric(comparison)
    label = figures.metric_label(metric)
    widest = max(spreads, key=lambda summary: summary.seed_spread, default=None)
    if widest is None or widest.seed_spread <= 0:
        return f"No method's {label} depends on the seed." if spreads else ""
    spread = figures.distance(metric, widest.seed_spread)
    return f"{_name(widest.method)} depends most on the seed: its {label} moves by {spread}."


def search_finding(comparison: Comparison) -> str:
    """Return which methods chose a setting on the edge of their grid: a wider grid might serve them better."""
    tried = [s.method for s in comparison.summaries if len(selection.tries(comparison, s.method)) > 1]
    edge = [method for method in tried if _chose_the_edge(comparison, method)]
    if edge:
        return f"{figures.names(edge)} chose a setting on the edge of the grid; a wider one might serve better."
    return "Every setting was chosen from inside its grid." if tried else ""


def caveat(comparison: Comparison) -> str:
    """Return which trained methods learned nothing, and who might do better with more epochs.

    It belongs to the verdict, whose own method is left out of the second.
    """
    return " ".join(sentence for sentence in (_blind_words(comparison), _improving_words(comparison)) if sentence)


def _blind_words(comparison: Comparison) -> str:
    """Return which trained methods gave every test text the same label."""
    blind = [s.method for s in selection.finished(comparison) if s.counts.trainable and classes.gives_one_label(s)]
    return f"{figures.names(blind)} gave every test text the same label, and learned nothing else." if blind else ""


def _improving_words(comparison: Comparison) -> str:
    still = [name for name in selection.improving(comparison)[0] if name != selection.shipped(comparison)]
    if not still:
        return ""
    was = "was" if len(still) == 1 else "were"
    return f"{figures.names(still)} {was} still improving in the last epoch: more epochs might change this."


def curves_finding(comparison: Comparison) -> str:
    """Return which methods were still improving at the end and which had their best epoch before it."""
    still, peaked = selection.improving(comparison)
    parts = []
    if still:
        parts.append(f"{figures.names(still)} did best on validation in the last epoch: more epochs might help.")
    if peaked:
        parts.append(f"{figures.names(peaked)} did best on validation before the last epoch.")
    return " ".join(parts)


def overview_finding(comparison: Comparison) -> str:
    """Return the class that is hardest for all methods together."""
    table = classes.overview_table(comparison)
    if table is None:
        return ""
    what = "label" if selection.multi_label(comparison) else "class"
    hidden = len(classes.labels(comparison)) - len(table.rows)
    tail = f" The {len(table.rows)} hardest of {hidden + len(table.rows)} classes:" if hidden else ""
    return f"{_quoted(table.rows[0].cells[0].text)} is the hardest {what}.{tail}"


def class_finding(comparison: Comparison, summary: Summary) -> str:
    """Return one method's weakest class and its most frequent mistake."""
    parts = []
    weak = classes.weakest(summary)
    if weak is not None:
        f1, recall = (figures.metric_value(key, figures.number(weak.get(key))) for key in ("f1", "recall"))
        parts.append(f"Weakest on {_quoted(weak.get('label'))} (F1 {f1} %, recall {recall} %).")
    wrong = classes.mistakes(comparison, summary)
    if wrong:
        top = wrong[0]
        parts.append(
            f"Its most frequent mistake: {_quoted(top.label)} read as {_quoted(top.read_as)}, "
            f"{figures.count(top.texts)} of {figures.count(top.of)} texts."
        )
    return " ".join(parts)


def cost_words(comparison: Comparison) -> str:
    """Return what cost means: the search, and the scoring of how many texts."""
    texts = figures.number(comparison.ledger.get("cost_texts"))
    scored = f"scoring {figures.count(texts)} texts" if math.isfinite(texts) else "scoring"
    return f"all fits of the search, then {scored}"


def _rival(comparison: Comparison, chosen: Summary) -> Summary | None:
    """Return the best of the other methods."""
    others = [s for s in selection.ranked(comparison) if s.method != chosen.method and selection.quality(comparison, s)]
    return max(others, key=lambda s: _value(selection.quality(comparison, s)), default=None)


def _gap_words(comparison: Comparison, chosen: Summary, rival: Summary) -> str:
    metric = selection.deciding_metric(comparison)
    first, second = (_value(selection.quality(comparison, s)) for s in (chosen, rival))
    gap = first - second
    if not math.isfinite(gap) or not figures.metric_value(metric, gap).strip("0."):
        return "level with"
    return f"{figures.distance(metric, gap)} {'above' if gap > 0 else 'below'}"


def _cost_words(first: float, second: float) -> str:
    if not (math.isfinite(first) and math.isfinite(second) and first > 0 and second > 0):
        return ""
    if max(first, second) / min(first, second) <= TIE:
        return " and costs about as much"
    if first > second:
        return f" and costs {figures.ratio(first / second)} as much"
    return f", which costs {figures.ratio(second / first)} as much"


def _percent_words(share: float) -> str:
    text = f"{share * 100:.1f}" if share >= 0.001 else f"{share * 100:.1g}"
    return f"{text} %"


def _chose_the_edge(comparison: Comparison, method: str) -> bool:
    tried = selection.tries(comparison, method)
    chosen = selection.chosen_try(comparison, method)
    values = [value for entry in tried if math.isfinite(value := figures.number(entry.get("value")))]
    if chosen is None or len(values) < 3:  # a grid of two has only edges
        return False
    return figures.number(tried[chosen].get("value")) in (min(values), max(values))


def _summary(comparison: Comparison, method: str | None) -> Summary | None:
    return next((s for s in selection.finished(comparison) if s.method == method), None)


def _value(interval: Interval | None) -> float:
    return interval.value if interval else math.nan


def _p_words(value: float) -> str:
    text = figures.probability(value)
    return text if text.startswith("<") else f"= {text}"


def _name(method: str) -> str:
    return figures.shorten(method, 60)


def _quoted(label: Any) -> str:
    return f"“{figures.shorten(str(label), 60)}”"
