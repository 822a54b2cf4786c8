"""How much memory there is: as somebody writes it, or as this machine has it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from loracle.errors import ConfigError

if TYPE_CHECKING:
    from loracle.training.precision import ComputePath

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_WRITTEN = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)", re.IGNORECASE)


def parse_memory(text: str) -> int:
    """Return bytes; raises ConfigError where no number above 0 with a unit is written.

    >>> parse_memory("24GB"), parse_memory("1.5 GiB")
    (24000000000, 1610612736)
    """
    match = _WRITTEN.fullmatch(text.strip())
    unit = _UNITS.get(match[2].upper()) if match else None
    size = int(float(match[1]) * unit) if match and unit else 0
    if size < 1:
        raise ConfigError(f"memory is {text!r}; write a number above 0 and MB, GB, TB, MiB, GiB or TiB, such as 24GB")
    return size


def find_room(path: ComputePath) -> int:
    """Return the bytes that several fits at once may take now: what is free on the GPU, else half of what is free."""
    if path.device == "cuda":
        import torch

        free, _ = torch.cuda.mem_get_info()
        return int(free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated())
    import psutil

    return int(psutil.virtual_memory().available) // 2


def find_memory(path: ComputePath) -> tuple[int, str]:
    """Return the memory that this machine would compute in, in bytes, and whose it is."""
    if path.device == "cuda":
        import torch

        card = torch.cuda.get_device_properties(0)
        return int(card.total_memory), card.name
    import psutil

    return int(psutil.virtual_memory().available), "what is free on this machine"
