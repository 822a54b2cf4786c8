"""With several labels a text every method learns, saves, and predicts the same sets when loaded."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from loracle.data.loading import load_task
from loracle.data.task import Task
from loracle.errors import ConfigError
from loracle.evaluation.metrics import measure
from loracle.files import load_json
from loracle.lora.config import LoRAConfig
from loracle.methods.linear import C_GRID, fit_regression
from loracle.methods.method import MANIFEST, Fitted, Setup
from loracle.methods.registry import METHODS, load_classifier
from loracle.methods.untrained import choose_rule
from loracle.models.networks import NetworkConfig
from loracle.training.budget import Budget

WORDS = {"late": "late waited weeks", "rude": "rude nobody never", "broken": "broken box awful"}
TRAINED = ("tfidf", "probe", "lstm", "scratch", "lora", "partial", "full")
RATES = {"lstm": 5e-3, "partial": 2e-3, "lora": 2e-3}  # 1e-3 for the others
LOCAL = ("majority", "untrained", *TRAINED)
TEXTS = ["late parcel never answered", "", "lovely fast friendly shop", "late rude broken", "zzz qqq"]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    draw = random.Random(4)
    lines = ["text\tlabels"]
    for _ in range(600):
        labels = [name for name in WORDS if draw.random() < 0.4]
        words = [draw.choice(WORDS[name].split()) for name in labels for _ in range(2)]
        words += draw.choices("my order shop price it was and a is arrived".split(), k=3)
        draw.shuffle(words)
        lines.append(f"{' '.join(words)}\t{'|'.join(labels)}")
    path = tmp_path_factory.mktemp("data") / "sets.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load_task(path, label_separator="|")


@pytest.fixture(scope="module")
def setup(tiny_base: Path) -> Setup:
    budget = Budget(epochs=12, patience=12, batch_size=8, max_length=24, precision="fp32")
    sizes = NetworkConfig(
        scratch_hidden=32, scratch_layers=2, scratch_heads=2, scratch_intermediate=48, lstm_embedding=16, lstm_hidden=16
    )
    return Setup(model=str(tiny_base), budget=budget, lora=LoRAConfig(targets=("all-linear",)), networks=sizes)


@pytest.fixture(scope="module")
def fitted(task: Task, setup: Setup) -> dict[str, Fitted]:
    def fit(name: str) -> Fitted:
        rate = RATES.get(name, 1e-3) if METHODS[name].by_gradient else None
        return METHODS[name].fit(task, setup, seed=0, learning_rate=rate)

    return {name: fit(name) for name in LOCAL}


@pytest.mark.parametrize("name", LOCAL)
def test_every_label_has_a_probability_of_its_own(fitted: dict[str, Fitted], name: str) -> None:
    probabilities = fitted[name].classifier.predict_proba(TEXTS)
    assert probabilities.shape == (len(TEXTS), 3)
    assert probabilities.dtype == np.float32
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert not np.allclose(probabilities.sum(1), 1)


@pytest.mark.parametrize("name", LOCAL)
def test_saved_classifier_predicts_the_same_sets(fitted: dict[str, Fitted], name: str, tmp_path: Path) -> None:
    classifier = fitted[name].classifier
    classifier.save(tmp_path / "saved")
    loaded = load_classifier(tmp_path / "saved")
    assert np.array_equal(loaded.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    assert loaded.predict(TEXTS) == classifier.predict(TEXTS)
    assert loaded.thresholds == classifier.thresholds
    assert load_json(tmp_path / "saved" / MANIFEST)["thresholds"] == list(classifier.thresholds)


@pytest.mark.parametrize("name", TRAINED)
def test_method_learns_what_the_words_say(fitted: dict[str, Fitted], task: Task, name: str) -> None:
    def micro_f1(name: str) -> float:
        classifier = fitted[name].classifier
        probabilities = classifier.predict_proba(task.test.texts)
        return measure(task.test.labels, probabilities, classifier.thresholds)["micro_f1"]

    assert micro_f1(name) > micro_f1("majority") + 0.1


@pytest.mark.parametrize("name", ["tfidf", "lstm"])
def test_labels_of_a_text_are_named_in_order(fitted: dict[str, Fitted], name: str) -> None:
    texts = ["my order was rude nobody", "late waited broken box"]
    assert fitted[name].classifier.predict(texts) == [["rude"], ["broken", "late"]]


@pytest.mark.parametrize("name", LOCAL)
def test_validation_metrics_are_those_with_the_thresholds(fitted: dict[str, Fitted], task: Task, name: str) -> None:
    classifier = fitted[name].classifier
    again = measure(task.validation.labels, classifier.predict_proba(task.validation.texts), classifier.thresholds)
    assert again == pytest.approx(fitted[name].validation_metrics, abs=1e-5)


def test_majority_gives_every_text_every_label_and_says_so(fitted: dict[str, Fitted]) -> None:
    classifier = fitted["majority"].classifier
    assert classifier.predict(TEXTS) == [list(classifier.label_names)] * len(TEXTS)
    assert METHODS["majority"].summary.endswith("of several labels a text, all")


def test_majority_predicts_the_shares_of_the_labels(fitted: dict[str, Fitted], task: Task) -> None:
    shares = task.train.labels.mean(axis=0)
    np.testing.assert_allclose(fitted["majority"].classifier.predict_proba(["x"])[0], shares, atol=1e-6)


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_one_regression_a_label_is_scikit_learns(task: Task, weights: str) -> None:
    vectorizer = TfidfVectorizer()
    train, validation = vectorizer.fit_transform(task.train.texts), vectorizer.transform(task.validation.texts)
    regression, trial, search = fit_regression(
        (train, task.train.labels), (validation, task.validation.labels), Budget(class_weights=weights), seed=0
    )
    assert [found["value"] for found in search] == list(C_GRID)
    for label in range(3):
        own = LogisticRegression(
            C=trial.c, max_iter=1000, random_state=0, class_weight=None if weights == "none" else weights
        ).fit(train, task.train.labels[:, label])
        expected = own.predict_proba(validation)[:, 1]
        np.testing.assert_allclose(regression.predict_proba(validation)[:, label], expected, atol=1e-12)


def test_class_weights_reach_the_regression_of_one_label_a_text() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.uniform(size=200) < 0.1).astype(np.int64)
    features = rng.standard_normal((200, 2)) + labels[:, None]
    plain, weighted = (
        fit_regression((features, labels), (features, labels), Budget(class_weights=name), seed=0)[0]
        for name in ("none", "balanced")
    )
    own = LogisticRegression(C=weighted.C, max_iter=1000, random_state=0, class_weight="balanced").fit(features, labels)
    np.testing.assert_allclose(weighted.coef_, own.coef_)
    assert weighted.predict_proba(features)[:, 1].mean() > plain.predict_proba(features)[:, 1].mean() + 0.1


def test_label_that_all_texts_have_gets_its_share(task: Task) -> None:
    features = np.random.default_rng(0).standard_normal((8, 2))
    labels = np.stack([np.ones(8), np.arange(8) % 2], axis=1).astype(np.uint8)
    regression, _, _ = fit_regression((features, labels), (features, labels), Budget(), seed=0)
    np.testing.assert_allclose(regression.predict_proba(features)[:, 0], 0.9)


@pytest.mark.parametrize("options", [{"loss": "focal"}, {"class_weights": "balanced"}, {"label_smoothing": 0.2}])
@pytest.mark.parametrize("name", ["lora", "lstm"])
def test_loss_options_change_what_gradient_methods_learn(
    task: Task, setup: Setup, name: str, options: dict[str, object]
) -> None:
    def probabilities(**changes: object) -> np.ndarray:
        changed = replace(setup, budget=replace(setup.budget, epochs=1, **changes))
        return METHODS[name].fit(task, changed, seed=0, learning_rate=5e-3).classifier.predict_proba(TEXTS)

    plain, again, changed = probabilities(), probabilities(), probabilities(**options)
    assert np.array_equal(plain, again)
    assert not np.allclose(plain, changed, atol=1e-4)


def test_network_that_is_saved_whole_says_that_labels_are_several(fitted: dict[str, Fitted], tmp_path: Path) -> None:
    fitted["full"].classifier.save(tmp_path / "saved")
    assert load_json(tmp_path / "saved" / "config.json")["problem_type"] == "multi_label_classification"


@pytest.mark.parametrize("name", ["llm", "llm-few"])
def test_language_model_is_refused(task: Task, setup: Setup, name: str) -> None:
    method = METHODS[name]
    with pytest.raises(ConfigError, match="one label a text"):
        method.fit(task, setup, seed=0)
    assert method.check is not None
    with pytest.raises(ConfigError, match="one label a text"):
        method.check(task, setup)


def test_sign_of_the_untrained_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="use names"):
        choose_rule("sign", 2, multi_label=True)
