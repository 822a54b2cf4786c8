"""Base models are found, their head is what the checkpoint lacked, and what cannot be read is refused in one line."""

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel, RobertaConfig, RobertaModel

from loracle.errors import ConfigError, ModelError
from loracle.models.loading import check_max_length, load_base, load_encoder, load_finetuned, resolve_base

SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
LABELS = ("bad", "good", "so-so")


@pytest.fixture
def save(tmp_path: Path, tiny_tokenizer_files: Path):
    import shutil

    def save_model(model: torch.nn.Module) -> str:
        folder = tmp_path / "model"
        shutil.copytree(tiny_tokenizer_files, folder)
        model.save_pretrained(folder)
        return str(folder)

    return save_model


def test_head_is_what_the_checkpoint_lacked(tiny_base: Path) -> None:
    base = load_base(str(tiny_base), LABELS)
    assert base.head == ("classifier",)
    assert base.config.id2label == dict(enumerate(LABELS))
    assert all(weight.dtype == torch.float32 for weight in base.network.parameters())


def test_composite_head_is_one_name(save) -> None:
    roberta = RobertaModel(RobertaConfig(vocab_size=120, **SIZES), add_pooling_layer=False)
    assert load_base(save(roberta), LABELS).head == ("classifier",)


def test_pooler_that_the_checkpoint_lacked_belongs_to_the_head(save) -> None:
    bert = BertModel(BertConfig(vocab_size=120, **SIZES), add_pooling_layer=False)
    assert load_base(save(bert), LABELS).head == ("bert.pooler", "classifier")


def test_head_of_another_size_is_replaced(save) -> None:
    folder = save(BertForSequenceClassification(BertConfig(vocab_size=120, num_labels=5, **SIZES)))
    base = load_base(folder, LABELS)
    assert base.head == ("classifier",)
    assert base.network.classifier.out_features == 3


def test_base_with_weights_missing_inside_is_refused(save) -> None:
    from safetensors.torch import load_file, save_file

    folder = save(BertModel(BertConfig(vocab_size=120, **SIZES)))
    path = Path(folder) / "model.safetensors"
    weights = {name: item for name, item in load_file(path).items() if not name.startswith("encoder.layer.1.")}
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks weights of the base model itself: .*layer\.1"):
        load_base(folder, LABELS)


def test_encoder_of_an_incomplete_checkpoint_is_refused(save) -> None:
    from safetensors.torch import load_file, save_file

    folder = save(BertModel(BertConfig(vocab_size=120, **SIZES)))
    path = Path(folder) / "model.safetensors"
    weights = {name: item for name, item in load_file(path).items() if not name.startswith("encoder.")}
    save_file(weights, path, metadata={"format": "pt"})
    for load in (load_encoder, lambda name: load_base(name, LABELS)):
        with pytest.raises(ModelError, match="lacks weights of the base model itself"):
            load(folder)


def test_fine_tuned_model_without_its_head_is_refused(save) -> None:
    whole = save(BertForSequenceClassification(BertConfig(vocab_size=120, num_labels=3, **SIZES)))
    assert load_finetuned(Path(whole), "somewhere/base", LABELS).name == "somewhere/base"
    with pytest.raises(ModelError, match="classifier"):
        load_finetuned(Path(whole), "somewhere/base", LABELS[:2])


def test_encoder_is_frozen_and_has_no_head(tiny_base: Path) -> None:
    encoder = load_encoder(str(tiny_base))
    assert not encoder.training
    assert not any(weight.requires_grad for weight in encoder.parameters())
    assert not hasattr(encoder, "classifier")


def test_minilm_is_found_in_the_installed_package() -> None:
    assert (Path(resolve_base("minilm")) / "model.safetensors").is_file()


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "~/nowhere", "a/b/c"])
def test_path_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        load_base(name, LABELS)


def test_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json"):
        load_base(str(tmp_path), LABELS)


def test_unreachable_hub_is_one_line_that_says_what_to_do() -> None:
    with pytest.raises(ModelError, match=r"cannot be reached; give a local folder") as caught:
        load_base("someone/some-model", LABELS)
    assert "\n" not in str(caught.value)


def test_broken_weights_are_refused(save) -> None:
    folder = save(BertModel(BertConfig(vocab_size=120, **SIZES)))
    (Path(folder) / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ModelError, match="cannot be read"):
        load_base(folder, LABELS)


def test_longer_texts_than_the_base_has_positions_for_are_refused(tiny_base: Path) -> None:
    base = load_base(str(tiny_base), LABELS)
    check_max_length(base.tokenizer, base.config, 64)
    with pytest.raises(ConfigError, match="64 tokens at most"):
        check_max_length(base.tokenizer, base.config, 65)
    base.tokenizer.model_max_length = 10**30  # a tokenizer that names no limit
    with pytest.raises(ConfigError, match="64 tokens at most"):
        check_max_length(base.tokenizer, base.config, 65)
