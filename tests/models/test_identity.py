"""What was trained on one base model is not loaded into another of the same shapes."""

import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from loracle.data.loading import load_task
from loracle.data.task import Task
from loracle.errors import ModelError
from loracle.lora.config import LoRAConfig
from loracle.lora.injection import inject
from loracle.methods.method import Setup
from loracle.methods.registry import METHODS, load_classifier
from loracle.models.identity import identify_weights
from loracle.models.loading import load_base
from loracle.training.budget import Budget

LABELS = ("bad", "good")


@pytest.fixture(scope="module")
def task(tiny_file: Path) -> Task:
    return load_task(tiny_file)


@pytest.fixture
def base_folder(tiny_base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_base, tmp_path / "base"))


def change_weights(folder: Path) -> None:
    torch.manual_seed(99)
    network = AutoModel.from_pretrained(folder)
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    network.save_pretrained(folder)


def test_identity_is_of_the_base_alone_and_the_same_each_time(base_folder: Path) -> None:
    first, second = (load_base(str(base_folder), labels) for labels in (LABELS, (*LABELS, "neither")))
    assert first.identity == second.identity
    assert len(first.identity) == 16


def test_identity_changes_with_the_weights(base_folder: Path) -> None:
    before = load_base(str(base_folder), LABELS)
    change_weights(base_folder)
    assert load_base(str(base_folder), LABELS).identity != before.identity


def test_training_the_head_leaves_the_identity(base_folder: Path) -> None:
    base = load_base(str(base_folder), LABELS)
    base.network.classifier.weight.data += 1
    assert identify_weights(base.network, base.head) == base.identity
    inject(base.network, LoRAConfig(targets=("query",)), head=base.head)
    assert base.identity == load_base(str(base_folder), LABELS).identity


@pytest.mark.parametrize("method", ["lora", "dora", "head", "bitfit", "partial", "probe"])
def test_a_saved_classifier_is_refused_on_other_weights(
    method: str, task: Task, base_folder: Path, tmp_path: Path
) -> None:
    setup = Setup(model=str(base_folder), budget=Budget(epochs=1, max_length=16, precision="fp32"))
    METHODS[method].fit(task, setup, seed=0).classifier.save(tmp_path / "saved")
    load_classifier(tmp_path / "saved")
    change_weights(base_folder)
    with pytest.raises(ModelError, match="trained on other weights than this base model's"):
        load_classifier(tmp_path / "saved")
