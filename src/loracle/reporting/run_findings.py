"""What runs side by side say, in sentences."""

from __future__ import annotations

from loracle.comparison.result import Pair
from loracle.comparison.side_by_side import SideBySide
from loracle.reporting import figures
from loracle.reporting.run_tables import SIGNIFICANT, deciding_metric, telling_classes


def headline(side: SideBySide) -> str:
    """Return what the tests say: of two runs the difference, of several how many pairs differ and who is highest."""
    metric = deciding_metric(side)
    pairs = side.pairs[metric]
    if len(pairs) == 1:
        return _pair_words(metric, pairs[0])
    apart = sum(pair.p_holm < SIGNIFICANT for pair in pairs)
    best = max(side.entries, key=lambda entry: entry.metrics[metric].value)
    value = figures.metric_value(metric, best.metrics[metric].value)
    unit = " %" if figures.is_share(metric) else ""
    return (
        f"{apart or 'None'} of {len(pairs)} pairs of runs {'differs' if apart == 1 else 'differ'} in "
        f"{figures.metric_label(metric)} beyond chance. {best.title} is highest, at {value}{unit}."
    )


def caveat(side: SideBySide) -> str:
    """Return which runs have one seed of a method that depends on it: two fits are then compared, not two settings."""
    single = [entry.title for entry in side.entries if len(entry.seeds) == 1 and entry.results[0].history]
    if not single:
        return ""
    has = "has" if len(single) == 1 else "have"
    return (
        f"{figures.names(single)} {has} one seed, and another would give other figures: "
        "what is said here is about these fits, not about the settings."
    )


def facts(side: SideBySide) -> list[str]:
    """Return what is compared on: the data, its test texts, the runs."""
    texts = f"{figures.count(side.texts)} test {'text' if side.texts == 1 else 'texts'}"
    return [figures.shorten(side.name, 60), texts, f"{len(side.entries)} runs", f"{len(side.label_names)} classes"]


def measures_key(side: SideBySide) -> str:
    """Return how the table of measures is to be read."""
    first = figures.shorten(side.entries[0].title, 60)
    return (
        f"In brackets the 95 % interval. In small print the difference to {first}, in points where the measure is in "
        "percent, on the same texts; for costs how many times as much. Precision and recall are means over the "
        "classes. Times and memory are those of the machine that each run had."
    )


def pairs_key(side: SideBySide) -> str:
    """Return which test stands behind the p-values."""
    several, single = (any((test is None) == wanted for test in side.alone) for wanted in (True, False))
    test = "McNemar's mid-p" if single else "that of the difference over texts and seeds"
    if several and single:
        test = "McNemar's mid-p for one model each, otherwise that of the difference over texts and seeds"
    pairs = len(side.alone)
    holm = (
        f"Holm: corrected over the {pairs} pairs." if pairs > 1 else "With one pair Holm's correction changes nothing."
    )
    alone = " Right alone: texts that only one of the two gets right, first : second, where each is one model."
    both = f"p of accuracy: {test}; p of macro-F1: that of the difference over texts and seeds."
    return f"{both} {holm}{alone if single else ''}"


def classes_finding(side: SideBySide) -> str:
    """Return the class in which the runs lie furthest apart, and how many classes are shown where not all are."""
    places, classes = telling_classes(side), len(side.label_names)
    shown = f" The {len(places)} of {classes} classes in which they do most:" if len(places) < classes else ""
    scores = [(entry.title, figures.number(entry.per_class[places[0]]["f1"])) for entry in side.entries]
    low, high = min(scores, key=lambda score: score[1]), max(scores, key=lambda score: score[1])
    if high[1] == low[1]:
        return "The runs have the same F1 in every class."
    told = (f"{figures.metric_value('f1', score)} % with {title}" for title, score in (high, low))
    label = figures.shorten(side.label_names[places[0]], 60)
    return f"They lie furthest apart on “{label}”: F1 {', '.join(told)}.{shown}"


def _pair_words(metric: str, pair: Pair) -> str:
    gap, label = pair.difference, figures.metric_label(metric)
    bounds = figures.difference_interval(metric, gap).partition(" ")[2]
    value = figures.probability(pair.p)
    p = f"p {value}" if value.startswith("<") else f"p = {value}"
    if not figures.metric_value(metric, gap.value).strip("0.−"):
        return f"{pair.first} is level with {pair.second} in {label} {bounds} ({p})."
    where = f"{figures.distance(metric, gap.value)} {'above' if gap.value > 0 else 'below'} {pair.second} in {label}"
    chance = "more than chance" if pair.p < SIGNIFICANT else "this may be chance"
    return f"{pair.first} is {where} {bounds}: {chance} ({p})."
