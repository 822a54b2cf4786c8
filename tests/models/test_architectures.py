"""Every architecture that Loracle knows by name: its head is found, its texts do not mix, and its adapter trains."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from loracle.errors import ConfigError, ModelError
from loracle.lora.config import ALL_LINEAR, LoRAConfig
from loracle.lora.injection import inject, lora_layers
from loracle.models.counting import count_parameters
from loracle.models.families import FAMILIES, default_targets, reads_last_token, resolve_targets
from loracle.models.freezing import find_blocks, find_embeddings
from loracle.models.loading import Base, check_max_length, load_base, load_encoder, load_finetuned, load_tokenizer
from loracle.training.batching import map_batches, tokenise
from loracle.training.fitting import set_training_mode
from loracle.training.recomputation import recomputing

Checkpoint = Callable[[str], Path]
LABELS = ("bad", "good", "so-so")
LENGTH = 48
TEXTS = [
    "late again",
    "the parcel was never answered and nobody was friendly, rude and broken, and my order was late again and again",
    "",
    "thanks",
    "a lovely friendly thanks for my order",
    *("an end </s>", "<eos> an end <eos>", "broken <|endoftext|>", "<pad>", "rude [PAD] [PAD]", "zzz <|im_end|>"),
]
ENDS = ("</s>", "<eos>", "<|endoftext|>", "<pad>")
HEADS = {
    "distilbert": ("pre_classifier", "classifier"),
    "deberta": ("pooler", "classifier"),
    "deberta-v2": ("pooler", "classifier"),
    "deberta-v3": ("pooler", "classifier"),
    "modernbert": ("head", "classifier"),
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "gpt2"), ("score",)),
}
"""("classifier",) for all others."""
HEADS_AFTER_PRETRAINING = {
    "bert": ("bert.pooler", "classifier"),
    "albert": ("albert.pooler", "classifier"),
    "modernbert": ("classifier",),  # what is before it was pretrained
}
"""Where a checkpoint with a language model's head gives another head than one without."""
DECODERS = tuple(name for name, head in HEADS.items() if head == ("score",))


def load(folder: Path, *, attention: str = "eager", seed: int = 0) -> Base:
    torch.manual_seed(seed)
    return load_base(str(folder), LABELS, attention=attention)


