"""The methods llm and llm-few keep the contract: nothing is asked in a fit, nothing of the test split is shown."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from loracle.data.loading import load_task
from loracle.data.task import Split, Task
from loracle.errors import ConfigError, DataError, FileError, ModelError
from loracle.methods.llm import LLM, LLM_FEW, LLMScorer, draw_examples
from loracle.methods.method import Classifier, Setup
from loracle.methods.registry import find_methods, load_classifier
from loracle.prompting.config import LLMConfig
from loracle.prompting.receipt import Receipt

Serve = Callable[..., Any]
PRICES = 'currency = "EUR"\ndate = 2026-01-01\n[models.tiny]\ninput = 1\noutput = 2\n'


class Forbidden(Split):
    """A split that nobody may read."""

    def __getattribute__(self, name: str) -> object:
        raise AssertionError(f"the test split was read: {name}")


@pytest.fixture(scope="module")
def api() -> ModuleType:
    path = Path(__file__).parents[1] / "prompting" / "server.py"
    spec = importlib.util.spec_from_file_location("loracle_methods_server", path)
    assert spec
    assert spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def serve(api: ModuleType) -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda *rules, **options: stack.enter_context(api.Server(*rules, **options))


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def task(tiny_file: Path) -> Task:
    return load_task(tiny_file)


def setup_for(server: Any, **options: Any) -> Setup:
    return Setup(llm=LLMConfig(llm_model="tiny", llm_base_url=server.url, **options))


def truth(api: ModuleType, task: Task) -> Callable[[Any], Any]:
    """Answer each text of the test split with its label."""
    names = dict(zip(task.test.texts, (task.label_names[label] for label in task.test.labels), strict=True))
    return lambda call: None if call.is_probe else api.answer(call, [names[text] for text in call.texts])


def scorer_of(classifier: Classifier) -> LLMScorer:
    assert isinstance(classifier.scorer, LLMScorer)
    return classifier.scorer


def receipt_of(classifier: Classifier) -> Receipt:
    receipt = scorer_of(classifier).receipt
    assert receipt
    return receipt


def test_fit_asks_nothing_and_reads_no_test_text(serve: Serve, task: Task) -> None:
    server = serve()
    unread = replace(task, test=Forbidden("test", task.test.rows))
    for method in (LLM, LLM_FEW):
        fitted = method.fit(unread, setup_for(server), seed=0)
        assert fitted.validation_metrics == {}
        assert fitted.classifier.method == method.name
        assert fitted.classifier.counts.total == 0
    assert server.calls == []


def test_probabilities_are_the_labels_that_were_answered(serve: Serve, api: ModuleType, task: Task) -> None:
    classifier = LLM.fit(task, setup_for(serve(truth(api, task))), seed=0).classifier
    counted: list[int] = []
    probabilities = classifier.predict_proba(task.test.texts, lambda count, loss: counted.append(count))
    assert probabilities.dtype == np.float32
    assert np.array_equal(probabilities, np.eye(2, dtype=np.float32)[task.test.labels])
    assert sum(counted) == len(task.test)
    assert receipt_of(classifier).texts == len(task.test)


def test_text_without_a_usable_answer_has_a_row_of_zeros(serve: Serve, api: ModuleType, task: Task) -> None:
    server = serve(lambda call: api.completion("well") if "poison" in call.texts else None)
    classifier = LLM.fit(task, setup_for(server), seed=0).classifier
    probabilities = classifier.predict_proba(["good box", "poison", "bad box"])
    assert probabilities.tolist() == [[0, 1], [0, 0], [1, 0]]
    assert receipt_of(classifier).outcome_of == ("ok", "malformed", "ok")


def test_no_texts_give_no_rows_and_no_call(serve: Serve, task: Task) -> None:
    server = serve()
    scorer = scorer_of(LLM.fit(task, setup_for(server), seed=0).classifier)
    assert scorer.predict_proba([]).shape == (0, 2)
    assert server.calls == []
    assert scorer.receipt
    assert scorer.receipt.seconds_per_1000 is None


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_examples_are_drawn_from_train_alone_and_balanced(task: Task, count: int) -> None:
    unread = replace(task, test=Forbidden("test", task.test.rows), validation=Forbidden("test", task.test.rows))
    examples = draw_examples(unread, LLMConfig(llm_examples=count), seed=0)
    true = dict(zip(task.train.texts, task.train.labels, strict=True))
    assert all(task.label_names[true[example.text]] == example.label for example in examples)
    counts = Counter(example.label for example in examples)
    assert len({example.text for example in examples}) == count
    assert max(counts.values()) - min(counts[name] for name in task.label_names) <= 1


def test_seed_decides_the_examples(task: Task) -> None:
    config = LLMConfig(llm_examples=4)
    first, again, other = (draw_examples(task, config, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_more_examples_than_texts_are_all_texts(task: Task) -> None:
    assert len(draw_examples(task, LLMConfig(llm_examples=10**6), seed=0)) == len(task.train)


def test_few_shot_shows_its_examples_cut_like_all_texts(serve: Serve, task: Task) -> None:
    server = serve()
    setup = setup_for(server, llm_examples=2, llm_characters=9, llm_keep="first")
    classifier = LLM_FEW.fit(task, setup, seed=0).classifier
    classifier.predict(["good box that came late"])
    shown, asked = (server.questions[0].body["messages"][place]["content"] for place in (1, 3))
    texts = [json.loads(line)["text"] for line in shown.splitlines()]
    assert texts == [example.text for example in scorer_of(classifier).prompt.examples]
    assert {len(text) for text in texts} == {9}
    assert json.loads(asked)["text"] == "good box "


@pytest.mark.parametrize("name", ["llm", "llm-few"])
def test_loaded_classifier_asks_again_and_the_cache_answers(
    serve: Serve, task: Task, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (method,) = find_methods([name])
    server = serve()
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    Path("prices.toml").write_text(PRICES)
    setup = setup_for(server, llm_cache=tmp_path / "answers", llm_prices=Path("prices.toml"), llm_budget=9.0)
    classifier = method.fit(task, setup, seed=0).classifier
    before = classifier.predict_proba(task.test.texts)
    classifier.save(tmp_path / "saved")
    Path("prices.toml").unlink()
    loaded, calls = load_classifier(tmp_path / "saved"), len(server.calls)
    assert np.array_equal(loaded.predict_proba(task.test.texts), before)
    assert len(server.calls) == calls
    assert receipt_of(loaded).saved == len(task.test)
    assert receipt_of(loaded).cost
    assert (loaded.method, loaded.label_names) == (name, task.label_names)
    assert scorer_of(loaded).prompt == scorer_of(classifier).prompt
    assert scorer_of(loaded).config == scorer_of(classifier).config
    loaded.predict(["a text that is new"])
    assert len(server.calls) == calls + 1


def test_saved_classifier_remembers_the_server_and_not_the_key(
    serve: Serve, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(key="sk-secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    classifier = LLM.fit(task, Setup(llm=LLMConfig(llm_model="tiny")), seed=0).classifier
    classifier.predict(["good box"])
    classifier.save(tmp_path / "saved")
    assert load_classifier(tmp_path / "saved").predict(["good box"]) == ["good"]
    assert not any(b"sk-secret" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert "sk-secret" not in repr(classifier) + repr(vars(classifier.scorer))


def test_address_of_a_saved_folder_is_asked_only_where_the_user_names_it(
    serve: Serve, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    LLM.fit(task, setup_for(server), seed=0).classifier.save(tmp_path / "saved")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with pytest.raises(ModelError, match=f"asks {server.url}; set OPENAI_BASE_URL"):
        load_classifier(tmp_path / "saved")
    assert not server.calls


def test_saved_file_that_is_not_whole_is_refused(serve: Serve, task: Task, tmp_path: Path) -> None:
    LLM.fit(task, setup_for(serve()), seed=0).classifier.save(tmp_path / "saved")
    path = tmp_path / "saved" / "llm.json"
    saved = json.loads(path.read_text())
    path.write_text(json.dumps(saved | {"settings": {"llm_models": "x"}}))
    with pytest.raises(FileError, match="train it again"):
        load_classifier(tmp_path / "saved")


def test_methods_of_one_run_share_the_budget(serve: Serve, task: Task) -> None:
    Path("prices.toml").write_text(PRICES)
    server = serve()
    setup = setup_for(server, llm_prices=Path("prices.toml"), llm_budget=0.02)
    first, second = (method.fit(task, setup, seed=0).classifier for method in (LLM, LLM_FEW))
    first.predict_proba(task.test.texts)
    spent = scorer_of(first).spent
    assert spent == pytest.approx((server.usage[0] + 2 * server.usage[1]) / 1e6)
    second.predict_proba(task.test.texts)
    assert setup.llm.purse.spent == pytest.approx((server.usage[0] + 2 * server.usage[1]) / 1e6)
    assert setup.llm.purse.spent > spent


def test_amounts_are_blank_without_a_price(serve: Serve, task: Task) -> None:
    classifier = LLM.fit(task, setup_for(serve()), seed=0).classifier
    classifier.predict(["good box"])
    assert scorer_of(classifier).spent is None
    assert receipt_of(classifier).cost is None
    assert receipt_of(classifier).prompt_tokens


def test_fit_refuses_what_cannot_be_asked(serve: Serve, task: Task) -> None:
    with pytest.raises(ConfigError, match="give llm_model"):
        LLM.fit(task, Setup(), seed=0)
    with pytest.raises(ConfigError, match="no price of 'tiny'"):
        LLM.fit(task, setup_for(serve(), llm_budget=1.0), seed=0)
    with pytest.raises(DataError, match="differ in case"):
        LLM.fit(replace(task, label_names=("Good", "good")), setup_for(serve()), seed=0)


def test_check_asks_the_server_whether_it_has_the_model(serve: Serve, task: Task) -> None:
    server = serve(models=["tiny"])
    for method in (LLM, LLM_FEW):
        assert method.check
        method.check(task, setup_for(server))
    assert server.calls == []
    assert all(method.remote for method in (LLM, LLM_FEW))
    assert not {"llm", "llm-few"} & {method.name for method in find_methods(["all-local"])}
