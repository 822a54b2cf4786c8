"""A comparison may hold the frozen base in 8 or 4 bits: trained, saved, loaded, told in the ledger, merged in full."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from loracle.comparison.ledger import write_ledger
from loracle.data.loading import load_task
from loracle.data.task import Task
from loracle.errors import ConfigError, ModelError
from loracle.lora.config import LoRAConfig
from loracle.methods.lora import load_merged
from loracle.methods.method import Classifier, Setup
from loracle.methods.registry import METHODS, find_methods, load_classifier
from loracle.models.quantising import quantised_layers
from loracle.training.budget import Budget

TEXTS = ["late parcel never answered", "", "lovely fast friendly shop", "late " * 300, "zzz qqq"]
READERS = ["lora", "head", "probe"]


@pytest.fixture(scope="module")
def task(tiny_file: Path) -> Task:
    return load_task(tiny_file)


@pytest.fixture(scope="module")
def setup(tiny_base: Path) -> Setup:
    budget = Budget(epochs=6, batch_size=8, max_length=32, precision="fp32")
    return Setup(model=str(tiny_base), budget=budget, lora=LoRAConfig(targets=("all-linear",)))


def fit(name: str, task: Task, setup: Setup) -> Classifier:
    (method,) = find_methods([name])
    rate = 5e-3 if method.by_gradient else None
    return method.fit(task, setup, seed=0, learning_rate=rate).classifier


@pytest.mark.parametrize("precision", ["int8", "nf4"])
@pytest.mark.parametrize("name", READERS)
def test_saved_classifier_on_a_quantised_base_predicts_the_same_to_the_bit(
    task: Task, setup: Setup, tmp_path: Path, name: str, precision: str
) -> None:
    classifier = fit(f"{name}:base_precision={precision}", task, setup)
    classifier.save(tmp_path / "saved")
    loaded = load_classifier(tmp_path / "saved")
    assert np.array_equal(loaded.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    assert loaded.counts == classifier.counts
    plain = fit(name, task, setup)
    assert not np.array_equal(plain.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    assert plain.counts.base == classifier.counts.base
    assert plain.counts.base_bytes > 2 * classifier.counts.base_bytes


@pytest.mark.parametrize("precision", ["int8", "nf4"])
def test_lora_learns_on_a_quantised_base(task: Task, setup: Setup, precision: str) -> None:
    classifier = fit(f"lora:base_precision={precision}", task, setup)
    assert classifier.predict(["rude broken nobody", "lovely fast thanks"]) == ["bad", "good"]


def test_every_frozen_layer_outside_the_head_is_quantised(task: Task, setup: Setup) -> None:
    base = fit("lora:base_precision=nf4", task, setup).scorer.base
    assert len(list(quantised_layers(base.network))) == 2 * 6 + 1  # two layers of six projections, and the pooler
    assert type(base.network.classifier) is torch.nn.Linear


def test_method_that_trains_the_base_holds_it_whole(task: Task, tiny_base: Path) -> None:
    setup = Setup(model=str(tiny_base), base_precision="int8", budget=Budget(epochs=1, max_length=16))
    for name in ("full", "bitfit", "partial"):
        assert not list(quantised_layers(fit(name, task, setup).scorer.base.network))


@pytest.mark.parametrize("precision", ["int8", "nf4"])
def test_merged_model_is_the_full_precision_base_with_the_adapter(
    task: Task, setup: Setup, tmp_path: Path, precision: str
) -> None:
    fit(f"lora:base_precision={precision}", task, setup).save(tmp_path / "held")
    merged = load_merged(tmp_path / "held")
    unmerged = METHODS["lora"].load(full_copy(tmp_path / "held", tmp_path / "full")).base
    assert not list(quantised_layers(unmerged.network))
    tokens = merged.tokenizer(TEXTS, padding=True, truncation=True, max_length=32, return_tensors="pt")
    inputs = {key: tokens[key] for key in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        torch.testing.assert_close(
            merged.network(**inputs).logits, unmerged.network(**inputs).logits, atol=1e-5, rtol=1e-5
        )
    assert set(dict(merged.network.named_modules())).isdisjoint(
        name for name in dict(unmerged.network.named_modules()) if name.endswith(".base")
    )


def full_copy(saved: Path, folder: Path) -> Path:
    """Copy a saved classifier, its base to be loaded in full precision."""
    folder.mkdir()
    for file in saved.iterdir():
        text = file.read_bytes()
        if file.name == "finetune.json":
            text = text.replace(b'"int8"', b'"full"').replace(b'"nf4"', b'"full"')
        (folder / file.name).write_bytes(text)
    return folder


def test_only_lora_is_merged(task: Task, setup: Setup, tmp_path: Path) -> None:
    fit("head", task, setup).save(tmp_path / "head")
    with pytest.raises(ModelError, match="only one of LoRA"):
        load_merged(tmp_path / "head")


def test_ledger_says_for_which_methods_the_base_is_quantised(task: Task, tiny_base: Path) -> None:
    setup = Setup(model=str(tiny_base), base_precision="int8", budget=Budget(max_length=16))
    methods = find_methods(["tfidf", "full", "lora", "lora:base_precision=nf4", "probe:base_precision=full"])
    ledger = write_ledger(task, methods, setup, {})
    assert ledger["base precision"] == "int8"
    whole = "for full, probe:base_precision=full in full precision"
    assert f"The frozen base is held in int8 for lora; {whole}." in ledger["not equal"]
    assert f"The frozen base is held in nf4 for lora:base_precision=nf4; {whole}." in ledger["not equal"]


def test_ledger_says_nothing_where_every_base_is_whole(task: Task, setup: Setup) -> None:
    ledger = write_ledger(task, find_methods(["full", "lora"]), setup, {})
    assert not any("held in" in note for note in ledger["not equal"])


def test_missing_library_is_told_before_anything_runs(
    task: Task, setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (method,) = find_methods(["lora:base_precision=int8"])
    assert method.check is not None
    with pytest.raises(ConfigError, match=r"loracle\[quantised\]"):
        method.check(task, setup)


def test_unknown_precision_of_a_base_is_refused(tiny_base: Path) -> None:
    with pytest.raises(ConfigError, match="unknown base_precision 'int4'"):
        Setup(model=str(tiny_base), base_precision="int4")
    with pytest.raises(ConfigError, match="unknown base_precision 'int4'"):
        find_methods(["lora:base_precision=int4"])
    with pytest.raises(ConfigError, match="unknown option in method 'full"):
        find_methods(["full:base_precision=int8"])


@pytest.mark.parametrize("name", ["dora", "pissa", "rslora"])
def test_a_variant_on_a_quantised_base_predicts_the_same_when_loaded(
    name: str, task: Task, setup: Setup, tmp_path: Path
) -> None:
    classifier = fit(f"{name}:base_precision=nf4", task, setup)
    classifier.save(tmp_path / "held")
    before, after = (item.predict_proba(TEXTS) for item in (classifier, load_classifier(tmp_path / "held")))
    np.testing.assert_allclose(after, before, atol=1e-3 if name == "pissa" else 0)


def test_ledger_says_that_no_method_reads_the_base_precision(task: Task, setup: Setup) -> None:
    asked = Setup(model=setup.model, budget=setup.budget, base_precision="int8")
    told = "Base precision int8: read by none of these methods."
    assert told in write_ledger(task, find_methods(["tfidf", "full"]), asked, {})["not equal"]
    assert told not in write_ledger(task, find_methods(["full", "lora"]), asked, {})["not equal"]
