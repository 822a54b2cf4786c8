"""Each variant starts as the base, changes what its paper says and nothing else, and agrees with PEFT's."""

import peft
import peft.optimizers
import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from loracle.errors import ConfigError
from loracle.lora.config import LoRAConfig
from loracle.lora.injection import inject, learning_rate_ratios, lora_layers, lora_state_dict, merge
from loracle.lora.layer import LoRALinear
from loracle.lora.peft_format import load_adapter, save_adapter
from loracle.lora.variants import build_layer

IDS = torch.randint(4, 50, (4, 9), generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 2, 1])
HEAD = ("classifier",)
TARGETS = ("query", "value")

VARIANTS = {
    "lora": {},
    "rslora": {"rslora": True},
    "dora": {"dora": True},
    "dora with rslora": {"dora": True, "rslora": True},
    "pissa": {"initialisation": "pissa"},
    "olora": {"initialisation": "olora"},
    "pissa with rslora": {"initialisation": "pissa", "rslora": True},
    "lora-fa": {"freeze_a": True},
    "lora+": {"b_learning_rate_ratio": 16.0},
    "rank dropout": {"rank_dropout": 0.5},
}
PEFTS_NAMES = {"rslora": "use_rslora", "dora": "use_dora", "initialisation": "init_lora_weights"}
IN_PEFT = [name for name, options in VARIANTS.items() if options.keys() <= PEFTS_NAMES.keys()]

every_variant = pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)


def bert() -> BertForSequenceClassification:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50, num_labels=3, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.2,
    )  # fmt: skip
    return BertForSequenceClassification(config)


def variant(options: dict[str, object]) -> BertForSequenceClassification:
    model = bert()
    torch.manual_seed(1)
    inject(model, LoRAConfig(rank=4, alpha=8, targets=TARGETS, **options), head=HEAD)
    return model


def loss(model: nn.Module) -> torch.Tensor:
    return nn.functional.cross_entropy(model(input_ids=IDS).logits, LABELS)


def train(model: nn.Module, steps: int = 10) -> list[float]:
    """Take plain AdamW steps; return the losses before each."""
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-2)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss(model)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses


@every_variant
def test_output_at_the_start_is_the_bases_bit_for_bit(options: dict[str, object]) -> None:
    model = variant(options).eval()
    assert torch.equal(model(IDS).logits, bert().eval()(IDS).logits)


@every_variant
def test_only_adapter_and_head_get_gradients_and_move(options: dict[str, object]) -> None:
    model = variant(options)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    train(model, steps=2)
    moved = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    allowed = {*lora_state_dict(model), "classifier.weight", "classifier.bias"}
    if options.get("freeze_a"):
        allowed = {name for name in allowed if not name.endswith("lora_a")}
    assert moved == allowed


@every_variant
def test_merge_keeps_logits_and_restores_the_original_keys(options: dict[str, object]) -> None:
    model = variant(options)
    train(model)
    before = model.eval()(IDS).logits
    merge(model)
    assert list(model.state_dict()) == list(bert().state_dict())
    torch.testing.assert_close(model(IDS).logits, before, rtol=0, atol=1e-5)


