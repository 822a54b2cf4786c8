"""What became of each text, and what it took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from loracle.prompting.answers import API_ERROR, OUTCOMES
from loracle.prompting.prices import Price
from loracle.prompting.reply import Usage


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of one text: `label` is None unless `outcome` is ok. `said` is how an unusable answer begins.

    `usage` is the text's share of all calls that it was part of.
    """

    outcome: str
    label: str | None = None
    usage: Usage = field(default_factory=Usage)
    said: str = ""


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What a round of asking gave and took.

    Tokens and `cost` are those of all its answers, whenever they were asked for; `paid` is the part that was asked
    for now. They are None where the server counts no tokens, and amounts also where no price is known. `calls` were
    made now, tries that failed among them; `saved` texts had their answer from the cache. `seconds_per_1000` is the
    texts' share of the seconds of calls, over the calls at the same time; None where no text has an answer.
    `outcome_of` holds the outcome of each text in order.
    """

    outcomes: dict[str, int]
    texts: int
    calls: int
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: float | None
    paid: float | None
    currency: str | None
    price_date: str | None
    saved: int
    seconds_per_1000: float | None
    outcome_of: tuple[str, ...]
    last_error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the receipt as JSON values."""
        return {**asdict(self), "outcome_of": list(self.outcome_of)}


@dataclass(frozen=True, kw_only=True)
class Calls:
    """The calls of one round of asking: how many, what they used in all, and the last error among them."""

    made: int = 0
    usage: Usage = field(default_factory=Usage)
    last_error: str | None = None


def parse_answer(record: dict[str, Any]) -> Answer:
    """Return the answer that `asdict` made a record of."""
    return Answer(**{**record, "usage": Usage(**record["usage"])})


def write_receipt(
    answers: Sequence[Answer],
    *,
    kept: Iterable[Answer],
    saved: int,
    calls: Calls,
    price: Price | None,
    concurrency: int,
) -> Receipt:
    """Return the receipt of `answers`, one a text; `kept` were there before, and served `saved` of the texts."""
    whole = sum((answer.usage for answer in kept), calls.usage)
    counts = Counter(answer.outcome for answer in answers)
    seconds = [answer.usage.seconds for answer in answers if answer.outcome != API_ERROR]
    return Receipt(
        outcomes={outcome: counts[outcome] for outcome in OUTCOMES},
        texts=len(answers),
        calls=calls.made,
        prompt_tokens=whole.prompt_tokens,
        completion_tokens=whole.completion_tokens,
        cost=_cost(whole, price),
        paid=_cost(calls.usage, price),
        currency=price.currency if price else None,
        price_date=price.date if price else None,
        saved=saved,
        seconds_per_1000=1000 * sum(seconds) / len(seconds) / concurrency if seconds else None,
        outcome_of=tuple(answer.outcome for answer in answers),
        last_error=calls.last_error,
    )


def _cost(usage: Usage, price: Price | None) -> float | None:
    if price is None or usage.prompt_tokens is None or usage.completion_tokens is None:
        return None
    return price.cost(usage.prompt_tokens, usage.completion_tokens)
