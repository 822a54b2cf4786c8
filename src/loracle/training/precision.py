"""Which device, number format and attention a network runs with: decided here, once, for all methods alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from loracle.errors import ConfigError
from loracle.lora.injection import lora_state_dict
from loracle.training.attention import AUTO, EAGER
from loracle.training.budget import Budget


@dataclass(frozen=True)
class ComputePath:
    """The numeric path of a run: where it computes, in which precision, and by which attention.

    `attention` is a name of transformers, or auto: the faster one, for training and scoring apart. `deterministic` asks
    torch to sum in one order only. `graphs` says whether passes of training are recorded and launched as one.
    """

    device: str
    precision: str
    attention: str = AUTO
    deterministic: bool = False
    graphs: bool = False

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which forward passes run."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16")

    @contextmanager
    def in_one_order(self) -> Iterator[None]:
        """Use algorithms alone that sum in the same order each time, where the path asks for it."""
        before = torch.are_deterministic_algorithms_enabled()
        torch.use_deterministic_algorithms(self.deterministic or before)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)


def path_for(budget: Budget) -> ComputePath:
    """Return the path that a budget asks for, as `choose_path`."""
    return choose_path(budget.precision, deterministic=budget.deterministic)


def choose_path(precision: str = "auto", *, deterministic: bool = False) -> ComputePath:
    """Choose bf16 where the processor or GPU computes it natively, float32 elsewhere or on request.

    `deterministic` is the reference path: float32, plain matrix products, one order of summation. Raises ConfigError
    where bf16 is asked for and the hardware would only emulate it.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if deterministic:
        return ComputePath(device, "fp32", EAGER, deterministic=True)
    native = has_native_bf16(device)
    if precision == "bf16" and not native:
        raise ConfigError(f"precision bf16 is not native on this {device}; use --precision fp32 or auto")
    return ComputePath(device, "bf16" if native and precision != "fp32" else "fp32", graphs=device == "cuda")


def choose_path_like(precision: str, *, deterministic: bool = False) -> ComputePath:
    """Choose the path of a saved model: its own precision, or float32 where this machine has no native bf16."""
    return choose_path("fp32" if precision == "fp32" else "auto", deterministic=deterministic)


def hold_frozen(network: nn.Module, path: ComputePath) -> None:
    """Hold what is frozen in the path's precision: once, with no other copy.

    What is trained stays in float32, and so does an adapter's frozen part, which is saved. A module some of whose
    parameters are trained is left alone.
    """
    if path.precision != "bf16":
        return
    of_base = getattr(network, "base_parameters", None)  # a network wrapped by PEFT says what it did not bring
    adapter = {id(item) for item in _own_tensors(network)}
    for module in network.modules():
        own = list(module.parameters(recurse=False))
        frozen = all(not item.requires_grad for item in own)
        for item in own:
            mine = id(item) not in adapter and (of_base is None or id(item) in of_base)
            if frozen and mine and item.dtype == torch.float32:
                item.data = item.data.to(torch.bfloat16)


def has_native_bf16(device: str) -> bool:
    """Say whether the device multiplies bf16 matrices in hardware."""
    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _own_tensors(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters of the network's LoRA layers, the frozen ones among them."""
    names = lora_state_dict(network)
    return [item for name, item in network.named_parameters() if name in names]