@every_variant
def test_a_saved_adapter_gives_the_same_logits_here_and_in_peft(options: dict[str, object], tmp_path) -> None:
    model = variant(options)
    train(model)
    save_adapter(model.eval(), tmp_path)
    again = bert().eval()
    load_adapter(again, tmp_path, head=HEAD)
    torch.testing.assert_close(again(IDS).logits, model(IDS).logits, rtol=0, atol=1e-5)
    theirs = peft.PeftModel.from_pretrained(bert(), tmp_path).eval()
    torch.testing.assert_close(theirs(IDS).logits, model(IDS).logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(theirs.merge_and_unload()(IDS).logits, model(IDS).logits, rtol=0, atol=1e-5)


def pefts(options: dict[str, object]) -> nn.Module:
    config = peft.LoraConfig(
        task_type="SEQ_CLS", r=4, lora_alpha=8, target_modules=list(TARGETS), modules_to_save=list(HEAD),
        **{PEFTS_NAMES[name]: value for name, value in options.items()},
    )  # fmt: skip
    return peft.get_peft_model(bert(), config)


@pytest.mark.parametrize("name", IN_PEFT)
def test_ten_optimiser_steps_agree_with_pefts(name: str) -> None:
    ours, theirs = variant(VARIANTS[name]), pefts(VARIANTS[name]).train()
    for layer_name, layer in lora_layers(ours):
        twin = theirs.get_base_model().get_submodule(layer_name)
        with torch.no_grad():  # a random A is drawn by each side on its own
            twin.lora_A["default"].weight.copy_(layer.lora_a)
            torch.testing.assert_close(twin.lora_B["default"].weight, layer.lora_b, rtol=0, atol=1e-6)
    torch.testing.assert_close(torch.tensor(train(ours)), torch.tensor(train(theirs)), rtol=0, atol=2e-5)
    torch.testing.assert_close(ours.eval()(IDS).logits, theirs.eval()(IDS).logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", IN_PEFT)
def test_what_peft_trained_and_saved_gives_the_same_logits_here(name: str, tmp_path) -> None:
    theirs = pefts(VARIANTS[name]).train()
    train(theirs)
    theirs.eval().save_pretrained(tmp_path)
    model = bert().eval()
    load_adapter(model, tmp_path, head=HEAD)
    torch.testing.assert_close(model(IDS).logits, theirs(IDS).logits, rtol=0, atol=1e-5)
    merge(model)
    torch.testing.assert_close(model(IDS).logits, theirs.merge_and_unload()(IDS).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"rank_pattern": {"query": 2}},
        {"alpha_pattern": {"layer.1.attention.self.value": 32}},
        {"rank_pattern": {"layer.0.*": 2}, "alpha_pattern": {"value": 3}, "use_rslora": True},
        {"layers_to_transform": 1},
        {"layers_to_transform": [0], "layers_pattern": "layer"},
        {"target_modules": r".*\.1\..*(query|key)"},
        {"target_modules": "all-linear"},
        {"exclude_modules": ["value"]},
        {"init_lora_weights": "gaussian"},
        {"init_lora_weights": "orthogonal"},
        {"init_lora_weights": False},
    ],
    ids=str,
)
def test_options_of_pefts_configuration_are_honoured(options: dict[str, object], tmp_path) -> None:
    plain = {"target_modules": list(TARGETS), "modules_to_save": list(HEAD), "task_type": "SEQ_CLS"}
    theirs = peft.get_peft_model(bert(), peft.LoraConfig(r=4, lora_alpha=8, **(plain | options)))
    train(theirs.train())
    theirs.eval().save_pretrained(tmp_path / "pefts")
    model = bert().eval()
    load_adapter(model, tmp_path / "pefts", head=HEAD)
    torch.testing.assert_close(model(IDS).logits, theirs(IDS).logits, rtol=0, atol=1e-5)
    save_adapter(model, tmp_path / "ours")
    back = peft.PeftModel.from_pretrained(bert(), tmp_path / "ours").eval()
    torch.testing.assert_close(back(IDS).logits, theirs(IDS).logits, rtol=0, atol=1e-5)


def test_lora_plus_steps_as_pefts_optimiser(tmp_path) -> None:
    ours, theirs = variant({"b_learning_rate_ratio": 16.0}), pefts({})
    for name, layer in lora_layers(ours):
        twin = theirs.get_base_model().get_submodule(name)
        twin.lora_A["default"].weight.data.copy_(layer.lora_a)
    for model in (ours, theirs):  # PEFT gives the ratio to the head's bias too, which the paper does not
        for name, weight in model.named_parameters():
            if "classifier" in name:
                weight.requires_grad_(False)
    ratios = learning_rate_ratios(ours)
    assert set(ratios) == {name for name in lora_state_dict(ours) if name.endswith("lora_b")}
    groups = [
        {"params": [weight], "lr": 1e-3 * ratios.get(name, 1.0)}
        for name, weight in ours.named_parameters()
        if weight.requires_grad
    ]
    optimizers = (
        torch.optim.AdamW(groups, weight_decay=0.0),
        peft.optimizers.create_loraplus_optimizer(theirs, torch.optim.AdamW, lr=1e-3, loraplus_lr_ratio=16.0),
    )
    for _ in range(5):
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            loss(model).backward()
            optimizer.step()
    torch.testing.assert_close(ours(IDS).logits, theirs(IDS).logits, rtol=0, atol=1e-6)


