"""How a figure is written: the one place that decides digits, units and signs.

Shares are stored between 0 and 1 and shown in percent; a difference of shares is shown in points.
What was not measured (None, NaN) is shown as a dash, never as a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from loracle.evaluation.uncertainty import Interval
from loracle.models.counting import Counts

MISSING = "–"
MINUS = "−"
_LABELS = {
    "accuracy": "accuracy",
    "micro_f1": "micro-F1",
    "macro_f1": "macro-F1",
    "mcc": "MCC",
    "log_loss": "log-loss",
    "ece": "ECE",
}
_SHARES = {"accuracy", "micro_f1", "macro_f1", "precision", "recall", "f1"}
_UNSHOWABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def number(value: object) -> float:
    """Return a figure of free-form JSON as a float, and NaN for what is none.

    >>> number(3), number("3"), number(None)
    (3.0, nan, nan)
    """
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def metric_label(metric: str) -> str:
    """Return the name of a metric as a person writes it.

    >>> metric_label("macro_f1"), metric_label("top_5_accuracy")
    ('macro-F1', 'top 5 accuracy')
    """
    return _LABELS.get(metric, metric.replace("_", " "))


def is_share(metric: str) -> bool:
    """Return whether a metric lies between 0 and 1 and is shown in percent."""
    return metric in _SHARES or metric.endswith("accuracy")


def metric_value(metric: str, value: float) -> str:
    """Return a metric's value: percent with one decimal for shares, three decimals for the others.

    >>> metric_value("accuracy", 0.8736), metric_value("log_loss", 0.3), metric_value("accuracy", float("nan"))
    ('87.4', '0.300', '–')
    """
    return _decimals(value * 100, 1) if is_share(metric) else _decimals(value, 3)


def metric_interval(metric: str, interval: Interval | None) -> str:
    """Return a value with its 95 % interval.

    >>> metric_interval("accuracy", Interval(value=0.874, low=0.861, high=0.886))
    '87.4 [86.1, 88.6]'
    """
    if interval is None or math.isnan(interval.value):
        return MISSING
    low, high = (metric_value(metric, bound) for bound in (interval.low, interval.high))
    return f"{metric_value(metric, interval.value)} [{low}, {high}]"


def metric_difference(metric: str, value: float) -> str:
    """Return a difference of two values of a metric, with its sign.

    >>> metric_difference("accuracy", 0.031), metric_difference("accuracy", -0.004), metric_difference("mcc", 0)
    ('+3.1', '−0.4', '0.000')
    """
    text = metric_value(metric, value)
    return f"+{text}" if value > 0 and text.strip("0.") else text


def difference_interval(metric: str, interval: Interval) -> str:
    """Return a difference with its 95 % interval.

    >>> difference_interval("accuracy", Interval(value=0.031, low=-0.002, high=0.064))
    '+3.1 [−0.2, +6.4]'
    """
    if math.isnan(interval.value):
        return MISSING
    value, low, high = (metric_difference(metric, x) for x in (interval.value, interval.low, interval.high))
    return f"{value} [{low}, {high}]"


def distance(metric: str, value: float) -> str:
    """Return the size of a difference with its unit, as it stands in a sentence.

    >>> distance("accuracy", -0.031), distance("accuracy", 0.01), distance("mcc", 0.0312)
    ('3.1 points', '1 point', '0.031')
    """
    if not is_share(metric):
        return metric_value(metric, abs(value))
    text = _decimals(abs(value) * 100, 1).removesuffix(".0")
    return f"{text} point" if text == "1" else f"{text} points"


def seconds(value: float) -> str:
    """Return a duration with two or three significant digits and at most two units.

    >>> [seconds(x) for x in (0.00034, 0.34, 3.4, 34, 250, 7500, 200000)]
    ['0.34 ms', '340 ms', '3.4 s', '34 s', '4 min 10 s', '2 h 05 min', '2 d 8 h']
    """
    if not math.isfinite(value):
        return _decimals(value, 0)
    if value < 0.9995:
        return f"{value * 1000:.2g} ms" if value < 0.0095 else f"{value * 1000:.0f} ms"
    if value < 59.5:
        return f"{value:.1f} s" if value < 9.95 else f"{value:.0f} s"
    return _long_duration(round(value))


def memory(resident: float, gpu: float) -> str:
    """Return the growth of the process and, where there was any, of the GPU's allocated memory.

    >>> memory(91_000_000, 0), memory(91_000_000, 2_340_000_000)
    ('91 MB', '91 MB + 2.3 GB on the GPU')
    """
    return size(resident) + (f" + {size(gpu)} on the GPU" if gpu else "")


def size(value: float) -> str:
    """Return bytes in decimal units.

    >>> [size(x) for x in (0, 999, 45_300, 91_000_000, 2_340_000_000)]
    ['0 B', '999 B', '45 kB', '91 MB', '2.3 GB']
    """
    if not math.isfinite(value):
        return _decimals(value, 0)
    for power, unit in ((9, "GB"), (6, "MB"), (3, "kB")):
        scaled = value / 10**power
        if scaled >= 0.9995:
            return f"{scaled:.1f} {unit}" if scaled < 9.95 else f"{scaled:,.0f} {unit}"
    return f"{value:.0f} B"


def count(value: float) -> str:
    """Return a whole number with thousands separated.

    >>> count(592130)
    '592,130'
    """
    return _decimals(value, 0)


def parameters(counts: Counts) -> str:
    """Return the trainable parameters as adapter + head; trained weights of the base are named.

    What is frozen of an adapter, as A of LoRA-FA, is left out.

    >>> parameters(Counts(adapter=147_456, head=592_130, base=81_000_000, trainable=739_586))
    '147,456 + 592,130'
    >>> parameters(Counts(head=1_538, base=4_000_000, trainable=4_001_538))
    '4,000,000 base + 1,538'
    """
    of_base = counts.trainable - counts.adapter - counts.head
    adapter = max(0, min(counts.adapter, counts.trainable - counts.head))
    first = f"{count(of_base)} base" if of_base > 0 and not counts.adapter else count(adapter)
    text = f"{first} + {count(counts.head)}"
    return f"{text} + {count(of_base)} base" if of_base > 0 and counts.adapter else text


def probability(value: float) -> str:
    """Return a p-value.

    >>> [probability(x) for x in (0.00002, 0.0341, 0.27, 1.0)]
    ['< 0.001', '0.034', '0.27', '1.00']
    """
    if value < 0.001:
        return "< 0.001"
    return _decimals(value, 3 if value < 0.0995 else 2)


def ratio(value: float) -> str:
    """Return how many times, in words that fit before 'as much'.

    >>> [ratio(x) for x in (1.02, 1.44, 2.0, 39.7, 1234.0)]
    ['about', '1.4 times', '2 times', '40 times', '1,200 times']
    """
    if value < 1.05:
        return "about"
    if value < 9.5:
        return f"{value:.1f}".removesuffix(".0") + " times"
    return f"{float(f'{value:.2g}'):,.0f} times"


def setting(value: object) -> str:
    """Return a learning rate or C as it was typed.

    >>> setting(0.0003), setting(0.1), setting(1.0), setting("auto")
    ('3e-4', '0.1', '1', 'auto')
    """
    if not math.isfinite(number(value)):
        return plain(value)
    text = f"{number(value):g}" if abs(number(value)) >= 0.01 or not value else f"{number(value):.3e}"
    mantissa, exponent, power = text.partition("e")
    if not exponent:
        return text
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(power)}"


def plain(value: object) -> str:
    """Return the text of `value` without the characters that a page, an SVG or a terminal cannot show.

    >>> plain("a\\x00b")
    'a\ufffdb'
    """
    return _UNSHOWABLE.sub("\ufffd", str(value))


def shorten(text: str, limit: int) -> str:
    """Return `text` in at most `limit` characters, on one line.

    >>> shorten("credit reporting", 9)
    'credit r…'
    """
    line = " ".join(plain(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def shorten_middle(text: str, limit: int) -> str:
    """Return `text` in at most `limit` characters, its end kept: names of methods differ there.

    >>> shorten_middle("lora on all linear layers, rank 16", 20)
    'lora on al…, rank 16'
    """
    line = " ".join(plain(text).split())
    if len(line) <= limit:
        return line
    end = (limit - 1) // 2
    return f"{line[: limit - 1 - end].rstrip()}…{line[len(line) - end :].lstrip()}"


def names(items: Sequence[str], *, limit: int = 4) -> str:
    """Return names as they stand in a sentence.

    >>> names(["a", "b", "c"]), names(["a", "b", "c"], limit=2)
    ('a, b and c', 'a, b and 1 more')
    """
    shown = [shorten(item, 40) for item in items[:limit]]
    if len(items) > limit:
        shown.append(f"{len(items) - limit} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else ""


def _decimals(value: float, digits: int) -> str:
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    text = f"{abs(value):,.{digits}f}"
    return MINUS + text if value < 0 and text.strip("0.,") else text


def _long_duration(value: int) -> str:
    minutes, rest = divmod(value, 60)
    hours, minutes_left = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min {rest:02d} s" if rest else f"{minutes} min"
    if hours < 24:
        return f"{hours} h {minutes_left:02d} min"
    days, hours_left = divmod(round(value / 3600), 24)
    return f"{days} d {hours_left} h"
