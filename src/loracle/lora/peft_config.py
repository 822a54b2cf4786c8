"""The `adapter_config.json` that PEFT reads and writes: each option honoured, or refused by name.

Source: peft.LoraConfig, and `check_target_module_exists` and `get_pattern_key` of PEFT 0.21 for what its patterns mean.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from loracle.errors import ModelError
from loracle.lora.config import ALL_LINEAR, LoRAConfig
from loracle.lora.injection import is_inside, lora_layers
from loracle.lora.layer import LoRALinear
from loracle.lora.linear import is_linear, is_transposed
from loracle.lora.variants import ShiftedLinear, plain_factors

CONFIG_FILE = "adapter_config.json"

_NUMBERS = ("r", "lora_alpha")
_READ = {
    *_NUMBERS, "peft_type", "lora_dropout", "target_modules", "exclude_modules", "modules_to_save", "rank_pattern",
    "alpha_pattern", "layers_to_transform", "layers_pattern", "use_rslora", "use_dora", "fan_in_fan_out",
}  # fmt: skip
_HARMLESS = {  # what changes no arithmetic
    "auto_mapping", "base_model_name_or_path", "inference_mode", "peft_version", "revision", "task_type",
    "megatron_core", "qalora_group_size", "runtime_config", "ensure_weight_tying",
}  # fmt: skip
_STARTS = {  # what PEFT's initialisation of a saved adapter means for its base: nothing, or a part taken out of it
    None: "zero", True: "zero", False: "zero", "gaussian": "zero", "orthogonal": "zero",
    "pissa": "pissa", "olora": "olora",
}  # fmt: skip
_INDEX = r".*?\.[^.]*\.(?P<index>\d+)\."  # the first number in a layer's name


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """What an adapter folder says of itself."""

    lora: LoRAConfig
    """Of all layers that no pattern names; without targets, which the tensors tell."""
    head: tuple[str, ...]
    """The modules that are trained and saved whole."""
    raw: Mapping[str, Any]

    def of_layer(self, name: str) -> LoRAConfig:
        """Return the configuration of one layer, by its dotted name, as rank and alpha patterns have it."""
        rank = _look_up(self.raw.get("rank_pattern"), name, self.lora.rank)
        alpha = _look_up(self.raw.get("alpha_pattern"), name, self.lora.alpha)
        return replace(self.lora, rank=int(rank), alpha=alpha)

    def check_layers(self, model: nn.Module, layers: Sequence[str]) -> None:
        """Raise ModelError where the layers that have tensors are not those that the options name."""
        targets = self.raw.get("target_modules")
        if targets:
            named = {name for name, module in model.named_modules() if is_linear(module) and self._names(name)}
            absent, strange = sorted(named - set(layers)), sorted(set(layers) - named)
            if absent:
                raise ModelError(f"the adapter's target_modules name layers without tensors: {list_some(absent)}")
            if strange:
                raise ModelError(
                    "the adapter has tensors for layers that its options (target_modules, exclude_modules, "
                    f"layers_to_transform) leave out: {list_some(strange)}"
                )
        if self.raw.get("fan_in_fan_out") and not any(is_transposed(model.get_submodule(name)) for name in layers):
            raise ModelError(f"the adapter asks for fan_in_fan_out=True, which {list_some(layers)} is not; refused")

    def _names(self, layer: str) -> bool:
        if is_inside(layer, self.head) or _matches(self.raw.get("exclude_modules") or (), layer):
            return False
        targets, indices = self.raw["target_modules"], self.raw.get("layers_to_transform")
        if targets == ALL_LINEAR:
            return True
        if not _matches(targets, layer) or isinstance(targets, str) or indices in (None, []):
            return _matches(targets, layer)
        patterns = self.raw.get("layers_pattern") or ()
        patterns = [patterns] if isinstance(patterns, str) else patterns
        searched = [rf"(?:^|.*?\.){pattern}\.(?P<index>\d+)\..*" for pattern in patterns] or [f"{_INDEX}.*"]
        match = next((found for pattern in searched if (found := _search(pattern, layer))), None)
        return match is not None and int(match["index"]) in ([indices] if isinstance(indices, int) else indices)


def read_config(folder: str | Path) -> AdapterConfig:
    """Read the configuration of an adapter folder.

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
    _check_types(path, raw)
    absent = [name for name in _NUMBERS if not _is_number(raw.get(name))]
    if absent:
        raise ModelError(f"{path} has no number for {', '.join(absent)}; give a folder that save_adapter or PEFT wrote")
    lora = LoRAConfig(
        rank=int(raw["r"]),
        alpha=raw["lora_alpha"],
        dropout=raw.get("lora_dropout") or 0.0,
        rslora=bool(raw.get("use_rslora")),
        dora=bool(raw.get("use_dora")),
        initialisation=_STARTS[raw.get("init_lora_weights")],
    )
    return AdapterConfig(lora=lora, head=_module_names(path, raw), raw=raw)