def test_rank_dropout_leaves_whole_ranks_out_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    layer = LoRALinear(nn.Linear(8, 6), LoRAConfig(rank=4, rank_dropout=0.5))
    nn.init.normal_(layer.lora_b)
    x = torch.randn(3, 8)
    scaling = layer.config.scaling
    parts = torch.stack([scaling * torch.outer(layer.lora_b[:, rank], layer.lora_a[rank]) for rank in range(4)])
    updates = torch.stack([layer(x) - layer.base(x) for _ in range(4000)])
    kept = torch.linalg.lstsq((x @ parts.mT).reshape(4, -1).T, updates.reshape(len(updates), -1).T).solution.T
    assert torch.allclose(kept, kept.round(), atol=1e-3)  # each rank is there doubled, or not at all
    assert set(kept.round().unique().tolist()) == {0.0, 2.0}
    torch.testing.assert_close(kept.mean(dim=0), torch.ones(4), rtol=0, atol=0.1)
    assert torch.equal(layer.eval()(x), layer(x))


@pytest.mark.parametrize("factor", [1.003, 0.99])
def test_dora_keeps_small_changes_of_length_in_bfloat16(factor: float) -> None:
    torch.manual_seed(0)
    layer = build_layer(nn.Linear(64, 48, bias=False), LoRAConfig(rank=2, dora=True))
    x = torch.randn(32, 64)
    with torch.autocast("cpu", torch.bfloat16):
        before = layer(x).float()
        layer.magnitude.data *= factor
        moved = layer(x).float() - before
    share = (moved * before).sum() / ((factor - 1) * before.square().sum())
    assert 0.9 < share < 1.1  # with the subtraction in bfloat16 it is 0.00 for 1.003


def test_dora_keeps_row_lengths_apart_from_directions() -> None:
    layer = build_layer(nn.Linear(8, 6), LoRAConfig(rank=2, dora=True))
    nn.init.normal_(layer.lora_b)
    torch.testing.assert_close(layer.merged_weight().norm(dim=1), layer.magnitude)
    layer.magnitude.data *= 3
    torch.testing.assert_close(layer.merged_weight().norm(dim=1), layer.magnitude)


def test_pissa_starts_from_the_largest_singular_values() -> None:
    base = nn.Linear(8, 6)
    layer = build_layer(base, LoRAConfig(rank=2, alpha=4, initialisation="pissa"))
    u, s, v = torch.linalg.svd(base.weight.detach())
    s[2:] = 0
    best = u @ torch.diag(s) @ v[:6]
    torch.testing.assert_close(layer.config.scaling * layer.lora_b @ layer.lora_a, best, rtol=0, atol=1e-5)


def test_olora_starts_from_orthonormal_columns() -> None:
    layer = build_layer(nn.Linear(8, 6), LoRAConfig(rank=2, initialisation="olora"))
    torch.testing.assert_close(layer.lora_b.T @ layer.lora_b, torch.eye(2), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"initialisation": "piza"}, "did you mean 'pissa'"),
        ({"initialisation": "pissa", "dora": True}, "do not go together"),
        ({"initialisation": "olora", "freeze_a": True}, "do not go together"),
        ({"rank_dropout": 1.0}, "rank_dropout is 1.0"),
        ({"b_learning_rate_ratio": 0}, "b_learning_rate_ratio is 0"),
    ],
)
def test_options_that_cannot_be_are_refused(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        LoRAConfig(**wrong)


@every_variant
@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_seed_gives_the_same_history(options: dict[str, object], threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        first, second = variant(options), variant(options)
        torch.manual_seed(5)
        losses = train(first, steps=5)
        torch.manual_seed(5)
        assert train(second, steps=5) == losses
    finally:
        torch.set_num_threads(before)
