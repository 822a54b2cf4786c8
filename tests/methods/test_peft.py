"""Methods of PEFT train in the one loop, are saved and loaded by PEFT, and stand in a table under their file's name."""

import importlib.util
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from loracle.comparison.folder import RunFolder
from loracle.comparison.plan import Plan
from loracle.comparison.running import check_run, run
from loracle.data.loading import load_task
from loracle.data.task import Task
from loracle.errors import ConfigError, ModelError, RunError
from loracle.methods.method import Classifier, Setup
from loracle.methods.peft import SUPPORTED
from loracle.methods.registry import find_methods, load_classifier
from loracle.models.loading import load_encoder
from loracle.models.quantising import quantised_layers
from loracle.training.budget import Budget
from loracle.training.fitting import set_training_mode

TEXTS = ["late parcel never answered", "", "lovely fast friendly shop", "late " * 300, "zzz qqq"]
HEAD = 2 * 32 + 2
QUERY_VALUE: dict[str, Any] = {"target_modules": ["query", "value"]}
CONFIGS: dict[str, dict[str, Any]] = {
    "ADALORA": {**QUERY_VALUE, "init_r": 6, "target_r": 2, "tinit": 4, "tfinal": 6},
    "BOFT": {**QUERY_VALUE, "boft_block_size": 4},
    "C3A": {**QUERY_VALUE, "block_size": 16},
    "DELORA": {**QUERY_VALUE, "r": 4},
    "FOURIERFT": {**QUERY_VALUE, "n_frequency": 200},
    "GRALORA": {**QUERY_VALUE, "r": 4},
    "HRA": {**QUERY_VALUE, "r": 4},
    "IA3": {},
    "LN_TUNING": {"target_modules": ["LayerNorm"]},
    "LOHA": {**QUERY_VALUE, "r": 4},
    "LOKR": {**QUERY_VALUE, "r": 4},
    "LORA": {**QUERY_VALUE, "r": 4, "lora_dropout": 0.1},
    "MISS": {**QUERY_VALUE, "r": 4},
    "OFT": {**QUERY_VALUE, "oft_block_size": 8},
    "P_TUNING": {"num_virtual_tokens": 4, "encoder_hidden_size": 16},
    "PREFIX_TUNING": {"num_virtual_tokens": 4},
    "PROMPT_TUNING": {"num_virtual_tokens": 4},
    "RANDLORA": {**QUERY_VALUE, "r": 4},
    "ROAD": {**QUERY_VALUE, "group_size": 16},
    "SHIRA": {**QUERY_VALUE, "r": 4},
    "VBLORA": {**QUERY_VALUE, "r": 2, "num_vectors": 16, "vector_length": 16, "topk": 2},
    "VERA": {**QUERY_VALUE, "r": 8},
    "WAVEFT": {**QUERY_VALUE, "n_frequency": 200},
}

WriteConfig = Callable[..., Path]


@pytest.fixture(scope="module")
def task(tiny_file: Path) -> Task:
    return load_task(tiny_file)


@pytest.fixture(scope="module")
def setup(tiny_base: Path) -> Setup:
    return Setup(model=str(tiny_base), budget=Budget(epochs=1, batch_size=8, max_length=32, precision="fp32"))


@pytest.fixture
def config(tmp_path: Path) -> WriteConfig:
    def write(kind: str, name: str = "method", **options: Any) -> Path:
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({"peft_type": kind, **CONFIGS.get(kind, {}), **options}))
        return path

    return write


def fit(name: str, task: Task, setup: Setup) -> Classifier:
    (method,) = find_methods([name])
    return method.fit(task, setup, seed=0, learning_rate=1e-2).classifier


def weights(classifier: Classifier) -> dict[str, torch.Tensor]:
    network = classifier.scorer.base.network
    return {name: item for name, item in network.named_parameters() if item.requires_grad}


def test_every_supported_type_is_tested() -> None:
    assert set(CONFIGS) == set(SUPPORTED)


