"""Every method of a base model works with a decoder and with shared layers, or says in one line why it does not."""

from pathlib import Path

import numpy as np
import pytest
import torch

from loracle.data.loading import load_task
from loracle.data.task import Task
from loracle.errors import ConfigError
from loracle.lora.config import LoRAConfig
from loracle.methods.extraction import load_extractor
from loracle.methods.method import Setup
from loracle.methods.registry import METHODS, load_classifier
from loracle.models.loading import load_encoder, load_tokenizer
from loracle.training.budget import Budget

BASES = ("llama", "gpt2", "qwen3", "albert")
METHODS_OF_A_BASE = ("untrained", "probe", "head", "bitfit", "lora", "partial", "full")
REFUSED = {
    ("llama", "bitfit"): "has no biases outside its head",
    ("qwen3", "bitfit"): "has no biases outside its head",
    ("albert", "partial"): "has no layers that could be frozen one by one",
}
TEXTS = ["late parcel never answered", "", "lovely fast friendly shop", "late " * 300, "the end </s>"]


@pytest.fixture(scope="module")
def task(tiny_file: Path) -> Task:
    return load_task(tiny_file)


def setup(folder: Path) -> Setup:
    budget = Budget(epochs=1, batch_size=16, max_length=32, precision="fp32", gradient_checkpointing=True)
    return Setup(model=str(folder), budget=budget)


@pytest.mark.parametrize("name", METHODS_OF_A_BASE)
@pytest.mark.parametrize("architecture", BASES)
def test_method_fits_and_predicts_the_same_when_loaded(
    checkpoint, task: Task, architecture: str, name: str, tmp_path: Path
) -> None:
    method, options = METHODS[name], setup(checkpoint(architecture))
    if (architecture, name) in REFUSED:
        with pytest.raises(ConfigError, match=REFUSED[architecture, name]) as caught:
            method.fit(task, options, seed=0)
        assert "\n" not in str(caught.value)
        return
    classifier = method.fit(task, options, seed=0).classifier
    probabilities = classifier.predict_proba(TEXTS)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert np.ptp(probabilities[:, 0]) > (0 if name == "untrained" else 1e-4)  # a norm without weights sums to zero
    classifier.save(tmp_path / "saved")
    assert np.array_equal(load_classifier(tmp_path / "saved").predict_proba(TEXTS), probabilities)


@pytest.mark.parametrize("architecture", ["llama", "gemma"])
def test_decoder_learns_what_the_words_say(checkpoint, task: Task, architecture: str) -> None:
    budget = Budget(epochs=8, batch_size=8, max_length=48, patience=8, precision="fp32")
    options = Setup(model=str(checkpoint(architecture)), budget=budget, lora=LoRAConfig(targets=("all-linear",)))
    fitted = METHODS["lora"].fit(task, options, seed=0, learning_rate=2e-2)
    assert fitted.validation_metrics["accuracy"] >= 0.9
    assert fitted.classifier.predict(["rude broken nobody", "lovely fast thanks"]) == ["bad", "good"]


@pytest.mark.parametrize(("architecture", "place"), [("llama", -1), ("gpt2", -1), ("albert", 0)])
def test_vector_of_a_text_is_that_of_the_token_which_a_head_reads(checkpoint, architecture: str, place: int) -> None:
    folder = str(checkpoint(architecture))
    network, tokenizer = load_encoder(folder, attention="eager"), load_tokenizer(folder)
    texts = ["late again", "the parcel was never answered", "thanks"]
    with torch.inference_mode():
        alone = [network(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, place] for text in texts]
    found = load_extractor(folder, Budget(max_length=32, precision="fp32")).features(texts, pool="token")
    np.testing.assert_allclose(found, torch.stack(alone), rtol=0, atol=1e-5)
