"""A base wrapped by PEFT: how the loop trains it, what of it is counted, and how PEFT saves and loads it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from loracle.errors import ConfigError, ModelError, unknown
from loracle.lora.injection import is_inside
from loracle.models.counting import Counts
from loracle.models.padding import TOLERANCE, measure_move
from loracle.models.quantising import quantised_layers

if TYPE_CHECKING:
    from loracle.models.loading import Base

_ADALORA = "ADALORA"
_TEXTS = ("a", "a b")  # the shortest of which one is padded: virtual tokens may leave few positions


class AdaptedNetwork(nn.Module):
    """A PeftModel with the signature that all networks have here; `base_parameters` are those it did not bring."""

    def __init__(self, model: Any, base_parameters: Sequence[nn.Parameter]) -> None:
        super().__init__()
        self.model = model
        self.base_parameters = {id(parameter) for parameter in base_parameters}
        self.steps = 0
        self.train(False)

    @property
    def config(self) -> Any:
        """The transformers configuration of the base."""
        return self.model.config

    @property
    def adapter_config(self) -> Any:
        """PEFT's configuration."""
        return self.model.peft_config["default"]

    def brought_modules(self) -> list[str]:
        """Return the dotted names of the linear layers that PEFT brought, and of the modules that it copied."""
        from peft.utils.other import ModulesToSaveWrapper

        return [
            name
            for name, module in self.named_modules()
            if isinstance(module, ModulesToSaveWrapper)
            or (type(module) is nn.Linear and id(module.weight) not in self.base_parameters)
        ]

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        """Return what the wrapped network returns."""
        return self.model(input_ids=input_ids, attention_mask=attention_mask)

    def train_adapters(self) -> None:
        """Switch dropout on in what PEFT added, and in nothing else."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        for module in self.model.modules():
            if isinstance(module, BaseTunerLayer):
                module.training = True
                for name, child in module.named_children():
                    if name != "base_layer":
                        child.train()
        if encoders := getattr(self.model, "prompt_encoder", None):
            encoders.train()

    def add_penalty(self) -> None:
        """Add to the gradients that of AdaLoRA's penalty on factors that are not orthogonal (Zhang et al., 2023).

        PEFT adds it only to a loss that the network computes itself.
        """
        if self.adapter_config.peft_type != _ADALORA or not self.adapter_config.orth_reg_weight:
            return
        factors = {name: item for name, item in self.named_parameters() if ".lora_A." in name or ".lora_B." in name}
        products = [item @ item.T if ".lora_A." in name else item.T @ item for name, item in factors.items()]
        distances = [
            torch.linalg.norm(product - torch.eye(len(product), device=product.device)) for product in products
        ]
        torch.autograd.backward(self.adapter_config.orth_reg_weight * torch.stack(distances).mean())

    def allocate_ranks(self) -> None:
        """Let AdaLoRA move its budget of ranks, after an optimiser step and before the gradients are dropped."""
        if self.adapter_config.peft_type == _ADALORA:
            self.steps += 1
            self.model.base_model.update_and_allocate(self.steps)


def parse_config(raw: Mapping[str, Any]) -> Any:
    """Return PEFT's configuration object of a `peft_type` and its options; it is changed by PEFT where it is used.

    Raises ConfigError for an unknown option or a value that PEFT refuses.
    """
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    kind = PEFT_TYPE_TO_CONFIG_MAPPING[raw["peft_type"]]
    known = {field.name for field in fields(kind)}
    for name in raw:
        if name not in known:
            raise unknown(f"{raw['peft_type']} option", name, known)
    with _refusals(str(raw["peft_type"])):
        return kind(**raw)


def adapt(base: Base, raw: Mapping[str, Any]) -> Base:
    """Wrap the network by PEFT as a configuration says; what PEFT adds and the head are left trainable.

    Raises ConfigError where PEFT refuses it, it does not work with this architecture, or padding changes what a text
    gives.
    """
    from peft import get_peft_model

    config = parse_config({**raw, "task_type": "SEQ_CLS", "inference_mode": False})
    config.modules_to_save = [*(config.modules_to_save or ()), *base.head]
    outside = _outside_head(base)
    with _refusals(str(raw["peft_type"])):
        adapted = _wrapped(base, get_peft_model(base.network, config), outside)
        moved = measure_move(adapted.network, adapted.tokenizer, *_TEXTS)
    if not moved <= TOLERANCE:
        raise ConfigError(
            f"{raw['peft_type']} cannot be used with the architecture {base.config.model_type!r}: padding changes what "
            "a text gives; give another base model or leave this method out"
        )
    return adapted


def save_adapted(base: Base, folder: Path, *, base_name: str) -> None:
    """Let PEFT write adapter_config.json and adapter_model.safetensors, the head included."""
    network = base.network
    assert isinstance(network, AdaptedNetwork)
    config = network.adapter_config
    config.base_model_name_or_path = base_name
    if config.peft_type == _ADALORA:
        # It is that of the last step; the kept epoch may be an earlier one, whose zeros are in its weights.
        config.rank_pattern = None
    network.model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # a form that nobody has filled in


def load_adapted(base: Base, folder: Path) -> Base:
    """Wrap the network with the adapter and the head in `folder`; safetensors alone are read.

    Raises ModelError where PEFT cannot load them.
    """
    from peft import PeftConfig, PeftModel
    from safetensors import SafetensorError

    if not (folder / "adapter_model.safetensors").is_file():
        raise ModelError(f"{folder} holds no adapter_model.safetensors; only safetensors are read")
    outside = _outside_head(base)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", "Found missing adapter keys")
            config = PeftConfig.from_pretrained(str(folder))
            # What is frozen may be quantised afterwards, and the adapter must not be; virtual tokens cannot be thawed.
            model = PeftModel.from_pretrained(base.network, str(folder), is_trainable=not config.is_prompt_learning)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, UserWarning, SafetensorError) as error:
        raise ModelError(f"the adapter in {folder} cannot be loaded: {_first_line(error)}") from error
    return _wrapped(base, model, outside)


def count_adapted(base: Base) -> Counts:
    """Count what PEFT added as adapter, the trained copy of the head as head, and the rest as base."""
    network = base.network
    assert isinstance(network, AdaptedNetwork)
    added = {name: item for name, item in network.named_parameters() if id(item) not in network.base_parameters}
    trained = {name: item.numel() for name, item in added.items() if item.requires_grad}
    head = sum(size for name, size in trained.items() if is_inside(name, base.head))
    own = [item for item in network.parameters() if id(item) in network.base_parameters]
    quantised = [layer for _, layer in quantised_layers(network)]
    return Counts(
        adapter=sum(trained.values()) - head,
        head=head,
        base=sum(item.numel() for item in own) + sum(layer.weight_parameters for layer in quantised),
        trainable=sum(item.numel() for item in network.parameters() if item.requires_grad),
        base_bytes=sum(item.nbytes for item in own) + sum(layer.weight_bytes for layer in quantised),
    )


def _outside_head(base: Base) -> list[nn.Parameter]:
    return [item for name, item in base.network.named_parameters() if not is_inside(name, base.head)]


def _wrapped(base: Base, model: Any, outside: Sequence[nn.Parameter]) -> Base:
    """Return the base with the wrapped network, the names of its head as they are within it."""
    from peft.utils.other import ModulesToSaveWrapper

    network = AdaptedNetwork(model, outside)
    copied = [name for name, module in network.named_modules() if isinstance(module, ModulesToSaveWrapper)]
    head = tuple(name for name in copied if any(name.endswith(f".{own}") for own in base.head))
    if len(head) != len(base.head):
        raise ConfigError(
            f"PEFT does not train the head {', '.join(base.head)}; it copies {', '.join(copied) or 'none'}"
        )
    return replace(base, network=network, head=head)


@contextmanager
def _refusals(kind: str) -> Iterator[None]:
    """Turn what PEFT raises within the block into a ConfigError of one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ValueError, TypeError, RuntimeError, AttributeError, KeyError, NotImplementedError, IndexError) as error:
        raise ConfigError(f"PEFT refuses this {kind}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
