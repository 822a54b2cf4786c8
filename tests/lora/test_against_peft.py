"""Held against PEFT on the same initial weights and data: outputs, gradients, steps and files."""

from collections.abc import Callable
from pathlib import Path

import peft
import pytest
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from loracle.lora.config import LoRAConfig
from loracle.lora.injection import inject, lora_layers
from loracle.lora.peft_format import load_adapter, save_adapter

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
IDS = torch.randint(4, 50, (4, 9), generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 2, 1])


def bert() -> nn.Module:
    return BertForSequenceClassification(BertConfig(vocab_size=50, num_labels=3, **SIZES, **NO_DROPOUT))


def roberta() -> nn.Module:
    return RobertaForSequenceClassification(RobertaConfig(vocab_size=50, num_labels=3, **SIZES, **NO_DROPOUT))


def distilbert() -> nn.Module:
    config = DistilBertConfig(
        vocab_size=50, dim=16, hidden_dim=24, n_layers=2, n_heads=2, num_labels=3,
        dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0,
    )  # fmt: skip
    return DistilBertForSequenceClassification(config)


ARCHITECTURES = [
    pytest.param(bert, ("query", "value"), ("classifier",), id="bert"),
    pytest.param(roberta, ("query", "value"), ("classifier",), id="roberta"),
    pytest.param(distilbert, ("q_lin", "v_lin"), ("pre_classifier", "classifier"), id="distilbert"),
]

Build = Callable[[], nn.Module]
Names = tuple[str, ...]


def peft_config(targets: Names, head: Names) -> peft.LoraConfig:
    return peft.LoraConfig(
        task_type="SEQ_CLS", r=4, lora_alpha=8, lora_dropout=0.0,
        target_modules=list(targets), modules_to_save=list(head),
    )  # fmt: skip


def twins(build: Build, targets: Names, head: Names) -> tuple[nn.Module, nn.Module]:
    """Return our model and PEFT's, with the same base, head and factors (B not zero, so that A gets a gradient)."""
    torch.manual_seed(0)
    ours = build()
    theirs = peft.get_peft_model(build(), peft_config(targets, head))
    base = theirs.get_base_model()
    state = ours.state_dict()
    inject(ours, LoRAConfig(rank=4, alpha=8, targets=targets), head=head)
    for name, layer in lora_layers(ours):
        nn.init.normal_(layer.lora_b, std=0.2)
        twin = base.get_submodule(name)
        twin.lora_A["default"].weight.data.copy_(layer.lora_a)
        twin.lora_B["default"].weight.data.copy_(layer.lora_b)
    for name, parameter in base.named_parameters():
        plain = name.replace(".base_layer.", ".").replace(".original_module.", ".")
        plain = plain.replace(".modules_to_save.default.", ".")
        if "lora_" not in plain:
            parameter.data.copy_(state[plain])
    return ours.train(), theirs.train()


def pairs(ours: nn.Module, theirs: nn.Module) -> list[tuple[str, nn.Parameter, nn.Parameter]]:
    """Return each trainable parameter of ours with PEFT's own."""
    twin = {
        name.removeprefix("base_model.model.")
        .replace(".lora_A.default.weight", ".lora_a")
        .replace(".lora_B.default.weight", ".lora_b")
        .replace(".modules_to_save.default.", "."): parameter
        for name, parameter in theirs.named_parameters()
        if parameter.requires_grad
    }
    own = {name: parameter for name, parameter in ours.named_parameters() if parameter.requires_grad}
    assert twin.keys() == own.keys()
    return [(name, own[name], twin[name]) for name in own]


def loss(model: nn.Module) -> torch.Tensor:
    return nn.functional.cross_entropy(model(input_ids=IDS).logits, LABELS)


@pytest.mark.parametrize(("build", "targets", "head"), ARCHITECTURES)
def test_outputs_and_gradients_agree(build: Build, targets: Names, head: Names) -> None:
    ours, theirs = twins(build, targets, head)
    torch.testing.assert_close(ours(IDS).logits, theirs(IDS).logits, rtol=0, atol=1e-6)
    loss(ours).backward()
    loss(theirs).backward()
    for name, own, twin in pairs(ours, theirs):
        assert own.grad is not None, name
        assert own.grad.abs().max() > 0, name
        torch.testing.assert_close(own.grad, twin.grad, rtol=0, atol=1e-6, msg=name)


@pytest.mark.parametrize(("build", "targets", "head"), ARCHITECTURES)
def test_ten_optimiser_steps_agree(build: Build, targets: Names, head: Names) -> None:
    ours, theirs = twins(build, targets, head)
    before = [parameter.detach().clone() for _, parameter, _ in pairs(ours, theirs)]
    for model in (ours, theirs):
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trainable, lr=1e-3)
        for _ in range(10):
            optimizer.zero_grad()
            loss(model).backward()
            optimizer.step()
    for (name, own, twin), start in zip(pairs(ours, theirs), before, strict=True):
        assert not torch.equal(own, start), f"{name} did not move"
        torch.testing.assert_close(own, twin, rtol=0, atol=1e-6, msg=name)


@pytest.mark.parametrize(("build", "targets", "head"), ARCHITECTURES)
def test_our_adapter_loads_in_peft(build: Build, targets: Names, head: Names, tmp_path: Path) -> None:
    ours, _ = twins(build, targets, head)
    save_adapter(ours.eval(), tmp_path)
    torch.manual_seed(0)
    loaded = peft.PeftModel.from_pretrained(build(), tmp_path).eval()
    torch.testing.assert_close(loaded(IDS).logits, ours(IDS).logits, rtol=0, atol=1e-5)
    merged = loaded.merge_and_unload()
    torch.testing.assert_close(merged(IDS).logits, ours(IDS).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("build", "targets", "head"), ARCHITECTURES)
def test_pefts_adapter_loads_here(build: Build, targets: Names, head: Names, tmp_path: Path) -> None:
    _, theirs = twins(build, targets, head)
    theirs.eval().save_pretrained(tmp_path)
    torch.manual_seed(0)
    model = build()
    load_adapter(model.eval(), tmp_path, head=head)
    torch.testing.assert_close(model(IDS).logits, theirs(IDS).logits, rtol=0, atol=1e-5)
