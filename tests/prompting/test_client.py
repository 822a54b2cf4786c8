"""One place tries again: what the table says, as often as it says, and not before the server wants it."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate
from types import ModuleType
from typing import Any

import pytest

from loracle.errors import ConfigError
from loracle.prompting.client import Client, Patience, StoppedError
from loracle.prompting.config import LLMConfig
from loracle.prompting.failures import CallError, Then, judge_status, read_retry_after
from loracle.prompting.server import Server

Serve, Settings = Callable[..., Any], Callable[..., LLMConfig]
BODY = {"model": "tiny", "messages": [{"role": "user", "content": '{"number": 1, "text": "x"}\n- a'}], "max_tokens": 9}


class Clock:
    """Stands for the event that a client waits on: notes the seconds, none of which pass."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def is_set(self) -> bool:
        return False

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)

    def set(self) -> None:
        """Do nothing."""


def client_of(server: Any, settings: Settings, patience: Patience | None = None, **options: Any) -> Client:
    return Client(Server(base_url=server.url), settings(server, **options), patience=patience)


def test_waits_grow_twofold_with_jitter_up_to_a_most(serve: Serve, api: ModuleType, settings: Settings) -> None:
    server = serve(lambda call: api.error(500))
    with client_of(server, settings) as client:
        client.stop = clock = Clock()
        with pytest.raises(CallError):
            client.complete(BODY)
    assert len(server.calls) == client.calls == 6
    assert len(clock.waits) == 5
    for wait, longest in zip(clock.waits, [0.5, 1, 2, 4, 8], strict=True):
        assert longest / 2 <= wait <= longest
    assert Patience().wait_seconds(50, CallError("x", then=Then.RETRY)) <= 30
    assert len({Patience().wait_seconds(3, CallError("x", then=Then.RETRY)) for _ in range(9)}) > 1


@pytest.mark.parametrize("kind", ["seconds", "date"])
def test_server_that_asks_to_wait_is_obeyed(serve: Serve, api: ModuleType, settings: Settings, kind: str) -> None:
    after = "7" if kind == "seconds" else formatdate(time.time() + 7, usegmt=True)
    server = serve(lambda call: api.error(429, headers={"Retry-After": after}) if len(server.calls) < 2 else None)
    with client_of(server, settings) as client:
        client.stop = clock = Clock()
        client.complete(BODY)
    assert len(clock.waits) == 1
    assert 5 < clock.waits[0] <= 7


def test_wait_that_is_too_long_ends_all(serve: Serve, api: ModuleType, settings: Settings) -> None:
    server = serve(lambda call: api.error(429, "slow down", headers={"Retry-After": "3600"}))
    with client_of(server, settings) as client, pytest.raises(CallError, match="wait 3,600 s, slow down") as raised:
        client.complete(BODY)
    assert (raised.value.then, client.calls) == (Then.END, 1)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0.0),
        ("", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("1.5", 1.5),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(value: str | None, seconds: float) -> None:
    assert read_retry_after(value, now=100.0) == seconds


@pytest.mark.parametrize(
    ("statuses", "then"),
    [
        ((408, 409, 425, 429, 500, 502, 503, 504, 529), Then.RETRY),
        ((400, 413, 422), Then.SKIP),
        ((301, 401, 402, 403, 404, 405, 451), Then.END),
    ],
)
def test_table_says_what_follows_a_status(statuses: tuple[int, ...], then: Then) -> None:
    assert {judge_status(status, None, Server(base_url="http://h")).then for status in statuses} == {then}


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_what_cannot_pass_is_asked_once(serve: Serve, api: ModuleType, settings: Settings, status: int) -> None:
    server = serve(lambda call: api.error(status, "because"))
    with client_of(server, settings) as client, pytest.raises(CallError, match="because"):
        client.complete(BODY)
    assert len(server.calls) == 1


def test_web_page_instead_of_json_is_tried_again_and_named(
    serve: Serve, api: ModuleType, settings: Settings, patience: Patience
) -> None:
    server = serve(lambda call: api.page())
    with client_of(server, settings, patience) as client, pytest.raises(CallError, match="perhaps a web page"):
        client.complete(BODY)
    assert len(server.calls) == patience.attempts


def test_server_that_is_down_is_tried_again_and_costs_nothing(settings: Settings, patience: Patience) -> None:
    class Down:
        url = "http://127.0.0.1:9/v1"

    with client_of(Down, settings, patience) as client, pytest.raises(CallError, match="ConnectError") as raised:
        client.complete(BODY)
    assert client.calls == patience.attempts
    assert not raised.value.charged


def test_stopped_client_makes_no_call(serve: Serve, settings: Settings) -> None:
    server = serve()
    with client_of(server, settings) as client:
        client.stop.set()
        with pytest.raises(StoppedError):
            client.complete(BODY)
    assert server.calls == []


def test_waiting_ends_when_the_client_is_stopped(serve: Serve, api: ModuleType, settings: Settings) -> None:
    def fail(call: Any) -> Any:
        client.stop.set()
        return api.error(429, headers={"Retry-After": "60"})

    server = serve(fail)
    started = time.perf_counter()
    with client_of(server, settings) as client, pytest.raises(StoppedError):
        client.complete(BODY)
    assert time.perf_counter() - started < 2


def test_openais_own_server_is_not_asked_without_a_key(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="needs a key"):
        Client(Server(base_url="https://api.openai.com/v1"), LLMConfig())


@pytest.mark.parametrize("message", [{"code": "x"}, "a string", ["a list"], None])
def test_error_of_any_shape_is_one_line(message: Any) -> None:
    failure = judge_status(500, message, Server(base_url="http://h"))
    assert failure.reason
    assert "\n" not in failure.reason
    assert len(judge_status(500, "long\n" * 999, Server(base_url="http://h")).reason) < 220


def test_answer_without_choices_or_message_is_empty_and_not_an_error(
    serve: Serve, api: ModuleType, settings: Settings
) -> None:
    server = serve(lambda call: api.Response(200, '{"choices": []}'))
    with client_of(server, settings) as client:
        reply = client.complete(BODY)
    assert (reply.content, reply.finish_reason, reply.usage.prompt_tokens) == ("", None, None)
