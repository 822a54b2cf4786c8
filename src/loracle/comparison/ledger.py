"""What a run was made with, so that somebody else can believe it and repeat it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from loracle.methods.naming import base_precision_of
from loracle.models.networks import BASE_PRECISIONS

if TYPE_CHECKING:
    from loracle.comparison.result import Result
    from loracle.data.task import Task
    from loracle.methods.method import Method, Setup
    from loracle.training.budget import Budget
    from loracle.training.precision import ComputePath

_TEXTS_LOOKED_AT = 1000
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
    "openai",
)


def write_ledger(task: Task, methods: Sequence[Method], setup: Setup, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ledger of a run: budget, precision, machine, versions, what was equal for all, and what was not."""
    return {
        **plan,
        "budget": asdict(setup.budget),
        "model": setup.model,
        "base precision": setup.base_precision,
        "lora": asdict(setup.lora),
        "path": _path_taken(task, methods, setup),
        "machine": machine(),
        "versions": versions(),
        "equal for all": _equal_for_all(setup),
        "not equal": _differences(task, methods, setup),
    }


def tell_passes(results: Sequence[Result]) -> list[str]:
    """Return a sentence for the methods whose fits shared passes of the same sizes: what their figures then are."""
    sizes: dict[str, list[int]] = {}
    for result in results:
        sizes.setdefault(result.method, []).append(result.fits_in_pass)
    alike: dict[tuple[int, ...], list[str]] = {}
    for method, fits in sizes.items():
        alike.setdefault(tuple(dict.fromkeys(size for size in fits if size > 1)), []).append(method)
    return [
        f"{' and '.join(methods)} shared passes of {', then '.join(map(str, shared))} fits; a fit's seconds are an "
        "equal share of the pass's, its memory is that of the whole pass, and what was planned is that of one fit."
        for shared, methods in alike.items()
        if shared
    ]


