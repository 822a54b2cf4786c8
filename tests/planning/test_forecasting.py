"""Counts are those of the real classes; what cannot be planned is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import loracle
from loracle.errors import ConfigError, ModelError
from loracle.lora.config import LoRAConfig
from loracle.methods.method import Setup
from loracle.methods.registry import METHODS
from loracle.models.blueprint import build_blueprint
from loracle.models.counting import count_parameters
from loracle.models.networks import NetworkConfig
from loracle.planning.configurations import list_configurations
from loracle.planning.forecast import MethodForecast
from loracle.planning.forecasting import count_sharing, predict_peak
from loracle.training.budget import Budget

BASES = {  # parameters of the published base models, without any head
    "bert-base-uncased": 109_482_240,
    "bert-large-uncased": 335_141_888,
    "prajjwal1/bert-tiny": 4_385_920,
    "sentence-transformers/all-MiniLM-L6-v2": 22_713_216,
    "distilbert-base-uncased": 66_362_880,
    "distilroberta-base": 81_527_808,
    "roberta-base": 124_055_040,
    "xlm-roberta-base": 277_453_056,
    "albert-base-v2": 11_683_584,
    "google/electra-small-discriminator": 13_483_008,
    "microsoft/deberta-v3-base": 183_831_552,
    "microsoft/mpnet-base": 108_895_872,
    "answerdotai/ModernBERT-base": 149_014_272,
    "gpt2": 124_439_808,
    "Qwen/Qwen2.5-0.5B": 494_032_768,
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "google/gemma-2b": 2_506_172_416,
    "mistralai/Mistral-7B-v0.3": 7_113_805_824,
}
SHORT = Budget(batch_size=2, max_length=8)


def planned(
    model: str, method: str, *, labels: int = 2, rank: int = 8, targets: tuple[str, ...] = ()
) -> MethodForecast:
    lora = LoRAConfig(rank=rank, targets=targets)
    return loracle.plan(model, labels=labels, methods=[method], lora=lora, budget=SHORT, memory="1TB").find(method)


@pytest.mark.parametrize("model", list_configurations())
def test_shipped_sizes_give_the_published_number_of_parameters(model: str) -> None:
    base = build_blueprint(model, list_configurations()[model], ["0", "1"])
    assert count_parameters(base.network, base.head).base == BASES[model]
    assert all(parameter.is_meta for parameter in base.network.parameters())


@pytest.mark.parametrize(
    ("model", "labels", "total"),
    [
        ("distilroberta-base", 2, 82_119_938),
        ("distilbert-base-uncased", 2, 66_955_010),
        ("Llama-3.2-1B", 2, 1_235_818_496),
        ("bert-tiny", 9, 4_387_081),
    ],
)
def test_full_fine_tuning_trains_every_parameter_of_the_reference(model: str, labels: int, total: int) -> None:
    counts = planned(model, "full", labels=labels).counts
    assert counts.total == counts.trainable == total


@pytest.mark.parametrize(
    ("model", "labels", "rank", "targets", "adapter", "head", "total"),
    [
        ("distilroberta-base", 2, 8, ("query", "value"), 147_456, 592_130, 82_267_394),
        ("distilbert-base-uncased", 2, 16, ("attention",), 589_824, 592_130, 67_544_834),
        ("Llama-3.2-1B", 2, 16, ("all-linear",), 11_272_192, 4_096, 1_247_090_688),
        ("bert-tiny", 9, 8, ("query", "value"), 8_192, 1_161, 4_395_273),
    ],
)
def test_lora_adds_the_parameters_of_the_reference(
    model: str, labels: int, rank: int, targets: tuple[str, ...], adapter: int, head: int, total: int
) -> None:
    counts = planned(model, "lora", labels=labels, rank=rank, targets=targets).counts
    assert (counts.adapter, counts.head, counts.total) == (adapter, head, total)
    assert counts.trainable == adapter + head


def test_twelve_frozen_layers_leave_the_reference_number_but_for_the_bias_of_its_head() -> None:
    networks = NetworkConfig(frozen_layers=12, train_embeddings=True)
    found = loracle.plan("Llama-3.2-1B", methods=["partial"], networks=networks, budget=SHORT, memory="1TB")
    counts = found.find("partial").counts
    assert (counts.trainable + 2, counts.total + 2) == (505_960_450, 1_235_818_498)


def test_parts_add_up_to_the_network_and_matrices_to_the_adapter() -> None:
    found = loracle.plan("bert-tiny", methods=["lora:rank=4", "full"], budget=SHORT, memory="1GB")
    full, lora = found.find("full"), found.find("lora:rank=4")
    assert sum(part.parameters for part in found.components) == full.counts.total
    assert [part.modules for part in found.components if part.name.endswith("layer")] == [2]
    assert sum(matrix.adapter for matrix in found.matrices) == lora.counts.adapter == 4 * 2 * 256 * 2
    assert json.loads(found.to_json())["methods"][1]["counts"]["total"] == full.counts.total


def test_bytes_on_disk_are_those_of_what_is_saved(tiny_base: Path, tmp_path: Path) -> None:
    from loracle.lora.injection import inject
    from loracle.lora.peft_format import save_adapter
    from loracle.models.loading import load_base

    base = load_base(str(tiny_base), ["a", "b"])
    inject(base.network, LoRAConfig(rank=8, targets=("query", "value")), head=base.head)
    save_adapter(base.network, tmp_path, base_name="tiny")
    saved = sum(file.stat().st_size for file in tmp_path.glob("*.safetensors"))
    plan = loracle.plan(str(tiny_base), methods=["lora"], budget=SHORT, memory="1GB").find("lora")
    assert plan.bytes_on_disk < saved < plan.bytes_on_disk + 2_000  # the names of the tensors


def test_without_a_choice_methods_that_a_base_model_cannot_have_are_told_with_the_reason() -> None:
    found = loracle.plan("albert-base-v2", budget=SHORT, memory="1GB")
    assert [item.method for item in found.methods] == ["head", "bitfit", "lora", "full"]
    assert "no layers that could be frozen" in found.refused["partial"]


def test_a_config_file_is_enough(tiny_base: Path) -> None:
    found = loracle.plan(str(tiny_base / "config.json"), methods=["full"], budget=SHORT, memory="1GB")
    assert found.architecture == "bert"


@pytest.mark.parametrize("content", ["{}", "[1]", "no json", '{"model_type": "resnet"}', '{"model_type": "nothing"}'])
def test_a_config_file_of_no_text_classifier_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ModelError):
        loracle.plan(str(tmp_path / "config.json"), methods=["full"])


def test_what_cannot_be_is_refused_with_what_can() -> None:
    for options, words in [
        ({"lora": LoRAConfig(rank=2000, initialisation="pissa")}, "rank is 2000; pissa can take 128"),
        ({"lora": LoRAConfig(targets=("nothing",))}, "there are: dense, key, query, value"),
        ({"methods": ["tfidf"]}, "does not train the base model; allowed here: .*lora"),
        ({"methods": ["nope"]}, "unknown method"),
        ({"budget": Budget(max_length=1000)}, "reads 512 tokens at most"),
        ({"labels": 1}, "labels is 1"),
        ({"memory": "3XB"}, "memory is '3XB'"),
        ({"memory": "1MB", "probe": True, "methods": ["full"]}, "--probe needs about"),
    ]:
        with pytest.raises(ConfigError, match=words):
            loracle.plan("bert-tiny", **options)  # type: ignore[arg-type]


def test_a_probe_times_real_steps(tiny_base: Path) -> None:
    found = loracle.plan(str(tiny_base), methods=["lora"], budget=SHORT, memory="1GB", probe=True).find("lora")
    assert found.probe is not None
    assert found.probe.seconds_per_step > 0
    assert found.probe.texts_per_second == pytest.approx(2 / found.probe.seconds_per_step)


def test_fits_that_share_a_base_count_it_once() -> None:
    method, setup = METHODS["lora"], Setup(model="roberta-base", budget=SHORT)
    alone = predict_peak(method, setup, 2)
    base = 4 * BASES["roberta-base"]
    assert count_sharing(method, setup, 2, alone) == 1
    assert count_sharing(method, setup, 2, 0) == 1
    assert count_sharing(method, setup, 2, base + round(5.5 * (alone - base))) == 5
