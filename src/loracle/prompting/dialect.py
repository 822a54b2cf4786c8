"""What a server takes with a model, found out by one call: not every option that one knows is known to all."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from loracle.prompting.answers import is_complete
from loracle.prompting.cache import Cache, hash_parts
from loracle.prompting.client import Body, Client
from loracle.prompting.failures import CallError, Then
from loracle.prompting.prompt import Prompt, most_tokens, render_messages, response_format
from loracle.prompting.reply import Reply

_TEXT = "It arrived on time and works."
_REASONING_TOKENS = 4096  # room to think, for models that do


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a server wants to be asked. `reasons` says that the model thinks before it answers, which takes tokens."""

    structured: bool = True
    token_limit: str = "max_tokens"  # the older name first: a server that does not know the newer one may ignore it
    temperature: bool = True
    system: bool = True
    reasons: bool = False


# What an error says of an option that is not taken, and what is done instead; in the order of suspicion.
_INSTEAD: tuple[tuple[tuple[str, ...], Mapping[str, Any]], ...] = (
    (("response_format", "schema", "grammar", "structured"), {"structured": False}),
    (("max_tokens", "max_completion_tokens"), {"token_limit": "max_completion_tokens"}),
    (("temperature",), {"temperature": False}),
    (("system",), {"system": False}),
)


def render_body(model: str, prompt: Prompt, texts: Sequence[str], dialect: Dialect) -> Body:
    """Return the chat completion that asks about `texts`, in the server's dialect."""
    messages = render_messages(prompt, texts, structured=dialect.structured)
    if not dialect.system:
        first, second, *others = messages
        messages = [{**second, "content": f"{first['content']}\n\n{second['content']}"}, *others]
    tokens = most_tokens(prompt.label_names, len(texts)) + (_REASONING_TOKENS if dialect.reasons else 0)
    body: Body = {"model": model, "messages": messages, dialect.token_limit: tokens}
    if dialect.temperature:
        body["temperature"] = 0
    if dialect.structured:
        body["response_format"] = response_format(prompt.label_names)
    return body


def find_dialect(client: Client, cache: Cache, model: str, prompt: Prompt) -> Dialect:
    """Return what the server takes: as it was found out earlier today, else by asking; raises CallError.

    A day is as long as a verdict holds, since servers change.
    """
    labels, today = list(prompt.label_names), datetime.date.today().isoformat()
    key = hash_parts("dialect", client.server.base_url, model, labels, today)
    kept = cache.load([key]).get(key)
    if kept is not None:
        return Dialect(**kept)
    dialect = probe(client, model, replace(prompt, examples=()))
    cache.add(key, asdict(dialect))
    return dialect


def probe(client: Client, model: str, prompt: Prompt) -> Dialect:
    """Ask about one made-up text, giving up options until the server takes the call; raises CallError if it does not.

    A schema that the server takes but does not keep to counts as not taken.
    """
    dialect = Dialect()
    while True:
        try:
            reply = client.complete(render_body(model, prompt, [_TEXT], dialect))
        except CallError as failure:
            simpler = _give_way(dialect, failure)
            if simpler is None:
                raise
            dialect = simpler
        else:
            keeps = dialect.structured and _keeps_schema(reply, prompt.label_names)
            return replace(dialect, structured=keeps, reasons=reply.reasoned)


def _give_way(dialect: Dialect, failure: CallError) -> Dialect | None:
    """Return the dialect without the option that the error names, else without the next one; None if none is left."""
    if failure.then is not Then.SKIP or failure.filtered:
        return None
    options = [(words, instead) for words, instead in _INSTEAD if replace(dialect, **instead) != dialect]
    named = [instead for words, instead in options if any(word in failure.reason.lower() for word in words)]
    others = [instead for _, instead in options]
    return replace(dialect, **(named or others)[0]) if others else None


def _keeps_schema(reply: Reply, label_names: Sequence[str]) -> bool:
    if not reply.content.strip():
        return True  # refused, filtered or still thinking, none of which speaks against it
    if reply.finish_reason == "length":
        return reply.content.lstrip().startswith("{")
    return is_complete(reply, label_names)
