"""The untrained base: chance by the sign of the first vector, or the closest label name."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from loracle.data.loading import load_task
from loracle.data.task import Task
from loracle.errors import ConfigError
from loracle.methods.method import Setup
from loracle.methods.untrained import UNTRAINED
from loracle.models.loading import load_encoder, load_tokenizer
from loracle.models.networks import NetworkConfig
from loracle.training.budget import Budget


@pytest.fixture
def task(tiny_file: Path) -> Task:
    return load_task(tiny_file)


@pytest.fixture
def setup(tiny_base: Path, tmp_path: Path) -> Setup:
    """A base whose last norm has weights, without which every vector sums to zero."""
    torch.manual_seed(1)
    network = load_encoder(str(tiny_base))
    network.encoder.layer[-1].output.LayerNorm.weight.normal_()
    network.save_pretrained(tmp_path)
    load_tokenizer(str(tiny_base)).save_pretrained(tmp_path)
    return Setup(model=str(tmp_path), budget=Budget(max_length=32, precision="fp32"))


def test_two_labels_are_told_apart_by_the_sign_of_the_summed_first_vector(task: Task, setup: Setup) -> None:
    texts = task.validation.texts[:8]
    network, tokenizer = load_encoder(setup.model), load_tokenizer(setup.model)
    with torch.inference_mode():
        sums = [float(network(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, 0].sum()) for text in texts]
    predicted = UNTRAINED.fit(task, setup, seed=0).classifier.predict_proba(texts).argmax(axis=1)
    assert predicted.tolist() == [int(total > 0) for total in sums]


def test_closest_label_name_wins(task: Task, setup: Setup) -> None:
    named = replace(task, label_names=("parcel late", "lovely shop thanks"))
    by_name = replace(setup, networks=NetworkConfig(untrained="names"))
    classifier = UNTRAINED.fit(named, by_name, seed=0).classifier
    assert classifier.predict(list(named.label_names)) == list(named.label_names)
    np.testing.assert_allclose(classifier.predict_proba(["late"]).sum(), 1, atol=1e-6)


def test_sign_cannot_tell_three_labels_apart(task: Task, setup: Setup) -> None:
    three = replace(task, label_names=("a", "b", "c"))
    with pytest.raises(ConfigError, match="these data have 3"):
        UNTRAINED.fit(three, replace(setup, networks=NetworkConfig(untrained="sign")), seed=0)


def test_nothing_counts_as_trained(task: Task, setup: Setup) -> None:
    counts = UNTRAINED.fit(task, setup, seed=0).classifier.counts
    assert (counts.trainable, counts.head, counts.adapter) == (0, 0, 0)
    assert counts.base > 0
