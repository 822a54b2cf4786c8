"""What a run was made with, so that somebody else can believe it and repeat it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loracle.methods.method import Setup

_PACKAGES = (
    "loracle",
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "scikit-learn",
    "scipy",
    "statsmodels",
    "numpy",
)


def write_ledger(setup: Setup, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ledger of a run: data, budget, precision, machine, versions, and what was equal for all."""
    from loracle.training.precision import choose_path

    path = choose_path(setup.budget.precision)
    return {
        **plan,
        "budget": asdict(setup.budget),
        "model": setup.model,
        "lora": asdict(setup.lora),
        "path": {"device": path.device, "precision": path.precision, "attention": path.attention},
        "machine": machine(),
        "versions": versions(),
        "equal for all": _equal_for_all(setup),
    }


def machine() -> dict[str, Any]:
    """Return processor, cores, memory, GPU and operating system of this machine."""
    import psutil
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpu": gpu,
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that the figures depend on."""
    found = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), **found}


def _equal_for_all(setup: Setup) -> list[str]:
    budget = setup.budget
    dropout = "the checkpoint's own dropout" if budget.base_dropout else "no dropout in the base"
    return [
        "The same splits; the test split is predicted once per method and seed, after all choices on validation.",
        f"Each gradient method tries {budget.learning_rates} learning rates of its own grid with the first seed; "
        "the best on validation serves all seeds.",
        f"At most {budget.epochs} epochs, batches of {budget.batch_size} texts of similar length, "
        f"{budget.max_length} tokens, the same examples in the same order for the same seed, {dropout}.",
        "The epoch that is best on validation is kept.",
        "Seeds are set before the head and the adapter are initialised; the head is counted.",
        "Time and peak memory are measured by the same code around each fit.",
    ]


def _processor_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
