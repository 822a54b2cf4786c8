"""Adapters go both ways between Loracle and PEFT, for every architecture and with the head."""

import warnings
from collections.abc import Callable
from pathlib import Path

import peft
import pytest
import torch
from torch import nn

from loracle.lora.config import LoRAConfig
from loracle.lora.injection import inject, lora_layers, merge
from loracle.lora.peft_format import load_adapter, save_adapter
from loracle.models.families import default_targets
from loracle.models.loading import Base, load_base

LABELS = ("bad", "good", "neither")
IDS = torch.randint(4, 30, (3, 7), generator=torch.Generator().manual_seed(1))
TARGET_GROUPS = ("default", "all-linear")

every_target = pytest.mark.parametrize("targets", TARGET_GROUPS)
Checkpoint = Callable[[str], Path]


def load(folder: Path) -> Base:
    """Return a base with a head drawn from a fixed seed."""
    torch.manual_seed(3)
    base = load_base(str(folder), LABELS)
    base.network.eval()
    return base


def targets_of(base: Base, targets: str) -> tuple[str, ...]:
    return default_targets(base.config.model_type) if targets == "default" else (targets,)


def logits(network: nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return network(input_ids=IDS, attention_mask=torch.ones_like(IDS)).logits


def stir(parameters: list[nn.Parameter]) -> None:
    """Give what is trainable other values, as training would."""
    generator = torch.Generator().manual_seed(9)
    for parameter in parameters:
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)


def trainable(network: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def attach_in_peft(network: nn.Module, folder: Path) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return peft.PeftModel.from_pretrained(network, folder).eval()


@every_target
def test_an_adapter_trained_here_loads_in_peft(
    architecture: str, checkpoint: Checkpoint, targets: str, tmp_path: Path
) -> None:
    base = load(checkpoint(architecture))
    start = logits(base.network)
    inject(base.network, LoRAConfig(rank=4, alpha=8, targets=targets_of(base, targets)), head=base.head)
    assert torch.equal(logits(base.network), start)
    stir(trainable(base.network))
    save_adapter(base.network, tmp_path)
    ours = logits(base.network)
    assert (ours - start).abs().max() > 1e-2
    theirs = attach_in_peft(load(checkpoint(architecture)).network, tmp_path)
    torch.testing.assert_close(logits(theirs), ours, rtol=0, atol=1e-5)
    torch.testing.assert_close(logits(theirs.merge_and_unload()), ours, rtol=0, atol=1e-5)
    merge(base.network)
    torch.testing.assert_close(logits(base.network), ours, rtol=0, atol=1e-5)


@every_target
def test_an_adapter_trained_in_peft_loads_here(
    architecture: str, checkpoint: Checkpoint, targets: str, tmp_path: Path
) -> None:
    source, base = load(checkpoint(architecture)), load(checkpoint(architecture))
    names = inject(base.network, LoRAConfig(targets=targets_of(base, targets)), head=base.head)
    base = load(checkpoint(architecture))
    config = peft.LoraConfig(
        task_type="SEQ_CLS", r=4, lora_alpha=8, target_modules=names, modules_to_save=list(base.head)
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT tells that it sets fan_in_fan_out for GPT-2
        theirs = peft.get_peft_model(source.network, config).eval()
    stir(trainable(theirs))
    theirs.save_pretrained(tmp_path)
    load_adapter(base.network, tmp_path, head=base.head)
    assert [name for name, _ in lora_layers(base.network)] == names
    torch.testing.assert_close(logits(base.network), logits(theirs), rtol=0, atol=1e-5)
    merge(base.network)
    torch.testing.assert_close(logits(base.network), logits(theirs.merge_and_unload()), rtol=0, atol=1e-5)


def test_a_merged_model_loads_in_plain_transformers(architecture: str, checkpoint: Checkpoint, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    base = load(checkpoint(architecture))
    keys = list(base.network.state_dict())
    inject(base.network, LoRAConfig(rank=4, targets=("all-linear",)), head=base.head)
    stir(trainable(base.network))
    ours = logits(base.network)
    merge(base.network)
    assert list(base.network.state_dict()) == keys
    base.network.save_pretrained(tmp_path)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype="float32").eval()
    torch.testing.assert_close(logits(plain), ours, rtol=0, atol=1e-5)
