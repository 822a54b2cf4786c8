"""One call to the server, tried again where that may help. This is the only place that tries again."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from loracle.prompting.config import LLMConfig
from loracle.prompting.failures import NO_PROTOCOL, CallError, Then, read_failure
from loracle.prompting.prices import Price
from loracle.prompting.reply import Reply, Usage, parse_reply
from loracle.prompting.server import Server, require_key

_ANY_KEY = "none"  # the client insists on a key; a server that needs none ignores it
_CONNECT_SECONDS = 5.0
_OVERHEAD_TOKENS = 64  # a chat template's own tokens

Body = dict[str, Any]
_Answered = TypeVar("_Answered")


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often a call is tried, and how long is waited in between: twice as long each time, with jitter."""

    attempts: int = 6
    first_seconds: float = 0.5
    most_seconds: float = 30.0
    longest_seconds: float = 300.0

    def wait_seconds(self, attempt: int, failure: CallError) -> float:
        """Return the seconds to wait after attempt 0, 1, ...: at least what the server asks for.

        Raises CallError, to end all, where that is longer than `longest_seconds`.
        """
        if failure.retry_after > self.longest_seconds:
            reason = f"wait {failure.retry_after:,.0f} s, {failure.reason}"
            raise CallError(reason, then=Then.END, status=failure.status)
        own = min(self.most_seconds, self.first_seconds * 2.0**attempt) * random.uniform(0.5, 1)
        return max(own, failure.retry_after)


class StoppedError(Exception):
    """Another call ended the run, so that this one was not made."""


class Client:
    """Calls one server, for many threads; use it as a context. Every attempt is paid from the purse of `config`.

    `calls` counts the attempts, and `usage` sums what all answers used.
    """

    def __init__(
        self,
        server: Server,
        config: LLMConfig,
        *,
        price: Price | None = None,
        patience: Patience | None = None,
    ) -> None:
        from openai import OpenAI, Timeout

        require_key(server)
        self.server, self.price, self.purse = server, price, config.purse
        self.patience = patience or Patience()
        self.stop = threading.Event()
        self.calls, self.usage = 0, Usage()
        self._counting = threading.Lock()
        self._openai = OpenAI(
            api_key=server.key or _ANY_KEY,
            base_url=server.base_url,
            timeout=Timeout(config.llm_timeout, connect=min(config.llm_timeout, _CONNECT_SECONDS)),
            max_retries=0,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._openai.close()

    def complete(self, body: Body) -> Reply:
        """Make one chat completion; raises CallError, BudgetError, or StoppedError once `stop` is set."""
        return self._persist(lambda: self._pay(body))

    def list_models(self) -> list[str] | None:
        """Return the names of the server's models, or None where it gives none; raises CallError for silence."""
        try:
            content = self._persist(lambda: self._send(self._openai.models.with_raw_response.list))
        except CallError as failure:
            if failure.status is None:
                raise
            return None  # no such route, or not for this key: a call must show what the server takes
        models = content.get("data")
        if not isinstance(models, list):
            return None
        return [str(model["id"]) for model in models if isinstance(model, dict) and "id" in model]

    def _persist(self, attempt: Callable[[], _Answered]) -> _Answered:
        for number in range(self.patience.attempts):
            if self.stop.is_set():
                raise StoppedError
            try:
                return attempt()
            except CallError as failure:
                if failure.then is not Then.RETRY or number + 1 == self.patience.attempts:
                    raise
                self.stop.wait(self.patience.wait_seconds(number, failure))
        raise StoppedError

    def _pay(self, body: Body) -> Reply:
        """Make one attempt, at most for what the purse holds."""
        most, spent = self._most(body), 0.0
        self.purse.reserve(most)
        try:
            if self.stop.is_set():
                raise StoppedError
            with self._counting:
                self.calls += 1
            started, spent = time.perf_counter(), most  # a call of which nothing is heard may have been charged
            content = self._send(lambda: self._openai.chat.completions.with_raw_response.create(**body))
            reply = parse_reply(content, self.server, time.perf_counter() - started)
            spent = self._count(reply.usage, most)
            return reply
        except CallError as failure:
            spent = most if failure.charged else 0.0
            raise
        finally:
            self.purse.settle(most, spent)

    def _send(self, send: Callable[[], Any]) -> dict[str, Any]:
        from openai import APIError

        try:
            raw = send()
        except APIError as error:
            raise read_failure(error, self.server, time.time()) from None
        try:
            content = json.loads(raw.text)
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise CallError(NO_PROTOCOL, then=Then.RETRY, charged=True)
        return content

    def _most(self, body: Body) -> float:
        """Return the most that a call can cost: no token is shorter than a byte."""
        if self.price is None:
            return 0.0
        sent = json.dumps([body["messages"], body.get("response_format")], ensure_ascii=False)
        answer = body.get("max_tokens") or body["max_completion_tokens"]
        return self.price.cost(len(sent.encode()) + _OVERHEAD_TOKENS, answer)

    def _count(self, usage: Usage, most: float) -> float:
        """Add to the usage of all calls; return what this one cost, the most that it can where nothing is told."""
        with self._counting:
            self.usage += usage
        if self.price is None or usage.prompt_tokens is None or usage.completion_tokens is None:
            return most
        return self.price.cost(usage.prompt_tokens, usage.completion_tokens)
