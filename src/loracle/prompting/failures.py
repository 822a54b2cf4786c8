"""What can go wrong with a call: the one table of what is tried again, and a line that says what to change."""

from __future__ import annotations

import enum
import json
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from loracle.errors import ConfigError, LoracleError, ModelError

if TYPE_CHECKING:
    from openai import APIError

    from loracle.prompting.server import Server

_MOST_CHARACTERS = 200


class Then(enum.Enum):
    """What is done after a call that failed."""

    RETRY = "try again after a while"
    SKIP = "leave this call, since another one may be taken"
    END = "end, since every other call would fail alike"


_THEN = {
    400: Then.SKIP,
    408: Then.RETRY,
    409: Then.RETRY,
    413: Then.SKIP,
    422: Then.SKIP,
    425: Then.RETRY,
    429: Then.RETRY,
}  # from 500 on RETRY; 401, 402, 403, 404 and all others END
_NO_CREDIT = ("insufficient_quota", "billing_hard_limit_reached")  # a code that ENDs all, since no wait mends it
_FILTERED = ("content_filter", "content_policy_violation")  # a code that SKIPs, since it is about this text alone
NO_PROTOCOL = "no JSON of the OpenAI protocol, but perhaps a web page"
_NEVER_SENT = ("ConnectError", "ConnectTimeout")


class CallError(Exception):
    """A call without an answer of the model. `status` is None where no status came; `retry_after` is in seconds;
    `charged` says whether the server may have charged for it all the same."""

    def __init__(
        self,
        reason: str,
        *,
        then: Then,
        status: int | None = None,
        retry_after: float = 0.0,
        filtered: bool = False,
        charged: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason, self.then, self.status = reason, then, status
        self.retry_after, self.filtered, self.charged = retry_after, filtered, charged


def read_failure(error: APIError, server: Server, now: float) -> CallError:
    """Return what the client's error means; `now` is the time in seconds since the epoch."""
    from openai import APIStatusError

    if isinstance(error, APIStatusError):
        after = read_retry_after(error.response.headers.get("retry-after"), now)
        return judge_status(error.status_code, error.body, server, after)
    cause = type(error.__cause__).__name__ if error.__cause__ else type(error).__name__
    return CallError(f"no answer: {cause}", then=Then.RETRY, charged=cause not in _NEVER_SENT)


def judge_status(status: int, body: object, server: Server, retry_after: float = 0.0) -> CallError:
    """Return the failure that a status and the body of an error stand for."""
    code = body.get("code") if isinstance(body, dict) else None
    then = _THEN.get(status, Then.RETRY if status >= 500 else Then.END)
    if code in _NO_CREDIT:
        then = Then.END
    if code in _FILTERED:
        then = Then.SKIP
    return CallError(
        _shorten(server.hide_key(_read_message(body))),
        then=then,
        status=status,
        retry_after=retry_after,
        filtered=code in _FILTERED,
    )


def read_retry_after(value: str | None, now: float) -> float:
    """Return the seconds that a Retry-After header asks for, as a number or as a date; 0 where it is neither.

    >>> read_retry_after("2", now=0), read_retry_after("Thu, 01 Jan 1970 00:01:30 GMT", now=60)
    (2.0, 30.0)
    """
    try:
        return max(0.0, float(value or 0))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value or "").timestamp() - now)
    except (ValueError, OverflowError):
        return 0.0


def explain(failure: CallError, server: Server, model: str) -> LoracleError:
    """Return the error that ends a run: what happened, and which setting to change."""
    at = server.base_url
    if failure.status is None:
        return _explain_silence(failure, at)
    if failure.then is Then.END:
        what, remedy = _REMEDIES.get(failure.status, ("takes no call", "mend llm_model, llm_base_url or your account"))
        if failure.status in (401, 403) and server.key is None:
            what, remedy = "wants a key", "set OPENAI_API_KEY in the environment or in a file .env here"
        return ConfigError(f"{at} {what} for {model!r} ({failure.status}: {failure.reason}); {remedy}")
    return ModelError(
        f"{at} failed for {model!r} ({failure.status}: {failure.reason}); run again later, or ask another llm_model"
    )


_REFUSED = ("refuses the key", "set another OPENAI_API_KEY, or mend llm_base_url")
_REMEDIES = {
    401: _REFUSED,
    403: _REFUSED,
    404: ("has nothing", "mend llm_model, or llm_base_url, which usually ends in /v1"),
    429: ("takes no more calls", "run again later, or mend your account; what is answered is kept"),
}


def _explain_silence(failure: CallError, at: str) -> LoracleError:
    if failure.reason == NO_PROTOCOL:
        return ConfigError(f"{at} gives {NO_PROTOCOL}; mend llm_base_url, which usually ends in /v1")
    if not failure.charged:
        return ConfigError(f"no server answers at {at} ({failure.reason}); start it, or mend llm_base_url")
    return ModelError(f"{at} stopped answering ({failure.reason}); run again later, or raise llm_timeout")


def _read_message(body: object) -> str:
    """Return what an error's body says: some send an object, some a string, some a web page."""
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail") or json.dumps(body)
    text = " ".join(str(body or "").split())
    return "a web page" if text.startswith("<") else text or "no reason given"


def _shorten(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "..."