@pytest.mark.parametrize("kind", SUPPORTED)
def test_method_trains_what_it_adds_and_is_loaded_to_the_bit(
    task: Task, setup: Setup, config: WriteConfig, tmp_path: Path, kind: str
) -> None:
    (method,) = find_methods([f"peft:{config(kind)}"])
    first, last = (method.fit(task, setup, seed=0, learning_rate=rate).classifier for rate in (1e-9, 1e-2))
    started, trained = weights(first), weights(last)
    moved = [name for name in trained if not torch.allclose(started[name], trained[name], atol=1e-6)]
    head = last.scorer.base.head
    assert any(name.startswith(head) for name in moved)
    assert any(not name.startswith(head) for name in moved), "the adapter did not learn"
    last.save(tmp_path / "saved")
    loaded = load_classifier(tmp_path / "saved")
    assert np.array_equal(loaded.predict_proba(TEXTS), last.predict_proba(TEXTS))
    assert loaded.counts == last.counts
    assert (last.counts.head, last.counts.trainable) == (HEAD, last.counts.adapter + HEAD)
    files = {path.name for path in (tmp_path / "saved").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors"} <= files
    assert not any(name.endswith((".bin", ".pt", ".md")) for name in files)
    assert _decides(last)


def _decides(classifier: Classifier) -> bool:
    """Say whether the adapter, and not the head alone, has a say in what is predicted; it is spoilt afterwards."""
    before = classifier.predict_proba(TEXTS)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, item in weights(classifier).items():
            if not name.startswith(classifier.scorer.base.head):
                item.add_(torch.randn_like(item))
    return not np.allclose(classifier.predict_proba(TEXTS), before, atol=1e-6)


@pytest.mark.parametrize("kind", ["ADALORA", "LOHA", "LORA"])
def test_method_learns_what_the_words_say(task: Task, setup: Setup, config: WriteConfig, kind: str) -> None:
    options = {"init_r": 12, "target_r": 8, "lora_alpha": 32, "orth_reg_weight": 0.0} if kind == "ADALORA" else {}
    longer = replace(setup, budget=replace(setup.budget, epochs=8))
    (method,) = find_methods([f"peft:{config(kind, target_modules='all-linear', **options)}"])
    assert method.fit(task, longer, seed=0, learning_rate=1e-2).validation_metrics["accuracy"] >= 0.8


def test_counts_of_the_base_are_those_of_lora(task: Task, setup: Setup, config: WriteConfig) -> None:
    ours, theirs = (
        fit(name, task, setup).counts for name in ("lora:rank=4:targets=query+value", f"peft:{config('LORA')}")
    )
    assert ours == theirs


@pytest.mark.parametrize("kind", SUPPORTED)
def test_method_works_on_a_quantised_base(
    task: Task, setup: Setup, config: WriteConfig, tmp_path: Path, kind: str
) -> None:
    held = fit(f"peft:{config(kind)}:base_precision=int8", task, setup)
    assert len(list(quantised_layers(held.scorer.base.network))) == 2 * 6 + 1
    whole = sum(item.numel() for item in load_encoder(setup.model).parameters())
    assert held.counts.base == whole
    assert held.counts.base_bytes < 4 * whole
    held.save(tmp_path / "saved")
    loaded = load_classifier(tmp_path / "saved")
    assert np.array_equal(loaded.predict_proba(TEXTS), held.predict_proba(TEXTS))


@pytest.mark.parametrize(
    ("kind", "options", "layers"),
    [
        ("LORA", {"init_lora_weights": "mica"}, 2 * 6 + 1),
        ("PROMPT_TUNING", {"modules_to_save": ["intermediate.dense"]}, 2 * 5 + 1),
    ],
)
def test_what_peft_brings_is_never_quantised(
    task: Task, setup: Setup, config: WriteConfig, tmp_path: Path, kind: str, options: dict[str, Any], layers: int
) -> None:
    classifier = fit(f"peft:{config(kind, **options)}:base_precision=int8", task, setup)
    classifier.save(tmp_path / "saved")
    loaded = load_classifier(tmp_path / "saved")
    for held in (classifier, loaded):
        assert len(list(quantised_layers(held.scorer.base.network))) == layers
    assert np.array_equal(loaded.predict_proba(TEXTS), classifier.predict_proba(TEXTS))


def test_dropout_is_on_in_the_adapter_alone(task: Task, setup: Setup, config: WriteConfig) -> None:
    network = fit(f"peft:{config('LORA')}", task, setup).scorer.base.network
    set_training_mode(network, base_dropout=False)
    on = {name.rpartition(".")[0] for name, part in network.named_modules() if part.training and "dropout" in name}
    assert on
    assert all("lora_dropout" in name or name.endswith(("query", "value")) for name in on)
    network.eval()
    assert not any(part.training for part in network.modules())


def test_adalora_prunes_ranks_within_the_steps_of_the_budget(task: Task, setup: Setup, config: WriteConfig) -> None:
    classifier = fit(f"peft:{config('ADALORA')}", task, setup)
    network = classifier.scorer.base.network
    assert network.steps == network.adapter_config.total_step == -(-len(task.train) // 8)
    ranks = [int((item != 0).sum()) for name, item in network.named_parameters() if ".lora_E." in name]
    assert sum(ranks) == 4 * 2  # target_r of each layer, on the whole; six of each at the start


def test_adalora_penalty_has_the_gradient_of_the_loss_that_peft_computes(
    task: Task, setup: Setup, config: WriteConfig
) -> None:
    network = fit(f"peft:{config('ADALORA')}", task, setup).scorer.base.network
    ids, labels = torch.tensor([[2, 7, 9, 3], [2, 8, 5, 3]]), torch.tensor([0, 1])
    trained = {name: item for name, item in network.named_parameters() if item.requires_grad}
    network.model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss.backward()
    theirs = {name: item.grad for name, item in trained.items()}
    network.zero_grad()
    torch.nn.functional.cross_entropy(network(ids, torch.ones_like(ids)).logits, labels).backward()
    without = {name: item.grad.clone() for name, item in trained.items()}
    network.add_penalty()
    for name, item in trained.items():
        torch.testing.assert_close(item.grad, theirs[name])
    assert any(not torch.allclose(item.grad, without[name]) for name, item in trained.items())


def test_adalora_without_steps_to_prune_in_is_refused_before_it_runs(
    task: Task, setup: Setup, config: WriteConfig
) -> None:
    (method,) = find_methods([f"peft:{config('ADALORA', tinit=10_000)}"])
    assert method.check is not None
    with pytest.raises(ConfigError, match="PEFT refuses this ADALORA"):
        method.check(task, setup)


def test_virtual_tokens_beyond_the_positions_are_refused(task: Task, setup: Setup, config: WriteConfig) -> None:
    with pytest.raises(ConfigError, match="64 positions"):
        fit(f"peft:{config('PROMPT_TUNING', num_virtual_tokens=40)}", task, setup)


def test_positions_that_an_architecture_keeps_for_padding_are_not_counted(
    checkpoint, task: Task, setup: Setup, config: WriteConfig
) -> None:
    roberta = replace(setup, model=str(checkpoint("roberta")))  # 66 positions for 64 tokens
    fit(f"peft:{config('PROMPT_TUNING', num_virtual_tokens=32)}", task, roberta)
    with pytest.raises(ConfigError, match="33 virtual tokens and a max_length of 32 are more than the 64 positions"):
        fit(f"peft:{config('PROMPT_TUNING', num_virtual_tokens=33)}", task, roberta)


@pytest.mark.parametrize("kind", ["PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING", "LORA"])
def test_gradient_checkpointing_is_refused_by_prefix_tuning_alone(
    task: Task, setup: Setup, config: WriteConfig, kind: str
) -> None:
    recomputed = replace(setup, budget=replace(setup.budget, gradient_checkpointing=True))
    (method,) = find_methods([f"peft:{config(kind)}"])
    assert method.check is not None
    if kind == "PREFIX_TUNING":
        with pytest.raises(ConfigError, match="leave gradient_checkpointing or this method out"):
            method.check(task, recomputed)
        return
    method.check(task, recomputed)
    method.fit(task, recomputed, seed=0)


def test_targets_that_match_nothing_are_refused(task: Task, setup: Setup, config: WriteConfig) -> None:
    with pytest.raises(ConfigError, match="PEFT refuses this IA3: No modules were targeted"):
        fit(f"peft:{config('IA3', target_modules=['nothing'], feedforward_modules=[])}", task, setup)


def test_name_is_that_of_the_file_and_takes_options(config: WriteConfig) -> None:
    path = config("VERA", "my-vera_2")
    plain, tuned = find_methods([f"peft:{path}", f"peft:{path}:learning_rate=0.02"])
    assert (plain.name, tuned.name) == ("peft:my-vera_2", "peft:my-vera_2:learning_rate=0.02")
    assert tuned.learning_rates == (0.02,)
    assert re.fullmatch(rf"peft:{path}@[0-9a-f]{{12}}:learning_rate=0.02", tuned.stored_name)
    assert find_methods([tuned.stored_name])[0].stored_name == tuned.stored_name


def test_run_is_continued_by_its_stored_names_and_not_with_a_changed_file(
    task: Task, tiny_base: Path, config: WriteConfig, tmp_path: Path
) -> None:
    setup = Setup(model=str(tiny_base), budget=Budget(epochs=1, batch_size=16, max_length=16, learning_rates=1))
    path, folder, plan = config("IA3", "ia3"), tmp_path / "run", Plan(seeds=1)
    methods = find_methods(["majority", f"peft:{path}"])
    first = run(task, methods, setup, plan, folder=folder)
    assert {summary.method for summary in first.summaries} == {"majority", "peft:ia3"}
    assert (folder / "results" / "peft:ia3.0.json").is_file()
    stamp = (folder / "results" / "peft:ia3.0.json").stat().st_mtime_ns
    again = run(
        task, find_methods([method.stored_name or method.name for method in methods]), setup, plan, folder=folder
    )
    assert again.results == first.results
    assert (folder / "results" / "peft:ia3.0.json").stat().st_mtime_ns == stamp
    assert load_classifier(RunFolder(folder).model_path("peft:ia3")).method == "peft:ia3"
    config("IA3", "ia3", feedforward_modules=[])
    with pytest.raises(RunError, match="another configuration"):
        check_run(task, find_methods(["majority", f"peft:{path}"]), setup, plan, folder)
    with pytest.raises(ConfigError, match="changed since the run"):
        find_methods([methods[1].stored_name])


def test_two_files_of_one_name_are_refused(config: WriteConfig, tmp_path: Path) -> None:
    path = config("IA3")
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / path.name
    other.write_text(path.read_text())
    with pytest.raises(ConfigError, match="both be called 'peft:method'"):
        find_methods([f"peft:{path},peft:{other}"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no json", "is no JSON"),
        ("[1]", "names no peft_type"),
        ('{"r": 4}', "names no peft_type"),
        ('{"peft_type": 4}', "names no peft_type"),
        ('{"peft_type": "IA4"}', "unknown peft_type 'IA4'; did you mean 'IA3'"),
        ('{"peft_type": "XLORA"}', "mixes adapters"),
        ('{"peft_type": "MULTITASK_PROMPT_TUNING"}', "number of a task"),
        ('{"peft_type": "CPT"}', "language models"),
        ('{"peft_type": "POLY"}', "number of a task"),
        ('{"peft_type": "ADAPTION_PROMPT"}', "LLaMA"),
        ('{"peft_type": "TRAINABLE_TOKENS"}', "does not save the head"),
        ('{"peft_type": "VERA", "rank": 4}', "unknown VERA option 'rank'"),
        ('{"peft_type": "VERA", "trust_remote_code": true}', "unknown VERA option 'trust_remote_code'"),
        ('{"peft_type": "VERA", "auto_mapping": {"parent_library": "os"}}', "could run code"),
        ('{"peft_type": "LORA", "megatron_config": {"x": 1}}', "could run code"),
        ('{"peft_type": "LORA", "eva_config": {"rho": 1}}', "needs data before training"),
        ('{"peft_type": "LORA", "init_lora_weights": "pissa_niter_4"}', "write pissa"),
        ('{"peft_type": "PROMPT_TUNING", "tokenizer_kwargs": {"trust_remote_code": true}}', "could run code"),
        ('{"peft_type": "IA3", "task_type": "CAUSAL_LM"}', "task_type is 'CAUSAL_LM'"),
        ('{"peft_type": "LORA", "use_dora": true, "megatron_core": 1, "r": 4, "bias": "none", "lora_alpha": 4, '
         '"target_modules": "all-linear", "layers_to_transform": [1]}', "PEFT refuses this LORA"),
    ],
)  # fmt: skip
def test_file_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "method.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message) as refused:
        find_methods([f"peft:{path}"])
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("peft", "takes a JSON file"),
        ("peft:", "takes a JSON file"),
        ("peft:ia3", "takes a JSON file"),
        ("peft:ia3.json:learning_rate", "takes a JSON file"),
        ("peft:missing.json", "no PEFT configuration at"),
        ("peft:my method.json", "rename it"),
    ],
)
def test_name_without_a_file_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_methods([name])


