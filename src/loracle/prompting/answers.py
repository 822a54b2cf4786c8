"""What an answer says: read strictly, with nothing guessed, padded or shifted."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from loracle.prompting.prompt import SEPARATOR, fold
from loracle.prompting.reply import Reply

OK, MALFORMED, REFUSED, TRUNCATED, FILTERED, API_ERROR = OUTCOMES = (
    "ok",
    "malformed",
    "refused",
    "truncated",
    "filtered",
    "api_error",
)

_CUT_SHORT = {"length": TRUNCATED, "content_filter": FILTERED}
_LINE = re.compile(rf"\s*([0-9]{{1,9}})\s*{SEPARATOR}(.*)")
_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)  # what some models write before they answer

Pair = tuple[int, str]


def read_reply(
    reply: Reply, label_names: Sequence[str], texts: int, *, structured: bool
) -> tuple[tuple[str | None, ...], str]:
    """Return the label of each text, None where it has none of its own, and the outcome of those that have none.

    Labels are taken only where the answer holds each number from 1 to `texts` once; a label that is none of the
    names, whatever the case and blanks, is None.
    """
    nothing = (None,) * texts
    if reply.refusal:
        return nothing, REFUSED
    if reply.finish_reason in _CUT_SHORT:
        return nothing, _CUT_SHORT[reply.finish_reason]
    answer = _THOUGHTS.sub("", reply.content)
    pairs = parse_json(answer) if structured else parse_lines(answer)
    if sorted(number for number, _ in pairs) != list(range(1, texts + 1)):
        return nothing, MALFORMED
    names = {fold(name): name for name in label_names}
    return tuple(names.get(fold(label)) for _, label in sorted(pairs)), MALFORMED


def parse_json(answer: str) -> list[Pair]:
    """Return the number and the label of each item; none at all where the answer does not keep to the schema.

    >>> parse_json('{"answers": [{"number": 1, "label": "good"}]}')
    [(1, 'good')]
    """
    try:
        content = json.loads(answer)
    except ValueError:
        return []
    items = content.get("answers") if isinstance(content, dict) and len(content) == 1 else None
    if not isinstance(items, list) or not all(_is_item(item) for item in items):
        return []
    return [(item["number"], item["label"]) for item in items]


def parse_lines(answer: str) -> list[Pair]:
    """Return the number and the label of each line; none at all where another line stands between.

    >>> parse_lines("1: good\\n2: bad"), parse_lines("Sure!\\n1: good\\n2: bad")
    ([(1, 'good'), (2, 'bad')], [])
    """
    lines = [_LINE.fullmatch(line) for line in answer.splitlines() if line.strip()]
    return [(int(line[1]), line[2].strip()) for line in lines if line] if all(lines) else []


def is_complete(reply: Reply, label_names: Sequence[str]) -> bool:
    """Say whether a reply about one text keeps to the schema, with one of the labels."""
    labels, _ = read_reply(reply, label_names, 1, structured=True)
    return labels[0] is not None


def _is_item(item: object) -> bool:
    return (
        isinstance(item, dict)
        and set(item) == {"number", "label"}
        and type(item["number"]) is int
        and isinstance(item["label"], str)
    )
