"""Every method keeps the contract: it learns, never sees the test split, saves, and predicts the same when loaded."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loracle.data.loading import load_task
from loracle.data.task import Split, Task
from loracle.errors import ConfigError, LoracleError, ModelError
from loracle.lora.config import LoRAConfig
from loracle.methods.method import MANIFEST, Fitted, Setup
from loracle.methods.registry import METHODS, find_methods, load_classifier
from loracle.models.networks import NetworkConfig
from loracle.training.budget import Budget

RATES = {"scratch": 3e-3, "head": 3e-2, "lora-plus": 1e-3}  # 5e-3 for the others
VARIANTS = [method.name for method in find_methods(["all-lora"]) if method.name != "lora"]
LOCAL = [method.name for method in find_methods(["all-local"])] + VARIANTS
ON_A_TAUGHT_BASE = ("head", "bitfit", *VARIANTS)  # random weights give them little to start from
REWRITTEN = ("pissa", "olora")  # saved as plain LoRA of twice the rank, which rounds otherwise
TEXTS = ["late parcel never answered", "", "lovely fast friendly shop", "late " * 300, "zzz qqq"]


class Forbidden(Split):
    """A split that nobody may read."""

    def __getattribute__(self, name: str) -> object:
        raise AssertionError(f"the test split was read: {name}")


@pytest.fixture(scope="module")
def task(tiny_file: Path) -> Task:
    return load_task(tiny_file)


@pytest.fixture(scope="module")
def setup(tiny_base: Path) -> Setup:
    budget = Budget(epochs=4, batch_size=8, max_length=32, precision="fp32")
    sizes = NetworkConfig(
        scratch_hidden=32, scratch_layers=2, scratch_heads=2, scratch_intermediate=48, lstm_embedding=16, lstm_hidden=16
    )
    return Setup(model=str(tiny_base), budget=budget, lora=LoRAConfig(targets=("all-linear",)), networks=sizes)


@pytest.fixture(scope="module")
def fitted(task: Task, setup: Setup, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Fitted]:
    unread = replace(task, test=Forbidden("test", task.test.rows))

    def fit(name: str, setup: Setup) -> Fitted:
        rate = RATES.get(name, 5e-3) if METHODS[name].by_gradient else None
        return METHODS[name].fit(unread, setup, seed=0, learning_rate=rate)

    found = {name: fit(name, setup) for name in LOCAL if name not in ON_A_TAUGHT_BASE}
    base = found["full"].classifier.scorer.base
    folder = tmp_path_factory.mktemp("taught")
    base.network.bert.save_pretrained(folder)
    base.tokenizer.save_pretrained(folder)
    return found | {name: fit(name, replace(setup, model=str(folder))) for name in ON_A_TAUGHT_BASE}


@pytest.mark.parametrize("name", LOCAL)
def test_probabilities_are_float32_and_sum_to_one(fitted: dict[str, Fitted], name: str) -> None:
    probabilities = fitted[name].classifier.predict_proba(TEXTS)
    assert probabilities.shape == (len(TEXTS), 2)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("name", LOCAL)
def test_saved_classifier_predicts_the_same_to_the_bit(fitted: dict[str, Fitted], name: str, tmp_path: Path) -> None:
    classifier = fitted[name].classifier
    classifier.save(tmp_path / "saved")
    loaded = load_classifier(tmp_path / "saved")
    difference = np.abs(loaded.predict_proba(TEXTS) - classifier.predict_proba(TEXTS)).max()
    assert difference <= (1e-5 if name in REWRITTEN else 0)
    assert loaded.label_names == classifier.label_names
    assert loaded.counts == classifier.counts


@pytest.mark.parametrize("name", [name for name in LOCAL if name not in ("majority", "untrained")])
def test_method_learns_what_the_words_say(fitted: dict[str, Fitted], task: Task, name: str) -> None:
    assert fitted[name].validation_metrics["accuracy"] >= 0.8
    predicted = fitted[name].classifier.predict(["rude broken nobody", "lovely fast thanks"])
    assert predicted == ["bad", "good"]


def test_majority_predicts_the_training_shares(fitted: dict[str, Fitted], task: Task) -> None:
    shares = np.bincount(task.train.labels) / len(task.train)
    np.testing.assert_allclose(fitted["majority"].classifier.predict_proba(["x"])[0], shares, atol=1e-6)


def test_counts_tell_adapter_head_and_base_apart(fitted: dict[str, Fitted]) -> None:
    full, lora, probe = (fitted[name].classifier.counts for name in ("full", "lora", "probe"))
    assert full.trainable == full.total
    assert full.adapter == 0
    assert lora.base == full.base
    assert lora.trainable == lora.adapter + lora.head
    assert (full.head, probe.head) == (2 * 32 + 2, 32 + 1)  # a softmax head; a binary regression
    assert probe.base == full.base


def test_tfidf_and_probe_say_which_c_they_tried(fitted: dict[str, Fitted]) -> None:
    for name in ("tfidf", "probe"):
        assert [trial["setting"] for trial in fitted[name].search] == ["C"] * 4
        best = max(trial["accuracy"] for trial in fitted[name].search)
        assert fitted[name].validation_metrics["accuracy"] == best


def test_lora_folder_holds_no_base_weights(fitted: dict[str, Fitted], tmp_path: Path) -> None:
    for name in ("lora", "full"):
        fitted[name].classifier.save(tmp_path / name)
    assert (tmp_path / "lora" / "adapter_model.safetensors").is_file()
    assert not (tmp_path / "lora" / "model.safetensors").exists()
    assert (tmp_path / "full" / "model.safetensors").is_file()


def test_saving_replaces_a_saved_classifier_whole(fitted: dict[str, Fitted], tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    fitted["lora"].classifier.save(folder)
    fitted["tfidf"].classifier.save(folder)
    assert load_classifier(folder).method == "tfidf"
    assert not (folder / "adapter_model.safetensors").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_saving_over_something_else_is_refused(fitted: dict[str, Fitted], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("my only copy")
    with pytest.raises(ModelError, match="no saved classifier"):
        fitted["majority"].classifier.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_no_texts_give_no_rows(fitted: dict[str, Fitted]) -> None:
    for run in fitted.values():
        assert run.classifier.predict_proba([]).shape == (0, 2)


def test_seed_decides_what_a_gradient_method_finds(task: Task, setup: Setup) -> None:
    quick = replace(setup, budget=replace(setup.budget, epochs=1))
    runs = [METHODS["lora"].fit(task, quick, seed=seed, learning_rate=1e-3) for seed in (3, 3, 4)]
    first, again, other = (run.classifier.predict_proba(TEXTS) for run in runs)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_deterministic_method_needs_one_seed() -> None:
    assert list(METHODS["tfidf"].seeds(range(3))) == [0]
    assert list(METHODS["lora"].seeds(range(3))) == [0, 1, 2]


def test_all_gradient_methods_have_a_grid_of_the_same_length() -> None:
    assert {len(method.learning_rates) for method in METHODS.values() if method.by_gradient} == {5}


def test_unknown_method_offers_the_closest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'lora'"):
        find_methods(["loora"])


@pytest.mark.parametrize("names", [[], ["tfidf", "tfidf"], ["tfidf,tfidf"]])
def test_no_method_or_one_named_twice_is_refused(names: list[str]) -> None:
    with pytest.raises(ConfigError):
        find_methods(names)


def test_learning_rate_must_be_positive(task: Task, setup: Setup) -> None:
    with pytest.raises(ConfigError, match="learning_rate is -1"):
        METHODS["lora"].fit(task, setup, seed=0, learning_rate=-1)


def test_folder_that_holds_no_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=MANIFEST):
        load_classifier(tmp_path)


@pytest.mark.parametrize("content", ["not json", '{"format": 99}', '{"format": 1, "method": "loora"}'])
def test_broken_or_foreign_manifest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(LoracleError):
        load_classifier(tmp_path)