def test_path_with_a_comma_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a,b"
    folder.mkdir()
    (folder / "ia3.json").write_text('{"peft_type": "IA3"}')
    with pytest.raises(ConfigError, match=r"'b/ia3.json' is no method; write peft:<file>.json, with no comma"):
        find_methods([f"tfidf,peft:{folder / 'ia3.json'}"])
    monkeypatch.chdir(folder)
    with pytest.raises(ConfigError, match=r"a,b/ia3\.json has a comma"):  # run.toml would hold the whole path
        find_methods(["tfidf,peft:ia3.json"])


def test_option_that_peft_methods_do_not_read_is_refused(config: WriteConfig) -> None:
    with pytest.raises(ConfigError, match="unknown option"):
        find_methods([f"peft:{config('IA3')}:rank=4"])


def test_missing_library_is_named_with_its_extra(config: WriteConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    path = config("IA3")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"loracle\[peers\]"):
        find_methods([f"peft:{path}"])


@pytest.mark.parametrize("damage", ["pickle", "config", "missing"])
def test_saved_adapter_that_was_changed_is_refused(
    task: Task, setup: Setup, config: WriteConfig, tmp_path: Path, damage: str
) -> None:
    from safetensors.torch import load_file, save_file

    fit(f"peft:{config('IA3')}", task, setup).save(tmp_path / "saved")
    file = tmp_path / "saved" / "adapter_model.safetensors"
    if damage == "pickle":
        file.rename(file.with_suffix(".bin"))
    elif damage == "config":
        settings = tmp_path / "saved" / "adapter_config.json"
        settings.write_text(settings.read_text().replace('"IA3"', '"XLORA"'))
    else:
        tensors = load_file(file)
        save_file({name: item for name, item in tensors.items() if "classifier" not in name}, file)
    with pytest.raises((ModelError, ConfigError)):
        load_classifier(tmp_path / "saved")


