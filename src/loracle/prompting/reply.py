"""What one call gave: the parts of a server's JSON that matter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from loracle.prompting.failures import NO_PROTOCOL, CallError, Then, judge_status
from loracle.prompting.server import Server


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens and seconds; tokens are None where a server did not count them."""

    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    seconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            prompt_tokens=_add(self.prompt_tokens, other.prompt_tokens),
            completion_tokens=_add(self.completion_tokens, other.completion_tokens),
            seconds=self.seconds + other.seconds,
        )

    def split(self, parts: int) -> list[Usage]:
        """Return so many equal parts that add up to the whole."""
        prompt, completion = _split(self.prompt_tokens, parts), _split(self.completion_tokens, parts)
        return [
            Usage(prompt_tokens=first, completion_tokens=second, seconds=self.seconds / parts)
            for first, second in zip(prompt, completion, strict=True)
        ]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back from one call; `reasoned` says that the model thought before it answered."""

    content: str
    refusal: str | None = None
    finish_reason: str | None = None
    reasoned: bool = False
    usage: Usage = field(default_factory=Usage)


def parse_reply(content: dict[str, Any], server: Server, seconds: float) -> Reply:
    """Return the first choice of a chat completion that took so many seconds.

    Raises CallError for an object that holds an error instead, or neither.
    """
    choices, error = content.get("choices"), content.get("error")
    if not isinstance(choices, list):
        if error is None:
            raise CallError(NO_PROTOCOL, then=Then.RETRY, charged=True)
        status = error.get("code") if isinstance(error, dict) else None
        raise judge_status(status if isinstance(status, int) else 500, error, server)
    choice = _object(choices[0]) if choices else {}
    message, usage = _object(choice.get("message")), _object(content.get("usage"))
    return Reply(
        content=_text(message.get("content")) or "",
        refusal=_text(message.get("refusal")),
        finish_reason=_text(choice.get("finish_reason")),
        reasoned=_reasoned(message, usage),
        usage=Usage(
            prompt_tokens=_tokens(usage.get("prompt_tokens")),
            completion_tokens=_tokens(usage.get("completion_tokens")),
            seconds=seconds,
        ),
    )


def _reasoned(message: dict[str, Any], usage: dict[str, Any]) -> bool:
    """Say whether the model thought first: servers tell it in one of these places."""
    counted = _object(usage.get("completion_tokens_details")).get("reasoning_tokens")
    told = message.get("reasoning_content") or message.get("reasoning")
    return bool(counted or told or (_text(message.get("content")) or "").lstrip().startswith("<think>"))


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _tokens(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _add(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first + second


def _split(tokens: int | None, parts: int) -> list[int | None]:
    if tokens is None:
        return [None] * parts
    each, over = divmod(tokens, parts)
    return [each + (index < over) for index in range(parts)]
