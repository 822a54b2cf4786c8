"""Read and write the adapter folder that PEFT reads and writes.

    adapter_config.json           rank, alpha, targets, which modules are the head
    adapter_model.safetensors     base_model.model.<layer>.lora_A.weight, .lora_B.weight, and the head's own weights

Source of the format: https://huggingface.co/docs/peft/developer_guides/checkpoint
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from loracle.errors import ModelError
from loracle.files import write_bytes, write_text
from loracle.lora.config import LoRAConfig
from loracle.lora.injection import inject, is_inside, lora_layers, lora_state_dict

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"

_PREFIX = "base_model.model."
_FACTORS = {"lora_a": "lora_A.weight", "lora_b": "lora_B.weight"}

# What is read from a configuration, and what changes no arithmetic; anything else that is set is refused by name.
_READ = {"peft_type", "r", "lora_alpha", "lora_dropout", "target_modules", "modules_to_save"}
_HARMLESS = {
    "auto_mapping", "base_model_name_or_path", "inference_mode", "peft_version", "revision", "task_type",
    "megatron_core", "qalora_group_size", "runtime_config", "ensure_weight_tying",
}  # fmt: skip
_INITIALISATIONS = (
    None,
    True,
    False,
    "gaussian",
    "orthogonal",
)  # those that leave the base weights as they are


def save_adapter(model: nn.Module, folder: str | Path, *, base_name: str = "") -> None:
    """Write the LoRA factors and the trained head of `model` as a PEFT adapter folder.

    The head is every parameter that is trainable and not a LoRA factor. `base_name` tells PEFT which base model to
    load. Raises ModelError where the model has no LoRA layers.

    >>> from loracle.lora.injection import inject
    >>> model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> names = inject(model, LoRAConfig(targets=("0",)), head=("2",))
    >>> folder = getfixture("tmp_path")
    >>> save_adapter(model, folder)
    >>> sorted(path.name for path in folder.iterdir())
    ['adapter_config.json', 'adapter_model.safetensors']
    """
    from safetensors.torch import save

    layers = dict(lora_layers(model))
    if not layers:
        raise ModelError("this model has no LoRA layers to save; inject(model, config) first")
    tensors = {_peft_key(name): tensor for name, tensor in lora_state_dict(model).items()}
    head = _head_parameters(model)
    tensors |= {_PREFIX + name: tensor.detach() for name, tensor in head.items()}
    config = _peft_config(next(iter(layers.values())).config, list(layers), _head_modules(model), base_name)
    folder = Path(folder)
    write_bytes(folder / WEIGHTS_FILE, save({name: item.contiguous().cpu() for name, item in tensors.items()}))
    write_text(folder / CONFIG_FILE, json.dumps(config, indent=2) + "\n")


def load_adapter(model: nn.Module, folder: str | Path, *, head: Sequence[str] = ()) -> LoRAConfig:
    """Inject the adapter saved in `folder` into `model` and load its weights, the head's included.

    `model` is the base with a head of the same shape, without LoRA; `head` names the modules that its checkpoint
    did not contain, which the adapter must bring. Returns the configuration, with each layer as a target. Raises
    ModelError, naming the tensors or options, where the folder does not fit; the model is then unchanged.

    >>> from loracle.lora.injection import inject
    >>> build = lambda: nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> model, again, folder = build(), build(), getfixture("tmp_path")
    >>> names = inject(model, LoRAConfig(rank=4, targets=("0",)), head=("2",))
    >>> save_adapter(model, folder)
    >>> load_adapter(again, folder, head=("2",)).rank
    4
    """
    config, saved_head = read_config(folder)
    head = sorted({*saved_head, *head})
    tensors = _read_tensors(Path(folder))
    config = replace(config, targets=_targets_of(tensors))
    _check_fit(model, tensors, config, head)
    inject(model, config, head=head)
    model.load_state_dict({_own_key(name): tensor for name, tensor in tensors.items()}, strict=False)
    return config


def read_config(folder: str | Path) -> tuple[LoRAConfig, tuple[str, ...]]:
    """Return rank, alpha and dropout of an adapter folder and the names of its head modules.

    Which layers it changes is told by its tensors, not by its configuration, which may be a pattern.

    Raises ModelError where the file is missing, is no LoRA adapter, or asks for what is not computed here.
    """
    path = Path(folder) / CONFIG_FILE
    if not path.is_file():
        raise ModelError(f"{folder} holds no {CONFIG_FILE}; give a folder that save_adapter or PEFT wrote")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        kind = raw["peft_type"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} cannot be read as an adapter configuration: {error}") from error
    if kind != "LORA":
        raise ModelError(f"{path} is a PEFT adapter of type {kind!r}; only LORA is read here")
    refused = [f"{name}={value!r}" for name, value in raw.items() if not _is_computed(name, value)]
    if refused:
        raise ModelError(f"{path} asks for {', '.join(refused)}, which Loracle does not compute; refused")
    absent = [name for name in ("r", "lora_alpha") if not isinstance(raw.get(name), int | float)]
    if absent:
        raise ModelError(f"{path} has no number for {', '.join(absent)}; give a folder that save_adapter or PEFT wrote")
    config = LoRAConfig(
        rank=raw["r"],
        alpha=raw["lora_alpha"],
        dropout=raw.get("lora_dropout") or 0.0,
    )
    return config, tuple(raw.get("modules_to_save") or ())


def _is_computed(name: str, value: Any) -> bool:
    if name == "init_lora_weights":
        return value in _INITIALISATIONS
    unset = value is None or value is False or value in ("", "none", [], {})
    return unset or name in _READ or name in _HARMLESS


def _peft_config(config: LoRAConfig, layers: list[str], head: list[str], base_name: str) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS" if head else None,
        "base_model_name_or_path": base_name,
        "r": config.rank,
        "lora_alpha": config.alpha,
        "lora_dropout": config.dropout,
        "target_modules": layers,
        "modules_to_save": head or None,
        "bias": "none",
        "fan_in_fan_out": False,
        "use_rslora": False,
        "use_dora": False,
        "inference_mode": True,
    }


def _head_parameters(model: nn.Module) -> dict[str, Tensor]:
    factors = set(lora_state_dict(model))
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and name not in factors
    }


def _head_modules(model: nn.Module) -> list[str]:
    """Return the outermost modules that hold nothing but head parameters: one name for a composite head."""
    head = set(_head_parameters(model))
    modules: list[str] = []
    for name, module in model.named_modules():
        parameters = [f"{name}.{key}" for key, _ in module.named_parameters()]
        covered = any(name.startswith(f"{outer}.") for outer in modules)
        if name and parameters and not covered and head.issuperset(parameters):
            modules.append(name)
    return modules


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise ModelError(f"{folder} holds no {WEIGHTS_FILE}; only safetensors are read, never pickled weights")
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ModelError(f"{path} is broken: {error}") from error
    foreign = [name for name in tensors if not name.startswith(_PREFIX)]
    if foreign:
        raise ModelError(f"{path} holds tensors that are not an adapter's: {_some(foreign)}")
    return tensors


def _targets_of(tensors: Iterable[str]) -> tuple[str, ...]:
    ending = f".{_FACTORS['lora_a']}"
    return tuple(name.removeprefix(_PREFIX).removesuffix(ending) for name in tensors if name.endswith(ending))


def _check_fit(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    config: LoRAConfig,
    head: Sequence[str],
) -> None:
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    absent = [name for name in config.targets if name not in linear]
    if absent or not config.targets:
        raise ModelError(f"the adapter is for layers that this base does not have: {_some(absent) or 'none at all'}")
    expected = {name: tuple(parameter.shape) for name, parameter in model.named_parameters() if is_inside(name, head)}
    for name in config.targets:
        expected[f"{name}.lora_a"] = (config.rank, linear[name].in_features)
        expected[f"{name}.lora_b"] = (linear[name].out_features, config.rank)
    given = {_own_key(name): tuple(tensor.shape) for name, tensor in tensors.items()}
    faults = {
        "missing": [name for name in expected if name not in given],
        "too many": [name for name in given if name not in expected],
        "of another shape": [
            f"{name} {given[name]} for {shape}" for name, shape in expected.items() if given.get(name, shape) != shape
        ],
    }
    listed = "; ".join(f"{what}: {_some(names)}" for what, names in faults.items() if names)
    if listed:
        raise ModelError(f"the adapter does not fit this base model; tensors {listed}")


def _peft_key(name: str) -> str:
    layer, _, factor = name.rpartition(".")
    return f"{_PREFIX}{layer}.{_FACTORS[factor]}"


def _own_key(name: str) -> str:
    name = name.removeprefix(_PREFIX)
    for own, foreign in _FACTORS.items():
        if name.endswith(f".{foreign}"):
            return f"{name.removesuffix(foreign)}{own}"
    return name


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
