"""Ask about many texts: first what is kept, then calls at the same time, halved until each text has its answer."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import asdict

from loracle.errors import ConfigError, LoracleError
from loracle.prompting.answers import API_ERROR, FILTERED, OK, read_reply
from loracle.prompting.cache import Cache, hash_parts
from loracle.prompting.client import Client, Patience, StoppedError
from loracle.prompting.config import LLMConfig
from loracle.prompting.dialect import find_dialect, render_body
from loracle.prompting.failures import CallError, Then, explain
from loracle.prompting.prices import Price
from loracle.prompting.prompt import Prompt, cut, render_messages
from loracle.prompting.purse import BudgetError
from loracle.prompting.receipt import Answer, Calls, Receipt, parse_answer, write_receipt
from loracle.prompting.reply import Reply, Usage
from loracle.prompting.server import Server, find_server

_SAID_CHARACTERS = 200
_FAILURES_IN_A_ROW = 4  # that end a run, or as many as can be under way at once

Item = tuple[str, str]  # key and text
Batch = Sequence[Item]


def require_model(config: LLMConfig) -> str:
    """Return the model's name; raises ConfigError where there is none."""
    if not config.llm_model:
        raise ConfigError("the methods llm and llm-few ask a model and none is named; give llm_model (--llm-model)")
    return config.llm_model


def require_price(config: LLMConfig, price: Price | None) -> None:
    """Raise ConfigError where there is a budget and no price to hold it with."""
    if config.llm_budget is not None and price is None:
        raise ConfigError(
            f"llm_budget is {config.llm_budget:g} and no price of {config.llm_model!r} is known, so that it could not "
            "be held; give a file with its price (llm_prices), or leave llm_budget out"
        )


def explain_budget(ended: BudgetError, price: Price | None, state: str) -> LoracleError:
    """Return the error that says what was spent, how far that went (`state`), and what to set."""
    currency = price.currency if price else "units"
    return ConfigError(
        f"llm_budget {ended.limit:g} {currency} is used up: {ended.spent:.4g} is spent and the next call may cost "
        f"{ended.needed:.2g}; {state}. Set a higher llm_budget to go on"
    )


def ask(
    texts: Sequence[str],
    prompt: Prompt,
    config: LLMConfig,
    *,
    price: Price | None = None,
    on_done: Callable[[int], None] | None = None,
    patience: Patience | None = None,
) -> tuple[tuple[Answer, ...], Receipt]:
    """Return the answer of each text, and the receipt; `on_done` is told how many texts more have theirs.

    Each different text is asked about once. Raises a LoracleError where the budget has ended, or where no further
    call can succeed; the answers that came until then are kept, so that asking again goes on from there.
    """
    require_price(config, price)
    server, model = find_server(config), require_model(config)
    sent = [cut(text, keep=config.llm_keep, characters=config.llm_characters) for text in texts]
    keys = [_key(text, prompt, config, server) for text in sent]
    copies = Counter(keys)

    def report(done: Iterable[str]) -> None:
        if on_done:
            on_done(sum(copies[key] for key in done))

    with Cache(config.llm_cache, base_url=server.base_url, model=model) as cache:
        kept = {key: parse_answer(record) for key, record in cache.load(copies.keys()).items()}
        report(kept)
        missing = {key: text for key, text in zip(keys, sent, strict=True) if key not in kept}
        asking = Asking(cache, prompt, config, price=price, patience=patience)
        try:
            new, calls = asking.run(missing, server, report) if missing else ({}, Calls())
        except CallError as failure:
            raise explain(failure, server, model) from None
        except BudgetError as ended:
            state = f"{len(kept) + asking.answered:,} of {len(copies):,} texts are answered and kept"
            raise explain_budget(ended, price, state) from None
    answers = tuple((kept | new)[key] for key in keys)
    saved = sum(copies[key] for key in kept)
    return answers, write_receipt(
        answers, kept=kept.values(), saved=saved, calls=calls, price=price, concurrency=config.llm_concurrency
    )


