"""How far memory grows during a fit, loading the model included; each contestant is to run in a fresh process.

What both import is imported before. Loracle scores a validation split after each epoch, as it always does; the Trainer
evaluates nothing.
"""

from __future__ import annotations

import importlib
import tempfile
from typing import Any

from benchmarks import rival
from benchmarks.rounds import Gate
from benchmarks.workload import Job, build_base, fit_job

_IMPORTED = (
    "accelerate",
    "peft",
    "transformers.trainer",
    "loracle.methods.registry",
    "loracle.planning.forecasting",
    "loracle.training.fitting",
)


def fit(gate: Gate, job: Job) -> None:
    """Train an epoch by Loracle's own loop and report the growth at the peak, in bytes."""
    from loracle.comparison.measuring import measured
    from loracle.training.precision import choose_path

    _prepare(job)
    used: dict[str, str] = {}  # attention takes memory, and a measurement chooses it, for training and scoring apart

    def on_step(_: int, loss: float | None) -> None:
        used["scoring" if loss is None else "training"] = base.config._attn_implementation

    gate.wait()
    with measured() as reading:
        path = choose_path()
        base = build_base(job, path)
        fit_job(job, base.network, path, on_step, epochs=1)
    gate.report(reading.peak_memory_bytes, f"{path.precision}, attention {used['training']}, scoring {used['scoring']}")


def fit_by_trainer(gate: Gate, job: Job, recipe: rival.Recipe) -> None:
    """Train an epoch by the Trainer and report the growth at the peak, in bytes."""
    from loracle.comparison.measuring import measured

    _prepare(job)
    gate.wait()
    with tempfile.TemporaryDirectory() as folder, measured() as reading:
        network = rival.build_network(job, recipe)
        rival.build_trainer(job, recipe, network, folder, [], epochs=1).train()
    gate.report(reading.peak_memory_bytes, rival.describe(network, recipe))


def _prepare(job: Job) -> None:
    """Import all that both need, the architecture included, and start the threads that compute."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    from loracle.models.loading import resolve_base

    for name in _IMPORTED:
        importlib.import_module(name)
    config: Any = AutoConfig.from_pretrained(resolve_base(job.model))
    with torch.device("meta"):
        AutoModelForSequenceClassification.from_config(config)
    square = torch.randn(256, 256)
    torch.mm(square, square)