@pytest.fixture(scope="module")
def distilbert(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer_files: Path) -> Setup:
    from transformers import DistilBertConfig, DistilBertModel

    folder = tmp_path_factory.mktemp("distilbert") / "tiny"
    shutil.copytree(tiny_tokenizer_files, folder)
    sizes = {"dim": 16, "hidden_dim": 24, "n_layers": 2, "n_heads": 2}
    DistilBertModel(DistilBertConfig(vocab_size=120, max_position_embeddings=64, **sizes)).save_pretrained(folder)
    return Setup(model=str(folder), budget=Budget(epochs=1, batch_size=8, max_length=32, precision="fp32"))


def test_every_module_of_a_head_is_trained_and_saved(
    task: Task, distilbert: Setup, config: WriteConfig, tmp_path: Path
) -> None:
    path = config("IA3", target_modules=["v_lin", "lin2"], feedforward_modules=["lin2"])
    classifier = fit(f"peft:{path}", task, distilbert)
    assert classifier.counts.head == (16 * 16 + 16) + (2 * 16 + 2)  # pre_classifier and classifier
    classifier.save(tmp_path / "saved")
    loaded = load_classifier(tmp_path / "saved")
    assert np.array_equal(loaded.predict_proba(TEXTS), classifier.predict_proba(TEXTS))