def machine() -> dict[str, Any]:
    """Return processor, cores, memory, GPU and operating system of this machine."""
    import psutil
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "waiting threads": os.environ.get("OMP_WAIT_POLICY", "default"),
        "memory_bytes": psutil.virtual_memory().total,
        "gpu": gpu,
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that the figures depend on."""
    found = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), **found}


def _path_taken(task: Task, methods: Sequence[Method], setup: Setup) -> dict[str, Any]:
    """Return where and how networks compute: device, precision, and the attention for texts of these lengths."""
    from loracle.training.precision import path_for

    path = path_for(setup.budget)
    taken: dict[str, Any] = {
        "device": path.device,
        "precision": path.precision,
        "frozen weights": "held once, in bf16" if path.precision == "bf16" else "held once, in fp32",
        "deterministic": path.deterministic,
        **({"passes of training": "recorded where they can be"} if path.graphs else {}),
    }
    if any(method.cuts_texts for method in methods):
        taken |= _attention_taken(task, setup, path)
    return taken


def _attention_taken(task: Task, setup: Setup, path: ComputePath) -> dict[str, str]:
    from loracle.models.loading import has_fused_attention, load_config
    from loracle.training.attention import EAGER, choose_attention

    config, budget = load_config(setup.model), setup.budget
    if not has_fused_attention(config):
        return {"attention in training": EAGER, "attention in scoring": EAGER}
    length = int(np.median(_count_tokens(task.train.texts, setup).clip(max=budget.max_length)))
    return {
        f"attention in {name}": choose_attention(
            config, path, length, training=training, dropout=training and budget.base_dropout
        )
        for name, training in (("training", True), ("scoring", False))
    }


def _equal_for_all(setup: Setup) -> list[str]:
    budget = setup.budget
    dropout = "the checkpoint's own dropout" if budget.base_dropout else "no dropout in the base"
    return [
        "The same splits; the test split is predicted once per method and seed, after all choices on validation.",
        f"Each gradient method tries {budget.learning_rates} learning rates of its own grid with the first seed; "
        "the best on validation serves all seeds.",
        f"Epochs: {budget.epochs} at most; batches of {budget.batch_size} texts of similar length, "
        f"{budget.max_length} tokens, the same examples in the same order for the same seed, {dropout}.",
        "The epoch that is best on validation is kept.",
        *_loss_words(budget),
        "Seeds are set before the head and the adapter are initialised; the head is counted.",
        "Time and peak memory are measured by the same code around each fit.",
    ]


def _loss_words(budget: Budget) -> list[str]:
    if (budget.loss, budget.class_weights, budget.label_smoothing) == ("cross-entropy", "none", 0):
        return []
    focal = f", gamma {budget.focal_gamma:g}" if budget.loss == "focal" else ""
    weights = "balanced, counted in the training split" if budget.class_weights == "balanced" else "none"
    return [f"Loss: {budget.loss}{focal}; class weights: {weights}; label smoothing: {budget.label_smoothing:g}."]


def _differences(task: Task, methods: Sequence[Method], setup: Setup) -> list[str]:
    given = [method.name for method in methods if len(method.learning_rates) == 1]
    notes = [f"{', '.join(given)}: the learning rate was given, not searched."] if given else []
    notes += _losses(methods, setup)
    notes += _quantised(methods, setup)
    names = [method.name for method in methods if method.cuts_texts]
    if not names:
        return notes
    share, length = _share_cut(task, setup), setup.budget.max_length
    return [
        *notes,
        f"{', '.join(names)} read the first {length} tokens of a text, which cuts {share:.0%} of the test texts; "
        "the other methods read whole texts.",
        "On disk, a fully fine-tuned model is whole; an adapter or a probe needs the base model besides.",
    ]


def _losses(methods: Sequence[Method], setup: Setup) -> list[str]:
    """Return which methods the budget's loss does not reach: they have one of their own."""
    budget, others = setup.budget, [method.name for method in methods if not method.by_gradient]
    asked = [budget.loss] if budget.loss != "cross-entropy" else []
    asked += ["label smoothing"] if budget.label_smoothing else []
    notes = [f"{' and '.join(asked)}: the gradient methods alone, not {', '.join(others)}."] if asked and others else []
    unweighted = [name for name in others if name not in ("tfidf", "probe")]
    if budget.class_weights != "none" and unweighted:
        notes.append(f"Class weights: not {', '.join(unweighted)}, which learn nothing that could be weighted.")
    return notes


def _quantised(methods: Sequence[Method], setup: Setup) -> list[str]:
    """Say for which methods the base is held in 8 or 4 bits, or that this was asked for and is read by none."""
    if setup.base_precision != "full" and all(base_precision_of(method, setup) is None for method in methods):
        return [f"Base precision {setup.base_precision}: read by none of these methods."]
    held = {method.name: base_precision_of(method, setup) or "full" for method in methods if method.cuts_texts}
    whole = [name for name, precision in held.items() if precision == "full"]
    rest = f"; for {', '.join(whole)} in full precision" if whole else ""
    names = {precision: [name for name in held if held[name] == precision] for precision in BASE_PRECISIONS[1:]}
    return [f"The frozen base is held in {name} for {', '.join(names[name])}{rest}." for name in names if names[name]]


def _share_cut(task: Task, setup: Setup) -> float:
    """Return the share of test texts that are longer than the base model reads, from the first 1,000."""
    return float((_count_tokens(task.test.texts, setup) > setup.budget.max_length).mean())


def _count_tokens(texts: Sequence[str], setup: Setup) -> np.ndarray:
    """Return the tokens of the first 1,000 texts, each counted to one more than are read at most."""
    from loracle.models.loading import load_tokenizer
    from loracle.training.batching import tokenise

    return tokenise(load_tokenizer(setup.model), texts[:_TEXTS_LOOKED_AT], setup.budget.max_length + 1).lengths


def _processor_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
