"""Which device, number format and attention a network runs with: decided here, once, for all methods alike."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from loracle.errors import ConfigError


@dataclass(frozen=True)
class ComputePath:
    """The numeric path of a run: where it computes and in which precision.

    `attention` is a name of transformers. On a CPU plain matrix products beat the fused kernel in the backward
    pass, in bf16 by far.
    """

    device: str
    precision: str
    attention: str

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which forward passes run."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16")


def choose_path(precision: str = "auto") -> ComputePath:
    """Choose bf16 where the processor or GPU computes it natively, float32 elsewhere or on request.

    Raises ConfigError where bf16 is asked for and the hardware would only emulate it.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    native = has_native_bf16(device)
    if precision == "bf16" and not native:
        raise ConfigError(f"precision bf16 is not native on this {device}; use --precision fp32 or auto")
    chosen = "bf16" if native and precision != "fp32" else "fp32"
    return ComputePath(device, chosen, "sdpa" if device == "cuda" else "eager")


def choose_path_like(precision: str) -> ComputePath:
    """Choose the path of a saved model: its own precision, or float32 where this machine has no native bf16."""
    return choose_path("fp32" if precision == "fp32" else "auto")


def has_native_bf16(device: str) -> bool:
    """Say whether the device multiplies bf16 matrices in hardware."""
    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
