"""A local server that speaks the OpenAI protocol, and misbehaves where a test tells it to."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

PROBE = "It arrived on time and works."


@dataclass(frozen=True)
class Call:
    """What one chat completion asked: the labels, the texts by their number, and the whole body."""

    body: dict[str, Any]
    labels: list[str]
    texts: list[str]
    key: str | None

    @property
    def structured(self) -> bool:
        return "response_format" in self.body

    @property
    def is_probe(self) -> bool:
        return self.texts == [PROBE]


@dataclass(frozen=True)
class Response:
    """What is sent back; `status` 0 drops the connection without a word."""

    status: int
    body: str
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    usage: tuple[int, int] = (0, 0)


Rule = Callable[[Call], Response | None]


def completion(
    content: str | None, *, finish_reason: str = "stop", usage: tuple[int, int] | None = (100, 10), **message: Any
) -> Response:
    """Return a chat completion with this content."""
    body: dict[str, Any] = {
        "id": "x",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish_reason,
                "message": {"role": "assistant", "content": content, **message},
            }
        ],
    }
    if usage:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return Response(200, json.dumps(body), usage=usage or (0, 0))


def error(status: int, message: str = "no", *, headers: dict[str, str] | None = None, **fields: Any) -> Response:
    """Return an error as OpenAI sends it."""
    return Response(status, json.dumps({"error": {"message": message, **fields}}), headers or {})


def page(status: int = 200) -> Response:
    """Return a web page."""
    return Response(status, "<html><body>Welcome</body></html>", content_type="text/html")


def drop() -> Response:
    """Close the connection instead of answering."""
    return Response(0, "")


def answer(call: Call, labels: Sequence[str], numbers: Sequence[int] | None = None, **options: Any) -> Response:
    """Answer a call with these labels, in the format that it asks for."""
    pairs = list(zip(numbers or range(1, len(labels) + 1), labels, strict=True))
    if call.structured:
        items = [{"number": number, "label": label} for number, label in pairs]
        return completion(json.dumps({"answers": items}), **options)
    return completion("\n".join(f"{number}: {label}" for number, label in pairs), **options)


def label_of(text: str, labels: Sequence[str]) -> str:
    """Return the first label that stands in the text, else the first label: what the server answers by itself."""
    return next((label for label in labels if label in text), labels[0])


class Server:
    """Answers every call truthfully unless one of `rules`, asked in order, has a response; use it as a context.

    `models` None means that there is no such route; `schema` False refuses response_format; `key` is demanded.
    """

    def __init__(
        self,
        *rules: Rule,
        models: list[str] | None = None,
        schema: bool = True,
        key: str | None = None,
        seconds: float = 0.0,
    ) -> None:
        self.rules, self.models, self.schema, self.key, self.seconds = rules, models, schema, key, seconds
        self.calls: list[Call] = []
        self.usage = (0, 0)
        self.in_flight = self.most_in_flight = 0
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"

    @property
    def questions(self) -> list[Call]:
        """The calls about texts, without those that only find out what the server takes."""
        return [call for call in self.calls if not call.is_probe]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def respond(self, call: Call) -> Response:
        """Return what a call is answered, and count it."""
        with self.lock:
            self.calls.append(call)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            time.sleep(self.seconds)
            response = self._decide(call)
        finally:
            with self.lock:
                self.in_flight -= 1
        with self.lock:
            self.usage = (self.usage[0] + response.usage[0], self.usage[1] + response.usage[1])
        return response

    def _decide(self, call: Call) -> Response:
        if self.key and call.key != self.key:
            return error(401, f"Incorrect API key provided: {call.key}")
        if not self.schema and call.structured:
            return error(400, "Unknown parameter: 'response_format'.")
        for rule in self.rules:
            response = rule(call)
            if response is not None:
                return response
        return answer(call, [label_of(text, call.labels) for text in call.texts])


class _Handler(BaseHTTPRequestHandler):
    owner: Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        models = self.owner.models
        if models is None or self.path != "/v1/models":
            return self._send(error(404, "no such route"))
        return self._send(Response(200, json.dumps({"object": "list", "data": [{"id": name} for name in models]})))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/chat/completions":
            return self._send(error(404, "no such route"))
        key = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        asked = "\n\n".join(message["content"] for message in body["messages"] if message["role"] != "assistant")
        labels = re.findall(r"^- (.*)$", asked, re.MULTILINE)
        lines = body["messages"][-1]["content"].splitlines()
        texts = [json.loads(line)["text"] for line in lines if line.startswith('{"number"')]
        return self._send(self.owner.respond(Call(body, labels, texts, key)))

    def _send(self, response: Response) -> None:
        if response.status == 0:
            self.close_connection = True
            return
        content = response.body.encode()
        try:
            self.send_response(response.status)
            headers = {"Content-Type": response.content_type, "Content-Length": str(len(content)), **response.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
        except OSError:  # the client has hung up
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
