"""Whether a server can be asked at all, found out before anything is spent."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from loracle.errors import ConfigError, LoracleError
from loracle.prompting.asking import explain_budget, require_model, require_price
from loracle.prompting.cache import Cache
from loracle.prompting.client import Client, Patience
from loracle.prompting.config import LLMConfig
from loracle.prompting.dialect import find_dialect
from loracle.prompting.failures import CallError, explain
from loracle.prompting.prices import find_price
from loracle.prompting.prompt import Prompt, check_labels
from loracle.prompting.purse import BudgetError
from loracle.prompting.server import Server, find_server

_PATIENCE = Patience(attempts=2)
_NAMES_SHOWN = 5


def check(prompt: Prompt, config: LLMConfig, *, patience: Patience = _PATIENCE) -> None:
    """Raise a LoracleError, one line that says which setting to change, where `prompt` could not be asked.

    Asks the server for its models. Only where the model is not listed there, or there is no list, is one call made
    about a made-up text, which `ask` then need not make again.
    """
    model = require_model(config)
    check_labels(prompt.label_names)
    server = find_server(config)
    price = find_price(model, server.base_url, config.llm_prices)
    require_price(config, price)
    with Cache(config.llm_cache, base_url=server.base_url, model=model) as cache:
        cache.open()
        with Client(server, config, price=price, patience=patience) as client:
            _check_model(client, cache, model, prompt)


def _check_model(client: Client, cache: Cache, model: str, prompt: Prompt) -> None:
    models: Sequence[str] = ()
    try:
        models = client.list_models() or ()
        if model not in models:
            find_dialect(client, cache, model, prompt)
    except CallError as failure:
        raise _explain_model(failure, client.server, model, models) from None
    except BudgetError as ended:
        raise explain_budget(ended, client.price, "nothing is asked yet") from None


def _explain_model(failure: CallError, server: Server, model: str, models: Sequence[str]) -> LoracleError:
    """Return what is wrong; where the server lists other models, that it does not have this one."""
    if not models or failure.status not in (400, 404, 422):
        return explain(failure, server, model)
    close = difflib.get_close_matches(model, models, n=3, cutoff=0.5)
    some = ", ".join(repr(name) for name in close or sorted(models)[:_NAMES_SHOWN])
    hint = f"did you mean {some}?" if close else f"it has {some}" + (" and more" * (len(models) > _NAMES_SHOWN))
    return ConfigError(f"llm_model is {model!r}, which {server.base_url} does not have; {hint}")