class Asking:
    """One round of calls about texts that have no answer yet; `answered` counts those that have one now."""

    def __init__(
        self, cache: Cache, prompt: Prompt, config: LLMConfig, *, price: Price | None, patience: Patience | None
    ) -> None:
        self.cache, self.prompt, self.config, self.price, self.patience = cache, prompt, config, price, patience
        self.model = require_model(config)
        self.answered = self._failures_in_a_row = 0
        self._last_failure: CallError | None = None
        self._ended: BaseException | None = None
        self._counting = threading.Lock()

    def run(
        self, texts: Mapping[str, str], server: Server, report: Callable[[Iterable[str]], None]
    ) -> tuple[dict[str, Answer], Calls]:
        """Return each text's answer by its key, and what the calls took; `report` is told the keys as they are done.

        Raises CallError where no further call can succeed, BudgetError where none may be made.
        """
        self.cache.open()  # before anything is spent
        with Client(server, self.config, price=self.price, patience=self.patience) as client:
            answers = self._ask_all(client, list(texts.items()), report)
        last_error = self._last_failure.reason if self._last_failure else None
        return answers, Calls(made=client.calls, usage=client.usage, last_error=last_error)

    def _ask_all(self, client: Client, items: Batch, report: Callable[[Iterable[str]], None]) -> dict[str, Answer]:
        """Ask in batches, as many at the same time as allowed; an error stops all that has not begun."""
        self.dialect = find_dialect(client, self.cache, self.model, self.prompt)
        size, answers = self.config.llm_texts_per_call, dict[str, Answer]()
        batches = (items[start : start + size] for start in range(0, len(items), size))
        with ThreadPoolExecutor(self.config.llm_concurrency) as pool:
            try:
                for done in self._in_flight(pool, client, batches):
                    answers |= done
                    report(done)
            except StoppedError:
                raise self._ended or StoppedError from None
            finally:
                client.stop.set()  # calls under way end by themselves, and their answers are kept: they are paid for
        if self._last_failure and not self.answered:
            raise self._last_failure
        return answers

    def _in_flight(
        self, pool: ThreadPoolExecutor, client: Client, batches: Iterable[Batch]
    ) -> Iterator[dict[str, Answer]]:
        """Yield the answers of each batch as it is done, with few batches waiting for a thread."""
        waiting: set[Future[dict[str, Answer]]] = set()
        for batch in batches:
            waiting.add(pool.submit(self._work, client, batch))
            if len(waiting) >= 2 * self.config.llm_concurrency:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        yield from (future.result() for future in as_completed(waiting))

    def _work(self, client: Client, batch: Batch) -> dict[str, Answer]:
        """Ask about a batch; the first error stops all calls that have not begun."""
        try:
            return self._ask_batch(client, batch)
        except BaseException as error:
            with self._counting:
                self._ended = self._ended or error
            client.stop.set()
            raise

    def _ask_batch(self, client: Client, batch: Batch) -> dict[str, Answer]:
        """Ask until each text of the batch has an answer of its own, or cannot have one."""
        answers: dict[str, Answer] = {}
        used = dict.fromkeys((key for key, _ in batch), Usage())
        waiting = [batch]
        while waiting:
            items = waiting.pop()
            try:
                reply = client.complete(render_body(self.model, self.prompt, [text for _, text in items], self.dialect))
            except CallError as failure:
                waiting += self._give_up(failure, items, used, answers)
                continue
            self._failures_in_a_row = 0
            for (key, _), usage in zip(items, reply.usage.split(len(items)), strict=True):
                used[key] += usage
            waiting += self._settle(reply, items, used, answers)
        return answers

    def _settle(self, reply: Reply, items: Batch, used: Mapping[str, Usage], answers: dict[str, Answer]) -> list[Batch]:
        """Keep the labels that came, and return what is to be asked next."""
        labels, outcome = read_reply(reply, self.prompt.label_names, len(items), structured=self.dialect.structured)
        for (key, _), label in zip(items, labels, strict=True):
            if label is not None:
                answers[key] = self._keep(key, Answer(outcome=OK, label=label, usage=used[key]))
        unanswered = [item for item, label in zip(items, labels, strict=True) if label is None]
        if unanswered and len(items) == 1:
            key = items[0][0]
            said = (reply.refusal or reply.content)[:_SAID_CHARACTERS]
            answers[key] = self._keep(key, Answer(outcome=outcome, usage=used[key], said=said))
            return []
        return [unanswered] if 0 < len(unanswered) < len(items) else _halves(unanswered)

    def _give_up(
        self, failure: CallError, items: Batch, used: Mapping[str, Usage], answers: dict[str, Answer]
    ) -> list[Batch]:
        """Return the halves that may be taken where a call was not, or note that its texts have no answer.

        Raises the failure again where every further call would fail too.
        """
        if failure.then is Then.END:
            raise failure
        if failure.then is Then.SKIP and len(items) > 1:
            return _halves(items)
        if failure.filtered:
            key = items[0][0]
            answers[key] = self._keep(key, Answer(outcome=FILTERED, usage=used[key], said=failure.reason))
            return []
        with self._counting:
            self._last_failure = failure
            self._failures_in_a_row += 1
        if self._failures_in_a_row > max(_FAILURES_IN_A_ROW, self.config.llm_concurrency):
            raise failure
        answers |= {key: Answer(outcome=API_ERROR, usage=used[key]) for key, _ in items}  # no answer: not kept
        return []

    def _keep(self, key: str, answer: Answer) -> Answer:
        self.cache.add(key, asdict(answer))
        with self._counting:
            self.answered += 1
        return answer


def _key(text: str, prompt: Prompt, config: LLMConfig, server: Server) -> str:
    """Return what an answer is kept under: all that can change it."""
    asked = render_messages(prompt, [text], structured=False)
    return hash_parts(server.base_url, config.llm_model, config.llm_texts_per_call, asked)


def _halves(items: Batch) -> list[Batch]:
    middle = (len(items) + 1) // 2
    return [half for half in (items[:middle], items[middle:]) if half]
