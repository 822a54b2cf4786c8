"""An adapter folder keeps everything, and what does not fit is refused by name."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from loracle.errors import LoracleError, ModelError
from loracle.lora.config import LoRAConfig
from loracle.lora.injection import inject, lora_layers
from loracle.lora.peft_format import CONFIG_FILE, WEIGHTS_FILE, load_adapter, save_adapter

IDS = torch.arange(12).reshape(2, 6)
HEAD = ("classifier",)


def small_bert(seed: int = 0, hidden: int = 16) -> BertForSequenceClassification:
    torch.manual_seed(seed)
    sizes = {"hidden_size": hidden, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    return BertForSequenceClassification(BertConfig(vocab_size=50, num_labels=3, **sizes)).eval()


@pytest.fixture
def trained() -> BertForSequenceClassification:
    model = small_bert()
    inject(model, LoRAConfig(rank=4, alpha=8, dropout=0.1, targets=("query", "value")), head=HEAD)
    for _, layer in lora_layers(model):
        nn.init.normal_(layer.lora_b)
    nn.init.normal_(model.classifier.weight)
    return model


@pytest.fixture
def folder(trained: nn.Module, tmp_path: Path) -> Path:
    save_adapter(trained, tmp_path / "adapter", base_name="somewhere/small-bert")
    return tmp_path / "adapter"


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / CONFIG_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_reloaded_adapter_gives_the_same_logits_to_the_bit(trained: nn.Module, folder: Path) -> None:
    other = small_bert()
    nn.init.normal_(other.classifier.weight)  # a fresh head differs until the adapter brings its own
    config = load_adapter(other, folder, head=HEAD)
    assert torch.equal(other(IDS).logits, trained(IDS).logits)
    layers = [f"bert.encoder.layer.{layer}.attention.self.{name}" for layer in (0, 1) for name in ("query", "value")]
    assert config == LoRAConfig(rank=4, alpha=8, dropout=0.1, targets=tuple(sorted(layers)))


def test_saving_a_loaded_adapter_writes_the_same_files(folder: Path, tmp_path: Path) -> None:
    other = small_bert()
    load_adapter(other, folder, head=HEAD)
    save_adapter(other, tmp_path / "again", base_name="somewhere/small-bert")
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_folder_holds_adapter_and_head_and_nothing_of_the_base(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    assert len(tensors) == 2 * 2 * 2 + 2
    assert {name for name in tensors if "lora" not in name} == {
        "base_model.model.classifier.weight",
        "base_model.model.classifier.bias",
    }


def test_all_linear_survives_the_round_trip(tmp_path: Path) -> None:
    model = small_bert()
    names = inject(model, LoRAConfig(targets=("all-linear",)), head=HEAD)
    save_adapter(model, tmp_path)
    other = small_bert()
    load_adapter(other, tmp_path, head=HEAD)
    assert [name for name, _ in lora_layers(other)] == names


def test_saving_without_lora_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="inject"):
        save_adapter(small_bert(), tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("bias", "all"),
        ("bias", "lora_only"),
        ("lora_bias", True),
        ("init_lora_weights", "pissa_niter_4"),
        ("init_lora_weights", "loftq"),
        ("init_lora_weights", "corda"),
        ("init_lora_weights", {"of": "another type"}),
        ("layer_replication", [[0, 2]]),
        ("trainable_token_indices", [1]),
        ("fan_in_fan_out", True),
        ("some_future_option", 3),
    ],
)
def test_option_that_changes_the_arithmetic_is_refused_by_name(folder: Path, option: str, value: object) -> None:
    edit_config(folder, **{option: value})
    with pytest.raises(ModelError, match=option):
        load_adapter(small_bert(), folder)


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("use_dora", True, "missing: .*magnitude"),
        ("rank_pattern", {"query": 2}, "of another shape: .*query"),
        ("rank_pattern", {"query(": 2}, r"pattern .*query\(.* broken"),
        ("layers_to_transform", 0, r"layers_to_transform.*leave out: .*layer\.1"),
        ("layers_to_transform", [0, 2], r"leave out: .*layer\.1"),
        ("target_modules", ["query"], r"leave out: .*value"),
        ("target_modules", "all-linear", r"without tensors: .*dense"),
        ("target_modules", ".*", r"without tensors: .*dense"),
        ("exclude_modules", ["value"], r"leave out: .*value"),
        ("modules_to_save", ["../../etc"], "no dotted name"),
        ("modules_to_save", ["/classifier"], "no dotted name"),
        ("r", 0, "rank is 0"),
        ("lora_alpha", 0, "alpha is 0"),
        ("lora_alpha", None, "no number for lora_alpha"),
    ],
)
def test_options_that_do_not_fit_the_tensors_are_refused_by_name(
    folder: Path, option: str, value: object, told: str
) -> None:
    edit_config(folder, **{option: value})
    model = small_bert()
    with pytest.raises(LoracleError, match=told):
        load_adapter(model, folder)
    assert not list(lora_layers(model))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("layers_pattern", 5),
        ("rank_pattern", ["query"]),
        ("alpha_pattern", {"query": "much"}),
        ("target_modules", 5),
        ("modules_to_save", 5),
        ("modules_to_save", [5]),
        ("lora_dropout", "x"),
        ("layers_to_transform", "all"),
    ],
)
def test_options_of_another_type_are_refused_by_name(folder: Path, option: str, value: object) -> None:
    edit_config(folder, **{option: value})
    with pytest.raises(ModelError, match=f"{option}=.*not of a kind that PEFT writes"):
        load_adapter(small_bert(), folder)


def test_a_broken_pattern_of_layers_is_refused(folder: Path) -> None:
    edit_config(folder, layers_pattern="layer(", layers_to_transform=[0])
    with pytest.raises(ModelError, match="broken"):
        load_adapter(small_bert(), folder)


def test_a_layer_with_an_alpha_of_its_own_keeps_it_to_itself(tmp_path: Path) -> None:
    def build() -> nn.Module:
        torch.manual_seed(0)
        return nn.ModuleDict({"value": nn.Linear(8, 8), "a": nn.ModuleDict({"value": nn.Linear(8, 8)})})

    model, config = build(), LoRAConfig(rank=2, alpha=4, targets=("value",))
    inject(model, config, overrides={"value": LoRAConfig(rank=1, alpha=64)})
    save_adapter(model, tmp_path)
    again = build()
    load_adapter(again, tmp_path)
    assert {name: (layer.config.rank, layer.config.alpha) for name, layer in lora_layers(again)} == {
        "value": (1, 64),
        "a.value": (2, 4),
    }


def test_a_model_with_both_kinds_of_linear_layers_is_saved_and_loaded(tmp_path: Path) -> None:
    from transformers.pytorch_utils import Conv1D

    def build() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(8, 6), Conv1D(4, 6))

    model = build()
    inject(model, LoRAConfig(rank=2, targets=("all-linear",)))
    for _, layer in lora_layers(model):
        nn.init.normal_(layer.lora_b)
    save_adapter(model, tmp_path)
    again, x = build(), torch.randn(3, 8)
    load_adapter(again, tmp_path)
    assert torch.equal(again(x), model(x))


def test_a_tensor_with_a_path_in_its_name_is_refused(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS_FILE) | {"base_model.model.../../x": torch.zeros(2)}
    save_file(tensors, folder / WEIGHTS_FILE)
    with pytest.raises(ModelError, match="not an adapter's"):
        load_adapter(small_bert(), folder)


def test_an_adapter_for_other_weights_of_the_same_shape_is_refused(trained: nn.Module, tmp_path: Path) -> None:
    save_adapter(trained, tmp_path, base_identity="aaaa")
    with pytest.raises(ModelError, match="other weights than this base model's"):
        load_adapter(small_bert(), tmp_path, base_identity="bbbb")
    load_adapter(small_bert(), tmp_path, base_identity="aaaa")


def test_an_adapter_that_does_not_tell_its_base_is_loaded(folder: Path) -> None:
    load_adapter(small_bert(), folder, base_identity="bbbb")


def test_another_kind_of_adapter_is_refused(folder: Path) -> None:
    edit_config(folder, peft_type="IA3")
    with pytest.raises(ModelError, match="IA3"):
        load_adapter(small_bert(), folder)


def test_base_of_another_size_is_refused_and_left_unchanged(folder: Path) -> None:
    other = small_bert(hidden=32)
    with pytest.raises(ModelError, match="another shape"):
        load_adapter(other, folder)
    assert not list(lora_layers(other))


def test_missing_head_is_refused(folder: Path) -> None:
    tensors = {name: item for name, item in load_file(folder / WEIGHTS_FILE).items() if "classifier" not in name}
    save_file(tensors, folder / WEIGHTS_FILE)
    edit_config(folder, modules_to_save=None)
    with pytest.raises(ModelError, match=r"missing: classifier\.weight"):
        load_adapter(small_bert(), folder, head=HEAD)


def test_missing_factor_is_refused(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    lost = next(name for name in tensors if "lora_B" in name)
    save_file({name: item for name, item in tensors.items() if name != lost}, folder / WEIGHTS_FILE)
    with pytest.raises(ModelError, match=r"missing: .*lora_b"):
        load_adapter(small_bert(), folder)


def test_tensor_too_many_is_refused(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS_FILE) | {"base_model.model.bert.pooler.dense.weight": torch.zeros(16, 16)}
    save_file(tensors, folder / WEIGHTS_FILE)
    with pytest.raises(ModelError, match=r"too many: bert\.pooler"):
        load_adapter(small_bert(), folder)


@pytest.mark.parametrize("name", [CONFIG_FILE, WEIGHTS_FILE])
def test_missing_or_broken_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"broken")
    with pytest.raises(LoracleError, match=name):
        load_adapter(small_bert(), folder)
    (folder / name).unlink()
    with pytest.raises(LoracleError, match=name):
        load_adapter(small_bert(), folder)


def test_pickled_weights_are_never_read(folder: Path) -> None:
    (folder / WEIGHTS_FILE).unlink()
    torch.save({}, folder / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"only safetensors.*convert it"):
        load_adapter(small_bert(), folder)
