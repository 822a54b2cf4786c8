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

from torch import Tensor, nn

from loracle.errors import ModelError
from loracle.files import write_bytes, write_text
from loracle.lora.config import LoRAConfig
from loracle.lora.injection import inject, is_inside, lora_layers, lora_state_dict
from loracle.lora.linear import is_linear, linear_sizes
from loracle.lora.peft_config import CONFIG_FILE, AdapterConfig, is_module_name, list_some, read_config, render_config
from loracle.lora.variants import plain_factors

WEIGHTS_FILE = "adapter_model.safetensors"
IDENTITY = "base_identity"  # among the metadata of the file of weights

_PICKLED_FILE = "adapter_model.bin"
_PREFIX = "base_model.model."
_FACTORS = {"lora_a": "lora_A.weight", "lora_b": "lora_B.weight", "magnitude": "lora_magnitude_vector"}


def save_adapter(model: nn.Module, folder: str | Path, *, base_name: str = "", base_identity: str = "") -> None:
    """Write the LoRA factors and the trained head of `model` as a PEFT adapter folder.

    The head is every parameter that is trainable and not a LoRA factor. `base_name` tells PEFT which base model to
    load, `base_identity` (of `models.identity`) is held against the base when the adapter is loaded again. What started
    from the base's own weight is written as plain LoRA of twice the rank. Raises ModelError where the model has no
    LoRA layers.

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
    tensors = {
        f"{_PREFIX}{name}.{_FACTORS[own]}": tensor
        for name, layer in layers.items()
        for own, tensor in plain_factors(layer).items()
    }
    tensors |= {_PREFIX + name: tensor.detach() for name, tensor in _head_parameters(model).items()}
    config = render_config(model, _head_modules(model), base_name)
    content = save(
        {name: item.contiguous().cpu() for name, item in tensors.items()},
        {IDENTITY: base_identity} if base_identity else None,  # one key: of several the order would be random
    )
    folder = Path(folder)
    write_bytes(folder / WEIGHTS_FILE, content)
    write_text(folder / CONFIG_FILE, json.dumps(config, indent=2) + "\n")


def load_adapter(
    model: nn.Module, folder: str | Path, *, head: Sequence[str] = (), base_identity: str = ""
) -> LoRAConfig:
    """Inject the adapter saved in `folder` into `model` and load its weights, the head's included.

    `model` is the base with a head of the same shape, without LoRA; `head` names the modules that its checkpoint
    did not contain, which the adapter must bring; `base_identity` is that of `model`, if known. Returns the
    configuration, with each layer as a target. Raises ModelError, naming the tensors or options, where the folder does
    not fit; the model is then unchanged.

    >>> from loracle.lora.injection import inject
    >>> build = lambda: nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> model, again, folder = build(), build(), getfixture("tmp_path")
    >>> names = inject(model, LoRAConfig(rank=4, targets=("0",)), head=("2",))
    >>> save_adapter(model, folder)
    >>> load_adapter(again, folder, head=("2",)).rank
    4
    """
    adapter = read_config(folder)
    head = sorted({*adapter.head, *head})
    tensors, identity = _read_tensors(Path(folder))
    check_identity(f"the adapter in {folder}", identity, base_identity)
    layers = _layers_of(tensors)
    _check_fit(model, tensors, adapter, layers, head)
    config = replace(adapter.lora, targets=layers)
    inject(model, config, head=head, overrides={name: adapter.of_layer(name) for name in layers})
    model.load_state_dict({_own_key(name): tensor for name, tensor in tensors.items()}, strict=False)
    return config


def check_identity(what: str, given: str, here: str) -> None:
    """Raise ModelError where something was trained on other weights than those here; an unknown identity passes."""
    if given and here and given != here:
        raise ModelError(
            f"{what} was trained on other weights than this base model's (identity {given}, here {here}); "
            "give the base model that it was trained on"
        )


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


def _read_tensors(folder: Path) -> tuple[dict[str, Tensor], str]:
    """Return the tensors by name, and the identity of the base that they were trained on, "" where it is not told."""
    from safetensors import SafetensorError, safe_open

    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise ModelError(_explain_absence(folder))
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
            identity = (file.metadata() or {}).get(IDENTITY, "")
    except SafetensorError as error:
        raise ModelError(f"{path} is broken: {error}") from error
    foreign = [name for name in tensors if not name.startswith(_PREFIX) or not is_module_name(name)]
    if foreign:
        raise ModelError(f"{path} holds tensors that are not an adapter's: {list_some(foreign)}")
    return tensors, identity


def _explain_absence(folder: Path) -> str:
    if (folder / _PICKLED_FILE).is_file():
        return (
            f"{folder} holds {_PICKLED_FILE}, which is pickled; only safetensors are read, never pickled weights. "
            "If you trust it, convert it: load it with peft.PeftModel.from_pretrained, write it with save_pretrained"
        )
    return f"{folder} holds no {WEIGHTS_FILE}; only safetensors are read, never pickled weights"


def _layers_of(tensors: Iterable[str]) -> tuple[str, ...]:
    ending = f".{_FACTORS['lora_a']}"
    return tuple(name.removeprefix(_PREFIX).removesuffix(ending) for name in tensors if name.endswith(ending))


def _check_fit(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    adapter: AdapterConfig,
    layers: Sequence[str],
    head: Sequence[str],
) -> None:
    linear = {name: module for name, module in model.named_modules() if is_linear(module)}
    absent = [name for name in layers if name not in linear]
    if absent or not layers:
        raise ModelError(
            f"the adapter is for layers that this base does not have: {list_some(absent) or 'none at all'}"
        )
    adapter.check_layers(model, layers)
    expected = {name: tuple(parameter.shape) for name, parameter in model.named_parameters() if is_inside(name, head)}
    for name in layers:
        expected |= _factor_shapes(name, linear[name], adapter.of_layer(name))
    given = {_own_key(name): tuple(tensor.shape) for name, tensor in tensors.items()}
    faults = {
        "missing": [name for name in expected if name not in given],
        "too many": [name for name in given if name not in expected],
        "of another shape": [
            f"{name} {given[name]} for {shape}" for name, shape in expected.items() if given.get(name, shape) != shape
        ],
    }
    listed = "; ".join(f"{what}: {list_some(names)}" for what, names in faults.items() if names)
    if listed:
        raise ModelError(f"the adapter does not fit this base model; tensors {listed}")


def _factor_shapes(name: str, layer: nn.Module, config: LoRAConfig) -> dict[str, tuple[int, ...]]:
    in_features, out_features = linear_sizes(layer)
    shapes: dict[str, tuple[int, ...]] = {
        f"{name}.lora_a": (config.rank, in_features),
        f"{name}.lora_b": (out_features, config.rank),
    }
    return shapes | ({f"{name}.magnitude": (out_features,)} if config.dora else {})


def _own_key(name: str) -> str:
    name = name.removeprefix(_PREFIX)
    for own, foreign in _FACTORS.items():
        if name.endswith(f".{foreign}"):
            return f"{name.removesuffix(foreign)}{own}"
    return name