def test_method_that_an_architecture_has_no_place_for_is_refused(
    task: Task, distilbert: Setup, config: WriteConfig
) -> None:
    with pytest.raises(ConfigError, match="PEFT refuses this PREFIX_TUNING"):
        fit(f"peft:{config('PREFIX_TUNING')}", task, distilbert)


@pytest.mark.parametrize("kind", ["PROMPT_TUNING", "P_TUNING"])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_virtual_tokens_are_refused_where_a_text_would_depend_on_its_neighbours(
    checkpoint, task: Task, setup: Setup, config: WriteConfig, architecture: str, kind: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{kind} cannot be used with the architecture '{architecture}': padding"):
        fit(f"peft:{config(kind)}", task, replace(setup, model=str(checkpoint(architecture))))


@pytest.mark.parametrize("kind", ["IA3", "LORA"])
def test_text_in_a_decoder_gives_the_same_whatever_its_neighbours(
    checkpoint, task: Task, setup: Setup, config: WriteConfig, kind: str
) -> None:
    targets = {"target_modules": ["q_proj", "v_proj"], **({"feedforward_modules": []} if kind == "IA3" else {})}
    classifier = fit(f"peft:{config(kind, **targets)}", task, replace(setup, model=str(checkpoint("llama"))))
    alone = np.concatenate([classifier.predict_proba([text]) for text in TEXTS])
    np.testing.assert_allclose(classifier.predict_proba(TEXTS), alone, rtol=0, atol=1e-5)


def test_pissa_is_loaded_as_the_model_that_was_saved(
    task: Task, setup: Setup, config: WriteConfig, tmp_path: Path
) -> None:
    classifier = fit(f"peft:{config('LORA', init_lora_weights='pissa')}", task, setup)
    classifier.save(tmp_path / "saved")
    loaded = load_classifier(tmp_path / "saved")
    assert np.array_equal(loaded.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