def read_logits(base: Base, texts: list[str]) -> np.ndarray:
    """Return the logits of all texts, longest first in one padded batch, as prediction makes them."""

    @torch.inference_mode()
    def compute(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return base.network(input_ids=ids, attention_mask=mask).logits

    return map_batches(tokenise(base.tokenizer, texts, LENGTH), len(texts), compute)


def adapted(folder: Path) -> Base:
    """Return a base with LoRA at its usual targets, B not zero, so that A has a gradient."""
    base = load(folder)
    inject(base.network, LoRAConfig(rank=4, targets=default_targets(base.config.model_type)), head=base.head)
    for _, layer in lora_layers(base.network):
        torch.nn.init.normal_(layer.lora_b, std=0.2)
    return base


def test_every_listed_architecture_is_in_the_table(architectures: ModuleType) -> None:
    assert {build().model_type for build in architectures.ARCHITECTURES.values()} == set(FAMILIES)


def test_head_is_what_a_bare_checkpoint_lacks(checkpoint: Checkpoint, architecture: str) -> None:
    assert load(checkpoint(architecture)).head == HEADS.get(architecture, ("classifier",))


def test_head_of_a_language_model_is_left_behind(architectures: ModuleType, architecture: str, tmp_path: Path) -> None:
    build = AutoModelForCausalLM if architecture in DECODERS else AutoModelForMaskedLM
    base = load(architectures.save_checkpoint(architecture, tmp_path, build))
    usual = HEADS.get(architecture, ("classifier",))
    assert base.head == HEADS_AFTER_PRETRAINING.get(architecture, usual)
    assert not any(part in name for name in base.network.state_dict() for part in ("lm_head", "predictions", "decoder"))


def test_base_keeps_the_weights_of_the_checkpoint(checkpoint: Checkpoint, architecture: str) -> None:
    first, second = (load(checkpoint(architecture), seed=seed).network.state_dict() for seed in (1, 2))
    head = HEADS.get(architecture, ("classifier",))
    differ = {name for name, weight in first.items() if not torch.equal(weight, second[name])}
    assert differ
    assert all(name.startswith(head) for name in differ)


def test_checkpoint_without_a_layer_is_refused_by_name(
    architectures: ModuleType, architecture: str, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = architectures.save_checkpoint(architecture, tmp_path)
    weights = load_file(folder / "model.safetensors")
    lost = [name for name, weight in weights.items() if weight.ndim == 2 and "pooler" not in name][-1]
    kept = {name: weight for name, weight in weights.items() if name != lost}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="lacks weights of the base model itself") as caught:
        load(folder)
    assert lost.removesuffix(".weight") in str(caught.value)


def test_all_linear_changes_every_linear_layer_but_the_head(checkpoint: Checkpoint, architecture: str) -> None:
    base = load(checkpoint(architecture))
    linear = [name for name, module in base.network.named_modules() if type(module).__name__ in ("Linear", "Conv1D")]
    names = inject(base.network, LoRAConfig(rank=4, targets=(ALL_LINEAR,)), head=base.head)
    assert names == [name for name in linear if not name.startswith(base.head)]
    assert len(names) >= 4
    assert set(linear) - set(names)


def test_counts_of_adapter_head_and_base_add_up(checkpoint: Checkpoint, architecture: str) -> None:
    base = load(checkpoint(architecture))
    before = sum(weight.numel() for weight in base.network.parameters())
    head = sum(weight.numel() for name, weight in base.network.named_parameters() if name.startswith(base.head))
    inject(base.network, LoRAConfig(rank=4, targets=default_targets(base.config.model_type)), head=base.head)
    counts = count_parameters(base.network, base.head)
    shapes = [layer.lora_a.shape[1] + layer.lora_b.shape[0] for _, layer in lora_layers(base.network)]
    assert (counts.adapter, counts.head, counts.base) == (4 * sum(shapes), head, before - head)
    assert counts.trainable == counts.adapter + counts.head


def test_attention_group_is_within_attention(checkpoint: Checkpoint, architecture: str) -> None:
    base = load(checkpoint(architecture))
    names = inject(
        base.network,
        LoRAConfig(rank=4, targets=resolve_targets(("attention",), base.config.model_type)),
        head=base.head,
    )
    blocks = find_blocks(base.network)
    fused = {"deberta": 2, "modernbert": 2, "gpt2": 2}
    assert len(names) == fused.get(base.config.model_type, 4) * len(blocks)
    assert all("att" in name.removeprefix(block) for block in blocks for name in names if name.startswith(f"{block}."))


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_logits_of_a_text_do_not_depend_on_its_neighbours(
    checkpoint: Checkpoint, architecture: str, attention: str
) -> None:
    base = load(checkpoint(architecture), attention=attention)
    together = read_logits(base, TEXTS)
    alone = np.concatenate([read_logits(base, [text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)
    assert np.ptp(alone[:5], axis=0).min() > 1e-3  # texts do differ


def test_padding_is_known_to_tokenizer_and_network_alike(checkpoint: Checkpoint, architecture: str) -> None:
    base = load(checkpoint(architecture))
    assert base.tokenizer.padding_side == "right"
    assert base.tokenizer.pad_token_id is not None
    assert base.config.pad_token_id == base.tokenizer.pad_token_id
    assert not getattr(base.config, "use_cache", False)


def test_saved_model_pads_and_scores_as_before(checkpoint: Checkpoint, architecture: str, tmp_path: Path) -> None:
    base = load(checkpoint(architecture))
    base.network.save_pretrained(tmp_path)
    base.tokenizer.save_pretrained(tmp_path)
    again = load_finetuned(tmp_path, base.name, LABELS, attention="eager")
    assert again.tokenizer.pad_token_id == base.tokenizer.pad_token_id == again.config.pad_token_id
    assert np.array_equal(read_logits(again, TEXTS), read_logits(base, TEXTS))


@pytest.mark.parametrize("architecture", DECODERS)
def test_decoder_is_read_at_the_last_token_of_every_text(checkpoint: Checkpoint, architecture: str) -> None:
    base = load(checkpoint(architecture))
    tokens = tokenise(base.tokenizer, TEXTS, LENGTH)
    for row, logits in enumerate(read_logits(base, TEXTS)):
        ids, mask = tokens.pad_batch(np.array([row]))
        with torch.inference_mode():
            states = base.network.base_model(input_ids=ids, attention_mask=mask).last_hidden_state
            expected = base.network.score(states[0, -1])
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("architecture", DECODERS)
def test_saved_decoder_reads_the_end_of_a_text_elsewhere_too(
    checkpoint: Checkpoint, architecture: str, tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    base = load(checkpoint(architecture))
    base.network.save_pretrained(tmp_path)
    base.tokenizer.save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    network = AutoModelForSequenceClassification.from_pretrained(tmp_path, attn_implementation="eager")
    texts = [text for text in TEXTS if text]
    with torch.inference_mode():
        logits = network(
            **tokenizer(texts, padding=True, truncation=True, max_length=LENGTH, return_tensors="pt")
        ).logits
    np.testing.assert_allclose(logits, read_logits(base, texts), rtol=0, atol=1e-5)


@pytest.mark.parametrize("architecture", DECODERS)
def test_words_that_look_like_an_end_are_words_to_a_decoder(checkpoint: Checkpoint, architecture: str) -> None:
    tokenizer = load_tokenizer(str(checkpoint(architecture)))
    for end in ENDS:
        ids = tokenizer(f"late {end}")["input_ids"]
        assert tokenizer.pad_token_id not in ids
        assert len(ids) > len(tokenizer("late")["input_ids"])


@pytest.fixture
def endless(architectures: ModuleType, tmp_path: Path) -> Path:
    """A Llama whose tokenizer has neither a padding token nor an end."""
    tokens = architectures.Tokens(special=("<unk>", "<s>"), template="<s> $A", roles={"unk_token": "<unk>"})
    return architectures.save_checkpoint("llama", tmp_path, tokens=tokens)


def test_tokenizer_without_padding_and_end_is_refused(endless: Path) -> None:
    with pytest.raises(ModelError, match="neither a padding token nor an end of text"):
        load(endless)


def test_padding_token_that_the_network_does_not_know_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint("llama"))
    config = AutoConfig.from_pretrained(checkpoint("llama"), vocab_size=len(tokenizer))
    AutoModel.from_config(config).save_pretrained(tmp_path)
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"'<pad>' of .* knows"):
        load(tmp_path)


@pytest.mark.parametrize(("architecture", "positions"), [("bert", 64), ("roberta", 64), ("mpnet", 64), ("gpt2", 64)])
def test_longest_text_is_the_longest_that_runs(checkpoint: Checkpoint, architecture: str, positions: int) -> None:
    base = load(checkpoint(architecture))
    base.tokenizer.model_max_length = 10**30  # a tokenizer that names no limit
    check_max_length(base.tokenizer, base.config, positions)
    with pytest.raises(ConfigError, match=f"{positions} tokens at most"):
        check_max_length(base.tokenizer, base.config, positions + 1)
    ids = torch.full((1, positions + 1), 7)
    base.network(input_ids=ids[:, :-1], attention_mask=torch.ones_like(ids[:, :-1]))
    with pytest.raises((IndexError, RuntimeError, ValueError)):
        base.network(input_ids=ids, attention_mask=torch.ones_like(ids))


def gradients(base: Base, *, base_dropout: bool) -> dict[str, torch.Tensor]:
    """Return the gradient of everything trainable for one batch of texts."""
    tokens = tokenise(base.tokenizer, TEXTS, LENGTH)
    ids, mask = tokens.pad_batch(np.arange(len(TEXTS)))
    set_training_mode(base.network, base_dropout=base_dropout)
    base.network.zero_grad()
    torch.manual_seed(5)
    logits = base.network(input_ids=ids, attention_mask=mask).logits
    torch.nn.functional.cross_entropy(logits, torch.arange(len(TEXTS)) % len(LABELS)).backward()
    return {name: weight.grad.clone() for name, weight in base.network.named_parameters() if weight.grad is not None}


def count_calls(base: Base) -> list[str]:
    """Return a list that grows by a name each time a LoRA layer is called."""
    calls: list[str] = []
    for name, layer in lora_layers(base.network):
        layer.register_forward_hook(lambda *_, name=name: calls.append(name))
    return calls


@pytest.mark.parametrize("base_dropout", [False, True])
def test_recomputed_gradients_are_the_same(checkpoint: Checkpoint, architecture: str, base_dropout: bool) -> None:
    base = adapted(checkpoint(architecture))
    calls = count_calls(base)
    plain, once = gradients(base, base_dropout=base_dropout), len(calls)
    with recomputing(base.network):
        again, twice = gradients(base, base_dropout=base_dropout), len(calls) - once
    assert twice == 2 * once > 0
    assert again.keys() == plain.keys() == {
        name for name, weight in base.network.named_parameters() if weight.requires_grad
    }  # fmt: skip
    for name, gradient in plain.items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(again[name], gradient, rtol=0, atol=1e-6, msg=name)
    assert not any(name.startswith(find_embeddings(base.network, find_blocks(base.network))) for name in again)
    calls.clear()
    gradients(base, base_dropout=base_dropout)
    assert len(calls) == once  # off again


UNLISTED = {
    "roformer": {"embedding_size": 32},
    "rembert": {"input_embedding_size": 16, "output_embedding_size": 16},
    "camembert": {"max_position_embeddings": 66},
}


@pytest.fixture
def unlisted(architectures: ModuleType, tmp_path: Path) -> Callable[..., Path]:
    """What writes a model of an architecture that Loracle does not know by name."""

    def save(model_type: str, sizes: dict[str, Any], tokens: str = "BERT_TOKENS", plain: bool = False) -> Path:
        if not plain:
            sizes = {**architectures._SIZES, **sizes}
        found = architectures.Architecture(model_type=model_type, tokens=getattr(architectures, tokens), sizes=sizes)
        return architectures.save_model(found, tmp_path)

    return save


@pytest.mark.parametrize("model_type", UNLISTED)
def test_unlisted_architecture_works_through_all_linear(unlisted: Callable[..., Path], model_type: str) -> None:
    tokens = "ROBERTA_TOKENS" if model_type == "camembert" else "BERT_TOKENS"
    base = load(unlisted(model_type, UNLISTED[model_type], tokens))
    alone = np.concatenate([read_logits(base, [text]) for text in TEXTS])
    np.testing.assert_allclose(read_logits(base, TEXTS), alone, rtol=0, atol=1e-5)
    names = inject(base.network, LoRAConfig(rank=4, targets=(ALL_LINEAR,)), head=base.head)
    assert names
    assert not any(name.startswith(base.head) for name in names)
    assert gradients(base, base_dropout=False)


def test_unlisted_decoder_works_through_all_linear(unlisted: Callable[..., Path]) -> None:
    sizes = {"vocab_size": 288, "hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.2}
    base = load(unlisted("bloom", sizes, "GPT2_TOKENS", plain=True))
    assert base.head == ("score",)
    alone = np.concatenate([read_logits(base, [text]) for text in TEXTS])
    np.testing.assert_allclose(read_logits(base, TEXTS), alone, rtol=0, atol=1e-5)
    assert inject(base.network, LoRAConfig(rank=4, targets=(ALL_LINEAR,)), head=base.head)


def test_unlisted_architecture_without_targets_names_its_linear_layers(unlisted: Callable[..., Path]) -> None:
    from loracle.methods.lora import prepare_lora
    from loracle.methods.method import Setup

    base = load(unlisted("roformer", UNLISTED["roformer"]))
    with pytest.raises(ConfigError, match=r"'roformer'.*there are: dense, key, query, value\).*all-linear"):
        prepare_lora(base, Setup())


def test_architecture_that_reads_padding_is_refused(unlisted: Callable[..., Path]) -> None:
    folder = unlisted("xlnet", {"vocab_size": 288, "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48}, plain=True)
    with pytest.raises(ModelError, match="'xlnet' padding changes what a text gives"):
        load(folder)


@pytest.mark.parametrize("load_model", [load, lambda folder: load_encoder(str(folder))])
def test_architecture_that_needs_more_than_ids_is_refused(
    unlisted: Callable[..., Path], load_model: Callable[[Path], object]
) -> None:
    sizes = {"vocab_size": 288, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
    folder = unlisted("t5", {**sizes, "decoder_start_token_id": 0}, plain=True)
    with pytest.raises(ModelError, match="'t5' does not run") as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


def test_architecture_without_a_classification_class_is_refused(unlisted: Callable[..., Path]) -> None:
    folder = unlisted(
        "mamba", {"vocab_size": 288, "hidden_size": 32, "num_hidden_layers": 2}, "GPT2_TOKENS", plain=True
    )
    with pytest.raises(ModelError, match="no sequence classification class for the architecture 'mamba'"):
        load(folder)


def test_decoders_are_those_that_are_read_at_the_end(architectures: ModuleType, architecture: str) -> None:
    assert reads_last_token(architectures.ARCHITECTURES[architecture]().model_type) == (architecture in DECODERS)