def render_config(model: nn.Module, head: Sequence[str], base_name: str) -> dict[str, Any]:
    """Return the configuration of the LoRA layers of a model, as PEFT writes it.

    Raises ModelError where some layers have DoRA and some do not, which PEFT's format cannot say.
    """
    layers = dict(lora_layers(model))
    configs = {name: layer.config for name, layer in layers.items()}
    if len({config.dora for config in configs.values()}) > 1:
        raise ModelError("some LoRA layers of this model have DoRA and some do not; an adapter folder cannot say so")
    plain = not any(isinstance(layer, ShiftedLinear) for layer in layers.values())
    rslora = plain and all(config.rslora for config in configs.values())
    sizes = {name: _plain_size(layer, rslora) for name, layer in layers.items()}
    (rank, alpha), _ = Counter(sizes.values()).most_common(1)[0]
    return {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS" if head else None,
        "base_model_name_or_path": base_name,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": next(iter(configs.values())).dropout,
        "target_modules": list(layers),
        "modules_to_save": list(head) or None,
        "rank_pattern": {_as_pattern(name): size[0] for name, size in sizes.items() if size[0] != rank},
        "alpha_pattern": {_as_pattern(name): size[1] for name, size in sizes.items() if size[1] != alpha},
        "bias": "none",
        "fan_in_fan_out": any(is_transposed(layer.base) for layer in layers.values()),
        "use_rslora": rslora,
        "use_dora": next(iter(configs.values())).dora,
        "inference_mode": True,
    }


def list_some(names: Sequence[str]) -> str:
    """Return up to four names for a message, and how many more there are."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _plain_size(layer: LoRALinear, rslora: bool) -> tuple[int, float]:
    """Return rank and alpha of a layer's plain factors; alpha / rank (/ sqrt(rank) for rslora) is its scaling."""
    rank = plain_factors(layer)["lora_a"].shape[0]
    same = rank == layer.config.rank and rslora == layer.config.rslora
    return rank, layer.config.alpha if same else layer.config.scaling * rank


def _as_pattern(name: str) -> str:
    """Return the pattern of this one layer: by its bare name it would be of every layer whose name ends in it too."""
    return f"^{re.escape(name)}"


def _is_computed(name: str, value: Any) -> bool:
    if name == "init_lora_weights":
        return isinstance(value, bool | str | None) and value in _STARTS
    unset = value is None or value is False or value in ("", "none", [], {})
    return unset or name in _READ or name in _HARMLESS


def _check_types(path: Path, raw: Mapping[str, Any]) -> None:
    for names, allowed in _TYPES.items():
        for name in names:
            if not (raw.get(name) is None or allowed(raw[name])):
                raise ModelError(f"{path} has {name}={raw[name]!r}, which is not of a kind that PEFT writes; refused")


def _is_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_TYPES: Mapping[tuple[str, ...], Callable[[Any], bool]] = {
    ("lora_dropout",): _is_number,
    ("modules_to_save",): _is_words,
    ("target_modules", "exclude_modules", "layers_pattern"): lambda value: isinstance(value, str) or _is_words(value),
    ("layers_to_transform",): lambda value: (
        _is_whole(value) or (isinstance(value, list) and all(map(_is_whole, value)))
    ),
    ("rank_pattern", "alpha_pattern"): lambda value: isinstance(value, dict) and all(map(_is_number, value.values())),
}


def _module_names(path: Path, raw: Mapping[str, Any]) -> tuple[str, ...]:
    names = tuple(raw.get("modules_to_save") or ())
    wrong = [name for name in names if not is_module_name(name)]
    if wrong:
        raise ModelError(f"{path} has {wrong[0]!r} in modules_to_save, which is no dotted name of a module; refused")
    return names


def is_module_name(name: object) -> bool:
    """Say whether this is a dotted name, as modules and tensors have, and no path."""
    return isinstance(name, str) and re.fullmatch(r"\w+(\.\w+)*", name) is not None


def _look_up(patterns: Mapping[str, float] | None, name: str, default: float) -> float:
    return next((value for key, value in (patterns or {}).items() if _search(rf"(.*\.)?({key})", name)), default)


def _matches(patterns: str | Sequence[str], name: str) -> bool:
    if isinstance(patterns, str):
        return _search(patterns, name) is not None
    return any(name == pattern or name.endswith(f".{pattern}") for pattern in patterns)


def _search(pattern: str, name: str) -> re.Match[str] | None:
    try:
        return re.fullmatch(pattern, name)
    except re.error as error:
        raise ModelError(
            f"the adapter's configuration has the pattern {pattern!r}, which is broken: {error}"
        ) from error
